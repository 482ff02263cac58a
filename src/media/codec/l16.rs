//! Samples as they are, the high byte first (RFC 3551 §4.5.11).

/// The bytes written: two for each sample, or as many as `out` takes.
pub fn encode(samples: &[i16], out: &mut [u8]) -> usize {
    let places = out.as_chunks_mut().0;
    let count = samples.len().min(places.len());
    for (&sample, place) in samples.iter().zip(places) {
        *place = sample.to_be_bytes();
    }
    2 * count
}

/// The samples written: one of each two bytes, or as many as `out` takes.
pub fn decode(payload: &[u8], out: &mut [i16]) -> usize {
    let pairs = payload.as_chunks().0;
    for (&pair, sample) in pairs.iter().zip(out.iter_mut()) {
        *sample = i16::from_be_bytes(pair);
    }
    pairs.len().min(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3551_section_4_5_11_high_byte_first() {
        let mut bytes = [0; 6];
        assert_eq!(encode(&[1, -2, 0x1234], &mut bytes), 6);
        assert_eq!(bytes, [0, 1, 0xff, 0xfe, 0x12, 0x34]);
        let mut samples = [0; 3];
        assert_eq!(decode(&bytes, &mut samples), 3);
        assert_eq!(samples, [1, -2, 0x1234]);
    }

    #[test]
    fn what_does_not_fit_is_left() {
        assert_eq!(encode(&[1, 2, 3], &mut [0; 5]), 4);
        assert_eq!(decode(&[0; 9], &mut [0; 3]), 3);
        assert_eq!(decode(&[0; 3], &mut [0; 3]), 1);
    }
}
