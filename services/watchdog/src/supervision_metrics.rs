//! Metrics of supervision. Without a `/metrics` address they cost nothing.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use protocol::ids::SubjectToken;
use watchdog_core::observed_state::ObservedState;
use watchdog_core::phase::UnitPhase;
use watchdog_core::reason::RestartReason;
use watchdog_core::record::ServiceRecord;
use watchdog_core::record::{SupervisionRecord, UnitRecord};
use watchdog_core::state::SupervisionState;

const UNIT_RESTARTS: &str = "bearish_watchdog_unit_restarts_total";
const SERVICE_RESTARTS: &str = "bearish_watchdog_service_restarts_total";
const HANG_DETECTION: &str = "bearish_watchdog_hang_detection_seconds";
const UNIT_RECOVERY: &str = "bearish_watchdog_unit_recovery_seconds";
const UNIT_PHASE: &str = "bearish_watchdog_unit_phase";
const UNIT_ON_HOLD: &str = "bearish_watchdog_unit_on_hold";
const UNIT_CONSECUTIVE_FAILURES: &str = "bearish_watchdog_unit_consecutive_failures";
const UNIT_RESTARTS_REMAINING: &str = "bearish_watchdog_unit_restarts_remaining";
const BLIND: &str = "bearish_watchdog_blind";
const BLIND_SECONDS: &str = "bearish_watchdog_blind_seconds";
const UNIT_BLIND: &str = "bearish_watchdog_unit_blind";
const LEADER: &str = "bearish_watchdog_leader";

/// Registers the help text and unit of every metric.
pub fn describe() {
    describe_counter!(
        UNIT_RESTARTS,
        "Restarts of a unit decided by this process, by reason"
    );
    describe_counter!(
        SERVICE_RESTARTS,
        "Restarts of a hung service decided by this process"
    );
    describe_histogram!(
        HANG_DETECTION,
        metrics::Unit::Seconds,
        "Time from the last sign of progress of a unit to the detection of its hang"
    );
    describe_histogram!(
        UNIT_RECOVERY,
        metrics::Unit::Seconds,
        "Time from the detection of a failure to the first heartbeat in phase running"
    );
    describe_gauge!(UNIT_PHASE, "1 for the current phase of the unit, else 0");
    describe_gauge!(UNIT_ON_HOLD, "1 while the unit is on hold");
    describe_gauge!(
        UNIT_CONSECUTIVE_FAILURES,
        "Consecutive failures of the unit"
    );
    describe_gauge!(
        UNIT_RESTARTS_REMAINING,
        "Restarts of the unit until its --max-restarts"
    );
    describe_gauge!(
        BLIND,
        "1 while the watchdog cannot judge units because this source is missing: bus, docker"
    );
    describe_gauge!(
        BLIND_SECONDS,
        metrics::Unit::Seconds,
        "Time for which units could not be judged; 0 while all can"
    );
    describe_gauge!(
        UNIT_BLIND,
        "1 while Docker cannot describe the container of the unit"
    );
    describe_gauge!(LEADER, "1 while this process is the leader, 0 on standby");
}

/// Counts a journaled record.
pub fn count(record: &SupervisionRecord) {
    match record {
        SupervisionRecord::WriterChanged { .. }
        | SupervisionRecord::BlindnessBegan { .. }
        | SupervisionRecord::BlindnessEnded { .. }
        | SupervisionRecord::ClockStepped { .. } => {}
        SupervisionRecord::Unit {
            unit, record: fact, ..
        } => count_unit(unit, fact),
        SupervisionRecord::Service {
            service,
            record: fact,
            ..
        } => {
            if let ServiceRecord::RestartIntended { .. } = fact {
                counter!(SERVICE_RESTARTS, "service" => service.to_string()).increment(1);
            }
        }
    }
}

fn count_unit(unit: &SubjectToken, fact: &UnitRecord) {
    match fact {
        UnitRecord::RestartScheduled(restart) => {
            let labels = [
                ("unit", unit.to_string()),
                ("reason", restart.reason.kind().to_owned()),
            ];
            counter!(UNIT_RESTARTS, &labels).increment(1);
        }
        UnitRecord::StopIntended { reason, .. } => {
            if let Some(ms) = hung_for(reason) {
                histogram!(HANG_DETECTION, "unit" => unit.to_string()).record(seconds(ms));
            }
        }
        UnitRecord::UnitHealthy {
            after_ms: Some(ms), ..
        } => histogram!(UNIT_RECOVERY, "unit" => unit.to_string()).record(seconds(*ms)),
        _ => {}
    }
}

/// Sets the gauges from the current state.
pub fn update(state: &SupervisionState, observed: &ObservedState, mono: u64) {
    gauge!(LEADER).set(1);
    gauge!(BLIND, "source" => "bus").set(flag(observed.is_bus_blind(mono)));
    gauge!(BLIND, "source" => "docker").set(flag(!observed.is_docker_reachable()));
    gauge!(BLIND_SECONDS).set(
        observed
            .blindness(mono)
            .map_or(0.0, |blindness| seconds(blindness.for_ms)),
    );
    for (name, unit) in &state.units {
        update_phase(name, &unit.phase);
        let label = [("unit", name.to_string())];
        let is_blind = observed
            .unit(name)
            .is_some_and(|unit| unit.obstacle().is_some());
        gauge!(UNIT_BLIND, &label).set(flag(is_blind));
        gauge!(UNIT_ON_HOLD, &label).set(flag(unit.hold.is_some()));
        gauge!(UNIT_CONSECUTIVE_FAILURES, &label).set(unit.consecutive_failures);
        if let Some(policy) = &unit.policy {
            let left = policy.max_restarts.saturating_sub(unit.restarts);
            gauge!(UNIT_RESTARTS_REMAINING, &label).set(left);
        }
    }
}

/// Sets the gauges of a process that is not the leader.
pub fn set_standby() {
    gauge!(LEADER).set(0);
}

fn update_phase(name: &SubjectToken, phase: &UnitPhase) {
    for verdict in UnitPhase::NAMES {
        let labels = [("unit", name.to_string()), ("phase", verdict.to_owned())];
        gauge!(UNIT_PHASE, &labels).set(flag(phase.as_str() == verdict));
    }
}

const fn hung_for(reason: &RestartReason) -> Option<u64> {
    match reason {
        RestartReason::HeartbeatLost { for_ms }
        | RestartReason::ComponentStalled { for_ms, .. }
        | RestartReason::MarketDataLost { for_ms, .. }
        | RestartReason::StartStalled { for_ms }
        | RestartReason::Unhealthy { for_ms, .. }
        | RestartReason::NoFirstHeartbeat { for_ms } => Some(*for_ms),
        _ => None,
    }
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
