//! A project's journal, read and folded to answer what persons ask: `status`, `describe_error`, `past_events`. It is
//! only read: the writing end is dropped before anything is appended.

use protocol::VERSION;
use protocol::command::{CommandReply, UnitCommand};
use protocol::exit_code::ExitCode;
use protocol::ids::{HostKey, SubjectToken};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::process::ExitError;
use serde_json::{Value, json};
use watchdog_core::explain;
use watchdog_core::history;
use watchdog_core::phase::UnitPhase;
use watchdog_core::reason::RestartReason;
use watchdog_core::record::{SupervisionRecord, UnitRecord};
use watchdog_core::record::ServiceRecord;
use watchdog_core::state::SupervisionState;
use watchdog_core::unit::Unit;

const COLUMNS: &str = "UNIT                 STATE        SINCE (UTC)          RESTARTS  IN A ROW  \
                       NEXT START  LAST REASON";
/// Facts of a unit that `past_events` shows: the newest.
const MAX_HISTORY: usize = 50;

/// What a journal says.
pub struct ReadModel {
    state: SupervisionState,
    records: Vec<(SubjectToken, UtcMs, RecordSubject)>,
}

/// What a fact is about.
enum RecordSubject {
    Unit(UnitRecord),
    Service(ServiceRecord),
}

impl RecordSubject {
    fn describe(&self) -> Vec<String> {
        match self {
            Self::Unit(fact) => history::describe(fact),
            Self::Service(fact) => vec![fact.describe()],
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Unit(fact) => json!(fact),
            Self::Service(fact) => json!(fact),
        }
    }
}

impl ReadModel {
    /// Reads the journal of one project on one host.
    ///
    /// # Errors
    /// Exit 69 if the bus does not answer, 78 if a newer build wrote it.
    pub async fn read(bus: &Bus, host: &HostKey) -> Result<Self, ExitError> {
        let subject = Subject::WatchdogJournal(host.clone());
        let reader: SubjectToken = "reader"
            .parse()
            .map_err(|_| ExitError::internal("bug: no name"))?;
        let (_, entries) = Journal::replay::<SupervisionRecord>(bus, &subject, reader)
            .await
            .map_err(|error| ExitError::new(ExitCode::Unavailable, error.to_string()))?;
        let mut view = Self {
            state: SupervisionState::default(),
            records: Vec::new(),
        };
        for stored in entries {
            view.state
                .fold(&stored.batch)
                .map_err(|newer| ExitError::config(newer.to_string()))?;
            view.records
                .extend(stored.batch.records.into_iter().filter_map(record_subject));
        }
        Ok(view)
    }

    /// Whether a person has to act.
    pub fn any_quarantined(&self) -> bool {
        self.state.any_quarantined()
    }

    /// Whether there is anything to say of a unit, or a service, of this name.
    pub fn has_records_of(&self, name: &SubjectToken) -> bool {
        self.records.iter().any(|(of, ..)| of == name)
    }

    /// Answers what only asks.
    pub fn answer(&self, order: &UnitCommand, now: UtcMs) -> CommandReply {
        match order {
            UnitCommand::Status => success_reply(self.table(now), self.rows(now)),
            UnitCommand::Explain { unit } => self.answer_about(unit, |known| {
                let said = explain::explain(unit, known, now);
                success_reply(said.text(), json!(said))
            }),
            UnitCommand::History { unit } if self.has_records_of(unit) => self.history(unit),
            UnitCommand::History { unit } => unknown_unit(unit),
            other => failure_reply(format!("{} changes something", other.verb())),
        }
    }

    fn answer_about(
        &self,
        unit: &SubjectToken,
        answer: impl FnOnce(&Unit) -> CommandReply,
    ) -> CommandReply {
        match self.state.units.get(unit) {
            Some(known) => answer(known),
            None => unknown_unit(unit),
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
            .map(|(name, unit)| table_line(name, unit, now));
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

    fn history(&self, unit: &SubjectToken) -> CommandReply {
        let of = self.records.iter().filter(|(name, _, _)| name == unit);
        let newest: Vec<_> = of.collect();
        let newest = &newest[newest.len().saturating_sub(MAX_HISTORY)..];
        let text = newest.iter().map(|(_, at, fact)| {
            let at: String = at.to_string().chars().take(19).collect();
            format!(
                "{at}  {}",
                fact.describe().join("\n                       ")
            )
        });
        let data = newest.iter().map(|(_, at, fact)| {
            json!({ "at": at, "text": fact.describe().join("\n"), "record": fact.to_json() })
        });
        success_reply(
            text.collect::<Vec<_>>().join("\n"),
            json!({ "unit": unit, "history": data.collect::<Vec<_>>() }),
        )
    }
}

fn record_subject(record: SupervisionRecord) -> Option<(SubjectToken, UtcMs, RecordSubject)> {
    match record {
        SupervisionRecord::Unit {
            unit,
            at,
            record: fact,
        } => Some((unit, at, RecordSubject::Unit(fact))),
        SupervisionRecord::Service {
            service,
            at,
            record: fact,
        } => Some((service, at, RecordSubject::Service(fact))),
        SupervisionRecord::WriterChanged { .. } => None,
    }
}

fn unknown_unit(name: &SubjectToken) -> CommandReply {
    failure_reply(format!("{name}: no unit of this name was ever seen"))
}

const fn success_reply(text: String, data: Value) -> CommandReply {
    CommandReply {
        v: VERSION,
        ok: true,
        text,
        data: Some(data),
    }
}

const fn failure_reply(text: String) -> CommandReply {
    CommandReply {
        v: VERSION,
        ok: false,
        text,
        data: None,
    }
}

fn table_line(name: &SubjectToken, unit: &Unit, now: UtcMs) -> String {
    let since: String = unit.since.to_string().chars().take(19).collect();
    let reason = unit.last_reason.as_ref().map(RestartReason::to_string);
    let line = format!(
        "{:<20} {:<12} {since} {:>9} {:>9}  {:<10}  {}",
        name.as_str(),
        phase_text(unit),
        format!("{}/{}", unit.restarts, max_restarts(unit)),
        unit.consecutive_failures,
        next_start(unit, now),
        reason.as_deref().unwrap_or("-"),
    );
    line.trim_end().to_owned()
}

fn row(name: &SubjectToken, unit: &Unit, now: UtcMs) -> Value {
    json!({
        "unit": name,
        "phase": unit.phase.as_str(),
        "hold": unit.hold.as_ref().map(|hold| json!({ "by": hold.by, "reason": hold.reason })),
        "since": unit.since,
        "restarts": unit.restarts,
        "max_restarts": max_restarts(unit),
        "consecutive_failures": unit.consecutive_failures,
        "next_start_ms": explain::next_start_ms(unit, now),
        "last_reason": unit.last_reason.as_ref().map(RestartReason::to_string),
    })
}

fn max_restarts(unit: &Unit) -> u32 {
    unit.policy.as_ref().map_or(0, |policy| policy.max_restarts)
}

fn phase_text(unit: &Unit) -> String {
    let held = if unit.hold.is_some() { "*held" } else { "" };
    format!("{}{held}", unit.phase.as_str())
}

fn next_start(unit: &Unit, now: UtcMs) -> String {
    match (&unit.phase, explain::next_start_ms(unit, now)) {
        (_, _) if unit.hold.is_some() => "by hand".to_owned(),
        (UnitPhase::Quarantined { .. }, _) => "by hand".to_owned(),
        (UnitPhase::Starting { .. }, _) => "now".to_owned(),
        (_, Some(ms)) => format!("in {} s", ms.div_ceil(1000)),
        _ => "-".to_owned(),
    }
}
