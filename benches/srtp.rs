//! What SRTP costs: nanoseconds to protect and to unprotect a packet of 20 ms of G.711, and to
//! derive the keys of a call.
//!
//! `cargo bench --bench srtp` prints a line for each suite. Nothing here fails by the clock.

use std::hint::black_box;
use std::time::{Duration, Instant};

use branchline::media::srtp::{Context, Keys, Master, Suite};

fn main() {
    // `cargo test --benches` only sees whether it runs.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let packets = if is_bench { 500_000 } else { 1000 };
    println!("suite                protect    unprotect  forged     keys");
    for (name, suite) in [
        ("AES-CM-128, 80 bits", Suite::AesCm128HmacSha1_80),
        ("AES-CM-128, 32 bits", Suite::AesCm128HmacSha1_32),
        ("AES-CM-256, 80 bits", Suite::AesCm256HmacSha1_80),
        ("AES-CM-256, 32 bits", Suite::AesCm256HmacSha1_32),
    ] {
        let key = |byte| Master::new(suite, &vec![byte; suite.key_bytes() + 14]).expect("as long");
        let keys = Keys { suite, outbound: key(1), inbound: key(1), inbound_mki: None };
        let [protect, unprotect, forged] = packets_of(keys.clone(), packets);
        let derive = timed(packets / 100, |_| {
            black_box(Context::new(keys.clone()));
        });
        println!("{name}  {protect:6.0} ns  {unprotect:6.0} ns  {forged:6.0} ns  {derive:6.0} ns");
    }
}

/// Nanoseconds a packet: to protect it, to check and decrypt it, to find out that it is forged.
fn packets_of(keys: Keys, packets: u32) -> [f64; 3] {
    let mut context = Context::new(keys.clone());
    let mut buffer = Vec::with_capacity(256);
    let protecting = timed(packets, |n| {
        protect(&mut context, &mut buffer, n);
        black_box(&buffer);
    });
    let mut clear = Vec::with_capacity(256);
    let mut context = Context::new(keys);
    // Each packet is made anew, outside of what is measured.
    let mut unprotecting = Duration::ZERO;
    for n in 0..packets {
        protect(&mut context, &mut buffer, n);
        let start = Instant::now();
        black_box(context.receiver.unprotect(&buffer, &mut clear)).expect("our own packet");
        unprotecting += start.elapsed();
    }
    let unprotect = unprotecting.as_nanos() as f64 / f64::from(packets);
    protect(&mut context, &mut buffer, packets);
    *buffer.last_mut().expect("a packet") ^= 1;
    let forged = timed(packets, |_| {
        black_box(context.receiver.unprotect(&buffer, &mut clear)).expect_err("forged");
    });
    [protecting, unprotect, forged]
}

fn protect(context: &mut Context, buffer: &mut Vec<u8>, n: u32) {
    let sequence = n as u16;
    buffer.clear();
    buffer.extend([0x80, 0]);
    buffer.extend(sequence.to_be_bytes());
    buffer.extend((n * 160).to_be_bytes());
    buffer.extend([0, 0, 0, 9]);
    buffer.extend([0xd5; 160]);
    let index = context.sender.take_index(sequence).expect("each is new");
    context.sender.protect(9, index, buffer, 0);
}

fn timed(times: u32, mut act: impl FnMut(u32)) -> f64 {
    let start = Instant::now();
    for n in 0..times {
        act(n);
    }
    start.elapsed().as_nanos() as f64 / f64::from(times)
}
