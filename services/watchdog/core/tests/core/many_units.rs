//! Several units of one project: start slots, and missing heartbeats of one unit or of all.

use std::collections::BTreeMap;
use std::time::Duration;

use bearish_watchdog_core::config::SupervisionConfig;
use bearish_watchdog_core::container::{Container, ContainerHealth, Exit, Run, Status};
use bearish_watchdog_core::decide::{decide, decide_round};
use bearish_watchdog_core::decision_inputs::DecisionInputs;
use bearish_watchdog_core::liveness::HeartbeatSample;
use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::next_action;
use bearish_watchdog_core::observed_state::{ContainerList, ObservedState, SupervisionEvent};
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::{SupervisionRecord, UnitRecord};
use bearish_watchdog_core::restart_policy::RestartPolicy;
use bearish_watchdog_core::state::SupervisionState;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{Mode, SubjectToken};
use protocol::time::{ClockReading, UtcMs};

const SECOND: u64 = 1_000;
const FLAGS: [&str; 4] = ["--paper", "--auto-restart", "--restart-delay", "0"];

/// Units and a Docker that executes every call at once.
struct ManyUnits {
    state: SupervisionState,
    observed: ObservedState,
    mono: u64,
    runs: BTreeMap<SubjectToken, (u64, u64)>,
    starts: Vec<SubjectToken>,
    stops: Vec<SubjectToken>,
    has_bus_echoes: bool,
}

impl ManyUnits {
    fn new(size: usize, config: SupervisionConfig) -> Self {
        let mut units = Self {
            state: SupervisionState::default(),
            observed: ObservedState::with_config(config),
            mono: SECOND,
            runs: BTreeMap::new(),
            starts: Vec::new(),
            stops: Vec::new(),
            has_bus_echoes: true,
        };
        units.observe(SupervisionEvent::BusEchoed);
        let stop_requests = Vec::new();
        let containers = Vec::new();
        units.observe(SupervisionEvent::Listed(ContainerList {
            containers,
            stop_requests,
            ..ContainerList::default()
        }));
        for number in 1..=size {
            let name: SubjectToken = format!("trader-paper-{number}").parse().unwrap();
            units.runs.insert(name.clone(), (1, units.mono));
            units.observe_container(&name, Status::Running);
            units.send_heartbeat(&name);
        }
        units
    }

    fn names(&self) -> Vec<SubjectToken> {
        self.runs.keys().cloned().collect()
    }

    fn now(&self) -> DecisionInputs {
        let utc = UtcMs(1_700_000_000_000 + i64::try_from(self.mono).unwrap());
        let mono = self.mono;
        DecisionInputs {
            clock: ClockReading { utc, mono },
            random: 0,
        }
    }

    fn observe(&mut self, event: SupervisionEvent) {
        self.observed.observe(&self.state, event, self.now());
    }

    fn container(&self, name: &SubjectToken, status: Status) -> Container {
        let (run, began) = self.runs[name];
        Container {
            run: Run {
                container: name.to_string(),
                started_at: format!("run {run}"),
            },
            start_time: UtcMs(1_700_000_000_000 + i64::try_from(began).unwrap()),
            status,
            policy: RestartPolicy::from_args(&FLAGS.map(str::to_owned)),
            mode: Some(Mode::Paper),
            grace_ms: SECOND,
            stop_signal: "TERM".to_owned(),
            config: "image 1".to_owned(),
            error: None,
            health: ContainerHealth::Unknown,
        }
    }

    fn observe_container(&mut self, name: &SubjectToken, status: Status) {
        let container = self.container(name, status);
        let unit = name.clone();
        self.observe(SupervisionEvent::ContainerObserved { unit, container });
        self.settle(name);
    }

    fn send_heartbeat(&mut self, name: &SubjectToken) {
        let (run, began) = self.runs[name];
        let heartbeat = HeartbeatSample {
            mode: Mode::Paper,
            boot: format!("{name}-{run}").parse().unwrap(),
            phase: ProcessPhase::Running,
            uptime_ms: self.mono - began,
            interval_ms: 5 * SECOND,
            errors: 0,
            last_error: None,
            critical_reason: None,
            latch: None,
            account: None,
            feed_connectivity: None,
            components: BTreeMap::new(),
            is_waiting: false,
        };
        let unit = name.clone();
        self.observe(SupervisionEvent::HeartbeatReceived { unit, heartbeat });
        self.settle(name);
    }

    fn dies(&mut self, name: &SubjectToken) {
        let exit = Exit {
            code: 70,
            oom_killed: false,
            uptime_ms: 1,
        };
        self.observe_container(name, Status::Exited(exit));
    }

    fn settle(&mut self, name: &SubjectToken) {
        for rounds in 0.. {
            assert!(rounds < 50, "the decision does not come to rest");
            let now = self.now();
            let records = decide_round(&self.state, &self.observed, name, now, rounds);
            for record in &records {
                self.state.apply(record);
            }
            self.observed.on_applied(&self.state, &records, now);
            match next_action::due_action(&self.state, &self.observed, name, now) {
                Some(action) => self.perform(name, &action),
                None if records.is_empty() => return,
                None => {}
            }
        }
    }

    fn perform(&mut self, name: &SubjectToken, action: &Action) {
        self.observed.action_started(name, action.clone());
        let status = match action {
            Action::Start { .. } => {
                self.starts.push(name.clone());
                let run = self.runs.get_mut(name).unwrap();
                *run = (run.0 + 1, self.mono);
                Status::Running
            }
            Action::Stop { .. } => {
                self.stops.push(name.clone());
                Status::Exited(Exit {
                    code: 137,
                    oom_killed: false,
                    uptime_ms: 1,
                })
            }
        };
        let (unit, container) = (name.clone(), self.container(name, status));
        self.observe(SupervisionEvent::ContainerObserved { unit, container });
        let unit = name.clone();
        self.observe(SupervisionEvent::ActionFinished { unit, error: None });
    }

    /// Time passes second by second, with echoes if the bus carries them, and without heartbeats.
    fn pass_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.mono += SECOND;
            if self.has_bus_echoes {
                self.observe(SupervisionEvent::BusEchoed);
            }
            self.observe(SupervisionEvent::Ticked);
            for name in self.names() {
                self.settle(&name);
            }
        }
    }
}

#[test]
fn twenty_crashed_units_start_three_at_a_time_and_waiting_is_not_counted() {
    let mut units = ManyUnits::new(20, SupervisionConfig::default());
    units.pass_seconds(3);
    let names = units.names();
    for name in &names {
        units.dies(name);
    }
    let mut started = 0;
    while units.starts.len() < 20 {
        assert_eq!(
            units.starts.len() - started,
            (20 - started).min(3),
            "on their way up at once"
        );
        let up = units.starts[started..].to_vec();
        started = units.starts.len();
        for name in &up {
            units.send_heartbeat(name);
        }
        units.pass_seconds(1);
    }
    let mut once = units.starts.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 20, "each is started once");
    let charged = |name: &SubjectToken| units.state.units[name].restarts;
    assert!(names.iter().all(|name| charged(name) == 1));
}

#[test]
fn unit_without_heartbeat_blocks_other_starts_only_briefly() {
    let rules = SupervisionConfig {
        max_starting: 1,
        ..SupervisionConfig::default()
    };
    let mut units = ManyUnits::new(2, rules);
    units.pass_seconds(3);
    for name in units.names() {
        units.dies(&name);
    }
    units.pass_seconds(14);
    assert_eq!(units.starts.len(), 1);
    units.pass_seconds(2);
    assert_eq!(units.starts.len(), 2);
}

#[test]
fn missing_heartbeats_are_ignored_and_uncounted_while_the_bus_is_blind() {
    let mut units = ManyUnits::new(5, SupervisionConfig::default());
    units.has_bus_echoes = false;
    units.pass_seconds(300);
    assert!(units.stops.is_empty() && units.starts.is_empty());
    // The bus is back: every unit gets time to reconnect.
    units.has_bus_echoes = true;
    units.pass_seconds(8);
    for name in units.names() {
        units.send_heartbeat(&name);
    }
    units.pass_seconds(10);
    assert!(units.stops.is_empty());
    let unit = |name: &SubjectToken| &units.state.units[name];
    let untouched = |name: &SubjectToken| {
        unit(name).restarts == 0 && matches!(unit(name).phase, UnitPhase::Running(_))
    };
    assert!(units.names().iter().all(untouched));
}

#[test]
fn missing_heartbeats_of_all_units_count_while_the_bus_echoes() {
    let mut units = ManyUnits::new(5, SupervisionConfig::default());
    units.pass_seconds(16);
    assert_eq!(units.stops.len(), 5, "each hangs: the bus carries the echo");
    assert_eq!(units.starts.len(), 3, "the others wait for their turn");
    units.pass_seconds(40);
    assert!(units.starts.len() >= 5);
}

#[test]
fn docker_outage_defers_every_start_and_they_resume_in_turn() {
    let mut units = ManyUnits::new(6, SupervisionConfig::default());
    let names = units.names();
    units.observe(SupervisionEvent::DockerLost("no answer".to_owned()));
    for name in &names {
        units.dies(name);
    }
    units.pass_seconds(120);
    assert!(units.starts.is_empty());
    let exit = Exit {
        code: 70,
        oom_killed: false,
        uptime_ms: 1,
    };
    let all = names
        .iter()
        .map(|name| (name.clone(), units.container(name, Status::Exited(exit))));
    let (containers, stop_requests) = (all.collect(), Vec::new());
    units.observe(SupervisionEvent::Listed(ContainerList {
        containers,
        stop_requests,
        ..ContainerList::default()
    }));
    for name in &names {
        units.settle(name);
    }
    assert_eq!(units.starts.len(), 3);
    units.pass_seconds(Duration::from_mins(1).as_secs());
    assert!(names.iter().all(|name| units.starts.contains(name)));
    let record = |record: &SupervisionRecord| {
        matches!(
            record,
            SupervisionRecord::Unit {
                record: UnitRecord::ContainerRemoved,
                ..
            }
        )
    };
    assert!(
        !decide(&units.state, &units.observed, &names[0], units.now())
            .iter()
            .any(record)
    );
}
