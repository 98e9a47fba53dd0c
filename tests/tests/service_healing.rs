//! Tests of the watchdog with hung services, through the socket-guard on a real Docker daemon: a hung service is
//! restarted at a limited rate, the restart is journaled first if the bus permits, and it is published.

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
use watchdog_core::model::StartedBy;
use watchdog_core::record::ServiceRecord;
use watchdog_core::record::SupervisionRecord;

/// The smallest permitted value.
const MIN_HEAL_INTERVAL: (&str, &str) = ("WATCHDOG_HEAL_MIN_INTERVAL_SECS", "10");
/// Longer than that interval, three health checks, and two inspections.
const OBSERVATION_TIME: Duration = Duration::from_secs(22);

/// A rig whose watchdog may restart a service every ten seconds.
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

/// Reads the records about a service, except those of its starts.
async fn heal_records(rig: &WatchdogRig, service: &Unit) -> Vec<ServiceRecord> {
    let service_record = |record| match record {
        SupervisionRecord::Service {
            service: name,
            record,
            ..
        } if name.as_str() == service.name && !matches!(record, ServiceRecord::Started { .. }) => {
            Some(record)
        }
        _ => None,
    };
    rig.records()
        .await
        .into_iter()
        .filter_map(service_record)
        .collect()
}

/// Checks the events of a service that was restarted once.
async fn assert_healing_published(rig: &WatchdogRig, service: &Unit) {
    let events = eventually("an event", DEFAULT_TIMEOUT, async || {
        let events = rig.stored_events().await;
        (events.len() >= 2).then_some(events)
    })
    .await;
    let [
        EventBody::ServiceRestartScheduled {
            service: restarted,
            error,
        },
        EventBody::ServiceRecovered {
            service: recovered, ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((restarted, recovered), (&service.name, &service.name));
    assert_eq!(
        error,
        "hung: the health check failed (exit 1); restarting the service"
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
    let records = heal_records(&rig, &service).await;
    let [
        ServiceRecord::RestartIntended { run, .. },
        ServiceRecord::Recovered { .. },
    ] = &records[..]
    else {
        panic!("{records:?}")
    };
    assert_eq!(run.started_at, before);
    service.assert_stays(true, Duration::from_secs(12)).await;
    let (history, code) = rig.run_command(&["history", &service.name]).await;
    assert_eq!(code, 0, "{history}");
    assert!(
        history.contains("restarting the service") && history.contains("healthy again after"),
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

#[tokio::test(flavor = "multi_thread")]
async fn held_service_is_left_alone_until_its_release() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("exchange")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    wait_for_run(&rig, &service, StartedBy::NewContainer).await;
    let hold = ["hold", &service.name, "--reason", "repair"];
    let (text, code) = rig.run_command(&hold).await;
    assert_eq!(code, 0, "{text}");
    let before = service.started_at();
    service.signal("STOP");
    wait_for_health(&service, "unhealthy").await;
    service.assert_stays(true, OBSERVATION_TIME).await;
    for command in ["status", "explain"] {
        let arguments = [command, &service.name];
        let arguments = &arguments[..if command == "status" { 1 } else { 2 }];
        let (text, code) = rig.run_command(arguments).await;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("on hold by operator (repair)"), "{text}");
    }
    let (text, code) = rig.run_command(&["release", &service.name]).await;
    assert_eq!(code, 0, "{text}");
    service.wait_until_started_after(&before).await;
}

/// A service that hangs again right after its start is restarted after the minimum interval, also by a new watchdog.
#[tokio::test(flavor = "multi_thread")]
async fn service_restarts_keep_the_minimum_interval_across_watchdogs() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("exchange")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    let mut restarted_at = Vec::new();
    for _ in 0..2 {
        let before = service.started_at();
        service.signal("STOP");
        service.wait_until_started_after(&before).await;
        restarted_at.push(Instant::now());
        rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    }
    // A second less, because the times of the two inspections differ.
    let between = restarted_at[1] - restarted_at[0];
    assert!(between >= Duration::from_secs(9), "{between:?}");
}

/// The journal is unavailable if the bus itself hangs.
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

/// A watchdog that starts while the bus hangs is not the leader yet.
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

/// Waits for the record of a run of a service that was started by `started_by`; returns the run.
async fn wait_for_run(rig: &WatchdogRig, service: &Unit, started_by: StartedBy) -> Run {
    eventually("a record of the run", DEFAULT_TIMEOUT, async || {
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

/// Waits for the first event and returns all events.
async fn wait_for_events(rig: &WatchdogRig) -> Vec<EventBody> {
    eventually("an event", DEFAULT_TIMEOUT, async || {
        Some(rig.stored_events().await).filter(|events| !events.is_empty())
    })
    .await
}

/// The watchdog restarts the service without the bus and is killed before the record is stored.
#[tokio::test(flavor = "multi_thread")]
async fn unrecorded_service_restart_is_published_by_the_next_watchdog() {
    let mut rig = rig().await;
    let service = rig
        .service_setup("nats")
        .with_option("--stop-timeout", "1")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let before = wait_for_run(&rig, &service, StartedBy::NewContainer)
        .await
        .started_at;
    rig.nats.kill();
    service.signal("STOP");
    service.wait_until_started_after(&before).await;
    rig.watchdog.kill();
    rig.nats.restart().await;
    assert_eq!(rig.stored_events().await, []);
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let run = wait_for_run(&rig, &service, StartedBy::Unknown).await;
    assert_eq!(run.started_at, service.started_at());
    let events = wait_for_events(&rig).await;
    let [
        EventBody::ServiceStarted {
            service: restarted,
            started_by,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(restarted, &service.name);
    assert!(
        started_by.contains("by a watchdog that could not record it"),
        "{started_by}"
    );
}

/// Starts a service with compose.yaml's restart policy; returns its watchdog, the service and its recorded run.
async fn start_restarting_service() -> (WatchdogRig, Unit, Run) {
    let mut rig = rig().await;
    let service = rig
        .service_setup("exchange")
        .with_option("--restart", "always")
        .start();
    wait_for_health(&service, "healthy").await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    let run = wait_for_run(&rig, &service, StartedBy::NewContainer).await;
    (rig, service, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn service_restarted_by_docker_is_published_once() {
    let (mut rig, service, first) = start_restarting_service().await;
    service.kill_process();
    service.wait_until_started_after(&first.started_at).await;
    for _ in 0..2 {
        rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
        wait_for_run(&rig, &service, StartedBy::Docker).await;
    }
    let failed = EventBody::ServiceRestartScheduled {
        service: service.name.clone(),
        error: "exited and restarted by Docker".to_owned(),
    };
    assert_eq!(wait_for_events(&rig).await, [failed]);
}

/// Such a service is hardly ever running when it is inspected.
#[tokio::test(flavor = "multi_thread")]
async fn service_in_a_docker_restart_loop_is_published() {
    let (mut rig, service, _) = start_restarting_service().await;
    service.kill_process();
    // The restarted process exits at once, because its address is in use.
    let address = SocketAddr::from_abstract_name(service.container_name()).unwrap();
    let _taken = eventually(
        "the address of the service is free",
        DEFAULT_TIMEOUT,
        async || UnixListener::bind_addr(&address).ok(),
    )
    .await;
    eventually(
        "Docker is restarting the service",
        DEFAULT_TIMEOUT,
        async || {
            service.docker_state()["Restarting"]
                .as_bool()?
                .then_some(())
        },
    )
    .await;
    rig.replace_watchdog_with_env(MIN_HEAL_INTERVAL);
    wait_for_run(&rig, &service, StartedBy::Docker).await;
    let events = wait_for_events(&rig).await;
    let [
        EventBody::ServiceRestartScheduled {
            service: restarted,
            error,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(restarted, &service.name);
    assert!(
        error.starts_with("exited and restarted by Docker"),
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
    let stderr = rig.watchdog.err().join("\n");
    assert!(
        stderr.contains("the main loop is hung: no activity for 30s"),
        "{stderr}"
    );
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
}
