//! Answers about the market: time, symbols, klines.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

use super::scalar::{self, text_enum};

/// Answer of `GET /fapi/v1/time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ServerTime {
    /// The exchange's time.
    #[serde(rename = "serverTime", deserialize_with = "scalar::time")]
    pub server_time: UtcMs,
}

/// Answer of `GET /fapi/v1/exchangeInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExchangeInfo {
    /// Listed symbols. An entry that cannot be read is left out of the others' way: see [`Listed`].
    pub symbols: Vec<Listed>,
}

/// An entry of the list of symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Symbol in the exchange's notation.
    pub symbol: String,
    /// Its rules; an error text of one line if they cannot be read.
    pub rules: Result<SymbolRules, String>,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Name {
            #[serde(default, deserialize_with = "scalar::optional_text")]
            symbol: Option<String>,
        }
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let name: Result<Name, _> = serde_json::from_str(raw);
        Ok(Self {
            symbol: name.ok().and_then(|name| name.symbol).unwrap_or_default(),
            rules: serde_json::from_str(raw)
                .map_err(|error| crate::client::one_line(&error.to_string())),
        })
    }
}

text_enum! {
    /// Whether a symbol can be traded.
    SymbolStatus {
        /// It can be traded.
        Trading = "TRADING",
    }
}

text_enum! {
    /// Kind of a contract.
    ContractType {
        /// Without an end.
        Perpetual = "PERPETUAL",
    }
}

/// Rules of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymbolRules {
    /// Kind of the contract.
    pub contract_type: ContractType,
    /// Asset in which prices are quoted.
    #[serde(deserialize_with = "scalar::text")]
    pub quote_asset: String,
    /// Whether it can be traded.
    pub status: SymbolStatus,
    /// Limits for orders. A kind that is not used is [`Filter::Other`].
    pub filters: Vec<Filter>,
}

/// A limit for orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Step of prices.
    Price {
        /// Smallest difference between two prices.
        tick_size: Decimal,
    },
    /// Quantities of all orders.
    Lot(Lot),
    /// Quantities of market orders.
    MarketLot(Lot),
    /// Smallest value of an order, in the quote currency.
    MinNotional {
        /// Quantity times price.
        notional: Decimal,
    },
    /// A filter that is not used.
    Other,
}

/// Limits of a quantity, in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lot {
    /// Smallest difference between two quantities.
    #[serde(deserialize_with = "scalar::decimal")]
    pub step_size: Decimal,
    /// Smallest quantity.
    #[serde(deserialize_with = "scalar::decimal")]
    pub min_qty: Decimal,
    /// Largest quantity.
    #[serde(deserialize_with = "scalar::decimal")]
    pub max_qty: Decimal,
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            #[serde(deserialize_with = "scalar::text")]
            filter_type: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Tick {
            #[serde(deserialize_with = "scalar::decimal")]
            tick_size: Decimal,
        }
        #[derive(Deserialize)]
        struct Notional {
            #[serde(deserialize_with = "scalar::decimal")]
            notional: Decimal,
        }
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let filter = || -> Result<Self, serde_json::Error> {
            let Kind { filter_type } = serde_json::from_str(raw)?;
            Ok(match filter_type.as_str() {
                "PRICE_FILTER" => {
                    let Tick { tick_size } = serde_json::from_str(raw)?;
                    Self::Price { tick_size }
                }
                "LOT_SIZE" => Self::Lot(serde_json::from_str(raw)?),
                "MARKET_LOT_SIZE" => Self::MarketLot(serde_json::from_str(raw)?),
                "MIN_NOTIONAL" => {
                    let Notional { notional } = serde_json::from_str(raw)?;
                    Self::MinNotional { notional }
                }
                _ => Self::Other,
            })
        };
        filter().map_err(serde::de::Error::custom)
    }
}

/// A row of `GET /fapi/v1/klines`: values by place, of which the first five are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KlineRow {
    /// Start of the candle.
    pub open_time: UtcMs,
    /// Open, high, low and close price.
    pub prices: [Decimal; 4],
}

#[derive(Deserialize)]
struct Time(#[serde(deserialize_with = "scalar::time")] UtcMs);

#[derive(Deserialize)]
struct Price(#[serde(deserialize_with = "scalar::decimal")] Decimal);

impl<'de> Deserialize<'de> for KlineRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(KlineRowVisitor)
    }
}

struct KlineRowVisitor;

impl<'de> Visitor<'de> for KlineRowVisitor {
    type Value = KlineRow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kline [open time, open, high, low, close, …]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<KlineRow, A::Error> {
        let short = |place| serde::de::Error::invalid_length(place, &self);
        let Time(open_time) = row.next_element()?.ok_or_else(|| short(0))?;
        let mut prices = [Decimal::ZERO; 4];
        for (place, price) in prices.iter_mut().enumerate() {
            Price(*price) = row.next_element()?.ok_or_else(|| short(place + 1))?;
        }
        while row.next_element::<IgnoredAny>()?.is_some() {}
        Ok(KlineRow { open_time, prices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"{"symbol":"BTCUSDT","contractType":"PERPETUAL","quoteAsset":"USDT","status":"TRADING",
        "new":{"a":[1]},"filters":[
        {"filterType":"PRICE_FILTER","minPrice":"1","tickSize":"0.10"},
        {"filterType":"LOT_SIZE","stepSize":0.001,"minQty":"0.001","maxQty":"1000"},
        {"filterType":"MARKET_LOT_SIZE","stepSize":"0.001","minQty":"0.001","maxQty":"120"},
        {"filterType":"MIN_NOTIONAL","notional":"100"},
        {"filterType":"POSITION_RISK_CONTROL","new":true}]}"#;

    fn info(entries: &[&str]) -> ExchangeInfo {
        let text = format!(r#"{{"symbols":[{}]}}"#, entries.join(","));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn rules_are_read_and_unknown_filters_and_values_are_kept_apart() {
        let info = info(&[LISTED, &LISTED.replace("TRADING", "A_NEW_STATUS")]);
        let rules = info.symbols[0].rules.as_ref().unwrap();
        assert_eq!(rules.status, SymbolStatus::Trading);
        assert_eq!(rules.filters.len(), 5);
        let tick_size = "0.10".parse().unwrap();
        assert_eq!(rules.filters[0], Filter::Price { tick_size });
        assert_eq!(rules.filters[4], Filter::Other);
        let unknown = info.symbols[1].rules.as_ref().unwrap();
        assert_eq!(unknown.status.as_str(), "A_NEW_STATUS");
    }

    #[test]
    fn a_symbol_that_cannot_be_read_does_not_concern_the_others() {
        for (from, to, named) in [
            (r#""PERPETUAL""#, "null", "contractType"),
            (
                r#""notional":"100""#,
                r#""notional":"x""#,
                "expected a decimal",
            ),
            (r#""notional":"100""#, r#""other":"100""#, "notional"),
            (r#""filters":["#, r#""filter":["#, "filters"),
        ] {
            let broken = LISTED.replace(from, to);
            let info = info(&[&broken, LISTED, "5"]);
            assert_eq!(info.symbols[0].symbol, "BTCUSDT");
            let error = info.symbols[0].rules.as_ref().unwrap_err();
            assert!(
                error.contains(named) || error.contains("expected"),
                "{error}"
            );
            assert!(info.symbols[1].rules.is_ok() && info.symbols[2].rules.is_err());
        }
    }

    #[test]
    fn a_kline_is_read_by_place() {
        let row: KlineRow =
            serde_json::from_str(r#"[0,"2","3","1",2.5,"volume",{"new":1}]"#).unwrap();
        assert_eq!(row.open_time, UtcMs(0));
        assert_eq!(row.prices.map(|p| p.to_string()), ["2", "3", "1", "2.5"]);
        for broken in [
            r#"[0,"2","3","1"]"#,
            r#"["x","2","3","1","2"]"#,
            r#"[0,"NaN","3","1","2"]"#,
            "{}",
        ] {
            assert!(
                serde_json::from_str::<KlineRow>(broken).is_err(),
                "{broken}"
            );
        }
    }
}
