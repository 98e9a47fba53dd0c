//! Every fault, with the watchdog alive, killed in the middle of its answer, and killed right behind it: the right
//! verdict, the right number of starts, the right words to the owner, and nothing done to anybody else.
//!
//! The default run takes a few cells by chance; `every_fault_…` takes all.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and which cells were taken is worth reading"
)]

use std::time::{Duration, Instant};

use bearish_tests::patience::{Dice, SOON, eventually};
use bearish_tests::watchdog::{Kennel, Setup, Unit};
use futures_util::future::join_all;
use protocol::event::EventBody;
use supervision::phase::Phase;
use supervision::record::{Fact, Why};

const AT_ONCE: &str = "--paper --infinite --auto-restart --restart-delay 0";
/// Long enough for a wrong decision to show: beyond three heartbeats and a stop.
const A_WHILE: Duration = Duration::from_secs(6);
/// Cells of the default run.
const SAMPLE: usize = 3;
/// Cells at once in the whole run.
const AT_A_TIME: usize = 4;

/// After this signal a stand-in has no candles.
const NO_MARKET: &str = "PWR";
/// Who has no candles for a minute is cut off; most of that is waited for beforehand.
const BELIEVED: Duration = Duration::from_secs(50);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// `docker kill -s`.
    Signal(&'static str),
    /// A command of docker's.
    Docker(&'static str),
    /// The bus is killed, and later there again.
    BusDead,
    /// The bus is frozen, and later thawed.
    BusFrozen,
}

/// What is to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// One restart, for a reason that begins so.
    Restart(&'static str),
    /// The next cycle, which is no failure.
    Cycle,
    /// It is given up, for this, and the message has these words.
    GivenUp(Why, &'static str),
    /// A person stopped it.
    Stopped,
    /// Nothing at all.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Never,
    InTheMiddle,
    RightBehind,
}

const KILLED: [Killed; 3] = [Killed::Never, Killed::InTheMiddle, Killed::RightBehind];

struct Fault {
    name: &'static str,
    harm: Harm,
    /// Told to the stand-in.
    env: &'static [&'static str],
    answer: Answer,
}

const fn fault(name: &'static str, harm: Harm, answer: Answer) -> Fault {
    let env = &[];
    Fault {
        name,
        harm,
        env,
        answer,
    }
}

const FAULTS: [Fault; 18] = [
    fault(
        "kill -9",
        Harm::Signal("KILL"),
        Answer::Restart("killed by SIGKILL (exit 137)"),
    ),
    fault(
        "exit 1",
        Harm::Signal("ALRM"),
        Answer::Restart("crashed with exit 1"),
    ),
    fault(
        "exit 70",
        Harm::Signal("USR1"),
        Answer::Restart("internal error (exit 70)"),
    ),
    fault(
        "exit 20, by docker kill -s HUP",
        Harm::Signal("HUP"),
        Answer::Cycle,
    ),
    fault(
        "exit 21",
        Harm::Signal("PROF"),
        Answer::GivenUp(
            Why::CriticalHalt,
            "a circuit breaker or an operator closed everything",
        ),
    ),
    fault(
        "exit 78",
        Harm::Signal("USR2"),
        Answer::GivenUp(Why::Misconfigured, "a restart does not mend that"),
    ),
    fault(
        "SIGSTOP",
        Harm::Signal("STOP"),
        Answer::Restart("hung: no heartbeat for"),
    ),
    fault(
        "busy loop",
        Harm::Signal("VTALRM"),
        Answer::Restart("hung: no heartbeat for"),
    ),
    fault(
        "stuck work loop",
        Harm::Signal("URG"),
        Answer::Restart("hung: its work has stood still for"),
    ),
    // What a partition looks like from the watchdog: the process lives and is not heard.
    fault(
        "cut off the bus alone",
        Harm::Signal("XCPU"),
        Answer::Restart("hung: no heartbeat for"),
    ),
    Fault {
        name: "cut off its market alone",
        harm: Harm::Signal(NO_MARKET),
        env: &["LATCH="],
        answer: Answer::Restart("hung: it reaches no market for 6"),
    },
    Fault {
        name: "stuck, and SIGTERM ignored",
        harm: Harm::Signal("URG"),
        env: &["DEAF=1"],
        answer: Answer::Restart("hung: its work has stood still for"),
    },
    fault(
        "out of memory",
        Harm::Signal("WINCH"),
        Answer::Restart("killed for lack of memory (exit 137)"),
    ),
    fault(
        "a child out of memory",
        Harm::Signal("TTIN"),
        Answer::Nothing,
    ),
    fault("docker stop", Harm::Docker("stop"), Answer::Stopped),
    fault("docker pause", Harm::Docker("pause"), Answer::Nothing),
    fault("the bus dead", Harm::BusDead, Answer::Nothing),
    fault("the bus frozen", Harm::BusFrozen, Answer::Nothing),
];

impl Fault {
    fn setup(&self, kennel: &Kennel) -> Setup {
        let setup = kennel
            .unit(1, AT_ONCE)
            .with("--stop-timeout", "1")
            .with("--memory", "16m");
        self.env.iter().fold(setup, |setup, pair| setup.env(pair))
    }

    async fn strike(&self, kennel: &mut Kennel, unit: &Unit) {
        match self.harm {
            Harm::Signal(NO_MARKET) => {
                unit.signal(NO_MARKET);
                tokio::time::sleep(BELIEVED).await;
            }
            Harm::Signal(signal) => unit.signal(signal),
            Harm::Docker(verb) => unit.docker(verb),
            Harm::BusDead => kennel.nats.kill(),
            Harm::BusFrozen => kennel.nats.freeze(),
        }
    }

    /// What ends by itself ends after a while.
    async fn heal(&self, kennel: &mut Kennel, unit: &Unit) {
        match self.harm {
            Harm::Docker("pause") => {
                tokio::time::sleep(A_WHILE).await;
                unit.docker("unpause");
            }
            Harm::Signal(_) | Harm::Docker(_) => {}
            Harm::BusDead => {
                tokio::time::sleep(A_WHILE).await;
                kennel.nats.restart().await;
            }
            Harm::BusFrozen => {
                tokio::time::sleep(A_WHILE).await;
                kennel.nats.thaw();
            }
        }
    }

    /// The kinds of events that the owner is owed, in order.
    const fn owed(&self) -> &'static [&'static str] {
        match self.answer {
            Answer::Restart(_) => &["restart_triggered", "unit_recovered"],
            Answer::Cycle => &["cycle_finished", "unit_recovered"],
            Answer::GivenUp(..) => &["given_up"],
            Answer::Stopped => &["unit_stopped"],
            Answer::Nothing => &[],
        }
    }

    fn starts(&self) -> usize {
        usize::from(matches!(self.answer, Answer::Restart(_) | Answer::Cycle))
    }
}

/// One cell: the fault strikes one of two units, and everything about both is looked at afterwards.
async fn cell(fault: &Fault, killed: Killed) {
    let began = Instant::now();
    let mut kennel = Kennel::open().await;
    let unit = fault.setup(&kennel).start();
    let bystander = kennel.unit(2, AT_ONCE).env("LATCH=").start();
    kennel.healthy(&unit).await;
    kennel.healthy(&bystander).await;
    let before = [&unit, &bystander].map(Unit::started_at);
    fault.strike(&mut kennel, &unit).await;
    if killed == Killed::InTheMiddle {
        in_the_middle(fault, &kennel).await;
        kennel.replace_watchdog();
    }
    fault.heal(&mut kennel, &unit).await;
    answered(fault, &kennel, &unit, &before[0]).await;
    if killed == Killed::RightBehind {
        kennel.replace_watchdog();
    }
    told(fault, &kennel).await;
    tokio::time::sleep(A_WHILE).await;
    let what = format!("{}, watchdog killed: {killed:?}", fault.name);
    holds(&what, fault, &kennel, &unit, &before[0]).await;
    assert!(bystander.runs(), "{what}: another was stopped");
    assert_eq!(
        bystander.started_at(),
        before[1],
        "{what}: another was restarted"
    );
    let others = kennel.facts(&bystander).await;
    assert_eq!(starts(&others), 0, "{what}: {others:#?}");
    eprintln!("{what}: right, {:.1} s", began.elapsed().as_secs_f64());
}

/// Where there is a call, as it begins: its intent is journaled then. Else at once.
async fn in_the_middle(fault: &Fault, kennel: &Kennel) {
    if fault.starts() > 0 {
        kennel.watchdog.says("calling the engine").await;
    }
}

/// Waits until what is to be done is done.
async fn answered(fault: &Fault, kennel: &Kennel, unit: &Unit, before: &str) {
    match fault.answer {
        Answer::Restart(_) | Answer::Cycle => unit.started_after(before).await,
        Answer::GivenUp(expected, _) => {
            let wish =
                |phase: &Phase| matches!(phase, Phase::Quarantined { why, .. } if *why == expected);
            kennel.phase(unit, "given up", wish).await;
        }
        Answer::Stopped => {
            let wish = |phase: &Phase| matches!(phase, Phase::Stopped { .. });
            kennel.phase(unit, "stopped", wish).await;
        }
        Answer::Nothing => {}
    }
}

async fn told(fault: &Fault, kennel: &Kennel) {
    let what = format!("{}: {:?} told", fault.name, fault.owed());
    eventually(&what, SOON, async || {
        let told = kennel.told().await;
        (told.len() >= fault.owed().len()).then_some(())
    })
    .await;
}

fn starts(facts: &[Fact]) -> usize {
    let start = |fact: &&Fact| matches!(fact, Fact::StartIntended { .. });
    facts.iter().filter(start).count()
}

/// Verdict, number of starts, and words.
async fn holds(what: &str, fault: &Fault, kennel: &Kennel, unit: &Unit, before: &str) {
    let facts = kennel.facts(unit).await;
    assert_eq!(starts(&facts), fault.starts(), "{what}: {facts:#?}");
    let down = matches!(fault.answer, Answer::GivenUp(..) | Answer::Stopped);
    assert_eq!(unit.runs(), !down, "{what}: {facts:#?}");
    if fault.harm == Harm::Signal("TTIN") {
        // Else nothing has happened to it at all.
        assert!(unit.events().contains(&"oom".to_owned()), "{what}");
    }
    let restarted = unit.started_at() != before;
    assert_eq!(restarted, fault.starts() > 0, "{what}: {facts:#?}");
    let told = kennel.told().await;
    let kinds: Vec<&str> = told.iter().map(EventBody::kind).collect();
    assert_eq!(kinds, fault.owed(), "{what}: {told:#?}");
    let (words, exact) = match (&fault.answer, told.first()) {
        (Answer::Restart(begin), Some(EventBody::RestartTriggered { reason, .. })) => {
            (reason.clone(), reason.starts_with(begin))
        }
        (Answer::GivenUp(_, part), Some(EventBody::GivenUp { reason, .. })) => {
            (reason.clone(), reason.contains(part))
        }
        (Answer::Stopped, Some(EventBody::UnitStopped { reason, .. })) => {
            (reason.clone(), reason.contains("stopped by a person"))
        }
        (Answer::Cycle, Some(EventBody::CycleFinished { attempt, .. })) => {
            (format!("attempt {attempt}"), *attempt == 1)
        }
        (Answer::Nothing, None) => (String::new(), true),
        (_, first) => panic!("{what}: {first:?}"),
    };
    assert!(exact, "{what}: {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_faults_by_chance_are_answered_as_the_table_says() {
    let mut dice = Dice::new();
    for _ in 0..SAMPLE {
        let index: Vec<usize> = (0..FAULTS.len()).collect();
        let fault = &FAULTS[*dice.one_of(&index)];
        cell(fault, *dice.one_of(&KILLED)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: every cell of the table"]
async fn every_fault_is_answered_as_the_table_says_whenever_the_watchdog_is_killed() {
    let began = Instant::now();
    let cells: Vec<(&Fault, Killed)> = FAULTS
        .iter()
        .flat_map(|fault| KILLED.map(|killed| (fault, killed)))
        .collect();
    for some in cells.chunks(AT_A_TIME) {
        join_all(some.iter().map(|(fault, killed)| cell(fault, *killed))).await;
    }
    eprintln!("{} cells, {:?}", cells.len(), began.elapsed());
}

/// Twenty die at once; three may be on their way up at once.
async fn twenty_at_once(killed: Killed) {
    const UNITS: usize = 20;
    let mut kennel = Kennel::open().await;
    let numbers = 1..=u32::try_from(UNITS).unwrap_or_default();
    let units: Vec<Unit> = numbers.map(|n| kennel.unit(n, AT_ONCE).start()).collect();
    for unit in &units {
        kennel.healthy(unit).await;
    }
    let before: Vec<String> = units.iter().map(Unit::started_at).collect();
    let struck = Instant::now();
    for unit in &units {
        unit.signal("KILL");
    }
    if killed == Killed::InTheMiddle {
        kennel.watchdog.says("calling the engine").await;
        kennel.replace_watchdog();
    }
    for (unit, before) in units.iter().zip(&before) {
        unit.started_after(before).await;
    }
    let span = struck.elapsed();
    eprintln!("killed: {killed:?}: {UNITS} back after {span:?}");
    // Nobody who waited for room is forgotten until the next look at everything, every 30 s.
    assert!(
        span < Duration::from_secs(20),
        "killed: {killed:?}: {span:?}"
    );
    if killed == Killed::RightBehind {
        kennel.replace_watchdog();
    }
    let recovered = |body: &EventBody| body.kind() == "unit_recovered";
    eventually("all are well again", SOON, async || {
        let told = kennel.told().await;
        let well = told.iter().filter(|body| recovered(body)).count();
        (well >= UNITS).then_some(())
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    for unit in &units {
        let facts = kennel.facts(unit).await;
        assert_eq!(starts(&facts), 1, "{}: {facts:#?}", unit.name);
        assert!(unit.runs(), "{}: {facts:#?}", unit.name);
    }
    assert_eq!(kennel.told().await.len(), 2 * UNITS);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: sixty containers one after another"]
async fn twenty_that_die_at_once_are_each_started_once_whenever_the_watchdog_is_killed() {
    for killed in KILLED {
        twenty_at_once(killed).await;
    }
}
