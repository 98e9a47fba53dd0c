//! The courier's side of the owner's orders: journals what was said before anything is done, has one order
//! carried out at a time, journals what came of it. What may be ordered is the brain's business.

use std::collections::VecDeque;
use std::sync::Arc;

use notifier_core::command_intake::{
    self, CallbackReply, CommandIntake, CommandResult, CommandRules, Update,
};
use notifier_core::command_parser::{SilenceArgs, TelegramCommand};
use notifier_core::record::DeliveryRecord;
use notifier_core::replies;
use notifier_core::silence;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::journal::{BatchPosition, StoredBatch};
use runtime::leader_election::TermEnd;
use runtime::outbox::{Outbox, OutboxCursor};
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::Dispatcher;
use crate::command_executor::CommandExecutor;
use crate::telegram::Telegram;
use crate::update_poller::FetchedUpdates;

/// The key in the ids of our events.
const EVENT_KEY: &str = "notifier.operator";

/// What was said and not looked at yet.
#[derive(Default)]
pub(super) struct UpdateQueue {
    intake: CommandIntake,
    updates: VecDeque<Update>,
    bot_name: Option<String>,
    processed: Option<oneshot::Sender<()>>,
}

impl UpdateQueue {
    /// Whether what was said before is dealt with.
    pub(super) const fn is_idle(&self) -> bool {
        self.processed.is_none()
    }

    pub(super) fn accept(&mut self, batch: FetchedUpdates) {
        self.updates = batch.updates.into();
        self.bot_name = batch.bot_name;
        self.processed = Some(batch.processed);
    }
}

/// Tells everybody of the orders in these records, under ids that follow from their place.
pub(super) fn publish_events(
    events: &Outbox,
    place: &BatchPosition,
    records: &[DeliveryRecord],
    confirmed: &Arc<OutboxCursor>,
) {
    let bodies = records.iter().map(DeliveryRecord::event_body);
    events.enqueue_journaled(EVENT_KEY, place, bodies, confirmed);
}

/// Tells again what the process before may not have got stored.
pub(super) fn republish_events(
    events: &Outbox,
    entries: &[StoredBatch<DeliveryRecord>],
) -> Arc<OutboxCursor> {
    let newest = entries
        .iter()
        .map(|stored| stored.batch.events_published_seq)
        .max();
    let confirmed = OutboxCursor::from_seq(newest.unwrap_or(0));
    let from = confirmed.seq();
    for stored in entries.iter().filter(|stored| stored.seq > from) {
        publish_events(
            events,
            &stored.position(),
            &stored.batch.records,
            &confirmed,
        );
    }
    confirmed
}

impl Dispatcher {
    /// The update that was looked at last.
    pub fn last_update(&self) -> Option<i64> {
        self.state.last_update()
    }

    /// The next thing that was said, once the order before is carried out.
    pub(super) async fn process_next_update(&mut self) -> Result<(), TermEnd> {
        while self.running_commands.is_empty() {
            let Some(update) = self.update_queue.updates.pop_front() else {
                if let Some(taken) = self.update_queue.processed.take() {
                    // The poller is gone only when the turn ends.
                    let _ = taken.send(());
                }
                return Ok(());
            };
            self.process_update(&update).await?;
        }
        Ok(())
    }

    async fn process_update(&mut self, update: &Update) -> Result<(), TermEnd> {
        let Some((telegram, allowed)) = self.deps.channel.command_source() else {
            return Ok(());
        };
        let telegram = telegram.clone();
        let set = self.deps.channel.chat().unwrap_or_default();
        let rules = CommandRules {
            allowed_users: allowed.clone(),
            chat: self.state.current_chat(set),
            bot_name: self.update_queue.bot_name.clone(),
        };
        let now = self.now();
        let heard = self
            .update_queue
            .intake
            .process_update(&self.state, update, &rules, now);
        if heard.records.is_empty() {
            return Ok(());
        }
        log_commands(&heard.records);
        self.commit(heard.records).await?;
        if let Some(press) = heard.callback_reply {
            // Nothing depends on it, and it has a deadline of its own.
            self.reply_to_callback(telegram, press);
        }
        match heard.command {
            Some(order) => self.execute_command(order).await,
            None => Ok(()),
        }
    }

    /// Buttons that are of no use any more go.
    fn reply_to_callback(&mut self, telegram: Telegram, press: CallbackReply) {
        while self.callback_replies.try_join_next().is_some() {}
        self.callback_replies.spawn(async move {
            telegram
                .answer_callback(&press.callback_id, press.text)
                .await;
            if let Some((chat, message)) = press.expired_message {
                telegram.remove_buttons(chat, message).await;
            }
        });
    }

    /// What the fold knows is answered here, the rest by a task.
    async fn execute_command(&mut self, order: TelegramCommand) -> Result<(), TermEnd> {
        match order {
            TelegramCommand::Logs => {
                self.finish_with_reply(replies::logs(&self.state), "answered")
                    .await
            }
            TelegramCommand::Silence(hush) => self.execute_silence(hush).await,
            order => {
                let who = self.state.running_command.as_ref();
                let clerk = CommandExecutor {
                    bus: self.deps.bus.clone(),
                    boot: self.deps.identity.boot.clone(),
                    host: self.deps.identity.host.clone(),
                    by: who.map_or_else(String::new, |begun| begun.by.clone()),
                    queue_status: replies::queue_status(&self.state),
                };
                self.running_commands.spawn(clerk.execute(order));
                Ok(())
            }
        }
    }

    async fn execute_silence(&mut self, hush: SilenceArgs) -> Result<(), TermEnd> {
        let now = clock::now();
        match hush {
            SilenceArgs::Show => {
                self.finish_with_reply(silence::describe_silences(&self.state, now), "answered")
                    .await
            }
            SilenceArgs::Off => {
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
                self.finish_with_reply(text.to_owned(), "every silence is over")
                    .await
            }
            SilenceArgs::Start {
                duration_ms: ms,
                unit: name,
            } => {
                let Some(record) = silence::start_silence(&self.state, name, ms, now) else {
                    let text = "There are too many silences: end them with /silence off";
                    let outcome = "not done: too many silences";
                    return self.finish_with_reply(text.to_owned(), outcome).await;
                };
                self.commit(vec![record]).await?;
                let shown = silence::describe_silences(&self.state, now);
                let text = format!("Only criticals until it is over. Silences:\n{shown}");
                self.finish_with_reply(text, "silenced").await
            }
        }
    }

    async fn finish_with_reply(&mut self, body: String, outcome: &str) -> Result<(), TermEnd> {
        let carried = CommandResult {
            is_done: Some(true),
            result: outcome.to_owned(),
            body,
            has_picture: false,
        };
        self.finish_command(carried).await
    }

    pub(super) async fn on_command_result(
        &mut self,
        ended: Result<CommandResult, JoinError>,
    ) -> Result<(), TermEnd> {
        let carried = ended.unwrap_or_else(|error| CommandResult {
            is_done: None,
            result: format!("unknown: bug: {error}"),
            body: "It may be done or not: there is a bug in this program. Look: /status".to_owned(),
            has_picture: false,
        });
        self.finish_command(carried).await
    }

    async fn finish_command(&mut self, carried: CommandResult) -> Result<(), TermEnd> {
        let Some(begun) = self.state.running_command.clone() else {
            return Ok(());
        };
        let records = command_intake::finished_records(&begun, carried, clock::now());
        log_commands(&records);
        self.commit(records).await
    }

    /// Says what a silence kept, once it is over.
    pub(super) async fn end_expired_silences(&mut self) -> Result<(), TermEnd> {
        let now: UtcMs = clock::now();
        match silence::end_expired(&self.state, now) {
            Some(records) => self.commit(records).await,
            None => Ok(()),
        }
    }
}

fn log_commands(records: &[DeliveryRecord]) {
    for record in records {
        match record {
            DeliveryRecord::CommandStarted {
                by: who, command, ..
            } => {
                tracing::info!(who, command, "the owner orders");
            }
            DeliveryRecord::CommandFinished {
                by: who,
                command,
                result: outcome,
            } => tracing::info!(who, command, outcome, "the owner's order"),
            DeliveryRecord::UnauthorizedCommand { by: who, command } => {
                tracing::warn!(who, command, "an order of a stranger is ignored");
            }
            _ => {}
        }
    }
}
