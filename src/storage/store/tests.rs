use super::*;
use crate::storage::record::{AudioRecord, CallRecord, RecordingRecord};

fn store() -> Store {
    Store::open(Connection::open_in_memory().unwrap(), 0).unwrap().0
}

fn session(id: u64, start: UnixMs) -> SessionRecord {
    SessionRecord {
        id,
        application_id: 1,
        application_name: "branch".into(),
        rule_id: 3,
        rule_name: "callback".into(),
        start,
        duration_ms: 61_500,
        initiator_address: "127.0.0.1".into(),
        media_server_address: "192.0.2.1".into(),
        log_file_url: "http://192.0.2.1:8080/logs/1.log".into(),
        finish_reason: Some("Normal termination".into()),
        audio_quality: "Ultra HD".into(),
        custom_data: "7001:7002".into(),
        calls: vec![call(id * 10, "100", "7001"), call(id * 10 + 1, "101", "7002")],
        records: vec![RecordingRecord {
            id: 5,
            name: "5.wav".into(),
            start,
            duration_ms: 60_000,
            url: "http://192.0.2.1:8080/records/5.wav".into(),
            file_bytes: 960_044,
        }],
    }
}

fn call(id: u64, local_number: &str, remote_number: &str) -> CallRecord {
    CallRecord {
        id,
        start: 17,
        duration_ms: 60_000,
        local_number: local_number.into(),
        remote_number: remote_number.into(),
        remote_number_type: "pstn".into(),
        is_incoming: false,
        is_successful: true,
        end_reason: "200 Normal call clearing".into(),
        record_url: Some("http://192.0.2.1:8080/records/5.wav".into()),
        custom_data: None,
        audio: Some(Box::new(AudioRecord {
            codec: "opus/48000".into(),
            packets_received: 2999,
            jitter_us: 1250,
            mos: 431,
            ..AudioRecord::default()
        })),
    }
}

fn binding(user: &str, expires_at: UnixMs) -> StoredBinding {
    StoredBinding {
        user: user.into(),
        contact: format!("sip:{user}@192.0.2.7:5062"),
        path: "<sip:192.0.2.8;lr>".into(),
        call_id: "a84b4c76e66710".into(),
        cseq: 1826,
        expires_at,
        source: "192.0.2.7:5062".into(),
        transport: "udp".into(),
        listener: 1,
        user_agent: "baresip".into(),
    }
}

fn ends(sessions: impl IntoIterator<Item = SessionRecord>) -> Vec<Operation> {
    sessions.into_iter().map(|session| Operation::EndSession(Box::new(session))).collect()
}

fn page(store: &Store, filter: HistoryFilter) -> HistoryPage {
    store.history(&filter, || false).unwrap()
}

fn ids(store: &Store, filter: HistoryFilter) -> Vec<u64> {
    let page = page(store, HistoryFilter { count: 20, ..filter });
    assert_eq!(page.total as usize, page.sessions.len());
    page.sessions.iter().map(|session| session.id).collect()
}

#[test]
fn a_session_comes_back_as_it_was_written() {
    let mut store = store();
    store.write(&ends([session(1, 1000)])).unwrap();
    let filter =
        HistoryFilter { count: 1, with_calls: true, with_records: true, ..Default::default() };
    assert_eq!(page(&store, filter), HistoryPage { sessions: vec![session(1, 1000)], total: 1 });
}

#[test]
fn calls_and_records_come_only_when_asked_for() {
    let mut store = store();
    store.write(&ends([session(1, 1000)])).unwrap();
    let page = page(&store, HistoryFilter { count: 1, ..Default::default() });
    assert!(page.sessions[0].calls.is_empty() && page.sessions[0].records.is_empty());
}

#[test]
fn the_end_takes_the_place_of_the_beginning() {
    let mut store = store();
    let begun =
        SessionRecord { finish_reason: None, calls: vec![], records: vec![], ..session(1, 1000) };
    store.write(&[Operation::BeginSession(Box::new(begun.clone()))]).unwrap();
    let filter = HistoryFilter { count: 1, with_calls: true, ..Default::default() };
    assert_eq!(page(&store, filter.clone()).sessions, [begun]);
    store.write(&ends([session(1, 1000)])).unwrap();
    let page = page(&store, filter);
    assert_eq!((page.total, page.sessions[0].calls.len()), (1, 2));
    assert_eq!(page.sessions[0].finish_reason.as_deref(), Some("Normal termination"));
}

#[test]
fn filters_narrow_together() {
    let mut store = store();
    let mut sessions: Vec<SessionRecord> =
        (1..=5).map(|id| session(id, id as UnixMs * 1000)).collect();
    sessions[1].application_id = 2;
    sessions[2].rule_name = "survey".into();
    sessions[2].calls[0].remote_number = "7009".into();
    sessions[3].duration_ms = 59_999;
    sessions[4].custom_data = "100% '; DROP".into();
    sessions[4].calls.swap(0, 1);
    sessions[4].calls[1].local_number = "555".into();
    store.write(&ends(sessions)).unwrap();
    let any = HistoryFilter::default;
    assert_eq!(ids(&store, any()), [1, 2, 3, 4, 5]);
    assert_eq!(ids(&store, HistoryFilter { newest_first: true, ..any() }), [5, 4, 3, 2, 1]);
    assert_eq!(ids(&store, HistoryFilter { ids: vec![4, 2, 9], ..any() }), [2, 4]);
    let dates = HistoryFilter { from: Some(2000), to: Some(4000), ..any() };
    assert_eq!(ids(&store, dates.clone()), [2, 3, 4]);
    assert_eq!(ids(&store, HistoryFilter { application_id: Some(1), ..dates.clone() }), [3, 4]);
    assert_eq!(ids(&store, HistoryFilter { rule_name: Some("survey".into()), ..dates }), [3]);
    assert_eq!(ids(&store, HistoryFilter { min_duration_s: Some(60), ..any() }), [1, 2, 3, 5]);
    assert_eq!(ids(&store, HistoryFilter { max_duration_s: Some(59), ..any() }), [4]);
    let part = |text: &str| HistoryFilter { custom_data: Some(text.into()), ..any() };
    assert_eq!(ids(&store, part("% '; D")), [5]);
    assert_eq!(ids(&store, part("1:7")), [1, 2, 3, 4]);
    assert_eq!(ids(&store, part("_:7")), [] as [u64; 0]);
    let remote = |number: &str| HistoryFilter { remote_numbers: vec![number.into()], ..any() };
    assert_eq!(ids(&store, remote("7009")), [3]);
    // Of one call: 7001 was called from 555 in session 5 only.
    let both = HistoryFilter { local_numbers: vec!["555".into(), "556".into()], ..remote("7001") };
    assert_eq!(ids(&store, both), [5]);
    assert_eq!(
        ids(&store, HistoryFilter { local_numbers: vec!["555".into()], ..remote("7002") }),
        [] as [u64; 0]
    );
}

#[test]
fn total_counts_beyond_the_page() {
    let mut store = store();
    store.write(&ends((1..=30).map(|id| session(id, 1000)))).unwrap();
    let page = page(&store, HistoryFilter { count: 10, offset: 25, ..Default::default() });
    assert_eq!(page.total, 30);
    assert_eq!(
        page.sessions.iter().map(|session| session.id).collect::<Vec<_>>(),
        [26, 27, 28, 29, 30]
    );
}

#[test]
fn logs_that_are_gone_have_no_url() {
    let mut store = store();
    store.write(&ends([session(1, 1000), session(2, 2000)])).unwrap();
    let mut page = page(&store, HistoryFilter { count: 2, ..Default::default() });
    // Both ran for 61.5 s.
    page.forget_logs_before(62_501);
    assert_eq!(page.sessions[0].log_file_url, "");
    assert_ne!(page.sessions[1].log_file_url, "");
}

#[test]
fn an_answer_that_is_too_large_is_refused() {
    let mut store = store();
    let mut large = session(1, 1000);
    large.custom_data = "x".repeat(1 << 20);
    store.write(&ends((1..=9).map(|id| SessionRecord { id, ..large.clone() }))).unwrap();
    let filter = |count| HistoryFilter { count, ..Default::default() };
    assert_eq!(store.history(&filter(20), || false), Err(Error::TooLarge));
    assert_eq!(page(&store, filter(7)).sessions.len(), 7);
}

#[test]
fn a_query_that_takes_too_long_is_given_up() {
    let mut store = store();
    store.write(&ends((1..=2000).map(|id| session(id, 1000)))).unwrap();
    let filter = HistoryFilter { custom_data: Some("zz".into()), count: 1, ..Default::default() };
    assert_eq!(store.history(&filter, || true), Err(Error::Late));
    assert_eq!(page(&store, filter).total, 0);
}

#[test]
fn contacts_of_a_user_are_replaced_and_survive() {
    let (mut store, opening) = Store::open(Connection::open_in_memory().unwrap(), 0).unwrap();
    assert_eq!((opening.last_session_id, opening.bindings.len()), (0, 0));
    let bindings = |user: &str, bindings: Vec<StoredBinding>| Operation::Bindings {
        user: user.into(),
        bindings,
    };
    store
        .write(&[
            bindings("alice", vec![binding("alice", 5000), binding("alice", 7000)]),
            bindings("bob", vec![binding("bob", 9000)]),
            bindings("carol", vec![binding("carol", 9000)]),
            bindings("bob", vec![]),
        ])
        .unwrap();
    let (_, opening) = Store::open(store.connection, 5000).unwrap();
    assert_eq!(opening.bindings, [binding("alice", 7000), binding("carol", 9000)]);
}

#[test]
fn sessions_that_were_running_get_an_end_at_the_next_start() {
    let mut store = store();
    let begun = SessionRecord { finish_reason: None, ..session(7, 1000) };
    store.write(&[Operation::BeginSession(Box::new(begun))]).unwrap();
    let (store, opening) = Store::open(store.connection, 0).unwrap();
    assert_eq!(opening.last_session_id, 7);
    let page = page(&store, HistoryFilter { count: 1, ..Default::default() });
    assert_eq!(page.sessions[0].finish_reason.as_deref(), Some("Terminated administratively"));
}

#[test]
fn a_failed_batch_leaves_nothing() {
    let mut store = store();
    store.connection.execute_batch("DROP TABLE binding").unwrap();
    let mut batch = ends([session(1, 1000)]);
    batch.push(Operation::Bindings { user: "alice".into(), bindings: vec![] });
    assert!(matches!(store.write(&batch), Err(Error::Statement(_))));
    assert_eq!(page(&store, HistoryFilter { count: 1, ..Default::default() }).total, 0);
}

#[test]
fn old_sessions_go_in_small_steps_and_their_numbers_are_not_given_again() {
    let mut store = store();
    store.write(&ends((1..=150).map(|id| session(id, id as UnixMs)))).unwrap();
    assert_eq!(store.expire(121).unwrap(), 100);
    assert_eq!(store.expire(121).unwrap(), 20);
    assert_eq!(store.expire(121).unwrap(), 0);
    assert_eq!(page(&store, HistoryFilter { count: 1, ..Default::default() }).sessions[0].id, 121);
    let calls: i64 =
        store.connection.query_row("SELECT count(*) FROM call", [], |row| row.get(0)).unwrap();
    assert_eq!(calls, 30 * 2);
    assert_eq!(store.expire(1000).unwrap(), 30);
    let (_, opening) = Store::open(store.connection, 0).unwrap();
    assert_eq!(opening.last_session_id, 150);
}

/// The plans that keep a history of a million rows quick: dates by index and in its order, numbers
/// by index, the abandoned by theirs.
#[test]
fn no_query_scans_what_an_index_can_find() {
    let store = store();
    let plan = |sql: &str| {
        let mut select = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = select.parameter_count();
        let lines = select
            .query_map(rusqlite::params_from_iter(vec![1; count]), |row| row.get::<_, String>(3));
        lines.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    };
    let dates = plan("SELECT rule_name FROM session WHERE start >= ? ORDER BY start DESC, id DESC");
    assert_eq!(dates, "SEARCH session USING INDEX session_start (start>?)");
    let number = plan(
        "SELECT id FROM session WHERE id IN (SELECT session FROM call WHERE remote_number IN (?))",
    );
    assert!(number.starts_with("SEARCH session USING INTEGER PRIMARY KEY (rowid=?)"), "{number}");
    assert!(number.contains("INDEX call_remote (remote_number=?)"), "{number}");
    let abandoned = plan("UPDATE session SET finish_reason = 'x' WHERE finish_reason IS NULL");
    assert!(abandoned.contains("session_running"), "{abandoned}");
    let last = plan("SELECT max(id) FROM session");
    assert_eq!(last, "SEARCH session");
}
