//! No packet costs an allocation: counted by an allocator that counts.
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use branchline::media::codec::decoder::{Decoder, MOST_SAMPLES};
use branchline::media::codec::encoder::{Encoder, EncoderSettings, MOST_BYTES};
use branchline::media::codec::noise::{self, Estimator, Generator};
use branchline::media::engine::Codec;
use branchline::media::format::OpusSettings;
use branchline::media::frame::Rate;

#[test]
fn codecs_allocate_when_they_are_made_and_never_again() {
    let fec = OpusSettings { fec: true, dtx: true, ..OpusSettings::default() };
    let rates = [Rate::Narrow, Rate::Wide, Rate::Full].map(Codec::L16);
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus].into_iter().chain(rates) {
        let settings = EncoderSettings { ptime: Duration::from_millis(20), opus: fec };
        let mut encoder = Encoder::new(codec, &settings);
        let mut decoder = Decoder::new(codec);
        let count = codec.rate().frame();
        let sound: Vec<i16> = (0..count * 20).map(|n| (n * n % 9973) as i16).collect();
        let (mut packet, mut out) = ([0; MOST_BYTES * 2], [0; MOST_SAMPLES]);
        let allocations = counted(|| {
            for (place, frame) in sound.chunks(count).enumerate() {
                let bytes = encoder.encode(frame, &mut packet);
                let payload = &packet[..bytes];
                encoder.expect_loss(place as u8);
                match place % 4 {
                    3 if decoder.recover(payload, &mut out[..count]) => {}
                    2 | 3 => decoder.conceal(&mut out[..count]),
                    _ => drop(decoder.decode(payload, &mut out)),
                }
            }
        });
        assert_eq!(allocations, 0, "{codec:?}");
    }
}

#[test]
fn comfort_noise_allocates_nothing() {
    let (mut generator, mut estimator) = (Generator::new(1), Estimator::default());
    let allocations = counted(|| {
        let (mut frame, mut payload) = ([0; 160], [0; noise::MOST_BYTES]);
        generator.update(&[40, 100, 150]);
        generator.fill(&mut frame);
        estimator.feed(&frame);
        estimator.payload(&mut payload);
    });
    assert_eq!(allocations, 0);
}

/// Of this thread.
fn counted(act: impl FnOnce()) -> u32 {
    let before = COUNT.get();
    act();
    COUNT.get() - before
}

struct Counting;

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is handed on to the system's allocator as it came; the count is a plain number of
// the thread, without a destructor, whose use allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
