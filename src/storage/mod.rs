//! What is kept on disk, as operations: history, registrations, log files, recordings.
//!
//! The disk thread owns a [`store::Store`] and applies operations in order. Nothing here opens a
//! file, reads a clock or starts a thread: the driver gives the database connection, and does to
//! the files of recordings and logs what `recording`, `file_name` and `retention` work out.

pub mod file_name;
pub mod record;
pub mod recording;
pub mod retention;
pub mod store;

mod bindings;
mod error;
mod history;
mod schema;
