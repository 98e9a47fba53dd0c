//! History of a market: long enough for the longest warm-up, and longer candles that
//! equal their base candles merged.

use std::fmt::Write as _;

use exchange_sim::candle::Candle;
use exchange_sim::candle_store::CandleRange;
use exchange_sim::exchange::Limits;
use exchange_sim::interval::Interval;
use exchange_sim::market::Market;
use exchange_sim::market::replay::Recording;
use exchange_sim::market::synthetic::{HISTORY_START_MS, OPENS_MS, SyntheticSource};
use exchange_sim::settings::DEFAULT_SEED;
use exchange_sim::symbols::{CATALOGUE, Contract};

use crate::support::{CandleFile, MIDNIGHT_MS, MINUTE_MS, klines, start};

/// Intervals of a trader's warm-up, with the number of closed candles.
const WARM_UP: [Interval; 3] = [Interval::M30, Interval::H1, Interval::H4];
const WARM_UP_COUNT: usize = 1_500;

#[tokio::test]
async fn every_contract_opens_with_a_whole_warm_up_of_closed_candles() {
    let names: Vec<&str> = CATALOGUE.iter().map(|c| c.symbol).collect();
    let exchange = start(&["--symbols", &names.join(",")]).await;
    for symbol in names {
        for interval in WARM_UP {
            let ends = interval.bucket(OPENS_MS);
            let query = format!(
                "symbol={symbol}&interval={interval}&limit={WARM_UP_COUNT}&endTime={}",
                ends - 1
            );
            let rows = klines(exchange.address, &query).await;
            let opens: Vec<i64> = rows.iter().map(|r| r[0].as_i64().unwrap()).collect();
            assert_eq!(opens.len(), WARM_UP_COUNT, "{symbol} {interval}");
            assert!(
                opens.is_sorted_by(|a, b| a + interval.ms() == *b),
                "{symbol} {interval}: a gap"
            );
            assert_eq!(opens.last(), Some(&(ends - interval.ms())));
        }
    }
    exchange.stop().await;
}

#[test]
fn synthetic_half_hours_and_hours_equal_their_minutes() {
    let listed: Vec<&'static Contract> = vec![&CATALOGUE[1]];
    let minutes = minutes_from_the_source(&listed);
    let mut market = Market::synthetic(DEFAULT_SEED, listed);
    market.advance(OPENS_MS);
    for interval in WARM_UP {
        let candles = closed(&market, interval, OPENS_MS);
        assert!(candles.len() >= WARM_UP_COUNT, "{interval}");
        assert_adds_up(&candles, interval, &minutes, Interval::M1);
    }
}

/// All minutes of the history, more than the candle store keeps.
fn minutes_from_the_source(listed: &[&'static Contract]) -> Vec<Candle> {
    let mut source = SyntheticSource::new(DEFAULT_SEED, listed);
    let (mut next, mut minutes) = (Vec::new(), Vec::new());
    for _ in 0..(OPENS_MS - HISTORY_START_MS) / MINUTE_MS {
        source.next_minute(&mut next);
        minutes.append(&mut next);
    }
    minutes
}

#[test]
fn replayed_hours_equal_their_candles_for_every_file_interval() {
    let contract = Contract::find("BTCUSDT").unwrap();
    for base in Interval::RECORDED {
        let file = candle_file_of(base);
        let recording = Recording::read(&file.path(), contract).unwrap();
        let mut market = Market::replay(recording, contract, 0);
        let now = FILE_FROM_MS + 20 * Interval::H1.ms();
        market.advance(now);
        let bases = closed(&market, base, now);
        for (interval, first, last) in [(Interval::H1, 2, 20), (Interval::H4, 4, 16)] {
            let candles = closed(&market, interval, now);
            let hour = |index: i64| MIDNIGHT_MS + index * Interval::H1.ms();
            assert_eq!(candles[0].open_time, hour(first), "{base}: the first whole");
            assert_eq!(candles.last().unwrap().open_time, hour(last), "{base}");
            assert_adds_up(&candles, interval, &bases, base);
        }
    }
}

#[tokio::test]
async fn a_replayed_market_serves_the_hours_of_its_warm_up() {
    let file = candle_file_of(Interval::M15);
    let arguments = ["--warmup-candles", "80"];
    let exchange = file.replay(&arguments, Limits::default()).await.unwrap();
    for (interval, opens_at) in [("1h", (2..=21).collect()), ("4h", vec![4, 8, 12, 16, 20])] {
        let query = format!("symbol=BTCUSDT&interval={interval}&limit=1500");
        let rows = klines(exchange.address, &query).await;
        let opens = rows.iter().map(|r| r[0].as_i64().unwrap() - MIDNIGHT_MS);
        let hours: Vec<i64> = opens.map(|ms| ms / Interval::H1.ms()).collect();
        assert_eq!(hours, opens_at, "{interval}, the running one last");
    }
    exchange.stop().await;
}

/// Half past one: within an hour and within four.
const FILE_FROM_MS: i64 = MIDNIGHT_MS + 90 * MINUTE_MS;

/// Candles of `base` that differ in all fields.
fn candle_file_of(base: Interval) -> CandleFile {
    let mut text = "open_time,open,high,low,close,volume,quote_volume\n".to_owned();
    for index in 0..36 * Interval::H1.ms() / base.ms() {
        let time = FILE_FROM_MS + index * base.ms();
        let at = |index: i64| 40_000 + index * 7_919 % 1_009;
        let (open, close) = (at(index), at(index + 1));
        let high = open.max(close) + index * 31 % 97;
        let low = open.min(close) - index * 37 % 89;
        let (volume, quote) = (1 + index * 13 % 11, 50_000 + index * 17 % 1_013);
        writeln!(
            text,
            "{time},{open},{high},{low},{close},{volume}.5,{quote}"
        )
        .unwrap();
    }
    CandleFile::from_text(&text)
}

/// All candles of the first contract that have closed by `now_ms`.
fn closed(market: &Market, interval: Interval, now_ms: i64) -> Vec<Candle> {
    let span = CandleRange {
        start: None,
        end: Some(now_ms - interval.ms()),
        limit: usize::MAX,
    };
    market.candles(0, interval, &span, now_ms)
}

/// Compares each candle with its merged parts.
fn assert_adds_up(candles: &[Candle], interval: Interval, parts: &[Candle], base: Interval) {
    let per_candle = usize::try_from(interval.ms() / base.ms()).unwrap();
    for candle in candles {
        let from = parts.partition_point(|p| p.open_time < candle.open_time);
        let own = &parts[from..from + per_candle];
        let last_open = candle.open_time + interval.ms() - base.ms();
        assert_eq!(own[per_candle - 1].open_time, last_open, "{base}: a gap");
        assert_eq!(*candle, sum(own), "{interval} of {base}");
    }
}

/// The candle that `parts` make, by definition.
fn sum(parts: &[Candle]) -> Candle {
    let total = |amount: fn(&Candle) -> i64| parts.iter().map(amount).sum();
    Candle {
        open_time: parts[0].open_time,
        open: parts[0].open,
        high: parts.iter().map(|c| c.high).max().unwrap(),
        low: parts.iter().map(|c| c.low).min().unwrap(),
        close: parts[parts.len() - 1].close,
        volume: total(|c| c.volume),
        quote_volume: total(|c| c.quote_volume),
        taker_volume: total(|c| c.taker_volume),
        taker_quote_volume: total(|c| c.taker_quote_volume),
        trades: total(|c| c.trades),
    }
}
