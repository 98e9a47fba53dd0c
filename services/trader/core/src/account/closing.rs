//! The close of a latched account: it is flat, or the operator is reminded of what is still open.

use std::time::Duration;

use super::{AccountRecord, AccountState, ClosingCheck, ClosingProgress, Flattened, StillOpen};

/// Time after the latch at which the operator is first notified of positions that are still open.
const FIRST_REMINDER: Duration = Duration::from_mins(1);
/// Longest time between two reminders.
const MAX_REMINDER_INTERVAL: Duration = Duration::from_hours(1);

/// Time from the last reminder of a latch to the next one: a minute at first, then twice as long each time, an hour at
/// most.
pub fn reminder_interval(reminders: u32) -> Duration {
    let factor = 2_u32.saturating_pow(reminders);
    FIRST_REMINDER
        .saturating_mul(factor)
        .min(MAX_REMINDER_INTERVAL)
}

/// The record of a check; `None` if the operator knows already, or a reminder is not due yet. A position that opened
/// after the account was found flat is reported at once.
pub(super) fn closing_checked(state: &AccountState, check: ClosingCheck) -> Option<AccountRecord> {
    let latch_id = state.latch.as_ref()?.latch_id.clone();
    let ClosingProgress { reminders, is_flat } = state.closing;
    if check.positions.is_empty() {
        return (!is_flat).then_some(AccountRecord::Flattened(Flattened {
            latch_id,
            trades: check.trades,
            pnl: check.pnl,
            equity: check.equity,
        }));
    }
    if !is_flat && check.since_report < reminder_interval(reminders) {
        return None;
    }
    Some(AccountRecord::StillOpen(StillOpen {
        latch_id,
        reminder: reminders.saturating_add(1),
        after_ms: u64::try_from(check.since_latch.as_millis()).unwrap_or(u64::MAX),
        positions: check.positions,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_become_rarer_up_to_one_an_hour() {
        let minutes = [0, 1, 2, 5, 6, 40].map(|n| reminder_interval(n).as_secs() / 60);
        assert_eq!(minutes, [1, 2, 4, 32, 60, 60]);
    }
}
