//! The world: sockets, threads, channels, clocks, files. The only room that does I/O.

pub mod data_dir;
pub mod environment;
pub mod resolve;
pub mod sd_notify;
pub mod signals;
pub mod sockets;
pub mod stream;
pub mod udp;
pub mod wire;

mod icmp;
pub mod disk;
pub mod process;
pub mod sounds;
pub mod speech;

#[cfg(test)]
mod test_folder;
mod trim;
//! The world: sockets, threads, clocks, files.

pub mod http_client;
pub mod http_pool;
pub mod http_server;
pub mod resolve;
pub mod media;

mod poll;
pub mod worker;
