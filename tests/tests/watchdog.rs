//! The real watchdog, a real nats-server, and units on the real engine that are killed, frozen, stopped
//! by persons, starved, and misconfigured.

#![allow(clippy::print_stderr, reason = "how long it took is worth reading")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::patience::{Dice, SOON, eventually};
use bearish_tests::process::{Process, binary};
use bearish_tests::watchdog::{Kennel, Unit};
use protocol::event::EventBody;
use protocol::operator::{AccountOrder, Word};
use protocol::report::{AccountReport, LatchReport};
use protocol::subject::Subject;
use runtime::clock;
use runtime::journal::Journal;
use rust_decimal::Decimal;
use supervision::phase::Phase;
use supervision::record::{Fact, Reason, Why};

const AT_ONCE: &str = "--paper --infinite --auto-restart --restart-delay 0";

/// Long enough for a wrong decision to show.
const A_WHILE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_unit_is_started_again_and_the_owner_is_told() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    let killed = Instant::now();
    unit.signal("KILL");
    unit.started_after(&before).await;
    eprintln!("kill to running: {:?}", killed.elapsed());
    let EventBody::RestartTriggered {
        attempt,
        max,
        reason,
        exit,
        consecutive,
        ..
    } = kennel.tells("restart_triggered").await
    else {
        unreachable!()
    };
    assert_eq!((attempt, max, consecutive, exit), (1, 1000, 1, Some(137)));
    assert_eq!(reason, "killed by SIGKILL (exit 137)");
    kennel.tells("unit_recovered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_answered_as_the_table_says() {
    let kennel = Kennel::open().await;
    let crashes = kennel.unit(1, AT_ONCE).start();
    let cycles = kennel.unit(2, AT_ONCE).start();
    let halts = kennel.unit(3, AT_ONCE).start();
    let watched = kennel.unit(4, "--paper --infinite").start();
    for unit in [&crashes, &cycles, &halts, &watched] {
        kennel.healthy(unit).await;
    }
    let before = [&crashes, &cycles].map(Unit::started_at);
    crashes.signal("USR1");
    cycles.signal("HUP");
    halts.signal("PROF");
    watched.signal("USR1");
    crashes.started_after(&before[0]).await;
    cycles.started_after(&before[1]).await;
    let quarantined = |phase: &Phase| {
        matches!(
            phase,
            Phase::Quarantined {
                why: Why::CriticalHalt,
                ..
            }
        )
    };
    kennel.phase(&halts, "quarantined", quarantined).await;
    kennel.tells("given_up").await;
    kennel.tells("cycle_finished").await;
    kennel.tells("unit_observed_only").await;
    halts.stays(false, A_WHILE).await;
    assert!(!watched.runs());
    let (table, code) = kennel.ask(&["status"]).await;
    assert_eq!(code, 1, "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with(&halts.name))
        .unwrap();
    assert!(
        line.contains("quarantined") && line.contains("exit 21"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_whose_heart_beats_on_while_its_work_stands_still_is_started_again() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("URG");
    let stuck = Instant::now();
    let EventBody::RestartTriggered { reason, .. } = kennel.tells("restart_triggered").await else {
        unreachable!()
    };
    // It promises to turn within two seconds and beats every second.
    eprintln!("stuck to told: {:?}", stuck.elapsed());
    assert!(
        stuck.elapsed() < Duration::from_secs(8),
        "{:?}",
        stuck.elapsed()
    );
    assert!(
        reason.starts_with("hung: its work has stood still for"),
        "{reason}"
    );
    unit.started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misconfigured_unit_waits_for_a_person() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    unit.signal("USR2");
    let quarantined = |phase: &Phase| matches!(phase, Phase::Quarantined { .. });
    kennel.phase(&unit, "quarantined", quarantined).await;
    unit.stays(false, A_WHILE).await;
    let (said, code) = kennel.ask(&["release", &unit.name]).await;
    assert_eq!(code, 0, "{said}");
    kennel
        .phase(&unit, "running", |phase| matches!(phase, Phase::Running(_)))
        .await;
    let (said, code) = kennel.ask(&["release", &unit.name]).await;
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("neither quarantined nor held"), "{said}");
    let (table, code) = kennel.ask(&["status"]).await;
    assert_eq!(code, 0, "{table}");
}

/// As `trader unlatch` does.
async fn say_unlatch(kennel: &Kennel, latch: &str) {
    let bus = kennel.nats.bus(Role::TraderPaper).await;
    let subject = Subject::OperatorJournal("paper.v.a".parse().unwrap());
    let writer = "ops".parse().unwrap();
    let opened = Journal::replay::<Word>(&bus, &subject, writer).await;
    let word = Word {
        order: AccountOrder::Unlatch {
            latch: latch.to_owned(),
        },
        who: "ops".to_owned(),
        why: "a wick".to_owned(),
    };
    let (mut journal, _) = opened.unwrap();
    journal.append(&[word], 0, |_| {}).await.unwrap();
}

/// As the one that keeps the account does.
async fn report_latch(kennel: &Kennel, id: &str) {
    let bus = kennel.nats.bus(Role::TraderPaper).await;
    let account = "paper.v.a".parse().unwrap();
    let report = AccountReport {
        v: protocol::VERSION,
        at: clock::now(),
        instance: "trader-paper-2".parse().unwrap(),
        seq: 1,
        equity: Decimal::ONE,
        peak: Decimal::ONE,
        day_peak: Decimal::ONE,
        latch: Some(LatchReport {
            id: id.to_owned(),
            breaker: "daily_loss".to_owned(),
            at: clock::now(),
        }),
        unknown: Vec::new(),
        words: 0,
        pauses: Vec::new(),
    };
    let subject = Subject::AccountReport(account).to_string();
    let message = PublishMessage::build().payload(serde_json::to_vec(&report).unwrap().into());
    bus.store(&subject, message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latch_that_its_last_heartbeat_no_longer_named_is_known_by_its_account() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).env("LATCH=").start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("PROF");
    let quarantined = |phase: &Phase| matches!(phase, Phase::Quarantined { .. });
    kennel.phase(&unit, "quarantined", quarantined).await;
    report_latch(&kennel, "daily_loss-7").await;
    let facts = async || kennel.facts(&unit).await;
    let known = |fact: &Fact| matches!(fact, Fact::LatchKnown(_));
    eventually("its latch is known", SOON, async || {
        facts().await.iter().any(known).then_some(())
    })
    .await;
    say_unlatch(&kennel, "daily_loss-7").await;
    unit.started_after(&before).await;
    kennel.healthy(&unit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_that_ends_its_latch_is_leave_to_start_a_unit_even_for_a_watchdog_that_was_killed()
{
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).env("LATCH=daily_loss-7").start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("PROF");
    let quarantined = |phase: &Phase| matches!(phase, Phase::Quarantined { .. });
    kennel.phase(&unit, "quarantined", quarantined).await;
    kennel.replace_watchdog();
    kennel.watchdog.says("supervising").await;
    say_unlatch(&kennel, "daily_loss-6").await;
    unit.stays(false, A_WHILE).await;
    let (said, _) = kennel.ask(&["explain", &unit.name]).await;
    assert!(
        said.contains("trader unlatch --latch daily_loss-7"),
        "{said}"
    );
    say_unlatch(&kennel, "daily_loss-7").await;
    unit.started_after(&before).await;
    let EventBody::UnitOrdered { verb, by, why, .. } = kennel.tells("unit_ordered").await else {
        unreachable!()
    };
    assert_eq!((verb.as_str(), by.as_str()), ("unlatch", "ops"));
    assert_eq!(why.as_deref(), Some("a wick (latch daily_loss-7)"));
    kennel.healthy(&unit).await;
    let facts = kennel.facts(&unit).await;
    let counted = |fact: &Fact| matches!(fact, Fact::RestartScheduled(_));
    assert!(!facts.iter().any(counted), "{facts:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_ends_at_its_cap_even_while_the_watchdog_is_killed_again_and_again() {
    let mut dice = Dice::new();
    let mut kennel = Kennel::open().await;
    let unit = kennel
        .unit(
            1,
            "--paper --auto-restart --restart-delay 0 --max-restarts 8",
        )
        .env("EXIT=70")
        .start();
    let quarantined = |phase: &Phase| matches!(phase, Phase::Quarantined { .. });
    for _ in 0..8 {
        tokio::time::sleep(dice.millis(20..700)).await;
        kennel.replace_watchdog();
    }
    kennel.phase(&unit, "quarantined", quarantined).await;
    unit.stays(false, A_WHILE).await;
    let facts = kennel.facts(&unit).await;
    let runs: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::StartIntended { run } => Some(run.started_at.clone()),
            _ => None,
        })
        .collect();
    let mut once = runs.clone();
    once.dedup();
    assert_eq!((runs.len(), once.len()), (8, 8), "{facts:#?}");
    let given_up = |body: &EventBody| matches!(body, EventBody::GivenUp { restarts: 8, .. });
    assert!(kennel.told().await.iter().any(given_up));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_stops_stays_down_until_a_person_starts_it() {
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    unit.docker("stop");
    kennel.tells("unit_stopped").await;
    unit.stays(false, A_WHILE).await;
    kennel.replace_watchdog();
    kennel.watchdog.says("supervising").await;
    unit.stays(false, A_WHILE).await;
    unit.docker("start");
    kennel
        .phase(&unit, "running", |phase| matches!(phase, Phase::Running(_)))
        .await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_watchdog_is_dead_is_respected_and_a_crash_is_not() {
    let mut kennel = Kennel::open().await;
    let stopped = kennel.unit(1, AT_ONCE).start();
    let crashed = kennel.unit(2, AT_ONCE).start();
    kennel.healthy(&stopped).await;
    kennel.healthy(&crashed).await;
    let before = crashed.started_at();
    kennel.watchdog.kill();
    stopped.docker("stop");
    crashed.signal("KILL");
    kennel.replace_watchdog();
    crashed.started_after(&before).await;
    kennel
        .phase(&stopped, "stopped", |phase| {
            matches!(phase, Phase::Stopped { .. })
        })
        .await;
    stopped.stays(false, A_WHILE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_restart_is_neither_a_crash_nor_a_stop() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    unit.docker("restart");
    unit.started_after(&before).await;
    kennel.healthy(&unit).await;
    unit.stays(true, A_WHILE).await;
    assert_eq!(kennel.told().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_unit_is_found_stopped_and_started() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).with("--stop-timeout", "1").start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    let frozen = Instant::now();
    unit.signal("STOP");
    unit.started_after(&before).await;
    eprintln!("freeze to running: {:?}", frozen.elapsed());
    let EventBody::RestartTriggered { reason, .. } = kennel.tells("restart_triggered").await else {
        unreachable!()
    };
    assert!(reason.starts_with("hung: no heartbeat for 3."), "{reason}");
    kennel.tells("unit_recovered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_unit_that_ignores_sigterm_is_killed() {
    let kennel = Kennel::open().await;
    let setup = kennel.unit(1, AT_ONCE).with("--stop-timeout", "1");
    // Its one heartbeat says that the next one comes soon; it never does.
    let unit = setup.env("DEAF=1").env("BEAT_MS=1000").start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    unit.signal("STOP");
    unit.started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_unit_is_never_touched() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    unit.docker("pause");
    unit.stays(true, Duration::from_secs(8)).await;
    unit.docker("unpause");
    unit.stays(true, A_WHILE).await;
    assert_eq!(kennel.told().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_frozen_nobody_is_restarted() {
    let kennel = Kennel::open().await;
    let units = [1, 2].map(|number| kennel.unit(number, AT_ONCE).start());
    for unit in &units {
        kennel.healthy(unit).await;
    }
    kennel.nats.freeze();
    tokio::time::sleep(Duration::from_secs(15)).await;
    kennel.nats.thaw();
    for unit in &units {
        unit.stays(true, Duration::from_secs(8)).await;
    }
    assert_eq!(kennel.told().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_the_bus_is_away_is_answered_when_it_is_back() {
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    let before = unit.started_at();
    kennel.nats.kill();
    unit.signal("KILL");
    unit.stays(false, A_WHILE).await;
    kennel.nats.restart().await;
    unit.started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lack_of_memory_is_named() {
    let kennel = Kennel::open().await;
    let setup = kennel.unit(1, "--paper --auto-restart --restart-delay 60");
    let unit = setup.with("--memory", "16m").env("HUNGRY=1").start();
    let waiting = |phase: &Phase| matches!(phase, Phase::Waiting { .. });
    kennel.phase(&unit, "waiting", waiting).await;
    let facts = kennel.facts(&unit).await;
    let hungry = |fact: &Fact| matches!(fact, Fact::RestartScheduled(restart) if restart.reason == Reason::OutOfMemory);
    assert!(facts.iter().any(hungry), "{facts:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_left_alone() {
    let kennel = Kennel::open().await;
    let always = kennel.unit(1, AT_ONCE).with("--restart", "always").start();
    let setup = kennel.unit(2, AT_ONCE);
    let unlabelled = setup
        .with("--label", "bearish-alpha.supervise=false")
        .start();
    let setup = kennel.unit(3, AT_ONCE);
    let one_off = setup
        .with("--label", "com.docker.compose.oneoff=True")
        .start();
    let setup = kennel.unit(4, AT_ONCE);
    let elsewhere = setup
        .with("--label", "com.docker.compose.project=another")
        .start();
    kennel.watchdog.says("not supervised").await;
    for unit in [&unlabelled, &one_off, &elsewhere] {
        unit.signal("KILL");
    }
    for unit in [&unlabelled, &one_off, &elsewhere] {
        unit.stays(false, Duration::from_secs(1)).await;
    }
    assert!(always.runs());
    assert!(kennel.state().await.units.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_watchdog_stands_by_and_takes_over() {
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    let second = kennel.second("watchdog-2");
    second.says("standing by").await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.started_after(&before).await;
    assert_eq!(second.said("calling the engine"), 0);
    kennel.watchdog.kill();
    second.says("supervising").await;
    let before = unit.started_at();
    unit.signal("KILL");
    unit.started_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_slept_through_its_lease_does_nothing_more() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    kennel.watchdog.signal("STOP");
    let second = kennel.second("watchdog-2");
    second.says("supervising").await;
    unit.signal("KILL");
    let facts = eventually("the second has answered", SOON, async || {
        let facts = kennel.facts(&unit).await;
        let started = |fact: &Fact| matches!(fact, Fact::StartIntended { .. });
        facts.iter().any(started).then_some(facts)
    })
    .await;
    kennel.watchdog.signal("CONT");
    kennel.watchdog.says("standing by").await;
    unit.stays(true, A_WHILE).await;
    let starts = |facts: &[Fact]| {
        let start = |fact: &&Fact| matches!(fact, Fact::StartIntended { .. });
        facts.iter().filter(start).count()
    };
    assert_eq!(starts(&kennel.facts(&unit).await), starts(&facts));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_0_when_asked_and_leaves_its_lease_free() {
    let mut kennel = Kennel::open().await;
    kennel.watchdog.signal("TERM");
    assert_eq!(kennel.watchdog.exit_within(SOON).await, 0);
    let next = kennel.second("watchdog-2");
    next.says_within("supervising", Duration::from_secs(5))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_bus_it_may_write_its_own_subjects_only_and_nobody_else_may() {
    let nats = NatsServer::with_streams().await;
    let own = [
        "heartbeat.v1.watchdog.watchdog-1",
        "event.v1.watchdog.watchdog-1.info.unit_stopped",
        "journal.v1.watchdog.p",
        "lease.v1.watchdog.p",
        "command.v1.watchdog.release",
        "command.v1.watchdog.stop",
    ];
    let reads = [
        "$JS.API.DIRECT.GET.JOURNAL.journal.v1.operator.paper.v.a",
        "$JS.API.CONSUMER.CREATE.JOURNAL.x.journal.v1.operator.paper.v.a",
        "$JS.API.DIRECT.GET.HEARTBEATS.heartbeat.v1.trader.trader-paper-1",
        "$JS.API.DIRECT.GET.REPORTS.report.v1.account.paper.v.a",
    ];
    let others = [
        "journal.v1.operator.paper.v.a",
        "$JS.API.DIRECT.GET.JOURNAL.journal.v1.account.paper.v.a",
        "heartbeat.v1.trader.trader-paper-1",
        "event.v1.trader.trader-paper-1.info.trader_started",
        "journal.v1.book.paper.v.a.S",
        "lease.v1.book.paper.v.a.S",
        "$JS.API.STREAM.PURGE.JOURNAL",
        "$JS.API.STREAM.MSG.GET.JOURNAL",
        "$JS.API.CONSUMER.CREATE.JOURNAL.x.journal.v1.book.paper.v.a.S",
        "$JS.API.DIRECT.GET.REPORTS.report.v1.book.paper.v.a.S",
        "report.v1.account.paper.v.a",
    ];
    let watchdog = nats.client(Role::Watchdog).await;
    for subject in own.into_iter().chain(reads) {
        assert!(watchdog.may_publish(subject, "{}").await, "{subject}");
    }
    for subject in others {
        assert!(!watchdog.may_publish(subject, "{}").await, "{subject}");
    }
    for role in [Role::TraderPaper, Role::TraderLive, Role::Operator] {
        let other = nats.client(role).await;
        for subject in own {
            assert!(
                !other.may_publish(subject, "{}").await,
                "{role:?}: {subject}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_or_a_project_it_says_so_in_one_line() {
    let rows = [
        (
            vec![("DOCKER_HOST", "unix:///nowhere.sock")],
            "no such socket",
        ),
        (
            vec![("DOCKER_HOST", "tcp://127.0.0.1:2375")],
            "unix:///path",
        ),
        (
            vec![("HOSTNAME", "no-container-of-ours")],
            "COMPOSE_PROJECT",
        ),
        (vec![("COMPOSE_PROJECT", "a b")], "COMPOSE_PROJECT"),
        (vec![("HEARTBEAT_SECS", "0")], "HEARTBEAT_SECS"),
    ];
    for (env, expected) in rows {
        let mut command = std::process::Command::new(binary("watchdog"));
        command.env_clear().envs(env.clone());
        let mut process = Process::start("watchdog", command);
        let code = process.exit_within(SOON).await;
        let err = process.err();
        assert_eq!((code, err.len()), (78, 1), "{env:?}: {err:?}");
        assert!(err[0].contains(expected), "{env:?}: {err:?}");
    }
}
