//! Access to the bus for commands: a connection, and appends to a journal.

use std::fmt::Display;

use protocol::exit_code::ExitCode;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError};
use runtime::exit_error::ExitError;
use runtime::identity::boot_id;
use runtime::journal::{AppendError, Journal, ReplayError, StoredBatch};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::patience::Patience;
use crate::settings::Settings;

/// Connects to the bus.
///
/// # Errors
/// Exit 69 if the bus does not answer, 78 if it rejects the user.
pub(super) async fn connect(settings: &Settings, patience: Patience) -> Result<Bus, ExitError> {
    let is_final = |error: &BusError| matches!(error, BusError::Fatal(_));
    let connected = patience.answer("the bus", is_final, async || {
        Bus::try_connect(&settings.bus).await
    });
    connected.await.map_err(BusError::into_exit_error)
}

/// Repeats a call to the bus that a retry can help.
///
/// # Errors
/// Exit 69 with the error of the last call.
pub(super) async fn ask_bus<T, E: Display>(
    patience: Patience,
    call: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, ExitError> {
    let answered = patience.answer("the bus", |_| false, call);
    answered.await.map_err(unavailable)
}

/// Reads a journal. A bus that does not answer is asked again.
///
/// # Errors
/// Exit 69 if the bus does not answer, 78 if a record cannot be read.
pub(super) async fn replay<R: DeserializeOwned>(
    bus: &Bus,
    subject: &Subject,
    patience: Patience,
) -> Result<(Journal, Vec<StoredBatch<R>>), ExitError> {
    let is_final = |error: &ReplayError| matches!(error, ReplayError::Unreadable { .. });
    let replayed = patience.answer("the bus", is_final, async || {
        Journal::replay::<R>(bus, subject, boot_id()).await
    });
    replayed.await.map_err(|error| match error {
        ReplayError::Unavailable { .. } => unavailable(error),
        ReplayError::Unreadable { .. } => ExitError::config(error.to_string()),
    })
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
