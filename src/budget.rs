//! The worst case of memory, computed from the limits before anything starts.
//!
//! `base + sessions x (JavaScript reserve + calls x call buffers + queues) + shared JavaScript
//! pool + caches`: printed by `check` and `run`; above the ceiling the gateway does not start. The
//! pool is what the ceiling leaves over: at least enough that one session can fill its heap, at
//! most enough that all can.

use std::fmt;

use crate::config::Limits;

/// What the gateway takes at most, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub rows: Vec<Row>,
    /// Sum of the rows.
    pub total_bytes: u64,
    /// The ceiling: `memory_mib`, or three quarters of the machine.
    pub memory_bytes: u64,
    /// What the JavaScript of all sessions draws from beyond its reserve.
    pub js_pool_bytes: u64,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub what: &'static str,
    /// How it comes about: `200 sessions x 50 calls x 48 KiB`.
    pub formula: String,
    pub bytes: u64,
}

/// The limits ask for more than the ceiling; says which to lower and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverBudget {
    total_bytes: u64,
    memory_bytes: u64,
    sessions: usize,
    /// Sessions that fit with the other limits as they are.
    fitting: usize,
    /// Where not even one fits: the ceiling that one session needs.
    one_session_bytes: u64,
    /// The largest row that no session owns, and the limit behind it.
    largest_fixed: &'static str,
}

impl Budget {
    /// The table for limits whose `sessions` is set.
    ///
    /// # Errors
    /// Where the sum is above the ceiling.
    pub fn of(limits: &Limits, machine_bytes: u64) -> Result<Self, OverBudget> {
        let memory_bytes = ceiling(limits, machine_bytes);
        let mut rows = fixed_rows(limits);
        let fixed: u64 = sum(&rows);
        let largest = rows.iter().filter(|row| row.what != BASE).max_by_key(|row| row.bytes);
        let largest_fixed = largest.map_or("", |row| limit_behind(row.what));
        rows.extend(session_rows(limits));
        let least_pool = least_pool_bytes(limits);
        let needed = sum(&rows).saturating_add(least_pool);
        if needed > memory_bytes {
            let one = Limits { sessions: 1, ..limits.clone() };
            return Err(OverBudget {
                total_bytes: needed,
                memory_bytes,
                sessions: limits.sessions,
                fitting: Self::sessions_that_fit(limits, machine_bytes),
                one_session_bytes: fixed
                    .saturating_add(sum(&session_rows(&one)))
                    .saturating_add(least_pool),
                largest_fixed,
            });
        }
        let most_pool = product(&[limits.sessions as u64, least_pool]);
        let js_pool_bytes = (least_pool + (memory_bytes - needed)).min(most_pool.max(least_pool));
        rows.push(Row {
            what: "shared JavaScript pool",
            formula: format!("what is left, {} for one full heap at least", Size(least_pool)),
            bytes: js_pool_bytes,
        });
        Ok(Self { total_bytes: sum(&rows), rows, memory_bytes, js_pool_bytes })
    }

    /// How many sessions the ceiling has room for, 0 if not even one.
    pub fn sessions_that_fit(limits: &Limits, machine_bytes: u64) -> usize {
        let one = Limits { sessions: 1, ..limits.clone() };
        let session = sum(&session_rows(&one)).max(1);
        let fixed = sum(&fixed_rows(limits)).saturating_add(least_pool_bytes(limits));
        let left = ceiling(limits, machine_bytes).saturating_sub(fixed);
        usize::try_from(left / session).unwrap_or(usize::MAX)
    }
}

/// The table as `check` and `run` print it.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory at worst:")?;
        for row in &self.rows {
            let line =
                format!("  {:24} {:>10}  {}", row.what, Size(row.bytes).to_string(), row.formula);
            writeln!(f, "{}", line.trim_end())?;
        }
        let (total, ceiling) = (Size(self.total_bytes).to_string(), Size(self.memory_bytes));
        writeln!(f, "  {:24} {total:>10}  of {ceiling} allowed", "total")
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, ceiling) = (Size(self.total_bytes), Size(self.memory_bytes));
        write!(f, "{} needs {total} at worst, memory_mib allows {ceiling}: ", self.sessions)?;
        match self.fitting {
            0 => write!(
                f,
                "lower {} or raise memory_mib to {}",
                self.largest_fixed,
                self.one_session_bytes.div_ceil(1 << 20)
            ),
            fitting => write!(
                f,
                "lower sessions to {fitting} or raise memory_mib to {}",
                self.total_bytes.div_ceil(1 << 20)
            ),
        }
    }
}

impl std::error::Error for OverBudget {}

/// Bytes as people read them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..0x10_0000 => write!(f, "{} KiB", self.0.div_ceil(1 << 10)),
            _ => write!(f, "{}.{} MiB", self.0 >> 20, ((self.0 % (1 << 20)) * 10) >> 20),
        }
    }
}

fn ceiling(limits: &Limits, machine_bytes: u64) -> u64 {
    match limits.memory_bytes {
        0 => machine_bytes / 4 * 3,
        bytes => bytes,
    }
}

/// What is there without a session.
fn fixed_rows(limits: &Limits) -> Vec<Row> {
    let times = |count: usize, what: &str, each: u64| format!("{count} {what} x {}", Size(each));
    let connections = limits.http_connections;
    let streams = limits.sip_streams;
    let transactions = limits.sip_transactions;
    let mut rows = vec![
        Row { what: BASE, formula: String::new(), bytes: BASE_BYTES },
        Row { what: DISK, formula: String::new(), bytes: DISK_QUEUE_BYTES },
        Row { what: "names and senders", formula: String::new(), bytes: NAMES_BYTES },
        Row {
            what: "HTTP connections",
            formula: times(connections, "connections", HTTP_CONNECTION_BYTES),
            bytes: product(&[connections as u64, HTTP_CONNECTION_BYTES]),
        },
        Row { what: "HTTP bodies", formula: String::new(), bytes: limits.http_pool_bytes as u64 },
        Row {
            what: "SIP streams",
            formula: times(streams, "streams", limits.sip_message_bytes as u64),
            bytes: product(&[streams as u64, limits.sip_message_bytes as u64]),
        },
        Row {
            what: "SIP transactions",
            formula: times(transactions, "transactions", TRANSACTION_BYTES),
            bytes: product(&[transactions as u64, TRANSACTION_BYTES]),
        },
        Row {
            what: "sounds being read",
            formula: times(SOUNDS_BEING_READ, "sounds", SOUND_READER_BYTES),
            bytes: product(&[SOUNDS_BEING_READ as u64, SOUND_READER_BYTES]),
        },
        Row {
            what: "decoded sounds",
            formula: String::new(),
            bytes: limits.sound_cache_bytes as u64,
        },
    ];
    if limits.tls_streams > 0 {
        rows.push(Row {
            what: TLS,
            formula: times(limits.tls_streams, "streams and handshakes", TLS_BYTES),
            bytes: product(&[limits.tls_streams as u64, TLS_BYTES]),
        });
    }
    rows
}

/// The limit to lower for a row of [`fixed_rows`].
fn limit_behind(what: &str) -> &'static str {
    match what {
        "HTTP connections" => "http_connections",
        "HTTP bodies" => "http_pool_mib",
        "SIP streams" | TLS => "sip_streams",
        "SIP transactions" => "sip_transactions",
        "decoded sounds" => "sound_cache_mib",
        _ => "js_heap_mib",
    }
}

/// What the sessions own.
fn session_rows(limits: &Limits) -> Vec<Row> {
    let sessions = limits.sessions as u64;
    let row = |what, count: usize, each: u64, name: &str| Row {
        what,
        formula: match name {
            "" => format!("{sessions} sessions x {}", Size(each)),
            name => format!("{sessions} sessions x {count} {name} x {}", Size(each)),
        },
        bytes: product(&[sessions, count as u64, each]),
    };
    vec![
        row("JavaScript reserve", 1, limits.js_reserve_bytes as u64, ""),
        row(
            "calls",
            limits.calls_per_session,
            CALL_BYTES + limits.call_audio_bytes as u64,
            "calls",
        ),
        row("players", limits.players, PLAYER_BYTES, "players"),
        row("queues of sessions", 1, SESSION_QUEUE_BYTES, ""),
    ]
}

/// What one session may draw beyond its reserve.
fn least_pool_bytes(limits: &Limits) -> u64 {
    limits.js_heap_bytes.saturating_sub(limits.js_reserve_bytes) as u64
}

fn sum(rows: &[Row]) -> u64 {
    rows.iter().fold(0, |sum, row| sum.saturating_add(row.bytes))
}

fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, &factor| product.saturating_mul(factor))
}

const BASE: &str = "program and database";
const DISK: &str = "waiting for the disk";

const TLS: &str = "TLS of SIP streams";

/// A record of 16 KiB and its text either way, what waits to be sent, and the keys.
const TLS_BYTES: u64 = 56 << 10;

/// Program, thread stacks, SQLite's cache, one compiled prelude per worker. The idle process is
/// to stay under 8 MB; the rest is what SQLite takes while it works.
const BASE_BYTES: u64 = 12 << 20;

/// Operations that wait for the disk thread: recordings and log lines of its bounded channel.
const DISK_QUEUE_BYTES: u64 = 4 << 20;

/// The cache of DNS answers at its fullest, and the buckets of SIP senders.
const NAMES_BYTES: u64 = 2 << 20;

/// Read buffer, write buffer and the piece between of one HTTP connection, without its body.
const HTTP_CONNECTION_BYTES: u64 = 24 << 10;

/// Files, fetches and speeches that become samples at one time, each on a thread of its own.
pub const SOUNDS_BEING_READ: usize = 16;

/// The pieces that wait for a decoder, its largest block with its samples at two rates, and its
/// stack.
const SOUND_READER_BYTES: u64 = 768 << 10;

/// A transaction with the message it repeats.
const TRANSACTION_BYTES: u64 = 4 << 10;

/// One call: dialog and messages, SDP, jitter buffer and concealment of G.711 (15 KiB), packets
/// being made, recorder block, RTP sockets. Better codecs take more: `call_audio_bytes`.
const CALL_BYTES: u64 = 48 << 10;

/// A player's place in its clip and its resampler.
const PLAYER_BYTES: u64 = 4 << 10;

/// Events towards a session's script and its commands under way.
const SESSION_QUEUE_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE_256: u64 = 256 << 20;

    #[test]
    fn defaults_fit_a_machine_of_256_megabytes() {
        let mut limits = Limits::default();
        limits.sessions = Budget::sessions_that_fit(&limits, MACHINE_256);
        // 600 calls with Opus.
        assert!(limits.sessions >= 12, "{}", limits.sessions);
        let budget = Budget::of(&limits, MACHINE_256).unwrap();
        assert_eq!(budget.memory_bytes, 192 << 20);
        assert!(budget.total_bytes <= budget.memory_bytes);
        assert!(budget.js_pool_bytes >= 15 << 20);
        limits.sessions += 1;
        assert!(Budget::of(&limits, MACHINE_256).is_err());
    }

    #[test]
    fn rows_are_the_products_of_their_limits() {
        let limits = Limits { sessions: 200, ..Limits::default() };
        let budget = Budget::of(&limits, 64 << 30).unwrap();
        let bytes = |what: &str| budget.rows.iter().find(|row| row.what == what).unwrap().bytes;
        assert_eq!(bytes("JavaScript reserve"), 200 << 20);
        // 48 KiB each and as much for Opus.
        assert_eq!(bytes("calls"), 200 * 50 * (96 << 10));
        let plain = Limits { call_audio_bytes: 0, ..limits.clone() };
        let plain = Budget::of(&plain, 64 << 30).unwrap();
        assert_eq!(budget.total_bytes - plain.total_bytes, 200 * 50 * (48 << 10));
        assert_eq!(bytes("SIP streams"), 64 * 307_200);
        assert!(budget.rows.iter().all(|row| row.what != TLS));
        let limits = Limits { tls_streams: 128, ..limits };
        let secure = Budget::of(&limits, 64 << 30).unwrap();
        assert_eq!(secure.total_bytes - budget.total_bytes, 128 * (56 << 10));
        // Every session can fill its heap: 16 MiB less the reserve.
        assert_eq!(bytes("shared JavaScript pool"), 200 * (15 << 20));
        assert_eq!(budget.total_bytes, budget.rows.iter().map(|row| row.bytes).sum::<u64>());
    }

    #[test]
    fn too_many_sessions_are_told_how_many_fit() {
        let limits = Limits { sessions: 500, ..Limits::default() };
        let fitting = Budget::sessions_that_fit(&limits, MACHINE_256);
        let error = Budget::of(&limits, MACHINE_256).unwrap_err().to_string();
        assert!(error.starts_with("500 needs "), "{error}");
        assert!(error.contains("memory_mib allows 192.0 MiB: "), "{error}");
        assert!(error.contains(&format!("lower sessions to {fitting} or raise")), "{error}");
    }

    #[test]
    fn where_not_one_session_fits_the_largest_limit_is_named() {
        let limits = Limits { sessions: 1, memory_bytes: 64 << 20, ..Limits::default() };
        let error = Budget::of(&limits, MACHINE_256).unwrap_err().to_string();
        // 12 + 4 + 2 + 6 + 16 + 18.75 + 7.8125 + 12 + 24 fixed, 15 pool, 1 + 50 x 96 KiB + 40 KiB +
        // 64 KiB for the session: 123.35 MiB.
        assert!(error.ends_with("lower sound_cache_mib or raise memory_mib to 124"), "{error}");
    }

    #[test]
    fn absurd_limits_do_not_overflow() {
        let limits = Limits {
            sessions: usize::MAX,
            calls_per_session: usize::MAX,
            sip_streams: usize::MAX,
            ..Limits::default()
        };
        assert!(Budget::of(&limits, u64::MAX).is_err());
        assert_eq!(Budget::sessions_that_fit(&limits, u64::MAX), 0);
    }
}
