//! How long an Opus packet lasts, from its first bytes (RFC 6716 §3).

/// Units of 1/48000 s in a packet. `None`: it breaks RFC 6716 §3.4, or is longer than 120 ms.
pub fn samples(payload: &[u8]) -> Option<u32> {
    let (&toc, rest) = payload.split_first()?;
    let frames = match toc & 0b11 {
        0 => 1,
        1 | 2 => 2,
        // The frame count byte: v, p, and six bits of M.
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frames * frame(toc);
    (1..=LONGEST).contains(&samples).then_some(samples)
}

/// Units in each frame of a packet that begins so (RFC 6716 table 2).
pub const fn frame(toc: u8) -> u32 {
    match (toc >> 3, toc >> 3 & 0b11) {
        // SILK: 10, 20, 40, 60 ms.
        (0..=11, size) => [480, 960, 1920, 2880][size as usize],
        // Hybrid: 10, 20 ms.
        (12..=15, size) => [480, 960][size as usize & 1],
        // CELT: 2.5, 5, 10, 20 ms.
        (_, size) => 120 << size,
    }
}

/// 120 ms (RFC 6716 §3.2.5, requirement R5 of §3.4).
pub const LONGEST: u32 = 5760;

#[cfg(test)]
mod tests {
    use super::*;

    /// The TOC byte of RFC 6716 §3.1: configuration, mono, frame count code.
    fn toc(configuration: u8, code: u8) -> u8 {
        configuration << 3 | code
    }

    #[test]
    fn rfc_6716_table_2_frame_sizes() {
        // In tenths of a millisecond, by configuration 0..=31.
        let silk = [100, 200, 400, 600];
        let hybrid = [100, 200];
        let celt = [25, 50, 100, 200];
        let sizes = silk.repeat(3).into_iter().chain(hybrid.repeat(2)).chain(celt.repeat(4));
        for (configuration, size) in (0..32).zip(sizes) {
            let expected = Some(size * 48 / 10);
            assert_eq!(samples(&[toc(configuration, 0), 1, 2]), expected, "{configuration}");
        }
    }

    #[test]
    fn rfc_6716_section_3_2_frame_counts() {
        // Configuration 1: SILK, narrowband, 20 ms.
        assert_eq!(samples(&[toc(1, 1), 0, 0]), Some(1920));
        assert_eq!(samples(&[toc(1, 2), 1, 0, 0]), Some(1920));
        assert_eq!(samples(&[toc(1, 3), 3, 0, 0, 0]), Some(2880));
        // With padding and variable sizes set in the count byte.
        assert_eq!(samples(&[toc(1, 3), 0xc0 | 6, 0]), Some(5760));
    }

    #[test]
    fn packet_without_a_count_without_frames_or_over_120_ms_is_none() {
        assert_eq!(samples(&[]), None);
        assert_eq!(samples(&[toc(1, 3)]), None);
        assert_eq!(samples(&[toc(1, 3), 0]), None);
        assert_eq!(samples(&[toc(1, 3), 7]), None);
        assert_eq!(samples(&[toc(16, 3), 48]), Some(5760));
        assert_eq!(samples(&[toc(16, 3), 49]), None);
    }
}
