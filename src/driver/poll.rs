//! Waiting of the reactor and of media threads: readable sockets, one timer, one bell, each on an
//! epoll of its own.
//!
//! Times are absolute, so that what is late does not make the next thing later.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Instant;

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::thread::ClockId;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// What one thread waits for.
pub struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What the timer is set to.
    deadline: Option<Instant>,
    bell: Arc<Bell>,
}

/// Wakes a thread from another one.
#[derive(Debug)]
pub struct Bell {
    descriptor: OwnedFd,
    /// Rung and not yet heard: ringing again costs nothing.
    is_rung: AtomicBool,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = Arc::new(Bell { descriptor, is_rung: AtomicBool::new(false) });
        // The timer and the bell only wake: level-triggered they would wake again and again, edge-
        // triggered nobody has to read them.
        let wakes = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(WAKE);
        epoll::add(&epoll, &timer, data, wakes)?;
        epoll::add(&epoll, &bell.descriptor, data, wakes)?;
        Ok(Self { epoll, timer, deadline: None, bell })
    }

    pub fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    /// Reports a socket as readable under this token until it is read empty; closing it ends that.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?)
    }

    /// Sleeps until a socket is readable, the deadline has passed or the bell rings; puts the
    /// tokens of readable sockets, at most `MOST_READY`, into `tokens`.
    pub fn wait(&mut self, deadline: Option<Instant>, tokens: &mut Vec<u64>) -> io::Result<()> {
        self.set_timer(deadline)?;
        tokens.clear();
        let mut ready = [MaybeUninit::uninit(); MOST_READY];
        match epoll::wait(&self.epoll, &mut ready[..], None) {
            Ok((ready, _)) => {
                let ready = ready.iter().map(|event| event.data.u64());
                tokens.extend(ready.filter(|token| *token != WAKE));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // A swap, not a store: what was put before a ring that found it rung must be seen.
        self.bell.is_rung.swap(false, Ordering::AcqRel);
        Ok(())
    }

    fn set_timer(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        // One that has passed is set anew: it may have been waited for already.
        let is_ahead = deadline.is_none_or(|deadline| deadline > Instant::now());
        if deadline == self.deadline && is_ahead {
            return Ok(());
        }
        let value = match deadline {
            None => Timespec { tv_sec: 0, tv_nsec: 0 },
            Some(deadline) => monotonic(deadline),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
        self.deadline = deadline;
        Ok(())
    }
}

impl Bell {
    pub fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            // Full means that it rings already.
            let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Sleeps until this moment, whatever happens meanwhile.
pub fn sleep_until(moment: Instant) {
    let until = monotonic(moment);
    // A signal ends the sleep early: then this turn comes early.
    let _ = rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &until);
}

/// The moment on the kernel's monotonic clock; never the zero that would disarm a timer.
fn monotonic(moment: Instant) -> Timespec {
    // In this order, so that the result is never before the moment.
    let left = moment.saturating_duration_since(Instant::now());
    let now = clock_gettime(rustix::time::ClockId::Monotonic);
    let nanoseconds = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
    let at = nanoseconds + left.as_nanos() as i128;
    Timespec { tv_sec: (at / 1_000_000_000) as _, tv_nsec: (at % 1_000_000_000) as _ }
}

/// Lets this thread sleep no longer than it asked to (the default is up to 50 us more).
pub fn sleep_exactly() {
    // Where the kernel cannot, sleeps are that much longer.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Of the timer and the bell.
const WAKE: u64 = u64::MAX;
/// Sockets told of in one wake; the others follow in the next.
pub const MOST_READY: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    const SOON: Duration = Duration::from_millis(5);

    fn wait(poller: &mut Poller, deadline: Option<Instant>) -> Vec<u64> {
        let mut tokens = Vec::new();
        poller.wait(deadline, &mut tokens).unwrap();
        tokens
    }

    #[test]
    fn deadline_bell_and_socket_each_end_the_wait() {
        let mut poller = Poller::new().unwrap();
        let start = Instant::now();
        assert_eq!(wait(&mut poller, Some(start + SOON)), []);
        assert!(start.elapsed() >= SOON);
        let bell = poller.bell();
        bell.ring();
        bell.ring();
        assert_eq!(wait(&mut poller, None), []);
        bell.ring();
        assert_eq!(wait(&mut poller, None), []);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        poller.add(&socket, 7).unwrap();
        socket.send_to(&[1], socket.local_addr().unwrap()).unwrap();
        assert_eq!(wait(&mut poller, None), [7]);
        // Unread, so it is told again.
        assert_eq!(wait(&mut poller, None), [7]);
    }

    #[test]
    fn deadline_in_the_past_does_not_wait() {
        let mut poller = Poller::new().unwrap();
        assert_eq!(wait(&mut poller, Some(Instant::now())), []);
        assert_eq!(wait(&mut poller, Some(Instant::now() - SOON)), []);
    }
}
