//! Inhibition: notifications that are effects of an outage of the bus or the watchdog are withheld and sent as one
//! summary. Never inhibited: critical notifications, and failures of a unit that was failing before.
//!
//! An event belongs to an outage by the time at which it happened. The watchdog counts as down from its reported
//! outage ([`watchdog_outage`](crate::watchdog_outage)) on, and shortly before each of its starts.

use std::collections::BTreeSet;

use protocol::duration::format_ms;
use protocol::event::{EventBody, Severity};
use protocol::ids::Service;
use protocol::time::UtcMs;

use crate::event_intake::IncomingEvent;
use crate::formatting::{format_counts, format_time};
use crate::model::OutageSource;
use crate::notification::Notification;
use crate::outages::{InhibitedNotifications, Outage, Outages};
use crate::record::DeliveryRecord;
use crate::silence;
use crate::state::DeliveryState;

/// A unit with this many consecutive failures was failing before the outage.
const UNRELATED_FAILURES: u32 = 3;
/// Most units that a summary names.
const MAX_NAMES_LISTED: usize = 20;

/// Turns a queued notification into an inhibited one if it is the effect of an outage.
pub(crate) fn apply_inhibition(
    outages: &Outages,
    incoming: &IncomingEvent,
    record: DeliveryRecord,
) -> DeliveryRecord {
    let DeliveryRecord::Queued {
        event,
        notifications,
    } = &record
    else {
        return record;
    };
    let Some((at, kind)) = notifications.first().map(|n| (n.at, n.kind.clone())) else {
        return record;
    };
    if notifications
        .iter()
        .any(|n| n.severity == Severity::Critical)
    {
        return record;
    }
    let covering = outages.covering(at, |source| affected_unit(incoming, source));
    let Some((source, unit, outage)) = covering else {
        return record;
    };
    let notifications = if outage.is_stored_in_full(unit) {
        notifications.clone()
    } else {
        Vec::new()
    };
    DeliveryRecord::Inhibited {
        event: event.clone(),
        kind,
        unit: unit.to_owned(),
        source,
        notifications,
    }
}

/// Unit that an outage of this source affected; `None` if the event is not an effect of one.
fn affected_unit(incoming: &IncomingEvent, source: OutageSource) -> Option<&str> {
    let IncomingEvent::Known {
        service,
        instance,
        event,
    } = incoming
    else {
        return None;
    };
    match &event.body {
        EventBody::UnitRestartScheduled {
            unit,
            consecutive_failures,
            ..
        } if *consecutive_failures < UNRELATED_FAILURES => Some(unit.as_str()),
        EventBody::UnitRecovered { unit, .. } => Some(unit.as_str()),
        EventBody::ComponentFailed { .. }
        | EventBody::ComponentRecovered { .. }
        | EventBody::HealthChanged { .. }
            if source == OutageSource::Bus && *service == Service::Trader =>
        {
            Some(instance.as_str())
        }
        _ => None,
    }
}

/// Records that end an inhibition: one summary, or the notifications in full if they are few and of one unit.
/// `None` if nothing is due.
pub fn due_records(state: &DeliveryState, now: UtcMs) -> Option<Vec<DeliveryRecord>> {
    let (source, outage, inhibited) = state.outages.due(now)?;
    let notifications = match inhibited.in_full() {
        Some(notifications) => notifications.to_vec(),
        None => outage_summary(source, outage, inhibited, now).split(),
    };
    let queued = DeliveryRecord::Queued {
        event: format!("inhibited:{source}:{}", inhibited.since.0),
        notifications,
    };
    Some(vec![
        DeliveryRecord::InhibitedSummarized { source },
        silence::apply_silence(state, &[], queued, now),
    ])
}

fn outage_summary(
    source: OutageSource,
    outage: &Outage,
    inhibited: &InhibitedNotifications,
    now: UtcMs,
) -> Notification {
    let title = match source {
        OutageSource::Bus => "🔕 BUS OUTAGE SUMMARY",
        OutageSource::Watchdog => "🔕 WATCHDOG OUTAGE SUMMARY",
    };
    let down = match outage.until {
        Some(until) if until > outage.since => format!(
            "{} to {} ({})",
            format_time(outage.since),
            format_time(until),
            format_ms(until.millis_since(outage.since))
        ),
        Some(until) => format!("until {}", format_time(until)),
        None => format!("since {}", format_time(outage.since)),
    };
    let mut lines = vec![
        format!("Down: {down}"),
        format!("Affected traders: {}", inhibited.units.len()),
        format!("Names: {}", join_names(&inhibited.units)),
        format!("Notifications in this summary: {}", inhibited.count()),
    ];
    lines.extend(format_counts(&inhibited.counts));
    lines.push("Action: check that all traders run: scripts/bearish status".to_owned());
    Notification {
        at: now,
        severity: Severity::Warning,
        kind: "inhibited".to_owned(),
        title: title.to_owned(),
        body: lines.join("\n"),
        has_picture: false,
        table_lines: 0,
    }
}

fn join_names(all: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = all
        .iter()
        .take(MAX_NAMES_LISTED)
        .map(String::as_str)
        .collect();
    match all.len().saturating_sub(MAX_NAMES_LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
