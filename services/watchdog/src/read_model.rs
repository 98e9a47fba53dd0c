//! Read model of one watchdog journal, for `status`, `explain` and `history`. Nothing is appended.

use protocol::VERSION;
use protocol::command::{
    CommandReply, ServiceStatus, UnitCommand, UnitHold, UnitStatus, UnitStatuses,
};
use protocol::duration::format_ms;
use protocol::exit_code::ExitCode;
use protocol::ids::{HostKey, SubjectToken};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::process::ExitError;
use serde_json::{Value, json};
use watchdog_core::clock_step::format_step;
use watchdog_core::explain;
use watchdog_core::format::format_time;
use watchdog_core::history;
use watchdog_core::phase::UnitPhase;
use watchdog_core::reason::RestartReason;
use watchdog_core::record::ServiceRecord;
use watchdog_core::record::{SupervisionRecord, UnitRecord};
use watchdog_core::service_healing;
use watchdog_core::state::{ServiceState, SupervisionState};
use watchdog_core::unit::{Hold, Unit};

const COLUMNS: [&str; 7] = [
    "UNIT",
    "STATE",
    "SINCE (UTC)",
    "RESTARTS",
    "FAILURES IN A ROW",
    "NEXT START",
    "LAST REASON",
];
/// Records of a unit that `history` shows, newest last.
const MAX_HISTORY: usize = 50;

/// The folded journal and its records.
pub struct ReadModel {
    state: SupervisionState,
    records: Vec<(SubjectToken, UtcMs, RecordSubject)>,
    /// Why nothing of this is acted upon. `None` if a watchdog answers.
    absence: Option<String>,
}

/// A record about a unit or a service.
enum RecordSubject {
    Unit(UnitRecord),
    Service(ServiceRecord),
}

impl RecordSubject {
    fn describe(&self) -> Vec<String> {
        match self {
            Self::Unit(record) => history::describe(record),
            Self::Service(record) => vec![record.describe()],
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Unit(record) => json!(record),
            Self::Service(record) => json!(record),
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
            .map_err(|_| ExitError::internal("bug: invalid name"))?;
        let (_, entries) = Journal::replay::<SupervisionRecord>(bus, &subject, reader)
            .await
            .map_err(|error| ExitError::new(ExitCode::Unavailable, error.to_string()))?;
        let mut model = Self {
            state: SupervisionState::default(),
            records: Vec::new(),
            absence: None,
        };
        for stored in entries {
            model
                .state
                .fold(&stored.batch)
                .map_err(|error| ExitError::config(error.to_string()))?;
            model
                .records
                .extend(stored.batch.records.into_iter().filter_map(record_subject));
        }
        Ok(model)
    }

    /// This model of a host on which no watchdog answers.
    #[must_use]
    pub fn without_watchdog(self, error: &str) -> Self {
        Self {
            absence: Some(format!(
                "no watchdog answers ({error}): nothing is restarted until one runs; check with: \
                 docker compose ps -a watchdog"
            )),
            ..self
        }
    }

    /// Whether the operator is needed: a unit or a service is quarantined, or units are not supervised now.
    pub fn needs_operator(&self) -> bool {
        self.state.any_quarantined()
            || self.state.any_service_quarantined()
            || self.warning().is_some()
    }

    /// Why units are not supervised now, in one line. `None` if all are.
    fn warning(&self) -> Option<String> {
        let blindness = || {
            let blindness = self.state.blindness.as_ref()?;
            let units: Vec<&str> = blindness.units.iter().map(SubjectToken::as_str).collect();
            let units = if units.is_empty() {
                "no unit can be judged".to_owned()
            } else {
                format!("cannot judge {}", units.join(", "))
            };
            let (since, reason) = (format_time(blindness.since), &blindness.reason);
            Some(format!("blind since {since}: {units}; {reason}"))
        };
        self.absence.clone().or_else(blindness)
    }

    fn with_warning(&self, text: &str) -> String {
        match self.warning() {
            Some(warning) => format!("WARNING: {warning}\n{text}"),
            None => text.to_owned(),
        }
    }

    /// Whether the journal has records of a unit or service of this name.
    pub fn has_records_of(&self, name: &SubjectToken) -> bool {
        self.records.iter().any(|(of, ..)| of == name)
    }

    /// Answers a command that only reads: `status`, `explain` or `history`.
    pub fn answer(&self, command: &UnitCommand, now: UtcMs) -> CommandReply {
        match command {
            UnitCommand::Status => {
                let lines = [self.table(now)].into_iter().chain(self.service_lines());
                let lines = lines.chain(self.clock_step_line());
                let text = lines.collect::<Vec<_>>().join("\n");
                success_reply(self.with_warning(&text), self.rows(now))
            }
            UnitCommand::Explain { unit } => self.answer_about(unit, |unit_state| {
                let explanation = explain::explain(unit, unit_state, now);
                success_reply(self.with_warning(&explanation.text()), json!(explanation))
            }),
            UnitCommand::History { unit } if self.has_records_of(unit) => self.history(unit),
            UnitCommand::History { unit } => unknown_unit(unit),
            other => failure_reply(format!("{}: not a query", other.verb())),
        }
    }

    fn answer_about(
        &self,
        unit: &SubjectToken,
        answer: impl FnOnce(&Unit) -> CommandReply,
    ) -> CommandReply {
        match self.state.units.get(unit) {
            Some(unit_state) => answer(unit_state),
            None => match self.state.services.get(unit) {
                Some(service) => {
                    let text = service_healing::explain(unit, service);
                    let data = json!(service_row(unit, service));
                    success_reply(self.with_warning(&text), data)
                }
                None => unknown_unit(unit),
            },
        }
    }

    fn table(&self, now: UtcMs) -> String {
        if self.state.units.is_empty() {
            return "no unit is known yet".to_owned();
        }
        let units = self.state.units.iter();
        format_table(
            &COLUMNS,
            units.map(|(name, unit)| table_row(name, unit, now)),
        )
    }

    fn rows(&self, now: UtcMs) -> Value {
        let units = self.state.units.iter();
        json!(UnitStatuses {
            units: units.map(|(name, unit)| row(name, unit, now)).collect(),
            blindness: self.warning(),
            services: self
                .unrestarted_services()
                .map(|(name, service)| service_row(name, service))
                .collect(),
            clock_step: self.clock_step_line(),
        })
    }

    /// Services that are not restarted when they hang.
    fn unrestarted_services(&self) -> impl Iterator<Item = (&SubjectToken, &ServiceState)> {
        let services = self.state.services.iter();
        services.filter(|(_, service)| service.hold.is_some() || service.quarantine.is_some())
    }

    fn service_lines(&self) -> impl Iterator<Item = String> {
        self.unrestarted_services().map(|(name, service)| {
            let text = service_healing::explain(name, service);
            text.lines().take(2).collect::<Vec<_>>().join(" ")
        })
    }

    fn clock_step_line(&self) -> Option<String> {
        let step = self.state.clock_step?;
        Some(format!(
            "The wall clock of the host was stepped by {} (now {}); no decision of the watchdog depends on it",
            format_step(step.by_ms),
            format_time(step.at)
        ))
    }

    fn history(&self, unit: &SubjectToken) -> CommandReply {
        let of = self.records.iter().filter(|(name, _, _)| name == unit);
        let newest: Vec<_> = of.collect();
        let newest = &newest[newest.len().saturating_sub(MAX_HISTORY)..];
        let rows = newest.iter().flat_map(|(_, at, record)| {
            let times = std::iter::once(format_time(*at)).chain(std::iter::repeat(String::new()));
            let lines = record.describe().into_iter();
            times.zip(lines).map(|(time, line)| [time, line])
        });
        let text = format_table(&["TIME (UTC)", "EVENT"], rows);
        let data = newest.iter().map(|(_, at, record)| {
            json!({ "at": at, "text": record.describe().join("\n"), "record": record.to_json() })
        });
        success_reply(
            text,
            json!({ "unit": unit, "history": data.collect::<Vec<_>>() }),
        )
    }
}

fn record_subject(record: SupervisionRecord) -> Option<(SubjectToken, UtcMs, RecordSubject)> {
    match record {
        SupervisionRecord::Unit { unit, at, record } => {
            Some((unit, at, RecordSubject::Unit(record)))
        }
        SupervisionRecord::Service {
            service,
            at,
            record,
        } => Some((service, at, RecordSubject::Service(record))),
        SupervisionRecord::WriterChanged { .. }
        | SupervisionRecord::BlindnessBegan { .. }
        | SupervisionRecord::BlindnessEnded { .. }
        | SupervisionRecord::ClockStepped { .. } => None,
    }
}

fn unknown_unit(name: &SubjectToken) -> CommandReply {
    failure_reply(format!("{name}: no unit of this name is known"))
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

fn table_row(name: &SubjectToken, unit: &Unit, now: UtcMs) -> [String; COLUMNS.len()] {
    let reason = last_reason(unit);
    [
        name.to_string(),
        phase_text(unit),
        format_time(unit.since),
        format!("{}/{}", unit.restarts, max_restarts(unit)),
        unit.consecutive_failures.to_string(),
        next_start(unit, now),
        reason.unwrap_or_else(|| "-".to_owned()),
    ]
}

/// A table without borders. Lines are not wrapped and have no trailing spaces.
fn format_table<const N: usize>(
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(header.to_vec())
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn row(name: &SubjectToken, unit: &Unit, now: UtcMs) -> UnitStatus {
    UnitStatus {
        unit: name.clone(),
        phase: unit.phase.as_str().to_owned(),
        hold: unit.hold.as_ref().map(unit_hold),
        since: unit.since,
        restarts: unit.restarts,
        max_restarts: max_restarts(unit),
        consecutive_failures: unit.consecutive_failures,
        next_start_ms: explain::next_start_ms(unit, now),
        last_reason: last_reason(unit),
    }
}

fn service_row(name: &SubjectToken, service: &ServiceState) -> ServiceStatus {
    ServiceStatus {
        service: name.clone(),
        is_quarantined: service.quarantine.is_some(),
        hold: service.hold.as_ref().map(unit_hold),
        restarts: service.heals,
    }
}

fn unit_hold(hold: &Hold) -> UnitHold {
    UnitHold {
        by: hold.by.clone(),
        reason: hold.reason.clone(),
    }
}

/// Why the unit is not supervised, else the reason of its last restart or quarantine.
fn last_reason(unit: &Unit) -> Option<String> {
    match &unit.phase {
        UnitPhase::NotSupervised { reason } => Some(reason.clone()),
        _ => unit.last_reason.as_ref().map(RestartReason::to_string),
    }
}

fn max_restarts(unit: &Unit) -> u32 {
    unit.policy.as_ref().map_or(0, |policy| policy.max_restarts)
}

fn phase_text(unit: &Unit) -> String {
    let hold = if unit.hold.is_some() { ", on hold" } else { "" };
    format!("{}{hold}", unit.phase.as_str())
}

fn next_start(unit: &Unit, now: UtcMs) -> String {
    match (&unit.phase, explain::next_start_ms(unit, now)) {
        (_, _) if unit.hold.is_some() => "on release".to_owned(),
        (UnitPhase::Quarantined { .. }, _) => "on release".to_owned(),
        (UnitPhase::Starting { .. }, _) => "now".to_owned(),
        (_, Some(ms)) => format!("in {}", format_ms(ms)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchdog_core::container::Run;
    use watchdog_core::model::StartedBy;

    fn model(name: &str, records: &[UnitRecord]) -> ReadModel {
        let unit: SubjectToken = name.parse().unwrap();
        let mut model = ReadModel {
            state: SupervisionState::default(),
            records: Vec::new(),
            absence: None,
        };
        for record in records {
            let record = SupervisionRecord::Unit {
                unit: unit.clone(),
                at: UtcMs(1_795_489_200_000),
                record: record.clone(),
            };
            model.state.apply(&record);
            model.records.extend(record_subject(record));
        }
        model
    }

    fn started() -> UnitRecord {
        UnitRecord::Started {
            run: Run {
                container: "4f1c".to_owned(),
                started_at: "2026-11-24T03:00:00Z".to_owned(),
            },
            by: StartedBy::AlreadyRunning,
            config: None,
        }
    }

    #[test]
    fn status_columns_fit_every_state_and_name() {
        let hold = UnitRecord::HoldSet {
            by: "operator".to_owned(),
            reason: "maintenance".to_owned(),
        };
        let model = model("a-service-with-a-long-name-12", &[started(), hold]);
        let reply = model.answer(&UnitCommand::Status, UtcMs(1_795_489_260_000));
        let expected = "\
UNIT                           STATE             SINCE (UTC)          RESTARTS  FAILURES IN A ROW  NEXT START  LAST REASON
a-service-with-a-long-name-12  running, on hold  2026-11-24T03:00:00  0/0       0                  on release  -";
        assert_eq!(reply.text, expected);
    }

    #[test]
    fn status_and_explain_begin_with_what_is_not_supervised() {
        let mut model = model("trader-paper-1", &[started()]);
        assert!(!model.needs_operator());
        model.state.apply(&SupervisionRecord::BlindnessBegan {
            at: UtcMs(1_795_489_200_000),
            reason: "Docker cannot be reached: no answer within 3s".to_owned(),
            units: Vec::new(),
        });
        let now = UtcMs(1_795_489_260_000);
        let unit: SubjectToken = "trader-paper-1".parse().unwrap();
        let explain = UnitCommand::Explain { unit };
        for command in [&UnitCommand::Status, &explain] {
            let text = model.answer(command, now).text;
            let expected =
                "WARNING: blind since 2026-11-24T03:00:00: no unit can be judged; Docker";
            assert!(text.starts_with(expected), "{text}");
        }
        assert!(model.needs_operator());
        let dead = model.without_watchdog("no responders");
        let text = dead.answer(&explain, now).text;
        assert!(text.starts_with("WARNING: no watchdog answers"), "{text}");
    }

    #[test]
    fn status_and_explain_show_a_service_that_is_not_restarted() {
        let service: SubjectToken = "nats-1".parse().unwrap();
        let mut model = model("trader-paper-1", &[started()]);
        let run = Run {
            container: "77aa".to_owned(),
            started_at: "2026-11-24T03:00:00Z".to_owned(),
        };
        let started = ServiceRecord::Started {
            run: run.clone(),
            restarts: 0,
            by: StartedBy::NewContainer,
        };
        let quarantined = ServiceRecord::Quarantined {
            run,
            reason: "hung: the health check timed out".to_owned(),
            heals: 6,
        };
        for record in [started, quarantined] {
            model.state.apply(&SupervisionRecord::Service {
                service: service.clone(),
                at: UtcMs(1_795_489_200_000),
                record,
            });
        }
        let now = UtcMs(1_795_489_260_000);
        let status = model.answer(&UnitCommand::Status, now);
        assert!(model.needs_operator());
        let explain = UnitCommand::Explain { unit: service };
        let explained = model.answer(&explain, now);
        for reply in [status, explained] {
            assert!(
                reply.ok
                    && reply
                        .text
                        .contains("nats-1 is a service, quarantined since")
                    && reply.text.contains("scripts/bearish release nats-1"),
                "{}",
                reply.text
            );
        }
    }

    #[test]
    fn history_shows_each_record_with_its_time() {
        let log = UnitRecord::LogRead {
            run: Run {
                container: "4f1c".to_owned(),
                started_at: "2026-11-24T03:00:00Z".to_owned(),
            },
            log: vec!["one".to_owned(), "two".to_owned()],
            log_error: None,
        };
        let model = model("trader-paper-1", &[started(), log]);
        let unit = "trader-paper-1".parse().unwrap();
        let reply = model.answer(&UnitCommand::History { unit }, UtcMs(1_795_489_260_000));
        let expected = "\
TIME (UTC)           EVENT
2026-11-24T03:00:00  already running when supervision began
2026-11-24T03:00:00  log of the run before
                     | one
                     | two";
        assert_eq!(reply.text, expected);
    }
}
