//! What a thread that was held up makes up for.

use super::*;

#[test]
fn stall_of_any_length_is_followed_by_eleven_packets_at_most() {
    // The steps that were missed, 200 ms of them at most, and the one that is due.
    for (stall_ms, expected) in [(0, 0), (20, 1), (60, 3), (220, 11), (260, 11), (60_000, 11)] {
        let mut bench = Bench::new();
        bench.call(A, Codec::Pcmu);
        bench.run(100 * MS);
        bench.take_rtp(A);
        bench.now += stall_ms * MS;
        bench.engine.handle_input(bench.now, Input::Timeout);
        bench.drain();
        assert_eq!(bench.take_rtp(A).len(), expected, "{stall_ms} ms");
        // And then one every 20 ms.
        bench.run(100 * MS);
        assert_eq!(bench.take_rtp(A).len(), 5, "{stall_ms} ms");
    }
}
