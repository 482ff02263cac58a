//! The world: sockets, threads, channels, clocks, files. The only room that does I/O.

pub mod worker;
