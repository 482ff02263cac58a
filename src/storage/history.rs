//! Sessions with their calls and recordings: written whole, found by the filters of
//! GetCallHistory (Management API reference, section 5.1).

use nanoserde::{DeJson, SerJson};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Statement, Transaction, params, params_from_iter};

use super::error::Error;
use super::record::{
    AudioRecord, CallRecord, HistoryFilter, RecordingRecord, SessionRecord, UnixMs,
};
use super::store::HistoryPage;

/// Writes sessions inside one transaction, its statements prepared once.
pub struct Writer<'t> {
    session: Statement<'t>,
    call: Statement<'t>,
    recording: Statement<'t>,
}

impl<'t> Writer<'t> {
    pub fn prepare(transaction: &'t Transaction<'_>) -> Result<Self, Error> {
        Ok(Self {
            session: transaction.prepare(
                "INSERT OR REPLACE INTO session
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?,
            call: transaction.prepare(
                "INSERT OR REPLACE INTO call
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?,
            recording: transaction.prepare(
                "INSERT OR REPLACE INTO recording VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
        })
    }

    /// Writes a session in the place of what is there of it; its calls and recordings only grow.
    pub fn write(&mut self, session: &SessionRecord) -> Result<(), Error> {
        self.session.execute(params![
            session.id as i64,
            session.application_id,
            session.application_name,
            session.rule_id,
            session.rule_name,
            session.start,
            session.duration_ms,
            session.initiator_address,
            session.media_server_address,
            session.log_file_url,
            session.finish_reason,
            session.custom_data,
            session.audio_quality,
        ])?;
        for (position, call) in session.calls.iter().enumerate() {
            self.write_call(session.id, position, call)?;
        }
        for (position, recording) in session.records.iter().enumerate() {
            self.write_recording(session.id, position, recording)?;
        }
        Ok(())
    }

    fn write_call(
        &mut self,
        session: u64,
        position: usize,
        call: &CallRecord,
    ) -> Result<(), Error> {
        self.call.execute(params![
            session as i64,
            position as i64,
            call.id as i64,
            call.start,
            call.duration_ms,
            call.local_number,
            call.remote_number,
            call.remote_number_type,
            call.is_incoming,
            call.is_successful,
            call.end_reason,
            call.record_url,
            call.custom_data,
            call.audio.as_ref().map(SerJson::serialize_json),
        ])?;
        Ok(())
    }

    fn write_recording(
        &mut self,
        session: u64,
        position: usize,
        recording: &RecordingRecord,
    ) -> Result<(), Error> {
        self.recording.execute(params![
            session as i64,
            position as i64,
            recording.id as i64,
            recording.name,
            recording.start,
            recording.duration_ms,
            recording.url,
            recording.file_bytes as i64,
        ])?;
        Ok(())
    }
}

/// The page that `filter` asks for, `MOST_SESSIONS` at most.
pub fn find(connection: &Connection, filter: &HistoryFilter) -> Result<HistoryPage, Error> {
    let conditions = Conditions::of(filter);
    let Conditions { sql, values } = &conditions;
    let total: i64 = connection.query_row(
        &format!("SELECT count(*) FROM session{sql}"),
        params_from_iter(values),
        |row| row.get(0),
    )?;
    let order = if filter.newest_first { "DESC" } else { "ASC" };
    let (count, offset) = (filter.count.min(MOST_SESSIONS), filter.offset);
    let mut select = connection.prepare(&format!(
        "SELECT id, application_id, application_name, rule_id, rule_name, start, duration_ms,
                initiator_address, media_server_address, log_file_url, finish_reason, custom_data,
                audio_quality
         FROM session{sql} ORDER BY start {order}, id {order} LIMIT {count} OFFSET {offset}"
    ))?;
    let mut rows = select.query(params_from_iter(values))?;
    let mut nested = Nested::prepare(connection)?;
    let mut sessions = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let mut session = session(row)?;
        nested.add_to(&mut session, filter)?;
        bytes += session.memory_bytes();
        if bytes > HISTORY_PAGE_BYTES {
            return Err(Error::TooLarge);
        }
        sessions.push(session);
    }
    Ok(HistoryPage { sessions, total: total.unsigned_abs() })
}

/// Gives sessions that ran when the gateway died an end. The index of running sessions finds
/// them without a look at the others.
pub fn close_abandoned(connection: &Connection) -> Result<usize, Error> {
    let closed = connection.execute(
        "UPDATE session SET finish_reason = ?1 WHERE finish_reason IS NULL",
        params![ABANDONED],
    )?;
    Ok(closed)
}

/// The highest number that a session ever had.
pub fn last_session_id(connection: &Connection) -> Result<u64, Error> {
    let last: i64 = connection.query_row(
        "SELECT max((SELECT ifnull(max(id), 0) FROM session),
                    (SELECT ifnull(max(last_session_id), 0) FROM removed))",
        [],
        |row| row.get(0),
    )?;
    Ok(last.max(0) as u64)
}

/// Removes a few sessions that began before `before`, the oldest first; how many.
pub fn expire(connection: &mut Connection, before: UnixMs) -> Result<usize, Error> {
    let ids: Vec<i64> = connection
        .prepare("SELECT id FROM session WHERE start < ?1 ORDER BY start LIMIT ?2")?
        .query_map(params![before, EXPIRED_PER_STEP as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let Some(last) = ids.iter().max() else { return Ok(0) };
    let transaction = connection.transaction()?;
    transaction
        .execute("UPDATE removed SET last_session_id = max(last_session_id, ?1)", params![last])?;
    for statement in [
        "DELETE FROM call WHERE session = ?1",
        "DELETE FROM recording WHERE session = ?1",
        "DELETE FROM session WHERE id = ?1",
    ] {
        let mut delete = transaction.prepare(statement)?;
        for id in &ids {
            delete.execute(params![id])?;
        }
    }
    transaction.commit()?;
    Ok(ids.len())
}

/// `WHERE ...` and its values.
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(filter: &HistoryFilter) -> Self {
        let mut conditions = Self { sql: String::new(), values: Vec::new() };
        conditions.add_list("id", filter.ids.iter().map(|id| Value::Integer(*id as i64)));
        conditions.add("start >= ?", filter.from.map(Value::Integer));
        conditions.add("start <= ?", filter.to.map(Value::Integer));
        let application = filter.application_id.map(|id| Value::Integer(i64::from(id)));
        conditions.add("application_id = ?", application);
        conditions.add("rule_name = ?", filter.rule_name.clone().map(Value::Text));
        conditions.add("instr(custom_data, ?)", filter.custom_data.clone().map(Value::Text));
        // Whole seconds, as the answer shows them.
        conditions.add("duration_ms / 1000 >= ?", filter.min_duration_s.map(Value::Integer));
        conditions.add("duration_ms / 1000 <= ?", filter.max_duration_s.map(Value::Integer));
        conditions.add_numbers(filter);
        conditions
    }

    fn add(&mut self, condition: &str, value: Option<Value>) {
        let Some(value) = value else { return };
        self.sql.push_str(self.joint());
        self.sql.push_str(condition);
        self.values.push(value);
    }

    fn add_list(&mut self, column: &str, values: impl ExactSizeIterator<Item = Value>) {
        if values.len() > 0 {
            self.sql.push_str(self.joint());
            self.sql.push_str(&format!("{column} IN (?{})", ", ?".repeat(values.len() - 1)));
            self.values.extend(values);
        }
    }

    /// Both lists speak of one call: between one of these and one of those.
    fn add_numbers(&mut self, filter: &HistoryFilter) {
        let text = |number: &String| Value::Text(number.clone());
        let mut calls = Self { sql: String::new(), values: Vec::new() };
        calls.add_list("remote_number", filter.remote_numbers.iter().map(text));
        calls.add_list("local_number", filter.local_numbers.iter().map(text));
        if !calls.values.is_empty() {
            self.sql.push_str(self.joint());
            self.sql.push_str(&format!("id IN (SELECT session FROM call{})", calls.sql));
            self.values.extend(calls.values);
        }
    }

    fn joint(&self) -> &'static str {
        if self.sql.is_empty() { " WHERE " } else { " AND " }
    }
}

/// Reads what belongs to a session.
struct Nested<'c> {
    calls: Statement<'c>,
    records: Statement<'c>,
}

impl<'c> Nested<'c> {
    fn prepare(connection: &'c Connection) -> Result<Self, Error> {
        Ok(Self {
            calls: connection.prepare(
                "SELECT id, start, duration_ms, local_number, remote_number, remote_number_type,
                        is_incoming, is_successful, end_reason, record_url, custom_data,
                        audio
                 FROM call WHERE session = ?1 ORDER BY position",
            )?,
            records: connection.prepare(
                "SELECT id, name, start, duration_ms, url, file_bytes
                 FROM recording WHERE session = ?1 ORDER BY position",
            )?,
        })
    }

    fn add_to(&mut self, session: &mut SessionRecord, filter: &HistoryFilter) -> Result<(), Error> {
        let key = params![session.id as i64];
        if filter.with_calls {
            session.calls = self.calls.query_map(key, call)?.collect::<Result<_, _>>()?;
        }
        if filter.with_records {
            session.records = self.records.query_map(key, recording)?.collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    Ok(SessionRecord {
        id: unsigned(row, 0)?,
        application_id: row.get(1)?,
        application_name: row.get(2)?,
        rule_id: row.get(3)?,
        rule_name: row.get(4)?,
        start: row.get(5)?,
        duration_ms: row.get(6)?,
        initiator_address: row.get(7)?,
        media_server_address: row.get(8)?,
        log_file_url: row.get(9)?,
        finish_reason: row.get(10)?,
        custom_data: row.get(11)?,
        audio_quality: row.get(12)?,
        calls: Vec::new(),
        records: Vec::new(),
    })
}

fn call(row: &Row<'_>) -> rusqlite::Result<CallRecord> {
    Ok(CallRecord {
        id: unsigned(row, 0)?,
        start: row.get(1)?,
        duration_ms: row.get(2)?,
        local_number: row.get(3)?,
        remote_number: row.get(4)?,
        remote_number_type: row.get(5)?,
        is_incoming: row.get(6)?,
        is_successful: row.get(7)?,
        end_reason: row.get(8)?,
        record_url: row.get(9)?,
        custom_data: row.get(10)?,
        audio: row.get::<_, Option<String>>(11)?.and_then(|json| audio(&json)),
    })
}

/// Another release may have written other figures: those are not known then.
fn audio(json: &str) -> Option<Box<AudioRecord>> {
    DeJson::deserialize_json(json).ok().map(Box::new)
}

fn recording(row: &Row<'_>) -> rusqlite::Result<RecordingRecord> {
    Ok(RecordingRecord {
        id: unsigned(row, 0)?,
        name: row.get(1)?,
        start: row.get(2)?,
        duration_ms: row.get(3)?,
        url: row.get(4)?,
        file_bytes: unsigned(row, 5)?,
    })
}

/// SQLite's integers are signed; ours went in as they are.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| value as u64)
}

/// GetCallHistory answers 1000 at most (section 5.1).
const MOST_SESSIONS: usize = 1000;
/// One answer. Full: the query fails and says to ask for less.
const HISTORY_PAGE_BYTES: usize = 8 << 20;
/// A step takes a few milliseconds.
const EXPIRED_PER_STEP: usize = 100;
/// What is said of a session that ran when the gateway died (VoxEngine reference, section 1.5).
const ABANDONED: &str = "Terminated administratively";
