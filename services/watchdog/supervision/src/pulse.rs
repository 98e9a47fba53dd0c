//! Whether a unit's heartbeat says that it hangs: by its silence, or by a part that stands still while
//! the heart beats on. Both are judged by our own monotonic clock, and only while we ourselves can hear.

use std::collections::BTreeMap;

use protocol::heartbeat::{Health, Heartbeat, PartState, Phase};
use protocol::ids::{AccountKey, Token};
use protocol::time::UtcMs;

use crate::market::{Market, Reach};
use crate::record::{Latch, Reason};
use crate::unit::Healthy;

/// A unit is silent once this many of its own intervals have passed without a heartbeat: two after
/// the first one missed.
const SILENT_INTERVALS: u64 = 3;
/// A process that has not beaten once by then never will, in milliseconds. One that says it is
/// starting may take longer: it waits for something, and says so.
const FIRST_BEAT_MS: u64 = 120_000;
/// Heartbeats in a row that show a part at the same turn before it counts as standing still: one of them
/// alone may have come late.
const STILL_BEATS: u32 = 3;
/// A heartbeat may say that its process is this much older than the engine says, in milliseconds.
const TOLERANCE_MS: i64 = 1_000;

/// What of a heartbeat a verdict needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The process that beats.
    pub boot: Token,
    /// Where in its life that is.
    pub phase: Phase,
    /// When it was made, by the sender's wall clock.
    pub at: UtcMs,
    /// The process's age, in milliseconds.
    pub uptime_ms: u64,
    /// Time between two, in milliseconds.
    pub interval_ms: u64,
    /// Errors since boot.
    pub errors: u64,
    /// The newest of them, one line.
    pub last_error: Option<String>,
    /// It says that it does not do what it is there for, and why.
    pub critical: Option<String>,
    /// The latch that closes the account it trades for.
    pub latch: Option<Latch>,
    /// The account it trades for; who trades for the same reaches the same market.
    pub account: Option<AccountKey>,
    /// How it reaches that; none if it needs no candles.
    pub market: Option<Market>,
    /// The parts that are well and promise to turn.
    pub parts: BTreeMap<String, Turns>,
}

/// A part's counter, and how soon it must have moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// So far.
    pub turns: u64,
    /// At least one more within this time, in milliseconds.
    pub within_ms: u64,
}

impl From<&Heartbeat> for Beat {
    fn from(heartbeat: &Heartbeat) -> Self {
        Self {
            boot: heartbeat.boot.clone(),
            phase: heartbeat.phase,
            at: heartbeat.at,
            uptime_ms: heartbeat.uptime_ms,
            interval_ms: heartbeat.interval_ms,
            errors: heartbeat.errors,
            last_error: heartbeat.last_error.as_ref().map(|e| e.text.clone()),
            critical: critical(heartbeat),
            latch: latch(heartbeat),
            account: heartbeat.account.clone(),
            market: Market::of(heartbeat),
            parts: promises(heartbeat),
        }
    }
}

fn critical(heartbeat: &Heartbeat) -> Option<String> {
    let critical = heartbeat.health == Some(Health::Critical);
    critical.then(|| heartbeat.health_why.clone().unwrap_or_default())
}

fn latch(heartbeat: &Heartbeat) -> Option<Latch> {
    Some(Latch {
        account: heartbeat.account.clone()?,
        id: heartbeat.latch.clone()?,
    })
}

/// A part that says it is in trouble is tried again and may take its time.
fn promises(heartbeat: &Heartbeat) -> BTreeMap<String, Turns> {
    let well = heartbeat
        .parts
        .iter()
        .filter(|(_, part)| part.state == PartState::Ok);
    let promising = well.filter_map(|(name, part)| {
        let turns = part.turns;
        let within_ms = part.within_ms?;
        Some((name.clone(), Turns { turns, within_ms }))
    });
    promising.collect()
}

impl Beat {
    /// What it says, in a few words.
    pub fn words(&self) -> String {
        let phase = match self.phase {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Draining => "draining",
            Phase::Stopped => "stopped",
        };
        let begin = format!("{phase}, {} errors", self.errors);
        match &self.last_error {
            Some(error) => format!("{begin}, the last: {error}"),
            None => begin,
        }
    }

    /// Whether its process can be the one that the engine started at `began`.
    pub fn fits(&self, began: UtcMs) -> bool {
        let age = i64::try_from(self.uptime_ms).unwrap_or(i64::MAX);
        let born = self.at.0.saturating_sub(age);
        born.saturating_add(TOLERANCE_MS) >= began.0
    }
}

/// The newest heartbeat, and when we heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// The heartbeat.
    pub beat: Beat,
    /// By our monotonic clock, in milliseconds.
    pub heard: u64,
    /// Since when it says without a break that it is critical.
    critical: Option<u64>,
    /// Since when each part that promises to turn stands where it stands.
    still: BTreeMap<String, Still>,
    /// Since when it reaches its market, or does not.
    market: Option<Reach>,
}

/// A part that has not turned since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Still {
    turns: u64,
    /// When we first heard of this turn.
    since: u64,
    /// Heartbeats that told of it.
    beats: u32,
}

impl Pulse {
    /// The pulse after this heartbeat, given the one before it.
    pub fn after(before: Option<&Self>, beat: Beat, heard: u64) -> Self {
        let same_boot = before.filter(|before| before.beat.boot == beat.boot);
        let still = beat.parts.iter().map(|(name, part)| {
            let known = same_boot.and_then(|before| before.still.get(name));
            let still = match known {
                Some(known) if known.turns == part.turns => Still {
                    beats: known.beats.saturating_add(1),
                    ..*known
                },
                _ => Still {
                    turns: part.turns,
                    since: heard,
                    beats: 1,
                },
            };
            (name.clone(), still)
        });
        let still = still.collect();
        let unbroken = same_boot.filter(|before| heard <= before.expected_until());
        let critical = beat
            .critical
            .is_some()
            .then(|| unbroken.and_then(|before| before.critical).unwrap_or(heard));
        let reached = unbroken.and_then(|before| before.market);
        let market = beat.market.map(|now| Reach::after(reached, now, heard));
        Self {
            beat,
            heard,
            critical,
            still,
            market,
        }
    }

    /// For how long it has said, in every heartbeat, that its attempts to reach its market fail; none if it says
    /// otherwise, or not for long enough. What was before `watched` proves nothing.
    pub fn without_market(&self, watched: u64) -> Option<u64> {
        let now = self.beat.market?;
        let failing = self.market?.failing_for(now, self.heard, watched);
        failing.filter(|_| self.beat.phase == Phase::Running)
    }

    /// Whether the candles of this account's market have come to it, without a single failed attempt, for as long as
    /// another must have gone without, and still do.
    pub fn has_market(&self, account: &AccountKey, mono: u64) -> bool {
        let steady = self.market.is_some_and(|reach| reach.is_steady(self.heard));
        steady
            && self.beat.account.as_ref() == Some(account)
            && self.beat.phase == Phase::Running
            && mono <= self.expected_until()
    }

    /// A heartbeat that comes later than this comes after a silence.
    const fn expected_until(&self) -> u64 {
        let patience = self.beat.interval_ms.saturating_mul(SILENT_INTERVALS);
        self.heard.saturating_add(patience)
    }

    /// For how long it has said, in every heartbeat, that it is critical.
    pub fn critical_for(&self) -> Option<u64> {
        self.critical.map(|since| self.heard.saturating_sub(since))
    }

    /// A part that has stood still for longer than it promised, though the heart beats on. What was
    /// before `watched` proves nothing.
    pub fn stuck(&self, watched: u64) -> Option<Reason> {
        if self.beat.phase != Phase::Running {
            return None;
        }
        let stands = |(name, still): (&String, &Still)| {
            let promised = self.beat.parts.get(name)?.within_ms;
            let for_ms = self.heard.saturating_sub(still.since.max(watched));
            (for_ms > promised && still.beats >= STILL_BEATS).then(|| Reason::Stuck {
                part: name.clone(),
                for_ms,
            })
        };
        self.still.iter().find_map(stands)
    }

    /// What it says, in one line.
    pub fn evidence(&self, mono: u64) -> String {
        let age = mono.saturating_sub(self.heard);
        let (secs, tenths) = (age / 1000, age % 1000 / 100);
        format!(
            "last heartbeat {secs}.{tenths} s before: {}",
            self.beat.words()
        )
    }
}

/// The instant at which a run counts as hung if nothing is heard until then.
///
/// `watched` is since when we can hear this run at all, `known` what the journal says of its
/// heartbeats: a watchdog that has just begun need not wait for them as for those of a new process.
pub fn hangs_at(pulse: Option<&Pulse>, watched: u64, known: Option<&Healthy>) -> u64 {
    let heard = pulse.map_or(watched, |pulse| pulse.heard.max(watched));
    let interval = pulse.map(|pulse| pulse.beat.interval_ms);
    let patience = match interval.or(known.map(|known| known.interval_ms)) {
        Some(interval) => interval.saturating_mul(SILENT_INTERVALS),
        None => FIRST_BEAT_MS,
    };
    heard.saturating_add(patience)
}

/// How a hang shows, at `mono`.
pub fn hang(
    pulse: Option<&Pulse>,
    watched: u64,
    known: Option<&Healthy>,
    mono: u64,
) -> Option<Reason> {
    if mono <= hangs_at(pulse, watched, known) {
        return pulse.and_then(|pulse| pulse.stuck(watched));
    }
    let heard = pulse.map_or(watched, |pulse| pulse.heard.max(watched));
    let for_ms = mono.saturating_sub(heard);
    Some(match (pulse, known) {
        (None, None) => Reason::NeverBeat { for_ms },
        _ => Reason::Silent { for_ms },
    })
}
