//! Registered contacts, kept over a restart.

use rusqlite::{Connection, Row, Transaction, params};

use super::error::Error;
use super::record::{StoredBinding, UnixMs};

/// Puts `bindings` in the place of what was kept of `user`.
pub fn replace(
    transaction: &Transaction<'_>,
    user: &str,
    bindings: &[StoredBinding],
) -> Result<(), Error> {
    transaction.execute("DELETE FROM binding WHERE user = ?1", params![user])?;
    if bindings.is_empty() {
        return Ok(());
    }
    let mut insert = transaction
        .prepare("INSERT INTO binding VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
    for (position, binding) in bindings.iter().enumerate() {
        insert.execute(params![
            user,
            position as i64,
            binding.contact,
            binding.call_id,
            binding.cseq,
            binding.expires_at,
            binding.source,
            binding.transport,
            binding.listener,
            binding.user_agent,
            binding.path,
        ])?;
    }
    Ok(())
}

pub fn remove_expired(connection: &Connection, now: UnixMs) -> Result<(), Error> {
    connection.execute("DELETE FROM binding WHERE expires_at <= ?1", params![now])?;
    Ok(())
}

/// What has not expired.
pub fn load(connection: &Connection, now: UnixMs) -> Result<Vec<StoredBinding>, Error> {
    let mut select = connection.prepare(
        "SELECT user, contact, call_id, cseq, expires_at, source, transport, listener, user_agent,
                path
         FROM binding WHERE expires_at > ?1 ORDER BY user, position",
    )?;
    let rows = select.query_map(params![now], binding)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn binding(row: &Row<'_>) -> rusqlite::Result<StoredBinding> {
    Ok(StoredBinding {
        user: row.get(0)?,
        contact: row.get(1)?,
        call_id: row.get(2)?,
        cseq: row.get(3)?,
        expires_at: row.get(4)?,
        source: row.get(5)?,
        transport: row.get(6)?,
        listener: row.get(7)?,
        user_agent: row.get(8)?,
        path: row.get(9)?,
    })
}
