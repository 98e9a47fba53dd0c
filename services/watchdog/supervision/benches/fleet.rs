//! The brain over a fleet of 10,000 containers: what a heartbeat and what a crash costs it, and how much it
//! remembers of each. No bus and no engine: what they cost is measured in `bench/`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "criterion's macros write undocumented functions; a panic is how a measurement fails"
)]

use std::collections::BTreeMap;
use std::hint::black_box;

use bearish_supervision::container::{Container, Exit, Run, Status};
use bearish_supervision::decide::decide;
use bearish_supervision::moment::Moment;
use bearish_supervision::policy::Policy;
use bearish_supervision::pulse::{Beat, Turns};
use bearish_supervision::state::State;
use bearish_supervision::watch::{Event, Watch};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use protocol::heartbeat::Phase;
use protocol::ids::Token;
use protocol::time::UtcMs;

const UNITS: u32 = 10_000;
const BEGAN: u64 = 1_700_000_000_000;

/// A watchdog's memory, and the time that it lives in.
#[derive(Clone, Default)]
struct Fleet {
    state: State,
    watch: Watch,
    mono: u64,
}

impl Fleet {
    /// Every unit runs and has beaten.
    fn at_work() -> Self {
        let mut fleet = Self::default();
        let containers = (0..UNITS).map(|n| (name(n), container(n, Status::Running)));
        let listed = Event::Listed {
            containers: containers.collect(),
            stops: Vec::new(),
        };
        fleet.watch.take_in(&fleet.state, listed, fleet.now());
        for unit in (0..UNITS).map(name) {
            fleet.settle(&unit);
        }
        fleet.beat();
        fleet
    }

    fn now(&self) -> Moment {
        Moment {
            utc: UtcMs(i64::try_from(BEGAN + self.mono).unwrap()),
            mono: self.mono,
            chance: 500,
        }
    }

    /// Takes in, decides, applies: what the body does but for the journal. How many records there were.
    fn on(&mut self, unit: &Token, event: Event) -> usize {
        self.watch.take_in(&self.state, event, self.now());
        self.settle(unit)
    }

    fn settle(&mut self, unit: &Token) -> usize {
        let records = decide(&self.state, &self.watch, unit, self.now());
        for record in &records {
            self.state.apply(record);
        }
        if let Some(known) = self.state.units.get(unit) {
            self.watch.arm(unit, known, self.now());
        }
        records.len()
    }

    /// One heartbeat of everybody's.
    fn beat(&mut self) -> usize {
        self.mono += 5_000;
        self.watch.take_in(&self.state, Event::Echoed, self.now());
        let mut records = 0;
        for n in 0..UNITS {
            let (unit, beat) = (name(n), beat(n, self.now(), self.mono));
            let event = Event::Beat {
                unit: unit.clone(),
                beat,
            };
            records += self.on(&unit, event);
        }
        records
    }

    /// Everybody's end.
    fn crash(&mut self) -> usize {
        let exit = Exit {
            code: 70,
            oom: false,
            uptime_ms: self.mono,
        };
        let mut records = 0;
        for n in 0..UNITS {
            let (unit, container) = (name(n), container(n, Status::Exited(exit)));
            let event = Event::Seen {
                unit: unit.clone(),
                container,
            };
            records += self.on(&unit, event);
        }
        records
    }
}

fn name(n: u32) -> Token {
    format!("trader-paper-{n}").parse().unwrap()
}

fn container(n: u32, status: Status) -> Container {
    let flags = ["--paper", "--infinite", "--auto-restart"].map(str::to_owned);
    Container {
        run: Run {
            container: format!("{n:064x}"),
            started_at: "2026-11-24T18:00:00.123456789Z".to_owned(),
        },
        began: UtcMs(i64::try_from(BEGAN).unwrap()),
        status,
        policy: Policy::read(&flags),
        grace_ms: 10_000,
    }
}

fn beat(n: u32, now: Moment, uptime_ms: u64) -> Beat {
    let turns = Turns {
        turns: uptime_ms / 1_000,
        within_ms: 30_000,
    };
    let parts = ["fleet", "feed", "account", "BTCUSDT", "ETHUSDT"];
    Beat {
        boot: format!("boot-{n}").parse().unwrap(),
        phase: Phase::Running,
        at: now.utc,
        uptime_ms,
        interval_ms: 5_000,
        errors: 0,
        last_error: None,
        critical: None,
        latch: None,
        account: None,
        market: None,
        parts: parts
            .map(|part| (part.to_owned(), turns))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
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

fn fleet(c: &mut Criterion) {
    let before = memory_kb();
    let fleet = Fleet::at_work();
    let bytes = (memory_kb() - before) * 1_024 / u64::from(UNITS);
    eprintln!("{UNITS} containers at work: {bytes} bytes each");
    assert_eq!(fleet.state.units.len(), UNITS as usize);

    let mut group = c.benchmark_group("fleet of 10,000");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(UNITS)));
    let mut beats = fleet.clone();
    group.bench_function("a heartbeat of each", |b| {
        b.iter(|| black_box(beats.beat()));
    });
    let crashes = |mut fleet: Fleet| assert_eq!(fleet.crash(), UNITS as usize);
    group.bench_function("a crash of each", |b| {
        b.iter_batched(|| fleet.clone(), crashes, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, fleet);
criterion_main!(benches);
