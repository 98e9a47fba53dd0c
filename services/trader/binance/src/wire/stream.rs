//! Events of market streams and the user stream.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::scalar;

/// A message of a combined stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Combined<T> {
    /// The event.
    pub data: T,
}

/// Event of a kline stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KlineEvent {
    /// The exchange's time when the event was sent.
    #[serde(rename = "E", deserialize_with = "scalar::time")]
    pub sent: UtcMs,
    /// The candle; `None` in an event of another kind.
    #[serde(rename = "k")]
    pub kline: Option<Kline>,
}

/// State of a candle.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Kline {
    /// Contract, in the exchange's notation.
    #[serde(rename = "s", deserialize_with = "scalar::text")]
    pub symbol: String,
    /// Name of the interval.
    #[serde(rename = "i", deserialize_with = "scalar::text")]
    pub interval: String,
    /// Start of the candle.
    #[serde(rename = "t", deserialize_with = "scalar::time")]
    pub open_time: UtcMs,
    /// Open price.
    #[serde(rename = "o", deserialize_with = "scalar::decimal")]
    pub open: Decimal,
    /// High price.
    #[serde(rename = "h", deserialize_with = "scalar::decimal")]
    pub high: Decimal,
    /// Low price.
    #[serde(rename = "l", deserialize_with = "scalar::decimal")]
    pub low: Decimal,
    /// Close price.
    #[serde(rename = "c", deserialize_with = "scalar::decimal")]
    pub close: Decimal,
    /// Whether the candle is closed.
    #[serde(rename = "x", deserialize_with = "scalar::flag")]
    pub is_closed: bool,
}

/// What an event of the user stream concerns. Fields that cannot be read concern everything: the state is queried
/// anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserEvent {
    /// Something happened to these symbols.
    Symbols(Vec<String>),
    /// Something happened, to symbols that the event does not name.
    Anything,
    /// The listen key has expired.
    ListenKeyExpired,
}

impl UserEvent {
    /// Reads a message of the user stream, combined or raw.
    pub fn of(text: &str) -> Self {
        let Ok(whole) = serde_json::from_str::<serde_json::Value>(text) else {
            return Self::Anything;
        };
        let event = whole.get("data").unwrap_or(&whole);
        let symbol_at = |event: &serde_json::Value, place: &str| {
            let symbol = event.pointer(place).and_then(serde_json::Value::as_str);
            symbol.map(str::to_owned)
        };
        let symbols: Vec<String> = match event.get("e").and_then(serde_json::Value::as_str) {
            Some("listenKeyExpired") => return Self::ListenKeyExpired,
            Some("ORDER_TRADE_UPDATE" | "ALGO_UPDATE") => {
                symbol_at(event, "/o/s").into_iter().collect()
            }
            Some("TRADE_LITE") => symbol_at(event, "/s").into_iter().collect(),
            Some("ACCOUNT_UPDATE") => {
                let held = event.pointer("/a/P").and_then(serde_json::Value::as_array);
                let held = held.into_iter().flatten();
                held.filter_map(|position| symbol_at(position, "/s"))
                    .collect()
            }
            _ => Vec::new(),
        };
        if symbols.is_empty() {
            Self::Anything
        } else {
            Self::Symbols(symbols)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kline_event_is_read_and_another_event_has_no_kline() {
        let text = r#"{"stream":"b@kline_1m","data":{"e":"kline","E":5,"s":"B","k":{"t":0,"s":"B","i":"1m",
            "o":"1","h":"2.0","l":0.5,"c":"1","x":true,"n":1}}}"#;
        let event: Combined<KlineEvent> = serde_json::from_str(text).unwrap();
        let kline = event.data.kline.unwrap();
        assert!(kline.is_closed && kline.high.to_string() == "2.0");
        assert_eq!(event.data.sent, UtcMs(5));
        let other = r#"{"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1}}"#;
        let event: Combined<KlineEvent> = serde_json::from_str(other).unwrap();
        assert_eq!(event.data.kline, None);
    }

    #[test]
    fn a_user_event_names_its_symbols_or_means_all_of_them() {
        let of = |symbols: &[&str]| {
            UserEvent::Symbols(symbols.iter().map(|s| (*s).to_owned()).collect())
        };
        for (text, event) in [
            (r#"{"e":"ORDER_TRADE_UPDATE","o":{"s":"A"}}"#, of(&["A"])),
            (
                r#"{"stream":"k","data":{"e":"ALGO_UPDATE","o":{"s":"A"}}}"#,
                of(&["A"]),
            ),
            (r#"{"e":"TRADE_LITE","s":"B"}"#, of(&["B"])),
            (
                r#"{"e":"ACCOUNT_UPDATE","a":{"P":[{"s":"A"},{"s":"B"}]}}"#,
                of(&["A", "B"]),
            ),
            (
                r#"{"e":"ACCOUNT_UPDATE","a":{"m":"FUNDING_FEE"}}"#,
                UserEvent::Anything,
            ),
            (r#"{"e":"MARGIN_CALL","p":[]}"#, UserEvent::Anything),
            (r#"{"e":"ORDER_TRADE_UPDATE"}"#, UserEvent::Anything),
            (r#"{"e":"A_NEW_EVENT","s":"A"}"#, UserEvent::Anything),
            (
                r#"{"stream":"k","data":{"e":"listenKeyExpired"}}"#,
                UserEvent::ListenKeyExpired,
            ),
            ("no json", UserEvent::Anything),
            ("[]", UserEvent::Anything),
        ] {
            assert_eq!(UserEvent::of(text), event, "{text}");
        }
    }
}
