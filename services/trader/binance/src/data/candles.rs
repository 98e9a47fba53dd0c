//! Conversion of the exchange's klines, as REST rows and as stream messages, to candles.

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;

use crate::wire::stream::{Combined, KlineEvent};

/// An event of a kline stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KlineMessage {
    pub(super) symbol: SubjectToken,
    /// The exchange's time when the event was sent.
    pub(super) sent: UtcMs,
    /// The candle, if it is closed; `None` while it runs.
    pub(super) closed: Option<Candle>,
}

/// Reads a message of a combined kline stream of `interval`; `None` for a message of another kind or interval.
///
/// # Errors
/// One line: it is no JSON of the known shape, or a closed candle breaks a candle's rules.
pub(super) fn read_message(text: &str, interval: Interval) -> Result<Option<KlineMessage>, String> {
    let message: Combined<Option<KlineEvent>> =
        serde_json::from_str(text).map_err(|error| format!("stream message: {error}"))?;
    let Some(event) = message.data else {
        return Ok(None);
    };
    let Some(kline) = event.kline.filter(|k| k.interval == interval.as_str()) else {
        return Ok(None);
    };
    let symbol = kline.symbol.parse();
    let symbol: SubjectToken =
        symbol.map_err(|_| format!("stream message: symbol {:?}", kline.symbol))?;
    let closed = if kline.is_closed {
        let prices = [kline.open, kline.high, kline.low, kline.close];
        let candle = candle(interval, kline.open_time, prices);
        Some(candle.map_err(|error| format!("{symbol}: {error}"))?)
    } else {
        None
    };
    Ok(Some(KlineMessage {
        symbol,
        sent: event.sent,
        closed,
    }))
}

/// The candle of these prices: open, high, low and close.
///
/// # Errors
/// One line, if it breaks a candle's rules.
pub(super) fn candle(
    interval: Interval,
    open_time: UtcMs,
    [open, high, low, close]: [Decimal; 4],
) -> Result<Candle, String> {
    let price = |field: &str, value: Decimal| {
        Price::from_decimal(value).map_err(|error| format!("candle {open_time}: {field}: {error}"))
    };
    let (open, high) = (price("open", open)?, price("high", high)?);
    let (low, close) = (price("low", low)?, price("close", close)?);
    Candle::new(interval, open_time, open, high, low, close).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kline: &str) -> String {
        format!(
            r#"{{"stream":"btcusdt@kline_1m","data":{{"e":"kline","E":1640995260005,"s":"BTCUSDT","k":{kline}}}}}"#
        )
    }

    const CLOSED: &str = r#"{"t":1640995200000,"T":1640995259999,"s":"BTCUSDT","i":"1m","f":1,"L":9,"o":"46319.50","c":"46320.0","h":"46321.1","l":"46300.0","v":"1.2","n":9,"x":true,"q":"1","V":"1","Q":"1","B":"0"}"#;

    #[test]
    fn closed_candle_comes_with_the_exchanges_time() {
        let message = read_message(&message(CLOSED), Interval::M1);
        let message = message.unwrap().unwrap();
        assert_eq!(message.symbol.as_str(), "BTCUSDT");
        assert_eq!(message.sent, UtcMs(1_640_995_260_005));
        let candle = message.closed.unwrap();
        assert_eq!(candle.open_time, UtcMs(1_640_995_200_000));
        assert_eq!(candle.open.to_string(), "46319.5");
        assert_eq!(candle.close.to_string(), "46320");
    }

    #[test]
    fn running_candle_brings_only_the_exchanges_time() {
        let running = message(&CLOSED.replace("true", "false"));
        let message = read_message(&running, Interval::M1).unwrap().unwrap();
        assert_eq!(message.closed, None);
    }

    #[test]
    fn other_messages_are_ignored() {
        for text in [
            r#"{"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1}}"#,
            r#"{"new":1}"#,
        ] {
            assert_eq!(read_message(text, Interval::M1).unwrap(), None, "{text}");
        }
        let other = read_message(&message(CLOSED), Interval::M5).unwrap();
        assert_eq!(other, None, "another interval's candle");
    }

    #[test]
    fn broken_candle_is_named_and_not_believed() {
        for (from, to, named) in [
            ("46319.50", "0.000000001", "open"),
            ("46321.1", "46319.9", "high is 46319.9"),
            ("1640995200000", "1640995200001", "a multiple of 1m"),
        ] {
            let text = message(&CLOSED.replace(from, to));
            let error = read_message(&text, Interval::M1).unwrap_err();
            assert!(
                error.contains(named) && error.contains("BTCUSDT"),
                "{error}"
            );
        }
        let no_number = message(&CLOSED.replace("46319.50", "NaN"));
        let error = read_message(&no_number, Interval::M1).unwrap_err();
        assert!(error.contains("NaN"), "{error}");
        assert!(read_message("{\"data\":", Interval::M1).is_err());
    }
}
