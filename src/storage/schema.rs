//! Tables of the database and how older ones become today's.
//!
//! `PRAGMA user_version` counts the migrations a file has seen.

use rusqlite::Connection;

use super::error::Error;

/// Brings the tables up to date; an empty file gets them all.
pub fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len() as i64;
    let Some(missing) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..))
    else {
        return Err(Error::NewerSchema { found, known });
    };
    for (version, migration) in (found + 1..).zip(missing) {
        // The version is part of the transaction: half a migration leaves no trace.
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {version}"))?;
        transaction.commit()?;
    }
    Ok(())
}

/// What every connection is told first.
///
/// The write-ahead log makes a batch one append, and a torn write harmless. `synchronous` is set
/// per batch: see [`super::store::Store::write`].
pub const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA cache_size = -1024;
    PRAGMA busy_timeout = 1000;
";

/// Never edit one that was released: add the next.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE session (
        id INTEGER PRIMARY KEY,
        application_id INTEGER NOT NULL,
        application_name TEXT NOT NULL,
        rule_id INTEGER NOT NULL,
        rule_name TEXT NOT NULL,
        start INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        initiator_address TEXT NOT NULL,
        media_server_address TEXT NOT NULL,
        log_file_url TEXT NOT NULL,
        finish_reason TEXT,
        custom_data TEXT NOT NULL
    ) STRICT;
    -- Order and dates of GetCallHistory, age of retention.
    CREATE INDEX session_start ON session (start);
    -- What a crash left behind, found without looking at the rest.
    CREATE INDEX session_running ON session (id) WHERE finish_reason IS NULL;

    CREATE TABLE call (
        session INTEGER NOT NULL,
        position INTEGER NOT NULL,
        id INTEGER NOT NULL,
        start INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        local_number TEXT NOT NULL,
        remote_number TEXT NOT NULL,
        remote_number_type TEXT NOT NULL,
        is_incoming INTEGER NOT NULL,
        is_successful INTEGER NOT NULL,
        end_reason TEXT NOT NULL,
        record_url TEXT,
        custom_data TEXT,
        PRIMARY KEY (session, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX call_remote ON call (remote_number);
    CREATE INDEX call_local ON call (local_number);

    CREATE TABLE recording (
        session INTEGER NOT NULL,
        position INTEGER NOT NULL,
        id INTEGER NOT NULL,
        name TEXT NOT NULL,
        start INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        url TEXT NOT NULL,
        file_bytes INTEGER NOT NULL,
        PRIMARY KEY (session, position)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE binding (
        user TEXT NOT NULL,
        position INTEGER NOT NULL,
        contact TEXT NOT NULL,
        call_id TEXT NOT NULL,
        cseq INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        source TEXT NOT NULL,
        transport TEXT NOT NULL,
        listener INTEGER NOT NULL,
        user_agent TEXT NOT NULL,
        PRIMARY KEY (user, position)
    ) STRICT, WITHOUT ROWID;

    -- One row: the highest session that retention removed, so that its number is not given again.
    CREATE TABLE removed (last_session_id INTEGER NOT NULL) STRICT;
    INSERT INTO removed VALUES (0);
",
    "
    ALTER TABLE binding ADD COLUMN path TEXT NOT NULL DEFAULT '';
",
    "
    ALTER TABLE session ADD COLUMN audio_quality TEXT NOT NULL DEFAULT '';
    -- JSON of a flat object.
    ALTER TABLE call ADD COLUMN audio TEXT;
",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.execute_batch("INSERT INTO removed VALUES (7)").unwrap();
        migrate(&mut connection).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM removed", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_database_of_a_newer_release_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA user_version = 1000").unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert_eq!(error, Error::NewerSchema { found: 1000, known: MIGRATIONS.len() as i64 });
        assert!(error.to_string().contains("schema 1000"), "{error}");
    }
}
