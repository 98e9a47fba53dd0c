//! What a book does about an event: the other half of the table in `book`. Changes nothing itself.

use protocol::event::Side;
use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::live::{self, LiveEvent};
use crate::book::{
    BookConfig, BookRecord, BookState, DropReason, Entry, ExitReason, Phase, Position, Trade,
};
use crate::breaker::{Breaker, POSITION_LOSS};
use crate::candle::{Candle, Interval};
use crate::entry::{Bracket, Refusal, bracket};
use crate::fixed::{Price, SCALE};
use crate::paper::{self, Exit, Leg};
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
    /// Capital was set aside for it; more than zero. Opens a book, and changes a flat one's share.
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
        /// How things are when this is decided.
        now: Now,
    },
    /// The newest bar of the warm-up has a signal: it may have closed while nobody watched.
    SignalFound {
        /// The signal.
        signal: Signal,
        /// How things are when this is decided.
        now: Now,
    },
    /// A critical breaker latched the account: what is open is to be closed, what is pending dropped.
    Latched {
        /// Open time of the newest candle.
        at: UtcMs,
        /// The newest price.
        price: Price,
    },
    /// Something broke that needs a person.
    Failed {
        /// What, in one line.
        reason: String,
    },
    /// A person has looked at what broke.
    Released(Release),
    /// Only of a book that trades on an exchange.
    Live(LiveEvent),
}

/// A person's word that a halted book may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who says so.
    pub who: String,
    /// Why it may go on.
    pub why: String,
    /// When and at which price its position was closed on the exchange, if it is open no more.
    pub closed: Option<(UtcMs, Price)>,
}

/// What a decision depends on besides the book: all of it comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The exchange's time.
    pub market: UtcMs,
    /// Whether the account lets anyone enter.
    pub account: Leave,
    /// The exchange failed [`crate::breaker::EXCHANGE_ERRORS`] calls in a row.
    pub exchange_fails: bool,
}

/// Whether the account lets anyone enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It does.
    Given {
        /// Sequence in JOURNAL of the state that says so.
        seq: u64,
    },
    /// A critical breaker or an operator has latched it.
    Latched,
    /// An operator has stopped this book's entries.
    Paused,
    /// Its state cannot be read, or is too old.
    Unknown,
}

/// Places of a price times a quantity, both in whole units.
const LOSS_SCALE: u32 = 2 * SCALE;

/// Everything that is the same for one decision.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) config: &'a BookConfig,
    pub(super) rules: &'a SymbolRules,
}

/// Decides one event: what to append to the journal in one message, and then to apply. Empty when
/// nothing changes. The same arguments give the same records.
pub fn decide(
    state: &BookState,
    config: &BookConfig,
    rules: &SymbolRules,
    event: BookEvent,
) -> Vec<BookRecord> {
    let desk = Desk { config, rules };
    match (&state.phase, event) {
        (Phase::Halted { .. } | Phase::Unopened, BookEvent::Live(_)) => Vec::new(),
        (_, BookEvent::Live(event)) => live::decide(desk, state, event),
        (Phase::Halted { .. }, BookEvent::Released(release)) => desk.release(state, release),
        (_, BookEvent::TookOver { boot, instance }) => vec![BookRecord::OwnerTookOver {
            boot,
            instance,
            config: config.clone(),
            changes: match &state.config {
                Some(last) => last.differences(config),
                None => Vec::new(),
            },
        }],
        (Phase::Unopened, BookEvent::Opened { capital }) => vec![BookRecord::BookOpened {
            capital,
            rules: rules.clone(),
        }],
        (Phase::Flat, BookEvent::Opened { capital }) if capital != state.capital => {
            vec![BookRecord::CapitalChanged { capital }]
        }
        (
            Phase::Unopened,
            BookEvent::CandleClosed { .. }
            | BookEvent::SignalFound { .. }
            | BookEvent::Latched { .. },
        )
        | (Phase::Flat | Phase::EntryPending(_) | Phase::Open(_), BookEvent::Opened { .. })
        | (Phase::Flat, BookEvent::Latched { .. })
        // Its bar's last candle comes again, and may end what is open before the signal is judged.
        | (Phase::EntryPending(_) | Phase::Open(_), BookEvent::SignalFound { .. })
        | (Phase::Halted { .. }, _)
        | (_, BookEvent::Released(_)) => Vec::new(),
        (_, BookEvent::Failed { reason }) => vec![BookRecord::BookHalted { reason }],
        (Phase::Flat, BookEvent::SignalFound { signal, now }) => {
            desk.judge(state, &signal, now)
        }
        (
            _,
            BookEvent::CandleClosed {
                candle,
                signal,
                now,
            },
        ) if config.live.is_some() => {
            live::candle_closed(desk, state, &candle, signal.as_ref(), now)
        }
        (
            _,
            BookEvent::CandleClosed {
                candle,
                signal,
                now,
            },
        ) => desk.candle_closed(state, &candle, signal.as_ref(), now),
        // Its orders are closed by others: `LiveEvent::CloseNow`.
        (_, BookEvent::Latched { .. }) if config.live.is_some() => Vec::new(),
        (Phase::EntryPending(_), BookEvent::Latched { at, .. }) => {
            let reason = DropReason::AccountLatched;
            vec![BookRecord::EntryDropped { at, reason }]
        }
        (Phase::Open(position), BookEvent::Latched { at, price }) => {
            let exit = desk.market_exit(position, price, ExitReason::AccountLatched);
            desk.close(state, position, at, exit)
        }
    }
}

/// [`decide`] for [`BookEvent::CandleClosed`], without an event to make: a backtest asks this for every
/// candle of a year.
#[inline]
pub fn decide_candle(
    state: &BookState,
    config: &BookConfig,
    rules: &SymbolRules,
    candle: &Candle,
    signal: Option<&Signal>,
    now: Now,
) -> Vec<BookRecord> {
    match (&state.phase, signal) {
        (Phase::Unopened | Phase::Halted { .. }, _) | (Phase::Flat, None) => Vec::new(),
        (Phase::Flat | Phase::EntryPending(_) | Phase::Open(_), _) => {
            Desk { config, rules }.candle_closed(state, candle, signal, now)
        }
    }
}

impl Desk<'_> {
    /// First what the candle does to an entry or a position, then the signal at its close.
    #[inline]
    fn candle_closed(
        self,
        state: &BookState,
        candle: &Candle,
        signal: Option<&Signal>,
        now: Now,
    ) -> Vec<BookRecord> {
        if state.used_candle >= Some(candle.open_time) {
            return Vec::new();
        }
        let records = match &state.phase {
            Phase::EntryPending(entry) => self.enter(state, entry, candle, now),
            Phase::Open(position) => self.hold(state, position, candle),
            Phase::Unopened | Phase::Flat | Phase::Halted { .. } => Vec::new(),
        };
        match signal {
            None => records,
            Some(signal) if records.is_empty() => self.judge(state, signal, now),
            Some(signal) => self.judge_after(state, records, signal, now),
        }
    }

    /// Judges a signal as the book will be once `records` are folded.
    pub(super) fn judge_after(
        self,
        state: &BookState,
        mut records: Vec<BookRecord>,
        signal: &Signal,
        now: Now,
    ) -> Vec<BookRecord> {
        let mut after = state.clone();
        // The caller meets the same error when it applies them.
        if after.apply_all(&records).is_ok() {
            records.extend(self.judge(&after, signal, now));
        }
        records
    }

    /// Fills or drops a pending entry. Candles before its own change nothing.
    fn enter(self, state: &BookState, entry: &Entry, candle: &Candle, now: Now) -> Vec<BookRecord> {
        let at = candle.open_time;
        if at < entry.enter_at {
            return Vec::new();
        }
        match self.fill(entry, candle, now) {
            Err(reason) => vec![BookRecord::EntryDropped { at, reason }],
            Ok(position) => {
                let mut records = vec![BookRecord::PositionOpened(position)];
                let mut after = state.clone();
                if after.apply_all(&records).is_ok() {
                    records.extend(self.leave(&after, &position, candle));
                }
                records
            }
        }
    }

    fn fill(self, entry: &Entry, candle: &Candle, now: Now) -> Result<Position, DropReason> {
        if now.account == Leave::Latched {
            return Err(DropReason::AccountLatched);
        }
        if now.account == Leave::Paused {
            return Err(DropReason::Paused);
        }
        if candle.open_time != entry.enter_at {
            return Err(DropReason::CandleMissing);
        }
        if !self.is_fresh(self.config.base.close_of(candle.open_time), now) {
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
            funding: Decimal::ZERO,
        })
    }

    /// An open position meets a candle: funding falls due at its begin, then it may be left.
    fn hold(self, state: &BookState, position: &Position, candle: &Candle) -> Vec<BookRecord> {
        let Some(amount) = self.funding_due(position, candle) else {
            return self.leave(state, position, candle);
        };
        let at = candle.open_time;
        let mut records = vec![BookRecord::FundingPaid { at, amount }];
        let mut after = state.clone();
        if after.apply_all(&records).is_ok()
            && let Phase::Open(position) = &after.phase
        {
            records.extend(self.leave(&after, position, candle));
        }
        records
    }

    /// What is paid at this candle's begin. None at other times, nor for a candle taken before.
    fn funding_due(self, position: &Position, candle: &Candle) -> Option<Decimal> {
        if self.config.funding_rate.is_zero() || !paper::funds_at(candle.open_time) {
            return None;
        }
        let Position { side, quantity, .. } = *position;
        Some(paper::funding(
            side,
            candle.open,
            quantity,
            self.config.funding_rate,
        ))
    }

    /// Stop, target, or the breaker for one position's loss.
    fn leave(self, state: &BookState, position: &Position, candle: &Candle) -> Vec<BookRecord> {
        let (slippage, tick) = (self.config.slippage, self.rules.tick);
        let at = candle.open_time;
        if let Some(exit) = paper::exit(position, candle, slippage, tick) {
            return self.close(state, position, at, exit);
        }
        if !lost_too_much(state, position, candle.close) {
            return Vec::new();
        }
        let exit = self.market_exit(position, candle.close, ExitReason::PositionLoss);
        let mut records = self.close(state, position, at, exit);
        let breaker = Breaker::PositionLoss;
        let share = POSITION_LOSS * Decimal::ONE_HUNDRED;
        let why = format!("the position lost more than {share} % of the slice's equity");
        records.push(BookRecord::BreakerTripped { breaker, at, why });
        records
    }

    /// It goes on where it was halted; or flat, if what it held is closed meanwhile.
    fn release(self, state: &BookState, release: Release) -> Vec<BookRecord> {
        let Release { who, why, closed } = release;
        let mut records = vec![BookRecord::BookReleased { who, why }];
        let mut after = state.clone();
        if after.apply_all(&records).is_ok()
            && let (Phase::Open(position), Some((at, price))) = (&after.phase, closed)
        {
            let reason = ExitReason::Elsewhere;
            records.extend(self.close(&after, position, at, Exit { price, reason }));
        }
        records
    }

    fn market_exit(self, position: &Position, price: Price, reason: ExitReason) -> Exit {
        let (slippage, tick) = (self.config.slippage, self.rules.tick);
        let price = paper::market_fill(price, position.side, Leg::Exit, slippage, tick);
        Exit { price, reason }
    }

    /// The trade, and what follows from it: locks on entries.
    fn close(
        self,
        state: &BookState,
        position: &Position,
        at: UtcMs,
        exit: Exit,
    ) -> Vec<BookRecord> {
        let Position { side, quantity, .. } = *position;
        let fee = paper::fee(exit.price, quantity, self.config.fee_rate);
        let gross = paper::gross(side, position.price, exit.price, quantity);
        let pnl = (gross - position.fee - fee - position.funding).normalize();
        let trade = BookRecord::PositionClosed(Trade {
            at,
            strategy: position.strategy,
            side,
            quantity,
            entry: position.price,
            price: exit.price,
            fee,
            reason: exit.reason,
            funding: position.funding,
            pnl,
            equity: state.equity.saturating_add(pnl).normalize(),
        });
        self.with_locks(state, trade)
    }

    /// The trade, and the locks that it brings about.
    pub(super) fn with_locks(self, state: &BookState, trade: BookRecord) -> Vec<BookRecord> {
        let mut after = state.clone();
        let locked = match after.apply(&trade) {
            Ok(()) => {
                let protections = &self.config.protections;
                protections.after(&after.recent, after.losses_in_a_row)
            }
            // The caller meets the same error when it applies it.
            Err(_) => Vec::new(),
        };
        let locked = locked.into_iter().map(|l| BookRecord::EntriesLocked {
            by: l.by,
            until: l.until,
            why: l.why,
        });
        [trade].into_iter().chain(locked).collect()
    }

    /// An entry for a signal, or why not. A bar that was entered on, or whose entry candle has been
    /// used, is past: not even a refusal. Nor is one that was refused before.
    pub(super) fn judge(self, state: &BookState, signal: &Signal, now: Now) -> Vec<BookRecord> {
        let enter_at = first_open_from(self.config.base, signal.bar_close);
        if state.entered_bar >= Some(signal.bar_close)
            || state.refused_bar >= Some(signal.bar_close)
            || state.used_candle >= Some(enter_at)
        {
            return Vec::new();
        }
        match self.gates(state, signal, now) {
            Ok((bracket, account_seq)) => {
                let entry = entry_decided(signal, enter_at, bracket, account_seq);
                let order = live::entry_order(self, &entry, now.market);
                let order = order.map(BookRecord::OrderIntended);
                [BookRecord::EntryDecided(entry)]
                    .into_iter()
                    .chain(order)
                    .collect()
            }
            Err(reason) => vec![BookRecord::EntryRefused {
                bar_close: signal.bar_close,
                strategy: signal.strategy,
                reason,
            }],
        }
    }

    fn gates(
        self,
        state: &BookState,
        signal: &Signal,
        now: Now,
    ) -> Result<(Bracket, u64), Refusal> {
        if state.phase != Phase::Flat {
            return Err(Refusal::PositionOpen);
        }
        if !self.is_fresh(signal.bar_close, now) {
            return Err(Refusal::StaleSignal);
        }
        let account_seq = match now.account {
            Leave::Given { seq } => seq,
            Leave::Latched => return Err(Refusal::AccountLatched),
            Leave::Paused => return Err(Refusal::Paused),
            Leave::Unknown => return Err(Refusal::AccountUnknown),
        };
        if now.exchange_fails {
            return Err(Refusal::ExchangeErrors);
        }
        if let Some((lock, _)) = state.locked(signal.bar_close) {
            return Err(lock.refusal());
        }
        let bracket = bracket(signal, state.equity, self.config.leverage, self.rules)?;
        Ok((bracket, account_seq))
    }

    /// Whether what closed then is at most one base interval old.
    pub(super) const fn is_fresh(self, close: UtcMs, now: Now) -> bool {
        now.market.0.saturating_sub(close.0) <= self.config.base.millis()
    }
}

/// Whether at this price the position has lost more than a share of what the slice was worth before it.
/// Asked at every candle of an open position, so in whole numbers where these hold everything.
pub(super) fn lost_too_much(state: &BookState, position: &Position, price: Price) -> bool {
    let (entry, now) = (position.price.units(), price.units());
    let fell = match position.side {
        Side::Long => i128::from(entry) - i128::from(now),
        Side::Short => i128::from(now) - i128::from(entry),
    };
    if fell <= 0 {
        return false;
    }
    // In units of 1e-16.
    let loss = fell * i128::from(position.quantity.units());
    let equity = state.equity;
    let most = equity.mantissa() * POSITION_LOSS.mantissa();
    let scale = equity.scale() + POSITION_LOSS.scale();
    if scale <= LOSS_SCALE
        && let Some(most) = most.checked_mul(10_i128.pow(LOSS_SCALE - scale))
    {
        return loss > most;
    }
    // What does not fit into a decimal is more than any slice.
    Decimal::try_from_i128_with_scale(loss, LOSS_SCALE)
        .map_or(true, |loss| loss > equity.saturating_mul(POSITION_LOSS))
}

fn entry_decided(signal: &Signal, enter_at: UtcMs, bracket: Bracket, account_seq: u64) -> Entry {
    Entry {
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
        regime: signal.regime,
        halvings: signal.halvings,
        account_seq,
    }
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
