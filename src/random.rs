//! The one generator of ids, tags, branches, SSRCs and tokens.
//!
//! In production every byte comes from the operating system; a test seeds it, so that two runs
//! with one seed give the same bytes on the wire.

/// A source of random bytes.
#[derive(Debug, Clone)]
pub enum Random {
    /// The operating system's generator.
    System,
    /// A seeded sequence, for tests.
    Seeded(fastrand::Rng),
}

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(fastrand::Rng::with_seed(seed))
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            Self::System => {
                getrandom::fill(bytes).expect("the kernel has random bytes once it has booted");
            }
            Self::Seeded(generator) => generator.fill(bytes),
        }
    }

    pub fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// `bytes` random bytes in lower-case hexadecimal, twice as many characters.
    pub fn hex(&mut self, bytes: usize) -> String {
        let mut buffer = vec![0; bytes];
        self.fill(&mut buffer);
        data_encoding::HEXLOWER.encode(&buffer)
    }

    /// Another generator that goes its own way; a seeded one stays reproducible.
    pub fn fork(&mut self) -> Self {
        match self {
            Self::System => Self::System,
            Self::Seeded(generator) => Self::Seeded(generator.fork()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_ids() {
        assert_eq!(Random::seeded(7).hex(8), Random::seeded(7).hex(8));
        assert_ne!(Random::seeded(7).hex(8), Random::seeded(8).hex(8));
    }
}
