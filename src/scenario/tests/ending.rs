//! How a session ends: terminate, Terminating with its one request, Terminated.

use super::*;

const TERMINATING: Event = Event::Terminating { system_error: false };
const TERMINATED: Event = Event::Terminated { system_error: false };

#[test]
fn terminate_takes_effect_when_the_callback_is_over() {
    let source = "VoxEngine.addEventListener(AppEvents.Started, () => {
          VoxEngine.terminate(); VoxEngine.terminate(); Logger.write('still here');
          Promise.resolve().then(() => Logger.write('microtask')); });
        VoxEngine.addEventListener(AppEvents.Started, () => Logger.write('not any more'));";
    let (stage, outputs) = Stage::run(source);
    let log = |text: &str| Command::Log { text: text.into() };
    assert_eq!(commands(&outputs), [log("still here"), log("microtask"), Command::Terminate]);
    assert_eq!(stage.worker.usage(), 1);
}

#[test]
fn after_terminate_only_the_last_two_events_are_delivered() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.Ringing, () => Logger.write('ringing'));
        VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'x');
        VoxEngine.addEventListener(AppEvents.Terminating, e => Logger.write(e.name + e.systemError));
        VoxEngine.addEventListener(AppEvents.Terminated, e => Logger.write(e.name));
        setTimeout(() => Logger.write('timer'), 10);
        VoxEngine.terminate();";
    let (mut stage, _) = Stage::run(source);
    let session = stage.session;
    assert_eq!(stage.call(1, CallEvent::Ringing { headers: Vec::new() }), []);
    assert_eq!(stage.access(1, ""), []);
    assert_eq!(stage.wait(Duration::from_secs(1)), []);
    let outputs = stage.event(TERMINATING);
    assert_eq!(logs(&outputs), ["Application.Terminatingundefined"]);
    let done = Output::TerminatingDone { session, http_pending: false };
    assert_eq!(outputs.last(), Some(&done));
    let outputs = stage.event(TERMINATED);
    assert_eq!(logs(&outputs), ["Application.Terminated"]);
    assert_eq!(outputs.last(), Some(&Output::TerminatedDone { session }));
    assert_eq!(stage.worker.usage(), 0);
    assert_eq!(stage.worker.poll_timeout(), None);
    assert_eq!(stage.pool.free(), POOL_BYTES);
}

#[test]
fn terminate_works_unbound_as_handler_and_timer() {
    let (_, outputs) =
        Stage::run("VoxEngine.addEventListener('Application.Started', VoxEngine.terminate);");
    assert_eq!(commands(&outputs), [Command::Terminate]);
    let mut stage = Stage::quiet("setTimeout(VoxEngine.terminate, 1000);");
    assert_eq!(commands(&stage.wait(Duration::from_secs(1))), [Command::Terminate]);
}

#[test]
fn handler_that_terminates_is_answered_first() {
    let source = "VoxEngine.addEventListener(AppEvents.HttpRequest, () => { VoxEngine.terminate(); return 'bye' });";
    let mut stage = Stage::quiet(source);
    let session = stage.session;
    let answer = Answer::Text("bye".into());
    assert_eq!(
        stage.access(4, ""),
        [
            Output::HttpAnswer { session, request: 4, answer },
            Output::Command { session, command: Command::Terminate },
        ]
    );
}

#[test]
fn first_events_stop_at_terminate() {
    let mut stage = Stage::with(limits());
    let source = "VoxEngine.addEventListener(AppEvents.Started, VoxEngine.terminate);
        VoxEngine.addEventListener(AppEvents.CallAlerting, () => Logger.write('never'));";
    let outputs = stage.start_with(&[("test.js", source)], "", vec![started(), alerting()]);
    assert_eq!(commands(&outputs), [Command::Terminate]);
}

#[test]
fn one_request_may_be_made_while_terminating() {
    let source = "VoxEngine.addEventListener(AppEvents.Terminating, () => {
          setTimeout(() => Logger.write('timer'), 1);
          Net.httpRequest('http://h/1', r => Logger.write('first ' + r.code));
          Net.httpRequest('http://h/2', r => Logger.write('second ' + r.code)); });";
    let mut stage = Stage::quiet(source);
    let session = stage.session;
    let outputs = stage.event(TERMINATING);
    assert!(
        matches!(&commands(&outputs)[..],
        [Command::HttpRequest(request), Command::Log { text }]
            if request.url == "http://h/1" && text == "second 0"),
        "{outputs:?}"
    );
    assert_eq!(outputs.last(), Some(&Output::TerminatingDone { session, http_pending: true }));
    assert_eq!(stage.wait(Duration::from_secs(1)), []);
    assert_eq!(logs(&stage.http(1, 200, "")), ["first 200"]);
}

#[test]
fn requests_under_way_are_served_after_terminate_and_queued_ones_dropped() {
    let source = "for (let i = 0; i < 5; i++) Net.httpRequest('http://h/' + i, r => Logger.write('got ' + i));
        VoxEngine.terminate();";
    let (mut stage, outputs) = Stage::run(source);
    assert_eq!(commands(&outputs).len(), 4);
    assert_eq!(logs(&stage.http(1, 200, "")), ["got 0"]);
    assert_eq!(logs(&stage.http(2, 200, "")), ["got 1"]);
    assert_eq!(commands(&stage.http(3, 200, "")), [Command::Log { text: "got 2".into() }]);
}

#[test]
fn in_terminated_only_the_log_works() {
    let source = "VoxEngine.addEventListener(AppEvents.Terminated, () => {
        VoxEngine.callPSTN('1', '2'); Net.httpRequest('http://h/', () => {}); Logger.write('last words') });";
    let mut stage = Stage::quiet(source);
    stage.event(TERMINATING);
    let outputs = stage.event(TERMINATED);
    assert_eq!(commands(&outputs), [Command::Log { text: "last words".into() }]);
}

#[test]
fn system_error_is_told() {
    let source = "VoxEngine.addEventListener(AppEvents.Terminating, e => Logger.write(e));";
    let mut stage = Stage::quiet(source);
    let outputs = stage.event(Event::Terminating { system_error: true });
    assert_eq!(logs(&outputs), [r#"{"systemError":true,"name":"Application.Terminating"}"#]);
}

#[test]
fn dropped_session_is_gone() {
    let mut stage = Stage::quiet("setInterval(() => Logger.write('tick'), 100);");
    assert_eq!(stage.input(Input::Drop { session: stage.session }), []);
    assert_eq!(stage.worker.usage(), 0);
    assert_eq!(stage.worker.poll_timeout(), None);
    assert_eq!(stage.access(1, ""), []);
}
