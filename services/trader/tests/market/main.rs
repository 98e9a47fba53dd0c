//! The market feed against exchanges that misbehave: one of our own that speaks Binance's protocol
//! and does what a test tells it to, and the project's simulator. How candles are judged is not here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod exchange;
mod faults;
mod feed;
mod rest;
mod simulator;
mod test_feed;
