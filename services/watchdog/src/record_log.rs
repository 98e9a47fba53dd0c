//! Log lines of journaled records.

use protocol::ids::SubjectToken;
use watchdog_core::clock_step::format_step;
use watchdog_core::record::{ServiceRecord, SupervisionRecord, UnitRecord};

/// Logs a record. The log of a unit is not repeated, and a Docker call is logged where it is made.
pub fn log_record(record: &SupervisionRecord) {
    match record {
        SupervisionRecord::Unit { unit, record, .. } => match record {
            UnitRecord::Commanded { .. }
            | UnitRecord::CommandExpired { .. }
            | UnitRecord::Forgotten { .. }
            | UnitRecord::HoldSet { .. }
            | UnitRecord::Released { .. }
            | UnitRecord::LatchSeen(_)
            | UnitRecord::Unlatched { .. } => log_command(unit, record),
            _ => log_unit(unit, record),
        },
        SupervisionRecord::Service {
            service,
            record: ServiceRecord::Started { by, restarts, .. },
            ..
        } => tracing::info!(%service, started_by = by.as_str(), restarts, "service started"),
        // The term and the healer log what they do.
        SupervisionRecord::WriterChanged { .. } | SupervisionRecord::Service { .. } => {}
        SupervisionRecord::ClockStepped { by_ms, .. } => {
            tracing::warn!(by = format_step(*by_ms), "wall clock stepped");
        }
        SupervisionRecord::BlindnessBegan { reason, units, .. } => {
            tracing::error!(reason, ?units, "units cannot be judged");
        }
        SupervisionRecord::BlindnessEnded { for_ms, missed, .. } => {
            tracing::warn!(for_ms, ?missed, "every unit can be judged again");
        }
    }
}

fn log_unit(unit: &SubjectToken, record: &UnitRecord) {
    match record {
        UnitRecord::RestartScheduled(restart) => tracing::warn!(%unit, reason = %restart.reason,
            attempt = restart.attempt, max_restarts = restart.max_restarts,
            consecutive_failures = restart.consecutive_failures, delay_ms = restart.delay_ms,
            last_error = restart.last_error, "restart scheduled"),
        UnitRecord::StopIntended { reason, .. } => tracing::warn!(%unit, %reason, "stopping unit"),
        UnitRecord::HangDetected { reason, .. } => {
            tracing::warn!(%unit, %reason, "hang detected; unit is not restartable");
        }
        UnitRecord::Quarantined {
            reason,
            restarts,
            consecutive_failures,
            ..
        } => tracing::error!(%unit, %reason, restarts, consecutive_failures,
            "unit quarantined; manual intervention required"),
        UnitRecord::RestartPolicyRead(policy) => tracing::info!(%unit,
            auto_restart = policy.auto_restart, max_restarts = policy.max_restarts,
            restart_delay_s = policy.restart_delay_s, dry_run = policy.dry_run,
            fast_first = policy.fast_first, jitter = policy.jitter, "restart policy read"),
        UnitRecord::RestartPolicyUnreadable { error, .. } => {
            tracing::warn!(%unit, error, "invalid trader command line");
        }
        UnitRecord::Started { by, .. } => {
            tracing::info!(%unit, started_by = by.as_str(), "unit running");
        }
        UnitRecord::UnitHealthy { after_ms, .. } => tracing::info!(%unit, after_ms, "unit healthy"),
        UnitRecord::FailuresReset { healthy_ms } => {
            tracing::info!(%unit, healthy_ms, "consecutive failures reset");
        }
        UnitRecord::Stopped { exit_code, by, .. } => {
            tracing::info!(%unit, exit_code, by, "unit stopped by operator");
        }
        UnitRecord::Ended {
            exit_code, reason, ..
        } => tracing::info!(%unit, exit_code, reason = reason.describe(), "unit ended"),
        UnitRecord::HealthCritical { for_ms, reason } => {
            tracing::warn!(%unit, for_ms, reason, "unit health critical");
        }
        UnitRecord::HealthCriticalEnded => tracing::info!(%unit, "unit health no longer critical"),
        UnitRecord::ContainerRemoved => tracing::info!(%unit, "container removed"),
        UnitRecord::RemovalConfirmed => tracing::warn!(%unit, "no container followed the removal"),
        UnitRecord::NotSupervised { reason, .. } => {
            tracing::warn!(%unit, reason, "unit not supervised");
        }
        UnitRecord::StopFailed { error, .. } => {
            tracing::error!(%unit, error, "unit cannot be stopped");
        }
        UnitRecord::DuplicateHeartbeats { boot, .. } => {
            tracing::warn!(%unit, %boot, "two processes send heartbeats under one name");
        }
        UnitRecord::DecisionHalted => {
            tracing::error!(%unit, "bug: decision does not come to rest; unit on hold");
        }
        // A start is logged as a Docker call. The log of a unit is not repeated.
        _ => {}
    }
}

fn log_command(unit: &SubjectToken, record: &UnitRecord) {
    match record {
        UnitRecord::Commanded {
            command,
            by,
            is_deferred,
        } => tracing::info!(%unit, command = command.as_str(), by, is_deferred,
            "unit command accepted"),
        UnitRecord::CommandExpired { command, by, .. } => {
            tracing::warn!(%unit, command = command.as_str(), by, "unit command expired");
        }
        UnitRecord::Forgotten { by } => tracing::info!(%unit, by, "unit forgotten"),
        UnitRecord::HoldSet { by, reason } => tracing::info!(%unit, by, reason, "unit on hold"),
        UnitRecord::Released { by, restarts_reset } => {
            tracing::info!(%unit, by, restarts_reset, "unit released");
        }
        UnitRecord::LatchSeen(latch) => tracing::info!(%unit, account = %latch.account,
            latch_id = latch.id, "unit stopped by account latch"),
        UnitRecord::Unlatched { latch, by, reason } => tracing::info!(%unit, latch_id = latch.id,
            by, reason, "latch ended; unit may start"),
        _ => {}
    }
}
