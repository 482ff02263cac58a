//! The checks of the fuzz targets (`fuzz/`), run with their corpora, the torture messages and
//! damaged copies of both: what the fuzzer once found stays found.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;
#[path = "../fuzz/user_agent.rs"]
mod user_agent;

#[test]
fn message_reads_what_it_writes() {
    each("message", checks::message);
    each_file(Path::new("tests/data/torture"), checks::message);
}

#[test]
fn stream_is_cut_the_same_however_it_arrives() {
    each("framing", checks::framing);
    each_file(Path::new("tests/data/torture"), checks::framing);
}

#[test]
fn description_reads_what_it_writes_and_its_answer_agrees() {
    each("sdp", checks::sdp);
}

#[test]
fn dns_question_has_one_end() {
    each("dns", checks::dns);
}

#[test]
fn websocket_is_cut_the_same_however_it_arrives() {
    each("websocket", checks::websocket);
}

#[test]
fn transfer_reads_what_it_writes() {
    each("transfer", checks::transfer);
}

#[test]
fn identity_is_read_whatever_it_says() {
    each("identity", checks::identity);
}

#[test]
fn digest_proves_one_password() {
    each("digest", checks::digest);
}

#[test]
fn sound_is_read_in_bounded_pieces_or_refused() {
    each_file(Path::new("tests/data/sounds"), checks::sound);
}

#[test]
fn uri_reads_what_it_writes() {
    each("uri", checks::uri);
}

#[test]
fn user_agent_survives_its_peers_and_is_empty_afterwards() {
    each("user_agent", user_agent::user_agent);
    let mut dice = fastrand::Rng::with_seed(1);
    for _ in 0..300 {
        let mut script = vec![0; dice.usize(20..600)];
        dice.fill(&mut script);
        user_agent::user_agent(&script);
    }
}

fn each(target: &str, check: fn(&[u8])) {
    each_file(&Path::new("fuzz/corpus").join(target), check);
}

/// Runs a check with each file of a folder, cut off and damaged too.
fn each_file(folder: &Path, check: fn(&[u8])) {
    let mut count = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        let data = fs::read(entry.expect("it can be listed").path()).expect("it can be read");
        check(&data);
        damage(&data, check);
        count += 1;
    }
    assert!(count > 0, "an empty corpus proves nothing");
}

fn damage(data: &[u8], check: fn(&[u8])) {
    let mut bytes = b"\0\r\n \t\":;,<>@%=\\[\xff".iter().cycle();
    // Every place of a short text, some of a long one.
    for at in (0..data.len()).step_by(data.len() / 100 + 1) {
        check(&data[..at]);
        let mut damaged = data.to_vec();
        damaged[at] = *bytes.next().expect("a cycle has no end");
        check(&damaged);
    }
}
