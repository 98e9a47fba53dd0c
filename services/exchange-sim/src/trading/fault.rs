//! Faults of accounts, contracts and prices: what the exchange or a second client does to an account.
//!
//! A fault that lasts is part of the exchange's state: it is stored like every change, and survives a restart. A fault
//! that happens once is not kept, but its effect is.

use rust_decimal::{Decimal, dec};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::enums::{ContractStatus, IncomeType, OrderStatus};

/// A fault of the exchange's state, tagged by its name in the field `fault`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum TradingFault {
    /// Filters of a contract change.
    Filter(FilterFault),
    /// The status of a contract changes.
    ContractStatus(ContractStatusFault),
    /// A contract vanishes from all answers, or is back.
    Unlist(UnlistFault),
    /// A contract is settled and closed: the exchange closes its positions. Happens once.
    Settle(SettleFault),
    /// A contract gets another symbol, with its positions and orders. Happens once.
    Rename(RenameFault),
    /// The mark price leaves the last price.
    MarkPrice(MarkPriceFault),
    /// The price jumps at the open of the next candle. Happens once.
    PriceGap(PriceGapFault),
    /// The next orders fill in parts by a schedule.
    FillSchedule(FillScheduleFault),
    /// Conditional orders of an account are rejected when triggered.
    RejectTriggers(RejectTriggersFault),
    /// The exchange liquidates a position. Happens once.
    Liquidate(LiquidateFault),
    /// The exchange closes a position, or a part, by auto-deleveraging. Happens once.
    Adl(AdlFault),
    /// The price that market orders are assumed to fill at changes.
    AssumedPrice(AssumedPriceFault),
    /// The leverage brackets of a contract change.
    Brackets(BracketsFault),
    /// Funding is booked at another time, listed twice or listed late.
    Funding(FundingFault),
    /// An account pays fees in another asset.
    FeeAsset(FeeAssetFault),
    /// The balance of an account changes without a trade. Happens once.
    BalanceChange(BalanceChangeFault),
}

/// Changes the filters of a contract. A filter without a value stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Price step.
    #[serde(default)]
    pub tick: Option<Positive>,
    /// Quantity step.
    #[serde(default)]
    pub step: Option<Positive>,
    /// Smallest quantity.
    #[serde(default)]
    pub min_quantity: Option<Positive>,
    /// Largest quantity of a limit order and of a market order.
    #[serde(default)]
    pub max_quantity: Option<Positive>,
    /// Smallest value of an order.
    #[serde(default)]
    pub notional: Option<Positive>,
    /// Largest distance of an order's price from the mark price, in percent.
    #[serde(default)]
    pub percent_price: Option<Positive>,
    /// Largest number of open orders.
    #[serde(default)]
    pub max_orders: Option<usize>,
    /// Largest number of waiting conditional orders.
    #[serde(default)]
    pub max_algos: Option<usize>,
    /// `false` for status SETTLING, `true` for status TRADING.
    #[serde(default)]
    pub trading: Option<bool>,
}

/// Changes the status of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractStatusFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Status, as in `exchangeInfo`.
    pub status: ContractStatus,
}

/// Removes a contract from all answers, or restores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnlistFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// `true` removes, `false` restores.
    pub on: bool,
}

/// Settles a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Settlement price; `None` for the mark price.
    #[serde(default)]
    pub price: Option<Positive>,
}

/// Renames a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Its new symbol.
    pub to: String,
}

/// Separates the mark price from the last price, by one distance or by a path of distances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkPriceFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Distance from now on, in percent of the last price.
    #[serde(default)]
    pub percent: Option<Change>,
    /// Distances that follow each other.
    #[serde(default)]
    pub path: Vec<MarkStep>,
}

/// A distance of the mark price from the last price, from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkStep {
    /// Exchange time after the call, in milliseconds.
    pub after_ms: After,
    /// Distance in percent of the last price.
    pub percent: Change,
}

/// Moves all later prices of a contract, from the open of the next candle on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceGapFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Change in percent.
    pub percent: Change,
}

/// Lets the next orders fill in parts, also market orders and triggered conditional orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillScheduleFault {
    /// Account of the orders; `None` for any.
    #[serde(default)]
    pub account: Option<String>,
    /// Contract of the orders; `None` for any.
    #[serde(default)]
    pub symbol: Option<String>,
    /// `true` for triggered conditional orders only, `false` for other orders only, `None` for both.
    #[serde(default)]
    pub conditional: Option<bool>,
    /// Number of orders.
    #[serde(default = "once")]
    pub times: u32,
    /// The parts in order. Without `end`, the last one fills the rest.
    #[serde(default)]
    pub parts: Vec<FillPart>,
    /// How the exchange ends the rest; `None` if all of the order fills.
    #[serde(default)]
    pub end: Option<ScheduledEnd>,
}

/// A part of an order's quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillPart {
    /// Exchange time after the part before, or after the order, in milliseconds.
    pub after_ms: After,
    /// Share of the order's quantity, in percent.
    pub percent: Share,
}

/// End of an order by the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduledEnd {
    /// Exchange time after the order, in milliseconds.
    pub after_ms: After,
    /// `EXPIRED`, `EXPIRED_IN_MATCH` or `CANCELED`.
    #[serde(deserialize_with = "ended_status")]
    pub status: OrderStatus,
}

/// Rejects the conditional orders of an account when triggered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectTriggersFault {
    /// Name of the account.
    pub account: String,
    /// Error code, such as -2019; `None` ends the fault.
    #[serde(default)]
    pub code: Option<i32>,
}

/// Liquidates a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiquidateFault {
    /// Name of the account.
    pub account: String,
    /// Symbol of the contract.
    pub symbol: String,
}

/// Closes a position by auto-deleveraging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdlFault {
    /// Name of the account.
    pub account: String,
    /// Symbol of the contract.
    pub symbol: String,
    /// Closed quantity of the base asset; `None` for all.
    #[serde(default)]
    pub quantity: Option<Positive>,
}

/// Changes the price that a market order is assumed to fill at when its margin is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssumedPriceFault {
    /// Distance from the best ask, in percent.
    pub percent: Change,
}

/// Scales the leverage brackets of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BracketsFault {
    /// Symbol of the contract.
    pub symbol: String,
    /// Factor of all bounds: with 0.01, the largest positions are a hundredth.
    pub scale: Positive,
}

/// Changes the bookings of funding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FundingFault {
    /// Time by which funding is booked late, in milliseconds; negative if early.
    #[serde(default)]
    pub shift_ms: Shift,
    /// Whether lists show each booking twice.
    #[serde(default)]
    pub doubled: bool,
    /// Exchange time after a booking in which lists do not show it, in milliseconds.
    #[serde(default)]
    pub hidden_ms: After,
}

/// Gives an account another asset, with which it pays its fees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeAssetFault {
    /// Name of the account.
    pub account: String,
    /// The asset, such as BNB; `None` for fees in USDT.
    #[serde(default)]
    pub asset: Option<String>,
    /// New balance of the asset; `None` if it stays.
    #[serde(default)]
    pub balance: Option<Balance>,
}

/// Changes the balance of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceChangeFault {
    /// Name of the account.
    pub account: String,
    /// Change of the balance in USDT.
    pub amount: Moved,
    /// Type under which it is listed; `None` if no list shows it.
    #[serde(default, deserialize_with = "balance_income")]
    pub income: Option<IncomeType>,
    /// Exchange time after which lists show it, in milliseconds.
    #[serde(default)]
    pub hidden_ms: After,
}

const fn once() -> u32 {
    1
}

fn balance_income<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IncomeType>, D::Error> {
    let text = String::deserialize(deserializer)?;
    IncomeType::from_wire(&text)
        .filter(|kind| {
            matches!(
                kind,
                IncomeType::Transfer | IncomeType::InternalTransfer | IncomeType::Rebate
            )
        })
        .map(Some)
        .ok_or_else(|| {
            de::Error::custom("expected TRANSFER, INTERNAL_TRANSFER or COMMISSION_REBATE")
        })
}

fn ended_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrderStatus, D::Error> {
    let text = String::deserialize(deserializer)?;
    OrderStatus::from_wire(&text)
        .filter(|status| {
            matches!(
                status,
                OrderStatus::Expired | OrderStatus::ExpiredInMatch | OrderStatus::Canceled
            )
        })
        .ok_or_else(|| de::Error::custom("expected EXPIRED, EXPIRED_IN_MATCH or CANCELED"))
}

/// Defines a number that is read from JSON text or a JSON number, and checked.
macro_rules! checked_number {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $fits:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let fits: fn(&$inner) -> bool = $fits;
                let number = text.parse::<$inner>().ok().filter(fits);
                number.map(Self).ok_or_else(|| de::Error::custom($expected))
            }
        }
    };
}

checked_number!(
    /// A number above zero.
    Positive, Decimal, |n| *n > Decimal::ZERO && *n <= dec!(1000000000),
    "expected a number above 0 and up to 1000000000"
);
checked_number!(
    /// A balance.
    Balance, Decimal, |n| *n >= Decimal::ZERO && *n <= dec!(1000000000),
    "expected a number from 0 to 1000000000"
);
checked_number!(
    /// An amount that is received or paid.
    Moved, Decimal, |n| !n.is_zero() && n.abs() <= dec!(1000000000) && n.scale() <= 8,
    "expected a number from -1000000000 to 1000000000 except 0, with at most 8 decimal places"
);
checked_number!(
    /// A change in percent.
    Change, Decimal, |n| *n >= dec!(-99) && *n <= dec!(900) && n.scale() <= 4,
    "expected a percentage from -99 to 900 with at most 4 decimal places"
);
checked_number!(
    /// A share in percent.
    Share, Decimal, |n| *n > Decimal::ZERO && *n <= Decimal::ONE_HUNDRED,
    "expected a percentage above 0 and up to 100"
);
checked_number!(
    /// A time after an event, in milliseconds of exchange time.
    After, i64, |n| (0..=7 * 86_400_000).contains(n),
    "expected a whole number of milliseconds from 0 to 604800000"
);
checked_number!(
    /// A time before or after an event, in milliseconds of exchange time.
    Shift, i64, |n| (-60_000..=60_000).contains(n),
    "expected a whole number of milliseconds from -60000 to 60000"
);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn invalid_values_are_rejected_with_what_is_expected() {
        for (body, expected) in [
            (
                json!({"fault": "filter", "symbol": "BTCUSDT", "tick": "0"}),
                "above 0",
            ),
            (
                json!({"fault": "price-gap", "symbol": "BTCUSDT", "percent": -100}),
                "from -99 to 900",
            ),
            (
                json!({"fault": "funding", "shift_ms": 60_001}),
                "from -60000 to 60000",
            ),
            (
                json!({"fault": "fee-asset", "account": "a", "balance": "-1"}),
                "from 0 to",
            ),
            (
                json!({"fault": "balance-change", "account": "a", "amount": 0}),
                "except 0",
            ),
            (
                json!({"fault": "balance-change", "account": "a", "amount": 1, "income": "GIFT"}),
                "COMMISSION_REBATE",
            ),
            (
                json!({"fault": "fill-schedule", "end": {"after_ms": 0, "status": "FILLED"}}),
                "EXPIRED_IN_MATCH",
            ),
            (
                json!({"fault": "adl", "account": "a", "symbol": "b", "x": 1}),
                "unknown field",
            ),
        ] {
            let error = serde_json::from_value::<TradingFault>(body.clone()).unwrap_err();
            assert!(error.to_string().contains(expected), "{body}: {error}");
        }
    }
}
