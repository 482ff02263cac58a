//! The reactor thread between two turns: it waits for packets and the next deadline on an epoll
//! of its own, and for the bell that its tasks and other threads ring.
//!
//! smol's `block_on` would share one epoll with a helper thread, which is woken first by every
//! other packet. As it is, that thread waits for TCP connections and the timers of tasks alone.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

use super::poll::Poller;

/// What the reactor and the loop around it tell each other.
#[derive(Default)]
pub struct Wakes {
    /// When the next turn is at the latest.
    pub deadline: Cell<Option<Instant>>,
    /// UDP listeners that have packets.
    pub readable: RefCell<Vec<u64>>,
}

/// Polls a future until it is ready.
///
/// # Errors
/// Where the system cannot wait.
pub fn run(mut poller: Poller, wakes: &Wakes, future: impl Future<Output = ()>) -> io::Result<()> {
    let waker = Waker::from(poller.bell());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    while future.as_mut().poll(&mut cx).is_pending() {
        poller.wait(wakes.deadline.get(), &mut wakes.readable.borrow_mut())?;
    }
    Ok(())
}
