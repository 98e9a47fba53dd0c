//! Events for the operator that follow from an account's records.

use protocol::event::EventBody;
use protocol::ids::AccountKey;

use super::AccountRecord;

/// The event that a record is for the operator; `None` for records without interest outside the account leader.
pub fn operator_event(account: &AccountKey, record: &AccountRecord) -> Option<EventBody> {
    let account = account.clone();
    match record {
        AccountRecord::AccountOpened { .. }
        | AccountRecord::WriterChanged { .. }
        | AccountRecord::ValueRecorded(_)
        | AccountRecord::BalanceBaselined(_) => None,
        AccountRecord::Latched(latch) => Some(EventBody::AccountLatched {
            account,
            latch_id: latch.latch_id.clone(),
            trigger: latch.trigger.to_string(),
            equity: latch.equity,
            peak: latch.peak,
            positions: latch.positions.clone(),
            by: latch.command.as_ref().map(|command| command.by.clone()),
            reason: latch.command.as_ref().map(|command| command.reason.clone()),
        }),
        AccountRecord::Flattened(flat) => Some(EventBody::AccountFlattened {
            account,
            latch_id: flat.latch_id.clone(),
            trades: flat.trades,
            pnl: flat.pnl,
            equity: flat.equity,
        }),
        AccountRecord::StillOpen(still_open) => Some(EventBody::AccountStillOpen {
            account,
            latch_id: still_open.latch_id.clone(),
            reminder: still_open.reminder,
            after_ms: still_open.after_ms,
            positions: still_open.positions.clone(),
        }),
        AccountRecord::Unlatched(command) => Some(EventBody::AccountUnlatched {
            account,
            latch_id: command.latch_id.clone(),
            by: command.source.by.clone(),
            reason: command.source.reason.clone(),
        }),
        AccountRecord::FundsTransferred(transfer) => Some(EventBody::FundsTransferred {
            account,
            amount: transfer.amount,
            name: transfer.name.clone(),
            balance: transfer.balance,
            equity: transfer.equity,
        }),
        AccountRecord::BalanceDiffers(difference) => Some(EventBody::BalanceDiffers {
            account,
            difference_id: difference.difference_id.clone(),
            balance: difference.accepted_as.balance,
            amount: difference.amount,
            unbooked: difference.unbooked.clone(),
        }),
        AccountRecord::BalanceExplained {
            difference_id,
            balance,
        } => Some(EventBody::BalanceExplained {
            account,
            difference_id: difference_id.clone(),
            balance: *balance,
        }),
        AccountRecord::DifferenceAccepted(accepted) => Some(EventBody::DifferenceAccepted {
            account,
            difference_id: accepted.difference_id.clone(),
            amount: accepted.amount,
            by: accepted.source.by.clone(),
            reason: accepted.source.reason.clone(),
        }),
        AccountRecord::EntriesPaused(pause) => Some(EventBody::EntriesPaused {
            account,
            symbol: pause.symbol.clone(),
            by: pause.source.by.clone(),
            reason: pause.source.reason.clone(),
        }),
        AccountRecord::EntriesResumed(pause) => Some(EventBody::EntriesResumed {
            account,
            symbol: pause.symbol.clone(),
            by: pause.source.by.clone(),
            reason: pause.source.reason.clone(),
        }),
    }
}
