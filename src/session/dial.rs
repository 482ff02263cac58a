//! Outgoing calls: from what the script dials to an INVITE, trunk after trunk.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Session;
use super::call::{Call, Outgoing, Phase};
use super::codecs::{codecs_of, wishes_of};
use super::ending::truncate_bytes;
use super::exchange::{Exchange, Role, Timer};
use super::refusal::{Refusal, tries_next_trunk};
use super::security::Security;
use crate::config::{Codec, Config, Dtmf, Trunk};
use crate::media::engine::Command as MediaCommand;
use crate::rules;
use crate::scenario::command::{CallPstn, CallSip, ExtraHeaders, Object};
use crate::sdp::description::Direction;
use crate::sdp::offer_answer::{self, Wishes};
use crate::sip::uri::Uri;
use crate::sip::user_agent::{Diverted, Invite, Refused, Target, TrunkState};
use crate::storage::record::CallRecord;

/// A number or URI that the dial plan understood.
pub struct Dialled {
    outgoing: Outgoing,
    local_number: String,
    remote_number: String,
    remote_number_type: &'static str,
    dtmf: Dtmf,
}

impl Dialled {
    pub fn user(
        exchange: &Exchange,
        username: String,
        callerid: String,
        display_name: Option<String>,
        mut headers: ExtraHeaders,
    ) -> Self {
        let timeout =
            take_call_timeout(&mut headers).unwrap_or(exchange.config.limits.ring_timeout);
        Self {
            outgoing: Outgoing {
                targets: VecDeque::from([Target::User { name: username.clone() }]),
                caller: callerid.clone(),
                display_name: display_name.unwrap_or_default(),
                headers,
                timeout,
                ..Outgoing::default()
            },
            local_number: callerid,
            remote_number: username,
            remote_number_type: "user",
            dtmf: Dtmf::Auto,
        }
    }
}

impl Dialled {
    /// Whether it would make a message of any size, and a row as large.
    fn is_too_long(&self) -> bool {
        let Outgoing { caller, display_name, credentials, .. } = &self.outgoing;
        let (username, password) = match credentials {
            Some((username, password)) => (username.as_str(), password.as_str()),
            None => ("", ""),
        };
        [&self.remote_number, caller, display_name, username, password]
            .iter()
            .any(|text| text.len() > DIALLED_BYTES)
    }
}

impl Session {
    /// `callPSTN`: the first route that matches, its trunks that are not down, in order; those
    /// that did not answer of late come last.
    pub(super) fn dial_pstn(
        &mut self,
        exchange: &Exchange,
        parameters: CallPstn,
    ) -> Result<Dialled, (Refusal, String)> {
        let CallPstn { number, callerid, follow_diversion, headers, .. } = parameters;
        let refuse = |refusal| (refusal, number.clone());
        let config = &exchange.config;
        let dial = rules::dial(&config.routes, &number).ok_or(refuse(Refusal::NoRoute))?;
        let mut alive: Vec<&String> = dial
            .trunks
            .iter()
            .filter(|name| {
                !matches!(exchange.user_agent.trunk_state(name), TrunkState::Down { .. })
            })
            .collect();
        alive.sort_by_key(|name| exchange.user_agent.is_doubtful(name));
        let first = *alive.first().ok_or(refuse(Refusal::NoTrunk))?;
        let trunk = config.trunk(first);
        let (caller, diverted) = match follow_diversion.then(|| self.diversion()).flatten() {
            Some((caller, diverted)) => (caller, Some(diverted)),
            None => (callerid.unwrap_or_default(), None),
        };
        let local_number = match trunk {
            Some(trunk) if caller.is_empty() => trunk.caller_id.clone(),
            _ => caller.clone(),
        };
        let target =
            |name: &&String| Target::Trunk { name: (*name).clone(), number: dial.number.clone() };
        Ok(Dialled {
            outgoing: Outgoing {
                targets: alive.iter().map(target).collect(),
                caller,
                headers,
                diverted,
                timeout: config.limits.ring_timeout,
                ..Outgoing::default()
            },
            local_number,
            remote_number: number,
            remote_number_type: "pstn",
            dtmf: trunk.map_or(Dtmf::Auto, |trunk| trunk.dtmf),
        })
    }

    /// The caller of the latest incoming call that stands, and how it came to us.
    fn diversion(&self) -> Option<(String, Diverted)> {
        let call = self.calls.values().rfind(|call| call.record.is_incoming)?;
        let CallRecord { local_number, remote_number, .. } = &call.record;
        let diverted = Diverted { number: local_number.clone(), earlier: self.diversions.clone() };
        Some((remote_number.clone(), diverted))
    }

    /// `callSIP`: any SIP URI, through a trunk's registration if one is named.
    pub(super) fn dial_sip(
        &mut self,
        exchange: &Exchange,
        parameters: CallSip,
    ) -> Result<Dialled, (Refusal, String)> {
        let refuse = |refusal| (refusal, parameters.to.clone());
        let config = &exchange.config;
        let text = match parameters.to.split_once(':') {
            Some(("sip" | "sips" | "tel", _)) => parameters.to.clone(),
            _ => format!("sip:{}", parameters.to),
        };
        let trunk = match parameters.registration {
            None => None,
            Some(number) => {
                let place = (number as usize).checked_sub(1);
                let trunk = place.and_then(|place| config.trunks.get(place));
                Some(trunk.ok_or(refuse(Refusal::NoRoute))?)
            }
        };
        let target = match (text.parse::<Uri>(), trunk) {
            (Ok(uri), None) => {
                let proxy = match parameters.out_proxy.as_deref().filter(|p| !p.is_empty()) {
                    None => None,
                    Some(proxy) => {
                        let text = match proxy.starts_with("sip:") {
                            true => proxy.to_owned(),
                            false => format!("sip:{proxy}"),
                        };
                        Some(Box::new(text.parse::<Uri>().map_err(|_| refuse(Refusal::NoRoute))?))
                    }
                };
                Target::Uri { uri: Box::new(uri), proxy }
            }
            // `sip:1001` with a registration: the host is the trunk's.
            (Ok(uri), Some(trunk)) => {
                Target::Trunk { name: trunk.name.clone(), number: uri.user.unwrap_or(uri.host) }
            }
            (Err(_), _) => return Err(refuse(Refusal::NoRoute)),
        };
        let caller = match parameters.callerid.filter(|callerid| !callerid.is_empty()) {
            Some(callerid) => callerid,
            None => trunk.map(|trunk| trunk.caller_id.clone()).unwrap_or_default(),
        };
        let credentials = parameters
            .password
            .map(|password| (parameters.auth_user.unwrap_or_else(|| caller.clone()), password));
        Ok(Dialled {
            outgoing: Outgoing {
                targets: VecDeque::from([target]),
                caller: caller.clone(),
                display_name: parameters.display_name.unwrap_or_default(),
                credentials,
                headers: parameters.headers,
                timeout: config.limits.ring_timeout,
                ..Outgoing::default()
            },
            local_number: caller,
            remote_number: parameters.to,
            remote_number_type: "sipuri",
            dtmf: trunk.map_or(Dtmf::Auto, |trunk| trunk.dtmf),
        })
    }

    /// Makes the call, or the `Failed` event that says why not.
    pub(super) fn call_out(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        dialled: Result<Dialled, (Refusal, String)>,
    ) {
        self.call_attempts += 1;
        let limits = &exchange.config.limits;
        let in_progress = self.calls.values().filter(|call| !call.is_answered()).count();
        let is_over = self.call_attempts > limits.calls_per_session
            || in_progress >= limits.calls_in_progress;
        let dialled = match dialled {
            Ok(Dialled { remote_number: number, .. }) | Err((_, number)) if is_over => {
                Err((Refusal::CallLimit, number))
            }
            Ok(dialled) if dialled.is_too_long() => Err((Refusal::TooLong, dialled.remote_number)),
            dialled => dialled,
        };
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err((refusal, number)) => {
                return self.refuse_call(now, exchange, object, refusal, number);
            }
        };
        let unit = exchange.add_unit(self.place.session, Role::Call(object));
        let address = exchange.user_agent.local_ip_for(&dialled.outgoing.targets[0]);
        let record = CallRecord {
            id: self.call_number(),
            start: exchange.unix_ms(),
            local_number: dialled.local_number,
            remote_number: dialled.remote_number,
            remote_number_type: dialled.remote_number_type.to_owned(),
            ..CallRecord::default()
        };
        let number = crate::logger::Private(&record.remote_number).to_string();
        let call = Call {
            object,
            unit,
            phase: Phase::Opening { outgoing: Box::new(dialled.outgoing) },
            hears: None,
            transfers: None,
            address,
            port: None,
            origin_id: exchange.random.next_u64() >> 1,
            origin_version: 0,
            agreed: None,
            security: Security::none(),
            described: None,
            proposed: None,
            direction: Direction::SendRecv,
            is_held: false,
            is_hd: None,
            has_rung: false,
            audio_started: false,
            playback: None,
            recorder: None,
            dtmf: dialled.dtmf,
            codecs: Vec::new(),
            wishes: Wishes::default(),
            info_digits: VecDeque::new(),
            answer_detection: None,
            waits_for_beep: false,
            record,
        };
        self.calls.insert(object, call);
        exchange.timers.disarm(Timer::Idle(self.place.session));
        self.log_call(exchange, object, &format!("calling {number}"));
        exchange.timers.arm(Timer::Alerting(self.place.session, object), now + OPENING);
        exchange.media(self.place, MediaCommand::Open { unit, address });
    }

    fn refuse_call(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        refusal: Refusal,
        mut remote_number: String,
    ) {
        let (code, reason) = refusal.status();
        crate::stats::CALLS_REFUSED.add(1);
        let number = crate::logger::Private(&remote_number).to_string();
        let why = refusal.explanation();
        self.log_call(exchange, object, &format!("refused to {number}: {code} {reason}: {why}"));
        // The history keeps the calls that a session may have, and the first one too many.
        if self.call_attempts <= exchange.config.limits.calls_per_session + 1 {
            truncate_bytes(&mut remote_number, DIALLED_BYTES);
            self.record.calls.push(CallRecord {
                id: self.call_number(),
                start: exchange.unix_ms(),
                remote_number,
                end_reason: format!("{code} {reason}"),
                ..CallRecord::default()
            });
        }
        self.fail(now, exchange, object, code, reason.to_owned(), Vec::new());
    }

    /// Sends the INVITE to the first target that takes one.
    pub(super) fn send_invite(&mut self, now: Instant, exchange: &mut Exchange, object: Object) {
        let preference = self.preference_for(object);
        exchange.timers.disarm(Timer::Alerting(self.place.session, object));
        let mut refused = Refused { status: 404, reason: "Not Found".into() };
        loop {
            let Some(call) = self.calls.get_mut(&object) else { return };
            let Some(port) = call.port else { return };
            let Phase::Opening { outgoing } = &mut call.phase else { return };
            let Some(target) = outgoing.targets.front() else { break };
            // Each trunk may be reached from another address of ours.
            let address = exchange.user_agent.local_ip_for(target);
            if address != call.address {
                (call.address, call.port) = (address, None);
                let timer = Timer::Alerting(self.place.session, object);
                exchange.timers.arm(timer, now + OPENING);
                let unit = call.unit;
                return exchange.media(self.place, MediaCommand::Move { unit, address });
            }
            let config = &exchange.config;
            let trunk = trunk_of(config, target);
            let name = trunk.map(|trunk| trunk.name.clone());
            if let Some(trunk) = trunk {
                call.dtmf = trunk.dtmf;
            }
            call.codecs = codecs_of(config, own_codecs(config, target));
            call.wishes = preference.fit(wishes_of(config));
            let since = *outgoing.since.get_or_insert(now);
            let passed =
                |name: &str| is_passed(name) || trunk.is_some_and(|trunk| passes(trunk, name));
            let (headers, dropped): (ExtraHeaders, ExtraHeaders) =
                outgoing.headers.iter().cloned().partition(|(name, _)| passed(name));
            let caller = match trunk {
                Some(trunk) if outgoing.caller.is_empty() => trunk.caller_id.clone(),
                _ => outgoing.caller.clone(),
            };
            let mut invite = Invite {
                target: target.clone(),
                caller,
                display_name: outgoing.display_name.clone(),
                credentials: outgoing.credentials.clone(),
                diverted: outgoing.diverted.clone(),
                headers,
                offer: None,
                timeout: outgoing.timeout.saturating_sub(now.saturating_duration_since(since)),
                patience: (outgoing.targets.len() > 1).then_some(PATIENCE),
                max_forwards: self.max_forwards,
            };
            call.security = Security::outgoing(exchange, &invite.target);
            call.security.prepare(exchange, None);
            let offer = call.numbered(offer_answer::offer(&call.local(port, &preference)));
            invite.offer = Some(offer.to_bytes());
            for (header, _) in dropped {
                let peer = name.as_deref().unwrap_or("this peer");
                let why = format!("header {header} dropped: {peer} has it not in pass_headers");
                self.log_call(exchange, object, &why);
            }
            let Some(call) = self.calls.get_mut(&object) else { return };
            let Phase::Opening { outgoing } = &mut call.phase else { return };
            match exchange.user_agent.invite(now, invite) {
                Ok(leg) => {
                    let outgoing = std::mem::take(outgoing);
                    call.phase = Phase::Calling { leg, outgoing, offer: Box::new(offer) };
                    exchange.add_leg(leg, self.place.session, object);
                    return;
                }
                Err(refusal) => {
                    outgoing.targets.pop_front();
                    let (status, reason) = (refusal.status, &refusal.reason);
                    let peer = name.as_deref().unwrap_or("peer");
                    let line = format!("{peer} is not called: {status} {reason}");
                    refused = refusal;
                    self.log_call(exchange, object, &line);
                }
            }
        }
        self.fail(now, exchange, object, refused.status, refused.reason, Vec::new());
    }

    /// A final failure of the INVITE: the next trunk, or the script's `Failed`.
    pub(super) fn on_invite_failed(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        object: Object,
        status: u16,
        reason: String,
        headers: ExtraHeaders,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Phase::Calling { outgoing, .. } = &mut call.phase else { return };
        outgoing.targets.pop_front();
        let since = outgoing.since.unwrap_or(now);
        let is_over = now.saturating_duration_since(since) >= outgoing.timeout;
        // Whoever rang is there: that nobody picked up is no fault of the trunk.
        let rang_out = status == 408 && call.has_rung;
        if !tries_next_trunk(status) || outgoing.targets.is_empty() || is_over || rang_out {
            return self.fail(now, exchange, object, status, reason, headers);
        }
        let outgoing = std::mem::take(outgoing);
        call.phase = Phase::Opening { outgoing };
        // What an early answer agreed on was with the trunk before.
        call.agreed = None;
        crate::stats::TRUNK_FAILOVERS.add(1);
        self.log_call(exchange, object, &format!("{status} {reason}: trying the next trunk"));
        self.send_invite(now, exchange, object);
    }
}

fn trunk_of<'a>(config: &'a Config, target: &Target) -> Option<&'a Trunk> {
    let Target::Trunk { name, .. } = target else { return None };
    config.trunk(name)
}

fn own_codecs<'a>(config: &'a Config, target: &Target) -> Option<&'a [Codec]> {
    match target {
        Target::Trunk { name, .. } => config.trunk(name).map(|trunk| &*trunk.codecs),
        Target::User { name } => {
            let user = config.users.iter().find(|user| user.name == *name);
            user.map(|user| &*user.codecs)
        }
        Target::Uri { .. } => None,
    }
}

/// Section 8 of the VoxEngine reference, and RFC 7433.
fn is_passed(name: &str) -> bool {
    let is_extra = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"));
    is_extra || name.eq_ignore_ascii_case("User-to-User")
}

fn passes(trunk: &Trunk, name: &str) -> bool {
    trunk.identity.pass_headers.iter().any(|passed| passed.eq_ignore_ascii_case(name))
}

/// `VI-CallTimeout` is for us (section 8 of the VoxEngine reference), not for the peer.
pub(super) fn take_call_timeout(headers: &mut ExtraHeaders) -> Option<Duration> {
    let is_timeout = |(name, _): &(String, String)| name.eq_ignore_ascii_case("VI-CallTimeout");
    let (_, seconds) = headers.remove(headers.iter().position(is_timeout)?);
    let seconds = seconds.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.clamp(CALL_TIMEOUT_S.0, CALL_TIMEOUT_S.1)))
}

/// Number or URI, caller id, display name and credentials of a call.
const DIALLED_BYTES: usize = 512;
/// Media answers at once, unless its thread is gone or stuck.
const OPENING: Duration = Duration::from_secs(5);
/// Time for any response of a trunk when another is left: five sendings over UDP are one too many
/// for a caller who waits (RFC 3261 §17.1.1.2: 0, 0.5, 1.5, 3.5, 7.5 s).
const PATIENCE: Duration = Duration::from_secs(6);
/// Section 1.6: 10 to 400 seconds.
const CALL_TIMEOUT_S: (u64, u64) = (10, 400);
