//! What players play: files, URLs and spoken texts as clips that may still grow.
//!
//! Runs on the reactor's executor; what waits (files, decoding, speech) is done by threads of
//! smol's pool, few at a time. A sound that is asked for twice at once is loaded once.
//!
//! A file of the disk and a spoken text are played as soon as there is enough of them to begin. A
//! URL is played when all of it came, or with `progressivePlayback` as soon as it can begin; such
//! a one is shared while it comes and not kept (VoxEngine reference, section 15.1).

mod cache;
mod files;
mod freshness;
mod reading;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt;
use smol::lock::{OnceCell, Semaphore, SemaphoreGuardArc};
use smol::{LocalExecutor, Task};

pub use self::cache::ClipCache;
use self::cache::{Found, Key, LIFE};
use self::freshness::{Freshness, UNASKED, Validator};
pub use self::reading::{Abandoned, Begun, Bounded, Keeping, read};
use self::reading::{Body, CUT_OFF};
use super::http_client::Part;
use super::speech::Speaker;
use crate::budget;
use crate::config::{Codec, Config, L16};
use crate::media::clip::Clip;
use crate::media::frame::Rate;
use crate::scenario::command::{HttpRequest, Sound, Speech, UrlSound};
use crate::scenario::event::HttpResult;
use crate::stats;

/// Loads sounds, and keeps what it can.
pub struct Sounds {
    executor: Rc<LocalExecutor<'static>>,
    folder: PathBuf,
    keeping: Keeping,
    fetch: Fetch,
    fetch_time: Duration,
    speaker: Arc<Speaker>,
    clips: Arc<ClipCache>,
    /// Sounds on their way, for those who ask meanwhile; those whose askers have all gone end.
    flights: RefCell<HashMap<Key, Weak<Flight>>>,
    /// In threads: also when nobody waits any more, they go on to the end.
    files: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    speeches: Arc<Semaphore>,
}

/// An HTTP request whose body goes into a channel, within the limits of size and time.
pub type Fetch =
    Box<dyn Fn(HttpRequest, Sender<Part>, Pace) -> Pin<Box<dyn Future<Output = HttpResult>>>>;

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub time: Duration,
    pub pause: Duration,
}

/// A sound on its way to all who asked for it.
#[derive(Default)]
struct Flight {
    outcome: OnceCell<Result<Arc<Clip>, String>>,
    /// Ends with the last who waits, unless the sound was given away.
    task: Cell<Option<Task<()>>>,
}

impl Sounds {
    /// Looks for the speech engine, and warns where there is none.
    pub fn new(config: &Config, executor: Rc<LocalExecutor<'static>>, fetch: Fetch) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let limits = &config.limits;
        let most_decoded = (2 * limits.sound_bytes).min(limits.sound_cache_bytes);
        let keeping = Keeping {
            most_rate: highest_rate(config),
            most_samples: most_decoded / size_of::<i16>(),
            most_bytes: limits.sound_bytes,
        };
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self {
            executor,
            folder: config.gateway.scenarios_dir.clone(),
            keeping,
            fetch,
            fetch_time: FETCH_TIME,
            speaker: Arc::new(Speaker::new(&config.tts, &config.gateway.data_dir, &path, keeping)),
            clips: Arc::new(ClipCache::new(limits.sound_cache_bytes)),
            flights: RefCell::new(HashMap::new()),
            files: semaphore(FILES),
            fetches: semaphore(FETCHES),
            streams: semaphore(STREAMS),
            speeches: semaphore(SPEECHES),
        }
    }

    /// The clip of a sound, when it may be played; how long that may take is bounded. The clip
    /// may still grow, and fail.
    ///
    /// # Errors
    /// The text of `PlaybackFinished.error`.
    pub async fn load(self: &Rc<Self>, sound: Sound) -> Result<Arc<Clip>, String> {
        match sound {
            Sound::Url(sound) => match local_name(&sound.url) {
                Some(name) => self.load_file(name.to_owned()).await,
                None => self.load_url(sound).await,
            },
            Sound::Speech(speech) => self.load_speech(speech).await,
            // Tone scripts are computed, not loaded.
            Sound::Tone(_) => Err("a tone script is no file".into()),
        }
    }

    async fn load_file(self: &Rc<Self>, name: String) -> Result<Arc<Clip>, String> {
        let (folder, wanted) = (self.folder.clone(), name.clone());
        let file = unblock(move || files::find(&folder, &wanted)).await?;
        let key = Key::File { name: name.clone(), modified: file.modified, bytes: file.bytes };
        let keeping = self.keeping;
        let read_file = move |clips: &ClipCache, begin: &mut dyn FnMut(Begun)| {
            let (file, bytes) = files::open(&file, keeping.most_bytes)?;
            let bounded = Bounded::new(file, keeping.most_bytes);
            read(clips, keeping, bounded, Some(bytes), Abandoned::Finish, begin)
        };
        let loaded = self.join(key, |this, flight, key| async move {
            let place = this.files.acquire_arc().await;
            this.give_at_once(flight, key, place, read_file).await;
        });
        // Two kinds of trouble look alike without the name.
        loaded.await.map_err(|error| format!("{name}: {error}"))
    }

    async fn load_speech(self: &Rc<Self>, speech: Speech) -> Result<Arc<Clip>, String> {
        if speech.text.trim().is_empty() {
            // Nothing to say takes no time, but a player of it still begins and ends.
            return Ok(Arc::new(Clip::whole(Rate::Narrow, &[0; Rate::Narrow.frame()])));
        }
        let speaker = self.speaker.clone();
        let spoken = unblock(move || speaker.prepare(&speech)).await?;
        let speaker = self.speaker.clone();
        let key = Key::Speech(spoken.key.clone());
        let speak = move |clips: &ClipCache, begin: &mut dyn FnMut(Begun)| {
            speaker.speak(clips, &spoken, begin)
        };
        self.join(key, |this, flight, key| async move {
            let place = this.speeches.acquire_arc().await;
            this.give_at_once(flight, key, place, speak).await;
        })
        .await
    }

    async fn load_url(self: &Rc<Self>, sound: UrlSound) -> Result<Arc<Clip>, String> {
        let method = match sound.method.as_str() {
            "" => "GET".to_owned(),
            method => method.to_ascii_uppercase(),
        };
        let url = sound.url.clone();
        let key = Key::Url { method: method.clone(), url: url.clone(), body: sound.body.clone() };
        let request = HttpRequest {
            request: 0,
            url: sound.url,
            method,
            headers: sound.headers,
            body: sound.body,
            connect_timeout_s: self.fetch_time.as_secs_f64(),
            timeout_s: 0.0,
        };
        if sound.progressive {
            return self
                .join(key, |this, flight, key| async move {
                    if let Err(error) = this.stream(&flight, &key, request).await {
                        this.settle(&flight, &key, Err(error)).await;
                    }
                })
                .await;
        }
        self.join(key, |this, flight, key| async move {
            let outcome = this.fetch_whole(&key, request).await;
            this.settle(&flight, &key, outcome).await;
        })
        .await
    }

    /// From the cache, from whoever loads it already, or by `load`.
    async fn join<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        key: Key,
        load: impl FnOnce(Rc<Self>, Weak<Flight>, Key) -> F,
    ) -> Result<Arc<Clip>, String> {
        if let Found::Fresh(clip) = self.clips.find(Instant::now(), &key) {
            return Ok(clip);
        }
        let known = self.flights.borrow().get(&key).and_then(Weak::upgrade);
        let flight = known.unwrap_or_else(|| {
            let flight = Rc::new(Flight::default());
            let task = load(self.clone(), Rc::downgrade(&flight), key.clone());
            flight.task.set(Some(self.executor.spawn(task)));
            let mut flights = self.flights.borrow_mut();
            // Those whose askers have all gone.
            flights.retain(|_, flight| flight.strong_count() > 0);
            flights.insert(key, Rc::downgrade(&flight));
            flight
        });
        flight.outcome.wait().await.clone()
    }

    /// Tells all who wait. What still has to be done goes on without them.
    async fn settle(&self, flight: &Weak<Flight>, key: &Key, outcome: Result<Arc<Clip>, String>) {
        let Some(flight) = flight.upgrade() else { return };
        if let Some(task) = flight.task.take() {
            task.detach();
        }
        if outcome.is_err() {
            stats::SOUNDS_FAILED.add(1);
        }
        // Who asks from now on finds it in the cache, or tries again.
        self.flights.borrow_mut().remove(key);
        // The first word about it counts.
        let _ = flight.outcome.set(outcome).await;
    }

    /// A sound that a thread makes, given away and kept as soon as it can begin.
    async fn give_at_once(
        &self,
        flight: Weak<Flight>,
        key: Key,
        place: SemaphoreGuardArc,
        make: impl FnOnce(&ClipCache, &mut dyn FnMut(Begun)) -> Result<(), String> + Send + 'static,
    ) {
        let clips = self.clips.clone();
        let (begun_sender, begun) = bounded(1);
        let name = key.clone();
        let made = unblock(move || {
            let _place = place;
            let mut begin = |begun: Begun| {
                let freshness = Freshness { until: Instant::now() + LIFE, validator: None };
                clips.name(begun.id, name.clone(), freshness);
                // Room for the only one.
                let _ = begun_sender.try_send(begun.clip);
            };
            make(&clips, &mut begin)
        });
        let given = async {
            if let Ok(clip) = begun.recv().await {
                self.settle(&flight, &key, Ok(clip)).await;
            }
        };
        let (made, ()) = smol::future::zip(made, given).await;
        if let Err(error) = made {
            self.settle(&flight, &key, Err(error)).await;
        }
    }

    /// Fetches a sound and keeps it as long as the server allows. What is there already and may
    /// have changed is asked about.
    async fn fetch_whole(&self, key: &Key, mut request: HttpRequest) -> Result<Arc<Clip>, String> {
        let stale = match self.clips.find(Instant::now(), key) {
            Found::Fresh(clip) => return Ok(clip),
            Found::Stale(clip, validator) => {
                request.headers.extend(Validator::conditions(&validator));
                Some(clip)
            }
            Found::Nothing => None,
        };
        let place = async { Ok(self.fetches.acquire_arc().await) };
        let place = place.or(self.late()).await?;
        let pace = Pace { time: self.fetch_time, pause: self.fetch_time };
        let Transfer { fetched, begun, read } =
            self.transfer(place, request, pace, Abandoned::Finish);
        let fetched = async { self.checked(fetched.await) };
        let headers = match (fetched.or(self.late()).await, stale) {
            (Ok(Answer::New(headers)), _) => headers,
            (Ok(Answer::Unchanged(headers)), Some(clip)) => {
                if let Some(freshness) = Freshness::of(Instant::now(), &headers) {
                    self.clips.refresh(key, freshness.until);
                }
                return Ok(clip);
            }
            (Ok(Answer::Unchanged(_)), None) => return Err("HTTP status 304".into()),
            (Err(error), None) => return Err(error),
            // Better the sound of before than none.
            (Err(error), Some(clip)) => {
                log::warn!("a sound cannot be asked for, the kept one is played: {error}");
                self.clips.refresh(key, Instant::now() + UNASKED);
                return Ok(clip);
            }
        };
        let begun = match begun.recv().await {
            Ok(begun) if begun.clip.error().is_none() => begun,
            _ => return Err(read.await.err().unwrap_or_else(|| CUT_OFF.into())),
        };
        if let Some(freshness) = Freshness::of(Instant::now(), &headers) {
            self.clips.name(begun.id, key.clone(), freshness);
        }
        // It goes on to its end.
        read.detach();
        Ok(begun.clip)
    }

    /// Fetches a sound that is given away as soon as it can begin, to others too while it comes.
    async fn stream(
        &self,
        flight: &Weak<Flight>,
        key: &Key,
        request: HttpRequest,
    ) -> Result<(), String> {
        let place = async { Ok(self.streams.acquire_arc().await) };
        let place = place.or(self.late()).await?;
        let pace = Pace { time: STREAM_TIME, pause: self.fetch_time };
        let Transfer { fetched, begun, read } =
            self.transfer(place, request, pace, Abandoned::Stop);
        let given = async {
            let begun = async { Ok(begun.recv().await.ok()) };
            let Some(begun) = begun.or(self.late()).await? else { return Ok(()) };
            let freshness = Freshness { until: Instant::now() + STREAM_TIME, validator: None };
            self.clips.name(begun.id, key.clone(), freshness);
            self.settle(flight, key, Ok(begun.clip)).await;
            Ok::<_, String>(())
        };
        let mut given = std::pin::pin!(given);
        let fetched = async { self.checked(fetched.await) };
        let mut fetched = std::pin::pin!(fetched);
        let first = async { Err(given.as_mut().await) };
        let end = async { Ok(fetched.as_mut().await) };
        let result = match first.or(end).await {
            Err(Ok(())) => fetched.await,
            Err(Err(late)) => Err(late),
            // All of it, or nothing.
            Ok(result) => given.await.and(result),
        };
        // What is over is not kept.
        self.clips.refresh(key, Instant::now());
        match result? {
            Answer::Unchanged(_) => Err("HTTP status 304".into()),
            Answer::New(_) => read.await,
        }
    }

    /// Begins to fetch, and to read what comes.
    fn transfer(
        &self,
        place: SemaphoreGuardArc,
        request: HttpRequest,
        pace: Pace,
        abandoned: Abandoned,
    ) -> Transfer {
        let (parts, received) = bounded(PARTS);
        let (begun_sender, begun) = bounded(1);
        let (clips, keeping) = (self.clips.clone(), self.keeping);
        let read = unblock(move || {
            let _place = place;
            let mut body = Body::new(received);
            let length = body.length();
            // Room for the only one.
            let begin = |begun: Begun| drop(begun_sender.try_send(begun));
            read(&clips, keeping, body, length, abandoned, begin)
        });
        let read = self.executor.spawn(read);
        Transfer { fetched: (self.fetch)(request, parts, pace), begun, read }
    }

    /// Fails when a fetch has had its time.
    async fn late<T>(&self) -> Result<T, String> {
        smol::Timer::after(self.fetch_time).await;
        Err(TIMEOUT.to_owned())
    }

    fn checked(&self, result: HttpResult) -> Result<Answer, String> {
        match result.code {
            200..=299 => Ok(Answer::New(result.headers)),
            304 => Ok(Answer::Unchanged(result.headers)),
            // Section 21.2 of the VoxEngine reference.
            -7 => Err(TIMEOUT.into()),
            -9 => Err(files::too_large(self.keeping.most_bytes)),
            code if code < 100 && result.error.is_empty() => Err(format!("HTTP error {code}")),
            code if code < 100 => Err(result.error),
            code => Err(format!("HTTP status {code}")),
        }
    }
}

/// A sound that is fetched and read at once.
struct Transfer {
    fetched: Pin<Box<dyn Future<Output = HttpResult>>>,
    begun: Receiver<Begun>,
    read: Task<Result<(), String>>,
}

/// A good one, with its headers.
enum Answer {
    New(Vec<(String, String)>),
    /// What was asked about is still the same.
    Unchanged(Vec<(String, String)>),
}

/// Work for a thread that may wait. A fault in it costs this sound, not the reactor.
async fn unblock<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let guarded = move || catch_unwind(AssertUnwindSafe(work));
    smol::unblock(guarded).await.unwrap_or_else(|_| Err("fault while loading the sound".into()))
}

/// The name of a local sound: `file:NAME`, or no scheme at all (RFC 3986 §3.1).
fn local_name(url: &str) -> Option<&str> {
    let Some((scheme, rest)) = url.split_once(':') else { return Some(url) };
    if scheme.eq_ignore_ascii_case("file") {
        return Some(rest.strip_prefix("//").unwrap_or(rest));
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_letter);
    if is_scheme { None } else { Some(url) }
}

/// Of all codecs that a call can have.
fn highest_rate(config: &Config) -> Rate {
    let own = config.trunks.iter().map(|trunk| &trunk.codecs);
    let own = own.chain(config.users.iter().map(|user| &user.codecs));
    let codecs = own.flatten().chain(&config.media.codecs);
    let rates = codecs.map(|codec| match codec {
        Codec::Pcmu | Codec::Pcma | Codec::L16(L16::Hz8000) => Rate::Narrow,
        Codec::G722 | Codec::L16(L16::Hz16000) => Rate::Wide,
        Codec::Opus | Codec::L16(L16::Hz48000) => Rate::Full,
    });
    rates.max().unwrap_or(Rate::Narrow)
}

/// Section 1.6 of the VoxEngine reference, with the text of its error.
const FETCH_TIME: Duration = Duration::from_secs(12);
const TIMEOUT: &str = "Timeout is reached";
/// A sound that plays while it comes takes as long as it lasts; none is as long as this.
const STREAM_TIME: Duration = Duration::from_secs(60 * 60);

/// At one time; the next waits as long as a fetch may.
const FETCHES: usize = 4;
const STREAMS: usize = 8;
/// At one time; the next waits.
const FILES: usize = 2;
const SPEECHES: usize = 2;
const _: () = assert!(FETCHES + STREAMS + FILES + SPEECHES == budget::SOUNDS_BEING_READ);
/// Pieces of a body between the network and the decoder, 64 KiB each at most. Full: the server
/// waits.
const PARTS: usize = 2;

#[cfg(test)]
mod tests;
