//! Paper mode: fills entries and exits from candles, by the [`fill_model`](crate::fill_model).

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::context::{DecisionContext, DecisionInputs, EntryPermission};
use super::position_loss::{exceeds_position_loss, position_loss_tripped};
use super::{BookPhase, BookRecord, BookState, DropReason, Entry, ExitReason, Position, Trade};
use crate::candle::Candle;
use crate::fill_model::{self, ExitFill};
use crate::fixed_point::Price;
use crate::orders::Leg;
use crate::strategy::Signal;

impl DecisionContext<'_> {
    /// Applies a closed candle to the entry or position first, then judges the signal at the candle's close.
    #[inline]
    pub(super) fn candle_closed(
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

    /// Fills or drops a pending entry. Candles before the entry's own candle change nothing.
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
            Err(reason) => vec![BookRecord::EntryDropped {
                at,
                reason,
                rejection: None,
            }],
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

    /// Applies a candle to an open position: the funding due up to the candle's open, then a possible exit.
    fn manage_position(
        self,
        state: &BookState,
        position: &Position,
        candle: &Candle,
    ) -> Vec<BookRecord> {
        let mut records = self.funding_due(state, position, candle);
        if records.is_empty() {
            return self.exit_if_due(state, position, candle);
        }
        let mut after = state.clone();
        if after.apply_all(&records).is_ok()
            && let BookPhase::Open(position) = &after.phase
        {
            records.extend(self.exit_if_due(&after, position, candle));
        }
        records
    }

    /// The funding due since the entry or the last payment, up to the candle's open. Where the candle of a funding time is
    /// missing, funding is paid at the open of the first candle after it.
    fn funding_due(
        self,
        state: &BookState,
        position: &Position,
        candle: &Candle,
    ) -> Vec<BookRecord> {
        let paid_until = state
            .last_funding_at
            .map_or(position.at, |paid| paid.max(position.at));
        if self.config.funding_rate.is_zero()
            || !fill_model::is_funding_due(paid_until, candle.open_time)
        {
            return Vec::new();
        }
        let Position { side, quantity, .. } = *position;
        let rate = self.config.funding_rate;
        let amount = fill_model::funding(side, candle.open, quantity, rate);
        fill_model::funding_times(paid_until, candle.open_time)
            .map(|at| BookRecord::FundingPaid { at, amount })
            .collect()
    }

    /// Closes the position if the candle reaches the stop, the target or the position-loss limit.
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
        let mut records = vec![position_loss_tripped(at)];
        let mut after = state.clone();
        if after.apply_all(&records).is_ok() {
            records.extend(self.close_position(&after, position, at, exit));
        }
        records
    }

    pub(super) fn market_exit(
        self,
        position: &Position,
        price: Price,
        reason: ExitReason,
    ) -> ExitFill {
        let (slippage, tick) = (self.config.slippage_rate, self.filters.tick);
        let price = fill_model::market_fill_price(price, position.side, Leg::Exit, slippage, tick);
        ExitFill { price, reason }
    }

    /// The trade, and the entry locks that it causes.
    pub(super) fn close_position(
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
}
