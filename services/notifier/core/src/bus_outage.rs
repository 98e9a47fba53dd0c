//! That the bus is away, and that it is back: told from this process's memory, because the journal is on
//! the bus. A restart in between may repeat it, which the message says.

use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::clock_reading::ClockReading;
use crate::decide::Outcome;
use crate::fallback::{self, FALLBACK_DELAY_MS, FallbackMessage};
use crate::formatting::format_duration;
use crate::message::Message;
use crate::notification::Notification;
use crate::send_limiter::{SendLimiter, SendLimits};
use crate::state::{ChannelOutage, FallbackStatus, QueuedNotification};

/// Away for longer than this, in milliseconds: a restart of the bus takes a few seconds.
const OUTAGE_NOTICE_AFTER_MS: u64 = 30_000;

/// Which way a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryPath {
    /// To Telegram, or to the log.
    Channel(Message),
    /// Over the fallback.
    Fallback(FallbackMessage),
}

/// An absence of the bus: the one that lasts, or the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutageSpan {
    /// Since then.
    pub since: UtcMs,
    /// Until then; none while it lasts.
    pub until: Option<UtcMs>,
}

/// Since when the bus is away, and what of it is still to be told.
#[derive(Debug)]
pub struct BusOutage {
    span: Option<OutageSpan>,
    started_at: Option<ClockReading>,
    is_reported: bool,
    /// One thing at most: that it is back also says how long it was away.
    pending: Option<(QueuedNotification, u64)>,
    channel_limiter: SendLimiter,
    fallback_limiter: SendLimiter,
    has_fallback: bool,
    channel_outage: Option<ChannelOutage>,
}

impl BusOutage {
    /// The bus was there until now.
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

    /// Whether the bus is there, looked at every now and then.
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

    /// The absence that lasts, or the last one.
    pub const fn span(&self) -> Option<OutageSpan> {
        self.span
    }

    /// The next call to make: to Telegram, and over the fallback once Telegram is shut or did not take it
    /// for too long.
    pub fn next_delivery(&self, now: ClockReading) -> Option<DeliveryPath> {
        let (waiting, queued) = self.pending.as_ref()?;
        let waited = now.mono.saturating_sub(*queued);
        let falls = self.has_fallback
            && (self.channel_limiter.is_channel_rejected() || waited >= FALLBACK_DELAY_MS);
        if falls
            && let Some(away) = &self.channel_outage
            && self.fallback_limiter.next_send_at() <= now.mono
        {
            let id = format!("notifier-bus-{}", waiting.notification.at.0);
            let parcel = FallbackMessage::from_notification(id, waiting, Some(away), now.utc);
            return Some(DeliveryPath::Fallback(parcel));
        }
        let open = self.channel_limiter.next_send_at() <= now.mono;
        open.then(|| DeliveryPath::Channel(Message::from_notification(waiting, now.utc)))
    }

    /// How the call to Telegram ended.
    pub fn on_channel_outcome(&mut self, outcome: &Outcome, now: ClockReading) {
        self.channel_limiter.note_outcome(outcome, now.mono);
        match outcome.error() {
            Some(why) if !matches!(outcome, Outcome::MessageRejected { .. }) => {
                let since = self
                    .channel_outage
                    .as_ref()
                    .map_or(now.utc, |away| away.since);
                let why = why.to_owned();
                self.channel_outage = Some(ChannelOutage { since, error: why });
            }
            _ => self.channel_outage = None,
        }
        self.settle_pending(outcome);
    }

    /// How the call over the fallback ended.
    pub fn on_fallback_outcome(&mut self, outcome: &Outcome, now: ClockReading) {
        self.fallback_limiter.note_outcome(outcome, now.mono);
        self.settle_pending(outcome);
    }

    fn settle_pending(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered { .. } | Outcome::MessageRejected { .. } => self.pending = None,
            Outcome::Unknown { .. } => {
                if let Some((waiting, _)) = &mut self.pending {
                    waiting.repeats += 1;
                }
            }
            Outcome::Retryable { .. }
            | Outcome::ChannelRejected { .. }
            | Outcome::ChatMigrated { .. } => {}
        }
    }

    fn set_pending(&mut self, letter: Notification, now: ClockReading) {
        let waiting = QueuedNotification {
            notification: letter,
            repeats: 0,
            queued_at: now.utc,
            fallback_status: FallbackStatus::NotSent,
            reply: None,
        };
        self.pending = Some((waiting, now.mono));
    }
}

fn lost_notification(since: UtcMs, now: UtcMs) -> Notification {
    Notification {
        at: now,
        severity: Severity::Critical,
        kind: "bus".to_owned(),
        title: "🚨 BUS AWAY".to_owned(),
        body: format!(
            "The bus is away since {since}\nUntil it is back nothing is decided, nobody restarts a trader that \
             dies, and nothing else can be told\nLook: docker compose ps -a nats\n\
             (said from memory: a restart of the notifier may repeat it)"
        ),
        has_picture: false,
    }
}

fn recovered_notification(since: UtcMs, lasted: u64, now: UtcMs) -> Notification {
    Notification {
        at: now,
        severity: Severity::Info,
        kind: "bus".to_owned(),
        title: "✅ BUS BACK".to_owned(),
        body: format!(
            "It was away for {}, since {since}\nWhat happened meanwhile follows",
            format_duration(lasted)
        ),
        has_picture: false,
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

    /// Looks every second; what goes out, with when.
    fn run_seconds(
        lifeline: &mut BusOutage,
        secs: std::ops::Range<u64>,
        connected: bool,
        telegram: &Outcome,
    ) -> Vec<(u64, DeliveryPath)> {
        let mut out = Vec::new();
        for now in secs {
            lifeline.update(connected, at(now));
            let Some(way) = lifeline.next_delivery(at(now)) else {
                continue;
            };
            match &way {
                DeliveryPath::Channel(_) => lifeline.on_channel_outcome(telegram, at(now)),
                DeliveryPath::Fallback(_) => lifeline.on_fallback_outcome(&SENT, at(now)),
            }
            out.push((now, way));
        }
        out
    }

    fn text(way: &DeliveryPath) -> &str {
        match way {
            DeliveryPath::Channel(message) => &message.text,
            DeliveryPath::Fallback(parcel) => &parcel.message,
        }
    }

    #[test]
    fn bus_outage_is_reported_once_after_30_seconds_and_its_end_once() {
        let mut lifeline = BusOutage::new(false);
        assert!(run_seconds(&mut lifeline, 0..10, true, &SENT).is_empty());
        assert!(run_seconds(&mut lifeline, 10..40, false, &SENT).is_empty());
        assert!(
            run_seconds(&mut lifeline, 40..50, true, &SENT).is_empty(),
            "short"
        );
        let out = run_seconds(&mut lifeline, 50..400, false, &SENT);
        assert_eq!(out.len(), 1, "{out:?}");
        assert_eq!(out[0].0, 81);
        let said = text(&out[0].1);
        assert!(
            said.starts_with("🚨 BUS AWAY\nThe bus is away since 2026-"),
            "{said}"
        );
        assert!(said.contains("may repeat it"), "{said}");
        let out = run_seconds(&mut lifeline, 400..500, true, &SENT);
        assert_eq!(out.len(), 1, "{out:?}");
        assert!(
            text(&out[0].1).starts_with("✅ BUS BACK\nIt was away for 5m"),
            "{out:?}"
        );
    }

    #[test]
    fn bus_outage_message_of_unknown_outcome_is_repeated_and_flagged() {
        let mut lifeline = BusOutage::new(false);
        let unknown = Outcome::Unknown {
            error: "timed out".to_owned(),
        };
        let out = run_seconds(&mut lifeline, 0..40, false, &unknown);
        assert!(out.len() > 1, "{out:?}");
        assert!(!text(&out[0].1).contains("possible repeat"));
        assert!(text(&out[1].1).contains("(possible repeat"), "{out:?}");
    }

    #[test]
    fn bus_outage_goes_over_the_fallback_once_if_telegram_rejects_the_chat() {
        let mut lifeline = BusOutage::new(true);
        let shut = Outcome::ChannelRejected {
            error: "401: Unauthorized".to_owned(),
        };
        let out = run_seconds(&mut lifeline, 0..300, false, &shut);
        assert_eq!(out.len(), 2, "{out:?}");
        let DeliveryPath::Fallback(parcel) = &out[1].1 else {
            panic!("{out:?}");
        };
        assert!(
            parcel
                .message
                .starts_with("Telegram is not reachable since 2026-")
        );
        assert!(parcel.message.contains("The bus is away since"));
    }

    #[test]
    fn bus_outage_goes_over_the_fallback_after_two_minutes_of_no_telegram() {
        let mut lifeline = BusOutage::new(true);
        let gone = Outcome::Retryable {
            error: "connection refused".to_owned(),
            wait_ms: None,
        };
        let out = run_seconds(&mut lifeline, 0..300, false, &gone);
        let fallen: Vec<u64> = out
            .iter()
            .filter(|(_, way)| matches!(way, DeliveryPath::Fallback(_)))
            .map(|(now, _)| *now)
            .collect();
        assert_eq!(fallen, [31 + 120], "{out:?}");
    }
}
