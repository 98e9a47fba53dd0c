//! Conversion of the exchange's klines, as REST rows and as stream messages, to candles. Unused fields are not
//! decoded, so that a change in one of them breaks nothing.

use std::fmt::Display;

use binance_sdk::derivatives_trading_usds_futures::rest_api::KlineCandlestickDataItemInner as Cell;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::Deserialize;
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StreamMessage {
    /// The state of a candle.
    Kline {
        symbol: SubjectToken,
        /// The exchange's time when it was sent.
        sent: UtcMs,
        /// The candle, if it is closed; `None` while it runs.
        closed: Option<Candle>,
    },
    /// The answer to a subscription: the text of an error; `None` for success.
    Answer(Option<String>),
    /// A message of another kind or interval; ignored.
    Other,
}

#[derive(Deserialize)]
struct Envelope {
    data: Option<Event>,
    error: Option<serde_json::Value>,
    id: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "E")]
    sent: i64,
    k: Option<Kline>,
}

#[derive(Deserialize)]
struct Kline {
    t: i64,
    s: String,
    i: String,
    o: String,
    h: String,
    l: String,
    c: String,
    x: bool,
}

/// Reads a message of a combined kline stream of `interval`.
///
/// # Errors
/// One line: it is no JSON of the known shape, or a closed candle breaks a candle's rules.
pub(crate) fn decode(text: &str, interval: Interval) -> Result<StreamMessage, String> {
    let envelope: Envelope =
        serde_json::from_str(text).map_err(|error| format!("stream message: {error}"))?;
    let Some(event) = envelope.data else {
        return Ok(match (envelope.error, envelope.id) {
            (Some(error), _) => StreamMessage::Answer(Some(error.to_string())),
            (None, Some(_)) => StreamMessage::Answer(None),
            (None, None) => StreamMessage::Other,
        });
    };
    let Some(kline) = event.k.filter(|k| k.i == interval.as_str()) else {
        return Ok(StreamMessage::Other);
    };
    let closed = if kline.x {
        let prices = [&kline.o, &kline.h, &kline.l, &kline.c].map(String::as_str);
        let candle = candle(interval, kline.t, prices);
        Some(candle.map_err(|error| format!("{}: {error}", kline.s))?)
    } else {
        None
    };
    Ok(StreamMessage::Kline {
        symbol: kline
            .s
            .parse()
            .map_err(|_| format!("stream message: symbol {:?}", kline.s))?,
        sent: UtcMs(event.sent),
        closed,
    })
}

/// Reads a row of REST klines: open time, open, high, low, close, and more that is not read.
///
/// # Errors
/// One line: the row's shape is another one, or it breaks a candle's rules.
pub(crate) fn candle_of_row(interval: Interval, row: &[Cell]) -> Result<Candle, String> {
    let [
        Cell::Integer(open_time),
        Cell::String(open),
        Cell::String(high),
        Cell::String(low),
        Cell::String(close),
        ..,
    ] = row
    else {
        return Err("a kline is not [number, text, text, text, text, …]".to_owned());
    };
    candle(interval, *open_time, [open, high, low, close])
}

fn candle(interval: Interval, open_time: i64, prices: [&str; 4]) -> Result<Candle, String> {
    let at = UtcMs(open_time);
    let price = |field: &str, text: &str| {
        text.parse::<Price>()
            .map_err(|error| format!("candle {at}: {field}: {error}"))
    };
    let [open, high, low, close] = prices;
    let (open, high) = (price("open", open)?, price("high", high)?);
    let (low, close) = (price("low", low)?, price("close", close)?);
    Candle::new(interval, at, open, high, low, close).map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
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
    fn a_closed_candle_comes_with_the_exchanges_time() {
        let decoded = decode(&message(CLOSED), Interval::M1).unwrap();
        let StreamMessage::Kline {
            symbol,
            sent,
            closed: Some(candle),
        } = decoded
        else {
            panic!("{decoded:?}");
        };
        assert_eq!(
            (symbol.as_str(), sent),
            ("BTCUSDT", UtcMs(1_640_995_260_005))
        );
        assert_eq!(candle.open_time, UtcMs(1_640_995_200_000));
        assert_eq!(candle.open.to_string(), "46319.5");
    }

    #[test]
    fn a_running_candle_brings_only_the_exchanges_time() {
        let running = message(&CLOSED.replace("true", "false"));
        let decoded = decode(&running, Interval::M1).unwrap();
        assert!(
            matches!(decoded, StreamMessage::Kline { closed: None, .. }),
            "{decoded:?}"
        );
    }

    #[test]
    fn answers_and_other_messages_are_distinguished() {
        let error = r#"{"error":{"code":2,"msg":"Invalid request"},"id":"x"}"#;
        for (text, expected) in [
            (r#"{"result":null,"id":"a1"}"#, StreamMessage::Answer(None)),
            (
                error,
                StreamMessage::Answer(Some(r#"{"code":2,"msg":"Invalid request"}"#.to_owned())),
            ),
            (
                r#"{"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1}}"#,
                StreamMessage::Other,
            ),
        ] {
            assert_eq!(decode(text, Interval::M1).unwrap(), expected, "{text}");
        }
        let other = decode(&message(CLOSED), Interval::M5).unwrap();
        assert_eq!(other, StreamMessage::Other, "another interval's candle");
    }

    #[test]
    fn a_broken_candle_is_named_and_not_believed() {
        for (from, to, named) in [
            ("46319.50", "NaN", "open"),
            ("46321.1", "46319.9", "high is 46319.9"),
            ("1640995200000", "1640995200001", "a multiple of 1m"),
        ] {
            let text = message(&CLOSED.replace(from, to));
            let refused = decode(&text, Interval::M1).unwrap_err();
            assert!(
                refused.contains(named) && refused.contains("BTCUSDT"),
                "{refused}"
            );
        }
        assert!(decode("{\"data\":", Interval::M1).is_err());
    }

    #[test]
    fn a_rest_row_is_read_by_place() {
        let text = |t: &str| Cell::String(t.to_owned());
        let mut row = vec![
            Cell::Integer(0),
            text("2"),
            text("3"),
            text("1"),
            text("2.5"),
        ];
        row.push(text("volume"));
        let candle = candle_of_row(Interval::M1, &row).unwrap();
        assert_eq!(
            (candle.high.to_string(), candle.close.to_string()),
            ("3".into(), "2.5".into())
        );
        assert!(candle_of_row(Interval::M1, &row[..4]).is_err());
        row.swap(0, 1);
        assert!(candle_of_row(Interval::M1, &row).is_err());
    }
}
