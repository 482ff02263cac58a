//! libopus behind a safe face: its two states, and nothing else.
#![allow(unsafe_code)]

use std::ffi::c_int;

use opusic_sys as sys;

/// Mono at 48,000 Hz.
pub struct Encoder(State);

impl Encoder {
    pub fn new() -> Self {
        // SAFETY: one channel is a valid number of them.
        let mut state = State::new(unsafe { sys::opus_encoder_get_size(CHANNELS) });
        // SAFETY: the memory is as large and aligned as libopus asks, and lives as long as it.
        let result = unsafe {
            sys::opus_encoder_init(state.encoder(), RATE, CHANNELS, sys::OPUS_APPLICATION_VOIP)
        };
        assert_eq!(result, sys::OPUS_OK, "libopus takes mono at 48,000 Hz");
        Self(state)
    }

    /// Sets one of the settings below. What libopus refuses stays as it was.
    pub fn set(&mut self, setting: Setting, value: i32) {
        // SAFETY: the state was initialised, and each setting takes one 32-bit integer by value.
        unsafe { sys::opus_encoder_ctl(self.0.encoder(), setting.0, value) };
    }

    /// Bytes of a packet with these samples. `None`: they are no 2.5, 5, 10, 20, 40, 60, 80, 100
    /// or 120 ms, or `out` is too small.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> Option<usize> {
        let (count, room) = (c_int::try_from(samples.len()).ok()?, i32::try_from(out.len()).ok()?);
        // SAFETY: the state was initialised; libopus reads `count` samples, as many as there are,
        // and writes no more than `room` bytes.
        let result = unsafe {
            let (from, to) = (samples.as_ptr(), out.as_mut_ptr());
            sys::opus_encode(self.0.encoder(), from, count, to, room)
        };
        usize::try_from(result).ok().filter(|&bytes| bytes <= out.len())
    }
}

/// Mono at 48,000 Hz.
pub struct Decoder(State);

impl Decoder {
    pub fn new() -> Self {
        // SAFETY: one channel is a valid number of them.
        let mut state = State::new(unsafe { sys::opus_decoder_get_size(CHANNELS) });
        // SAFETY: the memory is as large and aligned as libopus asks, and lives as long as it.
        let result = unsafe { sys::opus_decoder_init(state.decoder(), RATE, CHANNELS) };
        assert_eq!(result, sys::OPUS_OK, "libopus takes mono at 48,000 Hz");
        Self(state)
    }

    /// Samples of a packet. `None`: it is none, or longer than `out`.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Option<usize> {
        self.run(packet, out, 0)
    }

    /// What stands in for a packet that is lost; `out` is whole multiples of 2.5 ms.
    pub fn conceal(&mut self, out: &mut [i16]) -> Option<usize> {
        self.run(&[], out, 0)
    }

    /// The audio before `next`, of which it has a copy; `out` is whole multiples of 2.5 ms.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> Option<usize> {
        self.run(next, out, 1)
    }

    fn run(&mut self, packet: &[u8], out: &mut [i16], copy: c_int) -> Option<usize> {
        let (bytes, room) = (i32::try_from(packet.len()).ok()?, c_int::try_from(out.len()).ok()?);
        if room == 0 {
            return None;
        }
        // A null packet is a lost one.
        let packet = if bytes == 0 { std::ptr::null() } else { packet.as_ptr() };
        // SAFETY: the state was initialised; libopus reads `bytes` bytes, as many as there are,
        // and writes no more than `room` samples.
        let result = unsafe {
            sys::opus_decode(self.0.decoder(), packet, bytes, out.as_mut_ptr(), room, copy)
        };
        usize::try_from(result).ok().filter(|&samples| samples <= out.len())
    }
}

/// Whether the packet has a copy of what was in the one before it (LBRR, RFC 6716 §4.2.5).
pub fn has_copy(packet: &[u8]) -> bool {
    let Ok(bytes) = i32::try_from(packet.len()) else { return false };
    // SAFETY: libopus reads at most `bytes` bytes, as many as there are.
    bytes > 0 && unsafe { sys::opus_packet_has_lbrr(packet.as_ptr(), bytes) } == 1
}

/// Memory that libopus keeps its state in: no pointer in it leads to itself, and no thread of its
/// own knows of it.
struct State(Box<[u64]>);

impl State {
    fn new(bytes: c_int) -> Self {
        let words = usize::try_from(bytes).map_or(0, |bytes| bytes.div_ceil(size_of::<u64>()));
        assert!(words > 0, "libopus has a state");
        Self(vec![0; words].into())
    }

    fn encoder(&mut self) -> *mut sys::OpusEncoder {
        self.0.as_mut_ptr().cast()
    }

    fn decoder(&mut self) -> *mut sys::OpusDecoder {
        self.0.as_mut_ptr().cast()
    }
}

/// One of the encoder's settings with a 32-bit integer.
#[derive(Debug, Clone, Copy)]
pub struct Setting(c_int);

pub const BITRATE: Setting = Setting(sys::OPUS_SET_BITRATE_REQUEST);
pub const COMPLEXITY: Setting = Setting(sys::OPUS_SET_COMPLEXITY_REQUEST);
pub const DEPTH: Setting = Setting(sys::OPUS_SET_LSB_DEPTH_REQUEST);
pub const DTX: Setting = Setting(sys::OPUS_SET_DTX_REQUEST);
pub const INBAND_FEC: Setting = Setting(sys::OPUS_SET_INBAND_FEC_REQUEST);
pub const LOSS_PERCENT: Setting = Setting(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST);
pub const MAX_BANDWIDTH: Setting = Setting(sys::OPUS_SET_MAX_BANDWIDTH_REQUEST);
pub const VARIABLE_BITRATE: Setting = Setting(sys::OPUS_SET_VBR_REQUEST);

pub const NARROWBAND: i32 = sys::OPUS_BANDWIDTH_NARROWBAND;
pub const MEDIUMBAND: i32 = sys::OPUS_BANDWIDTH_MEDIUMBAND;
pub const WIDEBAND: i32 = sys::OPUS_BANDWIDTH_WIDEBAND;
pub const SUPERWIDEBAND: i32 = sys::OPUS_BANDWIDTH_SUPERWIDEBAND;
pub const FULLBAND: i32 = sys::OPUS_BANDWIDTH_FULLBAND;

const CHANNELS: c_int = 1;
const RATE: i32 = 48_000;
