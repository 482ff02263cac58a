//! What players play: files, URLs and spoken texts as decoded clips.
//!
//! Runs on the reactor's executor; what waits (files, decoding, speech) is done by threads of
//! smol's pool, few at a time. A sound that is asked for twice at once is loaded once. WAV is
//! supported; MP3, Ogg and FLAC are **not**.

mod cache;
mod files;

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::future::FutureExt;
use smol::lock::{OnceCell, Semaphore};

use self::cache::{ClipCache, Key};
use super::http_pool::Share;
use super::speech::{Decode, Speaker, alone};
use crate::config::Config;
use crate::media::clip::Clip;
use crate::media::frame::Rate;
use crate::scenario::command::{HttpRequest, Sound, Speech, UrlSound};
use crate::scenario::event::HttpResult;

/// Loads sounds, and keeps what it can.
pub struct Sounds {
    folder: PathBuf,
    most_bytes: usize,
    fetch: Fetch,
    fetch_time: Duration,
    decode: Decode,
    speaker: Arc<Speaker>,
    clips: RefCell<ClipCache>,
    /// Sounds on their way, for those who ask meanwhile.
    flights: RefCell<HashMap<Key, Flight>>,
    fetches: Semaphore,
    /// In threads: also when nobody waits any more, they go on to the end.
    decodings: Arc<Semaphore>,
    speeches: Arc<Semaphore>,
}

/// An HTTP request; its answer holds no more than `limits.sound_bytes`, and what it has of the
/// pool of bodies until that is dropped.
pub type Fetch = Box<dyn Fn(HttpRequest) -> Pin<Box<dyn Future<Output = (HttpResult, Share)>>>>;

type Flight = Rc<OnceCell<Result<Arc<Clip>, String>>>;

impl Sounds {
    /// Looks for the speech engine, and warns where there is none.
    pub fn new(config: &Config, fetch: Fetch, decode: Decode) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let (folder, most_bytes) = (&config.gateway.data_dir, config.limits.sound_bytes as u64);
        let speaker = Speaker::new(&config.tts, folder, &path, decode, most_bytes);
        Self {
            folder: config.gateway.scenarios_dir.clone(),
            most_bytes: config.limits.sound_bytes,
            fetch,
            fetch_time: FETCH_TIME,
            decode,
            speaker: Arc::new(speaker),
            clips: RefCell::new(ClipCache::new(config.limits.sound_cache_bytes)),
            flights: RefCell::new(HashMap::new()),
            fetches: Semaphore::new(FETCHES),
            decodings: Arc::new(Semaphore::new(DECODINGS)),
            speeches: Arc::new(Semaphore::new(SPEECHES)),
        }
    }

    /// The clip of a sound; how long it may take is bounded.
    ///
    /// # Errors
    /// The text of `PlaybackFinished.error`.
    pub async fn load(&self, sound: Sound) -> Result<Arc<Clip>, String> {
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

    async fn load_file(&self, name: String) -> Result<Arc<Clip>, String> {
        let folder = self.folder.clone();
        let wanted = name.clone();
        let file = unblock(move || files::find(&folder, &wanted)).await?;
        let key = Key::File { name: name.clone(), modified: file.modified, bytes: file.bytes };
        let most_bytes = self.most_bytes;
        let read = move || files::read(&file, most_bytes);
        self.once(key, || async { self.decode(read).await }).await.map_err(|error| {
            // Two kinds of trouble look alike without it.
            format!("{name}: {error}")
        })
    }

    async fn load_url(&self, sound: UrlSound) -> Result<Arc<Clip>, String> {
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
            timeout_s: self.fetch_time.as_secs_f64(),
        };
        self.once(key, || async {
            // Held until the sound is decoded, so that no bodies pile up before that.
            let place = self.fetches.acquire();
            let _place = async { Ok(place.await) }.or(self.late()).await?;
            let fetched = async { Ok((self.fetch)(request).await) };
            let (result, _share) = fetched.or(self.late()).await?;
            let bytes = self.body(result)?;
            self.decode(move || Ok(bytes)).await
        })
        .await
    }

    async fn load_speech(&self, speech: Speech) -> Result<Arc<Clip>, String> {
        if speech.text.trim().is_empty() {
            // Nothing to say takes no time, but a player of it still begins and ends.
            return Ok(Arc::new(Clip::whole(Rate::Narrow, &[0; 160])));
        }
        let speaker = self.speaker.clone();
        let spoken = unblock(move || speaker.prepare(&speech)).await?;
        self.once(Key::Speech(spoken.key.clone()), || async {
            let speaker = self.speaker.clone();
            let place = self.speeches.acquire_arc().await;
            unblock(move || {
                let clip = speaker.speak(&spoken);
                drop(place);
                clip
            })
            .await
        })
        .await
    }

    /// From the cache, from whoever loads it already, or by `load`.
    async fn once<F: Future<Output = Result<Clip, String>>>(
        &self,
        key: Key,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<Clip>, String> {
        if let Some(clip) = self.clips.borrow_mut().get(Instant::now(), &key) {
            return Ok(clip);
        }
        let flight = self.flight(&key);
        let store = |clip| self.clips.borrow_mut().insert(Instant::now(), key.clone(), clip);
        let result = flight.get_or_init(async || load().await.and_then(store)).await.clone();
        self.flights.borrow_mut().retain(|_, other| !Rc::ptr_eq(other, &flight));
        result
    }

    fn flight(&self, key: &Key) -> Flight {
        let mut flights = self.flights.borrow_mut();
        // Those whose askers have all gone.
        flights.retain(|_, flight| Rc::strong_count(flight) > 1);
        flights.entry(key.clone()).or_default().clone()
    }

    /// Fails when a fetch has had its time.
    async fn late<T>(&self) -> Result<T, String> {
        smol::Timer::after(self.fetch_time).await;
        Err(TIMEOUT.to_owned())
    }

    fn body(&self, result: HttpResult) -> Result<Vec<u8>, String> {
        match result.code {
            200..=299 if result.body.len() > self.most_bytes => {
                Err(files::too_large(self.most_bytes))
            }
            200..=299 => Ok(result.body),
            // Section 21.2 of the VoxEngine reference.
            -7 => Err(TIMEOUT.into()),
            -9 => Err(files::too_large(self.most_bytes)),
            code if code < 100 && result.error.is_empty() => Err(format!("HTTP error {code}")),
            code if code < 100 => Err(result.error),
            code => Err(format!("HTTP status {code}")),
        }
    }

    async fn decode(
        &self,
        read: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
    ) -> Result<Clip, String> {
        let place = self.decodings.acquire_arc().await;
        let decode = self.decode;
        unblock(move || {
            let clip = alone(|| {
                read().and_then(|bytes| match other_format(&bytes) {
                    Some(format) => Err(format!("{format} is not supported, only WAV is")),
                    None => decode(&bytes),
                })
            });
            drop(place);
            clip
        })
        .await
    }
}

pub fn decode_whole(bytes: &[u8]) -> Result<Clip, String> {
    let mut sound = crate::media::sound::Sound::open(bytes, None).map_err(|e| e.to_string())?;
    let mut converter = crate::media::sound::Converter::new(sound.hertz(), Rate::Narrow);
    let (mut samples, mut out) = (Vec::new(), Vec::new());
    loop {
        samples.clear();
        sound.read(&mut samples).map_err(|e| e.to_string())?;
        if samples.is_empty() {
            converter.finish(&mut out);
            return Ok(Clip::whole(Rate::Narrow, &out));
        }
        converter.convert(&samples, &mut out);
    }
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

/// The name of a format that is known and not supported.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'I', b'D', b'3', ..] => Some("MP3"),
        // A frame's 11 bits of synchronization; layer 0 is reserved (ISO 11172-3, 2.4.2.3).
        [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x06 != 0 => Some("MP3"),
        [b'O', b'g', b'g', b'S', ..] => Some("Ogg"),
        [b'f', b'L', b'a', b'C', ..] => Some("FLAC"),
        _ => None,
    }
}

/// Section 1.6 of the VoxEngine reference, with the text of its error.
const FETCH_TIME: Duration = Duration::from_secs(12);
const TIMEOUT: &str = "Timeout is reached";

/// At one time, each with a body of `sound_bytes` at most; the next waits as long as a fetch may.
const FETCHES: usize = 4;
/// Threads that read and decode, one after the other.
const DECODINGS: usize = 1;
const SPEECHES: usize = 2;

#[cfg(test)]
mod tests;
