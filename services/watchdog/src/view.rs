//! A project's journal, read and folded to answer what persons ask: `status`, `explain`, `history`. It is
//! only read: the writing end is dropped before anything is appended.

use protocol::VERSION;
use protocol::command::{Answer, UnitOrder};
use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::process::Stop;
use serde_json::{Value, json};
use supervision::explain;
use supervision::healing::Healing;
use supervision::history;
use supervision::phase::Phase;
use supervision::record::{Fact, Reason, Record};
use supervision::state::State;
use supervision::unit::Unit;

const COLUMNS: &str = "UNIT                 STATE        SINCE (UTC)          RESTARTS  IN A ROW  \
                       NEXT START  LAST REASON";
/// Facts of a unit that `history` shows: the newest.
const SHOWN: usize = 50;

/// What a journal says.
pub struct View {
    state: State,
    facts: Vec<(Token, UtcMs, About)>,
}

/// What a fact is about.
enum About {
    Unit(Fact),
    Service(Healing),
}

impl About {
    fn words(&self) -> Vec<String> {
        match self {
            Self::Unit(fact) => history::words(fact),
            Self::Service(fact) => vec![fact.words()],
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Unit(fact) => json!(fact),
            Self::Service(fact) => json!(fact),
        }
    }
}

impl View {
    /// Reads the journal of a project.
    ///
    /// # Errors
    /// Exit 69 if the bus does not answer, 78 if a newer build wrote it.
    pub async fn read(bus: &Bus, project: &Token) -> Result<Self, Stop> {
        let subject = Subject::WatchdogJournal(project.clone());
        let reader: Token = "reader"
            .parse()
            .map_err(|_| Stop::internal("bug: no name"))?;
        let (_, entries) = Journal::replay::<Record>(bus, &subject, reader)
            .await
            .map_err(|error| Stop::new(ExitCode::Unavailable, error.to_string()))?;
        let mut view = Self {
            state: State::default(),
            facts: Vec::new(),
        };
        for stored in entries {
            view.state
                .fold(&stored.entry)
                .map_err(|newer| Stop::config(newer.to_string()))?;
            view.facts
                .extend(stored.entry.records.into_iter().filter_map(about));
        }
        Ok(view)
    }

    /// Whether a person has to act.
    pub fn any_quarantined(&self) -> bool {
        self.state.any_quarantined()
    }

    /// Whether there is anything to say of a unit, or a service, of this name.
    pub fn knows(&self, name: &Token) -> bool {
        self.facts.iter().any(|(of, ..)| of == name)
    }

    /// Answers what only asks.
    pub fn answer(&self, order: &UnitOrder, now: UtcMs) -> Answer {
        match order {
            UnitOrder::Status => answered(self.table(now), self.rows(now)),
            UnitOrder::Explain { unit } => self.about(unit, |known| {
                let said = explain::explain(unit, known, now);
                answered(said.text(), json!(said))
            }),
            UnitOrder::History { unit } if self.knows(unit) => self.history(unit),
            UnitOrder::History { unit } => unknown(unit),
            other => refused(format!("{} changes something", other.verb())),
        }
    }

    fn about(&self, unit: &Token, answer: impl FnOnce(&Unit) -> Answer) -> Answer {
        match self.state.units.get(unit) {
            Some(known) => answer(known),
            None => unknown(unit),
        }
    }

    fn table(&self, now: UtcMs) -> String {
        if self.state.units.is_empty() {
            return "no unit has been seen yet".to_owned();
        }
        let lines = self
            .state
            .units
            .iter()
            .map(|(name, unit)| line(name, unit, now));
        let lines: Vec<String> = std::iter::once(COLUMNS.to_owned()).chain(lines).collect();
        lines.join("\n")
    }

    fn rows(&self, now: UtcMs) -> Value {
        let rows = self
            .state
            .units
            .iter()
            .map(|(name, unit)| row(name, unit, now));
        json!({ "units": rows.collect::<Vec<_>>() })
    }

    fn history(&self, unit: &Token) -> Answer {
        let of = self.facts.iter().filter(|(name, _, _)| name == unit);
        let newest: Vec<_> = of.collect();
        let newest = &newest[newest.len().saturating_sub(SHOWN)..];
        let text = newest.iter().map(|(_, at, fact)| {
            let at: String = at.to_string().chars().take(19).collect();
            format!("{at}  {}", fact.words().join("\n                       "))
        });
        let data = newest.iter().map(|(_, at, fact)| {
            json!({ "at": at, "text": fact.words().join("\n"), "fact": fact.json() })
        });
        answered(
            text.collect::<Vec<_>>().join("\n"),
            json!({ "unit": unit, "history": data.collect::<Vec<_>>() }),
        )
    }
}

fn about(record: Record) -> Option<(Token, UtcMs, About)> {
    match record {
        Record::Unit { unit, at, fact } => Some((unit, at, About::Unit(fact))),
        Record::Service { service, at, fact } => Some((service, at, About::Service(fact))),
        Record::OwnerTookOver { .. } => None,
    }
}

fn unknown(name: &Token) -> Answer {
    refused(format!("{name}: no unit of this name was ever seen"))
}

const fn answered(text: String, data: Value) -> Answer {
    Answer {
        v: VERSION,
        done: true,
        text,
        data: Some(data),
    }
}

const fn refused(text: String) -> Answer {
    Answer {
        v: VERSION,
        done: false,
        text,
        data: None,
    }
}

fn line(name: &Token, unit: &Unit, now: UtcMs) -> String {
    let since: String = unit.since.to_string().chars().take(19).collect();
    let reason = unit.last_reason.as_ref().map(Reason::to_string);
    let line = format!(
        "{:<20} {:<12} {since} {:>9} {:>9}  {:<10}  {}",
        name.as_str(),
        verdict(unit),
        format!("{}/{}", unit.restarts, max(unit)),
        unit.consecutive,
        next_start(unit, now),
        reason.as_deref().unwrap_or("-"),
    );
    line.trim_end().to_owned()
}

fn row(name: &Token, unit: &Unit, now: UtcMs) -> Value {
    json!({
        "unit": name,
        "verdict": unit.phase.as_str(),
        "held": unit.held.as_ref().map(|hold| json!({ "by": hold.by, "why": hold.why })),
        "since": unit.since,
        "restarts": unit.restarts,
        "max_restarts": max(unit),
        "consecutive": unit.consecutive,
        "next_start_ms": explain::next_start_ms(unit, now),
        "last_reason": unit.last_reason.as_ref().map(Reason::to_string),
    })
}

fn max(unit: &Unit) -> u32 {
    unit.policy.as_ref().map_or(0, |policy| policy.max_restarts)
}

fn verdict(unit: &Unit) -> String {
    let held = if unit.held.is_some() { "*held" } else { "" };
    format!("{}{held}", unit.phase.as_str())
}

fn next_start(unit: &Unit, now: UtcMs) -> String {
    match (&unit.phase, explain::next_start_ms(unit, now)) {
        (_, _) if unit.held.is_some() => "by hand".to_owned(),
        (Phase::Quarantined { .. }, _) => "by hand".to_owned(),
        (Phase::Starting { .. }, _) => "now".to_owned(),
        (_, Some(ms)) => format!("in {} s", ms.div_ceil(1000)),
        _ => "-".to_owned(),
    }
}
