//! The trading side as a pure core: accounts, orders, positions, what the price's way does to them.
//!
//! - `terms.rs`, `order.rs`, `position.rs`, `account.rs`, `bracket.rs`, `rules.rs`: what there is.
//! - `record.rs`: every change as a value: what is stored, and what users are told.
//! - `venue.rs`: all accounts; `place.rs`, `cancel.rs`, `settings.rs` what clients ask for; `settle.rs`
//!   what time does; `execute.rs` what both have in common.
//! - `prices.rs`: what must be known of the market.
//!
//! No clock, no file, no socket: time and prices come in with each call, so that the same calls always
//! end in the same accounts. Who calls, stores and tells is `trading_service/`.

pub mod account;
mod cancel;
pub mod enums;
pub mod error;
pub mod exchange_state;
mod execute;
pub mod filters;
pub(crate) mod funding;
pub mod leverage_brackets;
pub(crate) mod liquidation;
pub(crate) mod matching;
pub mod order;
mod place;
pub mod position;
pub mod prices;
pub mod record;
mod settings;
