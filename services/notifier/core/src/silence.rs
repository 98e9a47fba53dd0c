//! Silences: for a while the owner hears of nothing but criticals, of everybody or of one name. What was not
//! told is counted, and the count is told at the end.

use std::collections::BTreeMap;

use protocol::event::Severity;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::formatting::format_delay;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;

/// Silences at one time.
const MAX_SILENCES: usize = 20;

/// One silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Whose; everybody's without.
    pub unit: Option<SubjectToken>,
    /// When it ends by itself.
    pub until: UtcMs,
    /// What it kept from the owner, by kind.
    pub silenced_counts: BTreeMap<String, u64>,
}

impl Silence {
    fn scope(&self) -> String {
        self.unit
            .as_ref()
            .map_or_else(|| "everybody".to_owned(), SubjectToken::to_string)
    }
}

/// What would be told, as it is recorded: queued, or hushed if a silence covers it. `names`: whom it is about.
/// Criticals always pass.
pub fn apply_silence(
    state: &DeliveryState,
    names: &[&str],
    record: DeliveryRecord,
    now: UtcMs,
) -> DeliveryRecord {
    let DeliveryRecord::Queued {
        event,
        notifications: letters,
    } = &record
    else {
        return record;
    };
    let is_critical = |letter: &Notification| letter.severity == Severity::Critical;
    let covering = state.silences.iter().position(|silence| {
        let name = silence.unit.as_ref().map(SubjectToken::as_str);
        silence.until > now && name.is_none_or(|name| names.contains(&name))
    });
    match covering {
        Some(silence) if !letters.iter().any(is_critical) => DeliveryRecord::SilencedNotification {
            event: event.clone(),
            kind: letters
                .first()
                .map_or_else(String::new, |letter| letter.kind.clone()),
            silence_index: silence,
        },
        _ => record,
    }
}

/// A silence begins; one of the same name begins anew. None if there are too many.
pub fn start_silence(
    state: &DeliveryState,
    name: Option<SubjectToken>,
    ms: u64,
    now: UtcMs,
) -> Option<DeliveryRecord> {
    let known = state.silences.iter().any(|silence| silence.unit == name);
    let until = UtcMs(now.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
    (known || state.silences.len() < MAX_SILENCES)
        .then_some(DeliveryRecord::SilenceStarted { unit: name, until })
}

/// What there is to record once a silence is over: its end, and what it kept.
pub fn end_expired(state: &DeliveryState, now: UtcMs) -> Option<Vec<DeliveryRecord>> {
    let index = state
        .silences
        .iter()
        .position(|silence| silence.until <= now)?;
    Some(end_silence(state, index, now))
}

/// Every silence ends now; the last first, so that the others keep their places.
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
        let counts = silence.silenced_counts.iter();
        let lines = counts.map(|(kind, count)| format!("{count} × {}", kind.replace('_', " ")));
        let letter = Notification {
            at: now,
            severity: Severity::Info,
            kind: "silence".to_owned(),
            title: format!("🔔 SILENCE OVER: {count} not told"),
            body: std::iter::once(format!("Of: {}", silence.scope()))
                .chain(lines)
                .collect::<Vec<_>>()
                .join("\n"),
            has_picture: false,
        };
        records.push(DeliveryRecord::Queued {
            event: format!("silence:{}:{}", silence.scope(), silence.until.0),
            notifications: letter.split(),
        });
    }
    records
}

/// Which there are, for the owner.
pub fn describe_silences(state: &DeliveryState, now: UtcMs) -> String {
    let lines = state.silences.iter().map(|silence| {
        let left = format_delay(silence.until.millis_since(now));
        let hushed: u64 = silence.silenced_counts.values().sum();
        format!("{}: {left} more, {hushed} not told so far", silence.scope())
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        "There is no silence".to_owned()
    } else {
        lines.join("\n")
    }
}
