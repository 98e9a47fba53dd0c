//! Whether the watchdog is heard. It watches the traders; that it is silent itself nobody else would say.
//! Judged by our own monotonic clock: two clocks are never compared.

use protocol::event::Severity;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::clock_reading::ClockReading;
use crate::formatting::format_duration;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;

const LOST_PREFIX: &str = "watchdog-lost:";
const RECOVERED_PREFIX: &str = "watchdog-recovered:";
/// Silent for longer than this, in milliseconds. A restart of it takes a few seconds.
const HEARTBEAT_TIMEOUT_MS: u64 = 30_000;
/// When its silence is told it has lasted for so long at most, in milliseconds.
pub(crate) const MAX_DETECTION_MS: i64 = 60_000;

/// A heartbeat of the watchdog, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogHeartbeat {
    /// The process.
    pub boot: SubjectToken,
    /// Its how many-th heartbeat.
    pub seq: u64,
    /// What it said of itself.
    pub phase: ProcessPhase,
    /// When, by its wall clock: for people.
    pub at: UtcMs,
}

/// What was heard last, and since when nothing newer.
#[derive(Debug)]
pub struct WatchdogOutage {
    last: Option<WatchdogHeartbeat>,
    unchanged_since: u64,
    /// It was heard to beat, and not only remembered by the bus.
    has_new_heartbeat: bool,
}

impl WatchdogOutage {
    /// Begins at `mono`. What the bus still holds of an earlier day may be old: the watchdog gets twice
    /// the time to be heard first.
    pub const fn new(mono: u64) -> Self {
        Self {
            last: None,
            unchanged_since: mono + HEARTBEAT_TIMEOUT_MS,
            has_new_heartbeat: false,
        }
    }

    /// This is the newest heartbeat on the bus; none if there never was one.
    pub fn observe(&mut self, newest: Option<WatchdogHeartbeat>, mono: u64) {
        let same =
            |a: &WatchdogHeartbeat, b: &WatchdogHeartbeat| a.boot == b.boot && a.seq == b.seq;
        let moved = match (&self.last, &newest) {
            (Some(last), Some(newest)) => !same(last, newest),
            _ => false,
        };
        if moved {
            self.has_new_heartbeat = true;
            self.unchanged_since = mono;
        }
        self.last = newest;
    }

    /// The bus did not answer: what was not heard until now proves nothing.
    pub const fn on_bus_unreachable(&mut self, mono: u64) {
        self.unchanged_since = mono;
    }

    /// Whether it is heard within its time.
    pub const fn is_watchdog_alive(&self, mono: u64) -> bool {
        self.has_new_heartbeat && mono.saturating_sub(self.unchanged_since) <= HEARTBEAT_TIMEOUT_MS
    }

    /// What there is to tell: that it is silent, once; that it is back, if its silence was told.
    pub fn due_record(&self, state: &DeliveryState, now: ClockReading) -> Option<DeliveryRecord> {
        let last = self.last.as_ref()?;
        let beat = format!("{}:{}", last.boot, last.seq);
        if let Some(told) = &state.watchdog_lost_after
            && *told != beat
        {
            return Some(queued_record(
                &format!("{RECOVERED_PREFIX}{beat}"),
                now.utc,
                Severity::Info,
                recovered_text(last),
            ));
        }
        let silent = now.mono.saturating_sub(self.unchanged_since) > HEARTBEAT_TIMEOUT_MS;
        let event = format!("{LOST_PREFIX}{beat}");
        (silent && !state.knows_event(&event)).then(|| {
            let said = lost_text(last, now.utc);
            queued_record(&event, now.utc, Severity::Critical, said)
        })
    }
}

/// What an event of this id makes of the silence that was told.
pub(crate) fn lost_after_event(event: &str, before: Option<String>) -> Option<String> {
    match event.strip_prefix(LOST_PREFIX) {
        Some(beat) => Some(beat.to_owned()),
        None if event.starts_with(RECOVERED_PREFIX) => None,
        None => before,
    }
}

/// An event of this id says that the watchdog is silent.
pub(crate) fn is_lost_event(event: &str) -> bool {
    event.starts_with(LOST_PREFIX)
}

/// An event of this id says that it is heard again.
pub(crate) fn is_recovered_event(event: &str) -> bool {
    event.starts_with(RECOVERED_PREFIX)
}

fn lost_text(last: &WatchdogHeartbeat, now: UtcMs) -> (&'static str, String) {
    let said = match last.phase {
        ProcessPhase::Stopped => "that it ends",
        ProcessPhase::Draining => "that it is ending",
        ProcessPhase::Starting => "that it is standing by",
        ProcessPhase::Running => "that it is at work",
    };
    let body = format!(
        "Last heard: {} ago, {said}\nUntil it is back nobody restarts a trader that dies\n\
         Look: docker compose ps -a watchdog",
        format_duration(now.millis_since(last.at))
    );
    ("🚨 WATCHDOG SILENT", body)
}

fn recovered_text(last: &WatchdogHeartbeat) -> (&'static str, String) {
    ("✅ WATCHDOG HEARD AGAIN", format!("At: {}", last.at))
}

fn queued_record(
    event: &str,
    at: UtcMs,
    severity: Severity,
    said: (&str, String),
) -> DeliveryRecord {
    let letter = Notification {
        at,
        severity,
        kind: "watchdog".to_owned(),
        title: said.0.to_owned(),
        body: said.1,
        has_picture: false,
    };
    DeliveryRecord::Queued {
        event: event.to_owned(),
        notifications: vec![letter],
    }
}
