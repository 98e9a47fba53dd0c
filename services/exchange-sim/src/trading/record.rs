//! Every change of the trading side as a value: records are what is stored and read back after a
//! restart, notices what users are told. Not here: the file (`trading_service/store.rs`) and the wire (`ws/`).

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::enums::MarginMode;
use super::filters::SymbolFilters;
use super::order::{Algo, Income, Order, Trade};
use super::position::Position;

/// A user stream's key and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenKey {
    /// The key.
    pub key: String,
    /// When it ends, UTC ms of the exchange's time.
    pub expires_ms: i64,
}

/// How an account holds a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolConfig {
    /// Leverage.
    pub leverage: u32,
    /// Margin mode.
    pub margin_mode: MarginMode,
}

/// One thing as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The wallet's balance.
    Wallet(Decimal),
    /// Hedge mode.
    HedgeMode(bool),
    /// Settings of a contract.
    SymbolConfig(String, SymbolConfig),
    /// A position.
    Position(Position),
    /// An order.
    Order(Order),
    /// A conditional order.
    Algo(Algo),
    /// A fill.
    Trade(Trade),
    /// A change of the wallet, with its reason.
    Income(Income),
    /// The user stream's key.
    ListenKey(Option<ListenKey>),
    /// A contract's filters: of no account.
    Filters(SymbolFilters),
}

/// A record and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The account; empty for what is everybody's.
    pub account: String,
    /// What is from now on.
    pub record: Record,
}

/// What one call changed: stored whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecords {
    /// Up to when the market's way has been taken into account, UTC ms.
    pub matched_until_ms: i64,
    /// The changes in their order.
    pub records: Vec<LogRecord>,
}

/// What a user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNotice {
    /// Who.
    pub account: String,
    /// When it happened, UTC ms.
    pub at_ms: i64,
    /// What.
    pub news: UserNews,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNews {
    /// An order changed.
    Order {
        /// The order.
        order: Order,
        /// Binance's execution type.
        execution_type: &'static str,
        /// The fill, if it was one.
        trade: Option<Trade>,
    },
    /// Balance or positions changed.
    Account {
        /// Binance's reason.
        reason: &'static str,
        /// The wallet.
        wallet: Decimal,
        /// The part of it that no position has for itself.
        cross_wallet: Decimal,
        /// What came or went beside profits and fees.
        balance_change: Decimal,
        /// Positions that changed, their margin mode and the mark price.
        positions: Vec<(Position, MarginMode, Decimal)>,
    },
    /// A conditional order changed.
    Algo(Algo),
    /// Leverage changed.
    Leverage {
        /// Contract.
        symbol: String,
        /// Leverage.
        leverage: u32,
    },
    /// The user stream's key has ended.
    KeyExpired(String),
}
