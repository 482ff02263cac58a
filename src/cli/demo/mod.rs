//! `demo`: a whole callback on this machine, every step seen and measured.
//!
//! A gateway with the shipped configuration calls numbers 7001 and 7002, which its own trunk
//! leads back to it and small scenarios answer: two real SIP dialogs over UDP each way, real RTP.

mod child;
mod files;
mod hearing;
mod ladder;

use std::path::Path;
use std::time::Duration;

use nanoserde::DeJson;

use self::child::Gateway;
use self::files::Folder;
use self::hearing::Channel;
use self::ladder::Ladder;
use super::Failure;
use super::client::Client;
use super::query;
use super::start::Started;
use crate::driver::data_dir;

/// `branchline demo`
pub fn demo(kept: Option<&Path>) -> Result<(), Failure> {
    let folder = Folder::make(kept).map_err(|error| error.to_string())?;
    let mut steps = Steps::default();
    let mut gateway = Gateway::start(&folder)?;
    let shown = callback(&folder, &mut gateway, &mut steps);
    let status = gateway.stop().map_err(|error| error.to_string())?;
    steps.check("the gateway stops in order", status.success(), &status.to_string());
    if let Err(failure) = shown {
        eprint!("the end of the gateway's log:\n{}", gateway.tail());
        return Err(failure);
    }
    if kept.is_some() {
        println!("recordings, logs and database are in {}", folder.data().display());
    }
    match steps.missed {
        0 => Ok(()),
        missed => {
            eprint!("the end of the gateway's log:\n{}", gateway.tail());
            Err(Failure::Failed(format!("{missed} of {} steps were not seen", steps.count)))
        }
    }
}

/// From StartScenarios to the row of the history.
fn callback(folder: &Folder, gateway: &mut Gateway, steps: &mut Steps) -> Result<(), Failure> {
    let owner = data_dir::owner(&folder.data()).ok_or("the gateway ended".to_owned())?;
    let key = data_dir::read_api_key(&folder.data()).map_err(|error| error.to_string())?;
    let client = Client::new(&owner.url, 1, &key);
    println!("gateway at {}", owner.url);
    println!("StartScenarios rule_id=1 script_custom_data={A}:{B}:record\n");
    println!("{}", Ladder::headline(A, B));

    let data = format!("{A}:{B}:record");
    let parameters = [("rule_id", "1"), ("script_custom_data", data.as_str())];
    let started: Started = query::read(&client.api("StartScenarios", &parameters)?)?;
    let url = &started.media_session_access_url;
    let is_up = |ladder: &Ladder| ladder.has_seen(B, CALL) && ladder.has_seen(A, CALL);
    gateway.wait_until(CALLS, is_up);
    let state = wait_for_digit(gateway, &client, url)?;
    // Some more speech for the recordings.
    gateway.watch(TALK);
    let hangup = client.post(url, "application/json", r#"{"command":"hangup"}"#)?.text();
    gateway.wait_until(END, |ladder| ladder.has_seen(A, BYE) && ladder.has_seen(B, BYE));

    println!();
    println!("access URL {url}");
    println!("  GET   {}", state.text);
    println!("  POST  {{\"command\":\"hangup\"}}  {hangup}");
    println!();
    steps.check(
        "leg A rings and answers",
        gateway.ladder.has_seen(A, CALL),
        &gateway.ladder.seen(A),
    );
    steps.check(
        "leg B rings and answers",
        gateway.ladder.has_seen(B, CALL),
        &gateway.ladder.seen(B),
    );
    steps.check("the two are joined", state.stage == "joined", &state.stage);
    let digit = state.tones.iter().any(|tone| tone.leg == "b" && tone.tone == "1");
    steps.check("B's key 1 reaches the scenario", digit, "no tone of leg b");
    let ended = State::read(&hangup).is_ok_and(|state| state.stage == "ended");
    steps.check("the access URL steers the session", ended, &hangup);
    steps.check("leg A ends", gateway.ladder.has_seen(A, BYE), &gateway.ladder.seen(A));
    steps.check("leg B ends", gateway.ladder.has_seen(B, BYE), &gateway.ladder.seen(B));
    let history = wait_for_history(gateway, &client, started.call_session_history_id)?;
    for leg in ["a", "b"] {
        listen(&client, &state, leg, steps)?;
    }
    check_history(&history, steps);
    println!("\n{}", query::render(&history));
    Ok(())
}

/// The scenario's answer on its access URL once a digit of B has come, or what it is by then.
fn wait_for_digit(gateway: &mut Gateway, client: &Client, url: &str) -> Result<State, Failure> {
    let mut left = DIGIT.as_millis() / LOOK.as_millis();
    loop {
        let answer = client.get(url)?.text();
        let state = State::read(&answer)?;
        if left == 0 || state.tones.iter().any(|tone| tone.leg == "b") {
            return Ok(state);
        }
        left -= 1;
        gateway.watch(LOOK);
    }
}

/// The session's row once it has its end, or what it is by then.
fn wait_for_history(
    gateway: &mut Gateway,
    client: &Client,
    session: u64,
) -> Result<query::History, Failure> {
    let id = session.to_string();
    let mut left = END.as_millis() / LOOK.as_millis();
    loop {
        let page = query::page(client, &[("call_session_history_id", &id)])?;
        if left == 0 || page.result.iter().all(|row| row.finish_reason.is_some()) {
            return Ok(page);
        }
        left -= 1;
        gateway.watch(LOOK);
    }
}

/// What one side heard (left) and said (right), by the tones that the prompts carry.
fn listen(client: &Client, state: &State, leg: &str, steps: &mut Steps) -> Result<(), Failure> {
    let Some(record) = state.records.iter().find(|record| record.leg == leg) else {
        steps.check(&format!("leg {leg} is recorded"), false, "no RecordStarted");
        return Ok(());
    };
    let wav = client.get(&record.url)?;
    let channels = match hearing::channels(&wav.body) {
        Ok(channels) => channels,
        Err(error) => {
            steps.check(&format!("leg {leg} is recorded"), false, &error);
            return Ok(());
        }
    };
    let [heard, said] = channels.as_slice() else {
        steps.check(&format!("leg {leg} is recorded in stereo"), false, "not two channels");
        return Ok(());
    };
    let tones: &[(&Channel, &str, Tone)] = match leg {
        "a" => &[
            (heard, "A hears the prompt", PROMPT),
            (said, "A says its line", FIRST),
            (heard, "A hears B", SECOND),
        ],
        _ => &[(said, "B says its line", SECOND), (heard, "B hears A", FIRST)],
    };
    for (channel, what, tone) in tones {
        let measured = channel.tone(tone.hertz, tone.level_dbfs);
        let is_there = measured.seconds >= tone.least_seconds;
        let text = format!(
            "{} Hz for {:.1} s at {:.1} dBFS",
            tone.hertz, measured.seconds, measured.level_dbfs
        );
        steps.check(&format!("{what}: {text}"), is_there, "not so");
    }
    Ok(())
}

fn check_history(history: &query::History, steps: &mut Steps) {
    let row = history.result.first();
    let reason = row.and_then(|row| row.finish_reason.clone()).unwrap_or_default();
    steps.check("the history has the session", reason == NORMAL, &reason);
    let calls = row.and_then(|row| row.calls.as_deref()).unwrap_or_default();
    let successful = calls.iter().filter(|call| call.successful).count();
    steps.check("with two successful calls", successful == 2, &format!("{successful} of them"));
    let data = row.and_then(|row| row.custom_data.clone()).unwrap_or_default();
    let has_outcome = data.ends_with("hung up over HTTP");
    steps.check("and the outcome of the scenario", has_outcome, &data);
}

/// What was to be seen.
#[derive(Default)]
struct Steps {
    count: usize,
    missed: usize,
}

impl Steps {
    /// `instead` is shown where the step was not seen.
    fn check(&mut self, what: &str, is_seen: bool, instead: &str) {
        self.count += 1;
        if is_seen {
            println!("  ok       {what}");
        } else {
            self.missed += 1;
            println!("  MISSING  {what} ({instead})");
        }
    }
}

/// What `callback.js` answers.
#[derive(Debug, DeJson)]
struct State {
    stage: String,
    tones: Vec<ToneEvent>,
    records: Vec<Record>,
    #[nserde(skip)]
    text: String,
}

#[derive(Debug, DeJson)]
struct ToneEvent {
    leg: String,
    tone: String,
}

#[derive(Debug, DeJson)]
struct Record {
    leg: String,
    url: String,
}

impl State {
    fn read(json: &str) -> Result<Self, Failure> {
        let mut state: Self = query::read(json)?;
        state.text = json.to_owned();
        Ok(state)
    }
}

/// What the prompts carry (`scenarios/prompts/README.md`).
#[derive(Debug, Clone, Copy)]
struct Tone {
    hertz: f32,
    level_dbfs: f32,
    least_seconds: f32,
}

/// The beginning of `callback.wav`: 0.3 s with its edges.
const PROMPT: Tone = Tone { hertz: 620.0, level_dbfs: -15.0, least_seconds: 0.15 };
/// `phone-hello.wav`.
const FIRST: Tone = Tone { hertz: 1000.0, level_dbfs: -23.0, least_seconds: 1.0 };
/// `phone-second.wav`.
const SECOND: Tone = Tone { hertz: 1700.0, level_dbfs: -23.0, least_seconds: 1.0 };
const A: &str = "7001";
const B: &str = "7002";
const CALL: &[&str] = &["INVITE", "180 INVITE", "200 INVITE", "ACK"];
const BYE: &[&str] = &["BYE", "200 BYE"];
const NORMAL: &str = "Normal termination";
/// Ringing, a prompt of four seconds, ringing.
const CALLS: Duration = Duration::from_secs(20);
const DIGIT: Duration = Duration::from_secs(10);
const TALK: Duration = Duration::from_millis(1500);
const END: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);
