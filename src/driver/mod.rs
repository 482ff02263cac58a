//! The world: sockets, threads, channels, clocks, files. The only room that does I/O.

pub mod media;

pub mod disk;
pub mod http_client;
pub mod http_pool;
pub mod http_server;
mod poll;
pub mod process;
pub mod resolve;
pub mod sounds;
pub mod speech;
#[cfg(test)]
mod test_folder;
mod trim;
pub mod worker;
