//! Reports outages of the bus without the bus. [`BusOutage`] decides what is sent and when.

use std::time::Duration;

use notifier_core::bus_outage::{BusOutage, DeliveryPath};
use notifier_core::model::{OutageSpan, Outcome};
use protocol::time::ClockReading;
use runtime::clock::Clock;
use tokio::sync::watch;

use crate::channel::Channel;
use crate::fallback_sender::FallbackSender;

const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Monitor of the bus with the channels for its reports; lives as long as the process.
pub struct BusOutageMonitor {
    outage: BusOutage,
    channel: Channel,
    fallback: Option<FallbackSender>,
    clock: Clock,
    /// New id of the chat that Telegram named; `None` without a migration.
    migrated_chat: Option<i64>,
    span: watch::Sender<Option<OutageSpan>>,
}

impl BusOutageMonitor {
    /// Starts with a bus that is expected to be reachable.
    pub fn new(channel: Channel, fallback: Option<FallbackSender>) -> Self {
        Self {
            outage: BusOutage::new(fallback.is_some()),
            channel,
            fallback,
            clock: Clock::start(),
            migrated_chat: None,
            span: watch::Sender::new(None),
        }
    }

    /// The current or last outage, for the journal.
    pub fn subscribe(&self) -> watch::Receiver<Option<OutageSpan>> {
        self.span.subscribe()
    }

    /// Checks the bus and reports outages until it is dropped. `chat` is the id of the chat after a migration.
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
            Some(DeliveryPath::Fallback(message)) => {
                let Some(fallback) = &self.fallback else {
                    return;
                };
                let outcome = fallback.send(&message).await;
                self.outage.on_fallback_outcome(&outcome, self.now());
                log_outcome(&outcome, "fallback");
            }
        }
    }

    fn now(&self) -> ClockReading {
        self.clock.read()
    }
}

fn log_outcome(outcome: &Outcome, channel: &str) {
    match outcome.error() {
        None => tracing::info!(channel, "bus outage notification sent"),
        Some(error) => tracing::warn!(error, channel, "bus outage notification failed; retrying"),
    }
}
