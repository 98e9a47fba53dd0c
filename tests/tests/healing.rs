//! Services beside the units that hang are started anew by the real watchdog, through the real guard, on the real
//! engine: seldom, recorded first where that can be, and the owner hears of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

use bearish_tests::patience::{SOON, eventually};
use bearish_tests::watchdog::{Kennel, Unit};
use protocol::event::EventBody;
use protocol::exit::ExitCode;
use supervision::container::Run;
use supervision::healing::{BegunBy, Healing};
use supervision::record::Record;

/// The least that may be set.
const SELDOM: (&str, &str) = ("WATCHDOG_HEAL_SECS", "10");
/// Longer than that, than three checks, and than two looks.
const LONG: Duration = Duration::from_secs(22);

/// One whose watchdog may heal every ten seconds.
async fn kennel() -> Kennel {
    let mut kennel = Kennel::behind_a_guard().await;
    kennel.replace_watchdog_with(SELDOM);
    kennel.watchdog.says("supervising").await;
    kennel
}

async fn is(service: &Unit, health: &str) {
    let what = format!("{} is {health}", service.name);
    eventually(&what, SOON, async || {
        (service.state()["Health"]["Status"] == health).then_some(())
    })
    .await;
}

/// What was done about it; not through whom its runs began.
async fn healings(kennel: &Kennel, service: &Unit) -> Vec<Healing> {
    let of = |record| match record {
        Record::Service {
            service: name,
            fact,
            ..
        } if name.as_str() == service.name && !matches!(fact, Healing::Began { .. }) => Some(fact),
        _ => None,
    };
    kennel.records().await.into_iter().filter_map(of).collect()
}

/// What the owner hears of a service that was healed once.
async fn told_of(kennel: &Kennel, service: &Unit) {
    let told = eventually("it is told", SOON, async || {
        let told = kennel.told().await;
        (told.len() >= 2).then_some(told)
    })
    .await;
    let [
        EventBody::PartFailed { part, error },
        EventBody::PartRecovered { part: again, .. },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((part, again), (&service.name, &service.name));
    assert_eq!(
        error,
        "hung: its health check fails (exit 1); it is started anew"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_is_started_anew_once_and_the_owner_hears_of_it() {
    let kennel = kennel().await;
    let service = kennel
        .service("exchange")
        .with("--stop-timeout", "1")
        .start();
    is(&service, "healthy").await;
    let before = service.started_at();
    service.signal("STOP");
    service.started_after(&before).await;
    is(&service, "healthy").await;
    told_of(&kennel, &service).await;
    let healings = healings(&kennel, &service).await;
    let [
        Healing::RestartIntended { run, .. },
        Healing::Recovered { .. },
    ] = &healings[..]
    else {
        panic!("{healings:?}")
    };
    assert_eq!(run.started_at, before);
    service.stays(true, Duration::from_secs(12)).await;
    let (history, code) = kennel.ask(&["history", &service.name]).await;
    assert_eq!(code, 0, "{history}");
    assert!(
        history.contains("it is started anew") && history.contains("healthy again after"),
        "{history}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_for_another_or_is_paused_is_left_alone() {
    let kennel = kennel().await;
    let [waiting, paused, unlabelled] = ["notifier", "exchange", "other"].map(|name| {
        let service = kennel.service(name).with("--stop-timeout", "1");
        match name {
            "other" => service.with("--label", "bearish-alpha.heal=no"),
            _ => service,
        }
        .start()
    });
    for service in [&waiting, &paused, &unlabelled] {
        is(service, "healthy").await;
    }
    waiting.signal("URG");
    unlabelled.signal("STOP");
    paused.signal("STOP");
    paused.docker("pause");
    is(&waiting, "unhealthy").await;
    is(&unlabelled, "unhealthy").await;
    tokio::join!(
        waiting.stays(true, LONG),
        paused.stays(true, LONG),
        unlabelled.stays(true, LONG)
    );
    assert_eq!(kennel.told().await, []);
}

/// One that hangs again right after its start waits for its time, also when another watchdog looks after it by then.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_started_anew_more_often_than_is_set_whatever_happens_to_the_watchdog() {
    let mut kennel = kennel().await;
    let service = kennel
        .service("exchange")
        .with("--stop-timeout", "1")
        .start();
    is(&service, "healthy").await;
    let mut healed = Vec::new();
    for _ in 0..2 {
        let before = service.started_at();
        service.signal("STOP");
        service.started_after(&before).await;
        healed.push(Instant::now());
        kennel.replace_watchdog_with(SELDOM);
    }
    // A second less: one look is later than the other.
    let between = healed[1] - healed[0];
    assert!(between >= Duration::from_secs(9), "{between:?}");
}

/// The bus cannot be asked to take a record when the bus is what hangs.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_a_service_is_healed_all_the_same_and_the_record_follows() {
    let mut kennel = kennel().await;
    let service = kennel.service("nats").with("--stop-timeout", "1").start();
    is(&service, "healthy").await;
    kennel.nats.kill();
    let before = service.started_at();
    service.signal("STOP");
    service.started_after(&before).await;
    is(&service, "healthy").await;
    kennel.nats.restart().await;
    told_of(&kennel, &service).await;
}

/// Whoever starts while the bus hangs has no supervisor yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_starts_without_the_bus_heals_it() {
    let mut kennel = kennel().await;
    let service = kennel.service("nats").with("--stop-timeout", "1").start();
    is(&service, "healthy").await;
    kennel.nats.freeze();
    kennel.replace_watchdog_with(SELDOM);
    let before = service.started_at();
    service.signal("STOP");
    service.started_after(&before).await;
    kennel.nats.thaw();
    told_of(&kennel, &service).await;
}

/// Waits until a run of a service is in the journal that began through this one; that run.
async fn began(kennel: &Kennel, service: &Unit, through: BegunBy) -> Run {
    eventually("its run is recorded", SOON, async || {
        let records = kennel.records().await.into_iter().rev();
        let mut runs = records.filter_map(|record| match record {
            Record::Service {
                service: name,
                fact: Healing::Began { run, by, .. },
                ..
            } if name.as_str() == service.name && by == through => Some(run),
            _ => None,
        });
        runs.next()
    })
    .await
}

/// What the owner hears, once there is something.
async fn told(kennel: &Kennel) -> Vec<EventBody> {
    eventually("it is told", SOON, async || {
        Some(kennel.told().await).filter(|told| !told.is_empty())
    })
    .await
}

/// A call without the bus, and the watchdog that made it is gone before anybody could take the record.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_restart_that_nobody_lived_to_record_the_owner_hears_from_the_next_watchdog() {
    let mut kennel = kennel().await;
    let service = kennel.service("nats").with("--stop-timeout", "1").start();
    is(&service, "healthy").await;
    kennel.replace_watchdog_with(SELDOM);
    let before = began(&kennel, &service, BegunBy::Maker).await.started_at;
    kennel.nats.kill();
    service.signal("STOP");
    service.started_after(&before).await;
    kennel.watchdog.kill();
    kennel.nats.restart().await;
    assert_eq!(kennel.told().await, []);
    kennel.replace_watchdog_with(SELDOM);
    let run = began(&kennel, &service, BegunBy::Somebody).await;
    assert_eq!(run.started_at, service.started_at());
    let told = told(&kennel).await;
    let [EventBody::PartStarted { part, how }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(part, &service.name);
    assert!(
        how.contains("by a watchdog that could not record it"),
        "{how}"
    );
}

/// One as compose.yaml has it, its watchdog, and its run, which that knows.
async fn one_that_docker_starts_again() -> (Kennel, Unit, Run) {
    let mut kennel = kennel().await;
    let service = kennel
        .service("exchange")
        .with("--restart", "always")
        .start();
    is(&service, "healthy").await;
    kennel.replace_watchdog_with(SELDOM);
    let run = began(&kennel, &service, BegunBy::Maker).await;
    (kennel, service, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_service_that_docker_started_again_the_owner_hears_once() {
    let (mut kennel, service, first) = one_that_docker_starts_again().await;
    service.kill_process();
    service.started_after(&first.started_at).await;
    for _ in 0..2 {
        kennel.replace_watchdog_with(SELDOM);
        began(&kennel, &service, BegunBy::Docker).await;
    }
    let failed = EventBody::PartFailed {
        part: service.name.clone(),
        error: "it ended, and Docker started it again".to_owned(),
    };
    assert_eq!(told(&kennel).await, [failed]);
}

/// It hardly ever runs when somebody looks.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_service_that_ends_again_and_again_the_owner_hears_too() {
    let (mut kennel, service, _) = one_that_docker_starts_again().await;
    service.kill_process();
    // The next one ends at once: the address at which it answers is taken.
    let address = SocketAddr::from_abstract_name(service.container()).unwrap();
    let _taken = eventually("its address is free", SOON, async || {
        UnixListener::bind_addr(&address).ok()
    })
    .await;
    eventually("it ends again", SOON, async || {
        service.state()["Restarting"].as_bool()?.then_some(())
    })
    .await;
    kennel.replace_watchdog_with(SELDOM);
    began(&kennel, &service, BegunBy::Docker).await;
    let told = told(&kennel).await;
    let [EventBody::PartFailed { part, error }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(part, &service.name);
    assert!(
        error.starts_with("it ended, and Docker started it again"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_whose_loop_is_stuck_ends_by_itself_so_that_it_is_started_again() {
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, "--paper --infinite --auto-restart").start();
    kennel.healthy(&unit).await;
    kennel.replace_watchdog_with_one_that_gets_stuck(&unit);
    let code = kennel.watchdog.exit_within(SOON).await;
    assert_eq!(code, i32::from(ExitCode::Internal.number()));
    let said = kennel.watchdog.err().join("\n");
    assert!(
        said.contains("its loop is stuck: no sign of life for 30 s"),
        "{said}"
    );
    kennel.replace_watchdog();
    kennel.watchdog.says("supervising").await;
}
