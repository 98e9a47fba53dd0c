//! The transport against servers that misbehave, on raw sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod calls;
mod raw_server;
mod streams;
