//! Changes of the exchange's state as values: records, which are stored and replayed after a restart, and notices for
//! user streams.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::enums::MarginMode;
use super::fault::TradingFault;
use super::filters::SymbolFilters;
use super::order::{Algo, Income, Order, Trade};
use super::position::Position;

/// Listen key of a user stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenKey {
    /// Key as it appears in the address of the stream.
    pub key: String,
    /// Expiry in exchange time, UTC ms.
    pub expires_ms: i64,
}

/// Settings of a contract in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolConfig {
    /// Leverage of the contract in this account.
    pub leverage: u32,
    /// Whether positions of the contract are isolated.
    pub margin_mode: MarginMode,
}

/// New state of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Balance of the wallet.
    Wallet(Decimal),
    /// Whether hedge mode is on.
    HedgeMode(bool),
    /// Balance of another asset.
    OtherBalance(String, Decimal),
    /// Asset in which fees are paid; `None` for USDT.
    FeeAsset(Option<String>),
    /// Whether multi-assets mode is on.
    MultiAssets(bool),
    /// Settings of a contract.
    SymbolConfig(String, SymbolConfig),
    /// Position of one contract and side.
    Position(Position),
    /// Order in the order book, or ended.
    Order(Order),
    /// Conditional order, waiting or ended.
    Algo(Algo),
    /// Fill that was added.
    Trade(Trade),
    /// A change of the wallet, with its type.
    Income(Income),
    /// Listen key of the user stream.
    ListenKey(Option<ListenKey>),
    /// Filters of a contract; belongs to no account.
    Filters(SymbolFilters),
    /// A change of a contract's prices or symbol; belongs to no account.
    PriceChange(PriceChange),
    /// The lasting faults; belong to no account.
    Faults(Vec<TradingFault>),
    /// Number of the last funding interval that was paid, counted from the epoch; belongs to no account.
    FundingPaid(i64),
}

/// A change of a contract's prices or symbol, which the market applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PriceChange {
    /// All prices from an open time on are moved.
    Gap {
        /// Symbol of the contract.
        symbol: String,
        /// Open time of the first moved candle, UTC ms.
        from_ms: i64,
        /// Factor of the prices.
        factor: Decimal,
    },
    /// The mark price follows these factors of the last price, each from its time on. Later steps that were planned
    /// before are dropped.
    Mark {
        /// Symbol of the contract.
        symbol: String,
        /// Times in UTC ms, ascending, and factors.
        steps: Vec<(i64, Decimal)>,
    },
    /// The contract has another symbol.
    Rename {
        /// Symbol before the change.
        symbol: String,
        /// Symbol from now on.
        to: String,
    },
}

/// Balance of one asset, as user streams show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetBalance {
    /// Asset of the balance, such as `BNB`.
    pub asset: String,
    /// Balance of the wallet.
    pub wallet: Decimal,
    /// Balance without the margin of isolated positions.
    pub cross_wallet: Decimal,
    /// Change of the balance apart from profits and fees.
    pub change: Decimal,
}

/// A record with its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Name of the account; empty for filters.
    pub account: String,
    /// New state, without the account.
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

impl CallRecords {
    /// The changes of prices and symbols among the records.
    pub fn price_changes(&self) -> impl Iterator<Item = &PriceChange> {
        self.records.iter().filter_map(|entry| match &entry.record {
            Record::PriceChange(change) => Some(change),
            _ => None,
        })
    }
}

/// A notice for the user stream of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNotice {
    /// Name of the account.
    pub account: String,
    /// Exchange time of the change, UTC ms.
    pub at_ms: i64,
    /// What has changed in the account.
    pub news: UserNews,
}

/// Content of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNews {
    /// An order was created, filled, or ended.
    Order {
        /// Order after the change.
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
        /// Balances of the assets that changed.
        balances: Vec<AssetBalance>,
        /// Changed positions, with margin mode and mark price.
        positions: Vec<(Position, MarginMode, Decimal)>,
    },
    /// A conditional order changed.
    Algo(Algo),
    /// The client has changed the leverage of a contract.
    Leverage {
        /// Symbol of the contract.
        symbol: String,
        /// Leverage of the contract in this account.
        leverage: u32,
    },
    /// The listen key has expired.
    KeyExpired(String),
}
