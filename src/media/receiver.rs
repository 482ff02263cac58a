//! Interim.

use std::time::Instant;

use super::engine::Codec;
use super::frame::{Frame, Rate};
use super::rtp::Header;

#[derive(Debug)]
pub struct Receiver {
    samples: Vec<i16>,
    frame: Frame,
    started: bool,
}

impl Receiver {
    pub fn new() -> Self {
        Self {
            samples: Vec::with_capacity(4000),
            frame: Frame::silence(Rate::Narrow),
            started: false,
        }
    }

    pub fn push(&mut self, _: Instant, codec: Codec, _: Header, payload: &[u8]) {
        if self.samples.len() < 1600 {
            self.samples.extend(payload.iter().map(|&byte| codec.decode(byte)));
        }
    }

    pub fn pull(&mut self, _: Instant) -> &Frame {
        self.frame.samples_mut().fill(0);
        if self.samples.len() >= 160 {
            self.frame.samples_mut().copy_from_slice(&self.samples[..160]);
            self.samples.copy_within(160.., 0);
            self.samples.truncate(self.samples.len() - 160);
        }
        &self.frame
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }
}
