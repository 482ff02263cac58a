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
use crate::media::frame::Rate;
use crate::media::tone::Script as ToneScript;
use crate::scenario::command::{Object, Sound};
use crate::scenario::event::{CallEvent, PlayerEvent};

/// What a call is playing.
pub struct Playback {
    pub stage: Stage,
    pub looped: bool,
    /// Progress tones fire no events.
    pub is_silent: bool,
    /// What plays: it may still fail while it comes.
    pub clip: Option<Arc<Clip>>,
}

/// A player object of the script.
pub struct Player {
    pub stage: Stage,
    pub looped: bool,
    pub paused: bool,
    /// Routes asked for while the sound was loading.
    pub listeners: Vec<Object>,
    /// Markers asked for while the sound was loading: part and offset.
    pub markers: Vec<(usize, i64)>,
    pub has_started: bool,
    /// Of a sequence all, of others one; empty for a tone.
    pub parts: Vec<Part>,
    /// The first trouble of a part, for the end of a sequence.
    pub error: Option<String>,
    pub is_sequence: bool,
}

/// A sound of a player.
pub enum Part {
    Loading { request: u64 },
    Loaded(Arc<Clip>),
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Loading { request: u64 },
    Playing { unit: UnitId },
}

impl Part {
    fn error(&self) -> Option<&str> {
        match self {
            Self::Loaded(clip) => clip.error(),
            Self::Loading { .. } | Self::Failed => None,
        }
    }
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
            call.playback = Some(Playback {
                stage: Stage::Loading { request },
                looped,
                is_silent: false,
                clip: None,
            });
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
        call.playback = Some(Playback {
            stage: Stage::Playing { unit },
            looped: true,
            is_silent: true,
            clip: None,
        });
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
            parts: Vec::new(),
            error: None,
            is_sequence: false,
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

    /// `createSequencePlayer`: it plays when all of its parts are there.
    pub(super) fn create_sequence(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        sounds: Vec<Result<Sound, String>>,
    ) {
        self.player_event(exchange, object, PlayerEvent::Created);
        let mut player = Player {
            stage: Stage::Loading { request: 0 },
            looped: false,
            paused: false,
            listeners: Vec::new(),
            markers: Vec::new(),
            has_started: false,
            parts: Vec::with_capacity(sounds.len()),
            error: None,
            is_sequence: true,
        };
        let mut errors = Vec::new();
        for sound in sounds {
            player.parts.push(match sound {
                Ok(sound) => {
                    let role = Role::Player(object);
                    let request = exchange.load(self.place.session, role, sound);
                    Part::Loading { request }
                }
                Err(error) => {
                    errors.push(error);
                    Part::Failed
                }
            });
        }
        self.players.insert(object, player);
        for error in errors {
            self.part_failed(exchange, object, error);
        }
        self.play_sequence_if_complete(exchange, object);
    }

    /// A part of a sequence is there, or will never be.
    fn part_loaded(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        request: u64,
        result: Result<Arc<Clip>, String>,
    ) {
        let Some(player) = self.players.get_mut(&object) else { return };
        let is_it =
            |part: &&mut Part| matches!(part, Part::Loading { request: r } if *r == request);
        let Some(part) = player.parts.iter_mut().find(is_it) else { return };
        match result {
            Ok(clip) => *part = Part::Loaded(clip),
            Err(error) => {
                *part = Part::Failed;
                self.part_failed(exchange, object, error);
            }
        }
        self.play_sequence_if_complete(exchange, object);
    }

    fn part_failed(&mut self, exchange: &mut Exchange, object: Object, error: String) {
        self.log_line(exchange, &format!("player {object}: {error}"));
        if let Some(player) = self.players.get_mut(&object) {
            player.error.get_or_insert_with(|| error.clone());
        }
        self.player_event(exchange, object, PlayerEvent::Error { error });
    }

    fn play_sequence_if_complete(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(player) = self.players.get_mut(&object) else { return };
        let mut clips = Vec::with_capacity(player.parts.len());
        for part in &player.parts {
            clips.push(match part {
                Part::Loading { .. } => return,
                Part::Loaded(clip) => clip.clone(),
                // Skipped, but markers count it.
                Part::Failed => Arc::new(Clip::whole(Rate::Narrow, &[])),
            });
        }
        if player.parts.iter().all(|part| matches!(part, Part::Failed)) {
            let error = player.error.take();
            self.players.remove(&object);
            self.player_event(exchange, object, PlayerEvent::PlaybackFinished { error });
            return;
        }
        self.player_loaded(exchange, object, Ok(Source::Sequence(clips.into())));
    }

    pub(super) fn stop_player(&mut self, exchange: &mut Exchange, object: Object) {
        let Some(player) = self.players.remove(&object) else { return };
        self.end_player(exchange, player);
        self.player_event(exchange, object, PlayerEvent::Stopped);
    }

    /// Ends what a player does, without an event.
    pub(super) fn end_player(&mut self, exchange: &mut Exchange, player: Player) {
        self.end_stage(exchange, player.stage);
        for part in player.parts {
            if let Part::Loading { request } = part {
                exchange.cancel_load(request);
            }
        }
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

    pub(super) fn add_marker(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        part: usize,
        offset_ms: i64,
    ) {
        let Some(player) = self.players.get_mut(&object) else { return };
        match player.stage {
            Stage::Playing { unit } => {
                exchange.media(self.place, MediaCommand::Mark { unit, part, offset_ms });
            }
            Stage::Loading { .. } if player.markers.len() < MARKERS_WHILE_LOADING => {
                player.markers.push((part, offset_ms));
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
        match role {
            Role::Playback(call) => {
                let playback = self.calls.get(&call).and_then(|call| call.playback.as_ref());
                if playback.is_some_and(|playback| playback.stage == stage) {
                    self.playback_loaded(exchange, call, result);
                }
            }
            Role::Player(object) => match self.players.get_mut(&object) {
                Some(player) if player.is_sequence => {
                    self.part_loaded(exchange, object, request, result);
                }
                Some(player) if player.stage == stage => {
                    player.parts.extend(result.iter().cloned().map(Part::Loaded));
                    self.player_loaded(exchange, object, result.map(Source::Clip));
                }
                Some(_) | None => {}
            },
            Role::Call(_) | Role::Conference(_) | Role::Recorder(_) | Role::Ended(_) => {}
        }
    }

    fn playback_loaded(
        &mut self,
        exchange: &mut Exchange,
        object: Object,
        result: Result<Arc<Clip>, String>,
    ) {
        let Some(call) = self.calls.get_mut(&object) else { return };
        let Some(playback) = call.playback.as_mut() else { return };
        let clip = match result {
            Ok(clip) => clip,
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
        playback.clip = Some(clip.clone());
        let (looped, to) = (playback.looped, call.unit);
        let source = Source::Clip(clip);
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
        for (part, offset_ms) in markers {
            exchange.media(self.place, MediaCommand::Mark { unit, part, offset_ms });
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
                    let playback = call.playback.take();
                    exchange.close_unit(self.place, unit);
                    if let Some(playback) = playback.filter(|playback| !playback.is_silent) {
                        let error = playback.clip.as_deref().and_then(Clip::error);
                        let error = error.map(str::to_owned);
                        let event = CallEvent::PlaybackFinished { error };
                        self.call_event(exchange, object, event);
                    }
                }
            }
            Role::Player(object) => {
                if self.players.get(&object).is_none_or(|player| player.stage != stage) {
                    return;
                }
                let Some(player) = self.players.remove(&object) else { return };
                exchange.close_unit(self.place, unit);
                // What failed while it came: the others were told before.
                let late = player.parts.iter().filter_map(Part::error).next().map(str::to_owned);
                if let Some(error) = late.clone() {
                    self.player_event(exchange, object, PlayerEvent::Error { error });
                }
                let event = PlayerEvent::PlaybackFinished { error: player.error.or(late) };
                self.player_event(exchange, object, event);
            }
            Role::Call(_) | Role::Conference(_) | Role::Recorder(_) | Role::Ended(_) => {}
        }
    }
}

/// Far more than a scenario sets before its sound is there; the next is dropped and logged.
const MARKERS_WHILE_LOADING: usize = 32;
