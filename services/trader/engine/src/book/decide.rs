//! What a book does about an event: the other half of the table in `book`. Changes nothing itself.

use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookConfig, BookRecord, BookState, DropReason, Entry, Phase, Position, Trade};
use crate::candle::{Candle, Interval};
use crate::entry::{Bracket, Refusal, bracket};
use crate::paper::{self, Leg};
use crate::rules::SymbolRules;
use crate::strategy::Signal;

/// What happened to a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookEvent {
    /// A process has its lease.
    TookOver {
        /// This run of the process.
        boot: Token,
        /// Its name.
        instance: Token,
    },
    /// Capital was set aside for it; more than zero. Changes a book only once.
    Opened {
        /// In the quote currency.
        capital: Decimal,
    },
    /// A base candle closed. They come in order; repeated ones are harmless.
    CandleClosed {
        /// The candle.
        candle: Candle,
        /// What [`crate::market::MarketView::candle_closed`] saw in it.
        signal: Option<Signal>,
        /// The exchange's time when this is decided.
        market_now: UtcMs,
    },
    /// The newest bar of the warm-up has a signal: it may have closed while nobody watched.
    SignalFound {
        /// The signal.
        signal: Signal,
        /// The exchange's time when this is decided.
        market_now: UtcMs,
    },
    /// Something broke that needs a person.
    Failed {
        /// What, in one line.
        reason: String,
    },
}

/// What to append to the journal, in one message, and then to apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// In order; empty when nothing changes.
    pub records: Vec<BookRecord>,
    /// Set when a signal was turned down.
    pub refusal: Option<Refusal>,
}

impl Decision {
    fn one(record: BookRecord) -> Self {
        Self {
            records: vec![record],
            refusal: None,
        }
    }
}

/// Everything that is the same for one decision.
#[derive(Clone, Copy)]
struct Desk<'a> {
    config: &'a BookConfig,
    rules: &'a SymbolRules,
    market_now: UtcMs,
}

/// Decides one event. The same arguments give the same decision.
pub fn decide(
    state: &BookState,
    config: &BookConfig,
    rules: &SymbolRules,
    event: BookEvent,
) -> Decision {
    let desk = |market_now| Desk {
        config,
        rules,
        market_now,
    };
    match (&state.phase, event) {
        (_, BookEvent::TookOver { boot, instance }) => Decision::one(BookRecord::OwnerTookOver {
            boot,
            instance,
            config: config.clone(),
        }),
        (Phase::Halted { .. }, _)
        | (Phase::Unopened, BookEvent::CandleClosed { .. } | BookEvent::SignalFound { .. })
        | (Phase::Flat | Phase::EntryPending(_) | Phase::Open(_), BookEvent::Opened { .. }) => {
            Decision::default()
        }
        (Phase::Unopened, BookEvent::Opened { capital }) => Decision::one(BookRecord::BookOpened {
            capital,
            rules: rules.clone(),
        }),
        (_, BookEvent::Failed { reason }) => Decision::one(BookRecord::BookHalted { reason }),
        (_, BookEvent::SignalFound { signal, market_now }) => {
            desk(market_now).judge(state, &signal)
        }
        (
            _,
            BookEvent::CandleClosed {
                candle,
                signal,
                market_now,
            },
        ) => desk(market_now).candle_closed(state, &candle, signal.as_ref()),
    }
}

impl Desk<'_> {
    /// First what the candle does to an entry or a position, then the signal at its close.
    fn candle_closed(
        self,
        state: &BookState,
        candle: &Candle,
        signal: Option<&Signal>,
    ) -> Decision {
        if state.used_candle >= Some(candle.open_time) {
            return Decision::default();
        }
        let records = match &state.phase {
            Phase::EntryPending(entry) => self.enter(state, entry, candle),
            Phase::Open(position) => self.exit(state, position, candle).into_iter().collect(),
            Phase::Unopened | Phase::Flat | Phase::Halted { .. } => Vec::new(),
        };
        let Some(signal) = signal else {
            return Decision {
                records,
                refusal: None,
            };
        };
        if records.is_empty() {
            return self.judge(state, signal);
        }
        self.judge_after(state, records, signal)
    }

    /// Judges a signal as the book will be once `records` are folded.
    fn judge_after(self, state: &BookState, records: Vec<BookRecord>, signal: &Signal) -> Decision {
        let mut after = state.clone();
        let judged = match after.apply_all(&records) {
            Ok(()) => self.judge(&after, signal),
            // The caller meets the same error when it applies them.
            Err(_) => Decision::default(),
        };
        Decision {
            records: records.into_iter().chain(judged.records).collect(),
            refusal: judged.refusal,
        }
    }

    /// Fills or drops a pending entry. Candles before its own change nothing.
    fn enter(self, state: &BookState, entry: &Entry, candle: &Candle) -> Vec<BookRecord> {
        let at = candle.open_time;
        if at < entry.enter_at {
            return Vec::new();
        }
        match self.fill(entry, candle) {
            Err(reason) => vec![BookRecord::EntryDropped { at, reason }],
            Ok(position) => [BookRecord::PositionOpened(position)]
                .into_iter()
                .chain(self.exit(state, &position, candle))
                .collect(),
        }
    }

    fn fill(self, entry: &Entry, candle: &Candle) -> Result<Position, DropReason> {
        if candle.open_time != entry.enter_at {
            return Err(DropReason::CandleMissing);
        }
        if !self.is_fresh(self.config.base.close_of(candle.open_time)) {
            return Err(DropReason::TooLate);
        }
        let Entry { side, quantity, .. } = *entry;
        if !paper::better(side, candle.open, entry.stop) {
            return Err(DropReason::OpenBeyondStop);
        }
        let (slippage, tick) = (self.config.slippage, self.rules.tick);
        let price = paper::market_fill(candle.open, side, Leg::Entry, slippage, tick);
        if !paper::better(side, entry.target, price) {
            return Err(DropReason::FillBeyondTarget);
        }
        Ok(Position {
            at: candle.open_time,
            strategy: entry.strategy,
            side,
            quantity,
            price,
            fee: paper::fee(price, quantity, self.config.fee_rate),
            stop: entry.stop,
            target: entry.target,
        })
    }

    fn exit(self, state: &BookState, position: &Position, candle: &Candle) -> Option<BookRecord> {
        let (slippage, tick) = (self.config.slippage, self.rules.tick);
        let exit = paper::exit(position, candle, slippage, tick)?;
        let Position { side, quantity, .. } = *position;
        let fee = paper::fee(exit.price, quantity, self.config.fee_rate);
        let gross = paper::gross(side, position.price, exit.price, quantity);
        let pnl = (gross - position.fee - fee).normalize();
        Some(BookRecord::PositionClosed(Trade {
            at: candle.open_time,
            strategy: position.strategy,
            side,
            quantity,
            entry: position.price,
            price: exit.price,
            fee,
            reason: exit.reason,
            pnl,
            equity: state.equity.saturating_add(pnl).normalize(),
        }))
    }

    /// An entry for a signal, or why not. A bar that was entered on, or whose entry candle has been
    /// used, is past: not even a refusal.
    fn judge(self, state: &BookState, signal: &Signal) -> Decision {
        let enter_at = first_open_from(self.config.base, signal.bar_close);
        if state.entered_bar >= Some(signal.bar_close) || state.used_candle >= Some(enter_at) {
            return Decision::default();
        }
        match self.gates(state, signal) {
            Ok(bracket) => Decision::one(entry_decided(signal, enter_at, bracket)),
            Err(refusal) => Decision {
                records: Vec::new(),
                refusal: Some(refusal),
            },
        }
    }

    fn gates(self, state: &BookState, signal: &Signal) -> Result<Bracket, Refusal> {
        if state.phase != Phase::Flat {
            return Err(Refusal::PositionOpen);
        }
        if !self.is_fresh(signal.bar_close) {
            return Err(Refusal::StaleSignal);
        }
        bracket(signal, state.equity, self.config.leverage, self.rules)
    }

    /// Whether what closed then is at most one base interval old.
    const fn is_fresh(self, close: UtcMs) -> bool {
        self.market_now.0.saturating_sub(close.0) <= self.config.base.millis()
    }
}

fn entry_decided(signal: &Signal, enter_at: UtcMs, bracket: Bracket) -> BookRecord {
    BookRecord::EntryDecided(Entry {
        strategy: signal.strategy,
        side: signal.side,
        bar_close: signal.bar_close,
        enter_at,
        reference: signal.reference,
        quantity: bracket.quantity,
        stop: bracket.stop,
        target: bracket.target,
        atr: signal.atr,
        rsi: signal.rsi,
    })
}

/// Open time of the first candle that does not open before `at`.
fn first_open_from(base: Interval, at: UtcMs) -> UtcMs {
    let open_time = base.open_of(at);
    if open_time == at {
        at
    } else {
        base.close_of(open_time)
    }
}
