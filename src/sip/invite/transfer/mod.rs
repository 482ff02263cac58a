//! Transfers inside a call's dialog (RFC 3515, RFC 5589); `replaces` has the dialogs that another
//! one takes the place of.
//!
//! ```text
//! peer:  REFER --> Asked --202--> Notifying (100, 180, ...) --final NOTIFY answered--> nothing
//!                        --202, Refer-Sub: false--> Silent --outcome--> nothing
//! ours:  REFER sent --2xx--> accepted --NOTIFY with a final status, BYE, time-out--> told
//! ```
//! REFER inside a confirmed dialog, its implicit subscription, NOTIFY with message/sipfrag,
//! Refer-Sub (RFC 4488) and Referred-By (RFC 3892) **are** supported. REFER outside a dialog (405)
//! and Target-Dialog **are not**.
//!
//! One transfer at a time and call; a second one is answered 491. The subscription does not
//! outlive the call: with the peer's BYE it gets its last NOTIFY.

mod ours;
mod theirs;

use std::time::{Duration, Instant};

use self::ours::Ours;
use self::theirs::{Stage, Theirs, write_notify};
use super::confirmed::Confirmed;
use super::{Call, Phase};
use crate::sip::message::{Method, reason_phrase};
use crate::sip::outgoing::Owner;
use crate::sip::stack::Stack;

/// The transfers of a call: at most one of each side is under way.
#[derive(Default)]
pub(super) struct Transfers {
    /// REFERs of the peer so far. At [`MOST_REFERS`]: 403, counted as `transfers_refused_total`.
    received: u32,
    theirs: Option<Theirs>,
    ours: Option<Ours>,
}

impl Confirmed {
    /// Whether BYE would overtake the NOTIFY that says how the peer's transfer ended.
    pub(super) fn is_notifying(&self) -> bool {
        let theirs = self.transfers.as_ref().and_then(|transfers| transfers.theirs.as_ref());
        let Some(Theirs { stage: Stage::Notifying { is_sending, next, is_ending }, .. }) = theirs
        else {
            return false;
        };
        let is_last_waiting = next.as_ref().is_some_and(|(status, _)| *status >= 200);
        *is_sending && (*is_ending || is_last_waiting)
    }
}

/// The end of the call.
impl Call {
    /// The peer hangs up. With our REFER accepted that is how some say that the transfer worked;
    /// its own transfer goes on without NOTIFY, and is told so.
    pub(super) fn end_transfers(&mut self, now: Instant, stack: &mut Stack) {
        self.reject_refer(now, stack, 603);
        let (status, reason) = match self.ours() {
            Some(Ours { is_accepted: true, .. }) => (200, "OK"),
            _ => (487, reason_phrase(487)),
        };
        self.conclude_refer(stack, status, reason.to_owned());
        let Phase::Confirmed(confirmed) = &mut self.phase else { return };
        let theirs = confirmed.transfers.take().and_then(|transfers| transfers.theirs);
        if let Some(Theirs { id, stage: Stage::Notifying { next, is_ending: false, .. } }) = theirs
        {
            let (status, reason) = next.unwrap_or((100, reason_phrase(100).to_owned()));
            let mut notify = confirmed.dialog.request(Method::Notify, Owner::Nobody);
            let state = "terminated;reason=noresource";
            write_notify(&mut notify.request, id, state, status, &reason);
            stack.send(now, notify);
        }
    }
}

/// REFERs per call (section 1.6 of the VoxEngine reference).
pub const MOST_REFERS: u32 = 10;
/// For the outcome of a REFER of ours, where nobody says otherwise.
pub const REFER_PATIENCE: Duration = Duration::from_secs(60);
