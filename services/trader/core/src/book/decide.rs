//! What a book does about an event: the other half of the table in `book`. Changes nothing itself.

use protocol::event::PositionSide;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::execution::{self, ExecutionEvent};
use crate::book::{
    BookConfig, BookPhase, BookRecord, BookState, DropReason, Entry, ExitReason, Position, Trade,
};
use crate::candle::{Candle, Interval};
use crate::circuit_breaker::{Breaker, POSITION_LOSS};
use crate::entry::{Bracket, SignalRejection, bracket};
use crate::fill_model::{self, ExitFill, Leg};
use crate::fixed_point::{Price, SCALE};
use crate::strategy::Signal;
use crate::symbol_filters::SymbolFilters;

/// What happened to a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookEvent {
    /// A process has its lease.
    WriterChanged {
        /// This run of the process.
        boot: SubjectToken,
        /// Its name.
        instance: SubjectToken,
    },
    /// Capital was set aside for it; more than zero. Opens a book, and changes a flat one's share.
    CapitalAllocated {
        /// In the quote currency.
        capital: Decimal,
    },
    /// A base candle closed. They come in order; repeated ones are harmless.
    CandleClosed {
        /// The candle.
        candle: Candle,
        /// What [`crate::market::MarketState::candle_closed`] saw in it.
        signal: Option<Signal>,
        /// How things are when this is decided.
        inputs: DecisionInputs,
    },
    /// The newest bar of the warm-up has a signal: it may have closed while nobody watched.
    SignalFound {
        /// The signal.
        signal: Signal,
        /// How things are when this is decided.
        inputs: DecisionInputs,
    },
    /// A critical breaker latched the account: what is open is to be closed, what is pending dropped.
    AccountLatched {
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
    Unhalted(Unhalt),
    /// Only of a book that trades on an exchange.
    Execution(ExecutionEvent),
}

/// A person's word that a halted book may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhalt {
    /// Who says so.
    pub by: String,
    /// Why it may go on.
    pub reason: String,
    /// When and at which price its position was closed on the exchange, if it is open no more.
    pub external_close: Option<(UtcMs, Price)>,
}

/// What a decision depends on besides the book: all of it comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionInputs {
    /// The exchange's time.
    pub exchange_time: UtcMs,
    /// Whether the account lets anyone enter.
    pub entry_permission: EntryPermission,
    /// The exchange failed [`crate::circuit_breaker::EXCHANGE_ERRORS`] calls in a row.
    pub is_exchange_failing: bool,
}

/// Whether the account lets anyone enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPermission {
    /// It does.
    Allowed {
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
pub(super) struct DecisionContext<'a> {
    pub(super) config: &'a BookConfig,
    pub(super) filters: &'a SymbolFilters,
}

/// Decides one event: what to append to the journal in one message, and then to apply. Empty when
/// nothing changes. The same arguments give the same records.
pub fn decide(
    state: &BookState,
    config: &BookConfig,
    filters: &SymbolFilters,
    event: BookEvent,
) -> Vec<BookRecord> {
    let context = DecisionContext { config, filters };
    match (&state.phase, event) {
        (BookPhase::Halted { .. } | BookPhase::Unopened, BookEvent::Execution(_)) => Vec::new(),
        (_, BookEvent::Execution(event)) => execution::decide(context, state, event),
        (BookPhase::Halted { .. }, BookEvent::Unhalted(release)) => context.unhalt(state, release),
        (_, BookEvent::WriterChanged { boot, instance }) => vec![BookRecord::WriterChanged {
            boot,
            instance,
            config: config.clone(),
            config_changes: match &state.config {
                Some(last) => last.differences(config),
                None => Vec::new(),
            },
        }],
        (BookPhase::Unopened, BookEvent::CapitalAllocated { capital }) => vec![BookRecord::BookOpened {
            capital,
            filters: filters.clone(),
        }],
        (BookPhase::Flat, BookEvent::CapitalAllocated { capital }) if capital != state.capital => {
            vec![BookRecord::CapitalChanged { capital }]
        }
        (
            BookPhase::Unopened,
            BookEvent::CandleClosed { .. }
            | BookEvent::SignalFound { .. }
            | BookEvent::AccountLatched { .. },
        )
        | (BookPhase::Flat | BookPhase::EntryPending(_) | BookPhase::Open(_), BookEvent::CapitalAllocated { .. })
        | (BookPhase::Flat, BookEvent::AccountLatched { .. })
        // Its bar's last candle comes again, and may end what is open before the signal is judged.
        | (BookPhase::EntryPending(_) | BookPhase::Open(_), BookEvent::SignalFound { .. })
        | (BookPhase::Halted { .. }, _)
        | (_, BookEvent::Unhalted(_)) => Vec::new(),
        (_, BookEvent::Failed { reason }) => vec![BookRecord::BookHalted { reason }],
        (BookPhase::Flat, BookEvent::SignalFound { signal, inputs: now }) => {
            context.judge_signal(state, &signal, now)
        }
        (
            _,
            BookEvent::CandleClosed {
                candle,
                signal,
                inputs: now,
            },
        ) if config.live.is_some() => {
            execution::candle_closed(context, state, &candle, signal.as_ref(), now)
        }
        (
            _,
            BookEvent::CandleClosed {
                candle,
                signal,
                inputs: now,
            },
        ) => context.candle_closed(state, &candle, signal.as_ref(), now),
        // Its orders are closed by others: `ExecutionEvent::CloseRequested`.
        (_, BookEvent::AccountLatched { .. }) if config.live.is_some() => Vec::new(),
        (BookPhase::EntryPending(_), BookEvent::AccountLatched { at, .. }) => {
            let reason = DropReason::AccountLatched;
            vec![BookRecord::EntryDropped { at, reason }]
        }
        (BookPhase::Open(position), BookEvent::AccountLatched { at, price }) => {
            let exit = context.market_exit(position, price, ExitReason::AccountLatched);
            context.close_position(state, position, at, exit)
        }
    }
}

/// [`decide`] for [`BookEvent::CandleClosed`], without an event to make: a backtest asks this for every
/// candle of a year.
#[inline]
pub fn decide_candle(
    state: &BookState,
    config: &BookConfig,
    filters: &SymbolFilters,
    candle: &Candle,
    signal: Option<&Signal>,
    inputs: DecisionInputs,
) -> Vec<BookRecord> {
    match (&state.phase, signal) {
        (BookPhase::Unopened | BookPhase::Halted { .. }, _) | (BookPhase::Flat, None) => Vec::new(),
        (BookPhase::Flat | BookPhase::EntryPending(_) | BookPhase::Open(_), _) => {
            DecisionContext { config, filters }.candle_closed(state, candle, signal, inputs)
        }
    }
}

impl DecisionContext<'_> {
    /// First what the candle does to an entry or a position, then the signal at its close.
    #[inline]
    fn candle_closed(
        self,
        state: &BookState,
        candle: &Candle,
        signal: Option<&Signal>,
        inputs: DecisionInputs,
    ) -> Vec<BookRecord> {
        if state.used_candle >= Some(candle.open_time) {
            return Vec::new();
        }
        let records = match &state.phase {
            BookPhase::EntryPending(entry) => self.fill_or_drop_entry(state, entry, candle, inputs),
            BookPhase::Open(position) => self.manage_position(state, position, candle),
            BookPhase::Unopened | BookPhase::Flat | BookPhase::Halted { .. } => Vec::new(),
        };
        match signal {
            None => records,
            Some(signal) if records.is_empty() => self.judge_signal(state, signal, inputs),
            Some(signal) => self.judge_signal_after(state, records, signal, inputs),
        }
    }

    /// Judges a signal as the book will be once `records` are folded.
    pub(super) fn judge_signal_after(
        self,
        state: &BookState,
        mut records: Vec<BookRecord>,
        signal: &Signal,
        inputs: DecisionInputs,
    ) -> Vec<BookRecord> {
        let mut after = state.clone();
        // The caller meets the same error when it applies them.
        if after.apply_all(&records).is_ok() {
            records.extend(self.judge_signal(&after, signal, inputs));
        }
        records
    }

    /// Fills or drops a pending entry. Candles before its own change nothing.
    fn fill_or_drop_entry(
        self,
        state: &BookState,
        entry: &Entry,
        candle: &Candle,
        inputs: DecisionInputs,
    ) -> Vec<BookRecord> {
        let at = candle.open_time;
        if at < entry.enter_at {
            return Vec::new();
        }
        match self.fill_entry(entry, candle, inputs) {
            Err(reason) => vec![BookRecord::EntryDropped { at, reason }],
            Ok(position) => {
                let mut records = vec![BookRecord::PositionOpened(position)];
                let mut after = state.clone();
                if after.apply_all(&records).is_ok() {
                    records.extend(self.exit_if_due(&after, &position, candle));
                }
                records
            }
        }
    }

    fn fill_entry(
        self,
        entry: &Entry,
        candle: &Candle,
        inputs: DecisionInputs,
    ) -> Result<Position, DropReason> {
        if inputs.entry_permission == EntryPermission::Latched {
            return Err(DropReason::AccountLatched);
        }
        if inputs.entry_permission == EntryPermission::Paused {
            return Err(DropReason::Paused);
        }
        if candle.open_time != entry.enter_at {
            return Err(DropReason::CandleMissing);
        }
        if !self.is_fresh(self.config.base.close_of(candle.open_time), inputs) {
            return Err(DropReason::TooLate);
        }
        let Entry { side, quantity, .. } = *entry;
        if !fill_model::is_better(side, candle.open, entry.stop_price) {
            return Err(DropReason::OpenBeyondStop);
        }
        let (slippage, tick) = (self.config.slippage_rate, self.filters.tick);
        let price = fill_model::market_fill_price(candle.open, side, Leg::Entry, slippage, tick);
        if !fill_model::is_better(side, entry.target_price, price) {
            return Err(DropReason::FillBeyondTarget);
        }
        Ok(Position {
            at: candle.open_time,
            strategy: entry.strategy,
            side,
            quantity,
            entry_price: price,
            fee: fill_model::fee(price, quantity, self.config.fee_rate),
            stop_price: entry.stop_price,
            target_price: entry.target_price,
            funding: Decimal::ZERO,
        })
    }

    /// An open position meets a candle: funding falls due at its begin, then it may be left.
    fn manage_position(
        self,
        state: &BookState,
        position: &Position,
        candle: &Candle,
    ) -> Vec<BookRecord> {
        let Some(amount) = self.funding_due(position, candle) else {
            return self.exit_if_due(state, position, candle);
        };
        let at = candle.open_time;
        let mut records = vec![BookRecord::FundingPaid { at, amount }];
        let mut after = state.clone();
        if after.apply_all(&records).is_ok()
            && let BookPhase::Open(position) = &after.phase
        {
            records.extend(self.exit_if_due(&after, position, candle));
        }
        records
    }

    /// What is paid at this candle's begin. None at other times, nor for a candle taken before.
    fn funding_due(self, position: &Position, candle: &Candle) -> Option<Decimal> {
        if self.config.funding_rate.is_zero() || !fill_model::is_funding_time(candle.open_time) {
            return None;
        }
        let Position { side, quantity, .. } = *position;
        Some(fill_model::funding(
            side,
            candle.open,
            quantity,
            self.config.funding_rate,
        ))
    }

    /// Stop, target, or the breaker for one position's loss.
    fn exit_if_due(
        self,
        state: &BookState,
        position: &Position,
        candle: &Candle,
    ) -> Vec<BookRecord> {
        let (slippage, tick) = (self.config.slippage_rate, self.filters.tick);
        let at = candle.open_time;
        if let Some(exit) = fill_model::exit_fill(position, candle, slippage, tick) {
            return self.close_position(state, position, at, exit);
        }
        if !exceeds_position_loss(state, position, candle.close) {
            return Vec::new();
        }
        let exit = self.market_exit(position, candle.close, ExitReason::PositionLoss);
        let mut records = self.close_position(state, position, at, exit);
        let breaker = Breaker::PositionLoss;
        let share = POSITION_LOSS * Decimal::ONE_HUNDRED;
        let reason = format!("the position lost more than {share} % of the slice's equity");
        records.push(BookRecord::BreakerTripped {
            breaker,
            at,
            reason,
        });
        records
    }

    /// It goes on where it was halted; or flat, if what it held is closed meanwhile.
    fn unhalt(self, state: &BookState, release: Unhalt) -> Vec<BookRecord> {
        let Unhalt {
            by,
            reason,
            external_close,
        } = release;
        let mut records = vec![BookRecord::BookUnhalted { by, reason }];
        let mut after = state.clone();
        if after.apply_all(&records).is_ok()
            && let (BookPhase::Open(position), Some((at, price))) = (&after.phase, external_close)
        {
            let reason = ExitReason::External;
            records.extend(self.close_position(&after, position, at, ExitFill { price, reason }));
        }
        records
    }

    fn market_exit(self, position: &Position, price: Price, reason: ExitReason) -> ExitFill {
        let (slippage, tick) = (self.config.slippage_rate, self.filters.tick);
        let price = fill_model::market_fill_price(price, position.side, Leg::Exit, slippage, tick);
        ExitFill { price, reason }
    }

    /// The trade, and what follows from it: locks on entries.
    fn close_position(
        self,
        state: &BookState,
        position: &Position,
        at: UtcMs,
        exit: ExitFill,
    ) -> Vec<BookRecord> {
        let Position { side, quantity, .. } = *position;
        let fee = fill_model::fee(exit.price, quantity, self.config.fee_rate);
        let gross = fill_model::gross_pnl(side, position.entry_price, exit.price, quantity);
        let pnl = (gross - position.fee - fee - position.funding).normalize();
        let trade = BookRecord::PositionClosed(Trade {
            at,
            strategy: position.strategy,
            side,
            quantity,
            entry_price: position.entry_price,
            exit_price: exit.price,
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
                protections.locks_after(&after.recent_trades, after.consecutive_losses)
            }
            // The caller meets the same error when it applies it.
            Err(_) => Vec::new(),
        };
        let locked = locked.into_iter().map(|l| BookRecord::EntriesLocked {
            lock: l.lock,
            until: l.until,
            reason: l.reason,
        });
        [trade].into_iter().chain(locked).collect()
    }

    /// An entry for a signal, or why not. A bar that was entered on, or whose entry candle has been
    /// used, is past: not even a refusal. Nor is one that was refused before.
    pub(super) fn judge_signal(
        self,
        state: &BookState,
        signal: &Signal,
        inputs: DecisionInputs,
    ) -> Vec<BookRecord> {
        let enter_at = first_open_from(self.config.base, signal.bar_close);
        if state.entered_bar >= Some(signal.bar_close)
            || state.rejected_bar >= Some(signal.bar_close)
            || state.used_candle >= Some(enter_at)
        {
            return Vec::new();
        }
        match self.check_entry(state, signal, inputs) {
            Ok((bracket, account_seq)) => {
                let entry = decided_entry(signal, enter_at, bracket, account_seq);
                let order = execution::entry_order(self, &entry, inputs.exchange_time);
                let order = order.map(BookRecord::OrderIntended);
                [BookRecord::EntryDecided(entry)]
                    .into_iter()
                    .chain(order)
                    .collect()
            }
            Err(reason) => vec![BookRecord::SignalRejected {
                bar_close: signal.bar_close,
                strategy: signal.strategy,
                reason,
            }],
        }
    }

    fn check_entry(
        self,
        state: &BookState,
        signal: &Signal,
        inputs: DecisionInputs,
    ) -> Result<(Bracket, u64), SignalRejection> {
        if state.phase != BookPhase::Flat {
            return Err(SignalRejection::PositionOpen);
        }
        if !self.is_fresh(signal.bar_close, inputs) {
            return Err(SignalRejection::StaleSignal);
        }
        let account_seq = match inputs.entry_permission {
            EntryPermission::Allowed { seq } => seq,
            EntryPermission::Latched => return Err(SignalRejection::AccountLatched),
            EntryPermission::Paused => return Err(SignalRejection::EntriesPaused),
            EntryPermission::Unknown => return Err(SignalRejection::AccountUnknown),
        };
        if inputs.is_exchange_failing {
            return Err(SignalRejection::ExchangeErrors);
        }
        if let Some((lock, _)) = state.active_lock(signal.bar_close) {
            return Err(lock.rejection());
        }
        let bracket = bracket(signal, state.equity, self.config.leverage, self.filters)?;
        Ok((bracket, account_seq))
    }

    /// Whether what closed then is at most one base interval old.
    pub(super) const fn is_fresh(self, close: UtcMs, inputs: DecisionInputs) -> bool {
        inputs.exchange_time.0.saturating_sub(close.0) <= self.config.base.millis()
    }
}

/// Whether at this price the position has lost more than a share of what the slice was worth before it.
/// Asked at every candle of an open position, so in whole numbers where these hold everything.
pub(super) fn exceeds_position_loss(state: &BookState, position: &Position, price: Price) -> bool {
    let (entry, now) = (position.entry_price.units(), price.units());
    let fell = match position.side {
        PositionSide::Long => i128::from(entry) - i128::from(now),
        PositionSide::Short => i128::from(now) - i128::from(entry),
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

fn decided_entry(signal: &Signal, enter_at: UtcMs, bracket: Bracket, account_seq: u64) -> Entry {
    Entry {
        strategy: signal.strategy,
        side: signal.side,
        bar_close: signal.bar_close,
        enter_at,
        reference_price: signal.reference_price,
        quantity: bracket.quantity,
        stop_price: bracket.stop,
        target_price: bracket.target,
        atr: signal.atr,
        rsi: signal.rsi,
        regime: signal.regime,
        halvings: signal.halvings,
        account_seq,
    }
}

/// Open time of the first candle that does not open before `inputs_at`.
fn first_open_from(base: Interval, at: UtcMs) -> UtcMs {
    let open_time = base.open_of(at);
    if open_time == at {
        at
    } else {
        base.close_of(open_time)
    }
}
