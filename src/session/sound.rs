//! Playing: `say`, `startPlayback` and progress tones into a call, and players of their own.
//!
//! A sound is loaded (or parsed, for tones), then becomes a media player; the two kinds differ in
//! the events that the script hears.

use std::sync::Arc;
use std::time::Instant;

use super::Session;
use super::exchange::{Exchange, Role};
use super::journal::CallName;
use crate::media::clip::Clip;
use crate::media::engine::{Command as MediaCommand, Source, UnitId};
use crate::media::tone::Script as ToneScript;
use crate::scenario::command::{Object, Sound};
use crate::scenario::event::{CallEvent, PlayerEvent};

/// What a call is playing.
pub struct Playback {
    pub stage: Stage,
    pub looped: bool,
    /// Progress tones fire no events.
    pub is_silent: bool,
}

/// A player object of the script.
pub struct Player {
    pub stage: Stage,
    pub looped: bool,
    pub paused: bool,
    /// Routes asked for while the sound was loading.
    pub listeners: Vec<Object>,
    /// Markers asked for while the sound was loading.
    pub markers: Vec<i64>,
    pub has_started: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Loading { request: u64 },
    Playing { unit: UnitId },
}

impl Session {
    /// `say` and `startPlayback`: the sound takes the place of what the call heard.
    pub(super) fn play_to_call(
        &mut self,
        now: Instant,
        exchange: &mut Exchange,
        call: Object,
        sound: Sound,
        looped: bool,
    ) {
        self.stop_playback(exchange, call);
        if !self.calls.contains_key(&call) {
            return;
        }
        // Playing to an unanswered caller needs a media path first.
        self.start_early_media(now, exchange, call, Vec::new());
        let request = exchange.load(self.place.session, Role::Playback(call), sound);
        if let Some(call) = self.calls.get_mut(&call) {
            call.playback =
                Some(Playback { stage: Stage::Loading { request }, looped, is_silent: false });
        }
    }

    pub(super) fn play_progress_tone(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        country: &str,
    ) {
        self.stop_playback(exchange, object);
        let Some(call) = self.calls.get_mut(&object) else { return };
        let unit = exchange.add_unit(self.place.session, Role::Playback(object));
        call.playback =
            Some(Playback { stage: Stage::Playing { unit }, looped: true, is_silent: true });
        let source = Source::Tone(Arc::new(ToneScript::progress(country)));
        let to = call.unit;
        exchange
            .media(self.place, MediaCommand::Play { unit, source, looped: true, paused: false });
        exchange.media(self.place, MediaCommand::Route { from: unit, to });
    }

    /// Ends what the call plays, without an event.
    pub(super) fn stop_playback(&mut self, exchange: &mut Exchange, call: Object) {
        let Some(playback) = self.calls.get_mut(&call).and_then(|call| call.playback.take()) else {
            return;
        };
        self.end_stage(exchange, playback.stage);
    }

    fn end_stage(&mut self, exchange: &mut Exchange, stage: Stage) {
        match stage {
            Stage::Loading { request } => exchange.cancel_load(request),
            Stage::Playing { unit } => exchange.close_unit(self.place, unit),
        }
    }

    pub(super) fn create_player(
        &mut self,
        exchange: &mut Exchange,
        player: Object,
        sound: Sound,
        looped: bool,
        paused: bool,
    ) {
        self.player_event(exchange, player, PlayerEvent::Created);
        let mut entry = Player {
            stage: Stage::Loading { request: 0 },
            looped,
            paused,
            listeners: Vec::new(),
            markers: Vec::new(),
            has_started: false,
        };
        let script = match sound {
            Sound::Tone(text) => ToneScript::parse(&text).map_err(|error| error.to_string()),
            sound @ (Sound::Url(_) | Sound::Speech(_)) => {
                let request = exchange.load(self.place.session, Role::Player(player), sound);
                entry.stage = Stage::Loading { request };
                self.players.insert(player, entry);
                return;
            }
        };
        self.players.insert(player, entry);
        let source = script.map(|script| Source::Tone(Arc::new(script)));
        self.player_loaded(exchange, player, source);
    }

    pub(super) fn stop_player(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(player) = self.players.remove(&object) else { return };
        self.end_stage(exchange, player.stage);
        self.player_event(exchange, object, PlayerEvent::Stopped);
    }

    pub(super) fn pause_player(&mut self, exchange: &mut Exchange, object: Object, paused: bool) {
        let Some(player) = self.players.get_mut(&object) else { return };
        player.paused = paused;
        if let Stage::Playing { unit } = player.stage {
            let command = match paused {
                true => MediaCommand::Pause { unit },
                false => MediaCommand::Resume { unit },
            };
            exchange.media(self.place, command);
        }
    }

    pub(super) fn add_marker(&mut self, exchange: &mut Exchange, object: Object, offset_ms: i64) {
        let Some(player) = self.players.get_mut(&object) else { return };
        match player.stage {
            Stage::Playing { unit } => {
                exchange.media(self.place, MediaCommand::Mark { unit, part: 0, offset_ms });
            }
            Stage::Loading { .. } if player.markers.len() < MARKERS_WHILE_LOADING => {
                player.markers.push(offset_ms);
            }
            Stage::Loading { .. } => self.log_line(exchange, "marker dropped: too many"),
        }
    }

    /// `Input::Loaded` for a sound of this session.
    pub fn on_loaded(
        &mut self,
        exchange: &mut Exchange,
        role: Role,
        request: u64,
        result: Result<Arc<Clip>, String>,
    ) {
        let stage = Stage::Loading { request };
        let source = result.map(Source::Clip);
        match role {
            Role::Playback(call) => {
                let playback = self.calls.get(&call).and_then(|call| call.playback.as_ref());
                if playback.is_some_and(|playback| playback.stage == stage) {
                    self.playback_loaded(exchange, call, source);
                }
            }
            Role::Player(player) => {
                if self.players.get(&player).is_some_and(|player| player.stage == stage) {
                    self.player_loaded(exchange, player, source);
                }
            }
            Role::Call(_) | Role::Conference(_) | Role::Recorder(_) | Role::Ended(_) => {}
        }
    }

    fn playback_loaded(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        source: Result<Source, String>,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(playback) = call.playback.as_mut() else { return };
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                call.playback = None;
                let name = CallName(object);
                self.log_line(exchange, &format!("call {name}: playback failed: {error}"));
                let event = CallEvent::PlaybackFinished { error: Some(error) };
                self.call_event(exchange, object, event);
                return;
            }
        };
        let unit = exchange.add_unit(self.place.session, Role::Playback(object));
        playback.stage = Stage::Playing { unit };
        let (looped, to) = (playback.looped, call.unit);
        self.call_event(exchange, object, CallEvent::PlaybackReady);
        exchange.media(self.place, MediaCommand::Play { unit, source, looped, paused: false });
        exchange.media(self.place, MediaCommand::Route { from: unit, to });
    }

    fn player_loaded(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        source: Result<Source, String>,
    ) {
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                self.players.remove(&object);
                self.log_line(exchange, &format!("player {object}: {error}"));
                self.player_event(exchange, object, PlayerEvent::Error { error: error.clone() });
                let event = PlayerEvent::PlaybackFinished { error: Some(error) };
                self.player_event(exchange, object, event);
                return;
            }
        };
        let unit = exchange.add_unit(self.place.session, Role::Player(object));
        let Some(player) = self.players.get_mut(&object) else { return };
        player.stage = Stage::Playing { unit };
        let (looped, paused) = (player.looped, player.paused);
        let listeners = std::mem::take(&mut player.listeners);
        let markers = std::mem::take(&mut player.markers);
        self.player_event(exchange, object, PlayerEvent::PlaybackReady);
        exchange.media(self.place, MediaCommand::Play { unit, source, looped, paused });
        for offset_ms in markers {
            exchange.media(self.place, MediaCommand::Mark { unit, part: 0, offset_ms });
        }
        for to in listeners {
            if let Some(to) = self.unit_of(to) {
                exchange.media(self.place, MediaCommand::Route { from: unit, to });
            }
        }
    }

    /// The first sound left a player.
    pub(super) fn on_started(&mut self, exchange: &mut Exchange, role: Role, duration_s: f64) {
        match role {
            Role::Playback(call) => {
                let playback = self.calls.get(&call).and_then(|call| call.playback.as_ref());
                if playback.is_some_and(|playback| !playback.is_silent) {
                    self.call_event(exchange, call, CallEvent::PlaybackStarted { duration_s });
                }
            }
            Role::Player(object) => {
                let Some(player) = self.players.get_mut(&object) else { return };
                if !std::mem::replace(&mut player.has_started, true) {
                    self.player_event(exchange, object, PlayerEvent::Started { duration_s });
                }
            }
            Role::Call(_) | Role::Conference(_) | Role::Recorder(_) | Role::Ended(_) => {}
        }
    }

    /// A player came to its natural end.
    pub(super) fn on_finished(&mut self, exchange: &mut Exchange, role: Role, unit: UnitId) {
        let stage = Stage::Playing { unit };
        match role {
            Role::Playback(object) => {
                let Some(call) = self.calls.get_mut(&object) else { return };
                if call.playback.as_ref().is_some_and(|playback| playback.stage == stage) {
                    let is_silent = call.playback.take().is_some_and(|p| p.is_silent);
                    exchange.close_unit(self.place, unit);
                    if !is_silent {
                        let event = CallEvent::PlaybackFinished { error: None };
                        self.call_event(exchange, object, event);
                    }
                }
            }
            Role::Player(object) => {
                if self.players.get(&object).is_some_and(|player| player.stage == stage) {
                    self.players.remove(&object);
                    exchange.close_unit(self.place, unit);
                    let event = PlayerEvent::PlaybackFinished { error: None };
                    self.player_event(exchange, object, event);
                }
            }
            Role::Call(_) | Role::Conference(_) | Role::Recorder(_) | Role::Ended(_) => {}
        }
    }
}

/// Far more than a scenario sets before its sound is there; the next is dropped and logged.
const MARKERS_WHILE_LOADING: usize = 32;
