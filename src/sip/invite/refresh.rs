//! Session timers (RFC 4028): a call whose peer vanished ends by itself.
//!
//! Both roles and both refreshers **are** supported. Where the peer knows no timers we refresh. A
//! refresh is an UPDATE without a body where the peer allows it, else a re-INVITE with the same
//! description.

use std::time::{Duration, Instant};

use super::{Call, CallTimer, Phase};
use crate::sip::header::{Headers, Name};
use crate::sip::lexical::{parameter, parameters, saturating_number, trim};
use crate::sip::message::{Message, Method};
use crate::sip::stack::Stack;
use crate::sip::user_agent::{Event, SessionTimer};
use crate::stats;

/// What both sides agreed on for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    length: Duration,
    /// We refresh; else the peer.
    is_ours: bool,
}

/// A running [`Interval`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub interval: Interval,
    /// Without a refresh the call ends then.
    expires: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresher {
    Uac,
    Uas,
}

/// Session-Expires (§4).
struct SessionExpires {
    length: Duration,
    refresher: Option<Refresher>,
}

impl SessionExpires {
    fn of(message: &Message) -> Option<Self> {
        let value = message.header(&Name::SessionExpires)?;
        let (seconds, rest) = value.split_once(';').unwrap_or((value, ""));
        let length = Duration::from_secs(saturating_number(trim(seconds))?.into());
        let known = parameters(rest).unwrap_or_default();
        let refresher = match parameter(&known, "refresher") {
            Some(name) if name.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(name) if name.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Some(Self { length, refresher })
    }

    fn write(self, headers: &mut Headers) {
        let seconds = self.length.as_secs();
        let value = match self.refresher {
            None => seconds.to_string(),
            Some(Refresher::Uac) => format!("{seconds};refresher=uac"),
            Some(Refresher::Uas) => format!("{seconds};refresher=uas"),
        };
        headers.push(Name::SessionExpires, value);
    }
}

impl Interval {
    /// Of a 2xx to a request of ours (§7.2).
    pub fn of_answer(request: &Message, response: &Message) -> Option<Self> {
        match SessionExpires::of(response) {
            Some(SessionExpires { length, refresher }) => {
                Some(Self { length, is_ours: refresher != Some(Refresher::Uas) })
            }
            // The peer knows no timers: what we asked for holds for us alone.
            None => {
                let SessionExpires { length, .. } = SessionExpires::of(request)?;
                Some(Self { length, is_ours: true })
            }
        }
    }

    fn running(self, now: Instant) -> Running {
        let length = self.length.max(LEAST);
        Running { interval: self, expires: now + length - MARGIN.min(length / 3) }
    }

    /// When something is to be done: the refresh after half of it, or the end (§10).
    fn due(self, now: Instant) -> Instant {
        match self.is_ours {
            true => now + self.length.max(LEAST) / 2,
            false => self.running(now).expires,
        }
    }
}

/// What an INVITE of ours, or a refresh of a call with this interval, asks for (§7.1, §7.4): who
/// refreshes stays as it is.
pub(super) fn ask(config: &SessionTimer, running: Option<&Running>, headers: &mut Headers) {
    let interval = running.map(|running| running.interval);
    let length = interval.map(|interval| interval.length).or(config.interval);
    let Some(length) = length else { return };
    let refresher = interval.map(|interval| match interval.is_ours {
        true => Refresher::Uac,
        false => Refresher::Uas,
    });
    SessionExpires { length: length.max(config.least), refresher }.write(headers);
    // Ninety seconds go without saying (§5).
    if config.least > MIN_SE {
        headers.push(Name::MinSe, config.least.as_secs().to_string());
    }
}

/// Puts our part on a 2xx to an INVITE or UPDATE, and gives what holds then (§9 and table 2).
pub(super) fn answer(
    config: &SessionTimer,
    request: &Message,
    running: Option<&Running>,
    response: &mut Message,
) -> Option<Interval> {
    let theirs = SessionExpires::of(request);
    let least = min_se(request).unwrap_or(MIN_SE).max(config.least);
    let ours = config.interval.map(|interval| interval.max(least));
    let length = match (&theirs, ours) {
        (Some(theirs), Some(ours)) => theirs.length.min(ours),
        (Some(theirs), None) => theirs.length,
        (None, ours) => ours?,
    };
    let refresher = match (theirs.and_then(|theirs| theirs.refresher), running) {
        // Who knows no timers cannot refresh.
        _ if !knows_timers(request) => Refresher::Uas,
        (Some(refresher), _) => refresher,
        (None, Some(running)) if running.interval.is_ours => Refresher::Uas,
        (None, _) => Refresher::Uac,
    };
    if refresher == Refresher::Uac {
        response.headers.push(Name::Require, TIMER);
    }
    SessionExpires { length, refresher: Some(refresher) }.write(&mut response.headers);
    Some(Interval { length, is_ours: refresher == Refresher::Uas })
}

/// 422 for a request that wants refreshes more often than we do (§9).
pub(super) fn refuse_brief(stack: &Stack, request: &Message) -> Option<Message> {
    let least = stack.config.session_timer.least;
    let is_brief = SessionExpires::of(request).is_some_and(|theirs| theirs.length < least);
    // Who knows no timers would not understand; a proxy set it.
    if !is_brief || !knows_timers(request) {
        return None;
    }
    stats::SIP_REFUSED_REQUESTS.add(1);
    let mut response = stack.response(request, 422);
    response.headers.push(Name::MinSe, least.as_secs().to_string());
    Some(response)
}

/// Makes the interval of a request as long as its 422 wants (§7.3). `false`: that is no way out.
pub(super) fn lengthen(request: &mut Message, response: &Message) -> bool {
    let Some(SessionExpires { length, refresher }) = SessionExpires::of(request) else {
        return false;
    };
    let Some(least) = min_se(response).filter(|least| *least > length) else { return false };
    request.headers.remove(&Name::SessionExpires);
    request.headers.remove(&Name::MinSe);
    SessionExpires { length: least, refresher }.write(&mut request.headers);
    request.headers.push(Name::MinSe, least.as_secs().to_string());
    true
}

/// Whether the peer takes UPDATE (RFC 3311 §4).
pub(super) fn allows_update(message: &Message) -> bool {
    message.headers.list(&Name::Allow).any(|method| method == Method::Update.as_str())
}

impl Call {
    /// A session refresh request got its 2xx, or the call its first.
    pub(super) fn run_timer(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        interval: Option<Interval>,
    ) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        confirmed.timer = interval.map(|interval| interval.running(now));
        match interval {
            Some(interval) => {
                stack.timers.arm((self.id, CallTimer::Session), interval.due(now));
            }
            None => stack.timers.disarm((self.id, CallTimer::Session)),
        }
    }

    /// The time has come to refresh, or to give the peer up.
    pub(super) fn on_session_timer(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let Some(Running { expires, .. }) = confirmed.timer else { return };
        if now >= expires {
            stats::SIP_SESSIONS_EXPIRED.add(1);
            return self.end(now, stack, 408, &Vec::new());
        }
        // Again if this one is refused: a refresh that fails is no reason to end a call (§10).
        let next = (now + RETRY).min(expires);
        stack.timers.arm((self.id, CallTimer::Session), next);
        if confirmed.asked.is_some() {
            // A re-INVITE is under way: that is a refresh.
        } else if confirmed.allows_update {
            self.send_update(now, stack);
        } else {
            self.tell(stack, Event::Refresh { call: self.id });
        }
    }
}

fn knows_timers(request: &Message) -> bool {
    request.headers.supports(TIMER) || request.headers.requires(TIMER)
}

fn min_se(message: &Message) -> Option<Duration> {
    let value = message.header(&Name::MinSe)?;
    let (seconds, _) = value.split_once(';').unwrap_or((value, ""));
    Some(Duration::from_secs(saturating_number(trim(seconds))?.into()))
}

/// The option tag.
pub(super) const TIMER: &str = "timer";
/// The least Min-SE, and its value where it is not said (§5).
const MIN_SE: Duration = Duration::from_secs(90);
/// A peer's answer that breaks the rule of 90 s makes us refresh every quarter of a minute at most.
const LEAST: Duration = Duration::from_secs(30);
/// How long before the end of the interval the call ends: a third of it at most (§10).
const MARGIN: Duration = Duration::from_secs(32);
/// After a refresh that was refused.
const RETRY: Duration = Duration::from_secs(32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::tests::bench::{ANSWER, Bench, CONTACT, invite, request};
    use crate::sip::user_agent::ExtraHeaders;

    const MINUTE: Duration = Duration::from_secs(60);

    /// We ask for half an hour.
    fn bench() -> Bench {
        Bench::with(|config| config.session_timer.interval = Some(30 * MINUTE))
    }

    /// The trunk's INVITE with these header fields.
    fn invite_with(headers: &str) -> String {
        invite().replace("Content-Type", &format!("{headers}Content-Type"))
    }

    /// The trunk called with these header fields; our 200.
    fn answered(bench: &mut Bench, headers: &str) -> crate::sip::tests::bench::Sent {
        bench.receive(&invite_with(headers));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        let call = incoming.call;
        let none = ExtraHeaders::new();
        bench.act(|agent, now| agent.accept(now, call, &none, None, b"v=0".to_vec()));
        let ok = bench.expect("SIP/2.0 200");
        bench.receive(&ok.ack());
        assert!(matches!(bench.event(), Event::Confirmed { .. }));
        ok
    }

    /// RFC 4028 §9 with table 2.
    #[test]
    fn answer_says_who_refreshes() {
        for (headers, expires, require) in [
            ("", "1800;refresher=uas", ""),
            ("Supported: timer\n", "1800;refresher=uac", "timer"),
            ("k: 100rel, Timer\nx: 600\n", "600;refresher=uac", "timer"),
            (
                "Supported: timer\nSession-Expires: 600;refresher=uac\n",
                "600;refresher=uac",
                "timer",
            ),
            ("Supported: timer\nSession-Expires: 600 ;refresher=UAS\n", "600;refresher=uas", ""),
            ("Session-Expires: 600\n", "600;refresher=uas", ""),
            ("Supported: timer\nSession-Expires: 7200\n", "1800;refresher=uac", "timer"),
            (
                "Supported: timer\nSession-Expires: 7200\nMin-SE: 3600\n",
                "3600;refresher=uac",
                "timer",
            ),
            ("Require: timer\nSession-Expires: 600\n", "600;refresher=uac", "timer"),
            ("Session-Expires: soon\n", "1800;refresher=uas", ""),
        ] {
            let mut bench = bench();
            let ok = answered(&mut bench, headers);
            assert_eq!(ok.header("Session-Expires"), expires, "{headers}");
            assert_eq!(
                (ok.header("Require"), ok.header("Supported")),
                (require, crate::sip::inspection::SUPPORTED)
            );
        }
    }

    #[test]
    fn without_a_wish_of_ours_the_peers_counts() {
        let mut bench = Bench::new();
        assert_eq!(answered(&mut bench, "").header("Session-Expires"), "");
        let mut bench = Bench::new();
        let ok = answered(&mut bench, "Supported: timer\nSession-Expires: 600\n");
        assert_eq!(ok.header("Session-Expires"), "600;refresher=uac");
        let mut bench = Bench::new();
        let (_, invite) = bench.calls();
        assert_eq!(
            (invite.header("Supported"), invite.header("Session-Expires")),
            (crate::sip::inspection::SUPPORTED, "")
        );
    }

    #[test]
    fn brief_interval_is_refused_422_unless_the_peer_would_not_understand() {
        let mut bench = bench();
        bench.receive(&invite_with("Supported: timer\nSession-Expires: 60\n"));
        let refusal = bench.expect("SIP/2.0 422");
        assert_eq!(refusal.header("Min-SE"), "90");
        assert_eq!(bench.agent.usage().calls, 0);
        let ok = answered(&mut bench, "Session-Expires: 60\n");
        assert_eq!(ok.header("Session-Expires"), "60;refresher=uas");
        let headers = "Supported: timer\nSession-Expires: 60\n";
        bench.receive(&request("UPDATE", "2", ok.tag("To"), headers, ""));
        assert_eq!(bench.expect("SIP/2.0 422").header("Min-SE"), "90");
    }

    #[test]
    fn our_brief_interval_becomes_as_long_as_the_422_wants() {
        let mut bench = Bench::with(|config| config.session_timer.interval = Some(2 * MINUTE));
        let (_, invite) = bench.calls();
        assert_eq!(invite.header("Session-Expires"), "120");
        bench.receive(&invite.answer(422, "t1", "Min-SE: 300\n", ""));
        bench.expect("ACK ");
        let again = bench.expect("INVITE ");
        assert_eq!((again.all("Session-Expires"), again.all("Min-SE")), (vec!["300"], vec!["300"]));
        // No longer than before: no way out.
        bench.receive(&again.answer(422, "t1", "Min-SE: 300\n", ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 422, .. }));
    }

    #[test]
    fn intervals_that_grow_without_end_are_given_up() {
        let mut bench = bench();
        let (_, mut invite) = bench.calls();
        for seconds in [2000, 2001, 2002] {
            bench.receive(&invite.answer(422, "t1", &format!("Min-SE: {seconds}\n"), ""));
            bench.expect("ACK ");
            invite = bench.expect("INVITE ");
        }
        bench.receive(&invite.answer(422, "t1", "Min-SE: 2003\n", ""));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Failed { status: 422, .. }));
    }

    /// We called; the trunk's 200 has these header fields.
    fn connected(bench: &mut Bench, headers: &str) -> crate::sip::user_agent::CallId {
        let (call, invite) = bench.calls();
        bench.receive(&invite.answer(200, "t1", &format!("{headers}{CONTACT}"), ANSWER));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Answered { .. }));
        call
    }

    #[test]
    fn refresher_sends_update_every_half_interval() {
        let mut bench = bench();
        connected(&mut bench, "Allow: INVITE, UPDATE\nSession-Expires: 600;refresher=uac\n");
        for _ in 0..3 {
            assert_eq!(bench.wait_for("UPDATE "), 300_000);
            let update = bench.expect("UPDATE sip:100@192.0.2.10:5060 ");
            assert_eq!(update.header("Session-Expires"), "600;refresher=uac");
            assert_eq!(
                (update.header("Supported"), update.body()),
                (crate::sip::inspection::SUPPORTED, "")
            );
            let headers = "Session-Expires: 600;refresher=uac\nContact: <sip:n@192.0.2.10:5060>\n";
            bench.receive(&update.answer(200, "", headers, "").replace("sip:n@", "sip:100@"));
            bench.quiet();
        }
    }

    #[test]
    fn peer_without_update_is_refreshed_by_reinvite_with_the_same_description() {
        let mut bench = bench();
        // It knows no timers either.
        let call = connected(&mut bench, "Allow: INVITE, ACK, BYE\n");
        bench.pass(15 * MINUTE);
        assert!(matches!(bench.event(), Event::Refresh { .. }));
        bench.act(|agent, now| agent.refresh(now, call, b"v=0".to_vec()));
        let invite = bench.expect("INVITE ");
        assert_eq!(invite.header("Session-Expires"), "1800;refresher=uac");
        bench.receive(&invite.answer(200, "", CONTACT, ANSWER));
        bench.expect("ACK ");
        assert!(matches!(bench.event(), Event::Changed { is_refresh: true, .. }));
        bench.pass(14 * MINUTE);
        bench.quiet();
        bench.pass(MINUTE);
        assert!(matches!(bench.event(), Event::Refresh { .. }));
    }

    #[test]
    fn update_that_is_not_taken_after_all_becomes_a_reinvite() {
        let mut bench = bench();
        let call = connected(&mut bench, "Allow: UPDATE\n");
        bench.wait_for("UPDATE ");
        let update = bench.expect("UPDATE ");
        bench.receive(&update.response(405, ""));
        assert!(matches!(bench.event(), Event::Refresh { .. }));
        bench.act(|agent, now| agent.refresh(now, call, b"v=0".to_vec()));
        bench.expect("INVITE ");
    }

    #[test]
    fn peer_that_answers_no_refresh_is_gone() {
        let mut bench = bench();
        connected(&mut bench, "Allow: UPDATE\n");
        bench.wait_for("UPDATE ");
        bench.pass(Duration::from_secs(32));
        assert!(matches!(bench.event(), Event::Ended { status: 408, .. }));
        bench.empty();
    }

    /// RFC 4028 §10: 32 s before the end of the interval, or a third of it.
    #[test]
    fn peer_that_does_not_refresh_is_gone_before_the_interval_ends() {
        for (seconds, end_ms) in [(600, 568_000), (90, 60_000)] {
            let mut bench = bench();
            connected(&mut bench, &format!("Session-Expires: {seconds};refresher=uas\n"));
            assert_eq!(bench.wait_for("BYE "), end_ms);
            let bye = bench.expect("BYE ");
            assert_eq!(bye.header("Reason"), "SIP;cause=408;text=\"Request Timeout\"");
            assert!(matches!(bench.event(), Event::Ended { status: 408, .. }));
            bench.receive(&bye.response(200, ""));
            bench.empty();
        }
    }

    #[test]
    fn refresh_of_the_peer_is_answered_and_starts_the_interval_anew() {
        let mut bench = bench();
        let ok = answered(&mut bench, "Supported: timer\nSession-Expires: 600\n");
        for number in 2..5 {
            bench.pass(5 * MINUTE);
            let headers = "Supported: timer\nSession-Expires: 600;refresher=uac\n";
            bench.receive(&request("UPDATE", &number.to_string(), ok.tag("To"), headers, ""));
            let answer = bench.expect("SIP/2.0 200");
            assert_eq!(answer.header("Session-Expires"), "600;refresher=uac");
            assert_eq!((answer.header("Require"), answer.body()), ("timer", ""));
            assert_eq!(answer.header("Contact"), "<sip:200@192.0.2.1:5060>");
            bench.quiet();
        }
        assert_eq!(bench.wait_for("BYE "), 568_000);
    }

    #[test]
    fn refresher_stays_who_it_is_when_the_peer_changes_the_session() {
        let mut bench = bench();
        let ok = answered(&mut bench, "Supported: timer\nSession-Expires: 600;refresher=uas\n");
        bench.receive(&request("UPDATE", "2", ok.tag("To"), "Supported: timer\n", ""));
        let answer = bench.expect("SIP/2.0 200");
        assert_eq!(answer.header("Session-Expires"), "1800;refresher=uas");
    }

    #[test]
    fn refused_refresh_is_tried_again_until_the_interval_ends() {
        let mut bench = bench();
        connected(&mut bench, "Allow: UPDATE\nSession-Expires: 600;refresher=uac\n");
        let mut tries = 0;
        let end = bench.now + Duration::from_secs(568);
        loop {
            bench.wait_for("");
            let Some(update) = bench.try_sent("UPDATE ") else { break };
            tries += 1;
            bench.receive(&update.response(500, ""));
        }
        // Every 32 s from 300 to 568.
        assert_eq!((tries, bench.now), (9, end));
        assert!(matches!(bench.event(), Event::Ended { status: 408, .. }));
    }

    #[test]
    fn absurdly_brief_answer_does_not_make_us_a_flood() {
        let mut bench = bench();
        connected(&mut bench, "Allow: UPDATE\nSession-Expires: 1;refresher=uac\n");
        assert_eq!(bench.wait_for("UPDATE "), 15_000);
    }
}
