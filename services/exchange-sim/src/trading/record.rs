//! Changes of the exchange's state as values: records, which are stored and replayed after a restart, and notices for
//! user streams.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::enums::MarginMode;
use super::filters::SymbolFilters;
use super::order::{Algo, Income, Order, Trade};
use super::position::Position;

/// Listen key of a user stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenKey {
    /// The key.
    pub key: String,
    /// Expiry in exchange time, UTC ms.
    pub expires_ms: i64,
}

/// Settings of a contract in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolConfig {
    /// Leverage.
    pub leverage: u32,
    /// Margin mode.
    pub margin_mode: MarginMode,
}

/// New state of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Balance of the wallet.
    Wallet(Decimal),
    /// Whether hedge mode is on.
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
    /// A change of the wallet, with its type.
    Income(Income),
    /// Listen key of the user stream.
    ListenKey(Option<ListenKey>),
    /// Filters of a contract; belongs to no account.
    Filters(SymbolFilters),
}

/// A record with its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Name of the account; empty for filters.
    pub account: String,
    /// The record.
    pub record: Record,
}

/// Records of one call: stored completely or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecords {
    /// Time up to which the price path has been matched, UTC ms.
    pub matched_until_ms: i64,
    /// The records in order.
    pub records: Vec<LogRecord>,
}

/// A notice for the user stream of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNotice {
    /// Name of the account.
    pub account: String,
    /// Time, UTC ms.
    pub at_ms: i64,
    /// Content.
    pub news: UserNews,
}

/// Content of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNews {
    /// An order changed.
    Order {
        /// The order.
        order: Order,
        /// Execution type of Binance.
        execution_type: &'static str,
        /// The fill; `None` for other changes.
        trade: Option<Trade>,
    },
    /// Balance or positions changed.
    Account {
        /// Reason code of Binance.
        reason: &'static str,
        /// Balance of the wallet.
        wallet: Decimal,
        /// Balance without the margin of isolated positions.
        cross_wallet: Decimal,
        /// Change of the balance apart from profits and fees.
        balance_change: Decimal,
        /// Changed positions, with margin mode and mark price.
        positions: Vec<(Position, MarginMode, Decimal)>,
    },
    /// A conditional order changed.
    Algo(Algo),
    /// Leverage changed.
    Leverage {
        /// Symbol of the contract.
        symbol: String,
        /// Leverage.
        leverage: u32,
    },
    /// The listen key has expired.
    KeyExpired(String),
}
