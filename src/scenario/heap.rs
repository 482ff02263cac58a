//! Memory of scenarios: each session has a share of its own, the rest comes from a pool that all
//! sessions draw on. An allocation that neither covers is refused, which is an out-of-memory
//! error in the session that asked and nowhere else.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rquickjs::allocator::{Allocator, RustAllocator};

/// What the sessions of all workers share beyond their own reserves.
#[derive(Debug)]
pub struct Pool {
    free: AtomicUsize,
}

impl Pool {
    pub fn new(bytes: usize) -> Self {
        Self { free: AtomicUsize::new(bytes) }
    }

    /// Bytes that nobody has drawn.
    pub fn free(&self) -> usize {
        self.free.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes))
            .is_ok()
    }

    fn give(&self, bytes: usize) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What one session holds: its QuickJS heap and what it has under way to the other threads.
///
/// Invariant: `used <= reserve + drawn` once armed, save for [`GRACE`] after a refusal.
#[derive(Debug)]
pub struct Account {
    limit: usize,
    reserve: usize,
    pool: Arc<Pool>,
    used: Cell<usize>,
    drawn: Cell<usize>,
    is_armed: Cell<bool>,
    is_exhausted: Cell<bool>,
}

impl Account {
    pub fn new(limit: usize, reserve: usize, pool: Arc<Pool>) -> Self {
        Self {
            limit,
            reserve: reserve.min(limit),
            pool,
            used: Cell::new(0),
            drawn: Cell::new(0),
            is_armed: Cell::new(false),
            is_exhausted: Cell::new(false),
        }
    }

    /// From here on the limits hold. QuickJS does not survive a refusal while it makes a context.
    pub fn arm(&self) {
        self.is_armed.set(true);
    }

    /// Lets `act` have what it takes, and counts it: what QuickJS does in it would not survive a
    /// refusal. If that was too much, the next allocation is refused.
    pub fn unrefused<T>(&self, act: impl FnOnce() -> T) -> T {
        let was_armed = self.is_armed.replace(false);
        let made = act();
        self.is_armed.set(was_armed);
        made
    }

    /// Something was refused: the session is to end.
    pub fn is_exhausted(&self) -> bool {
        self.is_exhausted.get()
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the session may hold `bytes` more; counted if so.
    pub fn take(&self, bytes: usize) -> bool {
        let used = self.used.get().saturating_add(bytes);
        if self.is_armed.get() && !self.covers(used) {
            let has_grace = self.is_exhausted.replace(true)
                && bytes <= GRACE_BLOCK
                && used <= self.limit.saturating_add(GRACE);
            if !has_grace {
                return false;
            }
        }
        self.used.set(used);
        true
    }

    pub fn give(&self, bytes: usize) {
        let used = self.used.get().saturating_sub(bytes);
        self.used.set(used);
        let drawn = self.drawn.get();
        let idle = (self.reserve + drawn).saturating_sub(used).min(drawn);
        if idle > 2 * DRAW {
            let back = idle - DRAW;
            self.drawn.set(drawn - back);
            self.pool.give(back);
        }
    }

    fn covers(&self, used: usize) -> bool {
        if used > self.limit {
            return false;
        }
        let missing = used.saturating_sub(self.reserve + self.drawn.get());
        if missing == 0 {
            return true;
        }
        // A chunk at a time, so that sessions on several threads seldom meet at the counter.
        for bytes in [missing.next_multiple_of(DRAW), missing] {
            if self.pool.take(bytes) {
                self.drawn.set(self.drawn.get() + bytes);
                return true;
            }
        }
        false
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool.give(self.drawn.get());
    }
}

/// Bytes outside the JavaScript heap that belong to a session until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Rc<Account>,
    bytes: usize,
}

impl Charge {
    /// `None`: the session has no room for them.
    pub fn new(account: &Rc<Account>, bytes: usize) -> Option<Self> {
        account.take(bytes).then(|| Self { account: account.clone(), bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give(self.bytes);
    }
}

/// The allocator of one QuickJS runtime. QuickJS cuts small blocks out of pages itself, so what
/// comes here are pages and large blocks.
pub struct Heap {
    account: Rc<Account>,
}

impl Heap {
    pub fn new(account: Rc<Account>) -> Self {
        Self { account }
    }

    fn allocate(&mut self, bytes: usize, make: impl FnOnce() -> *mut u8) -> *mut u8 {
        if bytes > MOST || !self.account.take(bytes + BLOCK_OVERHEAD) {
            return ptr::null_mut();
        }
        let block = make();
        if block.is_null() {
            self.account.give(bytes + BLOCK_OVERHEAD);
        }
        block
    }
}

// SAFETY: every block comes from `RustAllocator`, which keeps the trait's contract; this type
// only counts, and refuses by a null pointer as the contract allows.
unsafe impl Allocator for Heap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.allocate(rounded(size), || RustAllocator.alloc(size))
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        let Some(bytes) = count.checked_mul(size) else { return ptr::null_mut() };
        self.allocate(rounded(bytes), || RustAllocator.calloc(count, size))
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: the caller gives back a block of this allocator, so one of `RustAllocator`.
        unsafe {
            self.account.give(RustAllocator::usable_size(block) + BLOCK_OVERHEAD);
            RustAllocator.dealloc(block);
        }
    }

    unsafe fn realloc(&mut self, block: *mut u8, new_size: usize) -> *mut u8 {
        if new_size > MOST {
            return ptr::null_mut();
        }
        // SAFETY: as in `dealloc`.
        let old = unsafe { RustAllocator::usable_size(block) };
        let new = rounded(new_size);
        if new > old && !self.account.take(new - old) {
            return ptr::null_mut();
        }
        // SAFETY: as in `dealloc`; on failure the old block stays valid and counted.
        let moved = unsafe { RustAllocator.realloc(block, new_size) };
        match (moved.is_null(), new > old) {
            (false, true) => {}
            (false, false) => self.account.give(old - new),
            (true, true) => self.account.give(new - old),
            (true, false) => {}
        }
        moved
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        // SAFETY: as in `dealloc`.
        unsafe { RustAllocator::usable_size(block) }
    }
}

/// The size that `RustAllocator` gives for a request.
fn rounded(bytes: usize) -> usize {
    bytes.min(MOST).next_multiple_of(8)
}

/// Drawn from the pool and given back at a time.
const DRAW: usize = 64 << 10;
/// After a refusal: room for the error object and its stack, so that the log can name the line.
const GRACE: usize = 64 << 10;
/// A page of QuickJS's own small blocks.
const GRACE_BLOCK: usize = 8 << 10;
/// Headers of a block: `RustAllocator`'s and the system's.
const BLOCK_OVERHEAD: usize = 16;
/// No block is larger, whatever the limits are; keeps the arithmetic from overflowing.
const MOST: usize = isize::MAX as usize / 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn account(limit: usize, reserve: usize, pool: &Arc<Pool>) -> Rc<Account> {
        let account = Rc::new(Account::new(limit, reserve, pool.clone()));
        account.arm();
        account
    }

    #[test]
    fn reserve_is_used_before_the_pool() {
        let pool = Arc::new(Pool::new(1 << 20));
        let account = account(1 << 20, 100_000, &pool);
        assert!(account.take(100_000));
        assert_eq!(pool.free(), 1 << 20);
        assert!(account.take(1));
        assert_eq!(pool.free(), (1 << 20) - DRAW);
        drop(account);
        assert_eq!(pool.free(), 1 << 20);
    }

    #[test]
    fn empty_pool_refuses_only_who_asks() {
        let pool = Arc::new(Pool::new(200_000));
        let greedy = account(1 << 20, 1000, &pool);
        let modest = account(1 << 20, 100_000, &pool);
        assert!(greedy.take(201_000));
        assert!(!greedy.take(100_000));
        assert!(greedy.is_exhausted());
        assert!(modest.take(100_000));
        assert!(!modest.is_exhausted());
    }

    #[test]
    fn limit_holds_though_the_pool_has_more() {
        let pool = Arc::new(Pool::new(1 << 30));
        let account = account(1 << 20, 1 << 10, &pool);
        assert!(account.take(1 << 20));
        assert!(!account.take(1 << 20));
        assert!(account.take(GRACE_BLOCK), "the error's own memory");
        assert!(!account.take(GRACE), "no more than that");
    }

    #[test]
    fn what_is_given_back_returns_to_the_pool() {
        let pool = Arc::new(Pool::new(10 << 20));
        let account = account(8 << 20, 0, &pool);
        for _ in 0..64 {
            assert!(account.take(100_000));
        }
        for _ in 0..64 {
            account.give(100_000);
        }
        assert_eq!(account.used(), 0);
        assert!(pool.free() >= (10 << 20) - 2 * DRAW);
    }
}
