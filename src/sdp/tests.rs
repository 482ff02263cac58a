//! Descriptions as other programs write them, and texts that nobody should.

use std::net::IpAddr;
use std::time::Duration;

use super::description::{Description, Direction};
use super::format::Codec::{self, Pcma, Pcmu};
use super::format::{Clock, Format};
use super::offer_answer::{self, Agreed, Local, Wishes};

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

/// Our answer to an offer, as the `m=` lines of the text, with the agreement.
fn answer(codecs: &[Codec], offer: &str) -> (Vec<String>, Agreed) {
    let offer = Description::parse(offer.as_bytes()).expect("the offer is good");
    let (answer, agreed) = offer_answer::answer(&local(codecs), &offer).expect("a common codec");
    let text = String::from_utf8(answer.to_bytes()).expect("what we write is text");
    assert_eq!(Description::parse(text.as_bytes()), Ok(answer));
    let lines = text.lines().filter(|line| line.starts_with("m="));
    (lines.map(str::to_owned).collect(), agreed)
}

/// What our offer of PCMA and PCMU and this answer agree on.
pub fn agree(answer: &str) -> Agreed {
    let local = local(&[Pcma, Pcmu]);
    let offer = offer_answer::offer(&local);
    let answer = Description::parse(answer.as_bytes()).expect("the answer is good");
    offer_answer::agree(&local, &offer, &answer).expect("a common codec")
}

#[test]
fn asterisk_offers() {
    let (media, agreed) = answer(
        &[Pcma, Pcmu],
        "v=0\r\no=- 1821763374 1821763374 IN IP4 198.51.100.20\r\ns=Asterisk\r\n\
         c=IN IP4 198.51.100.20\r\nt=0 0\r\nm=audio 11354 RTP/AVP 107 9 0 8 101\r\n\
         a=rtpmap:107 opus/48000/2\r\na=fmtp:107 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n",
    );
    assert_eq!(media, ["m=audio 16384 RTP/AVP 8 101"]);
    assert_eq!(agreed.remote, "198.51.100.20:11354".parse().unwrap());
    assert_eq!((agreed.codec, agreed.dtmf), (Pcma, Some((101, Clock::Narrow))));
}

/// Without direction; RTCP multiplexed; two clock rates of telephone-event.
#[test]
fn freeswitch_offers() {
    let (media, agreed) = answer(
        &[Pcmu, Pcma],
        "v=0\r\no=FreeSWITCH 1583410263 1583410264 IN IP4 198.51.100.7\r\ns=FreeSWITCH\r\n\
         c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 28184 RTP/AVP 102 9 0 8 103 101\r\n\
         a=rtpmap:102 opus/48000/2\r\n\
         a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; ptime=20; minptime=10\r\n\
         a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:103 telephone-event/48000\r\na=fmtp:103 0-16\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtcp-mux\r\n\
         a=rtcp:28184 IN IP4 198.51.100.7\r\na=ptime:20\r\n",
    );
    assert_eq!(media, ["m=audio 16384 RTP/AVP 0 101"]);
    assert!(agreed.rtcp_mux);
    assert_eq!(agreed.remote_rtcp, agreed.remote);
    assert_eq!(agreed.direction, Direction::SendRecv);
}

/// RTP/AVPF, RTCP on another port, digits at several clock rates, a video stream.
#[test]
fn linphone_offers() {
    let (media, agreed) = answer(
        &[Pcma, Pcmu],
        "v=0\r\no=alice 2253 2891 IN IP4 198.51.100.23\r\ns=Talk\r\nc=IN IP4 198.51.100.23\r\n\
         t=0 0\r\na=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\n\
         a=record:off\r\nm=audio 7078 RTP/AVPF 96 97 98 0 8 18 101 99 100\r\n\
         a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:97 speex/16000\r\n\
         a=fmtp:97 vbr=on\r\na=rtpmap:98 speex/8000\r\na=fmtp:98 vbr=on\r\na=fmtp:18 annexb=yes\r\n\
         a=rtpmap:101 telephone-event/48000\r\na=rtpmap:99 telephone-event/16000\r\n\
         a=rtpmap:100 telephone-event/8000\r\na=rtcp:42091\r\na=rtcp-fb:* trr-int 1000\r\n\
         a=rtcp-fb:* ccm tmmbr\r\nm=video 9078 RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\n\
         a=rtcp:51372\r\na=rtcp-fb:* trr-int 1000\r\n",
    );
    assert_eq!(media, ["m=audio 16384 RTP/AVPF 8 100", "m=video 0 RTP/AVPF 96"]);
    assert_eq!(agreed.dtmf, Some((100, Clock::Narrow)));
    assert_eq!(agreed.remote_rtcp, "198.51.100.23:42091".parse().unwrap());
}

/// Attributes before the mappings; static numbers without one.
#[test]
fn grandstream_offers() {
    let (media, agreed) = answer(
        &[Pcma, Pcmu],
        "v=0\r\no=1001 8000 8000 IN IP4 198.51.100.50\r\ns=SIP Call\r\nc=IN IP4 198.51.100.50\r\n\
         t=0 0\r\nm=audio 5004 RTP/AVP 0 8 4 18 2 9 101\r\na=sendrecv\r\na=ptime:30\r\n\
         a=rtpmap:4 G723/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
         a=rtpmap:2 G726-32/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
    );
    assert_eq!(media, ["m=audio 16384 RTP/AVP 8 101"]);
    assert_eq!((agreed.codec, agreed.ptime), (Pcma, Duration::from_millis(30)));
}

#[test]
fn baresip_offers() {
    let (media, agreed) = answer(
        &[Pcma, Pcmu],
        "v=0\r\no=- 1629281923 192837465 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\n\
         t=0 0\r\na=tool:baresip 3.9.0\r\nm=audio 27392 RTP/AVP 0 8 101\r\nb=AS:125\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=rtcp:27393\r\na=sendrecv\r\na=label:1\r\na=rtcp-rsize\r\n\
         a=ssrc:1629281923 cname:sip:bob@198.51.100.9\r\na=ptime:20\r\n",
    );
    assert_eq!(media, ["m=audio 16384 RTP/AVP 8 101"]);
    assert_eq!(agreed.remote_rtcp, "198.51.100.9:27393".parse().unwrap());
}

/// A browser through a gateway of its own: no protocol that we speak.
#[test]
fn browser_offers_nothing_that_we_speak() {
    let offer = Description::parse(
        b"v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
          a=group:BUNDLE 0\r\na=msid-semantic: WMS\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\n\
          c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
          a=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=mid:0\r\na=rtcp-mux\r\n\
          a=rtpmap:111 opus/48000/2\r\n",
    )
    .unwrap();
    let error = offer_answer::answer(&local(&[Pcma, Pcmu]), &offer).unwrap_err();
    assert_eq!(error.to_string(), "audio over UDP/TLS/RTP/SAVPF, not RTP/AVP or RTP/AVPF");
}

/// A Cisco gateway answers with its media address in the stream and no mapping of static types.
#[test]
fn cisco_answers() {
    let agreed = agree(
        "v=0\r\no=CiscoSystemsSIP-GW-UserAgent 4962 7223 IN IP4 198.51.100.30\r\ns=SIP Call\r\n\
         c=IN IP4 198.51.100.30\r\nt=0 0\r\nm=audio 18000 RTP/AVP 0 101\r\n\
         c=IN IP4 198.51.100.31\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
    );
    assert_eq!(agreed.remote, "198.51.100.31:18000".parse().unwrap());
    assert_eq!((agreed.codec, agreed.payload_type), (Pcmu, 0));
}

/// RFC 3264 §5.1: each side receives under the numbers of its own description.
#[test]
fn telephone_event_may_have_a_number_on_each_side() {
    let agreed = agree(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.40\r\ns=-\r\nc=IN IP4 198.51.100.40\r\nt=0 0\r\n\
         m=audio 18000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n",
    );
    let event = Format::Event(Clock::Narrow);
    assert_eq!(agreed.dtmf, Some((96, Clock::Narrow)));
    assert!(
        agreed.own_formats.contains(&(101, event)) && agreed.own_formats.contains(&(96, event))
    );
    let without = agree(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.40\r\ns=-\r\nc=IN IP4 198.51.100.40\r\nt=0 0\r\n\
         m=audio 18000 RTP/AVP 0\r\n",
    );
    assert_eq!(without.dtmf, None);
}

/// Several codecs in another order than ours: the answerer's first.
#[test]
fn asterisk_answers() {
    let agreed = agree(
        "v=0\r\no=- 2018 2020 IN IP4 198.51.100.20\r\ns=Asterisk\r\nc=IN IP4 198.51.100.20\r\n\
         t=0 0\r\nm=audio 17206 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
         a=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n",
    );
    assert_eq!((agreed.codec, agreed.dtmf), (Pcmu, Some((101, Clock::Narrow))));
    assert!(!agreed.is_held);
}

/// RFC 3264 §10.2: the offerer is on hold while codecs are settled.
#[test]
fn offer_of_rfc_3264_section_10_2_is_answered_inactive() {
    let (media, agreed) = answer(
        &[Pcma, Pcmu],
        "v=0\r\no=alice 2890844526 2890844526 IN IP4 host.anywhere.com\r\ns=\r\n\
         c=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 62986 RTP/AVP 0 4 18\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:4 G723/8000\r\na=rtpmap:18 G729/8000\r\na=inactive\r\n",
    );
    assert_eq!(media, ["m=audio 16384 RTP/AVP 0"]);
    assert_eq!((agreed.direction, agreed.is_held), (Direction::Inactive, true));
}

#[test]
fn thousands_of_lines_are_read_up_to_the_limit_of_a_text() {
    let head = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n";
    let many = format!("{head}{}m=audio 4000 RTP/AVP 0\r\n", "b=AS:64\r\n".repeat(3000));
    assert_eq!(answer(&[Pcmu], &many).1.codec, Pcmu);
    let more = format!("{head}{}", "b=AS:64\r\n".repeat(30_000));
    assert!(Description::parse(more.as_bytes()).is_err());
}
