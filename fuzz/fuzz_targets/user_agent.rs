#![no_main]
//! See `user_agent::user_agent`.

#[path = "../user_agent.rs"]
mod user_agent;

libfuzzer_sys::fuzz_target!(|data: &[u8]| user_agent::user_agent(data));
