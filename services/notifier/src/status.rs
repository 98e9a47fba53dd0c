//! `notifier status`: what the journal says was told, what waits, what Telegram refused. Works with the
//! notifier dead.

use notifier_core::record::DeliveryRecord;
use notifier_core::state::DeliveryState;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::{Bus, BusError};
use runtime::clock;
use runtime::journal::Journal;
use runtime::process::ExitError;

use crate::settings::Settings;

/// Prints it.
///
/// # Errors
/// Exit 78 for settings, 69 if the bus does not answer.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let state = read_state(&bus).await?;
    runtime::stdout::print_lines(describe_state(&state, clock::now()))?;
    Ok(ExitCode::Success)
}

/// Reads only: the writing end is dropped before anything is appended.
async fn read_state(bus: &Bus) -> Result<DeliveryState, ExitError> {
    let unavailable = |why: String| ExitError::new(ExitCode::Unavailable, why);
    let reader: SubjectToken = "status"
        .parse()
        .map_err(|_| ExitError::internal("bug: no name"))?;
    let (_, entries) = Journal::replay::<DeliveryRecord>(bus, &Subject::NotifierJournal, reader)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let mut state = DeliveryState::default();
    for stored in &entries {
        state.fold(&stored.batch).map_err(|newer| {
            ExitError::config(format!("the journal's version {} is newer", newer.0))
        })?;
    }
    Ok(state)
}

fn describe_state(state: &DeliveryState, now: UtcMs) -> Vec<String> {
    let totals = state.message_counts;
    let mut lines = vec![
        format!("messages sent     {}", totals.sent),
        format!("  last            {}", describe_last_sent(state, now)),
        format!(
            "outcome unknown   {} (repeated, marked)",
            totals.outcome_unknown
        ),
        format!("tried again       {}", totals.failed),
        format!("letters waiting   {}", state.queued.len()),
        format!(
            "under way         {}",
            state
                .in_flight
                .as_ref()
                .map_or(0, |s| s.notifications.len())
        ),
        format!("held back         {}", state.outages.inhibited_count()),
        format!("over the fallback {}", totals.sent_by_fallback),
        format!("messages refused  {}", totals.dead_lettered),
    ];
    lines.extend(state.dead_letters.iter().map(|dead| {
        let letter = &dead.queued.notification;
        let (number, why) = (dead.number, &dead.error);
        format!("  {number}: {} {}: {why}", letter.at, letter.title)
    }));
    lines
}

fn describe_last_sent(state: &DeliveryState, now: UtcMs) -> String {
    match state.last_sent_at {
        None => "never".to_owned(),
        Some(at) => format!("{at} ({} s ago)", now.since(at).as_secs()),
    }
}
