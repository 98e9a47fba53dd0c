//! Inhibition: what the absence of the bus or of the watchdog does to traders is held while it lasts, and told
//! as one message that counts it and names them. Criticals are never held, nor what waits for a person, nor
//! the trouble that somebody had before.
//!
//! Whether something belongs to an absence is judged by when it happened. The watchdog is known to be away
//! while its silence is told ([`vigil`]), and to have been away when it starts: with it, maybe,
//! its host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::event::{EventBody, Severity};
use protocol::ids::Service;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::letter::Letter;
use crate::lifeline::Absence;
use crate::news::News;
use crate::record::Record;
use crate::silence;
use crate::state::State;
use crate::vigil;

/// An absence of the bus that is shorter does nothing to anybody, in milliseconds.
const SHORTEST_MS: u64 = 5_000;
/// How long after its return what the bus's absence did shows.
const BUS_SETTLES_MS: u64 = 60_000;
/// The watchdog looks at everybody when it starts.
const WATCHDOG_SETTLES_MS: u64 = 15_000;
/// For so long what was done to others is waited for.
const COMPANY_MS: u64 = 15_000;
/// Nothing is held for longer, however long the absence lasts.
const LONGEST_MS: u64 = 300_000;
/// Whoever fails so often in a row had trouble before.
const OWN_TROUBLE: u32 = 3;
/// So little of one trader alone is told as it is.
const FEW: u64 = 3;
/// Names that are remembered.
const MOST_NAMES: usize = 10_000;
/// Names that are told.
const NAMED: usize = 20;

/// Who was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The bus: traders can not report.
    Bus,
    /// The watchdog, or its host.
    Watchdog,
}

impl Cause {
    const fn settles_ms(self) -> u64 {
        match self {
            Self::Bus => BUS_SETTLES_MS,
            Self::Watchdog => WATCHDOG_SETTLES_MS,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "bus",
            Self::Watchdog => "watchdog",
        })
    }
}

/// One absence of each, the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outages(BTreeMap<Cause, Outage>);

/// An absence and what is held because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outage {
    since: UtcMs,
    until: Option<UtcMs>,
    held: Option<Held>,
}

/// What is held, since when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    since: UtcMs,
    counts: BTreeMap<String, u64>,
    names: BTreeSet<String>,
    /// As it would have been told; as long as it is little.
    letters: Vec<Letter>,
    kept: u64,
}

impl Outages {
    /// Folds what a record, stored at this time, says of absences.
    pub(crate) fn apply(&mut self, at: UtcMs, record: &Record) {
        match record {
            Record::Queued { event, letters } => {
                let first = letters.first();
                self.told(
                    event,
                    first.map_or("", |letter| &letter.kind),
                    first.map_or(at, |letter| letter.at),
                );
            }
            Record::Hushed { event, kind, .. } => self.told(event, kind, at),
            Record::BusWasAway { since, until } => self.away(Cause::Bus, *since, Some(*until)),
            Record::Held {
                kind,
                name,
                cause,
                letters,
                ..
            } => self.hold(at, *cause, kind, name, letters),
            Record::HeldTold { cause } => {
                if let Some(outage) = self.0.get_mut(cause) {
                    outage.held = None;
                }
            }
            _ => {}
        }
    }

    /// How much is held now, for people.
    pub fn held(&self) -> u64 {
        let held = self.0.values().filter_map(|outage| outage.held.as_ref());
        held.map(Held::count).sum()
    }

    /// What there is to record of an absence of the bus, which was over at the latest at `back`; none while it
    /// lasts, if it was short, or if it is known.
    pub fn news_of(&self, absence: &Absence, back: Option<UtcMs>) -> Option<Record> {
        let (since, until) = (absence.since, absence.until.or(back)?);
        let bus = self.0.get(&Cause::Bus);
        let known = bus.is_some_and(|bus| bus.since <= since && bus.until >= Some(until));
        let short = until.millis_since(since) < SHORTEST_MS;
        (!known && !short).then_some(Record::BusWasAway { since, until })
    }

    /// What a message to the owner says of the watchdog.
    fn told(&mut self, event: &str, kind: &str, at: UtcMs) {
        if vigil::says_silent(event) {
            let since = UtcMs(at.0.saturating_sub(vigil::NOTICED_AFTER_MS));
            self.away(Cause::Watchdog, since, None);
        } else if vigil::says_back(event) || kind == "watchdog_started" {
            self.away(Cause::Watchdog, at, Some(at));
        }
    }

    /// An absence that meets the one before is the same one.
    fn away(&mut self, cause: Cause, since: UtcMs, until: Option<UtcMs>) {
        match self.0.get_mut(&cause) {
            Some(known) if known.held.is_some() || known.reaches(cause, since) => {
                known.since = known.since.min(since);
                known.until = until.map(|until| known.until.unwrap_or(until).max(until));
            }
            _ => {
                let held = None;
                let outage = Outage { since, until, held };
                self.0.insert(cause, outage);
            }
        }
    }

    fn hold(&mut self, at: UtcMs, cause: Cause, kind: &str, name: &str, letters: &[Letter]) {
        let Some(outage) = self.0.get_mut(&cause) else {
            return;
        };
        let held = outage.held.get_or_insert_with(|| Held {
            since: at,
            counts: BTreeMap::new(),
            names: BTreeSet::new(),
            letters: Vec::new(),
            kept: 0,
        });
        *held.counts.entry(kind.to_owned()).or_default() += 1;
        if held.names.len() < MOST_NAMES {
            held.names.insert(name.to_owned());
        }
        if !letters.is_empty() {
            held.letters.extend_from_slice(letters);
            held.kept += 1;
        }
    }

    /// What would be told of this, as it is recorded: held, if it is a symptom of an absence.
    pub(crate) fn heed(&self, news: &News, record: Record) -> Record {
        let Record::Queued { event, letters } = &record else {
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
            let name = victim(news, *cause).filter(|_| outage.reaches(*cause, at))?;
            Some((*cause, name, outage))
        });
        let Some((cause, name, outage)) = found else {
            return record;
        };
        let letters = if outage.would_keep(name) {
            letters.clone()
        } else {
            Vec::new()
        };
        Record::Held {
            event: event.clone(),
            kind,
            name: name.to_owned(),
            cause,
            letters,
        }
    }
}

impl Outage {
    /// Whether what happens then may come of it.
    fn reaches(&self, cause: Cause, at: UtcMs) -> bool {
        let over = |until: UtcMs| at > until && at.millis_since(until) > cause.settles_ms();
        at >= self.since && !self.until.is_some_and(over)
    }

    fn would_keep(&self, name: &str) -> bool {
        self.held.as_ref().is_none_or(|held| {
            held.count() < FEW && held.kept == held.count() && held.names.contains(name)
        })
    }

    /// Whether it is time to tell. A clock that was set back delays nothing.
    fn is_due(&self, cause: Cause, held: &Held, now: UtcMs) -> bool {
        let company = if self.reaches(cause, now) {
            LONGEST_MS
        } else {
            COMPANY_MS
        };
        now < held.since || now.millis_since(held.since) >= company
    }
}

impl Held {
    fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Whom an absence did this to; none if it is no symptom of one.
fn victim(news: &News, cause: Cause) -> Option<&str> {
    let News::Known {
        service,
        instance,
        event,
    } = news
    else {
        return None;
    };
    match &event.body {
        EventBody::RestartTriggered {
            unit, consecutive, ..
        } if *consecutive < OWN_TROUBLE => Some(unit.as_str()),
        EventBody::UnitRecovered { unit, .. } => Some(unit.as_str()),
        EventBody::PartFailed { .. }
        | EventBody::PartRecovered { .. }
        | EventBody::HealthChanged { .. }
            if cause == Cause::Bus && *service == Service::Trader =>
        {
            Some(instance.as_str())
        }
        _ => None,
    }
}

/// What there is to record once something was held for long enough: in one message, or as it was, if it is
/// little of one trader alone.
pub fn due(state: &State, now: UtcMs) -> Option<Vec<Record>> {
    let mut outages = state.outages.0.iter();
    let (cause, outage, held) = outages.find_map(|(cause, outage)| {
        let held = outage.held.as_ref()?;
        outage
            .is_due(*cause, held, now)
            .then_some((*cause, outage, held))
    })?;
    let letters = if held.kept == held.count() {
        held.letters.clone()
    } else {
        summary(cause, outage, held, now).split()
    };
    let queued = Record::Queued {
        event: format!("held:{cause}:{}", held.since.0),
        letters,
    };
    Some(vec![
        Record::HeldTold { cause },
        silence::heed(state, &[], queued, now),
    ])
}

fn summary(cause: Cause, outage: &Outage, held: &Held, now: UtcMs) -> Letter {
    let (who, away) = match (cause, outage.until) {
        (Cause::Bus, _) => ("THE BUS WAS AWAY", "The bus was away"),
        (Cause::Watchdog, None) => ("THE WATCHDOG IS SILENT", "The watchdog is silent"),
        (Cause::Watchdog, Some(_)) => ("THE WATCHDOG WAS AWAY", "The watchdog was away"),
    };
    let traders = match held.names.len() {
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
        format!("Traders: {}", names(&held.names)),
    ];
    Letter {
        at: now,
        severity: Severity::Warning,
        kind: "held".to_owned(),
        head: format!("🔕 {who}: {traders}, {} messages in one", held.count()),
        body: lines
            .into_iter()
            .chain(counts)
            .collect::<Vec<_>>()
            .join("\n"),
        picture: false,
    }
}

fn names(all: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = all.iter().take(NAMED).map(String::as_str).collect();
    match all.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
