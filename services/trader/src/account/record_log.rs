//! The log lines of an account's records.

use protocol::ids::{AccountKey, SubjectToken};
use trader_core::account::{AccountRecord, Pause};

/// Logs a record that the leader has appended; nothing for records that only it needs.
pub(super) fn log_record(account: &AccountKey, record: &AccountRecord) {
    match record {
        AccountRecord::AccountOpened { .. }
        | AccountRecord::WriterChanged { .. }
        | AccountRecord::ValueRecorded(_) => {}
        AccountRecord::Latched(latch) => {
            tracing::error!(%account, latch = latch.latch_id, trigger = %latch.trigger, equity = %latch.equity,
                    peak = %latch.peak, positions = latch.positions.len(),
                    "account latched; closing all positions");
        }
        AccountRecord::Flattened(flat) => {
            tracing::warn!(%account, latch = flat.latch_id, trades = flat.trades, pnl = %flat.pnl,
                    equity = %flat.equity, "latched account is flat");
        }
        AccountRecord::StillOpen(still_open) => {
            for position in &still_open.positions {
                tracing::error!(%account, latch = still_open.latch_id,
                        reminder = still_open.reminder, symbol = %position.symbol,
                        quantity = %position.quantity, stop = ?position.stop_price.map(|p| p.normalize()),
                        reason = position.note, "position of the latched account is still open");
            }
        }
        AccountRecord::Unlatched(unlatch) => {
            tracing::warn!(%account, latch = unlatch.latch_id, by = unlatch.source.by,
                    reason = unlatch.source.reason, "account unlatched");
        }
        AccountRecord::EntriesPaused(Pause { symbol, source }) => {
            let books = symbol.as_ref().map_or("all", SubjectToken::as_str);
            tracing::warn!(%account, books, by = source.by, reason = source.reason, "entries paused");
        }
        AccountRecord::EntriesResumed(Pause { symbol, source }) => {
            let books = symbol.as_ref().map_or("all", SubjectToken::as_str);
            tracing::warn!(%account, books, by = source.by, reason = source.reason, "entries resumed");
        }
        AccountRecord::BalanceBaselined(_)
        | AccountRecord::FundsTransferred(_)
        | AccountRecord::BalanceDiffers(_)
        | AccountRecord::BalanceExplained { .. }
        | AccountRecord::DifferenceAccepted(_) => log_balance(account, record),
    }
}

/// Logs what the balance check has found; nothing for other records.
fn log_balance(account: &AccountKey, record: &AccountRecord) {
    match record {
        AccountRecord::BalanceBaselined(baseline) => {
            tracing::info!(%account, balance = %baseline.balance, explained = ?baseline.explained,
                "balance check counts from a new baseline");
        }
        AccountRecord::FundsTransferred(transfer) => {
            tracing::info!(%account, amount = %transfer.amount, kind = transfer.name, balance = %transfer.balance,
                "transfer booked");
        }
        AccountRecord::BalanceDiffers(difference) => {
            tracing::error!(%account, difference = difference.difference_id, amount = %difference.amount,
                balance = %difference.accepted_as.balance, unbooked = ?difference.unbooked,
                "nothing explains the balance; entries are stopped");
        }
        AccountRecord::BalanceExplained {
            difference_id,
            balance,
        } => {
            tracing::info!(%account, difference = difference_id, %balance,
                "difference of the balance has explained itself");
        }
        AccountRecord::DifferenceAccepted(accepted) => {
            tracing::warn!(%account, difference = accepted.difference_id, amount = %accepted.amount,
                by = accepted.source.by, reason = accepted.source.reason, "difference of the balance accepted");
        }
        _ => {}
    }
}
