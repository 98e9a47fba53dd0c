//! Tells that the bus is away, and that it is back, without the bus. What to say and when is not decided
//! here.

use std::time::{Duration, Instant};

use notifier_core::bus_outage::{BusOutage, DeliveryPath, OutageSpan};
use notifier_core::clock_reading::ClockReading;
use notifier_core::decide::Outcome;
use runtime::clock;
use tokio::sync::watch;

use crate::channel::Channel;
use crate::fallback_sender::FallbackSender;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What the bus's absence is told through; lives as long as the process.
pub struct BusOutageMonitor {
    outage: BusOutage,
    channel: Channel,
    fallback: Option<FallbackSender>,
    started_at: Instant,
    /// The chat that Telegram named in place of ours.
    migrated_chat: Option<i64>,
    span: watch::Sender<Option<OutageSpan>>,
}

impl BusOutageMonitor {
    /// The bus is expected from now on.
    pub fn new(channel: Channel, fallback: Option<FallbackSender>) -> Self {
        Self {
            outage: BusOutage::new(fallback.is_some()),
            channel,
            fallback,
            started_at: Instant::now(),
            migrated_chat: None,
            span: watch::Sender::new(None),
        }
    }

    /// When the bus was away last, for who journals it.
    pub fn subscribe(&self) -> watch::Receiver<Option<OutageSpan>> {
        self.span.subscribe()
    }

    /// Looks and tells until it is dropped. `current_chat`: where the one that was set has moved to.
    pub async fn run(&mut self, connected: impl Fn() -> bool, chat: impl Fn() -> Option<i64>) {
        loop {
            self.outage.update(connected(), self.now());
            self.span.send_replace(self.outage.span());
            self.send_next(chat()).await;
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    async fn send_next(&mut self, chat: Option<i64>) {
        match self.outage.next_delivery(self.now()) {
            None => {}
            Some(DeliveryPath::Channel(message)) => {
                let outcome = self
                    .channel
                    .send(self.migrated_chat.or(chat), &message, None)
                    .await;
                if let Outcome::ChatMigrated { to, .. } = outcome {
                    self.migrated_chat = Some(to);
                }
                self.outage.on_channel_outcome(&outcome, self.now());
                log_outcome(&outcome, self.channel.describe());
            }
            Some(DeliveryPath::Fallback(parcel)) => {
                let Some(fallback) = &self.fallback else {
                    return;
                };
                let outcome = fallback.send(&parcel).await;
                self.outage.on_fallback_outcome(&outcome, self.now());
                log_outcome(&outcome, "the fallback");
            }
        }
    }

    fn now(&self) -> ClockReading {
        ClockReading {
            utc: clock::now(),
            mono: u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn log_outcome(outcome: &Outcome, through: &str) {
    match outcome.error() {
        None => tracing::info!(through, "told about the bus, from memory"),
        Some(why) => tracing::warn!(why, through, "not told about the bus; trying again"),
    }
}
