//! Before a trader starts: an account that a critical breaker closed stays closed until an operator ends
//! that. What was not closed yet when the process that closed it died is closed first.

use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, BookKey};
use protocol::subject::filter;
use runtime::bus::Bus;
use runtime::process::ExitError;
use runtime::streams;
use trader_core::book::BookPhase;

use super::account_commands;
use crate::book_task;

const RETRY: Duration = Duration::from_secs(2);

/// Waits for the bus to tell how the account is; `operator_latch` hears which latch closes it. True if it is closed
/// and something of it is still open: to be closed, and nothing else.
///
/// # Errors
/// Exit 21 while it is latched, no operator has ended that, and nothing is open.
pub async fn check(
    bus: &Bus,
    account: &AccountKey,
    on_latch: impl Fn(&str),
) -> Result<bool, ExitError> {
    loop {
        match latch_and_open_books(bus, account).await {
            Ok(None) => return Ok(false),
            Ok(Some((latch, open))) if open.is_empty() => {
                on_latch(&latch);
                return Err(ExitError::new(
                    ExitCode::AccountLatched,
                    format!(
                        "account {account} is latched ({latch}): trader unlatch --latch {latch} \
                         --reason TEXT"
                    ),
                ));
            }
            Ok(Some((latch, open))) => {
                on_latch(&latch);
                tracing::warn!(%account, latch, open = open.join(","),
                    "latched, and something is open still: it is closed first");
                return Ok(true);
            }
            Err(why) => tracing::warn!(why, "waiting for the account's journal"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The latch that closes the account, with the symbols of the books that hold something, or may.
async fn latch_and_open_books(
    bus: &Bus,
    account: &AccountKey,
) -> Result<Option<(String, Vec<String>)>, String> {
    let Some(latch) = active_latch(bus, account).await? else {
        return Ok(None);
    };
    Ok(Some((latch, open_books(bus, account).await?)))
}

/// The symbols of the account's books that hold something, or may: of whatever process.
///
/// # Errors
/// One line.
pub(super) async fn open_books(bus: &Bus, account: &AccountKey) -> Result<Vec<String>, String> {
    let filter = filter::account_book_journals(account);
    let mut open = Vec::new();
    for subject in bus.subjects(streams::JOURNAL, &filter).await? {
        let key = subject.strip_prefix("journal.v1.book.");
        let Some(key) = key.and_then(|key| key.parse::<BookKey>().ok()) else {
            continue;
        };
        let state = book_task::read_book_state(bus, &key).await?;
        if matches!(state.phase, BookPhase::EntryPending(_) | BookPhase::Open(_)) {
            open.push(key.symbol.to_string());
        }
    }
    Ok(open)
}

/// The latch that closes the account, if there is one that no operator has ended.
///
/// # Errors
/// One line.
pub async fn active_latch(bus: &Bus, account: &AccountKey) -> Result<Option<String>, String> {
    let Some(latch) = account_commands::read_account_state(bus, account)
        .await?
        .latch
    else {
        return Ok(None);
    };
    let words = account_commands::read_commands(bus, account).await?;
    let ended = account_commands::contains_unlatch(&words, &latch.latch_id);
    Ok((!ended).then_some(latch.latch_id))
}
