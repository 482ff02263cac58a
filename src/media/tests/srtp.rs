//! Protected calls: each leg with its own key, clear in between.

use super::*;
use crate::media::srtp::{Context, Keys, Master, Rejected, Suite};

const SUITE: Suite = Suite::AesCm128HmacSha1_80;

/// The keys of a call as the engine has them; the peer has them the other way round.
fn keys(unit: UnitId, round: u8) -> Keys {
    let master = |first: u8| Master::new(SUITE, &[first + round + 16 * unit.0 as u8; 30]).unwrap();
    Keys { suite: SUITE, outbound: master(1), inbound: master(101), inbound_mki: None }
}

/// The peer's side.
struct Peer(Context);

impl Peer {
    fn new(keys: Keys) -> Self {
        let (outbound, inbound) = (keys.inbound, keys.outbound);
        Self(Context::new(Keys { outbound, inbound, ..keys }))
    }

    fn protect(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
        let index = self.0.sender.take_index(sequence).unwrap();
        self.0.sender.protect(ssrc, index, &mut packet, 0);
        packet
    }

    fn unprotect(&mut self, sent: &Sent) -> Result<Sent, Rejected> {
        let mut data = Vec::new();
        match sent.is_rtcp {
            false => self.0.receiver.unprotect(&sent.data, &mut data)?,
            true => self.0.receiver.unprotect_control(&sent.data, &mut data)?,
        }
        Ok(Sent { data, ..sent.clone() })
    }
}

fn secure(bench: &mut Bench, unit: UnitId, round: u8) {
    let srtp = Some(Box::new(keys(unit, round)));
    let settings = StreamSettings { srtp, ..settings(unit, Codec::Pcmu) };
    bench.command(Command::Configure { unit, settings });
}

/// A is protected, and B if `both`.
fn pair(both: bool) -> (Bench, Peer, Option<Peer>) {
    let mut bench = Bench::joined(Codec::Pcmu, Codec::Pcmu);
    secure(&mut bench, A, 0);
    if both {
        secure(&mut bench, B, 0);
    }
    (bench, Peer::new(keys(A, 0)), both.then(|| Peer::new(keys(B, 0))))
}

#[test]
fn protected_leg_and_plain_leg_are_relayed_both_ways() {
    let (mut bench, mut peer, _) = pair(false);
    for n in 0..3u16 {
        let packet = rtp(0, 10 + n, u32::from(n) * 160, &[n as u8; 160]);
        bench.rtp(A, &peer.protect(packet));
        let sent = bench.take_rtp(B);
        assert_eq!(sent[0].data.len(), 172);
        assert_eq!(sent[0].payload(), [n as u8; 160]);
        bench.rtp(B, &rtp(0, 500 + n, u32::from(n) * 160, &[100 + n as u8; 160]));
        let sent = bench.take_rtp(A);
        assert_eq!(sent[0].data.len(), 182);
        assert_ne!(sent[0].data[12..172], [100 + n as u8; 160]);
        assert_eq!(peer.unprotect(&sent[0]).unwrap().payload(), [100 + n as u8; 160]);
        bench.now += 20 * MS;
    }
}

#[test]
fn two_protected_legs_have_keys_of_their_own() {
    let (mut bench, mut a, b) = pair(true);
    let mut b = b.unwrap();
    bench.rtp(A, &a.protect(rtp(0, 1, 0, &[7; 160])));
    let sent = bench.take_rtp(B);
    assert_eq!(b.unprotect(&sent[0]).unwrap().payload(), [7; 160]);
    assert_eq!(a.unprotect(&sent[0]), Err(Rejected::Unauthenticated));
    // Transcoded on its way, under the header of the other leg.
    let settings =
        StreamSettings { srtp: Some(Box::new(keys(B, 0))), ..super::settings(B, Codec::Pcma) };
    bench.command(Command::Configure { unit: B, settings });
    bench.now += 20 * MS;
    bench.rtp(A, &a.protect(rtp(0, 2, 160, &[0xff; 160])));
    let sent = b.unprotect(&bench.take_rtp(B)[0]).unwrap();
    assert_eq!((sent.payload_type(), sent.payload()), (8, &[0xd5; 160][..]));
}

#[test]
fn packets_without_the_key_are_dropped_and_do_not_latch() {
    let (mut bench, mut peer, _) = pair(false);
    let stranger: SocketAddr = "203.0.113.66:9".parse().unwrap();
    let before = crate::stats::SRTP_UNAUTHENTICATED.value();
    for n in 0..50 {
        bench.rtp_from(A, stranger, &rtp(0, n, 0, &[1; 160]));
        bench.rtp_from(A, stranger, &[0x80, 0, 1]);
    }
    assert_eq!(bench.take_rtp(B), []);
    assert!(crate::stats::SRTP_UNAUTHENTICATED.value() >= before + 50);
    assert_eq!(bench.take_events(), []);
    bench.rtp(B, &rtp(0, 1, 0, &[2; 160]));
    assert_eq!(bench.take_rtp(A)[0].to, super::peer(A));
    // Who has the key may be anywhere.
    bench.rtp_from(A, stranger, &peer.protect(rtp(0, 1, 0, &[3; 160])));
    assert_eq!(bench.take_rtp(B)[0].payload(), [3; 160]);
    bench.rtp(B, &rtp(0, 2, 160, &[2; 160]));
    assert_eq!(bench.take_rtp(A)[0].to, stranger);
}

#[test]
fn packet_that_comes_twice_is_passed_on_once() {
    let (mut bench, mut peer, _) = pair(false);
    let packet = peer.protect(rtp(0, 1, 0, &[3; 160]));
    bench.rtp(A, &packet);
    bench.rtp(A, &packet);
    assert_eq!(bench.take_rtp(B).len(), 1);
}

#[test]
fn digits_are_heard_and_pressed_through_protection() {
    let (mut bench, mut peer, _) = pair(false);
    bench.command(Command::ListenDigits { unit: A, sources: ALL });
    for (n, is_end) in [(0, false), (1, true)] {
        bench.rtp(A, &peer.protect(event(10 + n, 0, 5, 160 * (n + 1), is_end)));
    }
    assert!(bench.take_events().contains(&digit(A, '5', DigitSource::TelephoneEvent)));
    bench.command(Command::SendDigits { unit: A, digits: "9".into() });
    bench.run(200 * MS);
    let sent: Vec<Sent> =
        bench.take_rtp(A).iter().map(|sent| peer.unprotect(sent).unwrap()).collect();
    let pressed: Vec<&Sent> = sent.iter().filter(|sent| sent.payload_type() == DTMF).collect();
    assert!(pressed.len() > 5);
    assert!(pressed.iter().all(|sent| sent.payload()[0] == 9));
}

#[test]
fn sound_is_recorded_in_the_clear() {
    let (mut bench, mut peer, _) = pair(false);
    bench.command(Command::RecordCall {
        unit: RECORDER,
        call: A,
        layout: Layout::Stereo,
        rate: Rate::Narrow,
    });
    // 0x80 is the loudest of µ-law.
    for n in 0..50u16 {
        bench.rtp(A, &peer.protect(rtp(0, n, u32::from(n) * 160, &[0x80; 160])));
        bench.run(20 * MS);
    }
    bench.command(Command::Close { unit: RECORDER });
    let loud = bench.recorded.iter().skip(1).step_by(2).filter(|&&s| s == 32_124).count();
    // But for the delay of its way through the receiver.
    assert!(loud >= 46 * 160, "{loud}");
}

#[test]
fn reports_are_protected_both_ways() {
    let (mut bench, mut peer, _) = pair(false);
    bench.rtp(A, &peer.protect(rtp(0, 1, 0, &[3; 160])));
    bench.run(Duration::from_secs(16));
    let reports: Vec<Sent> = bench
        .sent
        .iter()
        .filter(|sent| sent.is_rtcp && sent.socket == SocketId(0))
        .map(|sent| peer.unprotect(sent).expect("protected with our key"))
        .collect();
    assert!(reports.len() >= 2);
    for report in &reports {
        assert!(matches!(report.data[1], 200 | 201), "{:?}", report.data);
    }
    // The peer's report says that it lost 9 of ours.
    let ssrc = &reports[0].data[4..8];
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 2];
    report.extend(ssrc);
    report.extend([0, 0, 0, 9]);
    report.extend([0; 16]);
    let plain = report.clone();
    peer.0.sender.protect_control(2, 0, &mut report, 0);
    let from = super::peer(A);
    for data in [&plain, &report] {
        bench.engine.handle_input(bench.now, Input::Rtcp { socket: SocketId(0), from, data });
    }
    bench.command(Command::Close { unit: A });
    let lost = bench.take_events().into_iter().find_map(|event| match event {
        Event::Closed { figures, .. } => Some(figures.lost_by_peer),
        _ => None,
    });
    assert_eq!(lost, Some(9));
}

#[test]
fn packets_that_overtake_the_answer_are_decrypted_when_it_comes() {
    let mut bench = Bench::new();
    bench.command(Command::Open { unit: A, address: HOST });
    bench.call(B, Codec::Pcmu);
    bench.command(Command::Route { from: A, to: B });
    let mut peer = Peer::new(keys(A, 0));
    bench.rtp(A, &peer.protect(rtp(0, 1, 0, &[3; 160])));
    assert_eq!(bench.take_rtp(B), []);
    secure(&mut bench, A, 0);
    assert_eq!(bench.take_rtp(B)[0].payload(), [3; 160]);
}

#[test]
fn new_key_of_the_peer_is_taken_and_ours_goes_on() {
    let (mut bench, mut peer, _) = pair(false);
    bench.rtp(A, &peer.protect(rtp(0, 1, 0, &[3; 160])));
    bench.take_rtp(B);
    bench.rtp(B, &rtp(0, 1, 0, &[4; 160]));
    assert!(peer.unprotect(&bench.take_rtp(A)[0]).is_ok());
    let changed = Keys { inbound: keys(A, 1).inbound, ..keys(A, 0) };
    let srtp = Some(Box::new(changed.clone()));
    let settings = StreamSettings { srtp, ..settings(A, Codec::Pcmu) };
    bench.command(Command::Configure { unit: A, settings });
    bench.rtp(A, &peer.protect(rtp(0, 2, 160, &[3; 160])));
    assert_eq!(bench.take_rtp(B), []);
    bench.rtp(B, &rtp(0, 2, 160, &[4; 160]));
    assert!(peer.unprotect(&bench.take_rtp(A)[0]).is_ok());
    let mut changed = Peer::new(changed);
    bench.rtp(A, &changed.protect(rtp(0, 3, 320, &[5; 160])));
    assert_eq!(bench.take_rtp(B)[0].payload(), [5; 160]);
}

/// The sequence numbers pass 65535, here and there.
#[test]
fn half_an_hour_of_sound_goes_through() {
    let (mut bench, mut a, b) = pair(true);
    let mut b = b.unwrap();
    for n in 0..70_000u32 {
        bench.rtp(A, &a.protect(rtp(0, n as u16, n * 160, &[3; 2])));
        let sent = bench.take_rtp(B);
        assert_eq!(
            b.unprotect(&sent[0]).map(|sent| sent.payload().to_vec()),
            Ok(vec![3; 2]),
            "{n}"
        );
        bench.now += 20 * MS;
    }
}
