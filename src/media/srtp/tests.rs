//! Vectors of RFC 3711 appendix B, of RFC 6188 section 7 and of libsrtp 2.7, and what hostile and
//! unlucky packets do.

use super::cipher::{Cipher, Derivation};
use super::*;

const A80: Suite = Suite::AesCm128HmacSha1_80;
const A32: Suite = Suite::AesCm128HmacSha1_32;
const B80: Suite = Suite::AesCm256HmacSha1_80;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
}

fn master(suite: Suite, text: &str) -> Master {
    Master::new(suite, &hex(text)).unwrap()
}

/// RFC 3711 B.3.
fn master128() -> Master {
    master(A80, "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6")
}

/// RFC 6188 7.2.
fn master256() -> Master {
    master(
        B80,
        "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6
         3b04803de51ee7c96423ab5b78d2",
    )
}

fn check_keystream(key: &str, first: [&str; 3], last: [&str; 3]) {
    let cipher = Cipher::new(&hex(key));
    let start = u128::from_be_bytes(hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap());
    // 0xff02 blocks.
    let mut keystream = vec![0; 0xff02 * 16];
    cipher.apply(start, &mut keystream);
    assert_eq!(keystream[..48], hex(&first.concat()));
    assert_eq!(keystream[0xfeff * 16..], hex(&last.concat()));
}

#[test]
fn rfc3711_b_2_keystream() {
    check_keystream(
        "2B7E151628AED2A6ABF7158809CF4F3C",
        [
            "E03EAD0935C95E80E166B16DD92B4EB4",
            "D23513162B02D0F72A43A2FE4A5F97AB",
            "41E95B3BB0A2E8DD477901E4FCA894C0",
        ],
        [
            "EC8CDF7398607CB0F2D21675EA9EA1E4",
            "362B7C3C6773516318A077D7FC5073AE",
            "6A2CC3787889374FBEB4C81B17BA6C44",
        ],
    );
}

#[test]
fn rfc6188_7_1_keystream_of_256_bits() {
    check_keystream(
        "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
        [
            "92bdd28a93c3f52511c677d08b5515a4",
            "9da71b2378a854f67050756ded165bac",
            "63c4868b7096d88421b563b8c94c9a31",
        ],
        [
            "cea518c90fd91ced9cbb18c078a54711",
            "3dbc4814f4da5f00a08772b63c6a046d",
            "6eb246913062a16891433e97dd01a57f",
        ],
    );
}

fn check_derivation(suite: Suite, master: &Master, cipher: &str, salt: &str, authentication: &str) {
    let derivation = Derivation::new(suite, master);
    for (label, expected) in [(0, cipher), (1, authentication), (2, salt)] {
        let expected = hex(expected);
        let mut key = vec![0; expected.len()];
        derivation.derive(label, &mut key);
        assert_eq!(key, expected, "label {label}");
    }
}

#[test]
fn rfc3711_b_3_key_derivation() {
    check_derivation(
        A80,
        &master128(),
        "C61E7A93744F39EE10734AFE3FF7A087",
        "30CBBC08863D8C85D49DB34A9AE1",
        // 94 bytes, of which the suites take 20.
        "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
         E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
         6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
    );
}

#[test]
fn rfc6188_7_2_key_derivation_of_256_bits() {
    check_derivation(
        B80,
        &master256(),
        "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
        "fa31791685ca444a9e07c6c64e93",
        "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
    );
}

/// The packet that both sides of libsrtp's `srtp_driver` begin with.
const CLEAR: &str = "800f1234decafbadcafebabe abababababababababababababababab";

fn sender(suite: Suite) -> Sender {
    Sender::new(suite, &if suite == B80 { master256() } else { master128() })
}

fn receiver(suite: Suite) -> Receiver {
    Receiver::new(suite, &if suite == B80 { master256() } else { master128() }, None)
}

fn protect(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
    let index = sender.take_index(sequence).expect("a new index");
    let mut buffer = packet.to_vec();
    sender.protect(ssrc, index, &mut buffer, 0);
    buffer
}

fn unprotect(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut clear = vec![9; 3];
    receiver.unprotect(packet, &mut clear).map(|()| clear)
}

#[test]
fn packets_of_libsrtp_are_made_and_read() {
    for (suite, expected) in [
        (A80, "4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb"),
        (A32, "4e55dc4ce79978d88ca4d215949d2402 b78d6acc"),
        (B80, "f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b"),
    ] {
        let expected = hex(&format!("800f1234decafbadcafebabe {expected}"));
        assert_eq!(protect(&mut sender(suite), &hex(CLEAR)), expected);
        assert_eq!(unprotect(&mut receiver(suite), &expected), Ok(hex(CLEAR)));
    }
}

/// A contributing source and an extension, which stay in the clear; then the wrap, with which
/// libsrtp goes on to roll-over counter 1.
#[test]
fn packets_of_libsrtp_with_extension_and_after_the_wrap_are_read() {
    let mut receiver = receiver(A80);
    let header = "9102ffffdecafbadcafebabe 11223344 bede000101020304";
    let payload = hex("000102030405060708090a0b0c0d0e0f10111213");
    let first =
        hex(&format!("{header} 58c43f542802acd92f48fe341db1b81cf83e8a0e c5bf3d437059d319ba02"));
    assert_eq!(unprotect(&mut receiver, &first), Ok([hex(header), payload.clone()].concat()));
    let header = "80020000decafbadcafebabe";
    let second =
        hex(&format!("{header} 8f4650853339128665db16365a5b93fe316d25b6 8da89109b62755748743"));
    assert_eq!(unprotect(&mut receiver, &second), Ok([hex(header), payload].concat()));
}

#[test]
fn control_packet_of_libsrtp_is_made_and_read() {
    let clear = hex("81c8000bcafebabe abababababababababababababababab");
    let expected =
        hex("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
    let mut sender = sender(A32);
    // libsrtp begins with 1.
    assert_eq!(sender.take_control_index(), Some(0));
    let index = sender.take_control_index().unwrap();
    let mut buffer = clear.clone();
    sender.protect_control(0xcafe_babe, index, &mut buffer, 0);
    assert_eq!(buffer, expected);
    let mut receiver = receiver(A32);
    let mut found = Vec::new();
    assert_eq!(receiver.unprotect_control(&expected, &mut found), Ok(()));
    assert_eq!(found, clear);
    assert_eq!(receiver.unprotect_control(&expected, &mut found), Err(Rejected::Replayed));
}

/// RFC 3711 §3.4: authenticated, and not encrypted where E is not set.
#[test]
fn control_packet_in_the_clear_is_read_when_it_is_authentic() {
    let mut packet = hex("81c8000bcafebabe abababababababababababababababab");
    let clear = packet.clone();
    let session = super::cipher::Session::new(A80, &master128(), super::cipher::Kind::Rtcp);
    let index = 7u32.to_be_bytes();
    let mut tag = [0; 10];
    session.tag(&packet, index, &mut tag);
    packet.extend(index);
    packet.extend(tag);
    let mut found = Vec::new();
    assert_eq!(receiver(A80).unprotect_control(&packet, &mut found), Ok(()));
    assert_eq!(found, clear);
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([sequence as u8; 160]);
    packet
}

/// Every packet of a long stream through loss, duplication and reordering over two wraps.
#[test]
fn loss_duplication_and_reordering_across_wraps() {
    let (mut sender, mut receiver) = (sender(A80), receiver(A80));
    let mut random = fastrand::Rng::with_seed(3);
    let mut held_back: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut accepted = 0;
    for n in 65_000u32..132_000 {
        let sequence = n as u16;
        // Headers only: the test is about indices.
        let whole = protect(&mut sender, &packet(5, sequence)[..12]);
        let mut arriving = Vec::new();
        match random.u8(..100) {
            0..10 => {}
            10..20 => held_back.push((sequence, whole)),
            20..30 => arriving.extend([(sequence, whole.clone()), (sequence, whole)]),
            _ => arriving.push((sequence, whole)),
        }
        if held_back.first().is_some_and(|(oldest, _)| sequence.wrapping_sub(*oldest) > 50) {
            arriving.append(&mut held_back);
        }
        let mut before = None;
        for (sequence, data) in arriving {
            match unprotect(&mut receiver, &data) {
                Ok(clear) => {
                    assert_eq!(clear, packet(5, sequence)[..12]);
                    accepted += 1;
                }
                Err(error) => assert_eq!((error, before), (Rejected::Replayed, Some(sequence))),
            }
            before = Some(sequence);
        }
    }
    // A tenth is lost.
    assert!((59_500..61_500).contains(&accepted), "{accepted}");
}

#[test]
fn source_that_is_first_heard_after_its_wrap_is_understood() {
    let (mut sender, mut receiver) = (sender(A80), receiver(A80));
    for sequence in [65_534, 65_535, 0, 1] {
        protect(&mut sender, &packet(5, sequence));
    }
    let heard = protect(&mut sender, &packet(5, 2));
    assert_eq!(unprotect(&mut receiver, &heard), Ok(packet(5, 2)));
    let next = protect(&mut sender, &packet(5, 3));
    assert_eq!(unprotect(&mut receiver, &next), Ok(packet(5, 3)));
}

#[test]
fn forged_packets_change_nothing() {
    let (mut sender, mut receiver) = (sender(A80), receiver(A80));
    let first = protect(&mut sender, &packet(5, 40_000));
    assert!(unprotect(&mut receiver, &first).is_ok());
    // Far ahead, twice round: an estimate that followed would be at roll-over counter 1.
    for sequence in [60_000, 20_000, 45_000, 10_000] {
        let mut forged = packet(5, sequence);
        forged.extend([0; 10]);
        assert!(unprotect(&mut receiver, &forged).is_err());
    }
    for ssrc in 100..200 {
        let mut forged = packet(ssrc, 1);
        forged.extend([0; 10]);
        assert_eq!(unprotect(&mut receiver, &forged), Err(Rejected::Unauthenticated));
    }
    let next = protect(&mut sender, &packet(5, 40_001));
    assert_eq!(unprotect(&mut receiver, &next), Ok(packet(5, 40_001)));
    assert_eq!(unprotect(&mut receiver, &first), Err(Rejected::Replayed));
}

#[test]
fn every_bit_of_a_packet_counts() {
    let whole = protect(&mut sender(A32), &packet(5, 7));
    for place in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[place / 8] ^= 1 << (place % 8);
        assert!(unprotect(&mut receiver(A32), &changed).is_err(), "bit {place}");
    }
    for length in 0..whole.len() {
        assert!(unprotect(&mut receiver(A32), &whole[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn wrong_key_is_no_key() {
    let whole = protect(&mut sender(A80), &packet(5, 7));
    let mut other = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    other[3] ^= 1;
    let mut receiver = Receiver::new(A80, &Master::new(A80, &other).unwrap(), None);
    assert_eq!(unprotect(&mut receiver, &whole), Err(Rejected::Unauthenticated));
}

/// Sources come and go; each begins with roll-over counter 0, none can be played again.
#[test]
fn sources_have_indices_of_their_own() {
    let mut receiver = receiver(A80);
    let mut kept = Vec::new();
    for ssrc in 0..7 {
        let mut sender = sender(A80);
        for sequence in [65_535, 0] {
            let whole = protect(&mut sender, &packet(ssrc, sequence));
            assert!(unprotect(&mut receiver, &whole).is_ok());
            kept.push(whole);
        }
    }
    for whole in &kept {
        assert_eq!(unprotect(&mut receiver, whole), Err(Rejected::Replayed));
    }
}

#[test]
fn no_index_is_used_twice() {
    let mut sender = sender(A80);
    assert_eq!(sender.take_index(65_535), Some(65_535));
    assert_eq!(sender.take_index(1), Some(65_537));
    assert_eq!(sender.take_index(0), Some(65_536));
    assert_eq!(sender.take_index(0), None);
    assert_eq!(sender.take_index(65_535), None);
    assert_eq!(sender.take_index(100), Some(65_636));
    // Too long ago to know.
    assert_eq!(sender.take_index(2), None);
}

#[test]
fn master_key_identifier_is_read_and_must_be_ours() {
    let whole = protect(&mut sender(A80), &packet(5, 7));
    let (body, tag) = whole.split_at(whole.len() - 10);
    let named = |name: &[u8]| [body, name, tag].concat();
    let receiver = |value, bytes| Receiver::new(A80, &master128(), Some(Mki { value, bytes }));
    for (bytes, name) in [(1, "01"), (2, "0001"), (4, "00000001"), (6, "000000000001")] {
        let found = unprotect(&mut receiver(1, bytes), &named(&hex(name)));
        assert_eq!(found, Ok(packet(5, 7)), "{name}");
    }
    let other = unprotect(&mut receiver(1, 4), &named(&hex("00000002")));
    assert_eq!(other, Err(Rejected::Unauthenticated));
    let other = unprotect(&mut receiver(1, 6), &named(&hex("010000000001")));
    assert_eq!(other, Err(Rejected::Unauthenticated));
    assert_eq!(unprotect(&mut receiver(1, 128), &whole), Err(Rejected::Unauthenticated));
    assert_eq!(unprotect(&mut receiver(1, 128), &whole[..100]), Err(Rejected::Malformed));
}

#[test]
fn change_of_keys_begins_anew_and_the_same_key_goes_on() {
    let other = master(A80, "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d");
    let keys = Keys { suite: A80, outbound: master128(), inbound: other, inbound_mki: None };
    let mut context = Context::new(keys.clone());
    assert_eq!(context.sender.take_index(65_535), Some(65_535));
    assert_eq!(context.sender.take_index(0), Some(65_536));
    // Another key of the peer, another tag: ours goes on.
    context.change(Keys { suite: A32, inbound: master128(), ..keys.clone() });
    assert_eq!(context.sender.take_index(0), None);
    assert_eq!(context.sender.take_index(1), Some(65_537));
    let whole = protect(&mut sender(A32), &packet(5, 7));
    assert_eq!(unprotect(&mut context.receiver, &whole), Ok(packet(5, 7)));
    context.change(Keys { suite: A32, outbound: other, inbound: master128(), ..keys });
    assert_eq!(context.sender.take_index(0), Some(0));
    assert_eq!(unprotect(&mut context.receiver, &whole), Err(Rejected::Replayed));
}

#[test]
fn keys_are_not_shown() {
    let keys = Keys { suite: A80, outbound: master128(), inbound: master128(), inbound_mki: None };
    let shown = format!("{keys:?} {:?}", Context::new(keys.clone()));
    assert!(!shown.contains("225") && !shown.to_lowercase().contains("e1"), "{shown}");
}

#[test]
fn context_is_small() {
    // Four schedules of AES-256 in software, and eight sources.
    assert!(size_of::<Context>() <= 6 * 1024, "{}", size_of::<Context>());
}
