//! Whether the watchdog is heard. It watches the traders; that it is silent itself nobody else would say.
//! Judged by our own monotonic clock: two clocks are never compared.

use protocol::event::Severity;
use protocol::heartbeat::Phase;
use protocol::ids::Token;
use protocol::time::UtcMs;

use crate::letter::Letter;
use crate::moment::Moment;
use crate::record::Record;
use crate::state::State;
use crate::words::span;

const SILENT: &str = "watchdog-silent:";
const BACK: &str = "watchdog-back:";
/// Silent for longer than this, in milliseconds. A restart of it takes a few seconds.
const PATIENCE_MS: u64 = 30_000;
/// When its silence is told it has lasted for so long at most, in milliseconds.
pub(crate) const NOTICED_AFTER_MS: i64 = 60_000;

/// A heartbeat of the watchdog, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The process.
    pub boot: Token,
    /// Its how many-th heartbeat.
    pub seq: u64,
    /// What it said of itself.
    pub phase: Phase,
    /// When, by its wall clock: for people.
    pub at: UtcMs,
}

/// What was heard last, and since when nothing newer.
#[derive(Debug)]
pub struct Vigil {
    last: Option<Heard>,
    since: u64,
    /// It was heard to beat, and not only remembered by the bus.
    beats: bool,
}

impl Vigil {
    /// Begins at `mono`. What the bus still holds of an earlier day may be old: the watchdog gets twice
    /// the time to be heard first.
    pub const fn new(mono: u64) -> Self {
        Self {
            last: None,
            since: mono + PATIENCE_MS,
            beats: false,
        }
    }

    /// This is the newest heartbeat on the bus; none if there never was one.
    pub fn look(&mut self, newest: Option<Heard>, mono: u64) {
        let same = |a: &Heard, b: &Heard| a.boot == b.boot && a.seq == b.seq;
        let moved = match (&self.last, &newest) {
            (Some(last), Some(newest)) => !same(last, newest),
            _ => false,
        };
        if moved {
            self.beats = true;
            self.since = mono;
        }
        self.last = newest;
    }

    /// The bus did not answer: what was not heard until now proves nothing.
    pub const fn deaf(&mut self, mono: u64) {
        self.since = mono;
    }

    /// Whether it is heard within its time.
    pub const fn is_heard(&self, mono: u64) -> bool {
        self.beats && mono.saturating_sub(self.since) <= PATIENCE_MS
    }

    /// What there is to tell: that it is silent, once; that it is back, if its silence was told.
    pub fn due(&self, state: &State, now: Moment) -> Option<Record> {
        let last = self.last.as_ref()?;
        let beat = format!("{}:{}", last.boot, last.seq);
        if let Some(told) = &state.silence
            && *told != beat
        {
            return Some(letter(
                &format!("{BACK}{beat}"),
                now.utc,
                Severity::Info,
                back(last),
            ));
        }
        let silent = now.mono.saturating_sub(self.since) > PATIENCE_MS;
        let event = format!("{SILENT}{beat}");
        (silent && !state.knows(&event)).then(|| {
            let said = silence(last, now.utc);
            letter(&event, now.utc, Severity::Critical, said)
        })
    }
}

/// What an event of this id makes of the silence that was told.
pub(crate) fn silence_after(event: &str, before: Option<String>) -> Option<String> {
    match event.strip_prefix(SILENT) {
        Some(beat) => Some(beat.to_owned()),
        None if event.starts_with(BACK) => None,
        None => before,
    }
}

/// An event of this id says that the watchdog is silent.
pub(crate) fn says_silent(event: &str) -> bool {
    event.starts_with(SILENT)
}

/// An event of this id says that it is heard again.
pub(crate) fn says_back(event: &str) -> bool {
    event.starts_with(BACK)
}

fn silence(last: &Heard, now: UtcMs) -> (&'static str, String) {
    let said = match last.phase {
        Phase::Stopped => "that it ends",
        Phase::Draining => "that it is ending",
        Phase::Starting => "that it is standing by",
        Phase::Running => "that it is at work",
    };
    let body = format!(
        "Last heard: {} ago, {said}\nUntil it is back nobody restarts a trader that dies\n\
         Look: docker compose ps -a watchdog",
        span(now.millis_since(last.at))
    );
    ("🚨 WATCHDOG SILENT", body)
}

fn back(last: &Heard) -> (&'static str, String) {
    ("✅ WATCHDOG HEARD AGAIN", format!("At: {}", last.at))
}

fn letter(event: &str, at: UtcMs, severity: Severity, said: (&str, String)) -> Record {
    let letter = Letter {
        at,
        severity,
        kind: "watchdog".to_owned(),
        head: said.0.to_owned(),
        body: said.1,
        picture: false,
    };
    Record::Queued {
        event: event.to_owned(),
        letters: vec![letter],
    }
}
