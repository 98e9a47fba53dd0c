//! What a book records about an event: the transition table in [`book`](crate::book). Entry point: [`decide`].

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::breakers::{self, ObservedBreakers};
use super::context::{DecisionContext, DecisionInputs};
use super::execution::{self, ExecutionEvent};
use super::{BookConfig, BookPhase, BookRecord, BookState, DropReason, ExitReason};
use crate::candle::Candle;
use crate::fill_model::ExitFill;
use crate::fixed_point::Price;
use crate::strategy::Signal;
use crate::symbol_filters::SymbolFilters;

/// Input of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookEvent {
    /// A process has acquired the book's lease.
    WriterChanged {
        /// Boot id of the process.
        boot: SubjectToken,
        /// Instance name of the process.
        instance: SubjectToken,
    },
    /// Capital was allocated to the book. Opens an unopened book, and changes the capital of a flat one.
    CapitalAllocated {
        /// In the quote currency; more than zero.
        capital: Decimal,
    },
    /// A base candle closed. Candles arrive in order; repeated ones change nothing.
    CandleClosed {
        /// Candle of the base interval, as the feed delivered it.
        candle: Candle,
        /// Signal that [`MarketState::candle_closed`](crate::market_state::MarketState::candle_closed) returned for it.
        signal: Option<Signal>,
        /// Other inputs of the decision.
        inputs: DecisionInputs,
    },
    /// The newest bar of the warm-up has a signal: the bar may have closed while no process watched.
    SignalFound {
        /// Signal of the newest bar of the warm-up.
        signal: Signal,
        /// Other inputs of the decision.
        inputs: DecisionInputs,
    },
    /// The account was latched: the position is closed and a pending entry is dropped.
    AccountLatched {
        /// Open time of the newest candle.
        at: UtcMs,
        /// Newest price, at which a paper position is closed.
        price: Price,
    },
    /// The circuit breakers that do not follow from the book's own records were evaluated.
    BreakersChecked {
        /// Exchange time of the check.
        at: UtcMs,
        /// What was found.
        observed: ObservedBreakers,
    },
    /// An error that only the operator can resolve.
    Failed {
        /// What failed, in one line.
        reason: String,
    },
    /// The operator has ended the halt.
    Unhalted(Unhalt),
    /// An event of the orders of a live book.
    Execution(ExecutionEvent),
}

/// The operator's command that ends a book's halt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhalt {
    /// Who gave the command.
    pub by: String,
    /// Reason that was given.
    pub reason: String,
    /// Time and price at which the position was closed on the exchange; `None` if the position is still open, or if
    /// there was none.
    pub external_close: Option<(UtcMs, Price)>,
}

/// Decides one event: the records to append in one batch and then to apply. Empty if nothing changes. Equal arguments
/// give equal records.
pub fn decide(
    state: &BookState,
    config: &BookConfig,
    filters: &SymbolFilters,
    event: BookEvent,
) -> Vec<BookRecord> {
    let context = DecisionContext { config, filters };
    let phase = &state.phase;
    match event {
        BookEvent::WriterChanged { boot, instance } => {
            vec![writer_changed(state, config, boot, instance)]
        }
        BookEvent::Unhalted(unhalt) => match phase {
            BookPhase::Halted { .. } => context.unhalt(state, unhalt),
            _ => Vec::new(),
        },
        _ if matches!(phase, BookPhase::Halted { .. }) => Vec::new(),
        BookEvent::Failed { reason } => vec![BookRecord::BookHalted { reason }],
        BookEvent::CapitalAllocated { capital } => context.capital_allocated(state, capital),
        _ if *phase == BookPhase::Unopened => Vec::new(),
        BookEvent::BreakersChecked { at, observed } => {
            breakers::breakers_checked(state, at, observed)
        }
        BookEvent::Execution(event) => execution::decide(context, state, event),
        // If the book is not flat, the bar's last candle arrives again, and may close the position before the signal
        // is judged.
        BookEvent::SignalFound { signal, inputs } => match phase {
            BookPhase::Flat => context.judge_signal(state, &signal, inputs),
            _ => Vec::new(),
        },
        BookEvent::CandleClosed {
            candle,
            signal,
            inputs,
        } => {
            if config.live.is_some() {
                execution::candle_closed(context, state, &candle, signal.as_ref(), inputs)
            } else {
                context.candle_closed(state, &candle, signal.as_ref(), inputs)
            }
        }
        // A live position is closed by `ExecutionEvent::CloseRequested`.
        BookEvent::AccountLatched { .. } if config.live.is_some() => Vec::new(),
        BookEvent::AccountLatched { at, price } => context.account_latched(state, at, price),
    }
}

/// [`decide`] for [`BookEvent::CandleClosed`] on paper, without building an event: a backtest calls it for every candle.
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

fn writer_changed(
    state: &BookState,
    config: &BookConfig,
    boot: SubjectToken,
    instance: SubjectToken,
) -> BookRecord {
    BookRecord::WriterChanged {
        boot,
        instance,
        previous: state.writer.clone(),
        config: config.clone(),
        config_changes: match &state.config {
            Some(last) => last.differences(config),
            None => Vec::new(),
        },
    }
}

impl DecisionContext<'_> {
    fn capital_allocated(self, state: &BookState, capital: Decimal) -> Vec<BookRecord> {
        match &state.phase {
            BookPhase::Unopened => vec![BookRecord::BookOpened {
                capital,
                filters: self.filters.clone(),
            }],
            BookPhase::Flat if capital != state.capital => {
                vec![BookRecord::CapitalChanged { capital }]
            }
            _ => Vec::new(),
        }
    }

    /// Drops the entry or closes the position of a paper book at `price`.
    fn account_latched(self, state: &BookState, at: UtcMs, price: Price) -> Vec<BookRecord> {
        match &state.phase {
            BookPhase::EntryPending(_) => {
                let reason = DropReason::AccountLatched;
                let rejection = None;
                vec![BookRecord::EntryDropped {
                    at,
                    reason,
                    rejection,
                }]
            }
            BookPhase::Open(position) => {
                let exit = self.market_exit(position, price, ExitReason::AccountLatched);
                self.close_position(state, position, at, exit)
            }
            BookPhase::Unopened | BookPhase::Flat | BookPhase::Halted { .. } => Vec::new(),
        }
    }

    /// Returns the book to the phase in which it was halted, or to flat if its position was closed meanwhile.
    fn unhalt(self, state: &BookState, unhalt: Unhalt) -> Vec<BookRecord> {
        let Unhalt {
            by,
            reason,
            external_close,
        } = unhalt;
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
}
