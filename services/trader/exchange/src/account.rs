//! The account as its exchange reports it: balance, permissions, positions, resting orders.

use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use trader_core::orders::OpenOrder;

/// Balance of the account in the quote currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletBalance {
    /// The exchange's name for the account: the same for every key.
    pub alias: SubjectToken,
    /// Balance without unrealized profit and loss.
    pub balance: Decimal,
    /// Balance that a new position may use.
    pub available: Decimal,
}

/// Permissions of the key, and settings of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiPermissions {
    /// Whether the key may trade.
    pub trade: bool,
    /// Whether the key may move money out of the account.
    pub withdraw: bool,
    /// Whether all assets form one margin, which rules isolated margin out.
    pub multi_assets: bool,
}

/// A position on the exchange that is not flat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangePosition {
    /// Symbol as the exchange writes it. It may be one that no setting can name.
    pub symbol: String,
    /// Quantity in base units: positive long, negative short.
    pub quantity: Decimal,
    /// Mean entry price in the quote currency; `None` if the exchange does not state it.
    pub entry_price: Option<Decimal>,
}

/// An open order of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestingOrder {
    /// Symbol as the exchange writes it. It may be one that no setting can name.
    pub symbol: String,
    /// Ids and kind of the order.
    pub order: OpenOrder,
}
