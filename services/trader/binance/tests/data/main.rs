//! The data client against exchanges with faults: a test exchange that speaks Binance's protocol and does what a test
//! demands, and the exchange simulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod faults;
mod feed;
mod rest;
mod simulator;
mod test_exchange;
mod test_feed;
