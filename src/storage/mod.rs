//! What is kept on disk, as operations: history, registrations, log files, recordings.
//!
//! The disk thread owns a [`store::Store`] and applies operations in order; nothing here opens a
//! file by itself: the driver gives the database connection.

pub mod record;
pub mod store;
