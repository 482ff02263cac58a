use std::cell::Cell;

use super::super::http_pool::Pool;
use super::super::test_folder::TestFolder;
use super::*;
use crate::config::{Tts, TtsEngine};

/// Every byte is a sample; "bad..." is no WAV, "fault" is ours.
fn decode(bytes: &[u8]) -> Result<Clip, String> {
    match bytes {
        [b'b', b'a', b'd', ..] => Err("not a WAV file".into()),
        b"fault" => panic!("a fault"),
        bytes => {
            let samples: Vec<i16> = bytes.iter().copied().map(i16::from).collect();
            Ok(Clip::whole(Rate::Narrow, &samples))
        }
    }
}

struct World {
    folder: TestFolder,
    sounds: Sounds,
    fetched: Rc<Cell<usize>>,
}

/// A web server that answers after yielding once.
fn answer(request: &HttpRequest) -> HttpResult {
    let result = |code, body: &[u8], error: &str| HttpResult {
        code,
        body: body.to_vec(),
        error: error.into(),
        ..HttpResult::default()
    };
    match request.url.as_str() {
        "http://h/404" => result(404, b"gone", ""),
        "http://h/large" => result(200, &[0; 2000], ""),
        "http://h/too-large" => result(-9, b"", ""),
        "http://h/late" => result(-7, b"", ""),
        "http://h/lost" => result(-3, b"", "host not found"),
        "http://h/unknown" => result(-1, b"", ""),
        "http://h/mp3" => result(200, b"ID3\x04", ""),
        _ => result(200, &request.body, ""),
    }
}

fn world() -> World {
    let folder = TestFolder::new();
    std::fs::create_dir_all(folder.path("scenarios/prompts")).unwrap();
    let fetched = Rc::new(Cell::new(0));
    let count = fetched.clone();
    let fetch: Fetch = Box::new(move |request| {
        count.set(count.get() + 1);
        Box::pin(async move {
            smol::future::yield_now().await;
            if request.url.ends_with("/never") {
                std::future::pending::<()>().await;
            }
            (answer(&request), Pool::new(0).share())
        })
    });
    let mut config = config(&folder);
    config.limits.sound_bytes = 1000;
    config.limits.sound_cache_bytes = 100_000;
    let sounds = Sounds::new(&config, fetch, decode);
    World { folder, sounds, fetched }
}

fn config(folder: &TestFolder) -> Config {
    let command = ["/bin/sh", "-c", "cat > $0; echo x >> $0.count", "{out}"];
    let command = command.map(str::to_owned).to_vec();
    Config {
        gateway: crate::config::Gateway {
            data_dir: folder.path("data"),
            scenarios_dir: folder.path("scenarios"),
            ..Default::default()
        },
        control: Default::default(),
        sip: Default::default(),
        dns: Default::default(),
        media: Default::default(),
        scenario: Default::default(),
        tts: Tts { engine: TtsEngine::Command, command, ..Tts::default() },
        storage: Default::default(),
        limits: Default::default(),
        trunks: Vec::new(),
        routes: Vec::new(),
        users: Vec::new(),
        applications: Vec::new(),
    }
}

impl World {
    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path("scenarios").join(name), content).unwrap();
    }

    fn load(&self, sound: Sound) -> Result<String, String> {
        text(smol::block_on(self.sounds.load(sound)))
    }
}

fn text(clip: Result<Arc<Clip>, String>) -> Result<String, String> {
    Ok(clip?.samples().iter().map(|sample| *sample as u8 as char).collect())
}

/// With the body that comes back as the sound.
fn url(url: &str, body: &str) -> Sound {
    Sound::Url(UrlSound { url: url.into(), body: body.into(), ..UrlSound::default() })
}

fn speech(text: &str) -> Sound {
    Sound::Speech(Speech { text: text.into(), voice: String::new(), rate: 1.0 })
}

#[test]
fn files_are_named_with_and_without_their_scheme() {
    let world = world();
    world.write("prompts/a.wav", "hello");
    for name in ["a.wav", "file:a.wav", "FILE:prompts/a.wav", "file://a.wav"] {
        assert_eq!(world.load(url(name, "")).as_deref(), Ok("hello"), "{name}");
    }
    assert!(world.load(url("file:../a.wav", "")).is_err());
    assert!(world.load(url("file:///etc/passwd", "")).is_err());
    assert_eq!(world.fetched.get(), 0);
}

#[test]
fn a_file_that_is_written_anew_is_heard() {
    let world = world();
    world.write("a.wav", "one");
    assert_eq!(world.load(url("a.wav", "")).as_deref(), Ok("one"));
    world.write("a.wav", "another");
    assert_eq!(world.load(url("a.wav", "")).as_deref(), Ok("another"));
}

#[test]
fn troubles_of_files_carry_their_name() {
    let world = world();
    for (name, content) in [("a.wav", "bad"), ("a.mp3", "ID3x"), ("a.ogg", "OggSx"), ("f", "fault")]
    {
        world.write(name, content);
    }
    let error = |name: &str| world.load(url(name, "")).unwrap_err();
    assert_eq!(error("a.wav"), "a.wav: not a WAV file");
    assert_eq!(error("a.mp3"), "a.mp3: MP3 is not supported, only WAV is");
    assert_eq!(error("a.ogg"), "a.ogg: Ogg is not supported, only WAV is");
    assert_eq!(error("f"), "f: fault while loading the sound");
    assert_eq!(error("none.wav"), "\"none.wav\" is not in the scenarios folder nor in its prompts");
}

#[test]
fn a_url_is_fetched_once_for_all_who_ask() {
    let world = world();
    let load = || world.sounds.load(url("http://h/a", "hello"));
    let both = smol::future::zip(load(), load());
    let (first, second) = smol::block_on(both);
    assert!(Arc::ptr_eq(&first.clone().unwrap(), &second.unwrap()));
    assert_eq!(text(first).as_deref(), Ok("hello"));
    assert_eq!(world.load(url("http://h/a", "hello")).as_deref(), Ok("hello"));
    assert_eq!(world.fetched.get(), 1);
    assert!(world.sounds.flights.borrow().is_empty());
    assert_eq!(world.load(url("http://h/a", "other")).as_deref(), Ok("other"));
    assert_eq!(world.fetched.get(), 2);
}

#[test]
fn who_waits_takes_over_when_the_first_who_asked_goes() {
    let world = world();
    let mut first = Box::pin(world.sounds.load(url("http://h/a", "hello")));
    let second = world.sounds.load(url("http://h/a", "hello"));
    smol::block_on(async {
        assert!(smol::future::poll_once(&mut first).await.is_none());
        let begun = smol::future::zip(second, async { drop(first) });
        assert_eq!(text(begun.await.0).as_deref(), Ok("hello"));
    });
    assert_eq!(world.fetched.get(), 2);
}

#[test]
fn a_failure_is_told_to_all_and_not_kept() {
    let world = world();
    let load = || world.sounds.load(url("http://h/404", ""));
    let (first, second) = smol::block_on(smol::future::zip(load(), load()));
    assert_eq!(text(first), Err("HTTP status 404".into()));
    assert_eq!(text(second), Err("HTTP status 404".into()));
    assert_eq!(world.fetched.get(), 1);
    assert!(world.load(url("http://h/404", "")).is_err());
    assert_eq!(world.fetched.get(), 2);
}

#[test]
fn troubles_of_fetching_have_the_api_s_texts() {
    let mut world = world();
    world.sounds.fetch_time = Duration::from_millis(20);
    for (path, error) in [
        ("late", "Timeout is reached"),
        ("never", "Timeout is reached"),
        ("large", "the sound is larger than 0 MB"),
        ("too-large", "the sound is larger than 0 MB"),
        ("lost", "host not found"),
        ("unknown", "HTTP error -1"),
        ("mp3", "MP3 is not supported, only WAV is"),
    ] {
        let result = world.load(url(&format!("http://h/{path}"), ""));
        assert_eq!(result, Err(error.into()), "{path}");
    }
}

#[test]
fn spoken_texts_come_from_the_engine_once() {
    let world = world();
    assert_eq!(world.load(speech("Hello")).as_deref(), Ok("Hello"));
    assert_eq!(world.load(speech("Hello")).as_deref(), Ok("Hello"));
    assert_eq!(world.load(speech("<speak>Hello</speak>")).as_deref(), Ok("Hello"));
    let error = world.load(speech(&"x".repeat(1501))).unwrap_err();
    assert_eq!(error, "the text is longer than 1500 characters");
    let counts = std::fs::read_dir(world.folder.path("data/tts")).unwrap().flatten();
    let count = counts.filter(|entry| entry.path().extension().unwrap() == "count").count();
    assert_eq!(count, 1);
}

#[test]
fn nothing_to_say_is_silence_of_one_frame() {
    let world = world();
    let clip = smol::block_on(world.sounds.load(speech(" \n"))).unwrap();
    assert_eq!((clip.rate(), clip.samples()), (Rate::Narrow, vec![0; 160]));
}

#[test]
fn schemes_are_told_from_names() {
    assert_eq!(local_name("a.wav"), Some("a.wav"));
    assert_eq!(local_name("file:a:b.wav"), Some("a:b.wav"));
    assert_eq!(local_name("de/1:2.wav"), Some("de/1:2.wav"));
    assert_eq!(local_name("https://h/a.wav"), None);
    assert_eq!(local_name("ftp://h/a.wav"), None);
}

#[test]
fn formats_are_told_by_their_first_bytes() {
    assert_eq!(other_format(&[0xff, 0xfb, 0x90]), Some("MP3"));
    assert_eq!(other_format(b"fLaC"), Some("FLAC"));
    for bytes in [&b"RIFF"[..], b"", &[0xff, 0xf8], &[0xff, 0xff, 0xff][..0]] {
        assert_eq!(other_format(bytes), None);
    }
}
