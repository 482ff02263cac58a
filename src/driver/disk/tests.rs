use smol::channel::Receiver;

use super::super::test_folder::TestFolder;
use super::*;
use crate::storage::record::{SessionRecord, StoredBinding};

fn start(folder: &TestFolder) -> (DiskHandle, Opening, Receiver<Answer>) {
    let (sender, receiver) = smol::channel::bounded(16);
    let options =
        DiskOptions { data_dir: folder.path("data"), storage: config::Storage::default() };
    let (handle, opening) = spawn(options, sender).unwrap();
    (handle, opening, receiver)
}

fn begin(id: u64) -> Operation {
    Operation::BeginSession(Box::new(SessionRecord { id, ..SessionRecord::default() }))
}

fn log(line: &str) -> Operation {
    Operation::Log { file: "1.log".into(), line: line.into() }
}

fn open(recording: u64) -> Operation {
    let file = format!("{recording}.wav");
    Operation::OpenRecording { recording, file, channels: 1, rate: 8000 }
}

#[test]
fn a_query_sees_what_was_sent_before_it() {
    let folder = TestFolder::new();
    let (disk, opening, answers) = start(&folder);
    assert_eq!(opening.last_session_id, 0);
    assert!(disk.send(begin(1)));
    assert!(disk.query(9, HistoryFilter { count: 20, ..HistoryFilter::default() }));
    let Ok(Answer::History { query: 9, result: Ok(page) }) = answers.recv_blocking() else {
        panic!("no page");
    };
    assert_eq!((page.total, page.sessions[0].id), (1, 1));
}

#[test]
fn an_orderly_stop_writes_everything() {
    let folder = TestFolder::new();
    let (disk, _, _answers) = start(&folder);
    for id in 1..=50 {
        assert!(disk.send(begin(id)));
    }
    assert!(disk.send(log("one")) && disk.send(log("two")));
    assert!(disk.send(open(7)));
    assert!(disk.record(7, vec![5; 100]));
    disk.stop();
    assert!(!disk.send(begin(51)));
    let read = |name: &str| std::fs::read(folder.path("data").join(name)).unwrap();
    assert_eq!(read("logs/1.log"), b"one\ntwo\n");
    assert_eq!(read("recordings/7.wav").len(), 44 + 200);
    let (disk, opening, _answers) = start(&folder);
    assert_eq!(opening.last_session_id, 50);
    disk.stop();
    disk.stop();
}

#[test]
fn a_recording_is_answered_when_it_has_its_name() {
    let folder = TestFolder::new();
    let (disk, _, answers) = start(&folder);
    assert!(disk.send(open(7)));
    assert!(disk.record(7, vec![1; 10]));
    assert!(disk.send(Operation::AppendRecording { recording: 7, samples: vec![2; 10] }));
    assert!(disk.send(Operation::FinishRecording { recording: 7 }));
    let answer = answers.recv_blocking().unwrap();
    assert!(matches!(answer, Answer::RecordingFinished { recording: 7, file_bytes: 84 }));
    assert!(folder.path("data/recordings/7.wav").exists());
}

#[test]
fn a_recording_that_cannot_be_written_fails_and_the_rest_goes_on() {
    let folder = TestFolder::new();
    let (disk, _, answers) = start(&folder);
    let blocked = folder.path("data/unfinished/7.wav");
    std::fs::create_dir(blocked).unwrap();
    assert!(disk.send(open(7)));
    assert!(disk.send(open(8)));
    assert!(disk.record(7, vec![1; 10]));
    assert!(disk.send(Operation::FinishRecording { recording: 7 }));
    assert!(disk.send(Operation::FinishRecording { recording: 8 }));
    let answer = answers.recv_blocking().unwrap();
    assert!(matches!(answer, Answer::RecordingFailed { recording: 7, .. }));
    let answer = answers.recv_blocking().unwrap();
    assert!(matches!(answer, Answer::RecordingFinished { recording: 8, file_bytes: 44 }));
}

#[test]
fn contacts_survive_a_restart() {
    let folder = TestFolder::new();
    let (disk, ..) = start(&folder);
    let binding = StoredBinding {
        user: "alice".into(),
        contact: "sip:alice@192.0.2.7".into(),
        expires_at: unix_ms() + 3_600_000,
        ..StoredBinding::default()
    };
    let bindings = vec![binding.clone()];
    assert!(disk.send(Operation::Bindings { user: "alice".into(), bindings }));
    disk.stop();
    let (_disk, opening, _answers) = start(&folder);
    assert_eq!(opening.bindings, [binding]);
}

/// The files as a power cut leaves them: copied while the gateway runs.
#[test]
fn after_a_crash_sessions_have_an_end_and_recordings_are_whole() {
    let folder = TestFolder::new();
    let (disk, _, answers) = start(&folder);
    assert!(disk.send(begin(7)));
    assert!(disk.send(open(3)));
    assert!(disk.record(3, vec![9; 800]));
    assert!(disk.query(1, HistoryFilter::default()));
    answers.recv_blocking().unwrap();
    let crashed = TestFolder::new();
    for name in ["", RECORDINGS, UNFINISHED, LOGS] {
        make_folder(&crashed.path("data").join(name)).unwrap();
        for entry in std::fs::read_dir(folder.path("data").join(name)).unwrap().flatten() {
            let to = crashed.path("data").join(name).join(entry.file_name());
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let (disk, opening, answers) = start(&crashed);
    assert_eq!(opening.last_session_id, 7);
    assert!(disk.query(1, HistoryFilter { count: 1, ..HistoryFilter::default() }));
    let Ok(Answer::History { result: Ok(page), .. }) = answers.recv_blocking() else {
        panic!("no page");
    };
    assert_eq!(page.sessions[0].finish_reason.as_deref(), Some("Terminated administratively"));
    let recording = crashed.path("data/recordings/3.wav");
    assert_eq!(hound::WavReader::open(recording).unwrap().duration(), 800);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do() {
    let folder = TestFolder::new();
    std::fs::write(folder.path("data"), "a file").unwrap();
    let (sender, _receiver) = smol::channel::bounded(1);
    let options =
        DiskOptions { data_dir: folder.path("data"), storage: config::Storage::default() };
    let error = spawn(options, sender).unwrap_err();
    assert!(error.contains("data_dir must be writable"), "{error}");
}

#[test]
fn answers_that_nobody_takes_hold_up_nothing() {
    let folder = TestFolder::new();
    let (disk, _, answers) = start(&folder);
    for query in 0..64 {
        // Refused when 16 wait; the thread takes them all the same.
        let _ = disk.query(query, HistoryFilter::default());
    }
    for recording in 0..40 {
        assert!(disk.send(open(recording)));
        assert!(disk.send(Operation::FinishRecording { recording }));
    }
    disk.stop();
    assert!(answers.len() == 16);
    drop(answers);
}
