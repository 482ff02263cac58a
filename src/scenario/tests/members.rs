//! The members of the API: what each sends, and what its events say.

use super::*;
use crate::scenario::command::{CallPstn, CallSip, RecordParameters, Sound, Speech, UrlSound};
use crate::scenario::event::RecorderEvent;

#[test]
fn started_tells_the_urls_and_numbers_of_the_session() {
    let logs = log_of("VoxEngine.addEventListener(AppEvents.Started, e => Logger.write(e));");
    assert_eq!(
        logs,
        [
            r#"{"accessURL":"http://gw/request/7.1/token","accessSecureURL":"https://gw/request/7.1/token","accountId":1,"applicationId":2,"logURL":"http://gw/logs/7.log","sessionId":7,"name":"Application.Started"}"#
        ]
    );
}

#[test]
fn scripts_share_one_sloppy_global_scope_in_order() {
    let mut stage = Stage::with(limits());
    let outputs = stage.start(&[
        ("first.js", "undeclared = 1; var a = 2; let b = 3; const c = 4; class D {} function f() { return 5 }"),
        ("second.js", "Logger.write([undeclared, this.a, b, c, typeof D, f()].join())"),
    ]);
    assert_eq!(logs(&outputs), ["1,2,3,4,function,5"]);
}

#[test]
fn outgoing_calls_take_every_form() {
    let mut stage = Stage::with(limits());
    let outputs = stage.start(&[(
        "test.js",
        "VoxEngine.callPSTN('+4930123');
         VoxEngine.callPSTN('123', ' 55 5 ');
         VoxEngine.callSIP('sip:bob@host', { callerid: 'me', displayName: 'Me', regId: 2,
           password: 'p', authUser: 'u', headers: { 'X-A': 1, 'Via': 'no' }, outProxy: 'o' });
         VoxEngine.callSIP('sip:bob@host', 'me', 'Me', 'p', 'u', { 'X-A': 'b' }, false, 'o');
         VoxEngine.callSIP('sip:1001', 'me', { regId: 3 });
         VoxEngine.callUser({ username: 'alice', callerid: 'me', displayName: 'Me',
           extraHeaders: { 'X-A': 'b', 'VI-CallTimeout': 20 } });
         VoxEngine.callUser('alice', 'me', 'Me', { 'X-A': 'b' });",
    )]);
    let text = |text: &str| Some(text.to_owned());
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sip = |call| CallSip {
        call,
        to: "sip:bob@host".into(),
        registration: None,
        callerid: text("me"),
        display_name: text("Me"),
        auth_user: text("u"),
        password: text("p"),
        headers: vec![header("X-A", "b")],
        out_proxy: text("o"),
    };
    assert_eq!(
        commands(&outputs),
        [
            Command::CallPstn(Box::new(CallPstn {
                call: 1,
                number: "+4930123".into(),
                ..CallPstn::default()
            })),
            Command::Log { text: "callerid \" 55 5 \" holds white space: \"555\" is used".into() },
            Command::CallPstn(Box::new(CallPstn {
                call: 2,
                number: "123".into(),
                callerid: text("555"),
                ..CallPstn::default()
            })),
            Command::Log { text: "header Via dropped: scripts may set only X- headers".into() },
            Command::CallSip(Box::new(CallSip {
                registration: Some(2),
                headers: vec![header("X-A", "1")],
                ..sip(3)
            })),
            Command::CallSip(Box::new(sip(4))),
            Command::CallSip(Box::new(CallSip {
                call: 5,
                to: "sip:1001".into(),
                registration: Some(3),
                callerid: text("me"),
                ..CallSip::default()
            })),
            Command::CallUser {
                call: 6,
                username: "alice".into(),
                callerid: "me".into(),
                display_name: text("Me"),
                headers: vec![header("X-A", "b"), header("VI-CallTimeout", "20")],
            },
            Command::CallUser {
                call: 7,
                username: "alice".into(),
                callerid: "me".into(),
                display_name: text("Me"),
                headers: vec![header("X-A", "b")],
            },
        ]
    );
}

#[test]
fn incoming_call_knows_who_calls_whom() {
    let mut stage = Stage::with(limits());
    let source = "VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call, ...e }) => {
        Logger.write(e);
        Logger.write([call.id(), call.state(), call.incoming(), call.callerid(), call.displayName(),
          call.number(), call.clientType(), call.customData()].join());
        call.ring({ 'X-R': 'r' }); call.startEarlyMedia(); call.answer(null, { displayName: 'Desk' });
        call.reject(486, { 'X-R': 'r' }); call.decline(603); call.hangup();
      });";
    let outputs = stage.start_with(&[("test.js", source)], "", vec![started(), alerting()]);
    let headers = vec![("X-R".to_owned(), "r".to_owned())];
    let call = INCOMING;
    assert_eq!(
        commands(&outputs),
        [
            Command::Log {
                text: r#"{"callerid":"alice","destination":"100","toURI":"sip:100@gw","fromURI":"sip:alice@gw","displayName":"Alice","headers":{"X-Account":"42"},"scheme":"","name":"Application.CallAlerting"}"#.into()
            },
            Command::Log { text: "2147483648,ALERTING,true,alice,Alice,100,user,".into() },
            Command::Ring { call, headers: headers.clone() },
            Command::StartEarlyMedia { call, headers: Vec::new() },
            Command::Answer { call, headers: Vec::new(), display_name: Some("Desk".into()) },
            Command::Reject { call, status: 486, headers },
            Command::Reject { call, status: 603, headers: Vec::new() },
            Command::Hangup { call, headers: Vec::new() },
        ]
    );
}

#[test]
fn answering_an_outgoing_call_does_nothing() {
    let (_, outputs) = Stage::run("const call = VoxEngine.callPSTN('1', '2'); call.answer();");
    assert_eq!(commands(&outputs).len(), 1);
}

#[test]
fn state_follows_the_events_of_the_call() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        for (const name in CallEvents) call.addEventListener(CallEvents[name], e =>
          Logger.write(`${e.name} ${call.state()} ${e.call === call} ${e.id} ${e.oldState ?? ''}`));";
    let (mut stage, _) = Stage::run(source);
    let ringing = CallEvent::Ringing { headers: Vec::new() };
    assert_eq!(logs(&stage.call(1, ringing)), ["Call.Ringing PROGRESSING true 1 "]);
    assert_eq!(
        logs(&stage.call(1, connected())),
        ["Call.StateChanged CONNECTED true 1 PROGRESSING", "Call.Connected CONNECTED true 1 "]
    );
    assert_eq!(
        logs(&stage.call(1, disconnected())),
        ["Call.StateChanged TERMINATED true 1 CONNECTED", "Call.Disconnected TERMINATED true 1 "]
    );
}

#[test]
fn call_events_carry_their_payload() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        for (const name in CallEvents)
          call.addEventListener(CallEvents[name], ({ call, ...e }) => Logger.write(e));";
    let (mut stage, _) = Stage::run(source);
    let headers = vec![("X-A".to_owned(), "b".to_owned())];
    let text = |text: &str| text.to_owned();
    let cases = [
        (
            CallEvent::Failed { headers: headers.clone(), code: 486, reason: text("Busy Here") },
            r#"{"headers":{"X-A":"b"},"code":486,"reason":"Busy Here","name":"Call.Failed","id":"1"}"#,
        ),
        (CallEvent::PlaybackReady, r#"{"name":"Call.PlaybackReady","id":"1"}"#),
        (
            CallEvent::PlaybackStarted { duration_s: 1.5 },
            r#"{"duration":1.5,"name":"Call.PlaybackStarted","id":"1"}"#,
        ),
        (
            CallEvent::PlaybackFinished { error: Some(text("404 Not Found")) },
            r#"{"error":"404 Not Found","name":"Call.PlaybackFinished","id":"1"}"#,
        ),
        (
            CallEvent::PlaybackFinished { error: None },
            r#"{"name":"Call.PlaybackFinished","id":"1"}"#,
        ),
        (
            CallEvent::ToneReceived { tone: '#', source: 1 },
            r##"{"tone":"#","type":"1","name":"Call.ToneReceived","id":"1"}"##,
        ),
        (
            CallEvent::RecordStarted { url: text("u") },
            r#"{"url":"u","name":"Call.RecordStarted","id":"1"}"#,
        ),
        (
            CallEvent::RecordStopped { url: text("u"), duration_s: 4 },
            r#"{"url":"u","cost":"0","duration":4,"name":"Call.RecordStopped","id":"1"}"#,
        ),
        (
            CallEvent::RecordError { error: text("full") },
            r#"{"error":"full","name":"Call.RecordError","id":"1"}"#,
        ),
        (
            CallEvent::ReInviteAccepted {
                headers: headers.clone(),
                mime_type: text("application/sdp"),
                body: text("v=0"),
            },
            r#"{"headers":{"X-A":"b"},"mimeType":"application/sdp","body":"v=0","name":"Call.ReInviteAccepted","id":"1"}"#,
        ),
        (
            CallEvent::ReInviteRejected { headers: Vec::new(), code: 488, reason: text("No") },
            r#"{"headers":{},"code":488,"reason":"No","name":"Call.ReInviteRejected","id":"1"}"#,
        ),
        (
            CallEvent::InfoReceived { headers, mime_type: text("a/b"), body: text("c") },
            r#"{"headers":{"X-A":"b"},"mimeType":"a/b","body":"c","name":"Call.InfoReceived","id":"1"}"#,
        ),
        (
            CallEvent::MessageReceived { headers: Vec::new(), text: text("hi") },
            r#"{"headers":{},"text":"hi","name":"Call.MessageReceived","id":"1"}"#,
        ),
    ];
    for (event, expected) in cases {
        let logs = logs(&stage.call(1, event));
        assert_eq!(logs.last().map(String::as_str), Some(expected));
    }
}

#[test]
fn disconnected_says_how_long_and_which_way() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener('Call.Disconnected', ({ call, ...e }) => Logger.write(e));";
    let (mut stage, _) = Stage::run(source);
    assert_eq!(
        logs(&stage.call(1, disconnected())),
        [
            r#"{"headers":{},"internalCode":200,"reason":"Normal call clearing","duration":3,"cost":0,"direction":"Outgoing","name":"Call.Disconnected","id":"1"}"#
        ]
    );
}

#[test]
fn methods_of_an_ended_call_have_no_effect() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.Failed, () => {
          call.say('x'); call.startPlayback('u'); call.hangup(); call.handleTones(true); call.record();
        });";
    let (mut stage, _) = Stage::run(source);
    let outputs = stage.call(1, failed(486));
    assert_eq!(commands(&outputs).len(), 5);
    assert_eq!(logs(&outputs)[0], "call 1: say has no effect, the call has ended");
}

#[test]
fn say_takes_voices_in_every_form() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.say('a');
        call.say('a', { voice: VoiceList.Amazon.tr_TR_Filiz, ttsOptions: { rate: 'fast' } });
        call.say('a', { language: VoiceList.Google.af_ZA_Standard_A });
        call.say('a', VoiceList.Microsoft.Neural.af_ZA_AdriNeural, { speed: '0.5' });
        call.say('a', VoiceList.ElevenLabs.Alice);
        call.say('a', Language.US_ENGLISH_FEMALE, { rate: 'x-slow' });
        call.say('a', undefined);";
    let (_, outputs) = Stage::run(source);
    let speeches: Vec<(String, f32)> = commands(&outputs)
        .into_iter()
        .filter_map(|command| match command {
            Command::Playback { call: 1, sound: Sound::Speech(speech), looped: false } => {
                assert_eq!(speech.text, "a");
                Some((speech.voice, speech.rate))
            }
            _ => None,
        })
        .collect();
    let speech = |voice: &str, rate| (voice.to_owned(), rate);
    assert_eq!(
        speeches,
        [
            speech("Amazon.en_US_Joanna", 1.0),
            speech("Amazon.tr_TR_Filiz", 1.25),
            speech("Google.af_ZA_Standard_A", 1.0),
            speech("Microsoft.Neural.af_ZA_AdriNeural", 0.5),
            speech("ElevenLabs.Alice", 1.0),
            speech("US_ENGLISH_FEMALE", 0.5),
            speech("Amazon.en_US_Joanna", 1.0),
        ]
    );
}

#[test]
fn voices_are_frozen_and_know_locale_and_gender() {
    let logs = log_of(
        "Logger.write(VoiceList.Default.ru_RU_Male);
         Logger.write(VoiceList.Amazon.arb_Zeina);
         Logger.write(Object.isFrozen(VoiceList.Amazon.en_US_Joanna));
         Logger.write(VoiceList.SaluteSpeech.createBrandVoice('mine'));
         Logger.write(typeof Premium.US_ENGLISH_FEMALE);",
    );
    assert_eq!(
        logs,
        [
            r#"{"provider":"Default","locale":"ru_RU","name":"Male","gender":"male"}"#,
            r#"{"provider":"Amazon","locale":"arb","name":"Zeina"}"#,
            "true",
            r#"{"provider":"SaluteSpeech","name":"mine"}"#,
            "string",
        ]
    );
}

#[test]
fn text_that_is_too_long_ends_with_an_error_event() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.PlaybackFinished, e => Logger.write(e.error));
        call.say('x'.repeat(1501)); Logger.write('after');
        const player = VoxEngine.createTTSPlayer('x'.repeat(1501));
        for (const name in PlayerEvents)
          player.addEventListener(PlayerEvents[name], e => Logger.write(`${e.name} ${e.error}`));";
    let error = "The text is longer than 1500 characters";
    assert_eq!(
        log_of(source),
        [
            "after".to_owned(),
            error.to_owned(),
            "Player.Created undefined".to_owned(),
            format!("Player.Error {error}"),
            format!("Player.PlaybackFinished {error}"),
        ]
    );
}

#[test]
fn call_methods_send_their_commands() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.startPlayback('http://h/a.wav', true);
        call.startPlayback({ url: 'http://h/b', method: 'post', headers: [{ name: 'A', value: 'b' }],
          body: { text: 'hi' } }, { loop: false });
        call.startPlayback({ url: 'c', body: { binary: 'aGk=' } });
        call.stopPlayback(); call.playProgressTone('US'); call.record();
        call.record({ stereo: true, hd_audio: true, recordNamePrefix: 'p', expire: '-1y' });
        call.handleTones(); call.handleTones(false); call.handleTones(true, DTMFType.IN_BAND);
        call.sendDigits('12p#'); call.sendMessage('hi'); call.sendInfo('a/b', 'c', { 'X-I': 'i' });
        call.customData('data'); Logger.write(call.customData());
        call.acceptReInvite(); call.rejectReInvite();
        call.reInvite({ 'X-R': 'r' }, 'application/sdp', 'a=sendonly'); call.reInvite();";
    let (_, outputs) = Stage::run(source);
    let url = |url: &str| UrlSound { url: url.into(), method: "GET".into(), ..UrlSound::default() };
    let tones = |telephone_event, in_band, info| Command::HandleTones {
        call: 1,
        telephone_event,
        in_band,
        info,
    };
    assert_eq!(
        commands(&outputs)[1..],
        [
            Command::Playback { call: 1, sound: Sound::Url(url("http://h/a.wav")), looped: true },
            Command::Playback {
                call: 1,
                sound: Sound::Url(UrlSound {
                    method: "POST".into(),
                    headers: vec![("A".into(), "b".into())],
                    body: b"hi".to_vec(),
                    ..url("http://h/b")
                }),
                looped: false
            },
            Command::Playback {
                call: 1,
                sound: Sound::Url(UrlSound { body: b"hi".to_vec(), ..url("c") }),
                looped: false
            },
            Command::StopPlayback { call: 1 },
            Command::ProgressTone { call: 1, country: "US".into() },
            Command::RecordCall { call: 1, parameters: RecordParameters::default() },
            Command::RecordCall {
                call: 1,
                parameters: RecordParameters {
                    stereo: true,
                    hd_audio: true,
                    name: None,
                    name_prefix: Some("p".into()),
                    expire: Some("-1y".into()),
                }
            },
            tones(true, true, true),
            tones(false, false, false),
            tones(false, true, false),
            Command::SendDigits { call: 1, digits: "12p#".into() },
            Command::SendMessage { call: 1, text: "hi".into() },
            Command::SendInfo {
                call: 1,
                mime_type: "a/b".into(),
                body: "c".into(),
                headers: vec![("X-I".into(), "i".into())],
            },
            Command::CallCustomData { call: 1, value: "data".into() },
            Command::Log { text: "data".into() },
            Command::ReInvite {
                call: 1,
                headers: vec![("X-R".into(), "r".into())],
                mime_type: "application/sdp".into(),
                body: "a=sendonly".into(),
            },
            Command::ReInvite {
                call: 1,
                headers: Vec::new(),
                mime_type: "application/sdp".into(),
                body: String::new(),
            },
        ]
    );
}

#[test]
fn transcription_is_refused_by_an_event() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.RecordError, e => Logger.write(e.error));
        call.record({ transcribe: true });";
    assert_eq!(log_of(source), ["Transcription is not available on this gateway"]);
}

#[test]
fn recorders_take_both_forms_and_tell_their_events() {
    let source =
        "const r = VoxEngine.createRecorder({ hd_audio: true, name: 'n', recordNamePrefix: 'p',
          expire: RecordExpireTime.ONEYEAR });
        const s = VoxEngine.createRecorder('old', true);
        const refused = VoxEngine.createRecorder({ transcribe: true });
        for (const one of [r, refused])
          for (const name in RecorderEvents) one.addEventListener(RecorderEvents[name], e =>
            Logger.write([e.name, e.url, e.cost, e.duration, e.error, e.recorder === one].join()));
        VoxEngine.callPSTN('1', '2').sendMediaTo(r);
        r.mute(true); r.mute(false); s.stop(); s.stop(); s.mute(true); Logger.write(r.id());";
    let (mut stage, outputs) = Stage::run(source);
    let parameters =
        |name: &str| RecordParameters { name: Some(name.into()), ..RecordParameters::default() };
    let hd = RecordParameters {
        hd_audio: true,
        name_prefix: Some("p".into()),
        expire: Some("-1y".into()),
        ..parameters("n")
    };
    let is_recorders = |command: &Command| {
        matches!(
            command,
            Command::CreateRecorder { .. }
                | Command::MuteRecorder { .. }
                | Command::StopRecorder { .. }
                | Command::SendMediaTo { .. }
        )
    };
    let commands: Vec<Command> = commands(&outputs).into_iter().filter(is_recorders).collect();
    assert_eq!(
        commands,
        [
            Command::CreateRecorder { recorder: 1, parameters: hd },
            Command::CreateRecorder { recorder: 2, parameters: parameters("old") },
            Command::SendMediaTo { from: 4, to: 1 },
            Command::MuteRecorder { recorder: 1, muted: true },
            Command::MuteRecorder { recorder: 1, muted: false },
            Command::StopRecorder { recorder: 2 },
        ]
    );
    let refusal = "Recorder.Error,,,,Transcription is not available on this gateway,true";
    assert_eq!(logs(&outputs).last().map(String::as_str), Some(refusal));
    let mut heard = |event| logs(&stage.event(Event::Recorder { recorder: 1, event }));
    let started = heard(RecorderEvent::Started { url: "u".into() });
    assert_eq!(started, ["Recorder.Started,u,,,,true"]);
    let stopped = heard(RecorderEvent::Stopped { duration_s: 3 });
    assert_eq!(stopped, ["Recorder.Stopped,,0,3,,true"]);
    // It is over.
    assert_eq!(heard(RecorderEvent::Error { error: "e".into() }), [""; 0]);
}

#[test]
fn players_take_every_form() {
    let source = "const p = VoxEngine.createURLPlayer('u', true);
        VoxEngine.createURLPlayer('u', { onPause: true, loop: false });
        VoxEngine.createTTSPlayer('t', VoiceList.Amazon.tr_TR_Filiz, { speed: '2' });
        VoxEngine.createTTSPlayer('t', { voice: VoiceList.Amazon.tr_TR_Filiz, loop: true });
        VoxEngine.createToneScriptPlayer('440@-19;1(1/0/1)', true);
        p.pause(); p.resume(); p.addMarker(-500); Logger.write(p.id()); p.stop(); p.stop(); p.pause();";
    let (_, outputs) = Stage::run(source);
    let url =
        || Sound::Url(UrlSound { url: "u".into(), method: "GET".into(), ..UrlSound::default() });
    let speech =
        |rate| Sound::Speech(Speech { text: "t".into(), voice: "Amazon.tr_TR_Filiz".into(), rate });
    let create =
        |player, sound, looped, paused| Command::CreatePlayer { player, sound, looped, paused };
    assert_eq!(
        commands(&outputs),
        [
            create(1, url(), true, false),
            create(2, url(), false, true),
            create(3, speech(2.0), false, false),
            create(4, speech(1.0), true, false),
            create(5, Sound::Tone("440@-19;1(1/0/1)".into()), true, false),
            Command::PausePlayer { player: 1 },
            Command::ResumePlayer { player: 1 },
            Command::AddMarker { player: 1, part: 0, offset_ms: -500 },
            Command::Log { text: "1".into() },
            Command::StopPlayer { player: 1 },
        ]
    );
}

#[test]
fn progressive_playback_is_asked_for_by_its_parameter() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.startPlayback('u', { progressivePlayback: true });
        VoxEngine.createURLPlayer({ url: 'u' }, { progressivePlayback: true });
        VoxEngine.createURLPlayer('u', { loop: true });";
    let (_, outputs) = Stage::run(source);
    let progressive: Vec<bool> = commands(&outputs)
        .iter()
        .filter_map(|command| match command {
            Command::Playback { sound: Sound::Url(sound), .. }
            | Command::CreatePlayer { sound: Sound::Url(sound), .. } => Some(sound.progressive),
            _ => None,
        })
        .collect();
    assert_eq!(progressive, [true, true, false]);
}

#[test]
fn sequences_take_texts_and_urls_in_order() {
    let source = "const p = VoxEngine.createSequencePlayer({ segments: [
            { url: 'u', parameters: { progressivePlayback: true } },
            { text: 't', parameters: { voice: VoiceList.Amazon.tr_TR_Filiz } },
            { text: 'x'.repeat(1501) } ] });
        p.addMarker(-500, 1); p.addMarker(20);
        try { VoxEngine.createSequencePlayer({ segments: Array(65).fill({ url: 'u' }) }); }
        catch (e) { Logger.write(e.message); }
        VoxEngine.createSequencePlayer();";
    let (_, outputs) = Stage::run(source);
    let url = UrlSound {
        url: "u".into(),
        method: "GET".into(),
        progressive: true,
        ..UrlSound::default()
    };
    let speech = Speech { text: "t".into(), voice: "Amazon.tr_TR_Filiz".into(), rate: 1.0 };
    assert_eq!(
        commands(&outputs),
        [
            Command::CreateSequence {
                player: 1,
                parts: vec![
                    Ok(Sound::Url(url)),
                    Ok(Sound::Speech(speech)),
                    Err("The text is longer than 1500 characters".into()),
                ],
            },
            Command::AddMarker { player: 1, part: 1, offset_ms: -500 },
            Command::AddMarker { player: 1, part: 0, offset_ms: 20 },
            Command::Log { text: "createSequencePlayer: more than 64 segments".into() },
            Command::CreateSequence { player: 2, parts: Vec::new() },
        ]
    );
}

#[test]
fn sequence_events_have_names_of_their_own() {
    let source = "const p = VoxEngine.createSequencePlayer({ segments: [{ url: 'u' }] });
        for (const name in SequencePlayerEvents)
          p.addEventListener(SequencePlayerEvents[name], ({ sequencePlayer, ...e }) =>
            Logger.write(JSON.stringify(e) + (sequencePlayer === p)));";
    let (mut stage, _) = Stage::run(source);
    let cases = [
        (PlayerEvent::Created, r#"{"name":"SequencePlayer.Created"}true"#),
        (
            PlayerEvent::PlaybackMarkerReached { offset_ms: -20 },
            r#"{"offset":-20,"name":"SequencePlayer.PlaybackMarkerReached"}true"#,
        ),
        (
            PlayerEvent::Error { error: "404".into() },
            r#"{"error":"404","name":"SequencePlayer.Error"}true"#,
        ),
        (
            PlayerEvent::PlaybackFinished { error: None },
            r#"{"name":"SequencePlayer.PlaybackFinished"}true"#,
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(logs(&stage.player(1, event)), [expected]);
    }
}

#[test]
fn player_events_carry_their_payload() {
    let source = "const p = VoxEngine.createURLPlayer('u');
        for (const name in PlayerEvents)
          p.addEventListener(PlayerEvents[name], ({ player, ...e }) =>
            Logger.write(JSON.stringify(e) + (player === p)));";
    let (mut stage, _) = Stage::run(source);
    let cases = [
        (PlayerEvent::Created, r#"{"name":"Player.Created"}true"#),
        (PlayerEvent::PlaybackReady, r#"{"name":"Player.PlaybackReady"}true"#),
        (PlayerEvent::Started { duration_s: 2.0 }, r#"{"duration":2,"name":"Player.Started"}true"#),
        (
            PlayerEvent::PlaybackMarkerReached { offset_ms: -20 },
            r#"{"offset":-20,"name":"Player.PlaybackMarkerReached"}true"#,
        ),
        (
            PlayerEvent::Error { error: "404".into() },
            r#"{"error":"404","name":"Player.Error"}true"#,
        ),
        (PlayerEvent::PlaybackBuffering, r#"{"name":"Player.Buffering"}true"#),
        (
            PlayerEvent::PlaybackFinished { error: Some("404".into()) },
            r#"{"error":"404","name":"Player.PlaybackFinished"}true"#,
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(logs(&stage.player(1, event)), [expected]);
    }
}

#[test]
fn media_is_sent_between_units() {
    let source = "const a = VoxEngine.callPSTN('1', '2'), b = VoxEngine.callPSTN('3', '2');
        const p = VoxEngine.createURLPlayer('u');
        VoxEngine.sendMediaBetween(a, b); VoxEngine.stopMediaBetween(a, b);
        p.sendMediaTo(a); p.stopMediaTo(a);
        try { a.sendMediaTo(undefined) } catch (e) { Logger.write(e.message) }";
    let (_, outputs) = Stage::run(source);
    let to = |from, to| Command::SendMediaTo { from, to };
    let stop = |from, to| Command::StopMediaTo { from, to };
    assert_eq!(
        commands(&outputs)[3..],
        [
            to(1, 2),
            to(2, 1),
            stop(1, 2),
            stop(2, 1),
            to(3, 1),
            stop(3, 1),
            Command::Log { text: "sendMediaTo: the argument is not a media unit".into() },
        ]
    );
}

#[test]
fn listeners_run_in_order_twice_if_added_twice_and_not_if_removed() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        const a = () => Logger.write('a'), c = () => Logger.write('c');
        call.addEventListener(CallEvents.Ringing, a);
        call.addEventListener('Call.Ringing', a);
        call.addEventListener(CallEvents.Ringing, () => call.removeEventListener(CallEvents.Ringing, c));
        call.addEventListener(CallEvents.Ringing, c);
        call.addEventListener(CallEvents.Ringing, function () { Logger.write(String(this === undefined || this === globalThis)) });";
    let (mut stage, _) = Stage::run(source);
    let ringing = || CallEvent::Ringing { headers: Vec::new() };
    assert_eq!(logs(&stage.call(1, ringing())), ["a", "a", "true"]);
    assert_eq!(logs(&stage.call(1, ringing())), ["a", "a", "true"]);
}

#[test]
fn removing_without_a_callback_removes_all() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.Ringing, () => Logger.write('x'));
        call.removeEventListener(CallEvents.Ringing);";
    let (mut stage, _) = Stage::run(source);
    assert_eq!(stage.call(1, CallEvent::Ringing { headers: Vec::new() }), []);
}

#[test]
fn microtasks_run_before_the_next_handler() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.Ringing, async () => { await null; Logger.write('first') });
        call.addEventListener(CallEvents.Ringing, () => Logger.write('second'));";
    let (mut stage, _) = Stage::run(source);
    let ringing = CallEvent::Ringing { headers: Vec::new() };
    assert_eq!(logs(&stage.call(1, ringing)), ["first", "second"]);
}

#[test]
fn timers_fire_in_order_and_stop_when_cleared() {
    let source = "setTimeout(() => Logger.write('b'), 20); setTimeout(() => Logger.write('a'), 10);
        setTimeout((...v) => Logger.write('none ' + v.length));
        const gone = setTimeout(() => Logger.write('never'), 5); clearInterval(gone);
        let n = 0; const id = setInterval(() => { Logger.write(++n); if (n === 3) clearTimeout(id) }, 1);
        clearTimeout(12345); clearTimeout(undefined);";
    let mut stage = Stage::quiet(source);
    assert_eq!(logs(&stage.wait(Duration::from_millis(20))), ["none 0", "a", "b"]);
    // The shortest period is 100 ms.
    assert_eq!(logs(&stage.wait(Duration::from_millis(79))), [""; 0]);
    assert_eq!(logs(&stage.wait(Duration::from_secs(10))), ["1", "2", "3"]);
    assert_eq!(stage.worker.poll_timeout(), None);
}

#[test]
fn http_request_builds_what_the_options_say() {
    let source = "Net.httpRequest('http://h/p?a=1#f', () => {}, { params: { b: 'ü', c: 2 } });
        const o = new Net.HttpRequestOptions(); o.method = 'POST'; o.postData = 'body';
        o.headers = ['Content-Type: application/json', 'A:b']; o.timeout = 5; o.connectionTimeout = 600;
        Net.httpRequest('http://h/', () => {}, o);
        Net.httpRequest('http://h/', () => {}, { method: 'POST', params: { a: 'b c' }, headers: { 'User-Agent': 'x' } });";
    let (_, outputs) = Stage::run(source);
    let requests: Vec<_> = commands(&outputs)
        .into_iter()
        .filter_map(|command| match command {
            Command::HttpRequest(request) => Some(*request),
            _ => None,
        })
        .collect();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(requests[0].url, "http://h/p?a=1&b=%C3%BC&c=2#f");
    assert_eq!(requests[0].method, "GET");
    assert_eq!(requests[0].headers, [header("User-Agent", "VoxEngine/1.0")]);
    assert_eq!((requests[0].connect_timeout_s, requests[0].timeout_s), (6.0, 90.0));
    assert_eq!(requests[1].body, b"body");
    assert_eq!(
        requests[1].headers,
        [
            header("Content-Type", "application/json"),
            header("A", "b"),
            header("User-Agent", "VoxEngine/1.0")
        ]
    );
    assert_eq!((requests[1].connect_timeout_s, requests[1].timeout_s), (6.0, 5.0));
    assert_eq!(requests[2].body, b"a=b%20c");
    assert_eq!(
        requests[2].headers,
        [header("User-Agent", "x"), header("Content-Type", "application/x-www-form-urlencoded")]
    );
}

#[test]
fn http_results_reach_callback_and_promise() {
    let source = "Net.httpRequest('http://h/', r => Logger.write(r));
        (async () => { const r = await Net.httpRequestAsync('http://h/', { rawOutput: true }); Logger.write(r) })();";
    let (mut stage, _) = Stage::run(source);
    assert_eq!(
        logs(&stage.http(1, 200, "{}")),
        [
            r#"{"code":200,"raw_headers":"","headers":[{"key":"Content-Type","value":"application/json"}],"text":"{}"}"#
        ]
    );
    let result = HttpResult { code: -7, error: "timeout".into(), ..HttpResult::default() };
    assert_eq!(
        logs(&stage.event(Event::HttpResult { request: 2, result })),
        [r#"{"code":-7,"raw_headers":"","headers":[],"text":"","data":[],"error":"timeout"}"#]
    );
    assert_eq!(stage.http(2, 200, "twice"), []);
}

#[test]
fn three_requests_are_active_and_35_fit() {
    let source = "let refused = 0;
        for (let i = 0; i < 36; i++)
          try { Net.httpRequest('http://h/' + i, r => Logger.write(r.code)) } catch (e) { Logger.write(e.message) }
        Net.httpRequestAsync('http://h/').catch(e => Logger.write('async: ' + e.message));";
    let (mut stage, outputs) = Stage::run(source);
    let text = "Exceeded the HTTP connection count limit!";
    assert_eq!(logs(&outputs), [text.to_owned(), format!("async: {text}")]);
    assert_eq!(commands(&outputs).len(), 3 + 2);
    let outputs = stage.http(2, 204, "");
    let next = |command: &Command| match command {
        Command::HttpRequest(request) => Some(request.url.clone()),
        _ => None,
    };
    assert_eq!(commands(&outputs).iter().filter_map(next).collect::<Vec<_>>(), ["http://h/3"]);
    assert_eq!(logs(&outputs), ["204"]);
}

#[test]
fn access_handler_answers_as_its_value_says() {
    let source = "VoxEngine.addEventListener(AppEvents.HttpRequest, ({ method, path, content, headers }) => {
        globalThis.e = { method, path, headers }; const value = eval('(' + content + ')'); return typeof value === 'function' ? value() : value; });";
    let mut stage = Stage::quiet(source);
    let mut answer = |content: &str| answers(&stage.access(9, content)).remove(0);
    assert_eq!(answer("'text'"), Answer::Text("text".into()));
    assert_eq!(answer("1.5"), Answer::Text("1.5".into()));
    assert_eq!(answer("({ a: [1, null] })"), Answer::Json(r#"{"a":[1,null]}"#.into()));
    assert_eq!(answer("[1]"), Answer::Json("[1]".into()));
    assert_eq!(answer("true"), Answer::Json("true".into()));
    assert_eq!(answer("undefined"), Answer::Empty);
    assert_eq!(answer("Promise.resolve('later')"), Answer::Text("later".into()));
    assert_eq!(answer("Promise.resolve()"), Answer::Empty);
    assert_eq!(answer("({ path: e.path, method: e.method, content: e.headers })"), Answer::Json(
        r#"{"path":"/request/1.2/abc/more?x=1","method":"POST","content":[{"key":"X-Caller","value":"me"}]}"#.into()
    ));
    assert!(matches!(answer("{ const o = {}; o.o = o; return o }"), Answer::Error(_)));
    assert!(matches!(answer("(() => { const o = {}; o.o = o; return o })"), Answer::Error(_)));
    assert!(matches!(answer("1n"), Answer::Error(_)));
}

#[test]
fn throwing_access_handler_is_an_error_and_the_session_goes_on() {
    let source = "VoxEngine.addEventListener(AppEvents.HttpRequest, e => {
        if (e.content === 'throw') throw new Error('boom');
        if (e.content === 'reject') return Promise.reject(new Error('later'));
        return 'fine'; });";
    let mut stage = Stage::quiet(source);
    let outputs = stage.access(1, "throw");
    assert_eq!(answers(&outputs), [Answer::Error("Error: boom".into())]);
    assert_eq!(exceptions(&outputs), ["test.js:2: Error: boom"]);
    assert!(logs(&outputs)[0].starts_with("test.js:2: Error: boom\n"), "{outputs:?}");
    let outputs = stage.access(2, "reject");
    assert_eq!(answers(&outputs), [Answer::Error("Error: later".into())]);
    assert_eq!(exceptions(&outputs), ["test.js:3: Error: later"]);
    assert_eq!(answers(&stage.access(3, "")), [Answer::Text("fine".into())]);
}

#[test]
fn of_several_access_handlers_the_first_value_counts() {
    let source = "VoxEngine.addEventListener(AppEvents.HttpRequest, () => {});
        VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'second');
        VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'third');";
    let mut stage = Stage::quiet(source);
    assert_eq!(answers(&stage.access(1, "")), [Answer::Text("second".into())]);
}

#[test]
fn request_before_any_handler_waits_for_one() {
    let source =
        "setTimeout(() => VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'late'), 1000);";
    let mut stage = Stage::quiet(source);
    assert_eq!(stage.access(1, ""), []);
    assert_eq!(answers(&stage.wait(Duration::from_secs(2))), [Answer::Text("late".into())]);
    assert_eq!(stage.wait(Duration::from_secs(10)), []);

    let mut stage = Stage::quiet("");
    stage.access(1, "");
    assert_eq!(answers(&stage.wait(Duration::from_millis(4999))), []);
    assert_eq!(answers(&stage.wait(Duration::from_millis(1))), [Answer::Empty]);
}

#[test]
fn promise_that_never_settles_times_out() {
    let source = "VoxEngine.addEventListener(AppEvents.HttpRequest, () => new Promise(() => {}));";
    let mut stage = Stage::quiet(source);
    assert_eq!(stage.access(1, ""), []);
    assert_eq!(stage.wait(Duration::from_millis(29_999)), []);
    assert_eq!(answers(&stage.wait(Duration::from_millis(1))), [Answer::TimedOut]);
}

#[test]
fn custom_data_starts_as_given_and_is_sent_when_set() {
    let mut stage = Stage::with(limits());
    let source = "Logger.write(VoxEngine.customData()); Logger.write(VoxEngine.customData('new'));
        Logger.write(VoxEngine.customData());";
    let outputs = stage.start_with(&[("test.js", source)], "7001:7002", vec![started()]);
    assert_eq!(logs(&outputs), ["7001:7002", "new", "new"]);
    assert!(commands(&outputs).contains(&Command::CustomData { value: "new".into() }));
}

#[test]
fn secrets_are_told_by_name() {
    let source = "Logger.write(VoxEngine.getSecretValue('token')); Logger.write(VoxEngine.getSecretValue('x'));";
    assert_eq!(log_of(source), ["s3cret", "undefined"]);
}

#[test]
fn logging_takes_everything() {
    let source = "Logger.write('a'); Logger.write({ b: 1 }); Logger.write(undefined); Logger.write(null);
        Logger.write(5); const o = {}; o.o = o; Logger.write(o); console.log('c', 1, { d: 2 }); trace('e');
        Logger.write('\\ud800'); Logger.hideTones(true); debugger;";
    let (_, outputs) = Stage::run(source);
    assert_eq!(
        logs(&outputs),
        [
            "a",
            r#"{"b":1}"#,
            "undefined",
            "null",
            "5",
            "[object Object]",
            r#"c 1 {"d":2}"#,
            "e",
            "\u{FFFD}"
        ]
    );
    assert!(commands(&outputs).contains(&Command::HideTones { hidden: true }));
}

#[test]
fn log_lines_are_cut() {
    let logs = log_of("Logger.write('ä'.repeat(20000))");
    assert_eq!(logs[0].chars().count(), 15_000);
}

#[test]
fn typed_arrays_are_made_where_a_script_or_its_eval_may_name_them() {
    assert_eq!(log_of("Logger.write(String(new Uint8Array([1, 2]).buffer.byteLength))"), ["2"]);
    assert_eq!(
        log_of("Logger.write(eval('new Data' + 'View(new ArrayBuffer(3))').byteLength)"),
        ["3"]
    );
    assert_eq!(
        log_of("Logger.write([...new Map([[1, 2]])].join() + bytes2hex(str2bytes('a')))"),
        ["1,261"]
    );
}

#[test]
fn bytes_and_texts_convert() {
    let source = "Logger.write(base64_encode('hällo')); Logger.write(base64_encode([104, 105]));
        Logger.write(base64_decode('aGk=').join()); Logger.write(bytes2hex([0, 255])); Logger.write(bytes2hex([171], true));
        Logger.write(hex2bytes('00fF').join()); Logger.write(bytes2str([208, 191])); Logger.write(str2bytes('п', 'windows-1251').join());
        Logger.write(bytes2str(new Uint8Array([239]), 'windows-1251')); Logger.write(String(levenshtein_distance('kitten', 'sitting')));
        Logger.write(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuidgen()));
        Logger.write(getLocalTime('Europe/Berlin', new Date(0)).toISOString());
        try { str2bytes('a', 'ebcdic') } catch (e) { Logger.write(e.message) }";
    assert_eq!(
        log_of(source),
        [
            "aMOkbGxv",
            "aGk=",
            "104,105",
            "00ff",
            "AB",
            "0,255",
            "п",
            "239",
            "п",
            "3",
            "true",
            "1970-01-01T01:00:00.000Z",
            "the encoding \"ebcdic\" is not supported",
        ]
    );
}

#[test]
fn hashes_are_those_of_the_standards() {
    // RFC 1321 A.5, FIPS 180 examples, RFC 4231 4.3.
    let source = "Logger.write(Crypto.md5('abc')); Logger.write(md5(['a', 'bc'])); Logger.write(Crypto.sha1('abc'));
        Logger.write(sha256('abc')); Logger.write(Crypto.hmac_sha256('Jefe', 'what do ya want for nothing?'));";
    assert_eq!(
        log_of(source),
        [
            "900150983cd24fb0d6963f7d28e17f72",
            "900150983cd24fb0d6963f7d28e17f72",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ]
    );
}

#[test]
fn what_is_not_there_says_so_on_use() {
    let source = "require(Modules.ASR); require(Modules.Nothing); require(undefined); require('x');
        const tell = f => { try { f(); Logger.write('silent') } catch (e) { Logger.write(e.message) } };
        const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(AI.Events.DialogflowError, () => {});
        tell(() => OpenAI.createRealtimeAPIClient({})); tell(() => new VoximplantAPI.Client());
        tell(() => VoxEngine.createASR()); tell(() => call.monitorMediaStatistics()); tell(() => Net.sendMail());
        tell(() => ApplicationStorage.get('a')); tell(() => getPhoneNumberInfo('1'));";
    assert_eq!(
        log_of(source),
        [
            "OpenAI.createRealtimeAPIClient is not available on this gateway",
            "VoximplantAPI.Client is not available on this gateway",
            "VoxEngine.createASR is not available on this gateway",
            "call.monitorMediaStatistics is not available on this gateway",
            "Net.sendMail is not available on this gateway",
            "ApplicationStorage.get is not available on this gateway",
            "getPhoneNumberInfo is not available on this gateway",
        ]
    );
}

#[test]
fn scripts_may_define_names_of_their_own_over_ours() {
    let source = "var md5 = () => 'mine'; function sha1() { return 'own' } const Premium = 5; AI = 'ai';
        Logger.write([md5(), sha1(), Premium, AI, Crypto.md5('abc').length, md5(), sha1()].join());";
    assert_eq!(log_of(source), ["mine,own,5,ai,32,mine,own"]);
}

#[test]
fn host_is_no_global() {
    assert_eq!(
        log_of("Logger.write(typeof host + typeof shared + typeof __host)"),
        ["undefinedundefinedundefined"]
    );
}

#[test]
fn transfers_are_asked_for_and_reported() {
    let source = "const call = VoxEngine.callPSTN('1', '2'), other = VoxEngine.callPSTN('3', '4');
        const tell = f => { try { f(); Logger.write('silent') } catch (e) { Logger.write(e.message) } };
        call.handleBlindTransfer(true); call.handleBlindTransfer();
        call.notifyBlindTransferSuccess();
        call.notifyBlindTransferFailed(486, 'busy'); call.notifyBlindTransferFailed('x');
        call.transferTo({ to: 100, headers: { 'X-A': 1, 'VI-CallTimeout': 20, 'Via': 'no' } });
        call.transferTo({ call: other });
        tell(() => call.transferTo()); tell(() => call.transferTo({ call: {} }));";
    let (_, outputs) = Stage::run(source);
    let text = |text: &str| text.to_owned();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let failed = |status, reason| Command::NotifyTransfer { call: 1, status, reason };
    assert_eq!(
        commands(&outputs)[2..],
        [
            Command::HandleBlindTransfer { call: 1, handle: true },
            Command::HandleBlindTransfer { call: 1, handle: false },
            failed(200, text("OK")),
            failed(486, text("busy")),
            failed(603, text("")),
            Command::Log { text: text("header Via dropped: scripts may set only X- headers") },
            Command::TransferTo {
                call: 1,
                to: text("100"),
                other: None,
                headers: vec![header("X-A", "1"), header("VI-CallTimeout", "20")],
            },
            Command::TransferTo { call: 1, to: text(""), other: Some(2), headers: Vec::new() },
            Command::Log { text: text("transferTo: { to } or { call } is expected") },
            Command::Log { text: text("transferTo: { to } or { call } is expected") },
        ]
    );
}

#[test]
fn transfer_events_carry_their_payload() {
    let source = "const call = VoxEngine.callPSTN('1', '2'); call.handleBlindTransfer(true);
        for (const name of ['BlindTransferRequested', 'TransferComplete', 'TransferFailed'])
          call.addEventListener(CallEvents[name], ({ call, ...e }) => Logger.write(e));";
    let (mut stage, _) = Stage::run(source);
    let headers = vec![("Refer-To".to_owned(), "sip:100@pbx".to_owned())];
    let cases = [
        (
            CallEvent::BlindTransferRequested { headers, transfer_to: "100".into() },
            r#"{"headers":{"Refer-To":"sip:100@pbx"},"transferTo":"100","name":"Call.BlindTransferRequested","id":"1"}"#,
        ),
        (
            CallEvent::TransferComplete { role: "transferor" },
            r#"{"headers":{},"role":"transferor","name":"Call.TransferComplete","id":"1"}"#,
        ),
        (
            CallEvent::TransferFailed { role: "target", code: 486, reason: "Busy Here".into() },
            r#"{"headers":{},"role":"target","code":486,"reason":"Busy Here","name":"Call.TransferFailed","id":"1"}"#,
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(logs(&stage.call(1, event)), [expected]);
    }
}
