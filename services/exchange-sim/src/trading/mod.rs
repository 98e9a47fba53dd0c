//! Trading as a pure core: accounts, orders, positions, and the effect of the price path on them.
//!
//! - `enums`, `order`, `position`, `account`, `leverage_brackets`, `filters`: the model.
//! - `record`: changes as values, for storage and user streams.
//! - `fault`: what the exchange or a second client does to accounts, contracts and prices.
//! - `exchange_state`: all accounts. `place`, `cancel`, `settings`: calls of clients. `matching`, `funding`,
//!   `liquidation`: effects of time. `execute`: fills.
//! - `prices`: the market as trading sees it.
//!
//! Without clock, files or sockets: time and prices come with each call, so that equal calls give equal accounts. The
//! caller is `trading_service`.

pub mod account;
mod cancel;
pub mod enums;
pub mod error;
pub mod exchange_state;
mod execute;
pub mod fault;
mod fault_effects;
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
