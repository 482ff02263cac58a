//! Offer and answer for one audio stream (RFC 3264).
//!
//! PCMU, PCMA, G.722, Opus (RFC 7587), L16, telephone-event (RFC 4733) and comfort noise (RFC 3389)
//! over RTP/AVP and RTP/AVPF **are** supported, as are hold in both forms, `ptime`, `maxptime`,
//! `a=rtcp` and `rtcp-mux` when offered. Every other stream of an offer is refused by port 0 in its
//! place. SRTP with keys in the description
//! (RFC 4568) **is** supported over RTP/SAVP and RTP/SAVPF, and over RTP/AVP and RTP/AVPF where
//! keys are offered there (RFC 8643). DTLS, ICE and bundles **are not** supported.
//!
//! An answer of ours holds one codec: the peer then sends that one, and a joined pair can be
//! relayed as it comes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::crypto::{Crypto, Key, Mki, OwnKeys, Suite};
use super::description::{Address, Description, Direction, Media, Reports};
use super::format::{
    Clock, Codec, Format, Formats, event_beside, formats_of, number_for, number_of, numbers,
};
use super::opus::Opus;

/// Our side of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// What to write in `o=` and `c=`.
    pub address: IpAddr,
    /// RTP port; RTCP is the next one unless multiplexed.
    pub port: u16,
    pub origin_id: u64,
    pub origin_version: u64,
    /// In the order of preference; telephone-event is offered beside them.
    pub codecs: Vec<Codec>,
    pub direction: Direction,
    pub wishes: Wishes,
    /// `None`: the stream is not protected, whatever is offered.
    pub srtp: Option<Srtp>,
}

/// How we would like to get what the peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Of its packets; ours are of this length too where the peer does not say otherwise.
    pub ptime: Duration,
    /// Comfort noise in its pauses; it gets some in ours if it wants to.
    pub comfort_noise: bool,
    pub opus: Opus,
    /// Extended reports (RFC 3611) are asked for in offers; in answers where the peer asks too.
    pub extended_reports: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            ptime: Duration::from_millis(DEFAULT_PTIME_MS.into()),
            comfort_noise: false,
            opus: Opus { fec: true, ..Opus::default() },
            extended_reports: false,
        }
    }
}

/// What we do about SRTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srtp {
    pub keys: OwnKeys,
    /// A stream that is not protected is no agreement.
    pub is_required: bool,
    /// Of our offers; an answer has the profile of its offer.
    pub profile: Profile,
}

/// How an offer asks for protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// RTP/AVP without keys.
    Plain,
    /// RTP/AVP with keys, for a peer that does not need them (RFC 8643).
    Opportunistic,
    /// RTP/SAVP: with keys, or not at all (RFC 4568).
    Secure,
}

/// How a stream is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// What later offers ask for.
    pub profile: Profile,
    pub suite: Suite,
    /// Of what we send.
    pub own: Key,
    /// Of what the peer sends.
    pub remote: Key,
    pub remote_mki: Option<Mki>,
}

/// What both sides agreed on, from our point of view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    pub remote: SocketAddr,
    pub remote_rtcp: SocketAddr,
    pub rtcp_mux: bool,
    pub codec: Codec,
    /// What to write into packets that we send.
    pub payload_type: u8,
    /// What the payload types of the peer's packets stand for: the numbers of our own description
    /// (RFC 3264 §5.1), then those of the peer's, since some send these.
    pub own_formats: Formats,
    /// telephone-event in what we send, when the peer has it, and what its durations count in.
    pub dtmf: Option<(u8, Clock)>,
    /// Comfort noise in what we send, when both want it.
    pub noise: Option<u8>,
    /// What the peer asks of Opus.
    pub opus: Opus,
    /// Extended reports that the peer wants.
    pub reports: Option<Reports>,
    /// What we may do with our side of the stream.
    pub direction: Direction,
    /// The packet length the peer asked for, ours where it did not, in what the codec can make.
    pub ptime: Duration,
    /// The peer put us on hold: its direction is `sendonly` or `inactive`, or its address 0.0.0.0.
    pub is_held: bool,
    /// `None`: RTP as it is.
    pub srtp: Option<Box<Protection>>,
}

/// Why there is no agreement. The peer wants what we don't do, in each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No audio stream, or a refused one (port 0).
    NoAudio,
    /// Audio over a protocol that we don't speak, or not on this call; which one.
    Protocol(String),
    /// No key of a suite that we have, where one is needed.
    Unprotected,
    NoCommonCodec,
    /// No address of one peer to send to: none, a host name, a group or everybody.
    NoAddress,
    /// An address of the other family than ours.
    AddressFamily,
}

/// Our offer.
pub fn offer(local: &Local) -> Description {
    offer_beside(local, &[])
}

/// Our offer in a call that stands: what has a number keeps it (RFC 3264 §8.3.2).
pub fn offer_again(local: &Local, agreed: &Agreed) -> Description {
    offer_beside(local, &agreed.own_formats)
}

/// What an offer has, before it is answered.
pub struct Glance {
    pub formats: Formats,
    pub ptime: Option<Duration>,
    /// `None`: no Opus is offered.
    pub opus: Option<Opus>,
}

/// `None`: there is no audio in it.
pub fn glance(offer: &Description) -> Option<Glance> {
    let media = offer.media.iter().find(|media| is_live_audio(media))?;
    let formats = formats_of(media);
    let opus = number_of(&formats, Format::Audio(Codec::Opus)).map(|number| opus_of(media, number));
    let ptime = media.ptime_ms.map(|ptime| Duration::from_millis(ptime.into()));
    Some(Glance { formats, ptime, opus })
}

/// Our answer to an offer that takes the audio away by port 0 (RFC 3264 §8.2); `None`: it does not.
pub fn answer_to_removal(local: &Local, offer: &Description) -> Option<Description> {
    let is_audio = |media: &&Media| media.kind.eq_ignore_ascii_case("audio");
    let mut audio = offer.media.iter().filter(is_audio).peekable();
    audio.peek()?;
    let sections = offer.media.iter().map(refused).collect();
    audio.all(|media| media.port == 0).then(|| describe(local, sections))
}

/// Our answer to an offer of one stream that we cannot use: it is refused.
pub fn refusal(local: &Local) -> Description {
    let mut media = Media::new("audio", 0, "RTP/AVP");
    media.formats.push("0".to_owned());
    describe(local, vec![media])
}

/// `given`: the numbers of the call so far.
fn offer_beside(local: &Local, given: &[(u8, Format)]) -> Description {
    let profile = local.srtp.as_ref().map_or(Profile::Plain, |srtp| srtp.profile);
    let mut media = Media::new("audio", local.port, profile.protocol());
    if let Some(srtp) = local.srtp.as_ref().filter(|srtp| srtp.profile != Profile::Plain) {
        let line = |(tag, suite)| srtp.keys.crypto(tag, suite);
        media.crypto = (1..).zip(Suite::ALL).map(line).collect();
    }
    let mut taken = given.to_vec();
    for format in offered_formats(local) {
        let number = number_for(format, &taken);
        taken.push((number, format));
        media.add(number, format, &local.wishes);
    }
    media.ptime_ms = Some(milliseconds(local.wishes.ptime));
    media.reports = local.wishes.extended_reports.then_some(REPORTS);
    media.direction = Some(local.direction);
    describe(local, vec![media])
}

/// The codecs, then digits at each of their clocks, and comfort noise where it is wanted: Opus
/// has pauses of its own.
fn offered_formats(local: &Local) -> impl Iterator<Item = Format> {
    let clocks = [Clock::Narrow, Clock::Wide, Clock::Full];
    let has = |clock| move |codec: &Codec| codec.clock() == clock;
    let events = clocks.into_iter().filter(move |&clock| {
        // 8000 beside any: who has no other sends that.
        clock == Clock::Narrow || local.codecs.iter().any(has(clock))
    });
    let noises = [Clock::Narrow, Clock::Wide]
        .into_iter()
        .filter(move |&clock| local.wishes.comfort_noise && local.codecs.iter().any(has(clock)));
    let codecs = local.codecs.iter().copied().map(Format::Audio);
    codecs.chain(events.map(Format::Event)).chain(noises.map(Format::Noise))
}

/// Our answer to the peer's offer, with what both then agree on. Of the codecs of an offer the
/// first of ours counts: `local.codecs` begins with what the other leg of a pair has.
pub fn answer(local: &Local, offer: &Description) -> Result<(Description, Agreed), Error> {
    let mut refusal = Error::NoAudio;
    for (place, media) in offer.media.iter().enumerate() {
        match accept(local, offer, media) {
            Ok((accepted, agreed)) => {
                let mut sections: Vec<_> = offer.media.iter().map(refused).collect();
                sections[place] = accepted;
                return Ok((describe(local, sections), agreed));
            }
            // What an audio stream lacks says more than that video is no audio.
            Err(Error::NoAudio) => {}
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// What our offer and the peer's answer agree on.
pub fn agree(local: &Local, offer: &Description, answer: &Description) -> Result<Agreed, Error> {
    let offered = offer.media.iter().find(|media| is_live_audio(media)).ok_or(Error::NoAudio)?;
    let media = answer.media.iter().find(|media| is_live_audio(media)).ok_or(Error::NoAudio)?;
    let srtp = agreed_protection(local, offered, media)?;
    let ours = formats_of(offered);
    // A payload type that an answer uses without a mapping is ours (RFC 3264 §6.1 wants the
    // same number for the same codec; some peers leave `a=rtpmap` out then).
    let meaning_of = |number| match media.map_of(number) {
        Some(_) => Format::of(media, number),
        None => Format::of(offered, number),
    };
    let theirs: Formats = numbers(media)
        .filter_map(|number| Some((number, meaning_of(number)?)))
        .filter(|(_, format)| number_of(&ours, *format).is_some())
        .take(Formats::new().capacity())
        .collect();
    // The answer's order is the peer's preference, and what it will send.
    let is_audio = |(number, format): &(u8, Format)| match format {
        Format::Audio(codec) => Some((*number, *codec)),
        Format::Event(_) | Format::Noise(_) => None,
    };
    let (payload_type, codec) = theirs.iter().find_map(is_audio).ok_or(Error::NoCommonCodec)?;
    let opus = opus_of(media, payload_type);
    let own_formats = with_theirs(ours, &theirs);
    let choice = Choice { codec, payload_type, formats: &theirs, own_formats, opus, srtp };
    let mut stream = Stream::of(local, answer, media)?;
    // RFC 5761 §5.1.1: only where both said so.
    stream.rtcp_mux &= offered.rtcp_mux;
    // RFC 3611 §5.2: the reference time goes both ways or not at all.
    let is_asked = offered.reports.is_some();
    stream.reports = stream
        .reports
        .map(|reports| Reports { receiver_rtt: reports.receiver_rtt && is_asked, ..reports });
    Ok(stream.agreed(local, media, choice))
}

/// Our answer to one stream of an offer.
fn accept(local: &Local, offer: &Description, media: &Media) -> Result<(Media, Agreed), Error> {
    if !is_live_audio(media) {
        return Err(Error::NoAudio);
    }
    let crypto = chosen_crypto(local, media)?;
    let formats = formats_of(media);
    let (payload_type, codec) = local
        .codecs
        .iter()
        .find_map(|codec| Some((number_of(&formats, Format::Audio(*codec))?, *codec)))
        .ok_or(Error::NoCommonCodec)?;
    let srtp = crypto.as_ref().map(|(remote, own)| protection(media, own, remote));
    let opus = opus_of(media, payload_type);
    // RFC 3264 §6.1: the offer's numbers for the offer's codecs.
    let mut answered = Formats::from_iter([(payload_type, Format::Audio(codec))]);
    let event = event_beside(&formats, codec.clock());
    answered.extend(event.map(|(number, clock)| (number, Format::Event(clock))));
    let noise = Format::Noise(codec.clock());
    let noise_number = number_of(&formats, noise).filter(|_| local.wishes.comfort_noise);
    answered.extend(noise_number.map(|number| (number, noise)));
    let own_formats = answered.clone();
    let choice = Choice { codec, payload_type, formats: &answered, own_formats, opus, srtp };
    let agreed = Stream::of(local, offer, media)?.agreed(local, media, choice);

    let mut accepted = Media::new("audio", local.port, &media.protocol);
    accepted.crypto.extend(crypto.map(|(_, own)| own));
    for &(number, format) in &answered {
        accepted.add(number, format, &local.wishes);
    }
    accepted.ptime_ms = Some(milliseconds(agreed.ptime));
    accepted.rtcp_mux = agreed.rtcp_mux;
    accepted.reports = agreed.reports.map(|_| REPORTS);
    accepted.direction = Some(agreed.direction);
    Ok((accepted, agreed))
}

/// A refused stream keeps its place (RFC 3264 §6).
fn refused(media: &Media) -> Media {
    let mut refused = Media::new(&media.kind, 0, &media.protocol);
    refused.formats = media.formats.clone();
    refused
}

fn describe(local: &Local, media: Vec<Media>) -> Description {
    Description {
        reports: None,
        origin_id: local.origin_id,
        origin_version: local.origin_version,
        origin_address: Address::Ip(local.address),
        connection: Some(Address::Ip(local.address)),
        direction: None,
        media,
    }
}

/// What is sent to the peer.
struct Choice<'a> {
    codec: Codec,
    payload_type: u8,
    /// What the peer takes, under the numbers of its own description.
    formats: &'a Formats,
    own_formats: Formats,
    opus: Opus,
    srtp: Option<Box<Protection>>,
}

/// The numbers of our own description, and those of the peer's that mean nothing in ours.
fn with_theirs(mut ours: Formats, theirs: &Formats) -> Formats {
    for &(number, format) in theirs {
        if !ours.iter().any(|(own, _)| *own == number) && ours.push((number, format)).is_err() {
            break;
        }
    }
    ours
}

/// What the peer's parameters of a payload type say of Opus.
fn opus_of(media: &Media, payload_type: u8) -> Opus {
    let own = media.fmtp.iter().find(|(number, _)| *number == payload_type);
    own.map_or_else(Opus::default, |(_, parameters)| Opus::parse(parameters))
}

/// What the peer says about its end of the stream.
struct Stream {
    remote: SocketAddr,
    remote_rtcp: SocketAddr,
    rtcp_mux: bool,
    direction: Direction,
    reports: Option<Reports>,
}

impl Stream {
    fn of(local: &Local, description: &Description, media: &Media) -> Result<Self, Error> {
        let Some(Address::Ip(ip)) = description.connection_of(media) else {
            return Err(Error::NoAddress);
        };
        if is_of_many(*ip) {
            return Err(Error::NoAddress);
        }
        if ip.is_ipv4() != local.address.is_ipv4() {
            return Err(Error::AddressFamily);
        }
        // RFC 3550 §11: the next port, where nothing else is said (RFC 3605).
        let rtcp_port = media.rtcp_port.unwrap_or(media.port.saturating_add(1));
        let rtcp_ip = media
            .rtcp_address
            .filter(|other| other.is_ipv4() == ip.is_ipv4() && !is_of_many(*other));
        let mut direction = description.direction_of(media);
        if ip.is_unspecified() {
            // Hold as RFC 2543 §B.5 had it: the peer has no place for our packets.
            direction = Direction::new(direction.sends(), false);
        }
        Ok(Self {
            remote: SocketAddr::new(*ip, media.port),
            remote_rtcp: SocketAddr::new(rtcp_ip.unwrap_or(*ip), rtcp_port),
            rtcp_mux: media.rtcp_mux,
            direction,
            reports: description.reports_of(media),
        })
    }

    fn agreed(self, local: &Local, media: &Media, choice: Choice<'_>) -> Agreed {
        let clock = choice.codec.clock();
        let noise = number_of(choice.formats, Format::Noise(clock));
        // RFC 3264 §6.1: what one side sends the other must receive.
        let direction = Direction::new(
            local.direction.sends() && self.direction.receives(),
            local.direction.receives() && self.direction.sends(),
        );
        Agreed {
            remote: self.remote,
            remote_rtcp: if self.rtcp_mux { self.remote } else { self.remote_rtcp },
            rtcp_mux: self.rtcp_mux,
            codec: choice.codec,
            payload_type: choice.payload_type,
            own_formats: choice.own_formats,
            dtmf: event_beside(choice.formats, clock),
            noise: noise.filter(|_| local.wishes.comfort_noise),
            opus: choice.opus,
            reports: self.reports,
            direction,
            ptime: packet_length(local.wishes.ptime, media, choice.codec, choice.opus),
            is_held: local.direction.sends() && !self.direction.receives(),
            srtp: choice.srtp,
        }
    }
}

/// Whether what is sent there reaches others than the peer.
fn is_of_many(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl Media {
    fn add(&mut self, number: u8, format: Format, wishes: &Wishes) {
        self.formats.push(number.to_string());
        self.rtpmap.push(format.map(number));
        let parameters = match format {
            Format::Audio(Codec::Opus) => wishes.opus.to_string(),
            Format::Event(_) => DTMF_EVENTS.to_owned(),
            Format::Audio(_) | Format::Noise(_) => return,
        };
        if !parameters.is_empty() {
            self.fmtp.push((number, parameters));
        }
    }
}

fn is_live_audio(media: &Media) -> bool {
    media.kind.eq_ignore_ascii_case("audio") && media.port != 0
}

/// The first key of an offered stream that we can go by, and our answer to it (RFC 4568 §5.1.2).
fn chosen_crypto<'a>(
    local: &Local,
    media: &'a Media,
) -> Result<Option<(&'a Crypto, Crypto)>, Error> {
    let profile = profile_of(media)?;
    let Some(srtp) = &local.srtp else {
        return match profile {
            Profile::Secure => Err(Error::Protocol(media.protocol.clone())),
            Profile::Plain | Profile::Opportunistic => Ok(None),
        };
    };
    match media.crypto.first() {
        Some(remote) => Ok(Some((remote, srtp.keys.crypto(remote.tag, remote.suite)))),
        None if profile == Profile::Secure || srtp.is_required => Err(Error::Unprotected),
        None => Ok(None),
    }
}

/// How the stream is protected after the answer to our offer (RFC 4568 §5.1.3).
fn agreed_protection(
    local: &Local,
    offered: &Media,
    media: &Media,
) -> Result<Option<Box<Protection>>, Error> {
    let profile = profile_of(media)?;
    if offered.crypto.is_empty() {
        return match profile {
            Profile::Secure => Err(Error::Protocol(media.protocol.clone())),
            // Keys that nobody asked for.
            Profile::Plain | Profile::Opportunistic => Ok(None),
        };
    }
    let is_required = local.srtp.as_ref().is_some_and(|srtp| srtp.is_required)
        || profile_of(offered)? == Profile::Secure
        || profile != Profile::Plain;
    let pair = media.crypto.iter().find_map(|remote| {
        let is_answered = |own: &&Crypto| own.tag == remote.tag && own.suite == remote.suite;
        Some((offered.crypto.iter().find(is_answered)?, remote))
    });
    match pair {
        Some((own, remote)) => Ok(Some(protection(offered, own, remote))),
        None if is_required => Err(Error::Unprotected),
        None => Ok(None),
    }
}

fn protection(offer: &Media, own: &Crypto, remote: &Crypto) -> Box<Protection> {
    let is_secure = matches!(profile_of(offer), Ok(Profile::Secure));
    Box::new(Protection {
        profile: if is_secure { Profile::Secure } else { Profile::Opportunistic },
        suite: remote.suite,
        own: own.key.clone(),
        remote: remote.key.clone(),
        remote_mki: remote.mki,
    })
}

fn profile_of(media: &Media) -> Result<Profile, Error> {
    match media.protocol.to_ascii_uppercase().as_str() {
        "RTP/AVP" | "RTP/AVPF" if media.crypto.is_empty() => Ok(Profile::Plain),
        "RTP/AVP" | "RTP/AVPF" => Ok(Profile::Opportunistic),
        "RTP/SAVP" | "RTP/SAVPF" => Ok(Profile::Secure),
        _ => Err(Error::Protocol(media.protocol.clone())),
    }
}

impl Profile {
    fn protocol(self) -> &'static str {
        match self {
            Self::Plain | Self::Opportunistic => "RTP/AVP",
            Self::Secure => "RTP/SAVP",
        }
    }
}

/// What the peer wants in one packet, else what we want, in the steps that the codec can make.
fn packet_length(ours: Duration, media: &Media, codec: Codec, opus: Opus) -> Duration {
    let longest = media.maxptime_ms.unwrap_or(LONGEST_PTIME_MS).min(longest_ptime_ms(codec));
    let wanted = media.ptime_ms.unwrap_or(milliseconds(ours));
    let wanted = match codec {
        Codec::Opus => wanted.max(opus.min_ptime_ms),
        _ => wanted,
    };
    let steps = (wanted.min(longest) / PTIME_STEP_MS).max(1);
    let steps = match (codec, steps) {
        // RFC 6716 §2.1.4: frames of 10, 20, 40 and 60 ms.
        (Codec::Opus, 3) => 2,
        (Codec::Opus, 5) => 4,
        _ => steps,
    };
    Duration::from_millis(u64::from(steps * PTIME_STEP_MS))
}

/// Longer packets come near to the least MTU, or to what a jitter buffer bears.
fn longest_ptime_ms(codec: Codec) -> u32 {
    match codec {
        Codec::L16(Clock::Full) => 10,
        Codec::L16(Clock::Wide) => 40,
        _ => LONGEST_PTIME_MS,
    }
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(DEFAULT_PTIME_MS)
}

/// What we want to be told.
const REPORTS: Reports = Reports { voip_metrics: true, receiver_rtt: true };
/// RFC 4733 §3.2: sixteen digits and flash.
const DTMF_EVENTS: &str = "0-16";

/// RFC 3551 §4.2.
const DEFAULT_PTIME_MS: u32 = 20;
const PTIME_STEP_MS: u32 = 10;
const LONGEST_PTIME_MS: u32 = 60;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAudio => f.write_str("no audio stream"),
            Self::Protocol(protocol) => {
                write!(f, "audio over {protocol}, not RTP/AVP or RTP/AVPF")
            }
            Self::Unprotected => f.write_str("no SRTP key of a suite that we have"),
            Self::NoCommonCodec => f.write_str("no codec in common"),
            Self::NoAddress => f.write_str("no IP address of one peer for the audio stream"),
            Self::AddressFamily => f.write_str("audio address is not of our family"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::format::Codec::{Pcma, Pcmu};

    fn local() -> Local {
        Local {
            address: IpAddr::from([192, 0, 2, 1]),
            port: 16384,
            origin_id: 7,
            origin_version: 2,
            codecs: vec![Pcma, Pcmu],
            direction: Direction::SendRecv,
            wishes: Wishes::default(),
            srtp: None,
        }
    }

    fn parse(text: &str) -> Description {
        Description::parse(text.as_bytes()).expect(text)
    }

    /// A description of a peer at 198.51.100.7 with these sections.
    fn peer(sections: &str) -> Description {
        parse(&format!(
            "v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n{sections}"
        ))
    }

    fn text(description: &Description) -> String {
        String::from_utf8(description.to_bytes()).unwrap()
    }

    fn answered(offer: &Description) -> Agreed {
        answer(&local(), offer).expect("a codec in common").1
    }

    fn agreed(sections: &str) -> Result<Agreed, Error> {
        agree(&local(), &offer(&local()), &peer(sections))
    }

    #[test]
    fn our_offer_has_every_codec_and_the_digits() {
        assert_eq!(
            text(&offer(&local())),
            "v=0\r\no=- 7 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 16384 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
             a=sendrecv\r\n"
        );
    }

    #[test]
    fn first_codec_of_ours_in_the_offer_is_the_answer() {
        let offer = peer("m=audio 4000 RTP/AVP 0 8 96\na=rtpmap:96 telephone-event/8000\n");
        let (answer, agreed) = answer(&local(), &offer).unwrap();
        assert_eq!(
            text(&answer),
            "v=0\r\no=- 7 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 16384 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-16\r\na=ptime:20\r\n\
             a=sendrecv\r\n"
        );
        let expected = Agreed {
            remote: "198.51.100.7:4000".parse().unwrap(),
            remote_rtcp: "198.51.100.7:4001".parse().unwrap(),
            rtcp_mux: false,
            codec: Pcma,
            payload_type: 8,
            own_formats: Formats::from_iter([
                (8, Format::Audio(Pcma)),
                (96, Format::Event(Clock::Narrow)),
            ]),
            dtmf: Some((96, Clock::Narrow)),
            noise: None,
            opus: Opus::default(),
            reports: None,
            direction: Direction::SendRecv,
            ptime: Duration::from_millis(20),
            is_held: false,
            srtp: None,
        };
        assert_eq!(agreed, expected);
    }

    #[test]
    fn codec_on_a_dynamic_number_is_answered_with_that_number() {
        let offer =
            peer("m=audio 4000 RTP/AVP 98 97\na=rtpmap:97 pcmu/8000\na=rtpmap:98 L16/8000\n");
        let agreed = answered(&offer);
        assert_eq!((agreed.codec, agreed.payload_type), (Pcmu, 97));
        assert_eq!(agreed.dtmf, None);
    }

    #[test]
    fn rates_and_channels_other_than_ours_are_other_codecs() {
        let offer = peer(
            "m=audio 4000 RTP/AVP 96 97 98\na=rtpmap:96 PCMU/16000\na=rtpmap:97 PCMA/8000/2\n\
             a=rtpmap:98 telephone-event/48000\n",
        );
        assert_eq!(answer(&local(), &offer), Err(Error::NoCommonCodec));
    }

    /// RFC 3264 §10.1: places and number of the streams stay.
    #[test]
    fn streams_other_than_the_first_usable_one_are_refused_in_place() {
        let offer = peer(
            "m=video 51372 RTP/AVP 31\na=rtpmap:31 H261/90000\n\
             m=audio 5000 RTP/SAVP 0\nm=audio 49170 RTP/AVP 0\nm=audio 49180 RTP/AVP 0\n\
             m=image 6000 udptl t38\n",
        );
        let (answer, agreed) = answer(&local(), &offer).unwrap();
        let lines: Vec<_> =
            text(&answer).lines().filter(|l| l.starts_with("m=")).map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 31",
                "m=audio 0 RTP/SAVP 0",
                "m=audio 16384 RTP/AVP 0",
                "m=audio 0 RTP/AVP 0",
                "m=image 0 udptl t38"
            ]
        );
        assert_eq!(agreed.remote.port(), 49170);
    }

    #[test]
    fn offers_without_anything_for_us_say_what_is_missing() {
        for (sections, error) in [
            ("", Error::NoAudio),
            ("m=video 4000 RTP/AVP 31\n", Error::NoAudio),
            ("m=audio 0 RTP/AVP 0\n", Error::NoAudio),
            ("m=audio 4000 RTP/SAVP 0\n", Error::Protocol("RTP/SAVP".to_owned())),
            (
                "m=audio 4000 UDP/TLS/RTP/SAVPF 0\nm=video 0 RTP/AVP 31\n",
                Error::Protocol("UDP/TLS/RTP/SAVPF".to_owned()),
            ),
            ("m=audio 4000 RTP/AVP 9 18\n", Error::NoCommonCodec),
            ("m=audio 4000 RTP/AVP\n", Error::NoCommonCodec),
            ("m=audio 4000 RTP/AVP 0\nc=IN IP4 phone.example\n", Error::NoAddress),
            ("m=audio 4000 RTP/AVP 0\nc=IN IP4 224.2.1.1\n", Error::NoAddress),
            ("m=audio 4000 RTP/AVP 0\nc=IN IP4 255.255.255.255\n", Error::NoAddress),
            ("m=audio 4000 RTP/AVP 0\nc=IN IP6 ff15::101\n", Error::NoAddress),
            ("m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::2\n", Error::AddressFamily),
        ] {
            assert_eq!(answer(&local(), &peer(sections)), Err(error), "{sections}");
        }
    }

    #[test]
    fn stream_has_its_own_address_and_rtcp_port() {
        let agreed = answered(&peer(
            "m=audio 4000 RTP/AVPF 0\nc=IN IP4 203.0.113.9\na=rtcp:53020 IN IP4 203.0.113.10\n",
        ));
        assert_eq!(agreed.remote, "203.0.113.9:4000".parse().unwrap());
        assert_eq!(agreed.remote_rtcp, "203.0.113.10:53020".parse().unwrap());
    }

    #[test]
    fn ipv6_is_spoken() {
        let local = Local { address: "2001:db8::1".parse().unwrap(), ..local() };
        let offer = peer("m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::2\n");
        let (answer, agreed) = answer(&local, &offer).unwrap();
        assert!(text(&answer).contains("\r\nc=IN IP6 2001:db8::1\r\n"));
        assert_eq!(agreed.remote, "[2001:db8::2]:4000".parse().unwrap());
    }

    #[test]
    fn rtcp_is_multiplexed_when_the_offer_asks_for_it() {
        let offer = peer("m=audio 4000 RTP/AVP 0\na=rtcp-mux\na=rtcp:4000\n");
        let (answer, agreed) = answer(&local(), &offer).unwrap();
        assert!(agreed.rtcp_mux && answer.media[0].rtcp_mux);
        assert_eq!(agreed.remote_rtcp, agreed.remote);
        // Not by the answerer alone.
        let agreed = super::agree(&local(), &super::offer(&local()), &offer).unwrap();
        assert!(!agreed.rtcp_mux);
    }

    /// RFC 3264 §6.1 and §8.4.
    #[test]
    fn directions_mirror_and_hold_is_seen() {
        for (attribute, ours, is_held) in [
            ("a=sendrecv", Direction::SendRecv, false),
            ("a=sendonly", Direction::RecvOnly, true),
            ("a=recvonly", Direction::SendOnly, false),
            ("a=inactive", Direction::Inactive, true),
            ("c=IN IP4 0.0.0.0", Direction::RecvOnly, true),
            ("c=IN IP4 0.0.0.0\na=sendonly", Direction::RecvOnly, true),
            ("c=IN IP4 0.0.0.0\na=inactive", Direction::Inactive, true),
        ] {
            let offer = peer(&format!("m=audio 4000 RTP/AVP 0\n{attribute}\n"));
            let (answer, agreed) = answer(&local(), &offer).unwrap();
            assert_eq!((agreed.direction, agreed.is_held), (ours, is_held), "{attribute}");
            assert_eq!(answer.media[0].direction, Some(ours), "{attribute}");
        }
    }

    #[test]
    fn direction_of_the_session_holds_where_the_stream_has_none() {
        let offer = peer("a=inactive\nm=audio 4000 RTP/AVP 0\n");
        assert!(answered(&offer).is_held);
        let offer = peer("a=inactive\nm=audio 4000 RTP/AVP 0\na=sendrecv\n");
        assert!(!answered(&offer).is_held);
    }

    #[test]
    fn what_we_do_not_send_is_not_held() {
        let local = Local { direction: Direction::RecvOnly, ..local() };
        let offer = peer("m=audio 4000 RTP/AVP 0\na=sendonly\n");
        let (_, agreed) = answer(&local, &offer).unwrap();
        assert_eq!((agreed.direction, agreed.is_held), (Direction::RecvOnly, false));
    }

    #[test]
    fn packet_length_is_the_peers_wish_within_what_we_make() {
        for (attributes, milliseconds) in [
            ("", 20),
            ("a=ptime:30\n", 30),
            ("a=ptime:25\n", 20),
            ("a=ptime:5\n", 10),
            ("a=ptime:200\n", 60),
            ("a=maxptime:10\n", 10),
            ("a=ptime:40\na=maxptime:30\n", 30),
            ("a=ptime:0\n", 20),
            ("a=ptime:99999999999\n", 20),
        ] {
            let offer = peer(&format!("m=audio 4000 RTP/AVP 0\n{attributes}"));
            let (answer, agreed) = answer(&local(), &offer).unwrap();
            assert_eq!(agreed.ptime, Duration::from_millis(milliseconds), "{attributes}");
            assert_eq!(answer.media[0].ptime_ms, Some(milliseconds as u32), "{attributes}");
        }
    }

    #[test]
    fn first_offered_codec_of_an_answer_is_what_both_use() {
        let agreed =
            agreed("m=audio 4000 RTP/AVP 18 0 8 101\na=rtpmap:101 telephone-event/8000\n").unwrap();
        assert_eq!((agreed.codec, agreed.payload_type), (Pcmu, 0));
        assert_eq!(agreed.dtmf, Some((101, Clock::Narrow)));
    }

    #[test]
    fn codec_that_was_not_offered_is_no_agreement() {
        let local = Local { codecs: vec![Pcma], ..local() };
        let answer = peer("m=audio 4000 RTP/AVP 0\n");
        assert_eq!(agree(&local, &offer(&local), &answer), Err(Error::NoCommonCodec));
    }

    #[test]
    fn answer_may_leave_the_mapping_of_our_numbers_out_or_give_them_another_meaning() {
        let dtmf = |sections| agreed(sections).unwrap().dtmf.map(|(number, _)| number);
        assert_eq!(dtmf("m=audio 4000 RTP/AVP 8 101\n"), Some(101));
        assert_eq!(dtmf("m=audio 4000 RTP/AVP 8 101\na=rtpmap:101 speex/8000\n"), None);
        assert_eq!(dtmf("m=audio 4000 RTP/AVP 8 97\na=rtpmap:97 TELEPHONE-EVENT/8000\n"), Some(97));
        assert_eq!(dtmf("m=audio 4000 RTP/AVP 8\n"), None);
    }

    #[test]
    fn answer_that_refuses_the_stream_is_no_agreement() {
        assert_eq!(agreed("m=audio 0 RTP/AVP 8\n"), Err(Error::NoAudio));
        assert_eq!(agreed(""), Err(Error::NoAudio));
        let secured = Error::Protocol("RTP/SAVP".to_owned());
        assert_eq!(agreed("m=audio 4000 RTP/SAVP 8\n"), Err(secured));
    }

    #[test]
    fn answer_in_hold_is_seen() {
        let agreed = agreed("m=audio 4000 RTP/AVP 8\na=inactive\n").unwrap();
        assert_eq!((agreed.direction, agreed.is_held), (Direction::Inactive, true));
    }

    #[test]
    fn reports_go_to_the_peer_only() {
        let offer = peer("m=audio 4000 RTP/AVP 0\na=rtcp:4005 IN IP4 224.2.1.1\n");
        let agreed = answered(&offer);
        assert_eq!(agreed.remote_rtcp, SocketAddr::new(agreed.remote.ip(), 4005));
    }

    #[test]
    fn last_port_has_no_rtcp_port_behind_it() {
        assert_eq!(answered(&peer("m=audio 65535 RTP/AVP 0\n")).remote_rtcp.port(), 65535);
    }
}
