//! Dialogs that another one takes the place of (RFC 3891).
//!
//! Replaces of confirmed dialogs **is** supported. That of dialogs without an answer **is not**: §3
//! has those of incoming calls answered 481, and whom we call is not told its early dialogs by
//! anybody.

use super::{Calls, Phase};
use crate::sip::dialog::Dialog;
use crate::sip::message::Message;
use crate::sip::refer::Replaces;
use crate::sip::user_agent::CallId;

/// What a Replaces header finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No dialog of ours: 481.
    Nothing,
    /// A dialog that is ending: 603 (RFC 3891 §3).
    Over,
    Dialog(CallId),
}

impl Calls {
    /// The dialog that a Replaces header names.
    pub fn find(&self, replaces: &Replaces) -> Found {
        let Some(id) = self.of_tag(&replaces.to_tag) else { return Found::Nothing };
        let names = |dialog: &Dialog| {
            replaces.names(&dialog.call_id, dialog.local.tag(), dialog.remote.tag())
        };
        match self.slots.get(id.0).map(|call| (&call.phase, call.is_held)) {
            Some((Phase::Confirmed(confirmed), is_held)) if names(&confirmed.dialog) => {
                if is_held {
                    Found::Dialog(id)
                } else {
                    Found::Over
                }
            }
            Some((Phase::Leaving(leaving), _)) if names(&leaving.dialog) => Found::Over,
            _ => Found::Nothing,
        }
    }

    /// Which call a new INVITE replaces, or the status that refuses it (RFC 3891 §3).
    pub fn replaced_by(&self, invite: &Message) -> Result<Option<CallId>, u16> {
        let Some(replaces) = Replaces::of(invite).map_err(|_| 400_u16)? else { return Ok(None) };
        match self.find(&replaces) {
            Found::Nothing => Err(481),
            Found::Over => Err(603),
            Found::Dialog(_) if replaces.is_early_only => Err(486),
            Found::Dialog(id) => Ok(Some(id)),
        }
    }

    /// Of a call that is answered.
    pub(super) fn dialog(&self, id: CallId) -> Option<&Dialog> {
        match &self.slots.get(id.0)?.phase {
            Phase::Confirmed(confirmed) => Some(&confirmed.dialog),
            Phase::Calling(_) | Phase::Alerting(_) | Phase::Leaving(_) | Phase::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sip::tests::bench::{Bench, Sent, invite};
    use crate::sip::user_agent::{Event, ExtraHeaders};

    /// An INVITE of the trunk with Replaces for the call that we answered with `ok`.
    fn replacing(ok: &Sent, more: &str) -> String {
        let replaces = format!("c1@192.0.2.10;to-tag={};from-tag=f1{more}", ok.tag("To"));
        invite()
            .replace("c1@192.0.2.10", "c2@192.0.2.10")
            .replace("z9hG4bK1", "z9hG4bK9")
            .replace("tag=f1", "tag=f9")
            .replace("\n\nv=0", &format!("\nRequire: replaces\nReplaces: {replaces}\n\nv=0"))
    }

    #[test]
    fn rfc3891_invite_with_replaces_finds_its_call() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        bench.receive(&replacing(&ok, ""));
        bench.expect("SIP/2.0 100");
        let Event::Incoming(incoming) = bench.event() else { panic!("Incoming") };
        assert_eq!(incoming.replaces, Some(call));
        assert_ne!(incoming.call, call);
    }

    #[test]
    fn rfc3891_replaces_that_fits_nothing_is_refused() {
        let mut bench = Bench::new();
        let (call, ok) = bench.answered();
        for (text, status) in [
            (replacing(&ok, "").replace("from-tag=f1", "from-tag=f2"), 481),
            (replacing(&ok, "").replace("c1@", "c7@"), 481),
            (replacing(&ok, "").replace("to-tag=", "to-tag=0"), 481),
            (replacing(&ok, "").replace(";from-tag=f1", ""), 400),
            (replacing(&ok, "\nReplaces: a;to-tag=1;from-tag=2"), 400),
            (replacing(&ok, ";early-only"), 486),
        ] {
            bench.receive(&text);
            bench.expect(&format!("SIP/2.0 {status}"));
            bench.quiet();
        }
        // A dialog that is ending.
        bench.act(|agent, now| agent.hangup(now, call, &ExtraHeaders::new()));
        bench.expect("BYE ");
        bench.receive(&replacing(&ok, ""));
        bench.expect("SIP/2.0 603");
        assert_eq!(bench.agent.usage().calls, 1);
    }

    #[test]
    fn rfc3891_dialog_without_an_answer_is_not_replaced() {
        let mut bench = Bench::new();
        let call = bench.called();
        bench.act(|agent, now| agent.ring(now, call, &ExtraHeaders::new()));
        let ringing = bench.expect("SIP/2.0 180");
        bench.receive(&replacing(&ringing, ""));
        bench.expect("SIP/2.0 481");
        bench.quiet();
    }
}
