//! What the watchdog counts for Prometheus. Where no address is set for `/metrics`, none of it costs a thing.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use protocol::ids::Token;
use supervision::healing::Healing;
use supervision::phase::Phase;
use supervision::record::{Fact, Reason, Record};
use supervision::state::State;
use supervision::watch::Watch;

const RESTARTS: &str = "bearish_watchdog_restarts_total";
const HEALED: &str = "bearish_watchdog_services_restarted_total";
const DETECTION: &str = "bearish_watchdog_detection_seconds";
const RECOVERY: &str = "bearish_watchdog_recovery_seconds";
const VERDICT: &str = "bearish_watchdog_unit_verdict";
const HELD: &str = "bearish_watchdog_unit_held";
const CONSECUTIVE: &str = "bearish_watchdog_consecutive_failures";
const BUDGET: &str = "bearish_watchdog_budget_left";
const GATE: &str = "bearish_watchdog_gate_closed";
const SUPERVISING: &str = "bearish_watchdog_supervising";

/// Says what each number is.
pub fn describe() {
    describe_counter!(
        RESTARTS,
        "Restarts decided by this process, by unit and reason"
    );
    describe_counter!(
        HEALED,
        "Restarts of services that hung, decided by this process"
    );
    describe_histogram!(
        DETECTION,
        Unit::Seconds,
        "How long a unit had hung when that was noticed"
    );
    describe_histogram!(
        RECOVERY,
        Unit::Seconds,
        "From the notice of a failure to the first good heartbeat after it"
    );
    describe_gauge!(
        VERDICT,
        "1 for what the unit does at present, 0 for everything else"
    );
    describe_gauge!(HELD, "1 while a person wants the unit to be watched only");
    describe_gauge!(CONSECUTIVE, "Failures in a row");
    describe_gauge!(BUDGET, "Restarts until the unit is given up");
    describe_gauge!(
        GATE,
        "1 while nothing is judged or done because of it: bus, engine"
    );
    describe_gauge!(
        SUPERVISING,
        "1 while this process acts, 0 while it stands by"
    );
}

/// Counts what was just journaled.
pub fn count(record: &Record) {
    match record {
        Record::OwnerTookOver { .. } => {}
        Record::Unit { unit, fact, .. } => count_unit(unit, fact),
        Record::Service { service, fact, .. } => {
            if let Healing::RestartIntended { .. } = fact {
                counter!(HEALED, "service" => service.to_string()).increment(1);
            }
        }
    }
}

fn count_unit(unit: &Token, fact: &Fact) {
    match fact {
        Fact::RestartScheduled(restart) => {
            let labels = [
                ("unit", unit.to_string()),
                ("reason", restart.reason.kind().to_owned()),
            ];
            counter!(RESTARTS, &labels).increment(1);
        }
        Fact::StopIntended { reason, .. } => {
            if let Some(ms) = hung_for(reason) {
                histogram!(DETECTION, "unit" => unit.to_string()).record(seconds(ms));
            }
        }
        Fact::Healthy {
            after_ms: Some(ms), ..
        } => histogram!(RECOVERY, "unit" => unit.to_string()).record(seconds(*ms)),
        _ => {}
    }
}

/// Shows how everything is.
pub fn show(state: &State, watch: &Watch, mono: u64) {
    gauge!(SUPERVISING).set(1);
    gauge!(GATE, "gate" => "bus").set(flag(watch.blind(mono)));
    gauge!(GATE, "gate" => "engine").set(flag(!watch.engine()));
    for (name, unit) in &state.units {
        show_verdict(name, &unit.phase);
        let label = [("unit", name.to_string())];
        gauge!(HELD, &label).set(flag(unit.held.is_some()));
        gauge!(CONSECUTIVE, &label).set(unit.consecutive);
        if let Some(policy) = &unit.policy {
            let left = policy.max_restarts.saturating_sub(unit.restarts);
            gauge!(BUDGET, &label).set(left);
        }
    }
}

/// Another process acts, or none.
pub fn stands_by() {
    gauge!(SUPERVISING).set(0);
}

fn show_verdict(name: &Token, phase: &Phase) {
    for verdict in Phase::NAMES {
        let labels = [("unit", name.to_string()), ("verdict", verdict.to_owned())];
        gauge!(VERDICT, &labels).set(flag(phase.as_str() == verdict));
    }
}

const fn hung_for(reason: &Reason) -> Option<u64> {
    match reason {
        Reason::Silent { for_ms }
        | Reason::Stuck { for_ms, .. }
        | Reason::CutOff { for_ms, .. }
        | Reason::NeverBeat { for_ms } => Some(*for_ms),
        _ => None,
    }
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
