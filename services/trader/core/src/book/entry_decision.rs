//! Decides whether a signal becomes an entry: gates of the book and the account, then the bracket.

use protocol::time::UtcMs;

use super::context::{DecisionContext, DecisionInputs, EntryPermission};
use super::{BookPhase, BookRecord, BookState, Entry};
use crate::candle::Interval;
use crate::circuit_breaker::Breaker;
use crate::entry::{Bracket, SignalRejection, bracket};
use crate::orders::{ClientOrderId, Leg, Order, OrderSide, OrderType};
use crate::strategy::Signal;

impl DecisionContext<'_> {
    /// An entry for a signal, or its rejection. Empty for a bar that was entered or rejected before, and for one whose
    /// entry candle has been used.
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
                let order = self.entry_order(&entry, inputs.exchange_time);
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

    /// Judges a signal against the book as it is after `records`, and appends the result to them.
    pub(super) fn judge_signal_after(
        self,
        state: &BookState,
        mut records: Vec<BookRecord>,
        signal: &Signal,
        inputs: DecisionInputs,
    ) -> Vec<BookRecord> {
        let mut after = state.clone();
        // The caller gets the same error when it applies the records.
        if after.apply_all(&records).is_ok() {
            records.extend(self.judge_signal(&after, signal, inputs));
        }
        records
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
            EntryPermission::BalanceDiffers => return Err(SignalRejection::BalanceDiffers),
            EntryPermission::Unknown => return Err(SignalRejection::AccountUnknown),
            EntryPermission::NotTradable => return Err(SignalRejection::SymbolNotTradable),
            EntryPermission::SymbolRemoved => return Err(SignalRejection::SymbolRemoved),
            EntryPermission::ExternalPosition => return Err(SignalRejection::ExternalPosition),
            EntryPermission::OtherSettings => return Err(SignalRejection::OtherSettings),
        };
        if state.tripped_breakers.contains(&Breaker::StaleData) {
            return Err(SignalRejection::StaleData);
        }
        if inputs.is_exchange_failing {
            return Err(SignalRejection::ExchangeErrors);
        }
        if let Some((lock, _)) = state.active_lock(signal.bar_close) {
            return Err(lock.rejection());
        }
        let bracket = bracket(
            signal,
            state.equity,
            self.config.margin_rule(),
            self.filters,
        )?;
        Ok((bracket, account_seq))
    }

    /// The order of a decided entry; `None` in paper mode.
    fn entry_order(self, entry: &Entry, at: UtcMs) -> Option<Order> {
        let live = self.config.live.as_ref()?;
        let symbol = &self.filters.symbol;
        Some(Order {
            client_order_id: ClientOrderId::for_entry(
                &live.installation_id,
                symbol,
                entry.strategy,
                entry.bar_close,
            ),
            leg: Leg::Entry,
            attempt: 0,
            side: OrderSide::for_leg(entry.side, Leg::Entry),
            order_type: OrderType::Market {
                quantity: entry.quantity,
            },
            at,
            recv_window_ms: live.recv_window_ms,
            reason: None,
        })
    }
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

/// Open time of the first candle that opens at `at` or later.
fn first_open_from(base: Interval, at: UtcMs) -> UtcMs {
    let open_time = base.open_of(at);
    if open_time == at {
        at
    } else {
        base.close_of(open_time)
    }
}
