//! Healing of services: growing delays, a limit, holds and releases, on any clock and over restarts of the watchdog.

use std::time::Duration;

use bearish_watchdog_core::container::{ContainerHealth, FailedCheck, Run};
use bearish_watchdog_core::decide::apply_command;
use bearish_watchdog_core::event_mapping::operator_event;
use bearish_watchdog_core::model::StartedBy;
use bearish_watchdog_core::observed_state::ObservedState;
use bearish_watchdog_core::record::{ServiceRecord, SupervisionRecord};
use bearish_watchdog_core::service_healing::{Heal, HealLimiter, MAX_HEALS, ObservedService};
use bearish_watchdog_core::state::{ServiceState, SupervisionState};
use protocol::command::UnitCommand;
use protocol::event::{EventBody, Severity};
use protocol::ids::SubjectToken;
use protocol::time::{ClockReading, UtcMs};

use crate::support::MINUTE;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
/// Interval of the healer's checks.
const CHECK_MS: u64 = 10 * SECOND_MS;

fn nats() -> SubjectToken {
    "nats-1".parse().unwrap()
}

/// A service, a healer that restarts it, and a journal.
struct Rig {
    limiter: HealLimiter,
    state: SupervisionState,
    mono: u64,
    runs: u32,
    container: &'static str,
    is_hung: bool,
    /// The journal takes no records.
    is_bus_down: bool,
    unstored: Vec<ServiceRecord>,
    /// Times of the restarts.
    heals: Vec<u64>,
    events: Vec<EventBody>,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self {
            limiter: HealLimiter::new(5 * MINUTE),
            state: SupervisionState::default(),
            mono: 0,
            runs: 0,
            container: "4f1c",
            is_hung: true,
            is_bus_down: false,
            unstored: Vec::new(),
            heals: Vec::new(),
            events: Vec::new(),
        };
        rig.begin(StartedBy::NewContainer);
        rig
    }

    fn service(&self) -> ObservedService {
        let check = FailedCheck {
            exit_code: 1,
            docker_error: None,
        };
        ObservedService {
            name: nats(),
            run: self.run(),
            checked_age: Duration::ZERO,
            restarts: 0,
            grace_ms: 10_000,
            health: if self.is_hung {
                ContainerHealth::Unhealthy(vec![check])
            } else {
                ContainerHealth::Healthy
            },
        }
    }

    fn run(&self) -> Run {
        Run {
            container: self.container.to_owned(),
            started_at: format!("run {}", self.runs),
        }
    }

    fn begin(&mut self, by: StartedBy) {
        self.runs += 1;
        self.store(ServiceRecord::Started {
            run: self.run(),
            restarts: 0,
            by,
        });
    }

    fn store(&mut self, record: ServiceRecord) {
        self.unstored.push(record);
        if self.is_bus_down {
            return;
        }
        for record in std::mem::take(&mut self.unstored) {
            let record = SupervisionRecord::Service {
                service: nats(),
                at: UtcMs(0),
                record,
            };
            self.events.extend(operator_event(&record));
            self.state.apply(&record);
        }
        self.limiter.on_journal(&self.state.healing());
    }

    /// One check, as the healer makes it.
    fn check(&mut self) {
        let service = self.service();
        match self.limiter.decide(&service, self.mono) {
            Some(Heal::Restart(reason)) => {
                let run = service.run.clone();
                self.store(ServiceRecord::RestartIntended { run, reason });
                self.limiter.record_heal(&service, self.mono, self.mono);
                self.heals.push(self.mono);
                self.begin(StartedBy::Watchdog);
            }
            Some(Heal::GiveUp(record)) => self.store(record),
            None => {
                if let Some(record) = self.limiter.observe(&service, self.mono) {
                    self.store(record);
                }
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.mono + u64::try_from(span.as_millis()).unwrap();
        while self.mono < end {
            self.mono += CHECK_MS;
            self.check();
        }
    }

    /// The process is replaced. Its monotonic clock starts again, and only the journal is left.
    fn replace_process(&mut self) {
        self.limiter = HealLimiter::new(5 * MINUTE);
        self.limiter.on_journal(&self.state.healing());
    }

    fn command(&mut self, command: &UnitCommand) -> Result<(), String> {
        let now = bearish_watchdog_core::decision_inputs::DecisionInputs {
            clock: ClockReading {
                utc: UtcMs(0),
                mono: self.mono,
            },
            random: 0,
        };
        let observed = ObservedState::default();
        let (_, records) = apply_command(&self.state, &observed, command, "ops", now)?;
        for record in records {
            let SupervisionRecord::Service { record, .. } = record else {
                panic!("{record:?}")
            };
            self.store(record);
        }
        Ok(())
    }

    fn journaled(&self) -> &ServiceState {
        &self.state.services[&nats()]
    }

    fn kinds(&self, kind: &str) -> usize {
        let events = self.events.iter();
        events.filter(|event| event.kind() == kind).count()
    }
}

fn hold() -> UnitCommand {
    UnitCommand::Hold {
        unit: nats(),
        reason: "repair".to_owned(),
    }
}

fn release() -> UnitCommand {
    UnitCommand::Release {
        unit: nats(),
        reset_restarts: false,
    }
}

/// Minutes between successive times.
fn gaps(times: &[u64]) -> Vec<u64> {
    let pairs = times.windows(2);
    pairs.map(|pair| (pair[1] - pair[0]) / MINUTE_MS).collect()
}

#[test]
fn restarts_in_a_row_have_growing_delays_and_end_in_a_quarantine_that_is_reported_once() {
    let mut rig = Rig::new();
    rig.pass(48 * 60 * MINUTE);
    assert_eq!(rig.heals.len(), usize::try_from(MAX_HEALS).unwrap());
    assert_eq!(gaps(&rig.heals), [5, 10, 20, 40, 60]);
    assert_eq!(rig.kinds("service_quarantined"), 1);
    let quarantined = rig.events.last().unwrap();
    assert_eq!(quarantined.severity(), Severity::Critical);
    assert!(rig.journaled().quarantine.is_some());
}

#[test]
fn new_process_continues_the_row_of_the_journal() {
    let mut rig = Rig::new();
    let mut restarts = Vec::new();
    for _ in 0..200 {
        rig.pass(7 * MINUTE);
        restarts.append(&mut rig.heals);
        rig.replace_process();
    }
    assert!(restarts.len() <= usize::try_from(MAX_HEALS).unwrap());
    let mut rig = Rig::new();
    rig.pass(20 * MINUTE);
    let before = rig.heals.len();
    rig.replace_process();
    rig.pass(60 * 48 * MINUTE);
    assert!(before > 0 && rig.heals.len() == usize::try_from(MAX_HEALS).unwrap());
    assert_eq!(rig.kinds("service_quarantined"), 1);
}

#[test]
fn restarts_without_a_journal_count_and_are_stored_later() {
    let mut rig = Rig::new();
    rig.is_bus_down = true;
    rig.pass(48 * 60 * MINUTE);
    assert_eq!(gaps(&rig.heals), [5, 10, 20, 40, 60]);
    rig.is_bus_down = false;
    rig.begin(StartedBy::Watchdog);
    assert_eq!(rig.journaled().heals, MAX_HEALS);
    assert_eq!(rig.kinds("service_quarantined"), 1);
    rig.pass(60 * MINUTE);
    assert_eq!(rig.heals.len(), usize::try_from(MAX_HEALS).unwrap());
}

#[test]
fn lasting_health_ends_the_row_and_a_short_one_does_not() {
    for (healthy, expected) in [(5 * MINUTE, vec![5, 15]), (25 * MINUTE, vec![5, 30])] {
        let mut rig = Rig::new();
        while rig.heals.len() < 2 {
            rig.pass(MINUTE);
        }
        rig.is_hung = false;
        rig.pass(healthy);
        rig.is_hung = true;
        while rig.heals.len() < 3 {
            rig.pass(MINUTE);
        }
        let gaps = gaps(&rig.heals);
        let is_near = gaps[1].abs_diff(expected[1]) <= 6;
        assert!(gaps[0] == expected[0] && is_near, "{healthy:?}: {gaps:?}");
        let is_reset = rig.journaled().heals == 1;
        assert_eq!(is_reset, healthy == 25 * MINUTE, "{:?}", rig.journaled());
    }
}

#[test]
fn held_service_is_not_restarted_until_its_release() {
    let mut rig = Rig::new();
    rig.command(&hold()).unwrap();
    assert!(
        rig.command(&hold())
            .unwrap_err()
            .contains("already on hold")
    );
    rig.pass(60 * MINUTE);
    rig.replace_process();
    rig.pass(60 * MINUTE);
    rig.begin(StartedBy::Unknown);
    rig.pass(60 * MINUTE);
    assert_eq!(rig.heals, [0_u64; 0]);
    rig.command(&release()).unwrap();
    rig.pass(MINUTE);
    assert_eq!(rig.heals.len(), 1);
    assert_eq!(rig.kinds("unit_command_executed"), 2);
}

#[test]
fn release_of_a_quarantine_permits_a_new_row() {
    let mut rig = Rig::new();
    assert!(rig.command(&release()).is_err());
    rig.pass(48 * 60 * MINUTE);
    rig.heals.clear();
    rig.command(&release()).unwrap();
    rig.pass(48 * 60 * MINUTE);
    assert_eq!(rig.heals.len(), usize::try_from(MAX_HEALS).unwrap());
    assert_eq!(rig.kinds("service_quarantined"), 2);
}

#[test]
fn operators_start_or_a_new_container_ends_a_quarantine() {
    for (container, by) in [
        ("4f1c", StartedBy::Unknown),
        ("77aa", StartedBy::NewContainer),
    ] {
        let mut rig = Rig::new();
        rig.pass(48 * 60 * MINUTE);
        rig.container = container;
        rig.begin(by);
        rig.heals.clear();
        rig.pass(10 * MINUTE);
        assert_eq!(rig.heals.len(), 1, "{by:?}");
        assert!(rig.journaled().quarantine.is_none());
    }
}

#[test]
fn run_is_not_restarted_before_its_minimum_age_whatever_the_clocks_of_others_say() {
    let mut rig = Rig::new();
    rig.pass(4 * MINUTE);
    assert_eq!(rig.heals, [0_u64; 0], "it began just now");
    rig.begin(StartedBy::Unknown);
    rig.pass(4 * MINUTE);
    assert_eq!(rig.heals, [0_u64; 0], "another run");
    rig.pass(MINUTE + Duration::from_secs(20));
    assert_eq!(rig.heals.len(), 1);
    // A process that finds an old run need not wait: both times are Docker's.
    let mut limiter = HealLimiter::new(5 * MINUTE);
    let old = ObservedService {
        checked_age: 5 * MINUTE,
        ..rig.service()
    };
    assert!(limiter.decide(&old, 0).is_some());
    // After a restart in a row, Docker's times alone are not enough.
    limiter.record_heal(&old, 0, 0);
    assert_eq!(limiter.decide(&old, 5 * MINUTE_MS - 1), None);
    assert!(limiter.decide(&old, 5 * MINUTE_MS).is_some());
}

#[test]
fn service_recovery_is_recorded_once() {
    let mut limiter = HealLimiter::new(5 * MINUTE);
    let mut rig = Rig::new();
    rig.is_hung = false;
    let well = rig.service();
    assert_eq!(limiter.observe(&well, 0), None, "no restart before");
    limiter.record_heal(&well, SECOND_MS, 2 * SECOND_MS);
    assert_eq!(limiter.pending_recoveries().len(), 1);
    let unknown = ObservedService {
        health: ContainerHealth::Unknown,
        ..well.clone()
    };
    assert_eq!(limiter.observe(&unknown, 2 * SECOND_MS), None);
    let recovered = ServiceRecord::Recovered { after_ms: 30_000 };
    assert_eq!(limiter.observe(&well, 31 * SECOND_MS), Some(recovered));
    assert_eq!(limiter.observe(&well, 32 * SECOND_MS), None);
    assert_eq!(limiter.pending_recoveries().len(), 0);
}

#[test]
fn command_that_makes_no_sense_for_a_service_names_the_one_that_works() {
    let mut rig = Rig::new();
    let unit = nats();
    let error = rig.command(&UnitCommand::Restart { unit }).unwrap_err();
    assert!(error.contains("docker compose restart nats"), "{error}");
}
