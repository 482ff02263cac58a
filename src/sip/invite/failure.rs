//! Why a call of ours failed, and which of several reasons is told.

use super::extra_headers;
use crate::sip::message::{Start, reason_phrase};
use crate::sip::outgoing::Outcome;
use crate::sip::user_agent::ExtraHeaders;

/// What is told of an INVITE that has failed.
pub(super) struct Failure {
    pub status: u16,
    pub reason: String,
    pub headers: ExtraHeaders,
}

impl Failure {
    pub fn of(status: u16) -> Self {
        let reason = reason_phrase(status).to_owned();
        Self { status, reason, headers: ExtraHeaders::new() }
    }

    pub fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(status) => Self::of(*status),
            Outcome::Response(response) => {
                let status = response.status().unwrap_or_default();
                let reason = match &response.start {
                    Start::Response { reason, .. } if !reason.is_empty() => reason.clone(),
                    _ => reason_phrase(status).to_owned(),
                };
                Self { status, reason, headers: extra_headers(response) }
            }
        }
    }

    /// Which of several failures is reported, the least first (RFC 3261 §16.7 step 6): a 6xx,
    /// else the lowest class, and of equals the first. Of 4xx that of a person who is there comes
    /// before that of a phone, and last what says nothing of either: a challenge which nobody can
    /// meet, silence.
    pub fn rank(&self) -> (u16, u8) {
        let class = self.status / 100;
        match self.status {
            600.. => (0, 0),
            486 => (class, 0),
            401 | 407 | 408 | 430 => (class, 2),
            _ => (class, 1),
        }
    }
}
