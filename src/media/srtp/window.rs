//! The packet index behind a sequence number (RFC 3711 §3.3.1), and which indices were there
//! (§3.3.2).

/// The highest index of a source, and those of the 63 before it that have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    highest: u64,
    /// Bit n: `highest - n`.
    seen: u64,
}

impl Window {
    /// From a source's first packet.
    pub fn new(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// The index that lies nearest: sequence number and roll-over counter in one. `None`: before
    /// the first of all.
    pub fn index_of(&self, sequence: u16) -> Option<u64> {
        let ahead = sequence.wrapping_sub(self.highest as u16) as i16;
        let index = self.highest.checked_add_signed(ahead.into())?;
        (index <= LAST_INDEX).then_some(index)
    }

    /// Neither there before nor too old to know.
    pub fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < SIZE && self.seen & 1 << behind == 0,
        }
    }

    pub fn note(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            None => {
                let ahead = index - self.highest;
                self.seen = if ahead < SIZE { self.seen << ahead } else { 0 } | 1;
                self.highest = index;
            }
            Some(behind) if behind < SIZE => self.seen |= 1 << behind,
            Some(_) => {}
        }
    }
}

/// RFC 3711 §3.3.2 wants 64 at least.
const SIZE: u64 = 64;
/// 48 bits (§9.2): no key lives longer.
const LAST_INDEX: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(roll_overs: u64, sequence: u16) -> Window {
        Window::new(roll_overs << 16 | u64::from(sequence))
    }

    #[test]
    fn rfc3711_3_3_1_index_is_the_nearest_one() {
        for (roll_overs, highest, sequence, expected) in [
            (0, 10, 12, Some((0, 12))),
            (0, 10, 9, Some((0, 9))),
            // The wrap, in order and late.
            (0, 0xffff, 0, Some((1, 0))),
            (1, 2, 0xfffe, Some((0, 0xfffe))),
            (1, 0xfff0, 5, Some((2, 5))),
            (7, 0x7fff, 0x8000, Some((7, 0x8000))),
            // Before the first packet of all.
            (0, 2, 0xfffe, None),
        ] {
            let index = window(roll_overs, highest).index_of(sequence);
            assert_eq!(index.map(|index| (index >> 16, index as u16)), expected);
        }
    }

    #[test]
    fn last_index_of_a_key_is_not_passed() {
        let last = Window::new(LAST_INDEX);
        assert_eq!(last.index_of(0), None);
        assert_eq!(last.index_of(0xffff), Some(LAST_INDEX));
    }

    #[test]
    fn index_is_new_once_and_while_it_is_known() {
        let mut window = Window::new(100);
        assert!(!window.is_new(100));
        assert!(window.is_new(99));
        window.note(99);
        assert!(!window.is_new(99));
        window.note(163);
        // 100 is the last of the 64.
        assert!(!window.is_new(100));
        assert!(!window.is_new(99));
        assert!(window.is_new(101));
        window.note(1000);
        assert!(window.is_new(999));
        assert!(!window.is_new(936));
        assert!(window.is_new(937));
    }
}
