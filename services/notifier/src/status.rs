//! `notifier status`: counts of messages, queued notifications and dead letters from the journal. Works while the
//! notifier is down.

use notifier_core::record::DeliveryRecord;
use notifier_core::state::DeliveryState;
use protocol::duration::format_duration;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::{Bus, BusError};
use runtime::clock;
use runtime::journal::Journal;
use runtime::process::ExitError;
use runtime::stdout::OutputArgs;
use serde_json::{Value, json};

use crate::settings::Settings;

/// Prints the state of delivery.
///
/// # Errors
/// Exit 78 for invalid settings, 69 if the bus does not answer.
pub async fn run(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let state = read_state(&bus).await?;
    output.print(&to_json(&state), || {
        describe_state(&state, clock::now()).join("\n")
    })?;
    Ok(ExitCode::Success)
}

/// Replays the journal without writing to it.
async fn read_state(bus: &Bus) -> Result<DeliveryState, ExitError> {
    let unavailable = |error: String| ExitError::new(ExitCode::Unavailable, error);
    let reader: SubjectToken = "status"
        .parse()
        .map_err(|_| ExitError::internal("internal error: invalid reader name"))?;
    let (_, entries) = Journal::replay::<DeliveryRecord>(bus, &Subject::NotifierJournal, reader)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let mut state = DeliveryState::default();
    for stored in &entries {
        state.fold(&stored.batch).map_err(|newer| {
            ExitError::config(format!(
                "journal: version {} is newer than this program; update it",
                newer.0
            ))
        })?;
    }
    Ok(state)
}

fn to_json(state: &DeliveryState) -> Value {
    let counts = state.message_counts;
    let dead_letters: Vec<Value> = state
        .dead_letters
        .iter()
        .map(|dead| {
            let notification = &dead.queued.notification;
            json!({
                "number": dead.number,
                "at": notification.at,
                "title": notification.title,
                "error": dead.error,
            })
        })
        .collect();
    json!({
        "messages_sent": counts.sent,
        "last_sent_at": state.last_sent_at,
        "outcome_unknown": counts.outcome_unknown,
        "failed": counts.failed,
        "queued": state.queued.len(),
        "in_flight": count_in_flight(state),
        "inhibited": state.outages.inhibited_count(),
        "sent_by_fallback": counts.sent_by_fallback,
        "messages_rejected": counts.dead_lettered,
        "dead_letters": dead_letters,
    })
}

fn describe_state(state: &DeliveryState, now: UtcMs) -> Vec<String> {
    let counts = state.message_counts;
    let rows = [
        ("messages sent", counts.sent.to_string()),
        ("  last", describe_last_sent(state, now)),
        (
            "outcome unknown",
            format!(
                "{} (resent, flagged as possible repeat)",
                counts.outcome_unknown
            ),
        ),
        ("failed, retried", counts.failed.to_string()),
        ("queued", state.queued.len().to_string()),
        ("in flight", count_in_flight(state).to_string()),
        ("inhibited", state.outages.inhibited_count().to_string()),
        ("sent by fallback", counts.sent_by_fallback.to_string()),
        ("messages rejected", counts.dead_lettered.to_string()),
    ];
    let rows = rows.map(|(name, value)| format!("{name:<17} {value}"));
    let dead_letters = state.dead_letters.iter().map(|dead| {
        let notification = &dead.queued.notification;
        format!(
            "  {}: {} {}: {}",
            dead.number, notification.at, notification.title, dead.error
        )
    });
    rows.into_iter().chain(dead_letters).collect()
}

fn count_in_flight(state: &DeliveryState) -> usize {
    state
        .in_flight
        .as_ref()
        .map_or(0, |message| message.notifications.len())
}

fn describe_last_sent(state: &DeliveryState, now: UtcMs) -> String {
    match state.last_sent_at {
        None => "never".to_owned(),
        Some(at) => format!("{at} ({} ago)", format_duration(now.since(at))),
    }
}

#[cfg(test)]
mod tests {
    use notifier_core::event_intake::IncomingEvent;
    use protocol::event::Severity;

    use super::*;

    #[test]
    fn status_as_json_has_the_counts_and_the_dead_letters() {
        let at = UtcMs(1_795_489_200_000);
        let mut state = DeliveryState::default();
        let notifications = IncomingEvent::Unknown {
            id: "e1".to_owned(),
            at,
            severity: Severity::Critical,
            subject: "event.v1".to_owned(),
            payload: "{}".to_owned(),
        }
        .notifications(notifier_core::command_hints::CommandHints { telegram: false });
        for record in [
            DeliveryRecord::Queued {
                event: "e1".to_owned(),
                notifications,
            },
            DeliveryRecord::MessageSending {
                notifications: vec![0],
                digest: false,
            },
            DeliveryRecord::DeadLettered {
                error: "400: Bad Request".to_owned(),
            },
        ] {
            state.apply(at, &record);
        }
        let found = to_json(&state);
        assert_eq!(found["messages_rejected"], 1);
        assert_eq!(found["queued"], 0);
        assert_eq!(found["last_sent_at"], Value::Null);
        assert_eq!(found["dead_letters"][0]["number"], 0);
        assert_eq!(found["dead_letters"][0]["error"], "400: Bad Request");
    }
}
