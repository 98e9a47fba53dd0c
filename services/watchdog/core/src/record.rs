//! What the watchdog's journal holds. Each record carries what its reader needs.
//!
//! The JSON is held against `tests/golden/`: a change here is a change of every journal.

use std::fmt;

use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::Run;
use crate::evidence::Evidence;
use crate::policy::RestartPolicy;
use crate::service_healing::ServiceRecord;

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
        /// The compose project.
        project: SubjectToken,
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

/// A latch that closes an account until an operator ends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Latch {
    /// Whose account.
    pub account: AccountKey,
    /// Its name.
    pub id: String,
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

/// What a person may order to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCommand {
    /// Stop it in good order and leave it so.
    Stop,
    /// Start what is down, now.
    Start,
    /// Stop it in good order and start it at once.
    Restart,
}

impl RunCommand {
    /// The word on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }
}

/// Through whom a run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartedBy {
    /// It was there when we first looked.
    AlreadyRunning,
    /// Us.
    Watchdog,
    /// A person, or whoever else can tell the engine to.
    Operator,
}

/// What went wrong, or right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RestartReason {
    /// It ended with an error.
    Crashed {
        /// Its exit code.
        code: i64,
    },
    /// The kernel killed it for lack of memory.
    OutOfMemory,
    /// It ended with 0 and nobody had asked for it.
    UnexpectedExit0,
    /// The engine or its host went down and took it along: no failure, and it counts for nothing.
    DockerOutage {
        /// What it ended with; 255: the engine found it gone.
        code: i64,
    },
    /// Its heartbeat stopped.
    HeartbeatLost {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A part of it stands still while its heart beats on.
    ComponentStalled {
        /// Which part.
        component: String,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// It reaches its market no more, while another does.
    MarketDataLost {
        /// For how long, in milliseconds.
        for_ms: u64,
        /// Who does.
        peer: SubjectToken,
    },
    /// Its heartbeat never began.
    NoFirstHeartbeat {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The engine did not start it.
    StartFailed {
        /// What it said.
        error: String,
    },
    /// It finished a cycle.
    CycleFinished,
    /// It ended with a code that a restart does not mend.
    ExitNotRestartable {
        /// The code.
        code: i64,
    },
    /// A person wanted it.
    Commanded {
        /// Who.
        by: String,
    },
}

impl RestartReason {
    /// Whether the unit failed.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::CycleFinished | Self::DockerOutage { .. })
    }

    /// Whether the restart that follows is one of those that it may have.
    pub const fn is_counted(&self) -> bool {
        !matches!(self, Self::DockerOutage { .. })
    }

    /// The word in numbers: the kind, without its particulars.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Crashed { .. } => "crashed",
            Self::OutOfMemory => "out_of_memory",
            Self::UnexpectedExit0 => "unexpected_exit_0",
            Self::DockerOutage { .. } => "docker_outage",
            Self::HeartbeatLost { .. } => "heartbeat_lost",
            Self::ComponentStalled { .. } => "component_stalled",
            Self::MarketDataLost { .. } => "market_data_lost",
            Self::NoFirstHeartbeat { .. } => "no_first_heartbeat",
            Self::StartFailed { .. } => "start_failed",
            Self::CycleFinished => "cycle_finished",
            Self::ExitNotRestartable { .. } => "exit_not_restartable",
            Self::Commanded { .. } => "commanded",
        }
    }
}

impl fmt::Display for RestartReason {
    /// In words, for the owner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed { code } | Self::ExitNotRestartable { code } => describe_exit(f, *code),
            Self::OutOfMemory => f.write_str("killed for lack of memory (exit 137)"),
            Self::UnexpectedExit0 => f.write_str("ended with exit 0 although nobody asked it to"),
            Self::DockerOutage { code } => write!(
                f,
                "went down with the Docker engine or its host (exit {code}); not counted"
            ),
            Self::HeartbeatLost { for_ms } => {
                write!(f, "hung: no heartbeat for {} s", format_seconds(*for_ms))
            }
            Self::ComponentStalled {
                component: part,
                for_ms,
            } => write!(
                f,
                "hung: its {part} has stood still for {} s",
                format_seconds(*for_ms)
            ),
            Self::MarketDataLost {
                for_ms,
                peer: other,
            } => write!(
                f,
                "hung: it reaches no market for {} s, and {other} does",
                format_seconds(*for_ms)
            ),
            Self::NoFirstHeartbeat { for_ms } => write!(
                f,
                "hung: no heartbeat within {} s of its start",
                format_seconds(*for_ms)
            ),
            Self::StartFailed { error } => write!(f, "not started: {error}"),
            Self::CycleFinished => f.write_str("cycle finished"),
            Self::Commanded { by } => write!(f, "ordered by {by}"),
        }
    }
}

/// One digit after the point, without a float.
fn format_seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

fn describe_exit(f: &mut fmt::Formatter<'_>, code: i64) -> fmt::Result {
    let signal = match code {
        129 => "SIGHUP",
        130 => "SIGINT",
        132 => "SIGILL",
        134 => "SIGABRT",
        135 => "SIGBUS",
        137 => "SIGKILL",
        139 => "SIGSEGV",
        143 => "SIGTERM",
        _ => "",
    };
    match (ExitCode::from_number(code), signal) {
        (Some(known), _) => write!(f, "{} (exit {code})", known.meaning()),
        (None, "") if code == 101 => f.write_str("panicked (exit 101)"),
        (None, "") if (125..=128).contains(&code) => {
            write!(f, "the engine could not run it (exit {code})")
        }
        (None, "") => write!(f, "crashed with exit {code}"),
        (None, signal) => write!(f, "killed by {signal} (exit {code})"),
    }
}

/// Why a unit is left down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineReason {
    /// It had all its restarts.
    MaxRestarts,
    /// It failed too often in a row.
    ConsecutiveFailures,
    /// It had more restarts within the window than the watchdog's own setting allows.
    RestartBudget,
    /// A critical circuit breaker closed everything.
    AccountLatched,
    /// Its command line or configuration must be mended.
    Misconfigured,
}

/// Why an end is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoRestartReason {
    /// Its work is done.
    Finished,
    /// It had ended well before anybody watched.
    BeforeSupervision,
    /// It lacks `--auto-restart`.
    NoAutoRestart,
    /// Nobody knows what it asks for.
    NoPolicy,
    /// A person wants it to be watched only.
    OnHold,
    /// A person had ordered its start, and the engine did not do it; its flags allow no other try.
    StartFailed,
}
