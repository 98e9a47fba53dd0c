//! Helpers: a book with a journal, candles from plain numbers, a seeded price walk.

use bearish_trader_core::book::{
    BookConfig, BookEvent, BookPhase, BookRecord, BookState, DecisionInputs, EntryPermission,
    decide,
};
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::entry::SignalRejection;
use bearish_trader_core::fixed_point::Price;
use bearish_trader_core::protections::Protections;
use bearish_trader_core::strategy::{Signal, Strategy};
use bearish_trader_core::symbol_filters::SymbolFilters;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

pub(crate) const MINUTE: i64 = 60_000;

pub(crate) fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(crate) fn price(text: &str) -> Price {
    text.parse().unwrap()
}

/// BTCUSDT's grids as Binance has them.
pub(crate) fn filters() -> SymbolFilters {
    SymbolFilters {
        symbol: "BTCUSDT".parse().unwrap(),
        tick: price("0.1"),
        lot: "0.001".parse().unwrap(),
        min_qty: "0.001".parse().unwrap(),
        max_qty: "1000".parse().unwrap(),
        min_notional: dec("5"),
    }
}

/// A one-minute candle that opens at this minute.
pub(crate) fn candle(minute: i64, prices: [&str; 4]) -> Candle {
    let [open, high, low, close] = prices.map(price);
    Candle::new(Interval::M1, UtcMs(minute * MINUTE), open, high, low, close).unwrap()
}

/// A signal of the bar that closes at this minute, at 40,000 with an ATR of 400. It makes a bracket
/// of 0.25 with stop 39,600 and target 40,600 (long), or stop 40,480 and target 39,520 (short).
pub(crate) fn signal(strategy: Strategy, bar_close_minute: i64) -> Signal {
    Signal {
        strategy,
        side: strategy.side(),
        bar_close: UtcMs(bar_close_minute * MINUTE),
        reference_price: price("40000"),
        atr: price("400"),
        rsi: dec("24.5"),
        regime: None,
        halvings: 0,
    }
}

/// Inputs at this exchange time that permit entries.
pub(crate) fn inputs_at(ms: i64) -> DecisionInputs {
    DecisionInputs {
        exchange_time: UtcMs(ms),
        entry_permission: EntryPermission::Allowed { seq: 7 },
        is_exchange_failing: false,
    }
}

/// One-minute candles, 0.06 % fee, 0.02 % slippage; no funding and no protections, which have tests of
/// their own. The strategies are named, so that a further one does not change golden files.
pub(crate) fn config() -> BookConfig {
    BookConfig {
        strategies: vec![
            Strategy::AdaptiveOversoldBounce,
            Strategy::AdaptiveShortTheRip,
            Strategy::OversoldBounce,
            Strategy::ShortTheRip,
        ],
        // With the headroom of an order's margin, 10,000 buy 0.25 at 40,000.
        leverage: dec("1.002"),
        funding_rate: Decimal::ZERO,
        protections: Protections::NONE,
        ..BookConfig::default()
    }
}

/// A book with its journal, as the trader process keeps it.
#[derive(Clone)]
pub(crate) struct Book {
    pub(crate) config: BookConfig,
    pub(crate) filters: SymbolFilters,
    pub(crate) state: BookState,
    pub(crate) journal: Vec<BookRecord>,
}

impl Book {
    /// A book with a writer and capital.
    pub(crate) fn opened(config: BookConfig, rules: SymbolFilters, capital: Decimal) -> Self {
        let mut book = Self {
            config,
            filters: rules,
            state: BookState::default(),
            journal: Vec::new(),
        };
        book.change_writer("boot-1");
        book.handle_event(BookEvent::CapitalAllocated { capital });
        book
    }

    /// A book with a capital of 10,000 USDT.
    pub(crate) fn usual() -> Self {
        Self::opened(config(), filters(), dec("10000"))
    }

    pub(crate) fn change_writer(&mut self, boot: &str) {
        self.handle_event(BookEvent::WriterChanged {
            boot: boot.parse().unwrap(),
            instance: "trader-paper-1".parse().unwrap(),
        });
    }

    /// Records that the event leads to, without applying them.
    pub(crate) fn decide_only(&self, event: BookEvent) -> Vec<BookRecord> {
        decide(&self.state, &self.config, &self.filters, event)
    }

    /// Decides the event and applies its records; returns them.
    pub(crate) fn handle_event(&mut self, event: BookEvent) -> Vec<BookRecord> {
        let records = self.decide_only(event);
        self.state.apply_all(&records).unwrap();
        self.journal.extend(records.iter().cloned());
        records
    }

    /// A candle that is processed the moment it closes.
    pub(crate) fn candle(&mut self, candle: Candle, signal: Option<Signal>) -> Vec<BookRecord> {
        let close = self.config.base.close_of(candle.open_time);
        self.handle_event(BookEvent::CandleClosed {
            candle,
            signal,
            inputs: inputs_at(close.0),
        })
    }

    /// The book as another process reads it: from its journal alone, through JSON.
    pub(crate) fn recovered(&self, records: usize) -> Self {
        let mut state = BookState::default();
        let journal = self.journal[..records].to_vec();
        for record in &journal {
            let json = serde_json::to_string(record).unwrap();
            let read: BookRecord = serde_json::from_str(&json).unwrap();
            assert_eq!(&read, record, "{json}");
            state.apply(&read).unwrap();
        }
        Self {
            state,
            journal,
            ..self.clone()
        }
    }

    /// The journal without the records of restarts.
    pub(crate) fn decisions(&self) -> Vec<BookRecord> {
        let is_decision = |r: &&BookRecord| !matches!(r, BookRecord::WriterChanged { .. });
        self.journal.iter().filter(is_decision).cloned().collect()
    }
}

/// `SplitMix64`: random numbers for a price walk, the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((z ^ (z >> 31)) % bound).unwrap()
    }

    pub(crate) fn around_zero(&mut self, reach: u64) -> i64 {
        self.below(2 * reach + 1) - i64::try_from(reach).unwrap()
    }
}

/// Candles of a random walk from 40,000, moves up to 0.35 % a candle, no gaps in time.
pub(crate) fn walk(seed: u64, interval: Interval, candles: i64) -> Vec<Candle> {
    const TICK: i64 = 10_000_000;
    let mut chance = Random(seed);
    let mut last = 400_000;
    (0..candles)
        .map(|n| {
            let open = last + chance.around_zero(20);
            let close = (open + open * chance.around_zero(3_500) / 1_000_000).max(1_000);
            let high = open.max(close) + chance.below(open.unsigned_abs() / 1_000);
            let low = open.min(close) - chance.below(open.unsigned_abs() / 1_000);
            last = close;
            let [open, high, low, close] =
                [open, high, low, close].map(|ticks| Price::from_units(ticks * TICK));
            let at = UtcMs(n * interval.millis());
            Candle::new(interval, at, open, high, low, close).unwrap()
        })
        .collect()
}

pub(crate) const CALM: [&str; 4] = ["40000", "40000", "40000", "40000"];

/// A usual book whose bar closed at minute 30, with the candle that opens at 29.
pub(crate) fn pending(strategy: Strategy) -> Book {
    let mut book = Book::usual();
    let records = book.candle(candle(29, CALM), Some(signal(strategy, 30)));
    assert!(matches!(records[..], [BookRecord::EntryDecided(_)]));
    book
}

/// Filled at 40,008 (long) or 39,992 (short).
pub(crate) fn open(strategy: Strategy) -> Book {
    let mut book = pending(strategy);
    book.candle(candle(30, CALM), None);
    assert!(matches!(book.state.phase, BookPhase::Open(_)));
    book
}

pub(crate) fn signal_found(strategy: Strategy, bar_close: i64, now_ms: i64) -> BookEvent {
    BookEvent::SignalFound {
        signal: signal(strategy, bar_close),
        inputs: inputs_at(now_ms),
    }
}

pub(crate) fn candle_closed(candle: Candle, now_ms: i64) -> BookEvent {
    BookEvent::CandleClosed {
        candle,
        signal: None,
        inputs: inputs_at(now_ms),
    }
}

/// The record of a rejected signal of this bar.
pub(crate) fn signal_rejected(
    strategy: Strategy,
    bar_close_minute: i64,
    reason: SignalRejection,
) -> Vec<BookRecord> {
    vec![BookRecord::SignalRejected {
        bar_close: UtcMs(bar_close_minute * MINUTE),
        strategy,
        reason,
    }]
}
