//! All units of an engine, and who hears whom.
//!
//! Invariant: `sources` and `listeners` are two views of the same routes, and every key in them is
//! of a unit that stands.

use std::collections::HashMap;

use super::engine::UnitId;
use super::mixer::Mixer;
use super::player::Player;
use super::recorder::{Recorder, Voice};
use super::stream::Stream;
use crate::slots::{Key, Slots};

/// A unit with its routes.
#[derive(Debug)]
pub struct Unit {
    pub id: UnitId,
    pub body: Body,
    /// Whom it hears: a call at most one, a conference and a recorder many.
    pub sources: Vec<Key>,
    pub listeners: Vec<Key>,
    /// Recorders of both directions of this call.
    pub taps: Vec<Key>,
    /// What it says reaches nobody.
    pub muted: bool,
    /// Sources or listeners changed; a conference looks at this.
    pub is_rewired: bool,
}

impl Unit {
    fn forget_listener(&mut self, listener: Key) {
        self.listeners.retain(|&other| other != listener);
        self.is_rewired = true;
    }

    fn forget(&mut self, source: Key) {
        self.sources.retain(|&other| other != source);
        self.is_rewired = true;
        if let Body::Recorder(recorder) = &mut self.body {
            recorder.forget(Voice::Unit(source));
        }
    }
}

#[derive(Debug)]
pub enum Body {
    Call(Box<Stream>),
    Conference(Box<Mixer>),
    Player(Box<Player>),
    Recorder(Box<Recorder>),
}

/// Call streams, conferences, players and recorders together. Full: `Event::OpenFailed`, counted as
/// `media_units_refused`.
#[derive(Debug)]
pub struct Units {
    slots: Slots<Unit>,
    by_id: HashMap<UnitId, Key>,
}

impl Units {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { slots: Slots::with_capacity(capacity), by_id: HashMap::new() }
    }

    /// `None` when the table is full or the number is taken.
    pub fn insert(&mut self, id: UnitId, body: Body) -> Option<Key> {
        if self.by_id.contains_key(&id) {
            return None;
        }
        let unit = Unit {
            id,
            body,
            sources: Vec::new(),
            listeners: Vec::new(),
            taps: Vec::new(),
            muted: false,
            is_rewired: false,
        };
        let key = self.slots.insert(unit).ok()?;
        self.by_id.insert(id, key);
        Some(key)
    }

    /// Takes a unit out with all its routes.
    pub fn remove(&mut self, id: UnitId) -> Option<Unit> {
        let key = self.by_id.remove(&id)?;
        let unit = self.slots.remove(key)?;
        for &source in &unit.sources {
            if let Some(source) = self.slots.get_mut(source) {
                source.forget_listener(key);
            }
        }
        for &listener in &unit.listeners {
            if let Some(listener) = self.slots.get_mut(listener) {
                listener.forget(key);
            }
        }
        for &recorder in &unit.taps {
            if let Some(Body::Recorder(recorder)) = self.body_mut(recorder) {
                recorder.call = None;
            }
        }
        if let Body::Recorder(recorder) = &unit.body
            && let Some(call) = recorder.call.and_then(|call| self.slots.get_mut(call))
        {
            call.taps.retain(|&tap| tap != key);
        }
        Some(unit)
    }

    /// `to` hears `from`; a call no longer hears whom it heard. Whether such a route can be.
    pub fn route(&mut self, from: Key, to: Key) -> bool {
        let (Some(speaker), Some(unit)) = (self.slots.get(from), self.slots.get(to)) else {
            return false;
        };
        let can_route = match (&speaker.body, &unit.body) {
            (Body::Recorder(_), _) | (_, Body::Player(_)) => false,
            // A conference of a conference would hear itself.
            (Body::Conference(_), Body::Conference(_)) => false,
            (Body::Conference(_), Body::Call(_) | Body::Recorder(_)) => {
                speaker.listeners.len() < MOST_MEMBERS
            }
            (_, Body::Conference(_)) => unit.sources.len() < MOST_MEMBERS,
            (_, Body::Recorder(_)) => unit.sources.len() < MOST_SOURCES,
            (_, Body::Call(_)) => true,
        };
        if unit.sources.contains(&from) || !can_route {
            return can_route;
        }
        if let (Body::Call(_), Some(&before)) = (&unit.body, unit.sources.first()) {
            self.unroute(before, to);
        }
        if let Some(unit) = self.slots.get_mut(to) {
            unit.sources.push(from);
            unit.is_rewired = true;
        }
        if let Some(unit) = self.slots.get_mut(from) {
            unit.listeners.push(to);
            unit.is_rewired = true;
        }
        true
    }

    pub fn unroute(&mut self, from: Key, to: Key) {
        if let Some(unit) = self.slots.get_mut(to) {
            unit.forget(from);
        }
        if let Some(unit) = self.slots.get_mut(from) {
            unit.forget_listener(to);
        }
    }

    /// Every route and recording of `old` is `new`'s from now on, in the place of its own.
    pub fn replace(&mut self, old: Key, new: Key) {
        if old == new {
            return;
        }
        for (from, to) in self.routes_of(new) {
            self.unroute(from, to);
        }
        for (from, to) in self.routes_of(old) {
            self.unroute(from, to);
            let instead = |key| if key == old { new } else { key };
            // `new` and `old` may have heard each other: nobody is left to hear.
            if instead(from) != instead(to) {
                self.route(instead(from), instead(to));
            }
        }
        let taps = self.slots.get_mut(old).map(|unit| std::mem::take(&mut unit.taps));
        for recorder in taps.unwrap_or_default() {
            let is_tapped = self.tap(recorder, new);
            if let Some(Body::Recorder(recorder)) = self.body_mut(recorder) {
                recorder.call = is_tapped.then_some(new);
            }
        }
    }

    fn routes_of(&self, key: Key) -> Vec<(Key, Key)> {
        let Some(unit) = self.slots.get(key) else { return Vec::new() };
        let heard = unit.sources.iter().map(|&source| (source, key));
        heard.chain(unit.listeners.iter().map(|&listener| (key, listener))).collect()
    }

    /// The recorder hears both directions of the call. Whether there was a place.
    pub fn tap(&mut self, recorder: Key, call: Key) -> bool {
        match self.slots.get_mut(call) {
            Some(unit) if matches!(unit.body, Body::Call(_)) && unit.taps.len() < MOST_TAPS => {
                unit.taps.push(recorder);
                true
            }
            _ => false,
        }
    }

    pub fn key(&self, id: UnitId) -> Option<Key> {
        self.by_id.get(&id).copied()
    }

    pub fn get(&self, key: Key) -> Option<&Unit> {
        self.slots.get(key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Unit> {
        self.slots.get_mut(key)
    }

    pub fn body(&self, key: Key) -> Option<&Body> {
        self.slots.get(key).map(|unit| &unit.body)
    }

    pub fn body_mut(&mut self, key: Key) -> Option<&mut Body> {
        self.slots.get_mut(key).map(|unit| &mut unit.body)
    }

    /// Two of them at once; `None` where one is gone, or they are the same.
    pub fn pair_mut(&mut self, first: Key, second: Key) -> Option<(&mut Unit, &mut Unit)> {
        self.slots.get_pair_mut(first, second)
    }

    pub fn call_mut(&mut self, key: Key) -> Option<&mut Stream> {
        match self.body_mut(key) {
            Some(Body::Call(stream)) => Some(stream),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The keys in the order of their places, into a list that is used again.
    pub fn list_keys(&self, keys: &mut Vec<Key>) {
        keys.clear();
        keys.extend(self.slots.iter().map(|(key, _)| key));
    }
}

/// Voices of one conference, and its ears (VoxEngine reference 1.6: 100 participants), with a few
/// players and recorders beside them. Full: the route is not made, counted as
/// `media_routes_refused`.
const MOST_MEMBERS: usize = 108;
/// Sources of one recorder: more than a session has calls and players. Full: the route is not
/// made, counted as `media_routes_refused`.
const MOST_SOURCES: usize = 64;
/// Recordings of one call at a time.
const MOST_TAPS: usize = 4;
