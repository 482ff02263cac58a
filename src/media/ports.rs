//! The pool of RTP ports: even ones, each with the odd one above it for RTCP (RFC 3550 §11).

/// Which pairs are in use.
#[derive(Debug)]
pub struct PortPool {
    /// The even port of the first pair.
    first: u16,
    taken: Vec<bool>,
    /// Where the search for the next begins: a freed port rests as long as possible, so that what
    /// its last peer still sends reaches nobody.
    next: usize,
}

impl PortPool {
    /// From the first to the last port, as the config has them.
    pub fn new(first: u16, last: u16) -> Self {
        let first = first.saturating_add(first % 2);
        let pairs = match last.checked_sub(first) {
            Some(span) => usize::from(span).div_ceil(2),
            None => 0,
        };
        Self { first, taken: vec![false; pairs], next: 0 }
    }

    /// The even port of a free pair, `None` when all are taken.
    pub fn take(&mut self) -> Option<u16> {
        let pairs = self.taken.len();
        let place =
            (0..pairs).map(|n| (self.next + n) % pairs).find(|&place| !self.taken[place])?;
        self.taken[place] = true;
        self.next = place + 1;
        // Invariant: places are below (65535 - first) / 2.
        Some(self.first + 2 * place as u16)
    }

    /// Pairs, free and taken.
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    pub fn release(&mut self, port: u16) {
        let place = usize::from(port.saturating_sub(self.first)) / 2;
        if let Some(taken) = self.taken.get_mut(place) {
            *taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_even_and_have_their_odd_one_in_the_range() {
        let mut pool = PortPool::new(10_001, 10_006);
        assert_eq!(pool.take(), Some(10_002));
        assert_eq!(pool.take(), Some(10_004));
        assert_eq!(pool.take(), None);
        assert_eq!(PortPool::new(10_000, 10_000).take(), None);
        assert_eq!(PortPool::new(65_534, 65_535).take(), Some(65_534));
        assert_eq!(PortPool::new(65_535, 65_535).take(), None);
        assert_eq!(PortPool::new(5, 4).take(), None);
    }

    #[test]
    fn freed_port_rests_until_the_others_were_used() {
        let mut pool = PortPool::new(10_000, 10_005);
        assert_eq!(pool.take(), Some(10_000));
        pool.release(10_000);
        assert_eq!(pool.take(), Some(10_002));
        assert_eq!(pool.take(), Some(10_004));
        assert_eq!(pool.take(), Some(10_000));
        assert_eq!(pool.take(), None);
    }
}
