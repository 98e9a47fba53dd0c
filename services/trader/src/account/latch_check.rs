//! The startup check of the account's latch. A latched account does not trade until an operator ends the
//! latch. If a position is still open, the process starts only to close it.

use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::AccountKey;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;

use super::command_journal::active_latch;
use crate::books::book_journal::open_books;

const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Reads the latch of the account; waits for the bus as long as it takes. `on_latch` receives the latch's id.
/// True if the account is latched and something is still open: the process may only close it.
///
/// # Errors
/// Exit 21 if the account is latched and nothing is open.
pub(crate) async fn check(
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
                        "account {account} is latched ({latch}) and everything is closed; to trade again: \
                         scripts/bearish unlatch --latch {latch} --reason TEXT"
                    ),
                ));
            }
            Ok(Some((latch, open))) => {
                on_latch(&latch);
                tracing::warn!(%account, latch, open = open.join(","),
                    "account is latched with open positions; closing them before exit");
                return Ok(true);
            }
            Err(error) => tracing::warn!(error, "waiting for the account journal"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// The active latch, with the symbols of the books that are still open.
async fn latch_and_open_books(
    bus: &Bus,
    account: &AccountKey,
) -> Result<Option<(String, Vec<String>)>, String> {
    let Some(latch) = active_latch(bus, account).await? else {
        return Ok(None);
    };
    Ok(Some((latch, open_books(bus, account).await?)))
}
