//! Known outages of the bus and the watchdog, and the notifications that are inhibited because of them. Folded from
//! the journal; [`inhibition`](crate::inhibition) decides.

use std::collections::{BTreeMap, BTreeSet};

use protocol::time::UtcMs;

use crate::event_ids;
use crate::model::{OutageSource, OutageSpan};
use crate::notification::Notification;
use crate::record::DeliveryRecord;

/// A bus outage shorter than this has no effects, in milliseconds.
const MIN_OUTAGE_MS: u64 = 5_000;
/// Time after the end of a bus outage in which its effects still show.
const BUS_SETTLING_MS: u64 = 60_000;
/// Time after its start in which the watchdog inspects all units.
const WATCHDOG_SETTLING_MS: u64 = 15_000;
/// Time for which further effects are awaited, in milliseconds.
const GROUP_WAIT_MS: u64 = 15_000;
/// Longest time for which a notification is inhibited, however long the outage lasts.
const MAX_INHIBITION_MS: u64 = 300_000;
/// Fewer notifications than this, all of one unit, are sent in full.
const MIN_DIGEST_SIZE: u64 = 3;
/// Most units that are remembered.
const MAX_NAMES: usize = 10_000;
/// Longest time between the begin of a watchdog outage and its report, in milliseconds.
const MAX_DETECTION_MS: i64 = 60_000;

/// The last outage of each source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages(BTreeMap<OutageSource, Outage>);

/// One outage with the notifications that it inhibits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) since: UtcMs,
    pub(crate) until: Option<UtcMs>,
    inhibited: Option<InhibitedNotifications>,
}

/// Inhibited notifications since the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InhibitedNotifications {
    pub(crate) since: UtcMs,
    /// Number of notifications by kind.
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) units: BTreeSet<String>,
    /// The notifications in full, as long as they are few.
    notifications: Vec<Notification>,
    events_stored: u64,
}

impl Outages {
    /// Folds one record that was stored at `at`.
    pub(crate) fn apply(&mut self, at: UtcMs, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::Queued {
                event,
                notifications,
            } => {
                let first = notifications.first();
                self.note_event(
                    event,
                    first.map_or("", |notification| &notification.kind),
                    first.map_or(at, |notification| notification.at),
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
                unit,
                source,
                notifications,
                ..
            } => self.inhibit(at, *source, kind, unit, notifications),
            DeliveryRecord::InhibitedSummarized { source } => {
                if let Some(outage) = self.0.get_mut(source) {
                    outage.inhibited = None;
                }
            }
            _ => {}
        }
    }

    /// Number of inhibited notifications.
    pub fn inhibited_count(&self) -> u64 {
        let inhibited = self.0.values();
        let inhibited = inhibited.filter_map(|outage| outage.inhibited.as_ref());
        inhibited.map(InhibitedNotifications::count).sum()
    }

    /// Record of a bus outage that ended at `recovered_at` at the latest; `None` while it lasts, if it was short, or if
    /// it is recorded already.
    pub fn outage_record(
        &self,
        span: &OutageSpan,
        recovered_at: Option<UtcMs>,
    ) -> Option<DeliveryRecord> {
        let (since, until) = (span.since, span.until.or(recovered_at)?);
        let bus = self.0.get(&OutageSource::Bus);
        let is_known = bus.is_some_and(|bus| bus.since <= since && bus.until >= Some(until));
        let is_short = until.millis_since(since) < MIN_OUTAGE_MS;
        (!is_known && !is_short).then_some(DeliveryRecord::BusOutage { since, until })
    }

    /// The outage that explains an event of this time about a unit, with its source; `unit_of` names the unit that an
    /// outage of a source affects.
    pub(crate) fn covering<'a>(
        &self,
        at: UtcMs,
        unit_of: impl Fn(OutageSource) -> Option<&'a str>,
    ) -> Option<(OutageSource, &'a str, &Outage)> {
        self.0.iter().find_map(|(source, outage)| {
            let unit = unit_of(*source).filter(|_| outage.covers(*source, at))?;
            Some((*source, unit, outage))
        })
    }

    /// The first outage whose inhibited notifications are due.
    pub(crate) fn due(
        &self,
        now: UtcMs,
    ) -> Option<(OutageSource, &Outage, &InhibitedNotifications)> {
        self.0.iter().find_map(|(source, outage)| {
            let inhibited = outage.inhibited.as_ref()?;
            outage
                .is_due(*source, inhibited, now)
                .then_some((*source, outage, inhibited))
        })
    }

    /// Folds what a queued or silenced event says about the watchdog.
    fn note_event(&mut self, event: &str, kind: &str, at: UtcMs) {
        if event.starts_with(event_ids::WATCHDOG_LOST) {
            let since = UtcMs(at.0.saturating_sub(MAX_DETECTION_MS));
            self.note_outage(OutageSource::Watchdog, since, None);
        } else if event.starts_with(event_ids::WATCHDOG_RECOVERED) || kind == "watchdog_started" {
            self.note_outage(OutageSource::Watchdog, at, Some(at));
        }
    }

    /// Adds an outage. One that touches the last one extends it.
    fn note_outage(&mut self, source: OutageSource, since: UtcMs, until: Option<UtcMs>) {
        match self.0.get_mut(&source) {
            Some(known) if known.inhibited.is_some() || known.covers(source, since) => {
                known.since = known.since.min(since);
                known.until = until.map(|until| known.until.unwrap_or(until).max(until));
            }
            _ => {
                let outage = Outage {
                    since,
                    until,
                    inhibited: None,
                };
                self.0.insert(source, outage);
            }
        }
    }

    fn inhibit(
        &mut self,
        at: UtcMs,
        source: OutageSource,
        kind: &str,
        unit: &str,
        notifications: &[Notification],
    ) {
        let Some(outage) = self.0.get_mut(&source) else {
            return;
        };
        let inhibited = outage
            .inhibited
            .get_or_insert_with(|| InhibitedNotifications {
                since: at,
                counts: BTreeMap::new(),
                units: BTreeSet::new(),
                notifications: Vec::new(),
                events_stored: 0,
            });
        *inhibited.counts.entry(kind.to_owned()).or_default() += 1;
        if inhibited.units.len() < MAX_NAMES {
            inhibited.units.insert(unit.to_owned());
        }
        if !notifications.is_empty() {
            inhibited.notifications.extend_from_slice(notifications);
            inhibited.events_stored += 1;
        }
    }
}

impl Outage {
    /// Whether an event of this time may be an effect of the outage.
    fn covers(&self, source: OutageSource, at: UtcMs) -> bool {
        let settling_ms = match source {
            OutageSource::Bus => BUS_SETTLING_MS,
            OutageSource::Watchdog => WATCHDOG_SETTLING_MS,
        };
        let is_over = |until: UtcMs| at > until && at.millis_since(until) > settling_ms;
        at >= self.since && !self.until.is_some_and(is_over)
    }

    /// Whether the next notification about this unit is stored in full.
    pub(crate) fn is_stored_in_full(&self, unit: &str) -> bool {
        self.inhibited.as_ref().is_none_or(|inhibited| {
            inhibited.count() < MIN_DIGEST_SIZE
                && inhibited.are_all_stored()
                && inhibited.units.contains(unit)
        })
    }

    /// Whether the inhibited notifications are sent now. A clock that was set back delays nothing.
    fn is_due(&self, source: OutageSource, inhibited: &InhibitedNotifications, now: UtcMs) -> bool {
        let wait_ms = if self.covers(source, now) {
            MAX_INHIBITION_MS
        } else {
            GROUP_WAIT_MS
        };
        now < inhibited.since || now.millis_since(inhibited.since) >= wait_ms
    }
}

impl InhibitedNotifications {
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    fn are_all_stored(&self) -> bool {
        self.events_stored == self.count()
    }

    /// The notifications in full; `None` if they are too many or of several units.
    pub(crate) fn in_full(&self) -> Option<&[Notification]> {
        self.are_all_stored().then_some(&*self.notifications)
    }
}
