//! The JSON of every record, held against committed files: a journal is read for years.

use bearish_supervision::container::Run;
use bearish_supervision::evidence::Found;
use bearish_supervision::healing::{BegunBy, Healing};
use bearish_supervision::policy::Policy;
use bearish_supervision::record::{
    EndedWhy, Fact, Latch, Order, Reason, Record, Restart, StartedBy, Why,
};
use protocol::time::UtcMs;
use serde_json::Value;

use crate::support::name;

fn run() -> Run {
    Run {
        container: "4f1c".to_owned(),
        started_at: "2026-11-24T03:00:00.123456789Z".to_owned(),
    }
}

/// The file's name; a new variant must be added here, and then to [`facts`] or [`later_facts`].
const fn file(fact: &Fact) -> &'static str {
    match fact {
        Fact::PolicyRead(_) => "policy_read",
        Fact::PolicyUnreadable { .. } => "policy_unreadable",
        Fact::Started { .. } => "started",
        Fact::Healthy { .. } => "healthy",
        Fact::FailuresForgiven { .. } => "failures_forgiven",
        Fact::StopIntended { .. } => "stop_intended",
        Fact::HangObserved { .. } => "hang_observed",
        Fact::RestartScheduled(_) => "restart_scheduled",
        Fact::StartIntended { .. } => "start_intended",
        Fact::Quarantined { .. } => "quarantined",
        Fact::Stopped { .. } => "stopped",
        Fact::Ended { .. } => "ended",
        Fact::Ordered { .. } => "ordered",
        Fact::Held { .. } => "held",
        Fact::Released { .. } => "released",
        Fact::CriticalForLong { .. } => "critical_for_long",
        Fact::CriticalNoMore => "critical_no_more",
        Fact::LatchKnown(_) => "latch_known",
        Fact::Unlatched { .. } => "unlatched",
        Fact::WordsFound { .. } => "words_found",
        Fact::Gone => "gone",
    }
}

fn restart() -> Restart {
    Restart {
        run: run(),
        attempt: 3,
        max: 1000,
        reason: Reason::Crashed { code: 70 },
        consecutive: 2,
        uptime_ms: 9_000_000,
        delay_ms: 60_000,
        exit: Some(70),
        evidence: Some("last heartbeat 2.1 s before: running, 0 errors".to_owned()),
        found: Some(Box::new(Found {
            log: vec!["trader: bug: panicked".to_owned()],
            log_unread: Some("no answer within 2s".to_owned()),
            oom: true,
            exit: Some(70),
            started: Some(UtcMs(1_795_480_200_000)),
            finished: Some(UtcMs(1_795_489_200_000)),
            beats: vec!["heartbeat 2.1 s before: running, 0 errors".to_owned()],
            last_error: Some("no answer within 5 s".to_owned()),
        })),
    }
}

fn latch() -> Latch {
    Latch {
        account: "paper.binance-usdm.exchange-sim-8080".parse().unwrap(),
        id: "daily_loss-1795489200000".to_owned(),
    }
}

fn stop_intended() -> Fact {
    Fact::StopIntended {
        run: run(),
        reason: Reason::Silent { for_ms: 15_400 },
        grace_ms: 10_000,
    }
}

fn facts() -> Vec<Fact> {
    let silent = Reason::Silent { for_ms: 15_400 };
    vec![
        Fact::PolicyRead(Policy {
            auto_restart: true,
            max_restarts: 1000,
            restart_delay: 30,
            dry_run: false,
            fast_first: false,
            jitter: false,
        }),
        Fact::PolicyUnreadable {
            container: "4f1c".to_owned(),
            why: "unexpected argument '--forever' found".to_owned(),
            observed_only: true,
        },
        Fact::Started {
            run: run(),
            by: StartedBy::Watchdog,
        },
        Fact::Healthy {
            boot: "b2".parse().unwrap(),
            uptime_ms: 900,
            interval_ms: 5_000,
            after_ms: Some(31_200),
        },
        Fact::FailuresForgiven {
            healthy_ms: 600_000,
        },
        stop_intended(),
        Fact::HangObserved {
            run: run(),
            reason: silent,
        },
        Fact::RestartScheduled(restart()),
        Fact::StartIntended { run: run() },
        Fact::Quarantined {
            run: run(),
            why: Why::Consecutive,
            reason: Reason::OutOfMemory,
            restarts: 10,
            consecutive: 11,
            found: None,
        },
        Fact::Stopped {
            run: run(),
            exit: 0,
            by: None,
        },
        Fact::Ended {
            run: run(),
            exit: 1,
            why: EndedWhy::NoAutoRestart,
        },
        Fact::Ordered {
            order: Order::Restart,
            by: "operator".to_owned(),
        },
        Fact::Held {
            by: "operator".to_owned(),
            why: "exchange maintenance".to_owned(),
        },
        Fact::Released {
            by: "operator".to_owned(),
            total: false,
        },
        Fact::Gone,
    ]
}

fn later_facts() -> Vec<Fact> {
    vec![
        Fact::CriticalForLong {
            for_ms: 900_000,
            why: "the market feed is down or its candles are stale".to_owned(),
        },
        Fact::CriticalNoMore,
        Fact::WordsFound {
            run: run(),
            log: vec!["trader: bug: panicked".to_owned()],
            log_unread: Some("no answer within 2s".to_owned()),
        },
        Fact::LatchKnown(latch()),
        Fact::Unlatched {
            latch: latch(),
            by: "operator".to_owned(),
            why: "a wick".to_owned(),
        },
    ]
}

fn healings() -> [(&'static str, Healing); 4] {
    let intended = Healing::RestartIntended {
        run: run(),
        why: "hung: its health check takes too long".to_owned(),
    };
    let error = "no answer within 48s".to_owned();
    let began = Healing::Began {
        run: run(),
        restarts: 3,
        by: BegunBy::Docker,
    };
    [
        ("service_began", began),
        ("service_restart_intended", intended),
        ("service_not_restarted", Healing::NotRestarted { error }),
        ("service_recovered", Healing::Recovered { after_ms: 41_000 }),
    ]
}

fn check(file: &str, record: &Record) {
    let path = format!("{}/tests/golden/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let written = serde_json::to_value(record).unwrap();
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}; expected is\n{written:#}"));
    let committed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written, committed, "{path}");
    let read: Record = serde_json::from_value(committed).unwrap();
    assert_eq!(&read, record, "{path}");
}

#[test]
fn every_record_reads_and_writes_as_committed() {
    let mut files = std::collections::BTreeSet::new();
    for fact in facts().into_iter().chain(later_facts()) {
        files.insert(file(&fact));
        let record = Record::Unit {
            unit: name(),
            at: UtcMs(1_795_489_200_000),
            fact: fact.clone(),
        };
        check(file(&fact), &record);
    }
    assert_eq!(files.len(), 21, "a variant is missing in facts()");
    let took_over = Record::OwnerTookOver {
        boot: "b1".parse().unwrap(),
        instance: "watchdog-1".parse().unwrap(),
        project: "bearish-alpha".parse().unwrap(),
        version: "0.1.0".to_owned(),
    };
    check("owner_took_over", &took_over);
    for (file, fact) in healings() {
        let record = Record::Service {
            service: "nats-1".parse().unwrap(),
            at: UtcMs(1_795_489_200_000),
            fact,
        };
        check(file, &record);
    }
}

#[test]
fn every_reason_reads_back_and_has_words() {
    let error = "no such image".to_owned();
    for reason in [
        Reason::Crashed { code: 1 },
        Reason::OutOfMemory,
        Reason::Interrupted,
        Reason::WithEngine { code: 255 },
        Reason::Silent { for_ms: 1 },
        Reason::NeverBeat { for_ms: 1 },
        Reason::CutOff {
            for_ms: 1,
            other: name(),
        },
        Reason::NotStarted { error },
        Reason::CycleFinished,
        Reason::Refused { code: 78 },
        Reason::Ordered {
            by: "operator".to_owned(),
        },
    ] {
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), reason);
        assert!(!reason.to_string().is_empty());
    }
}

/// Written by builds that kept no evidence.
#[test]
fn a_restart_of_an_older_build_reads() {
    let mut value = serde_json::to_value(restart()).unwrap();
    value.as_object_mut().unwrap().remove("found").unwrap();
    let read: Restart = serde_json::from_value(value).unwrap();
    assert_eq!((read.found, read.attempt), (None, 3));
}
