//! What a restart costs: a journal of a million records read and folded, and a snapshot with the journal
//! behind it. Reading is from JSON in memory; the bus's part is not here.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros write undocumented functions; a panic is how a measurement fails"
)]

mod market;

use std::hint::black_box;

use bearish_engine::book::{BookConfig, BookEvent, BookRecord, BookState, Leave, Now, decide};
use bearish_engine::candle::{Candle, Interval};
use bearish_engine::market::MarketView;
use bearish_engine::protections::Protections;
use bearish_engine::strategy::{Signal, Strategy};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use market::{rules, year};

const RECORDS: usize = 1_000_000;
/// About a month of one book's trades.
const TAIL: usize = 400;

type Entry = JournalEntry<BookRecord>;

/// What a trader's snapshot holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    state: BookState,
    view: MarketView,
}

/// A book that does nothing but trade, by turns with profit and loss, and its journal.
struct Busy {
    config: BookConfig,
    state: BookState,
    journal: Vec<Entry>,
    records: usize,
    minute: i64,
}

impl Busy {
    fn new() -> Self {
        let protections = "CooldownPeriod:1m,StoplossGuard:4/24h/4h".parse();
        let mut busy = Self {
            config: BookConfig {
                protections: protections.unwrap_or(Protections::NONE),
                ..BookConfig::default()
            },
            state: BookState::default(),
            journal: Vec::new(),
            records: 0,
            minute: 0,
        };
        busy.on(BookEvent::TookOver {
            boot: "boot-1".parse().unwrap(),
            instance: "trader-paper-1".parse().unwrap(),
        });
        let capital = Decimal::from(10_000);
        busy.on(BookEvent::Opened { capital });
        busy
    }

    fn on(&mut self, event: BookEvent) {
        let records = decide(&self.state, &self.config, &rules(), event);
        self.state.apply_all(&records).unwrap();
        if records.is_empty() {
            return;
        }
        self.records += records.len();
        self.journal.push(JournalEntry {
            v: 1,
            writer: "boot-1".parse().unwrap(),
            id: self.journal.len() as u64,
            at: UtcMs(self.minute * 60_000),
            confirmed: self.journal.len() as u64,
            records,
        });
    }

    /// The next minute, with prices in whole units of the quote currency.
    fn candle(&mut self, prices: [i64; 4], signal: Option<Signal>) {
        let [open, high, low, close] = prices.map(|p| p.to_string().parse().unwrap());
        let at = UtcMs(self.minute * 60_000);
        let candle = Candle::new(Interval::M1, at, open, high, low, close).unwrap();
        self.minute += 1;
        self.on(BookEvent::CandleClosed {
            candle,
            signal,
            now: Now {
                market: Interval::M1.close_of(at),
                account: Leave::Given { seq: 7 },
                exchange_fails: false,
            },
        });
    }

    /// In at 40,000, out at stop or target; the next day begins when protections ask for a pause.
    fn trade(&mut self, wins: bool) {
        let signal = Signal {
            strategy: Strategy::OversoldBounce,
            side: Strategy::OversoldBounce.side(),
            bar_close: UtcMs((self.minute + 1) * 60_000),
            reference: "40000".parse().unwrap(),
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

fn long_journal() -> Busy {
    let mut busy = Busy::new();
    let mut trades = 0_u64;
    while busy.records < RECORDS {
        // Two of five win, and a win is worth half as much again as a loss.
        busy.trade(trades % 5 < 2);
        trades += 1;
    }
    busy
}

fn folded(entries: &[Entry]) -> BookState {
    let mut state = BookState::default();
    for entry in entries {
        state.fold(entry).unwrap();
    }
    state
}

fn parsed(lines: &[Vec<u8>]) -> Vec<Entry> {
    lines
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn lines(entries: &[Entry]) -> Vec<Vec<u8>> {
    let line = |entry: &Entry| serde_json::to_vec(entry).unwrap();
    entries.iter().map(line).collect()
}

fn journal(criterion: &mut Criterion) {
    let busy = long_journal();
    let json = lines(&busy.journal);
    assert_eq!(folded(&parsed(&json)), busy.state);
    let mut group = criterion.benchmark_group("a journal of a million records");
    group.sample_size(10);
    group.throughput(Throughput::Elements(busy.records as u64));
    group.bench_function("fold", |bencher| {
        bencher.iter(|| black_box(folded(&busy.journal)));
    });
    group.bench_function("read and fold", |bencher| {
        bencher.iter(|| {
            let mut state = BookState::default();
            for line in &json {
                let entry: Entry = serde_json::from_slice(line).unwrap();
                state.fold(&entry).unwrap();
            }
            black_box(state)
        });
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let mut view = MarketView::new(Interval::M1, Strategy::ALL.to_vec()).unwrap();
    for candle in year(1) {
        view.candle_closed(&candle).unwrap();
    }
    let busy = long_journal();
    let (before, tail) = busy.journal.split_at(busy.journal.len() - TAIL);
    let kept = Kept {
        state: folded(before),
        view,
    };
    let (kept, tail) = (serde_json::to_vec(&kept).unwrap(), lines(tail));
    criterion.bench_function("a snapshot and 400 decisions behind it", |bencher| {
        bencher.iter(|| {
            let Kept { mut state, view } = serde_json::from_slice(&kept).unwrap();
            for entry in parsed(&tail) {
                state.fold(&entry).unwrap();
            }
            black_box((state, view))
        });
    });
}

criterion_group!(recovery, journal, snapshot);
criterion_main!(recovery);
