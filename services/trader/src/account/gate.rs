//! Before a trader starts: an account that a critical breaker closed stays closed until an operator ends
//! that.

use protocol::exit::ExitCode;
use protocol::ids::AccountKey;
use runtime::bus::Bus;
use runtime::process::Stop;
use std::time::Duration;

use super::operator;

const RETRY: Duration = Duration::from_secs(2);

/// Waits for the bus to tell how the account is; `closed_by` hears which latch refuses the start.
///
/// # Errors
/// Exit 21 while it is latched and no operator has ended that.
pub async fn check(bus: &Bus, account: &AccountKey, closed_by: impl Fn(&str)) -> Result<(), Stop> {
    loop {
        match latch(bus, account).await {
            Ok(None) => return Ok(()),
            Ok(Some(latch)) => {
                closed_by(&latch);
                return Err(Stop::new(
                    ExitCode::CriticalHalt,
                    format!(
                        "account {account} is latched ({latch}): trader unlatch --latch {latch} \
                         --why REASON"
                    ),
                ));
            }
            Err(why) => tracing::warn!(why, "waiting for the account's journal"),
        }
        tokio::time::sleep(RETRY).await;
    }
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
