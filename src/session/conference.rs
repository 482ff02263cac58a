//! Conferences of a script: a unit in media that calls and players are routed to and from.

use super::Session;
use super::exchange::{Exchange, Role};
use crate::media::engine::{Command as MediaCommand, UnitId};
use crate::media::frame::Rate;
use crate::scenario::command::Object;
use crate::scenario::event::{ConferenceEvent, Event as ScriptEvent};

impl Session {
    /// `VoxEngine.createConference`; `hd_audio` is 48 kHz, else it is 8.
    pub(super) fn create_conference(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        hd_audio: bool,
    ) {
        if self.conferences.len() >= MOST_CONFERENCES {
            crate::stats::MEDIA_UNITS_REFUSED.add(1);
            return self.refuse_conference(exchange, object);
        }
        let unit = exchange.add_unit(self.place.session, Role::Conference(object));
        self.conferences.insert(object, unit);
        let rate = if hd_audio { Rate::Full } else { Rate::Narrow };
        exchange.media(self.place, MediaCommand::Conference { unit, rate });
        self.conference_event(exchange, object, ConferenceEvent::Started);
    }

    /// The calls stay, and hear silence.
    pub(super) fn stop_conference(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(unit) = self.conferences.remove(&object) else { return };
        exchange.close_unit(self.place, unit);
        self.conference_event(exchange, object, ConferenceEvent::Stopped);
    }

    /// Media has no place for it.
    pub(super) fn on_conference_refused(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        unit: UnitId,
    ) {
        exchange.forget_unit(unit);
        self.conferences.remove(&object);
        self.refuse_conference(exchange, object);
    }

    fn refuse_conference(&mut self, exchange: &mut Exchange, object: Object) {
        self.log_line(exchange, "no place for another conference");
        let error = "no place for another conference".to_owned();
        let event = ConferenceEvent::Error { code: REFUSED, error, endpoint: None };
        self.conference_event(exchange, object, event);
        self.conference_event(exchange, object, ConferenceEvent::Stopped);
    }

    fn conference_event(
        &mut self,
        exchange: &mut Exchange,
        conference: Object,
        event: ConferenceEvent,
    ) {
        if self.is_running() {
            exchange.script_event(self.place, ScriptEvent::Conference { conference, event });
        }
    }
}

/// Of one session at one time; a scenario makes one. Full: ConferenceError, counted as
/// `media_units_refused`.
const MOST_CONFERENCES: usize = 4;
/// The code of the reference for what cannot be added.
const REFUSED: u16 = 102;
