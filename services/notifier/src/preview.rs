//! `notifier preview`: every notification with sample values. Needs no bus, no token and no settings.

use std::io::Write;

use notifier_core::preview;
use protocol::exit_code::ExitCode;
use runtime::process::ExitError;

/// Prints all notifications.
///
/// # Errors
/// Exit 70 for a sample with an invalid name; a test shows that there is none.
pub fn run() -> Result<ExitCode, ExitError> {
    let text = preview::catalogue()
        .map_err(|error| ExitError::internal(format!("internal error: {error}")))?;
    // A closed pipe (`| head`) is not an error.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(ExitCode::Success)
}
