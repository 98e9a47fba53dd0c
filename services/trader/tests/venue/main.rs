//! The trader's side of a real exchange, through Binance's SDK, against the project's own strict
//! exchange: every outcome of an order, and the queries that follow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod account;
mod look_up;
mod orders;
mod stream;
mod test_exchange;
mod triggers;
