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

use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use protocol::event::EventBody;
use protocol::exit_code::ExitCode;
use watchdog_core::container::Run;
use watchdog_core::record::SupervisionRecord;
use watchdog_core::service_healing::{ServiceRecord, ServiceStartedBy};

/// The least that may be set.
const MIN_HEAL_INTERVAL: (&str, &str) = ("WATCHDOG_HEAL_MIN_INTERVAL_SECS", "10");
/// Longer than that, than three checks, and than two looks.
const OBSERVATION_TIME: Duration = Duration::from_secs(22);

/// One whose watchdog may heal every ten seconds.
async fn rig() -> WatchdogRig {
    let mut rig = WatchdogRig::start_behind_guard().await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    rig.watchdog.wait_for_log("supervising").await;
    rig
}

async fn wait_for_health(service: &Unit, health: &str) {
    let what = format!("{} is {health}", service.name);
    eventually(&what, DEFAULT_TIMEOUT, async || {
        (service.docker_state()["Health"]["Status"] == health).then_some(())
    })
    .await;
}

/// What was done about it; not through whom its runs began.
async fn heal_records(rig: &WatchdogRig, service: &Unit) -> Vec<ServiceRecord> {
    let of = |record| match record {
        SupervisionRecord::Service {
            service: name,
            record: fact,
            ..
        } if name.as_str() == service.name && !matches!(fact, ServiceRecord::Started { .. }) => {
            Some(fact)
        }
        _ => None,
    };
    rig.records().await.into_iter().filter_map(of).collect()
}

/// What the owner hears of a service that was healed once.
async fn assert_healing_published(rig: &WatchdogRig, service: &Unit) {
    let told = eventually("it is told", DEFAULT_TIMEOUT, async || {
        let told = rig.stored_events().await;
        (told.len() >= 2).then_some(told)
    })
    .await;
    let [
        EventBody::ComponentFailed {
            component: part,
            error,
        },
        EventBody::ComponentRecovered {
            component: again, ..
        },
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
async fn hung_service_is_restarted_once_and_published() {
    let rig = rig().await;
    let service = rig
        .service_setup("exchange")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    let before = service.started_at();
    service.signal("STOP");
    service.wait_until_started_after(&before).await;
    wait_for_health(&service, "healthy").await;
    assert_healing_published(&rig, &service).await;
    let healings = heal_records(&rig, &service).await;
    let [
        ServiceRecord::RestartIntended { run, .. },
        ServiceRecord::Recovered { .. },
    ] = &healings[..]
    else {
        panic!("{healings:?}")
    };
    assert_eq!(run.started_at, before);
    service.assert_stays(true, Duration::from_secs(12)).await;
    let (history, code) = rig.run_command(&["history", &service.name]).await;
    assert_eq!(code, 0, "{history}");
    assert!(
        history.contains("it is started anew") && history.contains("healthy again after"),
        "{history}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_paused_or_unlabelled_service_is_not_restarted() {
    let rig = rig().await;
    let [waiting, paused, unlabelled] = ["notifier", "exchange", "other"].map(|name| {
        let service = rig.service_setup(name).with_option("--stop-timeout", "1");
        match name {
            "other" => service.with_option("--label", "bearish-alpha.heal=no"),
            _ => service,
        }
        .start()
    });
    for service in [&waiting, &paused, &unlabelled] {
        wait_for_health(service, "healthy").await;
    }
    waiting.signal("URG");
    unlabelled.signal("STOP");
    paused.signal("STOP");
    paused.run_docker_verb("pause");
    wait_for_health(&waiting, "unhealthy").await;
    wait_for_health(&unlabelled, "unhealthy").await;
    tokio::join!(
        waiting.assert_stays(true, OBSERVATION_TIME),
        paused.assert_stays(true, OBSERVATION_TIME),
        unlabelled.assert_stays(true, OBSERVATION_TIME)
    );
    assert_eq!(rig.stored_events().await, []);
}

/// One that hangs again right after its start waits for its time, also when another watchdog looks after it by then.
#[tokio::test(flavor = "multi_thread")]
async fn service_restarts_keep_the_minimum_interval_across_watchdogs() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("exchange")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    let mut healed = Vec::new();
    for _ in 0..2 {
        let before = service.started_at();
        service.signal("STOP");
        service.wait_until_started_after(&before).await;
        healed.push(Instant::now());
        rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    }
    // A second less: one look is later than the other.
    let between = healed[1] - healed[0];
    assert!(between >= Duration::from_secs(9), "{between:?}");
}

/// The bus cannot be asked to take a record when the bus is what hangs.
#[tokio::test(flavor = "multi_thread")]
async fn service_is_restarted_without_the_bus_and_recorded_afterwards() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("nats")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.nats.kill();
    let before = service.started_at();
    service.signal("STOP");
    service.wait_until_started_after(&before).await;
    wait_for_health(&service, "healthy").await;
    rig.nats.restart().await;
    assert_healing_published(&rig, &service).await;
}

/// Whoever starts while the bus hangs has no supervisor yet.
#[tokio::test(flavor = "multi_thread")]
async fn watchdog_that_starts_without_the_bus_restarts_it() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("nats")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.nats.freeze();
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let before = service.started_at();
    service.signal("STOP");
    service.wait_until_started_after(&before).await;
    rig.nats.thaw();
    assert_healing_published(&rig, &service).await;
}

/// Waits until a run of a service is in the journal that began through this one; that run.
async fn wait_for_run(rig: &WatchdogRig, service: &Unit, started_by: ServiceStartedBy) -> Run {
    eventually("its run is recorded", DEFAULT_TIMEOUT, async || {
        let records = rig.records().await.into_iter().rev();
        let mut runs = records.filter_map(|record| match record {
            SupervisionRecord::Service {
                service: name,
                record: ServiceRecord::Started { run, by, .. },
                ..
            } if name.as_str() == service.name && by == started_by => Some(run),
            _ => None,
        });
        runs.next()
    })
    .await
}

/// What the owner hears, once there is something.
async fn wait_for_events(rig: &WatchdogRig) -> Vec<EventBody> {
    eventually("it is told", DEFAULT_TIMEOUT, async || {
        Some(rig.stored_events().await).filter(|told| !told.is_empty())
    })
    .await
}

/// A call without the bus, and the watchdog that made it is gone before anybody could take the record.
#[tokio::test(flavor = "multi_thread")]
async fn unrecorded_service_restart_is_published_by_the_next_watchdog() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("nats")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let before = wait_for_run(&rig, &service, ServiceStartedBy::NewContainer)
        .await
        .started_at;
    rig.nats.kill();
    service.signal("STOP");
    service.wait_until_started_after(&before).await;
    rig.watchdog.kill();
    rig.nats.restart().await;
    assert_eq!(rig.stored_events().await, []);
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let run = wait_for_run(&rig, &service, ServiceStartedBy::Unknown).await;
    assert_eq!(run.started_at, service.started_at());
    let told = wait_for_events(&rig).await;
    let [
        EventBody::ServiceStarted {
            service: restarted,
            started_by,
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(restarted, &service.name);
    assert!(
        started_by.contains("by a watchdog that could not record it"),
        "{started_by}"
    );
}

/// One as compose.yaml has it, its watchdog, and its run, which that knows.
async fn start_restarting_service() -> (WatchdogRig, Unit, Run) {
    let mut rig = rig().await;
    let service = rig
        .service_setup("exchange")
        .with_option("--restart", "always")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let run = wait_for_run(&rig, &service, ServiceStartedBy::NewContainer).await;
    (rig, service, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn service_restarted_by_docker_is_published_once() {
    let (mut rig, service, first) = start_restarting_service().await;
    service.kill_process();
    service.wait_until_started_after(&first.started_at).await;
    for _ in 0..2 {
        rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
        wait_for_run(&rig, &service, ServiceStartedBy::Docker).await;
    }
    let failed = EventBody::ComponentFailed {
        component: service.name.clone(),
        error: "it ended, and Docker started it again".to_owned(),
    };
    assert_eq!(wait_for_events(&rig).await, [failed]);
}

/// It hardly ever runs when somebody looks.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_a_docker_restart_loop_is_published() {
    let (mut rig, service, _) = start_restarting_service().await;
    service.kill_process();
    // The next one ends at once: the address at which it answers is taken.
    let address = SocketAddr::from_abstract_name(service.container_name()).unwrap();
    let _taken = eventually("its address is free", DEFAULT_TIMEOUT, async || {
        UnixListener::bind_addr(&address).ok()
    })
    .await;
    eventually("it ends again", DEFAULT_TIMEOUT, async || {
        service.docker_state()["Restarting"]
            .as_bool()?
            .then_some(())
    })
    .await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    wait_for_run(&rig, &service, ServiceStartedBy::Docker).await;
    let told = wait_for_events(&rig).await;
    let [EventBody::ComponentFailed { component, error }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(component, &service.name);
    assert!(
        error.starts_with("it ended, and Docker started it again"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_with_a_hung_loop_exits_so_that_docker_restarts_it() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig
        .unit_setup(1, "--paper --infinite --auto-restart")
        .start();
    rig.wait_until_healthy(&unit).await;
    rig.replace_watchdog_with_hung(&unit);
    let code = rig.watchdog.exit_within(DEFAULT_TIMEOUT).await;
    assert_eq!(code, i32::from(ExitCode::Internal.number()));
    let said = rig.watchdog.err().join("\n");
    assert!(
        said.contains("its loop is stuck: no sign of life for 30 s"),
        "{said}"
    );
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
}
