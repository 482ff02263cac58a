use super::super::test_folder::TestFolder;
use super::*;
use crate::config::{Tts, TtsEngine};

/// A WAV file of 8-bit samples: letters are samples.
fn wav(content: &str) -> Vec<u8> {
    let head =
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0";
    [&head[..], b"data\xff\xff\xff\xff", content.as_bytes()].concat()
}

fn text(clip: Result<Arc<Clip>, String>) -> Result<String, String> {
    let letter = |sample: i16| ((sample >> 8) + 128) as u8 as char;
    Ok(clip?.samples().into_iter().map(letter).collect())
}

struct World {
    executor: Rc<LocalExecutor<'static>>,
    folder: TestFolder,
    sounds: Rc<Sounds>,
    /// What the web server was asked.
    fetched: Rc<RefCell<Vec<HttpRequest>>>,
    /// What a body that is dribbled waits for.
    more: Sender<()>,
}

/// Code, body and headers of a web server's answer.
fn answer(request: &HttpRequest) -> HttpResult {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let result =
        |code, error: &str| HttpResult { code, error: error.into(), ..HttpResult::default() };
    let is_known = request.headers.contains(&header("If-None-Match", "\"1\""));
    match request.url.as_str() {
        "http://h/404" => result(404, ""),
        "http://h/too-large" => result(-9, ""),
        "http://h/late" => result(-7, ""),
        "http://h/lost" => result(-3, "host not found"),
        "http://h/unknown" => result(-1, ""),
        "http://h/tagged" if is_known => result(304, ""),
        "http://h/tagged" => {
            let headers = vec![header("ETag", "\"1\""), header("Cache-Control", "no-cache")];
            HttpResult { headers, ..result(200, "") }
        }
        "http://h/never-kept" => {
            HttpResult { headers: vec![header("Cache-Control", "no-store")], ..result(200, "") }
        }
        _ => result(200, ""),
    }
}

fn world() -> World {
    let folder = TestFolder::new();
    std::fs::create_dir_all(folder.path("scenarios/prompts")).unwrap();
    let fetched = Rc::new(RefCell::new(Vec::new()));
    let asked = fetched.clone();
    let (more, waits) = bounded(8);
    let fetch: Fetch = Box::new(move |request, parts, _| {
        asked.borrow_mut().push(request.clone());
        let waits = waits.clone();
        Box::pin(async move {
            smol::future::yield_now().await;
            let result = answer(&request);
            if request.url.ends_with("/never") {
                std::future::pending::<()>().await;
            }
            if result.code != 200 {
                return result;
            }
            // Nobody may want it any more.
            let _ = parts.send(Part::Length(None)).await;
            let body = match request.url.as_str() {
                "http://h/mp4" => b"\0\0\0\x20ftypM4A ".to_vec(),
                _ => wav(std::str::from_utf8(&request.body).unwrap()),
            };
            for piece in body.chunks(500) {
                if request.url.contains("dribble") && waits.recv().await.is_err() {
                    return HttpResult { code: -6, error: "lost".into(), ..result };
                }
                let _ = parts.send(Part::Bytes(piece.to_vec())).await;
            }
            let _ = parts.send(Part::End).await;
            result
        })
    });
    let mut config = config(&folder);
    config.limits.sound_bytes = 3000;
    config.limits.sound_cache_bytes = 100_000;
    let executor = Rc::new(LocalExecutor::new());
    let sounds = Rc::new(Sounds::new(&config, executor.clone(), fetch));
    World { executor, folder, sounds, fetched, more }
}

fn config(folder: &TestFolder) -> Config {
    let speak = r"(printf 'RIFF\377\377\377\377WAVEfmt \020\0\0\0\1\0\1\0\100\037\0\0\100\037\0\0\1\0\010\0data\377\377\377\377'; cat) > $0; echo x >> $0.count";
    let command = ["/bin/sh", "-c", speak, "{out}"];
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
    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path("scenarios").join(name), content).unwrap();
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        smol::block_on(self.executor.run(future))
    }

    /// The whole sound.
    fn load(&self, sound: Sound) -> Result<String, String> {
        self.run(async {
            let clip = self.sounds.load(sound).await?;
            ended(&clip).await;
            text(Ok(clip))
        })
    }

    fn asked(&self) -> usize {
        self.fetched.borrow().len()
    }
}

async fn ended(clip: &Clip) {
    while !clip.has_ended() {
        smol::Timer::after(Duration::from_millis(1)).await;
    }
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
    world.write("prompts/a.wav", &wav("hello"));
    for name in ["a.wav", "file:a.wav", "FILE:prompts/a.wav", "file://a.wav"] {
        assert_eq!(world.load(url(name, "")).as_deref(), Ok("hello"), "{name}");
    }
    assert!(world.load(url("file:../a.wav", "")).is_err());
    assert!(world.load(url("file:///etc/passwd", "")).is_err());
    assert_eq!(world.asked(), 0);
}

#[test]
fn a_file_that_is_written_anew_is_heard() {
    let world = world();
    world.write("a.wav", &wav("one"));
    assert_eq!(world.load(url("a.wav", "")).as_deref(), Ok("one"));
    world.write("a.wav", &wav("another"));
    assert_eq!(world.load(url("a.wav", "")).as_deref(), Ok("another"));
}

#[test]
fn troubles_of_files_carry_their_name() {
    let world = world();
    world.write("a.wav", b"bad");
    world.write("a.mp3", b"RIFF____WAVEdata____");
    world.write("large.wav", &[0; 3001]);
    let error = |name: &str| world.load(url(name, "")).unwrap_err();
    assert!(error("a.wav").starts_with("a.wav: the file is no sound: WAV, MP3"));
    assert_eq!(error("a.mp3"), "a.mp3: damaged WAV file: no fmt chunk before its data");
    assert_eq!(error("large.wav"), "large.wav: the sound is larger than 0 MB");
    assert_eq!(error("none.wav"), "\"none.wav\" is not in the scenarios folder nor in its prompts");
}

#[test]
fn a_url_is_fetched_once_for_all_who_ask() {
    let world = world();
    let load = || world.sounds.load(url("http://h/a", "hello"));
    let (first, second) = world.run(smol::future::zip(load(), load()));
    assert!(Arc::ptr_eq(&first.clone().unwrap(), &second.unwrap()));
    assert_eq!(text(first).as_deref(), Ok("hello"));
    assert_eq!(world.load(url("http://h/a", "hello")).as_deref(), Ok("hello"));
    assert_eq!(world.asked(), 1);
    assert!(world.sounds.flights.borrow().is_empty());
    assert_eq!(world.load(url("http://h/a", "other")).as_deref(), Ok("other"));
    assert_eq!(world.asked(), 2);
}

#[test]
fn who_waits_gets_the_sound_also_when_the_first_who_asked_goes() {
    let world = world();
    let mut first = Box::pin(world.sounds.load(url("http://h/a", "hello")));
    let second = world.sounds.load(url("http://h/a", "hello"));
    world.run(async {
        assert!(smol::future::poll_once(&mut first).await.is_none());
        let begun = smol::future::zip(second, async { drop(first) });
        assert_eq!(text(begun.await.0).as_deref(), Ok("hello"));
    });
    assert_eq!(world.asked(), 1);
}

#[test]
fn a_fetch_that_nobody_waits_for_ends() {
    let world = world();
    world.run(async {
        let mut load = Box::pin(world.sounds.load(url("http://h/never", "")));
        assert!(smol::future::poll_once(&mut load).await.is_none());
        smol::future::yield_now().await;
        drop(load);
    });
    assert_eq!(world.sounds.flights.borrow().values().filter_map(Weak::upgrade).count(), 0);
}

#[test]
fn a_failure_is_told_to_all_and_not_kept() {
    let world = world();
    let load = || world.sounds.load(url("http://h/404", ""));
    let (first, second) = world.run(smol::future::zip(load(), load()));
    assert_eq!(text(first), Err("HTTP status 404".into()));
    assert_eq!(text(second), Err("HTTP status 404".into()));
    assert_eq!(world.asked(), 1);
    assert!(world.load(url("http://h/404", "")).is_err());
    assert_eq!(world.asked(), 2);
}

#[test]
fn troubles_of_fetching_have_the_api_s_texts() {
    let mut world = world();
    Rc::get_mut(&mut world.sounds).unwrap().fetch_time = Duration::from_millis(20);
    for (path, error) in [
        ("late", "Timeout is reached"),
        ("never", "Timeout is reached"),
        ("too-large", "the sound is larger than 0 MB"),
        ("lost", "host not found"),
        ("unknown", "HTTP error -1"),
        ("mp4", "MP4: it is not supported: WAV, MP3, FLAC and Opus in Ogg are"),
    ] {
        for is_progressive in [false, true] {
            let mut sound = url(&format!("http://h/{path}"), "");
            if let Sound::Url(sound) = &mut sound {
                sound.progressive = is_progressive;
            }
            assert_eq!(world.load(sound), Err(error.into()), "{path} {is_progressive}");
        }
    }
}

#[test]
fn the_server_is_asked_again_only_when_the_sound_may_have_changed() {
    let world = world();
    assert_eq!(world.load(url("http://h/tagged", "hello")).as_deref(), Ok("hello"));
    assert_eq!(world.load(url("http://h/tagged", "hello")).as_deref(), Ok("hello"));
    let conditions: Vec<_> =
        world.fetched.borrow().iter().map(|request| request.headers.len()).collect();
    assert_eq!(conditions, [0, 1]);
    for _ in 0..2 {
        assert_eq!(world.load(url("http://h/never-kept", "hello")).as_deref(), Ok("hello"));
    }
    assert_eq!(world.asked(), 4);
}

fn progressive(place: &str, letters: usize) -> Sound {
    let sound = url(place, &"x".repeat(letters));
    let Sound::Url(sound) = sound else { unreachable!("made above") };
    Sound::Url(UrlSound { progressive: true, ..sound })
}

#[test]
fn a_progressive_sound_begins_when_100_ms_of_it_came_and_others_join_it() {
    let world = world();
    world.run(async {
        // 500 bytes of head and samples, 456 and 500 of them: 119 ms.
        for _ in 0..2 {
            world.more.send(()).await.unwrap();
        }
        let clip = world.sounds.load(progressive("http://h/dribble", 2000)).await.unwrap();
        assert_eq!((clip.len(), clip.has_ended()), (800, false));
        let other = world.sounds.load(progressive("http://h/dribble", 2000)).await.unwrap();
        assert!(Arc::ptr_eq(&clip, &other));
        for _ in 0..3 {
            world.more.send(()).await.unwrap();
        }
        ended(&clip).await;
        assert_eq!((clip.len(), clip.error()), (2000, None));
        // Over, and not kept.
        smol::future::yield_now().await;
        for _ in 0..5 {
            world.more.send(()).await.unwrap();
        }
        let again = world.sounds.load(progressive("http://h/dribble", 2000)).await.unwrap();
        assert!(!Arc::ptr_eq(&clip, &again));
    });
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_sound_that_is_not_progressive_waits_for_its_end() {
    let world = world();
    world.run(async {
        let mut load = Box::pin(world.sounds.load(url("http://h/dribble", &"x".repeat(2000))));
        for _ in 0..4 {
            world.more.send(()).await.unwrap();
            assert!(smol::future::poll_once(&mut load).await.is_none());
        }
        world.more.send(()).await.unwrap();
        let clip = load.await.unwrap();
        ended(&clip).await;
        assert_eq!(clip.len(), 2000);
    });
}

#[test]
fn a_transfer_that_breaks_off_cuts_the_sound_off() {
    let world = world();
    let clip = world.run(async {
        for _ in 0..2 {
            world.more.send(()).await.unwrap();
        }
        let clip = world.sounds.load(progressive("http://h/dribble", 2000)).await.unwrap();
        world.more.close();
        ended(&clip).await;
        clip
    });
    // What came of it in pieces of 20 ms.
    assert_eq!((clip.len(), clip.error()), (800, Some(CUT_OFF)));
}

#[test]
fn a_progressive_sound_that_nobody_plays_any_more_is_not_fetched_to_its_end() {
    let world = world();
    world.run(async {
        for _ in 0..2 {
            world.more.send(()).await.unwrap();
        }
        let clip = world.sounds.load(progressive("http://h/dribble", 2900)).await.unwrap();
        drop(clip);
        world.more.send(()).await.unwrap();
        while world.sounds.streams.try_acquire_arc().is_none()
            || Arc::strong_count(&world.sounds.clips) > 1
        {
            smol::Timer::after(Duration::from_millis(1)).await;
        }
    });
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
    let clip = world.run(world.sounds.load(speech(" \n"))).unwrap();
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
