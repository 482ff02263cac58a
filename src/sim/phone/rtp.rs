//! What a phone says and hears: RTP by code of its own.

use std::time::{Duration, Instant};

use super::{Described, Law, Phone, Plan, State};
use crate::sim::link::Packet;
use crate::sim::sound;

impl Phone {
    /// One packet of 20 ms: the tone, silence, or a digit.
    pub(super) fn send_frame(&mut self, at: Instant) {
        let Described { law, digits, .. } = self.described;
        let (pitch, sound) = (self.manner.speaks, self.manner.plays.as_deref());
        let from = self.rtp;
        let Some(leg) = &mut self.call else { return };
        if leg.state == State::Over {
            return;
        }
        self.plans.push((at + FRAME, Plan::Frame));
        let number = leg.frames;
        leg.frames += 1;
        let Some(to) = leg.media.filter(|_| leg.sends) else { return };
        let mut packet = vec![0x80, leg.payload_type];
        let first = leg.secure.as_ref().map_or(0, |secure| secure.wish.first_sequence);
        let sequence = first.wrapping_add(number as u16);
        packet.extend(sequence.to_be_bytes());
        let mut timestamp = number * 160;
        let payload: Vec<u8> = match &mut leg.press {
            Some((digit, sent)) => {
                let event = "0123456789*#ABCD".find(*digit).unwrap_or(0) as u8;
                let is_end = *sent >= PRESS_FRAMES;
                timestamp -= *sent * 160;
                packet[1] = digits | if *sent == 0 { 0x80 } else { 0 };
                let duration = ((*sent + 1) * 160) as u16;
                *sent += 1;
                if *sent == PRESS_FRAMES + 3 {
                    leg.press = None;
                }
                let flags = 10 | if is_end { 0x80 } else { 0 };
                vec![event, flags, (duration >> 8) as u8, duration as u8]
            }
            None => {
                let part = sound.and_then(|sound| sound.as_chunks().0.get(number as usize));
                let samples = match (part, pitch) {
                    (Some(part), _) => *part,
                    (None, Some(hertz)) => sound::sine(hertz, AMPLITUDE, u64::from(number) * 160),
                    (None, None) => [0; 160],
                };
                let encode = match law {
                    Law::Mu => sound::encode_ulaw,
                    Law::A => sound::encode_alaw,
                };
                samples.iter().map(|&sample| encode(sample)).collect()
            }
        };
        packet.extend(timestamp.to_be_bytes());
        packet.extend(leg.ssrc.to_be_bytes());
        packet.extend(payload);
        if let Some(secure) = &mut leg.secure {
            secure.protect(sequence, leg.ssrc, &mut packet);
        }
        self.out.push(Packet { from, to, data: packet });
    }

    pub(super) fn receive_rtp(&mut self, data: &[u8]) {
        let clear;
        let data = match self.call.as_mut().and_then(|leg| leg.secure.as_mut()) {
            Some(secure) => match secure.unprotect(data) {
                Some(packet) => {
                    self.decrypted += usize::from(packet.len() < data.len());
                    clear = packet;
                    &clear
                }
                None => return self.rejected += 1,
            },
            None => data,
        };
        if data.len() < 12 || data[0] >> 6 != 2 {
            return;
        }
        let payload = &data[12..];
        match data[1] & 0x7f {
            0 => self.heard.extend(payload.iter().map(|&byte| sound::decode_ulaw(byte))),
            8 => self.heard.extend(payload.iter().map(|&byte| sound::decode_alaw(byte))),
            number if number == self.described.digits && payload.len() >= 4 => {
                let timestamp = u32::from_be_bytes([data[4], data[5], data[6], data[7]]);
                if !self.events_heard.contains(&timestamp) {
                    self.events_heard.push(timestamp);
                    let digit = "0123456789*#ABCD".chars().nth(usize::from(payload[0]));
                    self.digits.extend(digit);
                }
            }
            _ => {}
        }
    }
}

pub(super) const FRAME: Duration = Duration::from_millis(20);
/// 100 ms of a key.
const PRESS_FRAMES: u32 = 5;
const AMPLITUDE: f64 = 8000.0;
