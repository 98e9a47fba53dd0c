//! Hears the owner by long polling and hands on what was said. Runs only in the turn of the notifier at work,
//! so that one process asks Telegram and no other.

use std::time::{Duration, Instant};

use delivery::hear::Update;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::telegram::{Telegram, Unheard};

/// Batches that wait: the next is asked for when this one is journaled.
pub const QUEUE: usize = 1;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Who else asks with this token may be a notifier that is just ending.
const CONFLICT_PAUSE: Duration = Duration::from_secs(10);

/// What was said, to be journaled before Telegram may forget it.
pub struct Batch {
    /// Oldest first.
    pub updates: Vec<Update>,
    /// Our own name, if it is known.
    pub bot: Option<String>,
    /// Dropped or used when all of them are journaled.
    pub taken: oneshot::Sender<()>,
}

/// Polls from the update `from` on until `stop`, or until nobody takes what is heard.
pub async fn poll(
    telegram: Telegram,
    from: Option<i64>,
    batches: mpsc::Sender<Batch>,
    stop: CancellationToken,
) {
    let mut poller = Poller {
        telegram,
        from,
        bot: None,
        pause: FIRST_PAUSE,
    };
    stop.run_until_cancelled(async {
        while let Some(pause) = poller.turn(&batches).await {
            tokio::time::sleep(pause).await;
        }
    })
    .await;
}

struct Poller {
    telegram: Telegram,
    from: Option<i64>,
    bot: Option<String>,
    pause: Duration,
}

impl Poller {
    /// How long to wait before the next; none if nobody takes what is heard.
    async fn turn(&mut self, batches: &mpsc::Sender<Batch>) -> Option<Duration> {
        if self.bot.is_none() {
            match self.telegram.name().await {
                Ok(name) => self.bot = Some(name),
                Err(why) => tracing::debug!(why, "the bot's own name is not known yet"),
            }
        }
        let asked = Instant::now();
        match self.telegram.updates(self.from).await {
            Ok(updates) => {
                self.pause = FIRST_PAUSE;
                let Some(last) = updates.last().map(|update| update.id) else {
                    // An end that answers without waiting for something is not asked without end.
                    return Some(FIRST_PAUSE.saturating_sub(asked.elapsed()));
                };
                let (taken, journaled) = oneshot::channel();
                let bot = self.bot.clone();
                let batch = Batch {
                    updates,
                    bot,
                    taken,
                };
                batches.send(batch).await.ok()?;
                journaled.await.ok()?;
                self.from = Some(last + 1);
                Some(Duration::ZERO)
            }
            Err(unheard) => Some(self.failed(&unheard)),
        }
    }

    fn failed(&mut self, unheard: &Unheard) -> Duration {
        match unheard {
            Unheard::Conflict(why) => {
                tracing::warn!(
                    why,
                    "somebody else hears this bot: a second system, or a webhook; orders may be lost"
                );
                CONFLICT_PAUSE
            }
            Unheard::Wait(secs) => Duration::from_secs(*secs),
            Unheard::Failed(why) => {
                tracing::warn!(why, "the owner's orders are not heard; trying again");
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
        }
    }
}
