//! A unit, its Docker and its watchdog in one rig: a test causes events and checks decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use bearish_watchdog_core::container::{Container, ContainerHealth, Exit, Run, Status};
use bearish_watchdog_core::decide::{apply_command, blindness_record, decide_round, wake_at};
use bearish_watchdog_core::decision_inputs::DecisionInputs;
use bearish_watchdog_core::event_mapping::operator_event;
use bearish_watchdog_core::feed_connectivity::FeedConnectivity;
use bearish_watchdog_core::liveness::{HeartbeatSample, ProgressDeadline};
use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::model::Latch;
use bearish_watchdog_core::next_action;
use bearish_watchdog_core::observed_state::{ContainerList, ObservedState, SupervisionEvent};
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::{Restart, SupervisionRecord, UnitRecord};
use bearish_watchdog_core::restart_policy::{RestartPolicy, mode_of_args};
use bearish_watchdog_core::state::SupervisionState;
use bearish_watchdog_core::stop_request::{StopEvidence, StopRequest};
use bearish_watchdog_core::unit::Unit;
use protocol::command::UnitCommand;
use protocol::event::EventBody;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{AccountKey, Mode, SubjectToken};
use protocol::time::{ClockReading, UtcMs};

pub(crate) const UNIT: &str = "trader-paper-1";
pub(crate) const DEFAULT_FLAGS: &str = "--paper --infinite --auto-restart";
pub(crate) const MINUTE: Duration = Duration::from_mins(1);

pub(crate) fn name() -> SubjectToken {
    UNIT.parse().unwrap()
}

/// The command of this name.
pub(crate) fn command(verb: &str) -> UnitCommand {
    let unit = name();
    match verb {
        "stop" => UnitCommand::Stop { unit },
        "start" => UnitCommand::Start { unit },
        "restart" => UnitCommand::Restart { unit },
        "hold" => UnitCommand::Hold {
            unit,
            reason: "maintenance".to_owned(),
        },
        "release" => UnitCommand::Release {
            unit,
            reset_restarts: false,
        },
        other => panic!("{other} is no order"),
    }
}

/// How the simulated Docker answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallBehavior {
    /// Executes it at once.
    Immediate,
    /// The call returns an error.
    Fails,
    /// Does not answer; the test decides.
    Pending,
}

#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) state: SupervisionState,
    pub(crate) observed: ObservedState,
    pub(crate) journal: Vec<SupervisionRecord>,
    pub(crate) calls: Vec<Action>,
    pub(crate) call_behavior: CallBehavior,
    /// True time, in milliseconds.
    pub(crate) mono: u64,
    /// True time at which this watchdog's monotonic clock is zero.
    base: u64,
    /// Wall clock minus true time.
    pub(crate) wall: i64,
    pub(crate) has_bus_echoes: bool,
    flags: String,
    container: String,
    runs: u64,
    start_mono: u64,
    status: Option<Status>,
    /// Components in the unit's heartbeats.
    components: BTreeMap<String, ProgressDeadline>,
    /// Whether a component in the unit's heartbeats waits for something.
    pub(crate) is_waiting: bool,
    /// Health by the container's health check.
    pub(crate) health: ContainerHealth,
    /// Docker's error of the last start.
    pub(crate) docker_error: Option<String>,
    /// Configuration of the container.
    pub(crate) config: String,
    /// Signal of `docker stop`.
    pub(crate) stop_signal: String,
    /// Reason of critical health in the unit's heartbeats.
    pub(crate) critical_reason: Option<String>,
    /// Latch in the unit's heartbeats.
    pub(crate) latch: Option<Latch>,
    /// Account in the unit's heartbeats.
    pub(crate) account: Option<AccountKey>,
    /// Market data connectivity in the unit's heartbeats.
    pub(crate) feed_connectivity: Option<FeedConnectivity>,
}

impl Rig {
    /// A watchdog that has listed a Docker without the unit.
    pub(crate) fn empty(flags: &str) -> Self {
        let mut rig = Self {
            state: SupervisionState::default(),
            observed: ObservedState::default(),
            journal: Vec::new(),
            calls: Vec::new(),
            call_behavior: CallBehavior::Immediate,
            mono: 1_000,
            base: 0,
            wall: 1_700_000_000_000,
            has_bus_echoes: true,
            flags: flags.to_owned(),
            container: "c1".to_owned(),
            runs: 0,
            start_mono: 0,
            status: None,
            components: BTreeMap::new(),
            is_waiting: false,
            health: ContainerHealth::Healthy,
            docker_error: None,
            config: "image 1".to_owned(),
            stop_signal: "TERM".to_owned(),
            critical_reason: None,
            latch: None,
            account: None,
            feed_connectivity: None,
        };
        rig.on_event(listed(Vec::new()));
        rig
    }

    /// A rig with the unit running and healthy.
    pub(crate) fn running(flags: &str) -> Self {
        let mut rig = Self::empty(flags);
        rig.starts();
        rig.send_heartbeat(ProcessPhase::Running);
        rig
    }

    pub(crate) fn now(&self) -> DecisionInputs {
        DecisionInputs {
            clock: ClockReading {
                utc: UtcMs(self.wall + i64::try_from(self.mono).unwrap()),
                mono: self.mono - self.base,
            },
            random: 500,
        }
    }

    pub(crate) fn unit(&self) -> &Unit {
        &self.state.units[&name()]
    }

    pub(crate) fn phase(&self) -> &UnitPhase {
        &self.unit().phase
    }

    /// Observes, decides, journals and acts, as the shell does.
    pub(crate) fn on_event(&mut self, event: SupervisionEvent) {
        if self.has_bus_echoes {
            self.observed
                .observe(&self.state, SupervisionEvent::BusEchoed, self.now());
        }
        self.observed.observe(&self.state, event, self.now());
        let blindness = blindness_record(&self.state, &self.observed, self.now());
        self.append(blindness.into_iter().collect());
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        let name = name();
        for rounds in 0.. {
            assert!(rounds < 50, "the decision does not come to rest");
            let now = self.now();
            let records = decide_round(&self.state, &self.observed, &name, now, rounds);
            let quiet = records.is_empty();
            self.append(records);
            match next_action::due_action(&self.state, &self.observed, &name, now) {
                Some(action) => self.call(&action),
                None if quiet => return,
                None => {}
            }
        }
    }

    pub(crate) fn append(&mut self, records: Vec<SupervisionRecord>) {
        for record in &records {
            self.state.apply(record);
        }
        self.observed.on_applied(&self.state, &records, self.now());
        self.journal.extend(records);
    }

    fn call(&mut self, action: &Action) {
        self.observed.action_started(&name(), action.clone());
        self.calls.push(action.clone());
        match self.call_behavior {
            CallBehavior::Pending => {}
            CallBehavior::Fails => self.finish_call(Some("it cannot be done")),
            CallBehavior::Immediate => {
                self.perform(action);
                let seen = self.container_observed().unwrap();
                self.observed.observe(&self.state, seen, self.now());
                self.finish_call(None);
            }
        }
    }

    /// Docker executes a call, if it still makes sense.
    pub(crate) fn perform(&mut self, action: &Action) {
        let run = self.run();
        match action {
            Action::Start { .. } if !self.is_alive() => self.begin(),
            Action::Stop { run: asked, .. } if *asked == run && self.is_alive() => {
                self.end(137, false);
            }
            Action::Start { .. } | Action::Stop { .. } => {}
        }
    }

    pub(crate) fn finish_call(&mut self, error: Option<&str>) {
        let event = SupervisionEvent::ActionFinished {
            unit: name(),
            error: error.map(str::to_owned),
        };
        self.observed.observe(&self.state, event, self.now());
    }

    pub(crate) fn begin(&mut self) {
        self.runs += 1;
        self.start_mono = self.mono;
        self.status = Some(Status::Running);
    }

    pub(crate) fn end(&mut self, code: i64, oom: bool) {
        let uptime_ms = self.mono - self.start_mono;
        self.status = Some(Status::Exited(Exit {
            code,
            oom_killed: oom,
            uptime_ms,
        }));
    }

    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.status, Some(Status::Running | Status::Paused))
    }

    pub(crate) fn run(&self) -> Run {
        Run {
            container: self.container.clone(),
            started_at: format!("run {}", self.runs),
        }
    }

    pub(crate) fn container(&self) -> Option<Container> {
        Some(Container {
            run: self.run(),
            start_time: UtcMs(self.wall + i64::try_from(self.start_mono).unwrap()),
            status: self.status?,
            policy: RestartPolicy::from_args(&self.args()),
            mode: mode_of_args(&self.args()),
            grace_ms: 10_000,
            stop_signal: self.stop_signal.clone(),
            config: self.config.clone(),
            error: self.docker_error.clone(),
            health: self.health.clone(),
        })
    }

    fn args(&self) -> Vec<String> {
        self.flags.split_whitespace().map(str::to_owned).collect()
    }

    fn container_observed(&self) -> Option<SupervisionEvent> {
        let container = self.container()?;
        let unit = name();
        Some(SupervisionEvent::ContainerObserved { unit, container })
    }

    pub(crate) fn inspect(&mut self) {
        match self.container_observed() {
            Some(seen) => self.on_event(seen),
            None => self.on_event(listed(Vec::new())),
        }
    }

    /// A complete list, as after a connection to Docker.
    pub(crate) fn list(&mut self) {
        let list = self.container().map(|c| (name(), c)).into_iter().collect();
        self.on_event(listed(list));
    }

    /// An operator starts the unit.
    pub(crate) fn starts(&mut self) {
        self.begin();
        self.inspect();
    }

    pub(crate) fn dies(&mut self, code: i64) {
        self.end(code, false);
        self.inspect();
    }

    /// A quarantine although a restart could have followed at once: the missing log is waited for.
    pub(crate) fn dies_and_is_quarantined(&mut self, code: i64) {
        self.dies(code);
        self.pass_without_heartbeats(Duration::from_secs(3));
    }

    pub(crate) fn dies_of_oom(&mut self) {
        self.end(137, true);
        self.inspect();
    }

    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.status = Some(if paused {
            Status::Paused
        } else {
            Status::Running
        });
        self.inspect();
    }

    /// The container is removed. [`Self::recreate`] creates it with other flags.
    pub(crate) fn remove(&mut self) {
        self.status = None;
        let container = self.container.clone();
        self.on_event(SupervisionEvent::ContainerRemoved { container });
    }

    pub(crate) fn recreate(&mut self, flags: &str) {
        self.remove();
        self.container.push('+');
        flags.clone_into(&mut self.flags);
        self.starts();
    }

    pub(crate) fn request_stop(&mut self) {
        let container = self.container.clone();
        let at = self.now().clock.utc;
        self.on_event(SupervisionEvent::StopRequested(signal(
            container, at, "TERM",
        )));
    }

    pub(crate) fn boot(&self) -> SubjectToken {
        format!("boot-{}", self.runs).parse().unwrap()
    }

    pub(crate) fn heartbeat_sample(&self, phase: ProcessPhase) -> HeartbeatSample {
        HeartbeatSample {
            mode: Mode::Paper,
            boot: self.boot(),
            phase,
            uptime_ms: self.mono - self.start_mono,
            interval_ms: 5_000,
            errors: 0,
            last_error: None,
            critical_reason: self.critical_reason.clone(),
            latch: self.latch.clone(),
            account: self.account.clone(),
            feed_connectivity: self.feed_connectivity,
            components: self.components.clone(),
            is_waiting: self.is_waiting,
        }
    }

    /// Sets a component with a deadline of ten seconds and its counter.
    pub(crate) fn set_component(&mut self, component: &str, iterations: u64) {
        let within_ms = 10_000;
        self.components.insert(
            component.to_owned(),
            ProgressDeadline {
                iterations,
                deadline_ms: within_ms,
            },
        );
    }

    pub(crate) fn send_heartbeat(&mut self, phase: ProcessPhase) {
        let heartbeat = self.heartbeat_sample(phase);
        self.on_event(SupervisionEvent::HeartbeatReceived {
            unit: name(),
            heartbeat,
        });
    }

    /// Time passes second by second, without heartbeats.
    pub(crate) fn pass_without_heartbeats(&mut self, span: Duration) {
        let end = self.mono + u64::try_from(span.as_millis()).unwrap();
        while self.mono < end {
            self.mono = (self.mono + 1_000).min(end);
            self.on_event(SupervisionEvent::Ticked);
        }
    }

    /// Time passes with a heartbeat every five seconds.
    pub(crate) fn pass_healthy(&mut self, span: Duration) {
        let end = self.mono + u64::try_from(span.as_millis()).unwrap();
        while self.mono < end {
            for _ in 0..5 {
                self.mono = (self.mono + 1_000).min(end);
                self.observed
                    .observe(&self.state, SupervisionEvent::BusEchoed, self.now());
            }
            self.send_heartbeat(ProcessPhase::Running);
        }
    }

    /// Sleeps until the unit's next decision, as the shell does. Returns the time slept.
    pub(crate) fn sleep_until_wake(&mut self) -> Duration {
        let wake =
            wake_at(&self.state, &self.observed, &name(), self.now()).expect("nothing to wait for");
        let slept = wake.saturating_sub(self.now().clock.mono);
        self.mono += slept;
        self.on_event(SupervisionEvent::Ticked);
        Duration::from_millis(slept)
    }

    /// The watchdog dies and starts again: only the journal is left.
    pub(crate) fn restart_watchdog(&mut self, records: usize) {
        self.journal.truncate(records);
        self.state = SupervisionState::default();
        for record in &self.journal {
            let json = serde_json::to_string(record).unwrap();
            let read: SupervisionRecord = serde_json::from_str(&json).unwrap();
            assert_eq!(&read, record, "{json}");
            self.state.apply(&read);
        }
        self.observed = ObservedState::default();
        self.base = self.mono - 7;
    }

    pub(crate) fn release(&mut self, total: bool) -> Result<(), String> {
        let unit = name();
        self.run_command(&UnitCommand::Release {
            unit,
            reset_restarts: total,
        })
    }

    /// As the shell does: a command and what follows at once are one batch; the call comes after it.
    pub(crate) fn run_command(&mut self, command: &UnitCommand) -> Result<(), String> {
        let (_, records) = apply_command(&self.state, &self.observed, command, "ops", self.now())?;
        self.append(records);
        self.settle();
        Ok(())
    }

    pub(crate) fn unit_records(&self) -> Vec<&UnitRecord> {
        fn unit_record(record: &SupervisionRecord) -> Option<&UnitRecord> {
            match record {
                SupervisionRecord::Unit { record, .. } => Some(record),
                _ => None,
            }
        }
        self.journal.iter().filter_map(unit_record).collect()
    }

    pub(crate) fn restarts(&self) -> Vec<&Restart> {
        let restart = |record: &&'_ UnitRecord| matches!(record, UnitRecord::RestartScheduled(_));
        let records = self.unit_records().into_iter().filter(restart);
        records
            .map(|record| match record {
                UnitRecord::RestartScheduled(restart) => restart,
                _ => unreachable!(),
            })
            .collect()
    }

    pub(crate) fn starts_called(&self) -> usize {
        let start = |call: &&Action| matches!(call, Action::Start { .. });
        self.calls.iter().filter(start).count()
    }

    /// The events for the operator, in order.
    pub(crate) fn operator_events(&self) -> Vec<EventBody> {
        self.journal.iter().filter_map(operator_event).collect()
    }

    pub(crate) fn operator_event_kinds(&self) -> Vec<&'static str> {
        self.operator_events().iter().map(EventBody::kind).collect()
    }
}

/// A signal that was sent through Docker.
pub(crate) fn signal(container: String, at: UtcMs, signal: &str) -> StopRequest {
    StopRequest {
        container,
        at,
        evidence: StopEvidence::Signal {
            signal: signal.to_owned(),
            ended_after_ms: None,
        },
        is_of_last_run: false,
    }
}

pub(crate) const fn listed(containers: Vec<(SubjectToken, Container)>) -> SupervisionEvent {
    SupervisionEvent::Listed(ContainerList {
        containers,
        unjudged: Vec::new(),
        excluded: Vec::new(),
        stop_requests: Vec::new(),
    })
}
