//! The execution client against the exchange simulator: every outcome of an order, and the queries that follow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod account;
mod order_query;
mod orders;
mod stream;
mod test_exchange;
mod triggers;
