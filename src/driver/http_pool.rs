//! Room for HTTP bodies: one budget for requests and answers of all clients and all sessions.

use std::cell::Cell;
use std::rc::Rc;

use crate::stats;

/// Bytes that bodies may take at one time (`http_pool_mib`). Full: the body is refused, counted
/// as `http_pool_full_total`.
#[derive(Debug, Clone)]
pub struct Pool {
    free: Rc<Cell<usize>>,
}

impl Pool {
    pub fn new(bytes: usize) -> Self {
        Self { free: Rc::new(Cell::new(bytes)) }
    }

    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.free.get()
    }

    /// Nothing yet; grows with the body.
    pub fn share(&self) -> Share {
        Share { pool: self.clone(), bytes: 0 }
    }
}

/// What one body holds of the pool; given back when dropped.
#[derive(Debug)]
pub struct Share {
    pool: Pool,
    bytes: usize,
}

/// The pool is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFull;

impl Share {
    pub fn grow(&mut self, bytes: usize) -> Result<(), PoolFull> {
        let Some(left) = self.pool.free.get().checked_sub(bytes) else {
            stats::HTTP_POOL_FULL.add(1);
            return Err(PoolFull);
        };
        self.pool.free.set(left);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.free.set(self.pool.free.get() + self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_refuses_what_it_does_not_have_and_gets_everything_back() {
        let pool = Pool::new(10);
        let mut one = pool.share();
        let mut other = pool.share();
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(other.grow(5), Err(PoolFull));
        assert_eq!(other.grow(4), Ok(()));
        drop(one);
        assert_eq!(other.grow(6), Ok(()));
        drop(other);
        assert_eq!(pool.free(), 10);
    }
}
