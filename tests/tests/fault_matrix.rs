//! Every fault of a unit, with the watchdog alive, killed during its response, and killed right after it. Checks the
//! phase, the number of starts, the published events, and that another unit is not affected.
//!
//! The default run plays a random fault with each kill of the watchdog; `every_fault_…` plays all cells.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails; prints which cells were played"
)]

use std::time::{Duration, Instant};

use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use bearish_tests::watchdog::{Unit, UnitSetup, WatchdogRig};
use futures_util::future::join_all;
use protocol::event::EventBody;
use watchdog_core::phase::UnitPhase;
use watchdog_core::reason::QuarantineReason;
use watchdog_core::record::UnitRecord;

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
/// Long enough for a wrong decision to show: beyond three heartbeats and a stop.
const SETTLE_TIME: Duration = Duration::from_secs(6);
/// Number of cells that the whole run plays at once.
const CONCURRENT_CELLS: usize = 4;

/// Signal after which a fake unit receives no candles.
const NO_CANDLES_SIGNAL: &str = "PWR";
/// Wait after that signal: most of the minute after which the watchdog takes the unit for cut off.
const MARKET_DATA_GRACE: Duration = Duration::from_secs(50);

/// How a fault is caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Injection {
    /// A signal by `docker kill -s`.
    Signal(&'static str),
    /// A `docker` command, such as `stop`.
    Docker(&'static str),
    /// The bus is killed and restarted later.
    BusKilled,
    /// The bus is frozen and thawed later.
    BusFrozen,
}

/// The expected response of the watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    /// One restart; its reason begins with this text.
    Restart(&'static str),
    /// A restart for the next cycle, which is no failure.
    Cycle,
    /// Quarantine for this reason; the event contains this text.
    Quarantine(QuarantineReason, &'static str),
    /// Recorded as stopped by the operator.
    Stopped,
    /// The watchdog leaves the unit as it is.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchdogKill {
    Never,
    DuringResponse,
    AfterResponse,
}

const WATCHDOG_KILLS: [WatchdogKill; 3] = [
    WatchdogKill::Never,
    WatchdogKill::DuringResponse,
    WatchdogKill::AfterResponse,
];

struct Fault {
    name: &'static str,
    injection: Injection,
    /// Variables of the fake unit.
    env: &'static [&'static str],
    response: Response,
}

const fn fault(name: &'static str, injection: Injection, response: Response) -> Fault {
    let env = &[];
    Fault {
        name,
        injection,
        env,
        response,
    }
}

const FAULTS: [Fault; 18] = [
    fault(
        "kill -9",
        Injection::Signal("KILL"),
        Response::Restart("killed by SIGKILL (exit 137)"),
    ),
    fault(
        "exit 1",
        Injection::Signal("ALRM"),
        Response::Restart("crashed with exit 1"),
    ),
    fault(
        "exit 70",
        Injection::Signal("USR1"),
        Response::Restart("internal error (exit 70)"),
    ),
    fault(
        "exit 20, by docker kill -s HUP",
        Injection::Signal("HUP"),
        Response::Cycle,
    ),
    fault(
        "exit 21",
        Injection::Signal("PROF"),
        Response::Quarantine(
            QuarantineReason::AccountLatched,
            "an account breaker or an operator stopped trading",
        ),
    ),
    fault(
        "exit 78",
        Injection::Signal("USR2"),
        Response::Quarantine(
            QuarantineReason::Misconfigured,
            "Likely cause: invalid settings",
        ),
    ),
    fault(
        "SIGSTOP",
        Injection::Signal("STOP"),
        Response::Restart("hung: no heartbeat for"),
    ),
    fault(
        "busy loop",
        Injection::Signal("VTALRM"),
        Response::Restart("hung: no heartbeat for"),
    ),
    fault(
        "stalled work loop",
        Injection::Signal("URG"),
        Response::Restart("hung: component work made no progress for"),
    ),
    // As after a network partition: the process runs, but its heartbeats do not arrive.
    fault(
        "bus connection lost",
        Injection::Signal("XCPU"),
        Response::Restart("hung: no heartbeat for"),
    ),
    Fault {
        name: "market data lost",
        injection: Injection::Signal(NO_CANDLES_SIGNAL),
        env: &["LATCH="],
        response: Response::Restart("hung: no market data for 6"),
    },
    Fault {
        name: "stalled, and SIGTERM ignored",
        injection: Injection::Signal("URG"),
        env: &["IGNORE_SIGTERM=1"],
        response: Response::Restart("hung: component work made no progress for"),
    },
    fault(
        "out of memory",
        Injection::Signal("WINCH"),
        Response::Restart("out of memory, killed by the kernel (exit 137)"),
    ),
    fault(
        "a child out of memory",
        Injection::Signal("TTIN"),
        Response::Nothing,
    ),
    fault("docker stop", Injection::Docker("stop"), Response::Stopped),
    fault(
        "docker pause",
        Injection::Docker("pause"),
        Response::Nothing,
    ),
    fault("bus killed", Injection::BusKilled, Response::Nothing),
    fault("bus frozen", Injection::BusFrozen, Response::Nothing),
];

impl Fault {
    fn unit_setup(&self, rig: &WatchdogRig) -> UnitSetup {
        let setup = rig
            .unit_setup(1, RESTART_AT_ONCE_FLAGS)
            .with_option("--stop-timeout", "1")
            .with_option("--memory", "16m");
        self.env.iter().fold(setup, |setup, pair| setup.env(pair))
    }

    async fn inject(&self, rig: &mut WatchdogRig, unit: &Unit) {
        match self.injection {
            Injection::Signal(NO_CANDLES_SIGNAL) => {
                unit.signal(NO_CANDLES_SIGNAL);
                tokio::time::sleep(MARKET_DATA_GRACE).await;
            }
            Injection::Signal(signal) => unit.signal(signal),
            Injection::Docker(verb) => unit.run_docker_verb(verb),
            Injection::BusKilled => rig.nats.kill(),
            Injection::BusFrozen => rig.nats.freeze(),
        }
    }

    /// Ends faults that do not last: unpauses the unit, restarts or thaws the bus.
    async fn end(&self, rig: &mut WatchdogRig, unit: &Unit) {
        match self.injection {
            Injection::Docker("pause") => {
                tokio::time::sleep(SETTLE_TIME).await;
                unit.run_docker_verb("unpause");
            }
            Injection::Signal(_) | Injection::Docker(_) => {}
            Injection::BusKilled => {
                tokio::time::sleep(SETTLE_TIME).await;
                rig.nats.restart().await;
            }
            Injection::BusFrozen => {
                tokio::time::sleep(SETTLE_TIME).await;
                rig.nats.thaw();
            }
        }
    }

    /// Kinds of the events that must be published, in this order.
    const fn expected_events(&self) -> &'static [&'static str] {
        match self.response {
            Response::Restart(_) => &["unit_restart_scheduled", "unit_recovered"],
            Response::Cycle => &["unit_cycle_finished", "unit_recovered"],
            Response::Quarantine(..) => &["unit_quarantined"],
            Response::Stopped => &["unit_stopped"],
            Response::Nothing => &[],
        }
    }

    fn expected_starts(&self) -> usize {
        usize::from(matches!(
            self.response,
            Response::Restart(_) | Response::Cycle
        ))
    }
}

/// Runs one cell: injects the fault into one of two units and checks both afterwards.
async fn run_cell(fault: &Fault, killed: WatchdogKill) {
    let start = Instant::now();
    let mut rig = WatchdogRig::start().await;
    let unit = fault.unit_setup(&rig).start();
    let bystander = rig
        .unit_setup(2, RESTART_AT_ONCE_FLAGS)
        .env("LATCH=")
        .start();
    rig.wait_until_healthy(&unit).await;
    rig.wait_until_healthy(&bystander).await;
    let before = [&unit, &bystander].map(Unit::started_at);
    fault.inject(&mut rig, &unit).await;
    if killed == WatchdogKill::DuringResponse {
        wait_until_responding(fault, &rig).await;
        rig.replace_watchdog();
    }
    fault.end(&mut rig, &unit).await;
    wait_for_response(fault, &rig, &unit, &before[0]).await;
    if killed == WatchdogKill::AfterResponse {
        rig.replace_watchdog();
    }
    wait_for_events(fault, &rig).await;
    tokio::time::sleep(SETTLE_TIME).await;
    let what = format!("{}, watchdog killed: {killed:?}", fault.name);
    assert_outcome(&what, fault, &rig, &unit, &before[0]).await;
    assert!(bystander.is_running(), "{what}: the other unit was stopped");
    assert_eq!(
        bystander.started_at(),
        before[1],
        "{what}: the other unit was restarted"
    );
    let others = rig.unit_records(&bystander).await;
    assert_eq!(count_starts(&others), 0, "{what}: {others:#?}");
    eprintln!("{what}: passed in {:.1} s", start.elapsed().as_secs_f64());
}

/// If the response is a start, waits until the call to Docker begins, when its intent is journaled.
async fn wait_until_responding(fault: &Fault, rig: &WatchdogRig) {
    if fault.expected_starts() > 0 {
        rig.watchdog.wait_for_log("docker call started").await;
    }
}

/// Waits until the response is complete.
async fn wait_for_response(fault: &Fault, rig: &WatchdogRig, unit: &Unit, before: &str) {
    match fault.response {
        Response::Restart(_) | Response::Cycle => unit.wait_until_started_after(before).await,
        Response::Quarantine(expected, _) => {
            let quarantined = |phase: &UnitPhase| matches!(phase, UnitPhase::Quarantined { reason, .. } if *reason == expected);
            rig.wait_for_phase(unit, "quarantined", quarantined).await;
        }
        Response::Stopped => {
            let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
            rig.wait_for_phase(unit, "stopped", stopped).await;
        }
        Response::Nothing => {}
    }
}

async fn wait_for_events(fault: &Fault, rig: &WatchdogRig) {
    let what = format!("{}: events {:?}", fault.name, fault.expected_events());
    eventually(&what, DEFAULT_TIMEOUT, async || {
        let events = rig.stored_events().await;
        (events.len() >= fault.expected_events().len()).then_some(())
    })
    .await;
}

fn count_starts(records: &[UnitRecord]) -> usize {
    let start = |record: &&UnitRecord| matches!(record, UnitRecord::StartIntended { .. });
    records.iter().filter(start).count()
}

/// Checks phase, number of starts, and events.
async fn assert_outcome(what: &str, fault: &Fault, rig: &WatchdogRig, unit: &Unit, before: &str) {
    let records = rig.unit_records(unit).await;
    assert_eq!(
        count_starts(&records),
        fault.expected_starts(),
        "{what}: {records:#?}"
    );
    let down = matches!(fault.response, Response::Quarantine(..) | Response::Stopped);
    assert_eq!(unit.is_running(), !down, "{what}: {records:#?}");
    if fault.injection == Injection::Signal("TTIN") {
        // The kill of the child proves that the fault was injected.
        assert!(unit.docker_events().contains(&"oom".to_owned()), "{what}");
    }
    let restarted = unit.started_at() != before;
    assert_eq!(
        restarted,
        fault.expected_starts() > 0,
        "{what}: {records:#?}"
    );
    let events = rig.stored_events().await;
    let kinds: Vec<&str> = events.iter().map(EventBody::kind).collect();
    assert_eq!(kinds, fault.expected_events(), "{what}: {events:#?}");
    let (text, is_expected) = match (&fault.response, events.first()) {
        (Response::Restart(begin), Some(EventBody::UnitRestartScheduled { reason, .. })) => {
            (reason.clone(), reason.starts_with(begin))
        }
        (Response::Quarantine(_, part), Some(EventBody::UnitQuarantined { reason, .. })) => {
            (reason.clone(), reason.contains(part))
        }
        (Response::Stopped, Some(EventBody::UnitStopped { reason, .. })) => {
            (reason.clone(), reason.contains("stopped by an operator"))
        }
        (Response::Cycle, Some(EventBody::UnitCycleFinished { attempt, .. })) => {
            (format!("attempt {attempt}"), *attempt == 1)
        }
        (Response::Nothing, None) => (String::new(), true),
        (_, first) => panic!("{what}: {first:?}"),
    };
    assert!(is_expected, "{what}: {text}");
}

async fn run_random_cell(killed: WatchdogKill) {
    run_cell(SeededRandom::new().choose(&FAULTS), killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_fault_gets_its_response_from_a_running_watchdog() {
    run_random_cell(WatchdogKill::Never).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_fault_gets_its_response_from_a_watchdog_killed_during_it() {
    run_random_cell(WatchdogKill::DuringResponse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_fault_gets_its_response_from_a_watchdog_killed_after_it() {
    run_random_cell(WatchdogKill::AfterResponse).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: every cell of the table"]
async fn every_fault_gets_its_response_whenever_the_watchdog_is_killed() {
    let start = Instant::now();
    let cells: Vec<(&Fault, WatchdogKill)> = FAULTS
        .iter()
        .flat_map(|fault| WATCHDOG_KILLS.map(|killed| (fault, killed)))
        .collect();
    for chunk in cells.chunks(CONCURRENT_CELLS) {
        join_all(chunk.iter().map(|(fault, killed)| run_cell(fault, *killed))).await;
    }
    eprintln!("{} cells, {:?}", cells.len(), start.elapsed());
}

/// Kills twenty units at once; the watchdog starts at most three at a time.
async fn kill_twenty_at_once(killed: WatchdogKill) {
    const UNITS: usize = 20;
    let mut rig = WatchdogRig::start().await;
    let numbers = 1..=u32::try_from(UNITS).unwrap_or_default();
    let units: Vec<Unit> = numbers
        .map(|n| rig.unit_setup(n, RESTART_AT_ONCE_FLAGS).start())
        .collect();
    for unit in &units {
        rig.wait_until_healthy(unit).await;
    }
    let before: Vec<String> = units.iter().map(Unit::started_at).collect();
    let killed_at = Instant::now();
    for unit in &units {
        unit.signal("KILL");
    }
    if killed == WatchdogKill::DuringResponse {
        rig.watchdog.wait_for_log("docker call started").await;
        rig.replace_watchdog();
    }
    for (unit, before) in units.iter().zip(&before) {
        unit.wait_until_started_after(before).await;
    }
    let span = killed_at.elapsed();
    eprintln!("killed: {killed:?}: {UNITS} units running after {span:?}");
    // A unit that waits for a free slot must not wait for the full inspection every 30 s.
    assert!(
        span < Duration::from_secs(20),
        "killed: {killed:?}: {span:?}"
    );
    if killed == WatchdogKill::AfterResponse {
        rig.replace_watchdog();
    }
    let recovered = |body: &EventBody| body.kind() == "unit_recovered";
    eventually("all units have recovered", DEFAULT_TIMEOUT, async || {
        let events = rig.stored_events().await;
        let healthy = events.iter().filter(|body| recovered(body)).count();
        (healthy >= UNITS).then_some(())
    })
    .await;
    tokio::time::sleep(SETTLE_TIME).await;
    for unit in &units {
        let records = rig.unit_records(unit).await;
        assert_eq!(count_starts(&records), 1, "{}: {records:#?}", unit.name);
        assert!(unit.is_running(), "{}: {records:#?}", unit.name);
    }
    assert_eq!(rig.stored_events().await.len(), 2 * UNITS);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: sixty containers one after another"]
async fn twenty_units_killed_at_once_are_each_started_once() {
    for killed in WATCHDOG_KILLS {
        kill_twenty_at_once(killed).await;
    }
}
