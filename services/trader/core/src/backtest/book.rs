//! One book of a backtest.

use std::collections::BTreeMap;

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::error::BacktestError;
use super::value_bounds::MarkedValue;
use crate::bar_history::HistoryBuilder;
use crate::book::{
    BookConfig, BookEvent, BookPhase, BookRecord, BookState, DecisionInputs, DropReason, Entry,
    EntryPermission, ExitReason, Position, decide, decide_candle,
};
use crate::book_status::{self, BookStatus};
use crate::candle::Candle;
use crate::fixed_point::Price;
use crate::market_state::MarketState;
use crate::regime::Regime;
use crate::strategy::{Strategy, StrategyInputs};
use crate::symbol_filters::SymbolFilters;

/// A book on past candles, without a journal.
#[derive(Debug, Clone)]
pub struct BacktestBook {
    config: BookConfig,
    filters: SymbolFilters,
    /// Bars before the traded period; `None` once it has begun.
    history: Option<Box<HistoryBuilder>>,
    market: MarketState,
    state: BookState,
    /// Entry of the open position.
    entry: Option<Entry>,
    position: Option<Position>,
    last_candle: Option<Candle>,
    marked: MarkedValue,
    dropped_entries: BTreeMap<DropReason, u64>,
}

/// A closed position with its entry and exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedTrade {
    /// Strategy of the signal.
    pub strategy: Strategy,
    /// Side of the closed position.
    pub side: PositionSide,
    /// Open time of the candle in which the entry filled.
    pub entry_at: UtcMs,
    /// Open time of the candle in which the exit filled.
    pub exit_at: UtcMs,
    /// Quantity in base units.
    pub quantity: Decimal,
    /// Fill price of the entry.
    pub entry_price: Decimal,
    /// Fill price of the exit.
    pub exit_price: Decimal,
    /// Both fees and the funding, in the quote currency.
    pub fees: Decimal,
    /// Funding, which `fees` includes; negative if received.
    pub funding: Decimal,
    /// Profit after fees and funding; negative for a loss.
    pub pnl: Decimal,
    /// Reason for which the position was closed.
    pub reason: ExitReason,
    /// Equity of the book after the trade.
    pub equity: Decimal,
    /// Stop price.
    pub stop_price: Decimal,
    /// Target price.
    pub target_price: Decimal,
    /// RSI14 of the signal, rounded to 4 places.
    pub rsi: Decimal,
    /// Regime that an adaptive strategy used; `None` for other strategies.
    pub regime: Option<Regime>,
}

/// Result of one candle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookStep {
    /// Positions that the candle closed: at most one that was open before, and one that it opened.
    pub trades: Vec<ClosedTrade>,
    /// Whether the candle closed a 30-minute bar, so that signals were judged.
    pub bar_closed: bool,
    /// Number of missing candles before this one that were bridged.
    pub bridged: u32,
    /// Whether the indicators started over, because candles were missing for too long.
    pub has_started_over: bool,
    /// Whether a fee, funding or a trade has changed the equity.
    pub is_value_changed: bool,
}

impl BacktestBook {
    pub(super) fn new(
        config: BookConfig,
        filters: SymbolFilters,
        capital: Decimal,
    ) -> Result<Self, BacktestError> {
        let market = MarketState::new(config.base, config.strategies.clone())?;
        let mut state = BookState::default();
        state.apply(&BookRecord::BookOpened {
            capital,
            filters: filters.clone(),
        })?;
        Ok(Self {
            marked: MarkedValue::of(&state),
            config,
            filters,
            history: None,
            market,
            state,
            entry: None,
            position: None,
            last_candle: None,
            dropped_entries: BTreeMap::new(),
        })
    }

    /// Symbol of the book.
    pub fn symbol(&self) -> &str {
        self.filters.symbol.as_str()
    }

    /// Filters of the symbol.
    pub const fn filters(&self) -> &SymbolFilters {
        &self.filters
    }

    /// Inputs of the strategies at the newest bar; `None` during the warm-up.
    pub fn strategy_inputs(&self) -> Option<StrategyInputs> {
        self.market.strategy_inputs()
    }

    /// All configured strategies whose condition holds on these inputs.
    pub fn matching_strategies<'a>(
        &'a self,
        inputs: &'a StrategyInputs,
    ) -> impl Iterator<Item = Strategy> + 'a {
        let chosen = self.config.strategies.iter().copied();
        chosen.filter(|strategy| strategy.evaluate(inputs))
    }

    /// The newest closed 30-minute bar; `None` before the first.
    pub const fn last_bar(&self) -> Option<&Candle> {
        self.market.last_bar()
    }

    /// Figures of the book at the newest price.
    pub fn status(&self) -> BookStatus {
        book_status::status(&self.state, self.last_candle.map(|candle| candle.close))
    }

    /// Number of dropped entries, by reason.
    pub const fn dropped_entries(&self) -> &BTreeMap<DropReason, u64> {
        &self.dropped_entries
    }

    /// State of the book.
    pub const fn state(&self) -> &BookState {
        &self.state
    }

    /// Whether the book has a position.
    pub const fn has_position(&self) -> bool {
        self.position.is_some()
    }

    pub(super) fn warm_up_candle(&mut self, candle: &Candle) -> Result<(), BacktestError> {
        if let Some(history) = &mut self.history {
            history.add_candle(candle)?;
        } else {
            let mut history = Box::new(HistoryBuilder::new(self.config.base)?);
            history.add_candle(candle)?;
            self.history = Some(history);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn candle_closed(
        &mut self,
        candle: &Candle,
        permission: EntryPermission,
    ) -> Result<BookStep, BacktestError> {
        let mut step = BookStep::default();
        if let Some(history) = self.history.take() {
            self.start(*history, candle.open_time, permission, &mut step)?;
        }
        let had_bar = self.market.last_bar().is_some();
        let outcome = self.market.candle_closed(candle)?;
        step.bar_closed = outcome.bar_closed;
        step.bridged = outcome.bridged;
        step.has_started_over = outcome.gap.is_some() && had_bar;
        let inputs = DecisionInputs {
            exchange_time: self.config.base.close_of(candle.open_time),
            entry_permission: permission,
            is_exchange_failing: false,
        };
        self.last_candle = Some(*candle);
        let records = decide_candle(
            &self.state,
            &self.config,
            &self.filters,
            candle,
            outcome.signal.as_ref(),
            inputs,
        );
        if !records.is_empty() {
            self.apply_records(&records, &mut step)?;
        }
        Ok(step)
    }

    /// Warms up as a trader does that starts at `now`, and judges the signal of a bar that closes then.
    fn start(
        &mut self,
        history: HistoryBuilder,
        now: UtcMs,
        permission: EntryPermission,
        step: &mut BookStep,
    ) -> Result<(), BacktestError> {
        let (bars, since_bar) = history.finish();
        self.market.warm_up(&bars)?;
        for candle in &since_bar {
            self.market.candle_closed(candle)?;
        }
        let signal = self.market.last_signal().filter(|s| s.bar_close == now);
        let Some(signal) = signal else {
            return Ok(());
        };
        let inputs = DecisionInputs {
            exchange_time: now,
            entry_permission: permission,
            is_exchange_failing: false,
        };
        let event = BookEvent::SignalFound { signal, inputs };
        let records = decide(&self.state, &self.config, &self.filters, event);
        self.apply_records(&records, step)
    }

    /// Closes the position, or drops the entry, at the newest price.
    pub(super) fn account_latched(&mut self) -> Result<Vec<ClosedTrade>, BacktestError> {
        let Some(candle) = self.last_candle else {
            return Ok(Vec::new());
        };
        let (at, price) = (candle.open_time, candle.close);
        let event = BookEvent::AccountLatched { at, price };
        let records = decide(&self.state, &self.config, &self.filters, event);
        let mut step = BookStep::default();
        self.apply_records(&records, &mut step)?;
        Ok(step.trades)
    }

    /// Updates the marked value after a change of the state.
    pub(super) fn mark(&mut self) {
        self.marked = MarkedValue::of(&self.state);
    }

    /// Equity at the newest price, in units of 1e-16.
    #[inline]
    pub(super) fn marked_units(&self) -> i128 {
        let price = self.last_candle.map_or(Price::ZERO, |candle| candle.close);
        self.marked.at(price)
    }

    fn apply_records(
        &mut self,
        records: &[BookRecord],
        step: &mut BookStep,
    ) -> Result<(), BacktestError> {
        for record in records {
            self.state.apply(record)?;
            step.is_value_changed |= changes_account_value(record);
            match record {
                BookRecord::EntryDecided(entry) => self.entry = Some(*entry),
                BookRecord::EntryDropped { reason, .. } => {
                    *self.dropped_entries.entry(*reason).or_default() += 1;
                }
                BookRecord::PositionClosed(trade) => {
                    if let Some(position) = self.position {
                        let paid = position.fee.saturating_add(trade.fee);
                        step.trades.push(ClosedTrade {
                            strategy: trade.strategy,
                            side: trade.side,
                            entry_at: position.at,
                            exit_at: trade.at,
                            quantity: trade.quantity.to_decimal(),
                            entry_price: trade.entry_price.to_decimal(),
                            exit_price: trade.exit_price.to_decimal(),
                            fees: paid.saturating_add(trade.funding).normalize(),
                            funding: trade.funding.normalize(),
                            pnl: trade.pnl,
                            reason: trade.reason,
                            equity: trade.equity,
                            stop_price: position.stop_price.to_decimal(),
                            target_price: position.target_price.to_decimal(),
                            rsi: self.entry.map_or(Decimal::ZERO, |entry| entry.rsi),
                            regime: self.entry.and_then(|entry| entry.regime),
                        });
                    }
                }
                _ => {}
            }
            self.position = match &self.state.phase {
                BookPhase::Open(position) => Some(*position),
                _ => None,
            };
        }
        Ok(())
    }
}

/// Whether the equity of the account may differ after this record.
const fn changes_account_value(record: &BookRecord) -> bool {
    matches!(
        record,
        BookRecord::PositionOpened(_)
            | BookRecord::FundingPaid { .. }
            | BookRecord::PositionClosed(_)
    )
}
