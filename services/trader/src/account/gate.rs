//! Before a trader starts: an account that a critical breaker closed stays closed until an operator ends
//! that. What was not closed yet when the process that closed it died is closed first.

use std::time::Duration;

use engine::book::Phase;
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, BookKey};
use protocol::subject::filter;
use runtime::bus::Bus;
use runtime::process::Stop;
use runtime::streams;

use super::operator;
use crate::book;

const RETRY: Duration = Duration::from_secs(2);

/// Waits for the bus to tell how the account is; `closed_by` hears which latch closes it. True if it is closed
/// and something of it is still open: to be closed, and nothing else.
///
/// # Errors
/// Exit 21 while it is latched, no operator has ended that, and nothing is open.
pub async fn check(
    bus: &Bus,
    account: &AccountKey,
    closed_by: impl Fn(&str),
) -> Result<bool, Stop> {
    loop {
        match closed(bus, account).await {
            Ok(None) => return Ok(false),
            Ok(Some((latch, open))) if open.is_empty() => {
                closed_by(&latch);
                return Err(Stop::new(
                    ExitCode::CriticalHalt,
                    format!(
                        "account {account} is latched ({latch}): trader unlatch --latch {latch} \
                         --why REASON"
                    ),
                ));
            }
            Ok(Some((latch, open))) => {
                closed_by(&latch);
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
async fn closed(bus: &Bus, account: &AccountKey) -> Result<Option<(String, Vec<String>)>, String> {
    let Some(latch) = latch(bus, account).await? else {
        return Ok(None);
    };
    Ok(Some((latch, open_books(bus, account).await?)))
}

/// The symbols of the account's books that hold something, or may: of whatever process.
///
/// # Errors
/// One line.
pub(super) async fn open_books(bus: &Bus, account: &AccountKey) -> Result<Vec<String>, String> {
    let filter = filter::book_journals_of(account);
    let mut open = Vec::new();
    for subject in bus.subjects(streams::JOURNAL, &filter).await? {
        let key = subject.strip_prefix("journal.v1.book.");
        let Some(key) = key.and_then(|key| key.parse::<BookKey>().ok()) else {
            continue;
        };
        let state = book::read(bus, &key).await?;
        if matches!(state.phase, Phase::EntryPending(_) | Phase::Open(_)) {
            open.push(key.symbol.to_string());
        }
    }
    Ok(open)
}

/// The latch that closes the account, if there is one that no operator has ended.
///
/// # Errors
/// One line.
pub async fn latch(bus: &Bus, account: &AccountKey) -> Result<Option<String>, String> {
    let Some(latch) = operator::read(bus, account).await?.latch else {
        return Ok(None);
    };
    let words = operator::words(bus, account).await?;
    let ended = operator::is_ended(&words, &latch.id);
    Ok((!ended).then_some(latch.id))
}
