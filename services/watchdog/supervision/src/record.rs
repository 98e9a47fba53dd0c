//! What the watchdog's journal holds. Each record carries what its reader needs.
//!
//! The JSON is held against `tests/golden/`: a change here is a change of every journal.

use std::fmt;

use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, Token};
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::Run;
use crate::evidence::Found;
use crate::healing::Healing;
use crate::policy::Policy;

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A process supervises the project from here on.
    OwnerTookOver {
        /// This run of it.
        boot: Token,
        /// Its name.
        instance: Token,
        /// The compose project.
        project: Token,
        /// Version of the program.
        version: String,
    },
    /// Something about one unit.
    Unit {
        /// Which: service and number.
        unit: Token,
        /// When, by the wall clock.
        at: UtcMs,
        /// What.
        fact: Fact,
    },
    /// Something about a service beside the units.
    Service {
        /// Which: service and number.
        service: Token,
        /// When, by the wall clock.
        at: UtcMs,
        /// What.
        fact: Healing,
    },
}

/// One fact of a unit's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// Its arguments ask for this.
    PolicyRead(Policy),
    /// The arguments of its container are not understood: the policy read last holds.
    PolicyUnreadable {
        /// The container.
        container: String,
        /// Why.
        why: String,
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
    Healthy {
        /// The process that beats.
        boot: Token,
        /// How long that had run by then, in milliseconds.
        uptime_ms: u64,
        /// Time between two heartbeats, in milliseconds.
        interval_ms: u64,
        /// Since its last failure was noticed, in milliseconds; none if it was not restarted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
    /// It ran well for so long that earlier failures count no more.
    FailuresForgiven {
        /// How long, in milliseconds.
        healthy_ms: u64,
    },
    /// It hangs and will be stopped.
    StopIntended {
        /// The run that hangs.
        run: Run,
        /// How that shows.
        reason: Reason,
        /// Time between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// It hangs, and its flags do not allow more than to say so.
    HangObserved {
        /// The run that hangs.
        run: Run,
        /// How that shows.
        reason: Reason,
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
        why: Why,
        /// What happened last.
        reason: Reason,
        /// Restarts so far.
        restarts: u32,
        /// Failures in a row.
        consecutive: u32,
        /// What was found before the decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<Box<Found>>,
    },
    /// A person stopped it.
    Stopped {
        /// Its last run.
        run: Run,
        /// What that ended with.
        exit: i64,
        /// Who ordered it from us; none for a stop by the engine's own tools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// It ended and is not to be restarted.
    Ended {
        /// Its last run.
        run: Run,
        /// What that ended with.
        exit: i64,
        /// Why not.
        why: EndedWhy,
    },
    /// A person ordered something about it.
    Ordered {
        /// What.
        order: Order,
        /// Who.
        by: String,
    },
    /// A person wants it to be watched only, until it is released.
    Held {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A person ended its hold or its quarantine.
    Released {
        /// Who.
        by: String,
        /// Its restarts count from zero again, too.
        total: bool,
    },
    /// It says of itself for long that it does not do what it is there for.
    CriticalForLong {
        /// For how long so far, in milliseconds.
        for_ms: u64,
        /// Why, in its own words.
        why: String,
    },
    /// It says so no more.
    CriticalNoMore,
    /// The latch that it ended for.
    LatchKnown(Latch),
    /// An operator ended that latch, which ends its quarantine.
    Unlatched {
        /// Which.
        latch: Latch,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// The end of a run's log, read when its restart was decided already.
    WordsFound {
        /// Which run.
        run: Run,
        /// The last lines.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        log: Vec<String>,
        /// Why there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_unread: Option<String>,
    },
    /// Its container was removed.
    Gone,
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
    pub max: u32,
    /// Why.
    pub reason: Reason,
    /// Failures in a row, this one included; 0 after a finished cycle.
    pub consecutive: u32,
    /// How long it ran, in milliseconds.
    pub uptime_ms: u64,
    /// Until it is started, in milliseconds.
    pub delay_ms: u64,
    /// What it ended with; none if it never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i64>,
    /// What it last said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What was found before the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Box<Found>>,
}

/// What a person may order to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Stop it in good order and leave it so.
    Stop,
    /// Start what is down, now.
    Start,
    /// Stop it in good order and start it at once.
    Restart,
}

impl Order {
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
    Found,
    /// Us.
    Watchdog,
    /// A person, or whoever else can tell the engine to.
    Person,
}

/// What went wrong, or right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reason {
    /// It ended with an error.
    Crashed {
        /// Its exit code.
        code: i64,
    },
    /// The kernel killed it for lack of memory.
    OutOfMemory,
    /// It ended with 0 and nobody had asked for it.
    Interrupted,
    /// The engine or its host went down and took it along: no failure, and it counts for nothing.
    WithEngine {
        /// What it ended with; 255: the engine found it gone.
        code: i64,
    },
    /// Its heartbeat stopped.
    Silent {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// A part of it stands still while its heart beats on.
    Stuck {
        /// Which part.
        part: String,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// It reaches its market no more, while another does.
    CutOff {
        /// For how long, in milliseconds.
        for_ms: u64,
        /// Who does.
        other: Token,
    },
    /// Its heartbeat never began.
    NeverBeat {
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// The engine did not start it.
    NotStarted {
        /// What it said.
        error: String,
    },
    /// It finished a cycle.
    CycleFinished,
    /// It ended with a code that a restart does not mend.
    Refused {
        /// The code.
        code: i64,
    },
    /// A person wanted it.
    Ordered {
        /// Who.
        by: String,
    },
}

impl Reason {
    /// Whether the unit failed.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::CycleFinished | Self::WithEngine { .. })
    }

    /// Whether the restart that follows is one of those that it may have.
    pub const fn is_counted(&self) -> bool {
        !matches!(self, Self::WithEngine { .. })
    }

    /// The word in numbers: the kind, without its particulars.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Crashed { .. } => "crashed",
            Self::OutOfMemory => "out_of_memory",
            Self::Interrupted => "interrupted",
            Self::WithEngine { .. } => "with_engine",
            Self::Silent { .. } => "silent",
            Self::Stuck { .. } => "stuck",
            Self::CutOff { .. } => "cut_off",
            Self::NeverBeat { .. } => "never_beat",
            Self::NotStarted { .. } => "not_started",
            Self::CycleFinished => "cycle_finished",
            Self::Refused { .. } => "refused",
            Self::Ordered { .. } => "ordered",
        }
    }
}

impl fmt::Display for Reason {
    /// In words, for the owner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed { code } | Self::Refused { code } => exit_words(f, *code),
            Self::OutOfMemory => f.write_str("killed for lack of memory (exit 137)"),
            Self::Interrupted => f.write_str("ended with exit 0 although nobody asked it to"),
            Self::WithEngine { code } => write!(
                f,
                "went down with the Docker engine or its host (exit {code}); not counted"
            ),
            Self::Silent { for_ms } => write!(f, "hung: no heartbeat for {} s", seconds(*for_ms)),
            Self::Stuck { part, for_ms } => write!(
                f,
                "hung: its {part} has stood still for {} s",
                seconds(*for_ms)
            ),
            Self::CutOff { for_ms, other } => write!(
                f,
                "hung: it reaches no market for {} s, and {other} does",
                seconds(*for_ms)
            ),
            Self::NeverBeat { for_ms } => write!(
                f,
                "hung: no heartbeat within {} s of its start",
                seconds(*for_ms)
            ),
            Self::NotStarted { error } => write!(f, "not started: {error}"),
            Self::CycleFinished => f.write_str("cycle finished"),
            Self::Ordered { by } => write!(f, "ordered by {by}"),
        }
    }
}

/// One digit after the point, without a float.
fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

fn exit_words(f: &mut fmt::Formatter<'_>, code: i64) -> fmt::Result {
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
pub enum Why {
    /// It had all its restarts.
    MaxRestarts,
    /// It failed too often in a row.
    Consecutive,
    /// It had more restarts within the window than the watchdog's own setting allows.
    Budget,
    /// A critical circuit breaker closed everything.
    CriticalHalt,
    /// Its command line or configuration must be mended.
    Misconfigured,
}

/// Why an end is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedWhy {
    /// Its work is done.
    Finished,
    /// It had ended well before anybody watched.
    BeforeWatch,
    /// It lacks `--auto-restart`.
    NoAutoRestart,
    /// Nobody knows what it asks for.
    NoPolicy,
    /// A person wants it to be watched only.
    Held,
    /// A person had ordered its start, and the engine did not do it; its flags allow no other try.
    NotStarted,
}
