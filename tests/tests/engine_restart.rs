//! The engine goes down and comes back, in good order, by `kill -9`, or with its whole host: what no person stopped
//! comes back, what one stopped does not, and nobody pays for it. On an engine of the test's own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::print_stderr,
    reason = "which cells were left out, and how long they took, is worth reading"
)]

use std::time::{Duration, Instant};

use bearish_tests::engine::{self, Engine};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::watchdog::{Kennel, Unit};
use protocol::event::EventBody;
use supervision::phase::Phase;
use supervision::record::{Fact, Reason};

/// Long enough to see that nobody waits for it.
const SLOW: &str = "--paper --infinite --auto-restart --restart-delay 300";
const OBSERVED: &str = "--paper --infinite";
/// Long enough for a wrong decision to show: beyond three heartbeats and a stop.
const A_WHILE: Duration = Duration::from_secs(6);

/// How it goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fall {
    /// As by `systemctl restart docker`.
    InOrder,
    /// dockerd alone is killed.
    Killed,
    /// Engine, containers, bus and watchdog end in one instant, and begin again.
    WithItsHost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watchdog {
    Lives,
    /// And there is a new one before the engine is back.
    Killed,
    /// Goes down with the engine that it is a container of, and comes back with it.
    InItsContainer,
}

/// What is there before.
struct Units {
    /// Run, and are to run again.
    running: [Unit; 2],
    /// A person stopped it.
    stopped: Unit,
    /// It failed and waits for its time.
    waiting: Unit,
    /// It has no leave to be restarted.
    observed: Unit,
}

impl Units {
    async fn of(kennel: &Kennel) -> Self {
        let units = Self {
            running: [1, 2].map(|number| kennel.unit(number, SLOW).start()),
            stopped: kennel.unit(3, SLOW).start(),
            waiting: kennel.unit(4, SLOW).start(),
            observed: kennel.unit(5, OBSERVED).start(),
        };
        for unit in units.all() {
            kennel.healthy(unit).await;
        }
        units.stopped.docker("stop");
        units.waiting.signal("USR1");
        let stopped = |phase: &Phase| matches!(phase, Phase::Stopped { .. });
        kennel.phase(&units.stopped, "stopped", stopped).await;
        let waiting = |phase: &Phase| matches!(phase, Phase::Waiting { .. });
        kennel.phase(&units.waiting, "waiting", waiting).await;
        units
    }

    fn all(&self) -> impl Iterator<Item = &Unit> {
        let others = [&self.stopped, &self.waiting, &self.observed];
        self.running.iter().chain(others)
    }
}

async fn fall(kennel: &mut Kennel, fall: Fall, watchdog: Watchdog) {
    match fall {
        Fall::InOrder => kennel.engine().stop().await,
        Fall::Killed => kennel.engine().kill(),
        Fall::WithItsHost => {
            kennel.nats.kill();
            if watchdog != Watchdog::InItsContainer {
                kennel.watchdog.kill();
            }
            kennel.guard().kill();
            kennel.engine().cut_off();
        }
    }
    match (fall, watchdog) {
        (Fall::WithItsHost, Watchdog::InItsContainer) => {
            kennel.nats.restart().await;
            kennel.engine().start_again().await;
        }
        (_, Watchdog::InItsContainer) => kennel.engine().start_again().await,
        (Fall::WithItsHost, _) => {
            kennel.engine().start_again().await;
            kennel.guard().start_again().await;
            kennel.nats.restart().await;
            kennel.watchdog = kennel.second("watchdog-1");
        }
        (_, Watchdog::Lives) => {
            kennel.watchdog.says("the engine does not answer").await;
            kennel.engine().start_again().await;
        }
        (_, Watchdog::Killed) => {
            kennel.replace_watchdog();
            kennel.watchdog.says("waiting for the engine").await;
            kennel.engine().start_again().await;
        }
    }
}

/// One cell.
async fn cell(how: Fall, watchdog: Watchdog) {
    if let Some(why) = engine::why_not() {
        eprintln!("skipped: {why}");
        return;
    }
    let began = Instant::now();
    let what = format!("{how:?}, watchdog {watchdog:?}");
    let mut kennel = Kennel::on(Engine::start().await).await;
    if watchdog == Watchdog::InItsContainer {
        kennel.watchdog_in_a_container().await;
    }
    let units = Units::of(&kennel).await;
    let before = units.running.each_ref().map(Unit::started_at);
    let told = kennel.told().await.len();
    fall(&mut kennel, how, watchdog).await;
    let back = Instant::now();
    for (unit, before) in units.running.iter().zip(&before) {
        unit.started_after(before).await;
    }
    let span = back.elapsed();
    for unit in &units.running {
        recovered(&kennel, unit).await;
    }
    tokio::time::sleep(A_WHILE).await;
    holds(&what, &kennel, &units, told).await;
    eprintln!(
        "{what}: all run {span:.1?} after the engine; right, {:.1?}",
        began.elapsed()
    );
}

async fn recovered(kennel: &Kennel, unit: &Unit) {
    eventually(&format!("{} is told recovered", unit.name), SOON, async || {
        let told = kennel.told().await;
        let of_it = |body: &EventBody| matches!(body, EventBody::UnitRecovered { unit: name, .. } if name.as_str() == unit.name);
        told.iter().any(of_it).then_some(())
    })
    .await;
}

async fn holds(what: &str, kennel: &Kennel, units: &Units, told: usize) {
    let state = kennel.state().await;
    for unit in &units.running {
        let facts = kennel.facts(unit).await;
        let starts = facts
            .iter()
            .filter(|fact| matches!(fact, Fact::StartIntended { .. }));
        assert_eq!(starts.count(), 1, "{what}: {facts:#?}");
        let known = &state.units[&unit.name.parse().unwrap()];
        assert_eq!(
            (known.restarts, known.consecutive),
            (0, 0),
            "{what}: {facts:#?}"
        );
        let reason = known.last_reason.as_ref();
        assert!(
            matches!(reason, Some(Reason::WithEngine { .. })),
            "{what}: {facts:#?}"
        );
        assert!(unit.runs(), "{what}: {facts:#?}");
    }
    for down in [&units.stopped, &units.waiting, &units.observed] {
        assert!(!down.runs(), "{what}: {}", down.name);
    }
    let waiting = &state.units[&units.waiting.name.parse().unwrap()];
    assert!(
        matches!(waiting.phase, Phase::Waiting { .. }),
        "{what}: {waiting:#?}"
    );
    assert_eq!(waiting.restarts, 1, "{what}: {waiting:#?}");
    let since = &kennel.told().await[told..];
    let count = |kind: &str| since.iter().filter(|body| body.kind() == kind).count();
    let kinds = ["restart_triggered", "unit_recovered", "unit_observed_only"];
    assert_eq!(kinds.map(count), [2, 2, 1], "{what}: {since:#?}");
    assert_eq!(since.len(), 5, "{what}: {since:#?}");
    let words = |body: &EventBody| match body {
        EventBody::RestartTriggered { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    for reason in since.iter().filter_map(words) {
        assert!(
            reason.starts_with("went down with the Docker engine"),
            "{what}: {reason}"
        );
        assert!(reason.ends_with("not counted"), "{what}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_its_power_comes_back_with_all_that_ran_and_at_no_cost() {
    cell(Fall::WithItsHost, Watchdog::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: every other way down, with the watchdog alive and killed"]
async fn an_engine_that_restarts_brings_back_what_ran_whenever_the_watchdog_is_killed() {
    for how in [Fall::InOrder, Fall::Killed] {
        for watchdog in [Watchdog::Lives, Watchdog::Killed] {
            cell(how, watchdog).await;
        }
    }
    for how in [Fall::InOrder, Fall::Killed, Fall::WithItsHost] {
        cell(how, Watchdog::InItsContainer).await;
    }
}
