//! Access to the bus for commands: one connection attempt, and appends to a journal.

use protocol::exit_code::ExitCode;
use runtime::bus::{Bus, BusError};
use runtime::exit_error::ExitError;
use runtime::journal::{AppendError, Journal};
use serde::Serialize;

use crate::settings::Settings;

/// Connects to the bus, without retries.
///
/// # Errors
/// Exit 69 if the bus does not answer, 78 if it rejects the user.
pub(super) async fn connect(settings: &Settings) -> Result<Bus, ExitError> {
    Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)
}

/// Exit 69: a dependency is unavailable.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
pub(super) fn unavailable(error: impl ToString) -> ExitError {
    ExitError::new(ExitCode::Unavailable, error.to_string())
}

/// Appends the records of a command. `advice` says what to do if another process has written first.
///
/// # Errors
/// Exit 69 if another process has written first, 70 if the bus rejects the records.
pub(super) async fn append_records<R: Serialize>(
    journal: &mut Journal,
    records: &[R],
    advice: &str,
) -> Result<(), ExitError> {
    let appended = journal.append(records, 0, |error| {
        tracing::warn!(error, "journal unavailable; trying again");
    });
    appended.await.map_err(|error| match error {
        AppendError::Fenced { .. } => unavailable(format!("{error}; {advice}")),
        AppendError::Rejected { .. } => ExitError::internal(error.to_string()),
    })?;
    Ok(())
}
