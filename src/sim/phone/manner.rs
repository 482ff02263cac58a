//! What a phone is like, as a case writes it.

use std::sync::Arc;
use std::time::Duration;

use super::{Change, OnChange, Prack};
use crate::sim::secure::Wish;

/// What a phone does; times count from the INVITE until it is answered, then from the answer.
#[derive(Debug, Clone)]
pub struct Manner {
    pub rings_after: Option<Duration>,
    /// 183 with SDP in the place of 180.
    pub early_media: bool,
    /// Its 183 knows nothing of SRTP, as that of an announcement before the phone; and no sound
    /// comes with it.
    pub plain_early: bool,
    pub answers_after: Option<Duration>,
    /// The final answer is this one in the place of 200.
    pub refuses: Option<u16>,
    /// A tone of this pitch while the call stands.
    pub speaks: Option<f64>,
    /// This sound at 8000 Hz, once, from its first packet on; then silence.
    pub plays: Option<Arc<[i16]>>,
    /// RFC 4733 digits.
    pub presses: Vec<(Duration, char)>,
    /// 302 to this URI in the place of 200.
    pub redirects_to: Option<String>,
    /// Digits by SIP INFO.
    pub sends_info: Vec<(Duration, char)>,
    /// MESSAGEs inside the call.
    pub says: Vec<(Duration, &'static str)>,
    /// Re-INVITEs that hold the other side or take it back.
    pub holds: Vec<(Duration, Hold)>,
    /// REFERs with this Refer-To.
    pub refers: Vec<(Duration, String)>,
    /// What it does when it is referred.
    pub on_refer: OnRefer,
    /// It stays in a call after it was told that its transfer worked.
    pub stays: bool,
    /// A re-INVITE with another SRTP key.
    pub changes_key_after: Option<Duration>,
    /// Re-INVITEs and UPDATEs of other kinds.
    pub changes: Vec<(Duration, Change)>,
    pub on_change: OnChange,
    /// Of its descriptions from the start; `inactive`: no RTP either way.
    pub direction: &'static str,
    /// More header lines of its INVITEs, 200s to one, and UPDATEs.
    pub headers: &'static str,
    /// From then on nothing comes from it, and it hears nothing.
    pub vanishes_after: Option<Duration>,
    pub hangs_up_after: Option<Duration>,
    pub law: Law,
    /// SRTP, where it comes to that; the phone answers plain offers all the same.
    pub secures: Option<Wish>,
    pub prack: Prack,
    /// `X-` headers of its 18x, its 200 or refusal, and its BYE.
    pub tells_headers: bool,
}

/// What a phone makes of a REFER. It never really calls anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefer {
    Refuses(u16),
    /// 202, NOTIFY 100, and after a while NOTIFY with this status.
    Tells(Duration, u16),
    /// 202, and BYE after a while.
    HangsUp(Duration),
    /// 202, and nothing more.
    Forgets,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    Mu,
    A,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            rings_after: Some(Duration::from_millis(100)),
            early_media: false,
            plain_early: false,
            answers_after: Some(Duration::from_secs(1)),
            refuses: None,
            speaks: None,
            plays: None,
            presses: Vec::new(),
            redirects_to: None,
            sends_info: Vec::new(),
            says: Vec::new(),
            holds: Vec::new(),
            refers: Vec::new(),
            on_refer: OnRefer::Refuses(405),
            stays: false,
            changes_key_after: None,
            changes: Vec::new(),
            on_change: OnChange::Accepts,
            direction: "sendrecv",
            headers: "",
            vanishes_after: None,
            hangs_up_after: None,
            law: Law::Mu,
            secures: None,
            prack: Prack::Off,
            tells_headers: false,
        }
    }
}

/// A call that the phone makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Dial {
    pub number: String,
    /// Whether the INVITE has an offer; without, the ACK has the answer.
    pub offers: bool,
    pub after: Duration,
    pub cancels_after: Option<Duration>,
}
