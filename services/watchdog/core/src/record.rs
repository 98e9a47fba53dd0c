//! Records of the watchdog's journal. Each record carries everything its reader needs.
//!
//! The JSON is compared with `tests/golden/`. A change here changes the format of the journal.

use protocol::duration::format_ms;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::Run;
use crate::evidence::Evidence;
use crate::model::{Latch, RunCommand, StartedBy};
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};
use crate::restart_policy::RestartPolicy;

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SupervisionRecord {
    /// A process supervises the project from here on.
    WriterChanged {
        /// Boot id of the process.
        boot: SubjectToken,
        /// Name of the process.
        instance: SubjectToken,
        /// Compose project that the process supervises.
        project: SubjectToken,
        /// Host that the process supervises.
        host: SubjectToken,
        /// Version of the program.
        version: String,
    },
    /// Something happened to a unit.
    Unit {
        /// Service and number of the unit.
        unit: SubjectToken,
        /// Time of the decision, by the wall clock of the watchdog.
        at: UtcMs,
        /// Fact about the unit.
        record: UnitRecord,
    },
    /// Units cannot be judged.
    BlindnessBegan {
        /// Start of the blindness, by the wall clock of the watchdog.
        at: UtcMs,
        /// What is missing, in one line.
        reason: String,
        /// Units that cannot be judged. Empty for all.
        units: Vec<SubjectToken>,
    },
    /// Every unit can be judged again.
    BlindnessEnded {
        /// Time of the decision, by the wall clock of the watchdog.
        at: UtcMs,
        /// Length of the blindness, in milliseconds.
        for_ms: u64,
        /// What happened to units meanwhile, one line each.
        missed: Vec<String>,
    },
    /// The wall clock of the host was stepped, or the host was suspended. No decision depends on it.
    ClockStepped {
        /// Time after the step, by the wall clock of the watchdog.
        at: UtcMs,
        /// Host whose clock was stepped.
        host: SubjectToken,
        /// Size of the step in milliseconds; negative if the clock was set back.
        by_ms: i64,
    },
    /// Something happened to a Compose service beside the units.
    Service {
        /// Name of the service with its number, such as `nats-1`.
        service: SubjectToken,
        /// Time of the decision, by the wall clock of the watchdog.
        at: UtcMs,
        /// Fact about the service.
        record: ServiceRecord,
    },
}

/// One event in the life of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UnitRecord {
    /// The restart policy in the container's arguments.
    RestartPolicyRead(RestartPolicy),
    /// The arguments of the container are invalid. The policy read before stays in force.
    RestartPolicyUnreadable {
        /// Id of the container.
        container: String,
        /// Parse error in one line.
        error: String,
        /// There is no policy from before: the unit is not restarted.
        observed_only: bool,
    },
    /// A new run was observed.
    Started {
        /// Run that was observed for the first time.
        run: Run,
        /// Cause of the start, as far as it is known.
        by: StartedBy,
        /// Identifies image, arguments and settings of the container. `None` in records of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<String>,
    },
    /// First heartbeat in phase running of this boot.
    UnitHealthy {
        /// Boot id of the process.
        boot: SubjectToken,
        /// Age of the process at this heartbeat, in milliseconds.
        uptime_ms: u64,
        /// Heartbeat interval, in milliseconds.
        interval_ms: u64,
        /// Time since the last failure was detected, in milliseconds. `None` if the unit was not restarted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    /// The unit was healthy for so long that its consecutive failures are reset.
    FailuresReset {
        /// Length of the healthy time, in milliseconds.
        healthy_ms: u64,
    },
    /// The unit will be stopped.
    StopIntended {
        /// The run to end.
        run: Run,
        /// Why the run is stopped.
        reason: RestartReason,
        /// Time between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// The unit hangs, and its flags or a hold permit no stop.
    HangDetected {
        /// The run that hangs.
        run: Run,
        /// The kind of hang.
        reason: RestartReason,
    },
    /// The unit will be started after a delay.
    RestartScheduled(Restart),
    /// The unit will be started now.
    StartIntended {
        /// The run before. Another run means that the start happened.
        run: Run,
    },
    /// The unit is not restarted until an operator acts.
    Quarantined {
        /// Run that was the last one at this record.
        run: Run,
        /// Why the unit is quarantined.
        quarantine_reason: QuarantineReason,
        /// Reason of the last failure, also if the limit was reached by earlier ones.
        reason: RestartReason,
        /// Restarts so far, including finished cycles.
        restarts: u32,
        /// Failures in a row.
        consecutive_failures: u32,
        /// Evidence of the last failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<Evidence>>,
        /// Latch that the unit ended for, if it is known by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latch: Option<Latch>,
    },
    /// An operator stopped the unit.
    Stopped {
        /// Run that was the last one at this record.
        run: Run,
        /// Exit code of the last run.
        exit_code: i64,
        /// Operator who gave the command. `None` for a stop by Docker's own tools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The unit ended and is not restarted.
    Ended {
        /// Run that was the last one at this record.
        run: Run,
        /// Exit code of the last run.
        exit_code: i64,
        /// Why the unit is not restarted.
        reason: NoRestartReason,
    },
    /// An operator gave a command.
    Commanded {
        /// Command for the run, such as a stop.
        command: RunCommand,
        /// User name of the operator, as given with the command.
        by: String,
        /// Docker did not answer: the command is carried out when it does, and expires.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_deferred: bool,
    },
    /// A command could not be carried out in time.
    CommandExpired {
        /// Command that expired.
        command: RunCommand,
        /// User name of the operator, as given with the command.
        by: String,
        /// Time for which the command had waited, in milliseconds.
        after_ms: u64,
    },
    /// An operator set a hold: the watchdog does not act until the release.
    HoldSet {
        /// User name of the operator, as given with the command.
        by: String,
        /// Reason that the operator gave.
        reason: String,
    },
    /// An operator ended a hold or a quarantine.
    Released {
        /// User name of the operator, as given with the command.
        by: String,
        /// The restarts are reset, too.
        restarts_reset: bool,
    },
    /// The unit has reported critical health for a long time.
    HealthCritical {
        /// Length of that time so far, in milliseconds.
        for_ms: u64,
        /// The reason that the unit reports.
        reason: String,
    },
    /// The unit no longer reports critical health.
    HealthCriticalEnded,
    /// The latch that the unit ended for.
    LatchSeen(Latch),
    /// An operator ended that latch, which ends the quarantine.
    Unlatched {
        /// Latch that the operator ended.
        latch: Latch,
        /// User name of the operator, as given with the command.
        by: String,
        /// Reason that the operator gave.
        reason: String,
    },
    /// The end of a log that was read after its restart was decided.
    LogRead {
        /// Run that wrote the log.
        run: Run,
        /// Last log lines, oldest first, with secrets masked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        log: Vec<String>,
        /// Error of reading the log. `None` if it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_error: Option<String>,
    },
    /// The container was removed.
    ContainerRemoved,
    /// No new container followed the removal of a unit that no operator had stopped.
    RemovalConfirmed,
    /// The container exists and may not be supervised, or was created and never started.
    NotSupervised {
        /// Id of the container.
        container: String,
        /// Why, in one line.
        reason: String,
    },
    /// An operator removed the unit from the list of units.
    Forgotten {
        /// User name of the operator, as given with the command.
        by: String,
    },
    /// An operator requested the end of a run while Docker was up: known also if Docker or the host goes down next.
    StopRequested {
        /// The run that is to end.
        run: Run,
    },
    /// The run survived the request and its deadline.
    StopRequestExpired {
        /// The run that continues.
        run: Run,
    },
    /// Docker could not stop the run. The watchdog continues to try.
    StopFailed {
        /// Run that could not be stopped.
        run: Run,
        /// Docker's error, in one line.
        error: String,
    },
    /// Two processes send heartbeats under the name of the unit.
    DuplicateHeartbeats {
        /// Run of the unit.
        run: Run,
        /// Boot id of the second process.
        boot: SubjectToken,
    },
    /// A decision about the unit did not come to rest, which is a bug. The unit is on hold.
    DecisionHalted,
}

/// A restart that was decided, with the failure that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The run that ended.
    pub run: Run,
    /// Number of this restart, starting at 1.
    pub attempt: u32,
    /// `--max-restarts` of the unit.
    pub max_restarts: u32,
    /// Why the unit is restarted.
    pub reason: RestartReason,
    /// Failures in a row, this one included; 0 after a finished cycle.
    pub consecutive_failures: u32,
    /// Length of the run, in milliseconds.
    pub uptime_ms: u64,
    /// Time until the start, in milliseconds.
    pub delay_ms: u64,
    /// Exit code. `None` if the container never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The last heartbeat in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Evidence of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
    /// Restarts after failures within the last 24 hours and their pattern, if they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<String>,
}

/// One event in the life of a Compose service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServiceRecord {
    /// The service is hung and will be restarted.
    RestartIntended {
        /// The run that hangs. Another run means that the restart happened.
        run: Run,
        /// The kind of hang.
        reason: String,
    },
    /// The restart did not happen.
    RestartFailed {
        /// Why it did not happen.
        error: String,
    },
    /// The service is healthy again.
    Recovered {
        /// Time since the hang was detected, in milliseconds.
        after_ms: u64,
    },
    /// The service was healthy for so long that its restarts in a row are reset.
    HealsReset {
        /// Length of the healthy time, in milliseconds.
        healthy_ms: u64,
    },
    /// Restarts in a row did not help: the service is not restarted until an operator releases it.
    Quarantined {
        /// The run that hangs.
        run: Run,
        /// The kind of hang.
        reason: String,
        /// Restarts in a row.
        heals: u32,
    },
    /// An operator set a hold: the watchdog does not restart the service until the release.
    HoldSet {
        /// User name of the operator, as given with the command.
        by: String,
        /// Reason that the operator gave.
        reason: String,
    },
    /// An operator ended a hold or a quarantine.
    Released {
        /// User name of the operator, as given with the command.
        by: String,
    },
    /// A run other than the one recorded last, or the first one.
    Started {
        /// Run that was observed for the first time.
        run: Run,
        /// Restarts by Docker's restart policy since the last start by anything else.
        restarts: u64,
        /// Cause of the start, as far as it is known.
        by: StartedBy,
    },
}

impl ServiceRecord {
    /// The record in one line.
    pub fn describe(&self) -> String {
        match self {
            Self::RestartIntended { reason, .. } => format!("{reason}; restarting the service"),
            Self::RestartFailed { error } => format!("restart failed: {error}"),
            Self::Recovered { after_ms } => {
                format!("healthy again after {}", format_ms(*after_ms))
            }
            Self::HealsReset { healthy_ms } => format!(
                "healthy for {}: restarts in a row reset",
                format_ms(*healthy_ms)
            ),
            Self::Quarantined { reason, heals, .. } => {
                format!("quarantined: {reason}; {heals} restarts in a row")
            }
            Self::HoldSet { by, reason } => format!("on hold by {by}: {reason}"),
            Self::Released { by } => format!("released by {by}"),
            Self::Started { restarts, by, .. } => match by {
                StartedBy::AlreadyRunning => "already running".to_owned(),
                StartedBy::NewContainer => "started in a new container".to_owned(),
                StartedBy::Watchdog => "restarted by the watchdog".to_owned(),
                StartedBy::Docker if *restarts == 1 => "exited and restarted by Docker".to_owned(),
                StartedBy::Docker => {
                    format!("exited and restarted by Docker ({restarts} times so far)")
                }
                StartedBy::Operator => "started by an operator".to_owned(),
                StartedBy::Unknown => "started by an operator, by Docker or the host, or by a \
                                       watchdog that could not record it"
                    .to_owned(),
            },
        }
    }
}
