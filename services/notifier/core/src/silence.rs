//! Silences: for a time, only critical notifications are sent, for everything or for one unit or service. Silenced
//! notifications are counted, and the counts are sent at the end.

use protocol::duration::format_ms;
use protocol::event::Severity;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::formatting::format_counts;
use crate::model::Silence;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;

/// Most silences at one time.
const MAX_SILENCES: usize = 20;

fn scope(silence: &Silence) -> String {
    silence
        .unit
        .as_ref()
        .map_or_else(|| "all".to_owned(), SubjectToken::to_string)
}

/// Turns a queued notification into a silenced one if a silence covers it. `names` are the instance, unit and service
/// of the event. Critical notifications are never silenced.
pub fn apply_silence(
    state: &DeliveryState,
    names: &[&str],
    record: DeliveryRecord,
    now: UtcMs,
) -> DeliveryRecord {
    let DeliveryRecord::Queued {
        event,
        notifications,
    } = &record
    else {
        return record;
    };
    let is_critical = |notification: &Notification| notification.severity == Severity::Critical;
    let covering = state.silences.iter().position(|silence| {
        let unit = silence.unit.as_ref().map(SubjectToken::as_str);
        silence.until > now && unit.is_none_or(|unit| names.contains(&unit))
    });
    match covering {
        Some(silence_index) if !notifications.iter().any(is_critical) => {
            DeliveryRecord::SilencedNotification {
                event: event.clone(),
                kind: notifications
                    .first()
                    .map_or_else(String::new, |notification| notification.kind.clone()),
                silence_index,
            }
        }
        _ => record,
    }
}

/// Record that starts a silence, or changes the end of one with the same scope. `None` if there are too many.
pub fn start_silence(
    state: &DeliveryState,
    unit: Option<SubjectToken>,
    duration_ms: u64,
    now: UtcMs,
) -> Option<DeliveryRecord> {
    let is_known = state.silences.iter().any(|silence| silence.unit == unit);
    let duration_ms = i64::try_from(duration_ms).unwrap_or(i64::MAX);
    let until = UtcMs(now.0.saturating_add(duration_ms));
    (is_known || state.silences.len() < MAX_SILENCES)
        .then_some(DeliveryRecord::SilenceStarted { unit, until })
}

/// Records that end the first expired silence and send its counts; `None` if none has expired.
pub fn end_expired(state: &DeliveryState, now: UtcMs) -> Option<Vec<DeliveryRecord>> {
    let index = state
        .silences
        .iter()
        .position(|silence| silence.until <= now)?;
    Some(end_silence(state, index, now))
}

/// Records that end every silence; the last one first, so that the indices stay valid.
pub fn end_all(state: &DeliveryState, now: UtcMs) -> Vec<DeliveryRecord> {
    let all = (0..state.silences.len()).rev();
    all.flat_map(|index| end_silence(state, index, now))
        .collect()
}

fn end_silence(state: &DeliveryState, index: usize, now: UtcMs) -> Vec<DeliveryRecord> {
    let mut records = vec![DeliveryRecord::SilenceEnded {
        silence_index: index,
    }];
    if let Some(silence) = state.silences.get(index)
        && !silence.silenced_counts.is_empty()
    {
        let count: u64 = silence.silenced_counts.values().sum();
        let lines = std::iter::once(format!("Scope: {}", scope(silence)))
            .chain(format_counts(&silence.silenced_counts));
        let notification = Notification {
            at: now,
            severity: Severity::Info,
            kind: "silence".to_owned(),
            title: format!("🔔 SILENCE ENDED: {count} notifications were not sent"),
            body: lines.collect::<Vec<_>>().join("\n"),
            has_picture: false,
            table_lines: 0,
        };
        records.push(DeliveryRecord::Queued {
            event: format!("silence:{}:{}", scope(silence), silence.until.0),
            notifications: notification.split(),
        });
    }
    records
}

/// Active silences, one line each, for the operator.
pub fn describe_silences(state: &DeliveryState, now: UtcMs) -> String {
    let lines = state.silences.iter().map(|silence| {
        let left = format_ms(silence.until.millis_since(now));
        let silenced: u64 = silence.silenced_counts.values().sum();
        format!(
            "{}: {left} left, {silenced} silenced so far",
            scope(silence)
        )
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        "No silence is active".to_owned()
    } else {
        lines.join("\n")
    }
}
