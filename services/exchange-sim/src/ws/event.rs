//! The kline event as Binance writes it, raw and under its stream's name; and stream names.

use serde::Serialize;

use super::hub::{Frame, StreamKey};
use crate::candle::Candle;
use crate::exchange::Exchange;
use crate::interval::{Interval, MINUTE_MS};
use crate::symbols::Contract;

/// Room for trade ids in one minute, so that ids grow with time and never repeat.
const TRADES_PER_MINUTE: i64 = 1_000_000;

#[derive(Serialize)]
struct Event<'a> {
    e: &'static str,
    #[serde(rename = "E")]
    said_at: i64,
    s: &'a str,
    k: Kline<'a>,
}

#[derive(Serialize)]
struct Kline<'a> {
    t: i64,
    #[serde(rename = "T")]
    close_time: i64,
    s: &'a str,
    i: &'a str,
    f: i64,
    #[serde(rename = "L")]
    last_trade: i64,
    o: String,
    c: String,
    h: String,
    l: String,
    v: String,
    n: i64,
    x: bool,
    q: String,
    #[serde(rename = "V")]
    taker_volume: String,
    #[serde(rename = "Q")]
    taker_quote_volume: String,
    #[serde(rename = "B")]
    ignore: &'static str,
}

#[derive(Serialize)]
struct Combined<'a> {
    stream: &'a str,
    data: &'a Event<'a>,
}

/// The frame for `candle`, said at `now_ms`.
///
/// # Errors
/// If it cannot be written as JSON, which numbers and names always can.
pub(crate) fn kline(
    contract: &Contract,
    interval: Interval,
    candle: &Candle,
    closed: bool,
    now_ms: i64,
) -> serde_json::Result<Frame> {
    let first_trade = candle.open_time / MINUTE_MS * TRADES_PER_MINUTE;
    let event = Event {
        e: "kline",
        said_at: now_ms,
        s: contract.symbol,
        k: Kline {
            t: candle.open_time,
            close_time: candle.open_time + interval.ms() - 1,
            s: contract.symbol,
            i: interval.name(),
            f: first_trade,
            last_trade: first_trade + candle.trades - 1,
            o: contract.price_digits(candle.open),
            c: contract.price_digits(candle.close),
            h: contract.price_digits(candle.high),
            l: contract.price_digits(candle.low),
            v: contract.quantity_digits(candle.volume),
            n: candle.trades,
            x: closed,
            q: contract.quote_digits(candle.quote_volume),
            taker_volume: contract.quantity_digits(candle.taker_volume),
            taker_quote_volume: contract.quote_digits(candle.taker_quote_volume),
            ignore: "0",
        },
    };
    let stream = stream_name(contract, interval);
    let combined = Combined {
        stream: &stream,
        data: &event,
    };
    Ok(Frame {
        raw: serde_json::to_string(&event)?.into(),
        combined: serde_json::to_string(&combined)?.into(),
    })
}

/// Binance's name of a kline stream, for instance `btcusdt@kline_30m`.
fn stream_name(contract: &Contract, interval: Interval) -> String {
    format!("{}@kline_{interval}", contract.symbol.to_ascii_lowercase())
}

/// The stream of this name, if the exchange serves it. Names are lower case, as at Binance.
pub(crate) fn find_stream(exchange: &Exchange, name: &str) -> Option<StreamKey> {
    let (symbol, kind) = name.split_once('@')?;
    let interval = Interval::from_name(kind.strip_prefix("kline_")?)?;
    let position = exchange
        .listed()
        .iter()
        .position(|c| c.symbol.to_ascii_lowercase() == symbol)?;
    let offered = exchange.at_once(|m| m.market.offers(interval));
    offered.then_some(StreamKey { position, interval })
}
