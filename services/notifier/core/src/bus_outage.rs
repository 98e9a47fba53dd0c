//! Reports an outage of the bus and its end from memory, because the journal is on the bus. A restart of the notifier
//! may repeat the report, which the message says.

use protocol::duration::format_ms;
use protocol::event::Severity;
use protocol::time::{ClockReading, UtcMs};

use crate::fallback::{self, FALLBACK_DELAY_MS, FallbackMessage};
use crate::formatting::format_time;
use crate::message::Message;
use crate::model::{ChannelOutage, FallbackStatus, OutageSpan, Outcome, QueuedNotification};
use crate::notification::Notification;
use crate::send_limiter::{SendLimiter, SendLimits};

/// Shortest outage that is reported, in milliseconds. A restart of the bus takes a few seconds.
const OUTAGE_NOTICE_AFTER_MS: u64 = 30_000;

/// Channel of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryPath {
    /// To Telegram, or to standard output without Telegram.
    Channel(Message),
    /// To the address of `FALLBACK_URL`.
    Fallback(FallbackMessage),
}

/// The current or last outage of the bus, and the report that is still to be sent.
#[derive(Debug)]
pub struct BusOutage {
    span: Option<OutageSpan>,
    started_at: Option<ClockReading>,
    is_reported: bool,
    /// At most one report: the end of an outage also names its duration.
    pending: Option<(QueuedNotification, u64)>,
    channel_limiter: SendLimiter,
    fallback_limiter: SendLimiter,
    has_fallback: bool,
    channel_outage: Option<ChannelOutage>,
}

impl BusOutage {
    /// State of a process whose bus was reachable until now.
    pub const fn new(has_fallback: bool) -> Self {
        Self {
            span: None,
            started_at: None,
            is_reported: false,
            pending: None,
            channel_limiter: SendLimiter::new(SendLimits::NONE),
            fallback_limiter: SendLimiter::new(fallback::LIMITS),
            has_fallback,
            channel_outage: None,
        }
    }

    /// Takes whether the bus is connected; called regularly.
    pub fn update(&mut self, connected: bool, now: ClockReading) {
        let Some(since) = self.started_at else {
            if !connected {
                self.started_at = Some(now);
                let (since, until) = (now.utc, None);
                self.span = Some(OutageSpan { since, until });
            }
            return;
        };
        let lasted = now.mono.saturating_sub(since.mono);
        if connected {
            self.started_at = None;
            let (since, until) = (since.utc, Some(now.utc));
            self.span = Some(OutageSpan { since, until });
            if std::mem::take(&mut self.is_reported) {
                self.set_pending(recovered_notification(since, lasted, now.utc), now);
            }
        } else if lasted > OUTAGE_NOTICE_AFTER_MS && !self.is_reported {
            self.is_reported = true;
            self.set_pending(lost_notification(since.utc, now.utc), now);
        }
    }

    /// The current or last outage; `None` if there was none.
    pub const fn span(&self) -> Option<OutageSpan> {
        self.span
    }

    /// The next call to make: to Telegram, and to the fallback once Telegram rejects the chat or has not accepted the
    /// report for too long. `None` if no call is due.
    pub fn next_delivery(&self, now: ClockReading) -> Option<DeliveryPath> {
        let (queued, queued_at) = self.pending.as_ref()?;
        let waited = now.mono.saturating_sub(*queued_at);
        let needs_fallback = self.has_fallback
            && (self.channel_limiter.is_channel_rejected() || waited >= FALLBACK_DELAY_MS);
        if needs_fallback
            && let Some(outage) = &self.channel_outage
            && self.fallback_limiter.next_send_at() <= now.mono
        {
            let id = format!("notifier-bus-{}", queued.notification.at.0);
            let message = FallbackMessage::from_notification(id, queued, Some(outage), now.utc);
            return Some(DeliveryPath::Fallback(message));
        }
        let may_send = self.channel_limiter.next_send_at() <= now.mono;
        may_send.then(|| DeliveryPath::Channel(Message::from_notification(queued, now.utc)))
    }

    /// Takes the outcome of the call to Telegram.
    pub fn on_channel_outcome(&mut self, outcome: &Outcome, now: ClockReading) {
        self.channel_limiter.note_outcome(outcome, now.mono);
        match outcome.error() {
            Some(error) if !matches!(outcome, Outcome::MessageRejected { .. }) => {
                let since = self
                    .channel_outage
                    .as_ref()
                    .map_or(now.utc, |outage| outage.since);
                let error = error.to_owned();
                self.channel_outage = Some(ChannelOutage { since, error });
            }
            _ => self.channel_outage = None,
        }
        self.settle_pending(outcome);
    }

    /// Takes the outcome of the call to the fallback.
    pub fn on_fallback_outcome(&mut self, outcome: &Outcome, now: ClockReading) {
        self.fallback_limiter.note_outcome(outcome, now.mono);
        self.settle_pending(outcome);
    }

    fn settle_pending(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered { .. } | Outcome::MessageRejected { .. } => self.pending = None,
            Outcome::Unknown { .. } => {
                if let Some((queued, _)) = &mut self.pending {
                    queued.repeats += 1;
                }
            }
            Outcome::Retryable { .. }
            | Outcome::ChannelRejected { .. }
            | Outcome::ChatMigrated { .. } => {}
        }
    }

    fn set_pending(&mut self, notification: Notification, now: ClockReading) {
        let queued = QueuedNotification {
            notification,
            repeats: 0,
            queued_at: now.utc,
            fallback_status: FallbackStatus::NotSent,
            reply: None,
        };
        self.pending = Some((queued, now.mono));
    }
}

fn lost_notification(since: UtcMs, now: UtcMs) -> Notification {
    Notification {
        at: now,
        severity: Severity::Critical,
        kind: "bus".to_owned(),
        title: "🚨 BUS DOWN".to_owned(),
        body: format!(
            "Down since: {}\nOpen positions: not managed; stop orders on the exchange stay active\n\
             Next: no trading, no restarts and no other notifications until the bus works again\n\
             Note: a restart of the notifier may repeat this message\n\
             Action: check with: docker compose ps -a nats; if it is stopped, run: scripts/up",
            format_time(since)
        ),
        has_picture: false,
        table_lines: 0,
    }
}

fn recovered_notification(since: UtcMs, lasted: u64, now: UtcMs) -> Notification {
    Notification {
        at: now,
        severity: Severity::Info,
        kind: "bus".to_owned(),
        title: "✅ BUS RECOVERED".to_owned(),
        body: format!(
            "Down for: {}, since {}\nNext: notifications of this time follow",
            format_ms(lasted),
            format_time(since)
        ),
        has_picture: false,
        table_lines: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Outcome = Outcome::Delivered {
        message_id: Some(1),
    };

    fn at(secs: u64) -> ClockReading {
        ClockReading {
            utc: UtcMs(1_795_489_200_000 + i64::try_from(secs).unwrap() * 1_000),
            mono: secs * 1_000,
        }
    }

    /// Updates once a second; the messages sent, with their second.
    fn run_seconds(
        outage: &mut BusOutage,
        secs: std::ops::Range<u64>,
        connected: bool,
        telegram: &Outcome,
    ) -> Vec<(u64, DeliveryPath)> {
        let mut sent = Vec::new();
        for now in secs {
            outage.update(connected, at(now));
            let Some(path) = outage.next_delivery(at(now)) else {
                continue;
            };
            match &path {
                DeliveryPath::Channel(_) => outage.on_channel_outcome(telegram, at(now)),
                DeliveryPath::Fallback(_) => outage.on_fallback_outcome(&SENT, at(now)),
            }
            sent.push((now, path));
        }
        sent
    }

    fn text(path: &DeliveryPath) -> &str {
        match path {
            DeliveryPath::Channel(message) => &message.text,
            DeliveryPath::Fallback(message) => &message.message,
        }
    }

    #[test]
    fn bus_outage_is_reported_once_after_30_seconds_and_its_end_once() {
        let mut outage = BusOutage::new(false);
        assert!(run_seconds(&mut outage, 0..10, true, &SENT).is_empty());
        assert!(run_seconds(&mut outage, 10..40, false, &SENT).is_empty());
        assert!(
            run_seconds(&mut outage, 40..50, true, &SENT).is_empty(),
            "short"
        );
        let out = run_seconds(&mut outage, 50..400, false, &SENT);
        assert_eq!(out.len(), 1, "{out:?}");
        assert_eq!(out[0].0, 81);
        let lost = text(&out[0].1);
        assert!(lost.starts_with("🚨 BUS DOWN\nDown since: 2026-"), "{lost}");
        assert!(lost.contains("may repeat this message"), "{lost}");
        let out = run_seconds(&mut outage, 400..500, true, &SENT);
        assert_eq!(out.len(), 1, "{out:?}");
        assert!(
            text(&out[0].1).starts_with("✅ BUS RECOVERED\nDown for: 6m"),
            "{out:?}"
        );
    }

    #[test]
    fn bus_outage_message_of_unknown_outcome_is_repeated_and_flagged() {
        let mut outage = BusOutage::new(false);
        let unknown = Outcome::Unknown {
            error: "timed out".to_owned(),
        };
        let out = run_seconds(&mut outage, 0..40, false, &unknown);
        assert!(out.len() > 1, "{out:?}");
        assert!(!text(&out[0].1).contains("possible repeat"));
        assert!(text(&out[1].1).contains("(possible repeat"), "{out:?}");
    }

    #[test]
    fn bus_outage_goes_over_the_fallback_once_if_telegram_rejects_the_chat() {
        let mut outage = BusOutage::new(true);
        let rejected = Outcome::ChannelRejected {
            error: "401: Unauthorized".to_owned(),
        };
        let out = run_seconds(&mut outage, 0..300, false, &rejected);
        assert_eq!(out.len(), 2, "{out:?}");
        let DeliveryPath::Fallback(message) = &out[1].1 else {
            panic!("{out:?}");
        };
        assert!(
            message
                .message
                .starts_with("Telegram unreachable since: 2026-")
        );
        assert!(message.message.contains("Down since: "));
    }

    #[test]
    fn bus_outage_goes_over_the_fallback_after_two_minutes_of_no_telegram() {
        let mut outage = BusOutage::new(true);
        let unreachable = Outcome::Retryable {
            error: "connection refused".to_owned(),
            wait_ms: None,
        };
        let out = run_seconds(&mut outage, 0..300, false, &unreachable);
        let by_fallback: Vec<u64> = out
            .iter()
            .filter(|(_, path)| matches!(path, DeliveryPath::Fallback(_)))
            .map(|(now, _)| *now)
            .collect();
        assert_eq!(by_fallback, [31 + 120], "{out:?}");
    }
}
