//! Cost of a restart: a journal of a million records read and folded, and a snapshot with the journal
//! after it. Reads JSON from memory, without the bus.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros write undocumented functions; a panic is how a measurement fails"
)]

mod market;

use std::hint::black_box;

use bearish_trader_core::book::{
    BookConfig, BookEvent, BookRecord, BookState, DecisionInputs, EntryPermission, decide,
};
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::market_state::MarketState;
use bearish_trader_core::protections::Protections;
use bearish_trader_core::strategy::{Signal, Strategy};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use market::{filters, year};

const RECORDS: usize = 1_000_000;
/// About a month of one book's trades.
const TAIL: usize = 400;

type Batch = JournalBatch<BookRecord>;

/// Content of a trader's snapshot.
#[derive(Serialize, Deserialize)]
struct BenchSnapshot {
    state: BookState,
    market: MarketState,
}

/// A book that trades without pause, alternating profit and loss, with its journal.
struct BusyBook {
    config: BookConfig,
    state: BookState,
    batches: Vec<Batch>,
    records: usize,
    minute: i64,
}

impl BusyBook {
    fn new() -> Self {
        let protections = "CooldownPeriod:1m,StoplossGuard:4/24h/4h".parse();
        let mut busy = Self {
            config: BookConfig {
                protections: protections.unwrap_or(Protections::NONE),
                ..BookConfig::default()
            },
            state: BookState::default(),
            batches: Vec::new(),
            records: 0,
            minute: 0,
        };
        busy.handle_event(BookEvent::WriterChanged {
            boot: "boot-1".parse().unwrap(),
            instance: "trader-paper-1".parse().unwrap(),
        });
        let capital = Decimal::from(10_000);
        busy.handle_event(BookEvent::CapitalAllocated { capital });
        busy
    }

    fn handle_event(&mut self, event: BookEvent) {
        let records = decide(&self.state, &self.config, &filters(), event);
        self.state.apply_all(&records).unwrap();
        if records.is_empty() {
            return;
        }
        self.records += records.len();
        self.batches.push(JournalBatch {
            v: 1,
            writer: "boot-1".parse().unwrap(),
            batch_id: self.batches.len() as u64,
            at: UtcMs(self.minute * 60_000),
            events_published_seq: self.batches.len() as u64,
            records,
        });
    }

    /// The next minute, with prices in whole units of the quote currency.
    fn candle(&mut self, prices: [i64; 4], signal: Option<Signal>) {
        let [open, high, low, close] = prices.map(|p| p.to_string().parse().unwrap());
        let at = UtcMs(self.minute * 60_000);
        let candle = Candle::new(Interval::M1, at, open, high, low, close).unwrap();
        self.minute += 1;
        self.handle_event(BookEvent::CandleClosed {
            candle,
            signal,
            inputs: DecisionInputs {
                exchange_time: Interval::M1.close_of(at),
                entry_permission: EntryPermission::Allowed { seq: 7 },
                is_exchange_failing: false,
            },
        });
    }

    /// Enters at 40,000, exits at stop or target; skips to the next day when a protection locks entries.
    fn trade(&mut self, wins: bool) {
        let signal = Signal {
            strategy: Strategy::OversoldBounce,
            side: Strategy::OversoldBounce.side(),
            bar_close: UtcMs((self.minute + 1) * 60_000),
            reference_price: "40000".parse().unwrap(),
            atr: "400".parse().unwrap(),
            rsi: Decimal::new(245, 1),
            regime: None,
            halvings: 0,
        };
        self.candle([40_000; 4], Some(signal));
        self.candle([40_000; 4], None);
        if wins {
            self.candle([40_000, 40_700, 40_000, 40_600], None);
        } else {
            self.candle([40_000, 40_000, 39_500, 39_600], None);
        }
        self.minute += 600;
    }
}

fn long_journal() -> BusyBook {
    let mut busy = BusyBook::new();
    let mut trades = 0_u64;
    while busy.records < RECORDS {
        // Two of five win, and a win is worth half as much again as a loss.
        busy.trade(trades % 5 < 2);
        trades += 1;
    }
    busy
}

fn folded(batches: &[Batch]) -> BookState {
    let mut state = BookState::default();
    for entry in batches {
        state.fold(entry).unwrap();
    }
    state
}

fn parsed(lines: &[Vec<u8>]) -> Vec<Batch> {
    lines
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn lines(batches: &[Batch]) -> Vec<Vec<u8>> {
    let line = |entry: &Batch| serde_json::to_vec(entry).unwrap();
    batches.iter().map(line).collect()
}

fn journal(criterion: &mut Criterion) {
    let busy = long_journal();
    let json = lines(&busy.batches);
    assert_eq!(folded(&parsed(&json)), busy.state);
    let mut group = criterion.benchmark_group("a journal of a million records");
    group.sample_size(10);
    group.throughput(Throughput::Elements(busy.records as u64));
    group.bench_function("fold", |bencher| {
        bencher.iter(|| black_box(folded(&busy.batches)));
    });
    group.bench_function("read and fold", |bencher| {
        bencher.iter(|| {
            let mut state = BookState::default();
            for line in &json {
                let entry: Batch = serde_json::from_slice(line).unwrap();
                state.fold(&entry).unwrap();
            }
            black_box(state)
        });
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let mut view = MarketState::new(Interval::M1, Strategy::ALL.to_vec()).unwrap();
    for candle in year(1) {
        view.candle_closed(&candle).unwrap();
    }
    let busy = long_journal();
    let (before, tail) = busy.batches.split_at(busy.batches.len() - TAIL);
    let kept = BenchSnapshot {
        state: folded(before),
        market: view,
    };
    let (kept, tail) = (serde_json::to_vec(&kept).unwrap(), lines(tail));
    criterion.bench_function("a snapshot and 400 decisions behind it", |bencher| {
        bencher.iter(|| {
            let BenchSnapshot {
                mut state,
                market: view,
            } = serde_json::from_slice(&kept).unwrap();
            for entry in parsed(&tail) {
                state.fold(&entry).unwrap();
            }
            black_box((state, view))
        });
    });
}

criterion_group!(recovery, journal, snapshot);
criterion_main!(recovery);
