//! Detects that no watchdog heartbeat arrives, or that the heartbeats say that the watchdog is blind, and reports it,
//! because no other service would.
//!
//! Measured on the notifier's own monotonic clock: the clocks of two processes are never compared.

use protocol::duration::format_ms;
use protocol::event::Severity;
use protocol::heartbeat::{BlindnessReport, ProcessPhase};
use protocol::ids::SubjectToken;
use protocol::time::{ClockReading, UtcMs};

use crate::event_ids;
use crate::formatting::format_time;
use crate::message_text::runbook_line;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;

/// Time without a heartbeat after which the watchdog is lost, in milliseconds. A restart takes a few seconds.
const HEARTBEAT_TIMEOUT_MS: u64 = 30_000;

/// The part of a watchdog's heartbeat that the detection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogHeartbeat {
    /// Boot id of the process.
    pub boot: SubjectToken,
    /// Sequence number of the heartbeat.
    pub seq: u64,
    /// Phase that the process reports.
    pub phase: ProcessPhase,
    /// Time of the heartbeat by the watchdog's wall clock, for messages only.
    pub at: UtcMs,
    /// Units that the watchdog cannot judge; `None` while it can judge all.
    pub blindness: Option<BlindnessReport>,
}

/// The newest watchdog heartbeat and the time since when it is unchanged.
#[derive(Debug)]
pub struct WatchdogOutage {
    last: Option<WatchdogHeartbeat>,
    /// The newest heartbeat of the watchdog that acts. One on standby sends heartbeats too, and judges nothing.
    leader: Option<WatchdogHeartbeat>,
    /// Whether that heartbeat is new, and not of a watchdog that has ended.
    is_leader_alive: bool,
    unchanged_since: u64,
    /// Whether a heartbeat arrived since the start; the bus may hold an old one.
    has_new_heartbeat: bool,
}

impl WatchdogOutage {
    /// Starts at `mono`. The heartbeat on the bus may be old, so the first timeout is twice as long.
    pub const fn new(mono: u64) -> Self {
        Self {
            last: None,
            leader: None,
            is_leader_alive: false,
            unchanged_since: mono + HEARTBEAT_TIMEOUT_MS,
            has_new_heartbeat: false,
        }
    }

    /// Takes the newest heartbeat of each watchdog, in the order of the bus.
    pub fn observe(&mut self, heartbeats: &[WatchdogHeartbeat], mono: u64) {
        let same =
            |a: &WatchdogHeartbeat, b: &WatchdogHeartbeat| a.boot == b.boot && a.seq == b.seq;
        let newest = heartbeats.last().cloned();
        let is_running = |beat: &&WatchdogHeartbeat| beat.phase == ProcessPhase::Running;
        let leader = heartbeats.iter().rev().find(is_running).cloned();
        let is_newest = leader.is_some() && leader == newest;
        self.is_leader_alive = is_newest
            || match (&self.leader, &leader) {
                (Some(known), Some(leader)) => !same(known, leader),
                _ => false,
            };
        self.leader = leader;
        let is_new = match (&self.last, &newest) {
            (Some(last), Some(newest)) => !same(last, newest),
            _ => false,
        };
        if is_new {
            self.has_new_heartbeat = true;
            self.unchanged_since = mono;
        }
        self.last = newest;
    }

    /// Restarts the timeout: the bus does not answer, so a missing heartbeat proves nothing.
    pub const fn on_bus_unreachable(&mut self, mono: u64) {
        self.unchanged_since = mono;
    }

    /// Whether a heartbeat arrived within the timeout.
    pub const fn is_watchdog_alive(&self, mono: u64) -> bool {
        self.has_new_heartbeat && mono.saturating_sub(self.unchanged_since) <= HEARTBEAT_TIMEOUT_MS
    }

    /// Record that reports the outage once, or its end if the outage was reported; `None` if nothing is due.
    pub fn due_record(&self, state: &DeliveryState, now: ClockReading) -> Option<DeliveryRecord> {
        let last = self.last.as_ref()?;
        let heartbeat = format!("{}:{}", last.boot, last.seq);
        if let Some(reported) = &state.watchdog_lost_after
            && *reported != heartbeat
        {
            return Some(queued_record(
                &format!("{}{heartbeat}", event_ids::WATCHDOG_RECOVERED),
                now.utc,
                Severity::Info,
                recovered_text(last),
            ));
        }
        let leader = self.leader.as_ref().filter(|_| self.is_leader_alive);
        if let Some((leader, blindness)) =
            leader.and_then(|leader| Some((leader, leader.blindness.as_ref()?)))
        {
            let event = format!(
                "{}{}:{}",
                event_ids::WATCHDOG_BLIND,
                leader.boot,
                blindness.number
            );
            if !state.knows_event(&event) {
                let text = blind_text(blindness);
                return Some(queued_record(&event, now.utc, Severity::Critical, text));
            }
        }
        let is_lost = now.mono.saturating_sub(self.unchanged_since) > HEARTBEAT_TIMEOUT_MS;
        let event = format!("{}{heartbeat}", event_ids::WATCHDOG_LOST);
        (is_lost && !state.knows_event(&event)).then(|| {
            let text = lost_text(last, now.utc);
            queued_record(&event, now.utc, Severity::Critical, text)
        })
    }
}

fn lost_text(last: &WatchdogHeartbeat, now: UtcMs) -> (&'static str, String) {
    let phase = match last.phase {
        ProcessPhase::Stopped => "stopped",
        ProcessPhase::Draining => "shutting down",
        ProcessPhase::Starting => "standing by",
        ProcessPhase::Running => "running",
    };
    let body = format!(
        "Last heartbeat: {} ({} ago), {phase}\nOpen positions: traders continue to manage them\n\
         Next: no trader that fails is restarted until the watchdog works again\n\
         {}\nAction: check with: docker compose ps -a watchdog; if it is stopped, run: scripts/up",
        format_time(last.at),
        format_ms(now.millis_since(last.at)),
        runbook_line("watchdog-lost")
    );
    ("🚨 WATCHDOG LOST", body)
}

fn blind_text(blindness: &BlindnessReport) -> (&'static str, String) {
    let units: Vec<&str> = blindness.units.iter().map(SubjectToken::as_str).collect();
    let units = if units.is_empty() {
        "all".to_owned()
    } else {
        units.join(", ")
    };
    let remedy = blindness.remedy.as_deref();
    let body = format!(
        "Reason: {}\nFor: {}\nTraders that are not supervised: {units}\n\
         Open positions: traders continue to manage them\n\
         Next: what happens meanwhile is handled when the watchdog sees again\n{}\nAction: {}",
        blindness.reason,
        format_ms(blindness.for_ms),
        runbook_line("watchdog-blind"),
        remedy.unwrap_or("check with: scripts/bearish status")
    );
    ("🚨 WATCHDOG BLIND", body)
}

fn recovered_text(last: &WatchdogHeartbeat) -> (&'static str, String) {
    let body = format!(
        "Heartbeat: {}\nNext: failed traders are restarted again",
        format_time(last.at)
    );
    ("✅ WATCHDOG RECOVERED", body)
}

fn queued_record(
    event: &str,
    at: UtcMs,
    severity: Severity,
    (title, body): (&str, String),
) -> DeliveryRecord {
    let notification = Notification {
        at,
        severity,
        kind: "watchdog".to_owned(),
        title: title.to_owned(),
        body,
        has_picture: false,
        table_lines: 0,
    };
    DeliveryRecord::Queued {
        event: event.to_owned(),
        notifications: vec![notification],
    }
}
