//! What the watchdog's journal holds. Each record carries what its reader needs.
//!
//! The JSON is held against `tests/golden/`: a change here is a change of every journal.

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::Run;
use crate::evidence::Evidence;
use crate::format::format_duration;
use crate::model::{Latch, RunCommand, StartedBy};
use crate::policy::RestartPolicy;
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SupervisionRecord {
    /// A process supervises the project from here on.
    WriterChanged {
        /// This run of it.
        boot: SubjectToken,
        /// Its name.
        instance: SubjectToken,
        /// Compose project that the process supervises.
        project: SubjectToken,
        /// Host that the process supervises.
        host: SubjectToken,
        /// Version of the program.
        version: String,
    },
    /// Something about one unit.
    Unit {
        /// Which: service and number.
        unit: SubjectToken,
        /// When, by the wall clock.
        at: UtcMs,
        /// What.
        record: UnitRecord,
    },
    /// Something about a service beside the units.
    Service {
        /// Which: service and number.
        service: SubjectToken,
        /// When, by the wall clock.
        at: UtcMs,
        /// What.
        record: ServiceRecord,
    },
}

/// One fact of a unit's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UnitRecord {
    /// Its arguments ask for this.
    RestartPolicyRead(RestartPolicy),
    /// The arguments of its container are not understood: the policy read last holds.
    RestartPolicyUnreadable {
        /// The container.
        container: String,
        /// Why.
        error: String,
        /// There is no earlier policy: the unit is only observed.
        observed_only: bool,
    },
    /// A run of it is there.
    Started {
        /// Which.
        run: Run,
        /// Through whom.
        by: StartedBy,
    },
    /// Its first good heartbeat of this boot.
    UnitHealthy {
        /// The process that beats.
        boot: SubjectToken,
        /// How long that had run by then, in milliseconds.
        uptime_ms: u64,
        /// Time between two heartbeats, in milliseconds.
        interval_ms: u64,
        /// Since its last failure was noticed, in milliseconds; none if it was not restarted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    /// It ran well for so long that earlier failures count no more.
    FailuresReset {
        /// How long, in milliseconds.
        healthy_ms: u64,
    },
    /// It hangs and will be stopped.
    StopIntended {
        /// The run that hangs.
        run: Run,
        /// How that shows.
        reason: RestartReason,
        /// Time between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// It hangs, and its flags do not allow more than to say so.
    HangDetected {
        /// The run that hangs.
        run: Run,
        /// How that shows.
        reason: RestartReason,
    },
    /// It will be started again after a delay.
    RestartScheduled(Restart),
    /// It is started now.
    StartIntended {
        /// The run before: another one means that it was done.
        run: Run,
    },
    /// It stays down until a person acts.
    Quarantined {
        /// Its last run.
        run: Run,
        /// Why.
        quarantine_reason: QuarantineReason,
        /// What happened last.
        reason: RestartReason,
        /// Restarts so far.
        restarts: u32,
        /// Failures in a row.
        consecutive_failures: u32,
        /// What was found before the decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<Evidence>>,
    },
    /// A person stopped it.
    Stopped {
        /// Its last run.
        run: Run,
        /// What that ended with.
        exit_code: i64,
        /// Who ordered it from us; none for a stop by the engine's own tools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// It ended and is not to be restarted.
    Ended {
        /// Its last run.
        run: Run,
        /// What that ended with.
        exit_code: i64,
        /// Why not.
        reason: NoRestartReason,
    },
    /// A person ordered something about it.
    Commanded {
        /// What.
        command: RunCommand,
        /// Who.
        by: String,
    },
    /// A person wants it to be watched only, until it is released.
    HoldSet {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person ended its hold or its quarantine.
    Released {
        /// Who.
        by: String,
        /// Its restarts count from zero again, too.
        restarts_reset: bool,
    },
    /// It says of itself for long that it does not do what it is there for.
    HealthCritical {
        /// For how long so far, in milliseconds.
        for_ms: u64,
        /// Why, in its own words.
        reason: String,
    },
    /// It says so no more.
    HealthCriticalEnded,
    /// The latch that it ended for.
    LatchSeen(Latch),
    /// An operator ended that latch, which ends its quarantine.
    Unlatched {
        /// Which.
        latch: Latch,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The end of a run's log, read when its restart was decided already.
    LogRead {
        /// Which run.
        run: Run,
        /// The last lines.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        log: Vec<String>,
        /// Why there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_error: Option<String>,
    },
    /// Its container was removed.
    ContainerRemoved,
}

/// A restart that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The run that ended.
    pub run: Run,
    /// The how many-th restart this is.
    pub attempt: u32,
    /// How many there may be.
    pub max_restarts: u32,
    /// Why.
    pub reason: RestartReason,
    /// Failures in a row, this one included; 0 after a finished cycle.
    pub consecutive_failures: u32,
    /// How long it ran, in milliseconds.
    pub uptime_ms: u64,
    /// Until it is started, in milliseconds.
    pub delay_ms: u64,
    /// What it ended with; none if it never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What it last said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What was found before the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
}

/// What was done about a service that hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServiceRecord {
    /// It hangs and is started anew.
    RestartIntended {
        /// The run that hangs: another one means that it was done.
        run: Run,
        /// How that shows.
        reason: String,
    },
    /// That did not come to pass.
    RestartFailed {
        /// Why.
        error: String,
    },
    /// It is well again.
    Recovered {
        /// Since it was found hung, in milliseconds.
        after_ms: u64,
    },
    /// Another run of it than the one that was known last, or the first that is.
    Started {
        /// Which.
        run: Run,
        /// How often the engine has started it again by its restart policy, since somebody last started it.
        restarts: u64,
        /// Through whom.
        by: StartedBy,
    },
}

impl ServiceRecord {
    /// In one line.
    pub fn describe(&self) -> String {
        match self {
            Self::RestartIntended { reason, .. } => format!("{reason}; restarting the service"),
            Self::RestartFailed { error } => format!("restart failed: {error}"),
            Self::Recovered { after_ms } => {
                format!("healthy again after {}", format_duration(*after_ms))
            }
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
