//! Tells that the bus is away, and that it is back, without the bus. What to say and when is not decided
//! here.

use std::time::{Duration, Instant};

use delivery::decide::Outcome;
use delivery::lifeline::{Absence, Lifeline, Way};
use delivery::moment::Moment;
use runtime::clock;
use tokio::sync::watch;

use crate::channel::Channel;
use crate::fallback::Fallback;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the bus's absence is told through; lives as long as the process.
pub struct Watch {
    brain: Lifeline,
    channel: Channel,
    fallback: Option<Fallback>,
    began: Instant,
    /// The chat that Telegram named in place of ours.
    moved: Option<i64>,
    absence: watch::Sender<Option<Absence>>,
}

impl Watch {
    /// The bus is expected from now on.
    pub fn new(channel: Channel, fallback: Option<Fallback>) -> Self {
        Self {
            brain: Lifeline::new(fallback.is_some()),
            channel,
            fallback,
            began: Instant::now(),
            moved: None,
            absence: watch::Sender::new(None),
        }
    }

    /// When the bus was away last, for who journals it.
    pub fn absence(&self) -> watch::Receiver<Option<Absence>> {
        self.absence.subscribe()
    }

    /// Looks and tells until it is dropped. `chat`: where the one that was set has moved to.
    pub async fn run(&mut self, connected: impl Fn() -> bool, chat: impl Fn() -> Option<i64>) {
        loop {
            self.brain.look(connected(), self.now());
            self.absence.send_replace(self.brain.absence());
            self.tell(chat()).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn tell(&mut self, chat: Option<i64>) {
        match self.brain.next(self.now()) {
            None => {}
            Some(Way::Channel(message)) => {
                let outcome = self.channel.send(self.moved.or(chat), &message, None).await;
                if let Outcome::Migrated { to, .. } = outcome {
                    self.moved = Some(to);
                }
                self.brain.ended(&outcome, self.now());
                log(&outcome, self.channel.as_str());
            }
            Some(Way::Fallback(parcel)) => {
                let Some(fallback) = &self.fallback else {
                    return;
                };
                let outcome = fallback.send(&parcel).await;
                self.brain.landed(&outcome, self.now());
                log(&outcome, "the fallback");
            }
        }
    }

    fn now(&self) -> Moment {
        Moment {
            utc: clock::now(),
            mono: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn log(outcome: &Outcome, through: &str) {
    match outcome.trouble() {
        None => tracing::info!(through, "told about the bus, from memory"),
        Some(why) => tracing::warn!(why, through, "not told about the bus; trying again"),
    }
}
