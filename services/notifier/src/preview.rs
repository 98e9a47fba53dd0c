//! `notifier preview`: every notification with sample values. Needs no bus, no token and no settings.

use notifier_core::preview;
use protocol::exit_code::ExitCode;
use protocol::ids::InvalidSubjectToken;
use runtime::process::ExitError;
use runtime::stdout::OutputArgs;
use serde_json::{Value, json};

/// Prints all notifications.
///
/// # Errors
/// Exit 70 for a sample with an invalid name; a test shows that there is none.
pub fn run(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let bug = |error: InvalidSubjectToken| ExitError::internal(format!("internal error: {error}"));
    let samples = preview::samples().map_err(bug)?;
    let notifications: Vec<Value> = samples
        .iter()
        .flatten()
        .map(|n| json!({ "severity": n.severity.to_string(), "title": n.title, "body": n.body }))
        .collect();
    let text = preview::catalogue().map_err(bug)?;
    let lines = || text.trim_end().to_owned();
    output.print(&json!({ "notifications": notifications }), lines)?;
    Ok(ExitCode::Success)
}
