//! Faults of accounts, contracts and prices: what the exchange or a second client does to an account.
//!
//! A fault that lasts is part of the exchange's state: it is stored like every change, and survives a restart. A fault
//! that happens once is not kept, but its effect is.

use rust_decimal::{Decimal, dec};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::enums::{ContractStatus, OrderStatus};

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

const fn once() -> u32 {
    1
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

/// A fault for listings and documentation.
#[derive(Debug, Clone, Copy)]
pub struct FaultEntry {
    /// Name in the field `fault`.
    pub name: &'static str,
    /// Effect, in one line.
    pub effect: &'static str,
    /// Fields with their meanings.
    pub fields: &'static [(&'static str, &'static str)],
    /// Body of a call that arms the fault.
    pub example: &'static str,
    /// Documentation or report that says that the exchange does this.
    pub source: &'static str,
}

const SYMBOL: (&str, &str) = ("symbol", "symbol of the contract");
const ACCOUNT: (&str, &str) = ("account", "name of the account");

/// All faults of accounts, contracts and prices.
pub const TRADING_FAULTS: &[FaultEntry] = &[
    FaultEntry {
        name: "filter",
        effect: "filters of the contract change; a filter that is not set stays",
        fields: &[
            SYMBOL,
            ("tick", "price step"),
            ("step", "quantity step"),
            ("min_quantity", "smallest quantity"),
            ("max_quantity", "largest quantity"),
            ("notional", "smallest value of an order"),
            (
                "percent_price",
                "largest distance of a price from the mark price, in percent",
            ),
            ("max_orders", "largest number of open orders"),
            ("max_algos", "largest number of waiting conditional orders"),
            ("trading", "false for status SETTLING, true for TRADING"),
        ],
        example: r#"{"fault": "filter", "symbol": "BTCUSDT", "tick": "1", "max_algos": 1}"#,
        source: "exchangeInfo; tick sizes change while orders rest (JKorf/Binance.Net#716)",
    },
    FaultEntry {
        name: "contract-status",
        effect: "the status changes: SETTLING rejects orders that open (-4140), CLOSE all (-4141), others all (-4108)",
        fields: &[
            SYMBOL,
            (
                "status",
                "PENDING_TRADING, TRADING, PRE_DELIVERING, DELIVERING, DELIVERED, PRE_SETTLE, SETTLING or CLOSE",
            ),
        ],
        example: r#"{"fault": "contract-status", "symbol": "SOLUSDT", "status": "PENDING_TRADING"}"#,
        source: "Binance's enum of contract status and error codes; freqtrade/freqtrade#11414",
    },
    FaultEntry {
        name: "unlist",
        effect: "the contract is missing in exchangeInfo and all lists, and calls get -1121",
        fields: &[
            SYMBOL,
            ("on", "true removes the contract, false restores it"),
        ],
        example: r#"{"fault": "unlist", "symbol": "SOLUSDT", "on": true}"#,
        source: "delisting; -1121 when an order is cancelled (JKorf/Binance.Net#945)",
    },
    FaultEntry {
        name: "settle",
        effect: "the exchange ends all orders, closes all positions (settlement_autoclose-) and the contract, once",
        fields: &[
            SYMBOL,
            ("price", "settlement price; the mark price if not set"),
        ],
        example: r#"{"fault": "settle", "symbol": "SOLUSDT"}"#,
        source: "Binance's user data stream, special client order ids; freqtrade/freqtrade#13165",
    },
    FaultEntry {
        name: "rename",
        effect: "the contract gets another symbol with its positions and waiting orders, once; the old symbol gets -1121",
        fields: &[SYMBOL, ("to", "the new symbol")],
        example: r#"{"fault": "rename", "symbol": "SOLUSDT", "to": "SOLXUSDT"}"#,
        source: "Binance's announcements of symbol changes (DODOUSDT to DODOXUSDT)",
    },
    FaultEntry {
        name: "mark-price",
        effect: "the mark price leaves the last price; stops on MARK_PRICE, liquidation, funding and margin follow it",
        fields: &[
            SYMBOL,
            (
                "percent",
                "distance from the last price, in percent; 0 ends the fault",
            ),
            (
                "path",
                "list of {after_ms, percent}: distances that follow each other",
            ),
        ],
        example: r#"{"fault": "mark-price", "symbol": "BTCUSDT", "path": [{"after_ms": 0, "percent": "-1.5"}, {"after_ms": 60000, "percent": "0"}]}"#,
        source: "Binance's documentation of workingType and mark price",
    },
    FaultEntry {
        name: "price-gap",
        effect: "the price jumps at the open of the next candle, through stops that lie between, once",
        fields: &[SYMBOL, ("percent", "change in percent")],
        example: r#"{"fault": "price-gap", "symbol": "BTCUSDT", "percent": "-3"}"#,
        source: "Binance's FAQ on stop orders: a triggered stop fills at the market price",
    },
    FaultEntry {
        name: "fill-schedule",
        effect: "the next orders fill in parts at these times, also market orders and triggered stops",
        fields: &[
            ("account", "account of the orders; any if not set"),
            ("symbol", "contract of the orders; any if not set"),
            (
                "conditional",
                "true for triggered conditional orders, false for all others; both if not set",
            ),
            ("times", "number of orders; 1 if not set"),
            (
                "parts",
                "list of {after_ms, percent}: parts of the quantity, each counted from the one before",
            ),
            (
                "end",
                "{after_ms, status}: the rest ends as EXPIRED, EXPIRED_IN_MATCH or CANCELED",
            ),
        ],
        example: r#"{"fault": "fill-schedule", "symbol": "BTCUSDT", "parts": [{"after_ms": 0, "percent": 40}, {"after_ms": 60000, "percent": 30}], "end": {"after_ms": 120000, "status": "EXPIRED"}}"#,
        source: "Binance's enum of order status; freqtrade/freqtrade#5482",
    },
    FaultEntry {
        name: "reject-triggers",
        effect: "conditional orders of the account are rejected when triggered",
        fields: &[
            ACCOUNT,
            (
                "code",
                "error code, such as -2019; not set to end the fault",
            ),
        ],
        example: r#"{"fault": "reject-triggers", "account": "KEY", "code": -2019}"#,
        source: "Binance's ALGO_UPDATE event, status REJECTED",
    },
    FaultEntry {
        name: "liquidate",
        effect: "the exchange liquidates the position (autoclose-), once",
        fields: &[ACCOUNT, SYMBOL],
        example: r#"{"fault": "liquidate", "account": "KEY", "symbol": "BTCUSDT"}"#,
        source: "Binance's user data stream and forceOrders",
    },
    FaultEntry {
        name: "adl",
        effect: "the exchange closes the position by auto-deleveraging (adl_autoclose), once; orders stay",
        fields: &[
            ACCOUNT,
            SYMBOL,
            ("quantity", "closed quantity; all if not set"),
        ],
        example: r#"{"fault": "adl", "account": "KEY", "symbol": "BTCUSDT", "quantity": "0.01"}"#,
        source: "Binance's user data stream and forceOrders with autoCloseType ADL",
    },
    FaultEntry {
        name: "assumed-price",
        effect: "margin of market orders is checked at this distance from the best ask instead of 0.05 %",
        fields: &[("percent", "distance in percent")],
        example: r#"{"fault": "assumed-price", "percent": "2"}"#,
        source: "Binance's FAQ on the cost to open a position; JKorf/Binance.Net#746",
    },
    FaultEntry {
        name: "brackets",
        effect: "leverage brackets of the contract are scaled: larger positions get -2027",
        fields: &[SYMBOL, ("scale", "factor of all bounds")],
        example: r#"{"fault": "brackets", "symbol": "BTCUSDT", "scale": "0.01"}"#,
        source: "leverageBracket; Binance's announcements of changed leverage tiers",
    },
    FaultEntry {
        name: "funding",
        effect: "funding is booked early or late, listed twice, or missing in lists for a while",
        fields: &[
            (
                "shift_ms",
                "milliseconds after the full hour, from -60000 to 60000",
            ),
            ("doubled", "true shows each booking twice"),
            (
                "hidden_ms",
                "milliseconds in which lists do not show a booking",
            ),
        ],
        example: r#"{"fault": "funding", "shift_ms": -15000, "hidden_ms": 30000}"#,
        source: "Binance's FAQ on funding: a deviation of 15 s; freqtrade/freqtrade#5364",
    },
    FaultEntry {
        name: "fee-asset",
        effect: "the account pays fees in this asset while its balance lasts: BNB with a discount of 10 %, others at par",
        fields: &[
            ACCOUNT,
            ("asset", "the asset, such as BNB or BNFCR; not set for USDT"),
            ("balance", "new balance of the asset"),
        ],
        example: r#"{"fault": "fee-asset", "account": "KEY", "asset": "BNB", "balance": "0.01"}"#,
        source: "feeBurn; commissionAsset BNFCR (freqtrade/freqtrade#13358)",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn table_has_each_fault_with_its_fields_and_an_example_that_parses() {
        for entry in TRADING_FAULTS {
            let body: Value = serde_json::from_str(entry.example).unwrap();
            assert_eq!(body["fault"], entry.name);
            let fault: TradingFault = serde_json::from_value(body.clone()).unwrap();
            let shown = serde_json::to_value(&fault).unwrap();
            let names: Vec<&str> = entry.fields.iter().map(|(name, _)| *name).collect();
            let own = shown.as_object().unwrap().keys();
            let own: Vec<&str> = own.map(String::as_str).filter(|k| *k != "fault").collect();
            assert_eq!(
                own.iter().collect::<std::collections::BTreeSet<_>>(),
                names.iter().collect(),
                "{}",
                entry.name
            );
        }
    }

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
