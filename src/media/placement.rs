//! Where a packet's samples belong on a recorder's clock.
//!
//! A recorder does not wait: it keeps its last moments open, and each packet is written where its
//! timestamp says. So a packet may come late or out of order within that time and is still in its
//! place; a gap stays silent.

/// The mapping from one source's timestamps to samples since the recording began.
#[derive(Debug, Default)]
pub struct Placement {
    anchor: Option<Anchor>,
    /// Where the audio of this source ends so far.
    end: u64,
}

#[derive(Debug)]
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    position: u64,
}

impl Placement {
    /// The place of a packet that came when the recording was `now` samples old. `None`: it is
    /// from so far back that its place is closed, or another's.
    pub fn place(&mut self, now: u64, ssrc: u32, timestamp: u32, samples: u64) -> Option<u64> {
        let expected = self.anchor.as_ref().filter(|anchor| anchor.ssrc == ssrc).map(|anchor| {
            let after = timestamp.wrapping_sub(anchor.timestamp) as i32;
            anchor.position.checked_add_signed(i64::from(after))
        });
        let position = match expected {
            // From before the source's first packet.
            Some(None) => return None,
            Some(Some(expected)) if expected.abs_diff(now) <= MOST_DRIFT => expected,
            // One that lost its way: its successors were here.
            Some(Some(expected)) if expected < self.end.min(now) && now - expected < MOST_LATE => {
                return None;
            }
            // The source is new, its clock jumped, or it drifted away: begin again at the present,
            // but not over what stands there.
            Some(Some(_)) | None => {
                let position = now.max(self.end);
                if position - now > MOST_DRIFT {
                    return None;
                }
                self.anchor = Some(Anchor { ssrc, timestamp, position });
                position
            }
        };
        // Timestamps count in 32 bits and anchors last: follow them, lest they wrap.
        if let Some(anchor) = &mut self.anchor
            && position > anchor.position + ANCHOR_SPAN
        {
            (anchor.timestamp, anchor.position) = (timestamp, position);
        }
        self.end = self.end.max(position + samples);
        Some(position)
    }
}

/// How far from the present a packet may belong: 400 ms either way. A recorder's block stays open
/// for as long.
pub const MOST_DRIFT: u64 = 3200;
/// A packet is late, and its source's clock has not jumped, for up to 5 s. (Beyond `MOST_DRIFT`
/// and before `end`, it lies in the past.)
const MOST_LATE: u64 = 40_000;
/// A day and a half is 2^32 samples; an hour is well below.
const ANCHOR_SPAN: u64 = 8000 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_lie_where_their_timestamps_say() {
        let mut placement = Placement::default();
        assert_eq!(placement.place(1000, 1, 50_000, 160), Some(1000));
        // 30 ms late, then its successor early, then one lost.
        assert_eq!(placement.place(1400, 1, 50_160, 160), Some(1160));
        assert_eq!(placement.place(1401, 1, 50_320, 160), Some(1320));
        assert_eq!(placement.place(1640, 1, 50_640, 160), Some(1640));
        // Out of order.
        assert_eq!(placement.place(1650, 1, 50_480, 160), Some(1480));
    }

    #[test]
    fn source_that_jumped_or_drifted_begins_again_at_the_present() {
        let mut placement = Placement::default();
        assert_eq!(placement.place(0, 1, 0, 160), Some(0));
        assert_eq!(placement.place(160, 1, 900_000, 160), Some(160));
        assert_eq!(placement.place(320, 1, 900_160, 160), Some(320));
        // A pause of two seconds in which its clock stood still.
        assert_eq!(placement.place(16_480, 1, 900_320, 160), Some(16_480));
        // Another SSRC.
        assert_eq!(placement.place(16_500, 2, 7, 160), Some(16_640));
    }

    #[test]
    fn burst_after_a_stall_is_laid_end_to_end_and_bounded() {
        let mut placement = Placement::default();
        assert_eq!(placement.place(0, 1, 0, 160), Some(0));
        // 30 packets that waited 600 ms come at once: the old ones find their places closed by
        // the drift rule and begin at the present, none over another.
        let mut last = 0;
        for n in 1..=30u32 {
            if let Some(place) = placement.place(4800, 1, n * 160, 160) {
                assert!(place >= last, "{n}: {place}");
                assert!(place <= 4800 + MOST_DRIFT);
                last = place + 160;
            }
        }
    }

    #[test]
    fn placement_holds_over_days() {
        let mut placement = Placement::default();
        let mut timestamp = u32::MAX - 1000;
        for second in 0..200_000u64 {
            assert_eq!(placement.place(second * 8000, 1, timestamp, 160), Some(second * 8000));
            timestamp = timestamp.wrapping_add(8000);
        }
    }
}
