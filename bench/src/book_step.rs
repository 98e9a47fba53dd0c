//! Measures one step of a book: a closed candle is received, and the decision is journaled, acknowledged and applied.
//! Uses a real nats-server with the project's configuration (`sync_interval: always`) and no exchange. Only steps
//! with a decision count: the others journal nothing.

use std::time::Instant;

use bearish_tests::nats::{NatsServer, Role};
use clap::Args;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::journal::Journal;
use rust_decimal::Decimal;
use trader_core::book::{
    BookConfig, BookEvent, BookRecord, BookState, DecisionInputs, EntryPermission, decide,
};
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;
use trader_core::market_state::MarketState;
use trader_core::strategy::{Signal, Strategy};
use trader_core::symbol_filters::SymbolFilters;

use crate::stats::{format_millis, rank};

const BASE: Interval = Interval::M1;

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Number of steps with a decision
    #[arg(long, default_value_t = 2_000)]
    steps: usize,
}

pub(crate) async fn measure(options: &Options) {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let key = "paper.binance-usdm.bench.BTCUSDT".parse().unwrap();
    let writer: SubjectToken = "bench".parse().unwrap();
    let opened = Journal::replay::<BookRecord>(&bus, &Subject::BookJournal(key), writer).await;
    let (mut journal, _) = opened.unwrap();
    let (config, rules, mut state) = new_book();
    let mut market = MarketState::new(BASE, config.strategies.clone()).unwrap();
    let mut spans = Vec::with_capacity(options.steps);
    for minute in 0.. {
        if spans.len() == options.steps {
            break;
        }
        let candle = swinging_candle(minute);
        let start = Instant::now();
        let _ = market.candle_closed(&candle).unwrap();
        let event = candle_event(candle);
        let records = decide(&state, &config, &rules, event);
        if records.is_empty() {
            continue;
        }
        journal
            .append(&records, 0, |reason| panic!("{reason}"))
            .await
            .unwrap();
        state.apply_all(&records).unwrap();
        spans.push(start.elapsed());
    }
    spans.sort_unstable();
    let rank = |percent| rank(&spans, percent);
    println!(
        "{:>6}  {:>8}  {:>8}  {:>8}   candle received to decision acknowledged",
        "steps", "p50", "p99", "max"
    );
    println!(
        "{:>6}  {:>8}  {:>8}  {:>8}",
        spans.len(),
        format_millis(rank(50)),
        format_millis(rank(99)),
        format_millis(rank(100))
    );
}

fn new_book() -> (BookConfig, SymbolFilters, BookState) {
    let rules = SymbolFilters {
        symbol: "BTCUSDT".parse().unwrap(),
        tick: "0.1".parse().unwrap(),
        lot: "0.001".parse().unwrap(),
        min_qty: "0.001".parse().unwrap(),
        max_qty: "1000".parse().unwrap(),
        min_notional: Decimal::from(5),
    };
    let mut state = BookState::default();
    let opened = BookRecord::BookOpened {
        capital: Decimal::from(10_000),
        filters: rules.clone(),
    };
    state.apply(&opened).unwrap();
    (BookConfig::default(), rules, state)
}

/// Candle of a price that swings by 2 % within half an hour, so that stops and targets are reached.
fn swinging_candle(minute: i64) -> Candle {
    let price = |at: i64| {
        let phase = at.rem_euclid(30);
        let swing = if phase < 15 { phase } else { 30 - phase };
        Price::from_units((40_000 + swing * 60) * 100_000_000)
    };
    let (open, close) = (price(minute), price(minute + 1));
    let at = UtcMs(minute * BASE.millis());
    Candle::new(BASE, at, open, open.max(close), open.min(close), close).unwrap()
}

/// Event of a closed candle with a signal, so that almost every step makes a decision.
fn candle_event(candle: Candle) -> BookEvent {
    let close = BASE.close_of(candle.open_time);
    let strategy = Strategy::OversoldBounce;
    let signal = Signal {
        strategy,
        side: strategy.side(),
        bar_close: close,
        reference_price: candle.close,
        atr: "300".parse().unwrap(),
        rsi: Decimal::from(25),
        regime: None,
        halvings: 0,
    };
    BookEvent::CandleClosed {
        candle,
        signal: Some(signal),
        inputs: DecisionInputs {
            exchange_time: close,
            entry_permission: EntryPermission::Allowed { seq: 1 },
            is_exchange_failing: false,
        },
    }
}
