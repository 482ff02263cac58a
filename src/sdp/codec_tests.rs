//! Offers and answers of each codec, digits at each clock, comfort noise and packet lengths.

use std::net::IpAddr;
use std::time::Duration;

use super::description::{Description, Direction, Reports};
use super::format::{Clock, Codec, Format};
use super::offer_answer::{
    Agreed, Error, Local, Wishes, agree, answer, glance, offer, offer_again,
};
use super::opus::Opus;
use Codec::{G722, Opus as OPUS, Pcma, Pcmu};

const L16: Codec = Codec::L16(Clock::Wide);

fn local(codecs: &[Codec]) -> Local {
    Local {
        address: IpAddr::from([192, 0, 2, 1]),
        port: 16384,
        origin_id: 1,
        origin_version: 1,
        codecs: codecs.to_vec(),
        direction: Direction::SendRecv,
        wishes: Wishes::default(),
        srtp: None,
    }
}

fn peer(media: &str) -> Description {
    let head = "v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n";
    Description::parse(format!("{head}{media}").as_bytes()).expect("a good description")
}

/// The lines of our description from `m=` on, save the direction.
fn lines(description: &Description) -> Vec<String> {
    let text = String::from_utf8(description.to_bytes()).expect("what we write is text");
    let lines = text.lines().skip_while(|line| !line.starts_with("m="));
    lines.filter(|line| *line != "a=sendrecv").map(str::to_owned).collect()
}

fn answered(codecs: &[Codec], offer: &str) -> (Vec<String>, Agreed) {
    let (answer, agreed) = answer(&local(codecs), &peer(offer)).expect("a codec in common");
    (lines(&answer), agreed)
}

fn agreed(codecs: &[Codec], answer: &str) -> Agreed {
    let local = local(codecs);
    agree(&local, &offer(&local), &peer(answer)).expect("a codec in common")
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn every_codec_is_offered_with_digits_at_its_clock() {
    assert_eq!(
        lines(&offer(&local(&[OPUS, G722, Pcma, Pcmu]))),
        [
            "m=audio 16384 RTP/AVP 111 9 8 0 101 110",
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:9 G722/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=rtpmap:110 telephone-event/48000",
            "a=fmtp:111 useinbandfec=1",
            "a=fmtp:101 0-16",
            "a=fmtp:110 0-16",
            "a=ptime:20",
        ]
    );
    assert_eq!(
        lines(&offer(&local(&[L16])))[..2],
        ["m=audio 16384 RTP/AVP 117 101 113", "a=rtpmap:117 L16/16000"]
    );
}

/// An INVITE of a trunk with the longest of its own fields has about 900 bytes: with this it stays
/// below the 1300 from which RFC 3261 §18.1.1 wants TCP.
#[test]
fn offer_of_all_that_is_on_by_default_fits_a_datagram() {
    assert!(offer(&local(&[OPUS, G722, Pcma, Pcmu])).to_bytes().len() < 400);
}

/// RFC 7587 §7, the second example: 40 ms packets, at most 20 kbit/s and 16 kHz.
#[test]
fn rfc7587_section_7_offer_is_answered_and_heeded() {
    let (lines, agreed) = answered(
        &[OPUS],
        "m=audio 54312 RTP/AVP 101\na=rtpmap:101 opus/48000/2\na=fmtp:101 maxplaybackrate=16000; \
         sprop-maxcapturerate=16000; maxaveragebitrate=20000; stereo=1; useinbandfec=1; usedtx=0\n\
         a=ptime:40\na=maxptime:40\n",
    );
    assert_eq!(
        lines,
        [
            "m=audio 16384 RTP/AVP 101",
            "a=rtpmap:101 opus/48000/2",
            "a=fmtp:101 useinbandfec=1",
            "a=ptime:40"
        ]
    );
    assert_eq!((agreed.codec, agreed.payload_type, agreed.ptime), (OPUS, 101, 40 * MS));
    assert_eq!((agreed.opus.max_bitrate, agreed.opus.max_playback_rate), (Some(20_000), 16_000));
    assert!(agreed.opus.fec && !agreed.opus.dtx);
    assert_eq!(agreed.dtmf, None);
}

/// RFC 7587 §7: the name has two channels, always.
#[test]
fn opus_of_another_name_is_another_codec() {
    for name in ["opus/48000", "opus/48000/1", "opus/16000/2", "opus/8000"] {
        let offer = peer(&format!("m=audio 4000 RTP/AVP 96\na=rtpmap:96 {name}\n"));
        assert_eq!(answer(&local(&[OPUS]), &offer), Err(Error::NoCommonCodec), "{name}");
    }
    let (lines, _) = answered(&[OPUS], "m=audio 4000 RTP/AVP 96\na=rtpmap:96 OPUS/48000/2\n");
    assert_eq!(lines[1], "a=rtpmap:96 opus/48000/2");
}

#[test]
fn our_wishes_of_opus_stand_in_offer_and_answer() {
    let opus = Opus { max_bitrate: Some(24_000), dtx: true, fec: true, ..Opus::default() };
    let wishes = Wishes { opus, ..Wishes::default() };
    let local = Local { wishes, ..local(&[OPUS]) };
    let wish = |number| format!("a=fmtp:{number} maxaveragebitrate=24000;useinbandfec=1;usedtx=1");
    assert!(lines(&offer(&local)).contains(&wish(111)));
    let offer = peer("m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n");
    let (answer, agreed) = answer(&local, &offer).unwrap();
    assert!(lines(&answer).contains(&wish(96)));
    // It asks for nothing: what we ask for is about its packets.
    assert_eq!(agreed.opus, Opus::default());
}

/// RFC 3551 §4.5.2: 8000, though 16,000 samples are taken; some phones write those.
#[test]
fn g722_counts_8000_in_a_second() {
    for map in ["", "a=rtpmap:9 G722/8000\n", "a=rtpmap:9 g722/16000\n"] {
        let offer = format!("m=audio 4000 RTP/AVP 9 8 101\n{map}a=rtpmap:101 telephone-event/8000");
        let (lines, agreed) = answered(&[G722, Pcma], &offer);
        assert_eq!(lines[..2], ["m=audio 16384 RTP/AVP 9 101", "a=rtpmap:9 G722/8000"]);
        assert_eq!((agreed.codec, agreed.dtmf), (G722, Some((101, Clock::Narrow))));
    }
}

#[test]
fn l16_is_told_by_its_rate_and_is_mono() {
    let offer = "m=audio 4000 RTP/AVP 11 10 96 97 98\na=rtpmap:96 L16/44100\n\
                 a=rtpmap:97 L16/16000/2\na=rtpmap:98 l16/16000/1\n";
    let (lines, agreed) = answered(&[Codec::L16(Clock::Full), L16], offer);
    assert_eq!(lines[..2], ["m=audio 16384 RTP/AVP 98", "a=rtpmap:98 L16/16000"]);
    assert_eq!((agreed.codec, agreed.payload_type), (L16, 98));
}

/// RFC 4733 §2.1: digits are on the clock of the audio beside them.
#[test]
fn digits_follow_the_clock_of_the_codec() {
    let offer = "m=audio 4000 RTP/AVP 96 0 8 101 97\na=rtpmap:96 opus/48000/2\n\
                 a=rtpmap:101 telephone-event/8000\na=rtpmap:97 telephone-event/48000\n";
    let (lines, full) = answered(&[OPUS], offer);
    assert_eq!(lines[0], "m=audio 16384 RTP/AVP 96 97");
    assert_eq!(full.dtmf, Some((97, Clock::Full)));
    let (lines, narrow) = answered(&[Pcmu], offer);
    assert_eq!(lines[0], "m=audio 16384 RTP/AVP 0 101");
    assert_eq!(narrow.dtmf, Some((101, Clock::Narrow)));
    // Of an answer with both the one beside its first codec counts.
    let full = agreed(
        &[OPUS, Pcmu],
        "m=audio 4000 RTP/AVP 111 0 101 110\na=rtpmap:111 opus/48000/2\n\
         a=rtpmap:101 telephone-event/8000\na=rtpmap:110 telephone-event/48000\n",
    );
    assert_eq!(full.dtmf, Some((110, Clock::Full)));
}

/// baresip 1.0 and FreeSWITCH 1.8 have digits at 8000 Hz only, beside Opus too.
#[test]
fn digits_at_8000_hz_are_better_than_none() {
    let offer = "m=audio 4000 RTP/AVP 96 101\na=rtpmap:96 opus/48000/2\n\
                 a=rtpmap:101 telephone-event/8000\n";
    assert_eq!(answered(&[OPUS], offer).1.dtmf, Some((101, Clock::Narrow)));
    // The other way round nobody does it.
    let offer = "m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/48000\n";
    assert_eq!(answered(&[Pcmu], offer).1.dtmf, None);
}

/// RFC 3389 §4: 13 beside 8000 Hz, a dynamic number beside others.
#[test]
fn comfort_noise_is_agreed_on_where_both_want_it() {
    let wishes = Wishes { comfort_noise: true, ..Wishes::default() };
    let wanting = |codecs: &[Codec]| Local { wishes, ..local(codecs) };
    assert_eq!(lines(&offer(&wanting(&[Pcmu])))[0], "m=audio 16384 RTP/AVP 0 101 13");
    let both = lines(&offer(&wanting(&[L16, Pcmu])));
    assert_eq!(both[0], "m=audio 16384 RTP/AVP 117 0 101 113 13 105");
    assert!(both.contains(&"a=rtpmap:105 CN/16000".to_owned()));
    // Opus has pauses of its own.
    assert_eq!(lines(&offer(&wanting(&[OPUS])))[0], "m=audio 16384 RTP/AVP 111 101 110");

    let offered = "m=audio 4000 RTP/AVP 0 13 96 97\na=rtpmap:96 L16/16000\na=rtpmap:97 CN/16000\n";
    for (codec, number, others) in [(Pcmu, 0, 13), (L16, 96, 97)] {
        let (answer, agreed) = answer(&wanting(&[codec]), &peer(offered)).unwrap();
        assert_eq!(answer.media[0].formats, [number.to_string(), others.to_string()]);
        assert_eq!(agreed.noise, Some(others));
    }
    let (without, agreed) = answered(&[Pcmu], offered);
    assert_eq!((&*without[0], agreed.noise), ("m=audio 16384 RTP/AVP 0", None));
    let local = wanting(&[Pcmu]);
    let agreed = agree(&local, &offer(&local), &peer("m=audio 4000 RTP/AVP 0 13\n")).unwrap();
    assert_eq!(agreed.noise, Some(13));
    let agreed = agree(&local, &offer(&local), &peer("m=audio 4000 RTP/AVP 0\n")).unwrap();
    assert_eq!(agreed.noise, None);
}

/// RFC 3264 §5.1: we send under the numbers of the answer, the peer under those of our offer.
#[test]
fn payload_types_may_differ_by_direction() {
    let agreed = agreed(
        &[OPUS, Pcmu],
        "m=audio 4000 RTP/AVP 96 98\na=rtpmap:96 opus/48000/2\na=rtpmap:98 telephone-event/48000\n",
    );
    assert_eq!((agreed.codec, agreed.payload_type), (OPUS, 96));
    assert_eq!(agreed.dtmf, Some((98, Clock::Full)));
    let of = |number| agreed.own_formats.iter().find(|(n, _)| *n == number).map(|(_, f)| *f);
    assert_eq!(of(111), Some(Format::Audio(OPUS)));
    assert_eq!(of(110), Some(Format::Event(Clock::Full)));
    // Some send what they wrote themselves.
    assert_eq!(of(96), Some(Format::Audio(OPUS)));
    assert_eq!(of(98), Some(Format::Event(Clock::Full)));
    // And may change to what else was offered.
    assert_eq!(of(0), Some(Format::Audio(Pcmu)));
}

/// A number of the answer that means something else in our offer: ours counts for what comes.
#[test]
fn our_own_numbers_are_not_given_another_meaning_by_the_peer() {
    let agreed = agreed(&[OPUS, Pcmu], "m=audio 4000 RTP/AVP 101 0\na=rtpmap:101 opus/48000/2\n");
    assert_eq!(agreed.payload_type, 101);
    let meanings: Vec<_> = agreed.own_formats.iter().filter(|(n, _)| *n == 101).collect();
    assert_eq!(meanings, [&(101, Format::Event(Clock::Narrow))]);
}

/// RFC 3264 §7: the first of the answer is what the peer likes best.
#[test]
fn order_of_the_answer_counts() {
    let answer = "m=audio 4000 RTP/AVP 18 0 9 111\na=rtpmap:111 opus/48000/2\n";
    assert_eq!(agreed(&[OPUS, G722, Pcma, Pcmu], answer).codec, Pcmu);
    let answer = "m=audio 4000 RTP/AVP 101 9 0\na=rtpmap:101 telephone-event/8000\n";
    assert_eq!(agreed(&[OPUS, G722, Pcma, Pcmu], answer).codec, G722);
}

/// RFC 3264 §8.3.2: a number means the same as long as the call lasts.
#[test]
fn numbers_of_the_call_are_kept_in_later_offers() {
    let local = local(&[OPUS, G722, Pcma, Pcmu]);
    let offered = "m=audio 4000 RTP/AVP 111 101 9\na=rtpmap:111 telephone-event/48000\n\
                   a=rtpmap:101 opus/48000/2\n";
    let (_, agreed) = answer(&local, &peer(offered)).unwrap();
    assert_eq!((agreed.payload_type, agreed.dtmf), (101, Some((111, Clock::Full))));
    let again = lines(&offer_again(&local, &agreed));
    // telephone-event at 8000 gets a free number: 101 is taken.
    assert_eq!(again[0], "m=audio 16384 RTP/AVP 101 9 8 0 96 111");
    assert!(again.contains(&"a=rtpmap:101 opus/48000/2".to_owned()));
    assert!(again.contains(&"a=rtpmap:111 telephone-event/48000".to_owned()));
    assert!(again.contains(&"a=rtpmap:96 telephone-event/8000".to_owned()));
}

#[test]
fn packet_length_is_one_that_the_codec_can_make() {
    for (codec, attributes, expected) in [
        (OPUS, "", 20),
        (OPUS, "a=ptime:30\n", 20),
        (OPUS, "a=ptime:50\n", 40),
        (OPUS, "a=ptime:60\n", 60),
        (OPUS, "a=ptime:120\n", 60),
        (OPUS, "a=ptime:10\na=fmtp:96 minptime=20\n", 20),
        (OPUS, "a=ptime:5\na=fmtp:96 minptime=3\n", 10),
        (OPUS, "a=ptime:40\na=maxptime:20\n", 20),
        // 40 ms of 32 bytes are 1280, 10 ms of 96 are 960: more comes near to the least MTU.
        (L16, "a=ptime:60\n", 40),
        (Codec::L16(Clock::Full), "a=ptime:20\n", 10),
        (Codec::L16(Clock::Narrow), "a=ptime:60\n", 60),
        (G722, "a=ptime:30\n", 30),
    ] {
        let offer = format!(
            "m=audio 4000 RTP/AVP 96 97 98 99 9\na=rtpmap:96 opus/48000/2\n\
             a=rtpmap:97 L16/16000\na=rtpmap:98 L16/48000\na=rtpmap:99 L16/8000\n{attributes}"
        );
        let (lines, agreed) = answered(&[codec], &offer);
        assert_eq!(agreed.ptime, expected * MS, "{codec:?} {attributes}");
        assert!(lines.contains(&format!("a=ptime:{expected}")), "{codec:?} {attributes}");
    }
}

#[test]
fn packet_length_is_ours_where_the_peer_says_none() {
    let wishes = Wishes { ptime: 40 * MS, ..Wishes::default() };
    let local = Local { wishes, ..local(&[Pcmu]) };
    assert!(lines(&offer(&local)).contains(&"a=ptime:40".to_owned()));
    let silent = peer("m=audio 4000 RTP/AVP 0\n");
    assert_eq!(answer(&local, &silent).unwrap().1.ptime, 40 * MS);
    assert_eq!(agree(&local, &offer(&local), &silent).unwrap().ptime, 40 * MS);
    let short = peer("m=audio 4000 RTP/AVP 0\na=maxptime:20\n");
    assert_eq!(agree(&local, &offer(&local), &short).unwrap().ptime, 20 * MS);
}

/// RFC 3611 §5.3, and as Linphone has it at session level.
#[test]
fn extended_reports_are_asked_for_by_who_is_asked() {
    let asked = "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\n";
    let ours = "a=rtcp-xr:rcvr-rtt=all voip-metrics".to_owned();
    for offer in
        [format!("{asked}m=audio 4000 RTP/AVP 0\n"), format!("m=audio 4000 RTP/AVP 0\n{asked}")]
    {
        let (lines, agreed) = answered(&[Pcmu], &offer);
        assert!(lines.contains(&ours), "{offer}");
        let both = Reports { voip_metrics: true, receiver_rtt: true };
        assert_eq!(agreed.reports, Some(both));
    }
    for other in ["", "a=rtcp-xr:\n", "a=rtcp-xr:pkt-loss-rle=100 rcvr-rtt=none\n"] {
        let (lines, agreed) = answered(&[Pcmu], &format!("m=audio 4000 RTP/AVP 0\n{other}"));
        assert!(!lines.contains(&ours) && agreed.reports.is_none(), "{other}");
    }
    // Unasked, the peer wants metrics; the reference time needs both.
    let answer = peer(&format!("m=audio 4000 RTP/AVP 0\n{asked}"));
    let plain = local(&[Pcmu]);
    let reports = agree(&plain, &offer(&plain), &answer).unwrap().reports;
    assert_eq!(reports, Some(Reports { voip_metrics: true, receiver_rtt: false }));
    let wishes = Wishes { extended_reports: true, ..Wishes::default() };
    let asking = Local { wishes, ..plain };
    assert!(lines(&offer(&asking)).contains(&ours));
    let reports = agree(&asking, &offer(&asking), &answer).unwrap().reports;
    assert_eq!(reports, Some(Reports { voip_metrics: true, receiver_rtt: true }));
}

#[test]
fn offer_can_be_looked_at_before_it_is_answered() {
    let offer = peer(
        "m=video 4002 RTP/AVP 31\nm=audio 4000 RTP/AVP 18 96 0\na=rtpmap:96 opus/48000/2\n\
         a=fmtp:96 maxplaybackrate=8000\na=ptime:30\n",
    );
    let seen = glance(&offer).unwrap();
    assert_eq!(seen.formats[..], [(96, Format::Audio(OPUS)), (0, Format::Audio(Pcmu))]);
    assert_eq!(seen.ptime, Some(30 * MS));
    assert_eq!(seen.opus.map(|opus| opus.max_playback_rate), Some(8000));
    assert!(glance(&peer("m=audio 0 RTP/AVP 0\n")).is_none());
}

/// As many formats as a text may have, each known: those beyond the table are as unknown as others.
#[test]
fn many_numbers_of_one_codec_do_no_harm() {
    let numbers: Vec<String> = (64..128).map(|number| number.to_string()).collect();
    let maps: String = (64..128).map(|number| format!("a=rtpmap:{number} PCMA/8000\n")).collect();
    let offer = format!("m=audio 4000 RTP/AVP {}\n{maps}", numbers.join(" "));
    let (_, agreed) = answered(&[OPUS, Pcma], &offer);
    assert_eq!((agreed.codec, agreed.payload_type), (Pcma, 64));
    assert_eq!(
        super::tests::agree(&format!(
            "v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n{offer}"
        ))
        .payload_type,
        64
    );
}
