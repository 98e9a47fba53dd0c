//! Events of the public streams in Binance's JSON, raw and combined, and the names of streams.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;

use super::hub::{Frame, StreamKey, StreamKind};
use super::user_event::format_decimal;
use crate::candle::Candle;
use crate::exchange::Exchange;
use crate::interval::{Interval, MINUTE_MS};
use crate::symbols::Contract;
use crate::trading::exchange_state::FUNDING_RATE;
use crate::trading::funding::next_funding_ms;
use crate::trading::prices::Quote;

/// Trade ids reserved per minute, so that ids ascend and never repeat.
const TRADES_PER_MINUTE: i64 = 1_000_000;

#[derive(Serialize)]
struct KlineEvent<'a> {
    e: &'static str,
    #[serde(rename = "E")]
    event_time: i64,
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
struct Combined<'a, T> {
    stream: &'a str,
    data: &'a T,
}

/// Binance's code of contracts margined in USDT.
const USDS_MARGINED: i32 = 1;
/// Default interval of the mark price stream, in milliseconds.
const DEFAULT_MARK_PRICE_MS: i64 = 3_000;
/// Quantity at the best bid and ask.
pub(crate) const TOP_QUANTITY: &str = "10";

/// The frame of a candle at `now_ms`.
///
/// # Errors
/// [`serde_json::Error`], which numbers and names cannot cause.
pub(crate) fn kline(
    contract: &Contract,
    interval: Interval,
    candle: &Candle,
    closed: bool,
    now_ms: i64,
) -> serde_json::Result<Frame> {
    let first_trade = candle.open_time / MINUTE_MS * TRADES_PER_MINUTE;
    let event = KlineEvent {
        e: "kline",
        event_time: now_ms,
        s: contract.symbol,
        k: Kline {
            t: candle.open_time,
            close_time: candle.open_time + interval.ms() - 1,
            s: contract.symbol,
            i: interval.name(),
            f: first_trade,
            last_trade: first_trade + candle.trades - 1,
            o: contract.format_price(candle.open),
            c: contract.format_price(candle.close),
            h: contract.format_price(candle.high),
            l: contract.format_price(candle.low),
            v: contract.format_quantity(candle.volume),
            n: candle.trades,
            x: closed,
            q: contract.format_quote(candle.quote_volume),
            taker_volume: contract.format_quantity(candle.taker_volume),
            taker_quote_volume: contract.format_quote(candle.taker_quote_volume),
            ignore: "0",
        },
    };
    to_frame(contract, StreamKind::Kline(interval), &event)
}

/// The frame of best bid and ask at `now_ms`.
///
/// # Errors
/// As [`kline`].
pub(crate) fn book_ticker(
    contract: &Contract,
    quote: Quote,
    now_ms: i64,
) -> serde_json::Result<Frame> {
    let event = json!({
        "e": "bookTicker",
        "u": now_ms,
        "E": now_ms,
        "T": now_ms,
        "s": contract.symbol,
        "ps": contract.symbol,
        "b": format_decimal(quote.bid),
        "B": TOP_QUANTITY,
        "a": format_decimal(quote.ask),
        "A": TOP_QUANTITY,
        "st": USDS_MARGINED,
    });
    to_frame(contract, StreamKind::BookTicker, &event)
}

/// The frame of the mark price and the last price at `now_ms`. The index price is the last price here.
///
/// # Errors
/// As [`kline`].
pub(crate) fn mark_price(
    contract: &Contract,
    kind: StreamKind,
    [mark, last]: [Decimal; 2],
    now_ms: i64,
) -> serde_json::Result<Frame> {
    let (mark, index) = (format_decimal(mark), format_decimal(last));
    let event = json!({
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": contract.symbol,
        "p": mark,
        "ap": mark,
        "i": index,
        "P": index,
        "r": format_decimal(FUNDING_RATE),
        "T": next_funding_ms(now_ms),
        "st": USDS_MARGINED,
    });
    to_frame(contract, kind, &event)
}

fn to_frame(
    contract: &Contract,
    kind: StreamKind,
    event: &impl Serialize,
) -> serde_json::Result<Frame> {
    let symbol = contract.symbol.to_ascii_lowercase();
    let combined = Combined {
        stream: &format!("{symbol}@{}", kind.name()),
        data: event,
    };
    Ok(Frame {
        raw: serde_json::to_string(event)?.into(),
        combined: serde_json::to_string(&combined)?.into(),
    })
}

impl StreamKind {
    /// Name at Binance, such as `kline_30m`.
    fn name(self) -> String {
        match self {
            Self::Kline(interval) => format!("kline_{interval}"),
            Self::BookTicker => "bookTicker".to_owned(),
            Self::MarkPrice {
                every_ms: DEFAULT_MARK_PRICE_MS,
            } => "markPrice".to_owned(),
            Self::MarkPrice { every_ms } => format!("markPrice@{}s", every_ms / 1_000),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "bookTicker" => Some(Self::BookTicker),
            "markPrice" => Some(Self::MarkPrice {
                every_ms: DEFAULT_MARK_PRICE_MS,
            }),
            "markPrice@1s" => Some(Self::MarkPrice { every_ms: 1_000 }),
            kline => {
                let interval = Interval::from_name(kline.strip_prefix("kline_")?)?;
                Some(Self::Kline(interval))
            }
        }
    }
}

/// The stream of this name, with the symbol in lower case; `None` if the exchange does not serve it.
pub(crate) fn find_stream(exchange: &Exchange, name: &str) -> Option<StreamKey> {
    let (symbol, kind) = name.split_once('@')?;
    let kind = StreamKind::from_name(kind)?;
    let position = exchange
        .listed()
        .iter()
        .position(|c| c.symbol.to_ascii_lowercase() == symbol)?;
    let offered = match kind {
        StreamKind::Kline(interval) => {
            exchange.with_market_moment(|m| m.market.has_interval(interval))
        }
        StreamKind::BookTicker | StreamKind::MarkPrice { .. } => true,
    };
    offered.then_some(StreamKey {
        contract_index: position,
        kind,
    })
}
