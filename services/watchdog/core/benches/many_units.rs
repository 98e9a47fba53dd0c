//! The core with 10,000 units: time per heartbeat and per crash, and memory per unit. Bus and Docker are measured in
//! `bench/`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "criterion's macros write undocumented functions; a panic is how a measurement fails"
)]

use std::collections::BTreeMap;
use std::hint::black_box;

use bearish_watchdog_core::container::{Container, ContainerHealth, Exit, Run, Status};
use bearish_watchdog_core::decide::decide;
use bearish_watchdog_core::decision_inputs::DecisionInputs;
use bearish_watchdog_core::liveness::{HeartbeatSample, ProgressDeadline};
use bearish_watchdog_core::observed_state::{ContainerList, ObservedState, SupervisionEvent};
use bearish_watchdog_core::restart_policy::RestartPolicy;
use bearish_watchdog_core::state::SupervisionState;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{Mode, SubjectToken};
use protocol::time::{ClockReading, UtcMs};

const UNITS: u32 = 10_000;
const BEGAN: u64 = 1_700_000_000_000;

/// State, observations and time of a watchdog.
#[derive(Clone, Default)]
struct ManyUnits {
    state: SupervisionState,
    observed: ObservedState,
    mono: u64,
}

impl ManyUnits {
    /// All units running, with one heartbeat each.
    fn running() -> Self {
        let mut units = Self::default();
        let containers = (0..UNITS).map(|n| (name(n), container(n, Status::Running)));
        let listed = SupervisionEvent::Listed(ContainerList {
            containers: containers.collect(),
            ..ContainerList::default()
        });
        units.observed.observe(&units.state, listed, units.now());
        for unit in (0..UNITS).map(name) {
            units.settle(&unit);
        }
        units.send_heartbeats();
        units
    }

    fn now(&self) -> DecisionInputs {
        DecisionInputs {
            clock: ClockReading {
                utc: UtcMs(i64::try_from(BEGAN + self.mono).unwrap()),
                mono: self.mono,
            },
            random: 500,
        }
    }

    /// Observes, decides and applies, as the shell does without a journal. Returns the number of records.
    fn on_event(&mut self, unit: &SubjectToken, event: SupervisionEvent) -> usize {
        self.observed.observe(&self.state, event, self.now());
        self.settle(unit)
    }

    fn settle(&mut self, unit: &SubjectToken) -> usize {
        let records = decide(&self.state, &self.observed, unit, self.now());
        for record in &records {
            self.state.apply(record);
        }
        self.observed.on_applied(&self.state, &records, self.now());
        records.len()
    }

    /// One heartbeat of each unit. Returns the number of records.
    fn send_heartbeats(&mut self) -> usize {
        self.mono += 5_000;
        self.observed
            .observe(&self.state, SupervisionEvent::BusEchoed, self.now());
        let mut records = 0;
        for n in 0..UNITS {
            let (unit, heartbeat) = (name(n), heartbeat_sample(n, self.mono));
            let event = SupervisionEvent::HeartbeatReceived {
                unit: unit.clone(),
                heartbeat,
            };
            records += self.on_event(&unit, event);
        }
        records
    }

    /// A crash of each unit. Returns the number of records.
    fn crash(&mut self) -> usize {
        let exit = Exit {
            code: 70,
            oom_killed: false,
            uptime_ms: self.mono,
        };
        let mut records = 0;
        for n in 0..UNITS {
            let (unit, container) = (name(n), container(n, Status::Exited(exit)));
            let event = SupervisionEvent::ContainerObserved {
                unit: unit.clone(),
                container,
            };
            records += self.on_event(&unit, event);
        }
        records
    }
}

fn name(n: u32) -> SubjectToken {
    format!("trader-paper-{n}").parse().unwrap()
}

fn container(n: u32, status: Status) -> Container {
    let flags = ["--paper", "--infinite", "--auto-restart"].map(str::to_owned);
    Container {
        run: Run {
            container: format!("{n:064x}"),
            started_at: "2026-11-24T18:00:00.123456789Z".to_owned(),
        },
        start_time: UtcMs(i64::try_from(BEGAN).unwrap()),
        status,
        policy: RestartPolicy::from_args(&flags),
        mode: Some(Mode::Paper),
        grace_ms: 10_000,
        stop_signal: "TERM".to_owned(),
        config: "image 1".to_owned(),
        error: None,
        health: ContainerHealth::Unknown,
    }
}

fn heartbeat_sample(n: u32, uptime_ms: u64) -> HeartbeatSample {
    let progress = ProgressDeadline {
        iterations: uptime_ms / 1_000,
        deadline_ms: 30_000,
    };
    let components = [
        "book-manager",
        "feed",
        "account-monitor",
        "BTCUSDT",
        "ETHUSDT",
    ];
    HeartbeatSample {
        mode: Mode::Paper,
        boot: format!("boot-{n}").parse().unwrap(),
        phase: ProcessPhase::Running,
        uptime_ms,
        interval_ms: 5_000,
        errors: 0,
        last_error: None,
        critical_reason: None,
        latch: None,
        account: None,
        feed_connectivity: None,
        components: components
            .map(|component| (component.to_owned(), progress))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        is_waiting: false,
    }
}

fn memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn many_units(c: &mut Criterion) {
    let before = memory_kb();
    let units = ManyUnits::running();
    let bytes = (memory_kb() - before) * 1_024 / u64::from(UNITS);
    eprintln!("{UNITS} running units: {bytes} bytes each");
    assert_eq!(units.state.units.len(), UNITS as usize);

    let mut group = c.benchmark_group("10,000 units");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(UNITS)));
    let mut receiving = units.clone();
    group.bench_function("one heartbeat each", |b| {
        b.iter(|| black_box(receiving.send_heartbeats()));
    });
    let crashes = |mut units: ManyUnits| assert_eq!(units.crash(), UNITS as usize);
    group.bench_function("one crash each", |b| {
        b.iter_batched(|| units.clone(), crashes, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, many_units);
criterion_main!(benches);
