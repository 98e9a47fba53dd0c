//! Inhibition: what the absence of the bus or of the watchdog does to traders is held while it lasts, and told
//! as one message that counts it and names them. Criticals are never held, nor what waits for a person, nor
//! the trouble that somebody had before.
//!
//! Whether something belongs to an absence is judged by when it happened. The watchdog is known to be away
//! while its silence is told ([`watchdog_outage`]), and to have been away when it starts: with it, maybe,
//! its host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::event::{EventBody, Severity};
use protocol::ids::Service;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::bus_outage::OutageSpan;
use crate::event_intake::IncomingEvent;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::silence;
use crate::state::DeliveryState;
use crate::watchdog_outage;

/// An absence of the bus that is shorter does nothing to anybody, in milliseconds.
const MIN_OUTAGE_MS: u64 = 5_000;
/// How long after its return what the bus's absence did shows.
const BUS_SETTLING_MS: u64 = 60_000;
/// The watchdog looks at everybody when it starts.
const WATCHDOG_SETTLING_MS: u64 = 15_000;
/// For so long what was done to others is waited for.
const GROUP_WAIT_MS: u64 = 15_000;
/// Nothing is held for longer, however long the absence lasts.
const MAX_INHIBITION_MS: u64 = 300_000;
/// Whoever fails so often in a row had trouble before.
const UNRELATED_FAILURES: u32 = 3;
/// So little of one trader alone is told as it is.
const MIN_DIGEST_SIZE: u64 = 3;
/// Names that are remembered.
const MAX_NAMES: usize = 10_000;
/// Names that are told.
const MAX_NAMES_LISTED: usize = 20;

/// Who was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageSource {
    /// The bus: traders can not report.
    Bus,
    /// The watchdog, or its host.
    Watchdog,
}

impl OutageSource {
    const fn settling_ms(self) -> u64 {
        match self {
            Self::Bus => BUS_SETTLING_MS,
            Self::Watchdog => WATCHDOG_SETTLING_MS,
        }
    }
}

impl fmt::Display for OutageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "bus",
            Self::Watchdog => "watchdog",
        })
    }
}

/// One absence of each, the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages(BTreeMap<OutageSource, Outage>);

/// An absence and what is held because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outage {
    since: UtcMs,
    until: Option<UtcMs>,
    inhibited: Option<InhibitedNotifications>,
}

/// What is held, since when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InhibitedNotifications {
    since: UtcMs,
    counts: BTreeMap<String, u64>,
    units: BTreeSet<String>,
    /// As it would have been told; as long as it is little.
    notifications: Vec<Notification>,
    events_stored: u64,
}

impl Outages {
    /// Folds what a record, stored at this time, says of absences.
    pub(crate) fn apply(&mut self, at: UtcMs, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::Queued {
                event,
                notifications: letters,
            } => {
                let first = letters.first();
                self.note_event(
                    event,
                    first.map_or("", |letter| &letter.kind),
                    first.map_or(at, |letter| letter.at),
                );
            }
            DeliveryRecord::SilencedNotification { event, kind, .. } => {
                self.note_event(event, kind, at);
            }
            DeliveryRecord::BusOutage { since, until } => {
                self.note_outage(OutageSource::Bus, *since, Some(*until));
            }
            DeliveryRecord::Inhibited {
                kind,
                unit: name,
                source: cause,
                notifications: letters,
                ..
            } => self.inhibit(at, *cause, kind, name, letters),
            DeliveryRecord::InhibitedSummarized { source: cause } => {
                if let Some(outage) = self.0.get_mut(cause) {
                    outage.inhibited = None;
                }
            }
            _ => {}
        }
    }

    /// How much is held now, for people.
    pub fn inhibited_count(&self) -> u64 {
        let held = self
            .0
            .values()
            .filter_map(|outage| outage.inhibited.as_ref());
        held.map(InhibitedNotifications::count).sum()
    }

    /// What there is to record of an absence of the bus, which was over at the latest at `back`; none while it
    /// lasts, if it was short, or if it is known.
    pub fn outage_record(
        &self,
        absence: &OutageSpan,
        back: Option<UtcMs>,
    ) -> Option<DeliveryRecord> {
        let (since, until) = (absence.since, absence.until.or(back)?);
        let bus = self.0.get(&OutageSource::Bus);
        let known = bus.is_some_and(|bus| bus.since <= since && bus.until >= Some(until));
        let short = until.millis_since(since) < MIN_OUTAGE_MS;
        (!known && !short).then_some(DeliveryRecord::BusOutage { since, until })
    }

    /// What a message to the owner says of the watchdog.
    fn note_event(&mut self, event: &str, kind: &str, at: UtcMs) {
        if watchdog_outage::is_lost_event(event) {
            let since = UtcMs(at.0.saturating_sub(watchdog_outage::MAX_DETECTION_MS));
            self.note_outage(OutageSource::Watchdog, since, None);
        } else if watchdog_outage::is_recovered_event(event) || kind == "watchdog_started" {
            self.note_outage(OutageSource::Watchdog, at, Some(at));
        }
    }

    /// An absence that meets the one before is the same one.
    fn note_outage(&mut self, cause: OutageSource, since: UtcMs, until: Option<UtcMs>) {
        match self.0.get_mut(&cause) {
            Some(known) if known.inhibited.is_some() || known.covers(cause, since) => {
                known.since = known.since.min(since);
                known.until = until.map(|until| known.until.unwrap_or(until).max(until));
            }
            _ => {
                let held = None;
                let outage = Outage {
                    since,
                    until,
                    inhibited: held,
                };
                self.0.insert(cause, outage);
            }
        }
    }

    fn inhibit(
        &mut self,
        at: UtcMs,
        cause: OutageSource,
        kind: &str,
        name: &str,
        letters: &[Notification],
    ) {
        let Some(outage) = self.0.get_mut(&cause) else {
            return;
        };
        let held = outage
            .inhibited
            .get_or_insert_with(|| InhibitedNotifications {
                since: at,
                counts: BTreeMap::new(),
                units: BTreeSet::new(),
                notifications: Vec::new(),
                events_stored: 0,
            });
        *held.counts.entry(kind.to_owned()).or_default() += 1;
        if held.units.len() < MAX_NAMES {
            held.units.insert(name.to_owned());
        }
        if !letters.is_empty() {
            held.notifications.extend_from_slice(letters);
            held.events_stored += 1;
        }
    }

    /// What would be told of this, as it is recorded: held, if it is a symptom of an absence.
    pub(crate) fn apply_inhibition(
        &self,
        news: &IncomingEvent,
        record: DeliveryRecord,
    ) -> DeliveryRecord {
        let DeliveryRecord::Queued {
            event,
            notifications: letters,
        } = &record
        else {
            return record;
        };
        let Some((at, kind)) = letters.first().map(|l| (l.at, l.kind.clone())) else {
            return record;
        };
        if letters.iter().any(|l| l.severity == Severity::Critical) {
            return record;
        }
        let mut known = self.0.iter();
        let found = known.find_map(|(cause, outage)| {
            let name = affected_unit(news, *cause).filter(|_| outage.covers(*cause, at))?;
            Some((*cause, name, outage))
        });
        let Some((cause, name, outage)) = found else {
            return record;
        };
        let letters = if outage.is_stored_in_full(name) {
            letters.clone()
        } else {
            Vec::new()
        };
        DeliveryRecord::Inhibited {
            event: event.clone(),
            kind,
            unit: name.to_owned(),
            source: cause,
            notifications: letters,
        }
    }
}

impl Outage {
    /// Whether what happens then may come of it.
    fn covers(&self, cause: OutageSource, at: UtcMs) -> bool {
        let over = |until: UtcMs| at > until && at.millis_since(until) > cause.settling_ms();
        at >= self.since && !self.until.is_some_and(over)
    }

    fn is_stored_in_full(&self, name: &str) -> bool {
        self.inhibited.as_ref().is_none_or(|held| {
            held.count() < MIN_DIGEST_SIZE
                && held.events_stored == held.count()
                && held.units.contains(name)
        })
    }

    /// Whether it is time to tell. A clock that was set back delays nothing.
    fn is_due(&self, cause: OutageSource, held: &InhibitedNotifications, now: UtcMs) -> bool {
        let company = if self.covers(cause, now) {
            MAX_INHIBITION_MS
        } else {
            GROUP_WAIT_MS
        };
        now < held.since || now.millis_since(held.since) >= company
    }
}

impl InhibitedNotifications {
    fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Whom an absence did this to; none if it is no symptom of one.
fn affected_unit(news: &IncomingEvent, cause: OutageSource) -> Option<&str> {
    let IncomingEvent::Known {
        service,
        instance,
        event,
    } = news
    else {
        return None;
    };
    match &event.body {
        EventBody::UnitRestartScheduled {
            unit,
            consecutive_failures: consecutive,
            ..
        } if *consecutive < UNRELATED_FAILURES => Some(unit.as_str()),
        EventBody::UnitRecovered { unit, .. } => Some(unit.as_str()),
        EventBody::ComponentFailed { .. }
        | EventBody::ComponentRecovered { .. }
        | EventBody::HealthChanged { .. }
            if cause == OutageSource::Bus && *service == Service::Trader =>
        {
            Some(instance.as_str())
        }
        _ => None,
    }
}

/// What there is to record once something was held for long enough: in one message, or as it was, if it is
/// little of one trader alone.
pub fn due_records(state: &DeliveryState, now: UtcMs) -> Option<Vec<DeliveryRecord>> {
    let mut outages = state.outages.0.iter();
    let (cause, outage, held) = outages.find_map(|(cause, outage)| {
        let held = outage.inhibited.as_ref()?;
        outage
            .is_due(*cause, held, now)
            .then_some((*cause, outage, held))
    })?;
    let letters = if held.events_stored == held.count() {
        held.notifications.clone()
    } else {
        outage_digest(cause, outage, held, now).split()
    };
    let queued = DeliveryRecord::Queued {
        event: format!("inhibited:{cause}:{}", held.since.0),
        notifications: letters,
    };
    Some(vec![
        DeliveryRecord::InhibitedSummarized { source: cause },
        silence::apply_silence(state, &[], queued, now),
    ])
}

fn outage_digest(
    cause: OutageSource,
    outage: &Outage,
    held: &InhibitedNotifications,
    now: UtcMs,
) -> Notification {
    let (who, away) = match (cause, outage.until) {
        (OutageSource::Bus, _) => ("THE BUS WAS AWAY", "The bus was away"),
        (OutageSource::Watchdog, None) => ("THE WATCHDOG IS SILENT", "The watchdog is silent"),
        (OutageSource::Watchdog, Some(_)) => ("THE WATCHDOG WAS AWAY", "The watchdog was away"),
    };
    let traders = match held.units.len() {
        1 => "1 trader".to_owned(),
        several => format!("{several} traders"),
    };
    let when = match outage.until {
        Some(until) if until > outage.since => format!("from {} to {until}", outage.since),
        Some(until) => format!("until {until}"),
        None => format!("since {}", outage.since),
    };
    let counts = held.counts.iter();
    let counts = counts.map(|(kind, count)| format!("{count} × {}", kind.replace('_', " ")));
    let lines = [
        format!("{away} {when}: this came of it, and is not told one by one"),
        format!("Traders: {}", join_names(&held.units)),
    ];
    Notification {
        at: now,
        severity: Severity::Warning,
        kind: "inhibited".to_owned(),
        title: format!("🔕 {who}: {traders}, {} messages in one", held.count()),
        body: lines
            .into_iter()
            .chain(counts)
            .collect::<Vec<_>>()
            .join("\n"),
        has_picture: false,
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
