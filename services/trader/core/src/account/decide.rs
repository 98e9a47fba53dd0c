//! What an account records about an event. Entry point: [`decide`].

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::balance::balance_sampled;
use super::closing::closing_checked;
use super::peaks::{needs_recording, update_peaks};
use super::{
    AcceptedDifference, AccountEvent, AccountRecord, AccountState, AccountValue, CommandSource,
    Latch, LatchReason, Pause, UnlatchCommand,
};
use crate::circuit_breaker::{DAILY_LOSS, DRAWDOWN};
use crate::performance::drawdown;

/// Decides one event: the records to append in one batch and then to apply. Pass the event to
/// [`AccountState::observe`] afterwards.
pub fn decide(state: &AccountState, event: AccountEvent) -> Vec<AccountRecord> {
    match event {
        AccountEvent::WriterChanged { boot, instance } => {
            vec![AccountRecord::WriterChanged { boot, instance }]
        }
        AccountEvent::CommandReceived { at, seq, command } => state
            .decide_command(at, seq, &command)
            .into_iter()
            .collect(),
        AccountEvent::BalanceSampled(sample) => {
            let equity = state.value.as_ref().map(|value| value.equity);
            balance_sampled(&state.balance, equity, &sample)
        }
        AccountEvent::ClosingChecked(check) => closing_checked(state, check).into_iter().collect(),
        AccountEvent::Valued { .. } if state.latch.is_some() => Vec::new(),
        AccountEvent::Valued {
            at,
            capital,
            equity,
        } => {
            let value = update_peaks(state.value.as_ref(), at, capital, equity);
            let latch = tripped_breaker(&value).map(AccountRecord::Latched);
            let is_due = state
                .recorded_value
                .as_ref()
                .is_none_or(|last| needs_recording(last, &value));
            let recorded =
                (is_due || latch.is_some()).then_some(AccountRecord::ValueRecorded(value));
            recorded.into_iter().chain(latch).collect()
        }
    }
}

impl AccountState {
    /// The record of an operator's command; `None` if the command changes nothing or names a latch that is not active.
    pub fn decide_command(
        &self,
        at: UtcMs,
        seq: u64,
        command: &AccountCommandRecord,
    ) -> Option<AccountRecord> {
        let source = CommandSource {
            by: command.by.clone(),
            reason: command.reason.clone(),
            seq,
        };
        let is_paused =
            |symbol: &Option<SubjectToken>| self.pauses.iter().any(|p| p.symbol == *symbol);
        match &command.command {
            AccountCommand::Pause { symbol } if !is_paused(symbol) => {
                let symbol = symbol.clone();
                Some(AccountRecord::EntriesPaused(Pause { symbol, source }))
            }
            AccountCommand::Resume { symbol }
                if is_paused(symbol) || symbol.is_none() && !self.pauses.is_empty() =>
            {
                let symbol = symbol.clone();
                Some(AccountRecord::EntriesResumed(Pause { symbol, source }))
            }
            AccountCommand::Flatten if self.latch.is_none() => {
                Some(AccountRecord::Latched(operator_latch(self, at, source)))
            }
            AccountCommand::Accept { difference_id } => {
                let known = self.balance.difference.as_ref();
                let named = known.filter(|known| known.difference_id == *difference_id)?;
                Some(AccountRecord::DifferenceAccepted(AcceptedDifference {
                    difference_id: difference_id.clone(),
                    amount: named.amount,
                    source,
                }))
            }
            AccountCommand::Unlatch { latch_id }
                if self.latch.as_ref().is_some_and(|l| l.latch_id == *latch_id) =>
            {
                let latch_id = latch_id.clone();
                Some(AccountRecord::Unlatched(UnlatchCommand {
                    latch_id,
                    source,
                }))
            }
            _ => None,
        }
    }
}

fn operator_latch(state: &AccountState, at: UtcMs, source: CommandSource) -> Latch {
    let value = state.value.as_ref();
    Latch {
        latch_id: format!("{}-{}", LatchReason::Operator, at.0),
        trigger: LatchReason::Operator,
        at,
        equity: value.map_or(Decimal::ZERO, |v| v.equity),
        peak: value.map_or(Decimal::ZERO, |v| v.peak),
        command: Some(source),
        positions: Vec::new(),
    }
}

/// The latch of the first account breaker that trips at this value; `None` if none does.
fn tripped_breaker(value: &AccountValue) -> Option<Latch> {
    let AccountValue {
        at,
        equity,
        peak,
        day_peak,
        ..
    } = *value;
    let breakers = [
        (LatchReason::DailyLoss, day_peak, DAILY_LOSS),
        (LatchReason::Drawdown, peak, DRAWDOWN),
    ];
    let exceeded =
        |(_, peak, limit): &(LatchReason, Decimal, Decimal)| drawdown(*peak, equity) > *limit;
    let (trigger, peak, _) = breakers.into_iter().find(exceeded)?;
    Some(Latch {
        latch_id: format!("{trigger}-{}", at.0),
        trigger,
        at,
        equity,
        peak,
        command: None,
        positions: Vec::new(),
    })
}
