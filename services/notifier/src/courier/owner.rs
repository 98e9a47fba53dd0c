//! The courier's side of the owner's orders: journals what was said before anything is done, has one order
//! carried out at a time, journals what came of it. What may be ordered is the brain's business.

use std::collections::VecDeque;
use std::sync::Arc;

use delivery::answers;
use delivery::command::{Hush, Order};
use delivery::hear::{self, Carried, Ear, Press, Rules, Update};
use delivery::record::Record;
use delivery::silence;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::events::{Confirmed, Events};
use runtime::guard::TurnEnd;
use runtime::journal::{Place, Stored};
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::Courier;
use crate::orders::Clerk;
use crate::telegram::Telegram;
use crate::updates::Batch;

/// The key in the ids of our events.
const KEY: &str = "notifier.owner";

/// What was said and not looked at yet.
#[derive(Default)]
pub(super) struct Desk {
    ear: Ear,
    said: VecDeque<Update>,
    bot: Option<String>,
    taken: Option<oneshot::Sender<()>>,
}

impl Desk {
    /// Whether what was said before is dealt with.
    pub(super) const fn is_free(&self) -> bool {
        self.taken.is_none()
    }

    pub(super) fn listen(&mut self, batch: Batch) {
        self.said = batch.updates.into();
        self.bot = batch.bot;
        self.taken = Some(batch.taken);
    }
}

/// Tells everybody of the orders in these records, under ids that follow from their place.
pub(super) fn tell(events: &Events, place: &Place, records: &[Record], confirmed: &Arc<Confirmed>) {
    let bodies = records.iter().map(Record::event);
    events.tell_journaled(KEY, place, bodies, confirmed);
}

/// Tells again what the process before may not have got stored.
pub(super) fn retell(events: &Events, entries: &[Stored<Record>]) -> Arc<Confirmed> {
    let newest = entries.iter().map(|stored| stored.entry.confirmed).max();
    let confirmed = Confirmed::from(newest.unwrap_or(0));
    let from = confirmed.seq();
    for stored in entries.iter().filter(|stored| stored.seq > from) {
        tell(events, &stored.place(), &stored.entry.records, &confirmed);
    }
    confirmed
}

impl Courier {
    /// The update that was looked at last.
    pub fn last_update(&self) -> Option<i64> {
        self.state.last_update()
    }

    /// The next thing that was said, once the order before is carried out.
    pub(super) async fn hear_next(&mut self) -> Result<(), TurnEnd> {
        while self.orders.is_empty() {
            let Some(update) = self.owner.said.pop_front() else {
                if let Some(taken) = self.owner.taken.take() {
                    // The poller is gone only when the turn ends.
                    let _ = taken.send(());
                }
                return Ok(());
            };
            self.hear(&update).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, update: &Update) -> Result<(), TurnEnd> {
        let Some((telegram, allowed)) = self.desk.channel.hears() else {
            return Ok(());
        };
        let telegram = telegram.clone();
        let set = self.desk.channel.chat().unwrap_or_default();
        let rules = Rules {
            allowed: allowed.clone(),
            chat: self.state.chat(set),
            bot: self.owner.bot.clone(),
        };
        let now = self.now();
        let heard = self.owner.ear.hear(&self.state, update, &rules, now);
        if heard.records.is_empty() {
            return Ok(());
        }
        log(&heard.records);
        self.commit(heard.records).await?;
        if let Some(press) = heard.press {
            // Nothing depends on it, and it has a deadline of its own.
            self.answer_press(telegram, press);
        }
        match heard.order {
            Some(order) => self.carry_out(order).await,
            None => Ok(()),
        }
    }

    /// Buttons that are of no use any more go.
    fn answer_press(&mut self, telegram: Telegram, press: Press) {
        while self.asides.try_join_next().is_some() {}
        self.asides.spawn(async move {
            telegram.answer_press(&press.call, press.said).await;
            if let Some((chat, message)) = press.spent {
                telegram.remove_buttons(chat, message).await;
            }
        });
    }

    /// What the fold knows is answered here, the rest by a task.
    async fn carry_out(&mut self, order: Order) -> Result<(), TurnEnd> {
        match order {
            Order::Logs => self.answer(answers::logs(&self.state), "answered").await,
            Order::Silence(hush) => self.hush(hush).await,
            order => {
                let who = self.state.under_way.as_ref();
                let clerk = Clerk {
                    bus: self.desk.bus.clone(),
                    boot: self.desk.identity.boot.clone(),
                    who: who.map_or_else(String::new, |begun| begun.who.clone()),
                    queue: answers::queue(&self.state),
                };
                self.orders.spawn(clerk.carry_out(order));
                Ok(())
            }
        }
    }

    async fn hush(&mut self, hush: Hush) -> Result<(), TurnEnd> {
        let now = clock::now();
        match hush {
            Hush::Show => {
                self.answer(silence::shown(&self.state, now), "answered")
                    .await
            }
            Hush::Off => {
                let records = silence::end_all(&self.state, now);
                let was = !records.is_empty();
                if was {
                    self.commit(records).await?;
                }
                let text = if was {
                    "Every silence is over"
                } else {
                    "There was no silence"
                };
                self.answer(text.to_owned(), "every silence is over").await
            }
            Hush::For { ms, name } => {
                let Some(record) = silence::begin(&self.state, name, ms, now) else {
                    let text = "There are too many silences: end them with /silence off";
                    let outcome = "not done: too many silences";
                    return self.answer(text.to_owned(), outcome).await;
                };
                self.commit(vec![record]).await?;
                let shown = silence::shown(&self.state, now);
                let text = format!("Only criticals until it is over. Silences:\n{shown}");
                self.answer(text, "silenced").await
            }
        }
    }

    async fn answer(&mut self, body: String, outcome: &str) -> Result<(), TurnEnd> {
        let carried = Carried {
            done: Some(true),
            outcome: outcome.to_owned(),
            body,
            picture: false,
        };
        self.end_order(carried).await
    }

    pub(super) async fn order_ended(
        &mut self,
        ended: Result<Carried, JoinError>,
    ) -> Result<(), TurnEnd> {
        let carried = ended.unwrap_or_else(|error| Carried {
            done: None,
            outcome: format!("unknown: bug: {error}"),
            body: "It may be done or not: there is a bug in this program. Look: /status".to_owned(),
            picture: false,
        });
        self.end_order(carried).await
    }

    async fn end_order(&mut self, carried: Carried) -> Result<(), TurnEnd> {
        let Some(begun) = self.state.under_way.clone() else {
            return Ok(());
        };
        let records = hear::ended(&begun, carried, clock::now());
        log(&records);
        self.commit(records).await
    }

    /// Says what a silence kept, once it is over.
    pub(super) async fn end_silences(&mut self) -> Result<(), TurnEnd> {
        let now: UtcMs = clock::now();
        match silence::over(&self.state, now) {
            Some(records) => self.commit(records).await,
            None => Ok(()),
        }
    }
}

fn log(records: &[Record]) {
    for record in records {
        match record {
            Record::CommandBegun { who, command, .. } => {
                tracing::info!(who, command, "the owner orders");
            }
            Record::CommandEnded {
                who,
                command,
                outcome,
            } => tracing::info!(who, command, outcome, "the owner's order"),
            Record::StrangerIgnored { who, command } => {
                tracing::warn!(who, command, "an order of a stranger is ignored");
            }
            _ => {}
        }
    }
}
