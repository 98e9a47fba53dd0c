//! The JSON of every record, compared with committed files.

use bearish_watchdog_core::container::Run;
use bearish_watchdog_core::evidence::Evidence;
use bearish_watchdog_core::model::{Latch, RunCommand, StartedBy};
use bearish_watchdog_core::reason::{NoRestartReason, QuarantineReason, RestartReason};
use bearish_watchdog_core::record::ServiceRecord;
use bearish_watchdog_core::record::{Restart, SupervisionRecord, UnitRecord};
use bearish_watchdog_core::restart_policy::RestartPolicy;
use protocol::time::UtcMs;
use serde_json::Value;

use crate::support::name;

fn run() -> Run {
    Run {
        container: "4f1c".to_owned(),
        started_at: "2026-11-24T03:00:00.123456789Z".to_owned(),
    }
}

/// The name of a record's file. A new variant must be added here, and to [`unit_records`] or [`more_unit_records`].
const fn file_name(fact: &UnitRecord) -> &'static str {
    match fact {
        UnitRecord::RestartPolicyRead(_) => "restart_policy_read",
        UnitRecord::RestartPolicyUnreadable { .. } => "restart_policy_unreadable",
        UnitRecord::Started { .. } => "started",
        UnitRecord::UnitHealthy { .. } => "unit_healthy",
        UnitRecord::FailuresReset { .. } => "failures_reset",
        UnitRecord::StopIntended { .. } => "stop_intended",
        UnitRecord::HangDetected { .. } => "hang_detected",
        UnitRecord::RestartScheduled(_) => "restart_scheduled",
        UnitRecord::StartIntended { .. } => "start_intended",
        UnitRecord::Quarantined { .. } => "quarantined",
        UnitRecord::Stopped { .. } => "stopped",
        UnitRecord::Ended { .. } => "ended",
        UnitRecord::Commanded { .. } => "commanded",
        UnitRecord::HoldSet { .. } => "hold_set",
        UnitRecord::Released { .. } => "released",
        UnitRecord::HealthCritical { .. } => "health_critical",
        UnitRecord::HealthCriticalEnded => "health_critical_ended",
        UnitRecord::LatchSeen(_) => "latch_seen",
        UnitRecord::Unlatched { .. } => "unlatched",
        UnitRecord::LogRead { .. } => "log_read",
        UnitRecord::ContainerRemoved => "container_removed",
        UnitRecord::CommandExpired { .. } => "command_expired",
        UnitRecord::RemovalConfirmed => "removal_confirmed",
        UnitRecord::NotSupervised { .. } => "not_supervised",
        UnitRecord::Forgotten { .. } => "forgotten",
        UnitRecord::StopFailed { .. } => "stop_failed",
        UnitRecord::DuplicateHeartbeats { .. } => "duplicate_heartbeats",
        UnitRecord::DecisionHalted => "decision_halted",
        UnitRecord::StopRequested { .. } => "stop_requested",
        UnitRecord::StopRequestExpired { .. } => "stop_request_expired",
    }
}

fn restart() -> Restart {
    Restart {
        run: run(),
        attempt: 3,
        max_restarts: 1000,
        reason: RestartReason::Crashed { code: 70 },
        consecutive_failures: 2,
        uptime_ms: 9_000_000,
        delay_ms: 60_000,
        exit_code: Some(70),
        last_error: Some("last heartbeat 2.1s before the failure: running, 0 errors".to_owned()),
        evidence: Some(Box::new(Evidence {
            log: vec!["trader: bug: panicked".to_owned()],
            log_error: Some("no answer within 2s".to_owned()),
            oom_killed: true,
            exit_code: Some(70),
            started_at: Some(UtcMs(1_795_480_200_000)),
            finished_at: Some(UtcMs(1_795_489_200_000)),
            heartbeats: vec!["heartbeat 2.1s before the failure: running, 0 errors".to_owned()],
            last_error: Some("no answer within 5 s".to_owned()),
        })),
        trend: None,
    }
}

fn latch() -> Latch {
    Latch {
        account: "paper.binance-usdm.exchange-sim-8080".parse().unwrap(),
        id: "daily_loss-1795489200000".to_owned(),
    }
}

fn stop_intended() -> UnitRecord {
    UnitRecord::StopIntended {
        run: run(),
        reason: RestartReason::HeartbeatLost { for_ms: 15_400 },
        grace_ms: 10_000,
    }
}

fn unit_records() -> Vec<UnitRecord> {
    let silent = RestartReason::HeartbeatLost { for_ms: 15_400 };
    vec![
        UnitRecord::RestartPolicyRead(RestartPolicy {
            auto_restart: true,
            max_restarts: 1000,
            restart_delay_s: 30,
            dry_run: false,
            fast_first: false,
            jitter: false,
        }),
        UnitRecord::RestartPolicyUnreadable {
            container: "4f1c".to_owned(),
            error: "unexpected argument '--forever' found".to_owned(),
            observed_only: true,
        },
        UnitRecord::Started {
            run: run(),
            by: StartedBy::Watchdog,
            config: Some("image 4f1c, settings 00000000000077aa".to_owned()),
        },
        UnitRecord::UnitHealthy {
            boot: "b2".parse().unwrap(),
            uptime_ms: 900,
            interval_ms: 5_000,
            after_ms: Some(31_200),
        },
        UnitRecord::FailuresReset {
            healthy_ms: 600_000,
        },
        stop_intended(),
        UnitRecord::HangDetected {
            run: run(),
            reason: silent,
        },
        UnitRecord::RestartScheduled(restart()),
        UnitRecord::StartIntended { run: run() },
        UnitRecord::Quarantined {
            run: run(),
            quarantine_reason: QuarantineReason::ConsecutiveFailures,
            reason: RestartReason::OutOfMemory,
            restarts: 10,
            consecutive_failures: 11,
            evidence: None,
            latch: None,
        },
        UnitRecord::Stopped {
            run: run(),
            exit_code: 0,
            by: None,
        },
        UnitRecord::Ended {
            run: run(),
            exit_code: 1,
            reason: NoRestartReason::NoAutoRestart,
        },
        UnitRecord::Commanded {
            command: RunCommand::Restart,
            by: "operator".to_owned(),
            is_deferred: false,
        },
        UnitRecord::HoldSet {
            by: "operator".to_owned(),
            reason: "exchange maintenance".to_owned(),
        },
        UnitRecord::Released {
            by: "operator".to_owned(),
            restarts_reset: false,
        },
        UnitRecord::ContainerRemoved,
    ]
}

fn more_unit_records() -> Vec<UnitRecord> {
    vec![
        UnitRecord::HealthCritical {
            for_ms: 900_000,
            reason: "the market feed is down or its candles are stale".to_owned(),
        },
        UnitRecord::HealthCriticalEnded,
        UnitRecord::LogRead {
            run: run(),
            log: vec!["trader: bug: panicked".to_owned()],
            log_error: Some("no answer within 2s".to_owned()),
        },
        UnitRecord::LatchSeen(latch()),
        UnitRecord::Unlatched {
            latch: latch(),
            by: "operator".to_owned(),
            reason: "a wick".to_owned(),
        },
    ]
}

fn attention_records() -> Vec<UnitRecord> {
    vec![
        UnitRecord::CommandExpired {
            command: RunCommand::Stop,
            by: "operator".to_owned(),
            after_ms: 300_000,
        },
        UnitRecord::RemovalConfirmed,
        UnitRecord::NotSupervised {
            container: "4f1c".to_owned(),
            reason: "Docker's restart policy is always; expected no".to_owned(),
        },
        UnitRecord::Forgotten {
            by: "operator".to_owned(),
        },
        UnitRecord::StopFailed {
            run: run(),
            error: "no answer within 3s".to_owned(),
        },
        UnitRecord::DuplicateHeartbeats {
            run: run(),
            boot: "b2".parse().unwrap(),
        },
        UnitRecord::DecisionHalted,
        UnitRecord::StopRequested { run: run() },
        UnitRecord::StopRequestExpired { run: run() },
    ]
}

fn service_records() -> [(&'static str, ServiceRecord); 8] {
    let intended = ServiceRecord::RestartIntended {
        run: run(),
        reason: "hung: the health check timed out".to_owned(),
    };
    let error = "no answer within 48s".to_owned();
    let began = ServiceRecord::Started {
        run: run(),
        restarts: 3,
        by: StartedBy::Docker,
    };
    [
        ("service_started", began),
        ("service_restart_intended", intended),
        (
            "service_restart_failed",
            ServiceRecord::RestartFailed { error },
        ),
        (
            "service_recovered",
            ServiceRecord::Recovered { after_ms: 41_000 },
        ),
        (
            "service_heals_reset",
            ServiceRecord::HealsReset {
                healthy_ms: 600_000,
            },
        ),
        (
            "service_quarantined",
            ServiceRecord::Quarantined {
                run: run(),
                reason: "hung: the health check timed out".to_owned(),
                heals: 6,
            },
        ),
        (
            "service_hold_set",
            ServiceRecord::HoldSet {
                by: "operator".to_owned(),
                reason: "repair".to_owned(),
            },
        ),
        (
            "service_released",
            ServiceRecord::Released {
                by: "operator".to_owned(),
            },
        ),
    ]
}

fn check(file: &str, record: &SupervisionRecord) {
    let path = format!("{}/tests/golden/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let written = serde_json::to_value(record).unwrap();
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}; expected is\n{written:#}"));
    let committed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written, committed, "{path}");
    let read: SupervisionRecord = serde_json::from_value(committed).unwrap();
    assert_eq!(&read, record, "{path}");
}

#[test]
fn journal_records_match_the_golden_files() {
    let mut files = std::collections::BTreeSet::new();
    let more = more_unit_records().into_iter().chain(attention_records());
    for fact in unit_records().into_iter().chain(more) {
        files.insert(file_name(&fact));
        let record = SupervisionRecord::Unit {
            unit: name(),
            at: UtcMs(1_795_489_200_000),
            record: fact.clone(),
        };
        check(file_name(&fact), &record);
    }
    assert_eq!(files.len(), 30, "a variant is missing in facts()");
    let took_over = SupervisionRecord::WriterChanged {
        boot: "b1".parse().unwrap(),
        instance: "watchdog-1".parse().unwrap(),
        project: "bearish-alpha".parse().unwrap(),
        host: "local".parse().unwrap(),
        version: "0.1.0".to_owned(),
    };
    check("writer_changed", &took_over);
    let at = UtcMs(1_795_489_200_000);
    let began = SupervisionRecord::BlindnessBegan {
        at,
        reason: "Docker cannot be reached: no answer within 3s".to_owned(),
        units: Vec::new(),
    };
    check("blindness_began", &began);
    let ended = SupervisionRecord::BlindnessEnded {
        at,
        for_ms: 185_000,
        missed: vec!["trader-paper-1 has ended (exit 137)".to_owned()],
    };
    check("blindness_ended", &ended);
    let stepped = SupervisionRecord::ClockStepped {
        at,
        host: "local".parse().unwrap(),
        by_ms: -3_600_000,
    };
    check("clock_stepped", &stepped);
    for (file, fact) in service_records() {
        let record = SupervisionRecord::Service {
            service: "nats-1".parse().unwrap(),
            at: UtcMs(1_795_489_200_000),
            record: fact,
        };
        check(file, &record);
    }
}

#[test]
fn restart_reasons_round_trip_and_have_text() {
    let error = "no such image".to_owned();
    for reason in [
        RestartReason::Crashed { code: 1 },
        RestartReason::OutOfMemory,
        RestartReason::UnexpectedExit0,
        RestartReason::DockerOutage { code: 255 },
        RestartReason::HeartbeatLost { for_ms: 1 },
        RestartReason::NoFirstHeartbeat { for_ms: 1 },
        RestartReason::MarketDataLost {
            for_ms: 1,
            peer: name(),
        },
        RestartReason::StartStalled { for_ms: 1 },
        RestartReason::Unhealthy {
            for_ms: 1,
            check: "the health check failed (exit 1)".to_owned(),
        },
        RestartReason::StartFailed { error },
        RestartReason::CycleFinished,
        RestartReason::ExitNotRestartable { code: 78 },
        RestartReason::Commanded {
            by: "operator".to_owned(),
        },
    ] {
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(
            serde_json::from_str::<RestartReason>(&json).unwrap(),
            reason
        );
        assert!(!reason.to_string().is_empty());
    }
}

/// Evidence is optional.
#[test]
fn restart_record_without_evidence_is_readable() {
    let mut value = serde_json::to_value(restart()).unwrap();
    value.as_object_mut().unwrap().remove("evidence").unwrap();
    let read: Restart = serde_json::from_value(value).unwrap();
    assert_eq!((read.evidence, read.attempt), (None, 3));
}
