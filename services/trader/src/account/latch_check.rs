//! The startup check of the account's latch. A latched account does not trade until an operator ends the
//! latch. Until its leader has recorded that everything is closed, the process starts only to close.

use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::host_command;
use protocol::ids::AccountKey;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::identity::boot_id;
use runtime::journal::{Journal, StoredBatch};
use runtime::outbox::{Outbox, OutboxCursor};
use trader_core::account::{AccountRecord, AccountState, operator_event};

use super::command_journal::AccountCommands;
use crate::books::book_journal::open_books;

const RETRY_DELAY: Duration = Duration::from_secs(2);

/// An active latch.
struct ActiveLatch {
    latch_id: String,
    /// Symbols of the books that are open by their journals.
    open: Vec<String>,
    /// Whether the account leader has recorded that everything is closed.
    is_flat: bool,
    batches: Vec<StoredBatch<AccountRecord>>,
}

/// Reads the latch of the account; waits for the bus as long as it takes. `on_latch` receives the latch's id.
/// True if the account is latched and not known to be flat: the process may only close it.
///
/// # Errors
/// Exit 21 if the account is latched and flat. Events of the account that may not have been published are queued in
/// `outbox` before.
pub(crate) async fn check(
    bus: &Bus,
    account: &AccountKey,
    outbox: &Outbox,
    on_latch: impl Fn(&str),
) -> Result<bool, ExitError> {
    loop {
        match active_latch(bus, account).await {
            Ok(None) => return Ok(false),
            Ok(Some(latch)) if latch.is_flat && latch.open.is_empty() => {
                let id = &latch.latch_id;
                on_latch(id);
                publish_pending_events(account, outbox, &latch.batches);
                return Err(ExitError::new(
                    ExitCode::AccountLatched,
                    format!(
                        "account {account} is latched ({id}) and everything is closed; to trade again: {}",
                        host_command::unlatch(account.mode, id)
                    ),
                ));
            }
            Ok(Some(latch)) => {
                on_latch(&latch.latch_id);
                tracing::warn!(%account, latch = latch.latch_id, open = latch.open.join(","),
                    "account is latched and not known to be flat; starting to close it");
                return Ok(true);
            }
            Err(error) => tracing::warn!(error, "waiting for the account journal"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// The active latch of the account; `None` without one.
async fn active_latch(bus: &Bus, account: &AccountKey) -> Result<Option<ActiveLatch>, String> {
    let subject = Subject::AccountJournal(account.clone());
    let replayed = Journal::replay::<AccountRecord>(bus, &subject, boot_id()).await;
    let (_, batches) = replayed.map_err(|error| error.to_string())?;
    let mut state = AccountState::default();
    for stored in &batches {
        let folded = state.fold(&stored.batch);
        folded.map_err(|error| error.to_string())?;
    }
    let Some(latch) = state.latch else {
        return Ok(None);
    };
    let commands = AccountCommands::read(bus, account).await?;
    if commands.ends_latch(&latch.latch_id) {
        return Ok(None);
    }
    Ok(Some(ActiveLatch {
        latch_id: latch.latch_id,
        open: open_books(bus, account).await?,
        is_flat: state.closing.is_flat,
        batches,
    }))
}

/// Publishes what the last account leader may not have published: no leader takes over a flat account. A repeated
/// event has the same id.
fn publish_pending_events(
    account: &AccountKey,
    outbox: &Outbox,
    batches: &[StoredBatch<AccountRecord>],
) {
    let published = batches.iter().map(|s| s.batch.events_published_seq).max();
    let cursor = OutboxCursor::from_seq(published.unwrap_or(0));
    let key = format!("account.{account}");
    for stored in batches.iter().filter(|s| s.seq > cursor.seq()) {
        let records = stored.batch.records.iter();
        let bodies = records.map(|record| operator_event(account, record));
        outbox.enqueue_journaled(&key, &stored.position(), bodies, &cursor);
    }
}
