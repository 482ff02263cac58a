//! Whole scenarios in the forms that published samples use.

use super::*;
use crate::scenario::command::CallPstn;

fn names(outputs: &[Output]) -> Vec<String> {
    let name = |command: Command| {
        let text = format!("{command:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    };
    commands(outputs).into_iter().map(name).collect()
}

fn incoming(source: &str) -> (Stage, Vec<Output>) {
    let mut stage = Stage::with(limits());
    let outputs = stage.start_with(&[("test.js", source)], "", vec![started(), alerting()]);
    (stage, outputs)
}

#[test]
fn easy_process_goes_step_by_step() {
    let source = "VoxEngine.addEventListener(AppEvents.CallAlerting, e => {
        const out = VoxEngine.callUser({ username: 'bob', callerid: e.callerid, displayName: 'Front' });
        VoxEngine.easyProcess(e.call, out, (a, b) => Logger.write(`${a.id()} ${b.id()}`)); });";
    let (mut stage, outputs) = incoming(source);
    assert_eq!(names(&outputs), ["CallUser", "SendMediaTo", "SendMediaTo"]);
    let headers = || vec![("X-H".to_owned(), "1".to_owned())];
    let call = INCOMING;
    assert_eq!(
        commands(&stage.call(1, CallEvent::Ringing { headers: headers() })),
        [Command::Ring { call, headers: Vec::new() }]
    );
    assert_eq!(
        commands(&stage.call(1, CallEvent::AudioStarted { headers: headers() })),
        [Command::StartEarlyMedia { call, headers: Vec::new() }]
    );
    assert_eq!(
        commands(&stage.call(1, CallEvent::Connected { headers: headers() })),
        [Command::Answer { call, headers: headers(), display_name: Some("Front".into()) }]
    );
    assert_eq!(logs(&stage.call(call, connected())), ["2147483648 1"]);
    let message = CallEvent::MessageReceived { headers: Vec::new(), text: "hi".into() };
    assert_eq!(
        commands(&stage.call(call, message)),
        [Command::SendMessage { call: 1, text: "hi".into() }]
    );
    let info =
        CallEvent::InfoReceived { headers: headers(), mime_type: "a/b".into(), body: "c".into() };
    assert_eq!(names(&stage.call(1, info)), ["SendInfo"]);
    let change = CallEvent::ReInviteReceived {
        headers: Vec::new(),
        mime_type: "application/sdp".into(),
        body: "v=0".into(),
    };
    let passed = Command::ReInvite {
        call,
        headers: Vec::new(),
        mime_type: "application/sdp".into(),
        body: "v=0".into(),
    };
    assert_eq!(commands(&stage.call(1, change)), [passed]);
    let accepted = CallEvent::ReInviteAccepted {
        headers: Vec::new(),
        mime_type: "application/sdp".into(),
        body: "v=0".into(),
    };
    // The gateway has answered the other leg's by itself.
    assert_eq!(stage.call(call, accepted), []);
    assert_eq!(commands(&stage.call(1, disconnected())), [Command::Terminate]);
    assert_eq!(stage.call(call, disconnected()), []);
}

#[test]
fn easy_process_tells_the_caller_why_the_callee_failed() {
    let source = "VoxEngine.forwardCallToPSTN(n => '9' + n);";
    let (mut stage, outputs) = incoming(source);
    assert!(commands(&outputs).contains(&Command::CallPstn(Box::new(CallPstn {
        call: 1,
        number: "9100".into(),
        callerid: Some("alice".into()),
        ..CallPstn::default()
    }))));
    let outputs = stage.call(1, failed(486));
    assert_eq!(
        commands(&outputs),
        [Command::Reject { call: INCOMING, status: 486, headers: Vec::new() }, Command::Terminate]
    );
}

#[test]
fn forwards_dial_as_their_names_say() {
    let (_, outputs) = incoming("VoxEngine.forwardCallToUser();");
    assert_eq!(names(&outputs), ["CallUser", "SendMediaTo", "SendMediaTo"]);
    let (_, outputs) = incoming("VoxEngine.forwardCallToUserDirect();");
    assert_eq!(names(&outputs), ["Log", "CallUser"]);
    let (_, outputs) = incoming("VoxEngine.forwardCallToSIP();");
    assert_eq!(names(&outputs), ["CallSip", "SendMediaTo", "SendMediaTo"]);
    let (_, outputs) = incoming("VoxEngine.forwardCallToPSTN();");
    assert_eq!(names(&outputs), ["CallPstn", "SendMediaTo", "SendMediaTo"]);
}

#[test]
fn helpers_use_what_a_script_replaced() {
    let source = "VoxEngine.callPSTN = number => { Logger.write('mine ' + number); return VoxEngine.callUser('bob', 'x') };
        VoxEngine.forwardCallToPSTN();";
    let (_, outputs) = incoming(source);
    assert_eq!(logs(&outputs), ["mine 100"]);
}

#[test]
fn play_sound_and_hangup_plays_then_terminates() {
    let (mut stage, outputs) = incoming("VoxEngine.playSoundAndHangup('http://h/a.wav');");
    assert_eq!(names(&outputs), ["Answer"]);
    assert_eq!(names(&stage.call(INCOMING, connected())), ["Playback"]);
    let finished = CallEvent::PlaybackFinished { error: None };
    assert_eq!(commands(&stage.call(INCOMING, finished)), [Command::Terminate]);
}

#[test]
fn easy_process_on_two_connected_legs_only_joins_and_closes() {
    let source = "const a = VoxEngine.callPSTN('1', '2'), b = VoxEngine.callPSTN('3', '2');
        b.addEventListener(CallEvents.Connected, () => VoxEngine.easyProcess(a, b, () => Logger.write('never')));";
    let (mut stage, _) = Stage::run(source);
    stage.call(1, connected());
    assert_eq!(names(&stage.call(2, connected())), ["SendMediaTo", "SendMediaTo"]);
    assert_eq!(commands(&stage.call(1, disconnected())), [Command::Terminate]);
}

#[test]
fn callback_with_confirmation_runs() {
    let source = "
        require(Modules.Player); require(Modules.CallList);
        var call1, call2, numbers;
        VoxEngine.addEventListener(AppEvents.Started, function (e) {
          numbers = VoxEngine.customData().split(':');
          call1 = VoxEngine.callPSTN(numbers[0], '5550100');
          call1.addEventListener(CallEvents.Connected, handleCall1Connected);
          call1.addEventListener(CallEvents.Failed, function (e) { VoxEngine.terminate() });
          call1.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        });
        function handleCall1Connected(e) {
          call1.handleTones(true);
          call1.addEventListener(CallEvents.ToneReceived, function (e) {
            call1.stopPlayback();
            if (e.tone == '1') dialSecond(); else VoxEngine.terminate();
          });
          call1.say('Press one to be connected', Language.US_ENGLISH_FEMALE);
        }
        function dialSecond() {
          call2 = VoxEngine.callPSTN(numbers[1], '5550100');
          call2.addEventListener(CallEvents.Connected, function () { VoxEngine.sendMediaBetween(call1, call2) });
          call2.addEventListener(CallEvents.Failed, VoxEngine.terminate);
          call2.addEventListener(CallEvents.Disconnected, VoxEngine.terminate);
        }
        VoxEngine.addEventListener(AppEvents.HttpRequest, function (e) {
          if (e.content === 'state') return { first: call1.state(), second: call2 ? call2.state() : null };
          VoxEngine.terminate(); return 'ok'; });";
    let mut stage = Stage::with(limits());
    let outputs = stage.start_with(&[("callback.js", source)], "7001:7002", vec![started()]);
    assert_eq!(names(&outputs), ["CallPstn"]);
    assert_eq!(names(&stage.call(1, connected())), ["HandleTones", "Playback"]);
    let tone = CallEvent::ToneReceived { tone: '1', source: 1 };
    assert_eq!(names(&stage.call(1, tone)), ["StopPlayback", "CallPstn"]);
    assert_eq!(names(&stage.call(2, connected())), ["SendMediaTo", "SendMediaTo"]);
    let json = r#"{"first":"CONNECTED","second":"CONNECTED"}"#;
    assert_eq!(answers(&stage.access(1, "state")), [Answer::Json(json.into())]);
    assert_eq!(names(&stage.access(2, "stop")), ["Terminate"]);
}

#[test]
fn survey_with_promises_runs() {
    let source = "
        const once = (unit, event) => new Promise(resolve => {
          const listener = e => { unit.removeEventListener(event, listener); resolve(e) };
          unit.addEventListener(event, listener);
        });
        VoxEngine.addEventListener(AppEvents.CallAlerting, async ({ call }) => {
          call.answer(); await once(call, CallEvents.Connected); call.handleTones(true);
          const answers = [];
          for (const text of ['one?', 'two?']) {
            call.say(text); answers.push((await once(call, CallEvents.ToneReceived)).tone);
          }
          const result = await Net.httpRequestAsync('http://crm/', { method: 'POST',
            headers: ['Content-Type: application/json'], postData: JSON.stringify({ answers }) });
          Logger.write(`stored: ${result.code}`); call.hangup();
        });";
    let (mut stage, outputs) = incoming(source);
    assert_eq!(names(&outputs), ["Answer"]);
    assert_eq!(names(&stage.call(INCOMING, connected())), ["HandleTones", "Playback"]);
    let tone = |tone| CallEvent::ToneReceived { tone, source: 1 };
    assert_eq!(names(&stage.call(INCOMING, tone('4'))), ["Playback"]);
    let outputs = stage.call(INCOMING, tone('5'));
    assert!(matches!(&commands(&outputs)[..],
        [Command::HttpRequest(request)] if request.body == br#"{"answers":["4","5"]}"#));
    let outputs = stage.http(1, 201, "");
    assert_eq!(logs(&outputs), ["stored: 201"]);
    assert_eq!(names(&outputs), ["Log", "Hangup"]);
}
