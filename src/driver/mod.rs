//! The world: sockets, threads, clocks, files.

pub mod http_client;
pub mod http_pool;
pub mod http_server;
pub mod resolve;
