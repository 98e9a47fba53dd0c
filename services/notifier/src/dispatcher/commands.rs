//! Commands of the operator in the dispatcher: journals each update first, executes one command at a time, and journals
//! its result.

use notifier_core::command_intake::{self, CallbackReply, CommandResult, CommandRules, Update};
use notifier_core::command_parser::{SilenceArgs, TelegramCommand};
use notifier_core::record::DeliveryRecord;
use notifier_core::replies;
use notifier_core::silence;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::leader_election::TermEnd;
use tokio::task::JoinError;

use super::Dispatcher;
use crate::command_executor::CommandExecutor;
use crate::telegram::Telegram;

impl Dispatcher {
    /// Id of the update that was processed last.
    pub fn last_update(&self) -> Option<i64> {
        self.state.last_update()
    }

    /// Processes the next updates until one starts a command.
    pub(super) async fn process_next_update(&mut self) -> Result<(), TermEnd> {
        while self.running_commands.is_empty() {
            let Some(update) = self.update_queue.updates.pop_front() else {
                if let Some(processed) = self.update_queue.processed.take() {
                    // The poller only ends with the term.
                    let _ = processed.send(());
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
        let rules = CommandRules {
            allowed_users: allowed.clone(),
            chat: self.chat().unwrap_or_default(),
            bot_name: self.update_queue.bot_name.clone(),
        };
        let now = self.now();
        let decision = self
            .update_queue
            .intake
            .process_update(&self.state, update, &rules, now);
        if decision.records.is_empty() {
            return Ok(());
        }
        log_commands(&decision.records);
        self.commit(decision.records).await?;
        if let Some(reply) = decision.callback_reply {
            self.reply_to_callback(telegram, reply);
        }
        match decision.command {
            Some(command) => self.execute_command(command).await,
            None => Ok(()),
        }
    }

    /// Replies to a pressed button in a task of its own, and removes expired buttons.
    fn reply_to_callback(&mut self, telegram: Telegram, reply: CallbackReply) {
        while self.callback_replies.try_join_next().is_some() {}
        self.callback_replies.spawn(async move {
            telegram
                .answer_callback(&reply.callback_id, reply.text)
                .await;
            if let Some((chat, message)) = reply.expired_message {
                telegram.remove_buttons(chat, message).await;
            }
        });
    }

    /// Executes a command: here if the state answers it, else in a task.
    async fn execute_command(&mut self, command: TelegramCommand) -> Result<(), TermEnd> {
        match command {
            TelegramCommand::Logs => {
                self.finish_with_reply(replies::logs(&self.state), "answered")
                    .await
            }
            TelegramCommand::Silence(silence) => self.execute_silence(silence).await,
            command => {
                let running = self.state.running_command.as_ref();
                let executor = CommandExecutor {
                    bus: self.deps.bus.clone(),
                    boot: self.deps.identity.boot.clone(),
                    host: self.deps.identity.host.clone(),
                    by: running.map_or_else(String::new, |running| running.by.clone()),
                    queue_status: replies::queue_status(&self.state),
                };
                self.running_commands.spawn(executor.execute(command));
                Ok(())
            }
        }
    }

    async fn execute_silence(&mut self, arguments: SilenceArgs) -> Result<(), TermEnd> {
        let now = clock::now();
        match arguments {
            SilenceArgs::Show => {
                self.finish_with_reply(silence::describe_silences(&self.state, now), "answered")
                    .await
            }
            SilenceArgs::Off => {
                let records = silence::end_all(&self.state, now);
                let text = if records.is_empty() {
                    "No silence was active"
                } else {
                    self.commit(records).await?;
                    "All silences ended"
                };
                self.finish_with_reply(text.to_owned(), "all silences ended")
                    .await
            }
            SilenceArgs::Start { duration_ms, unit } => {
                let Some(record) = silence::start_silence(&self.state, unit, duration_ms, now)
                else {
                    let text = "Not started: too many silences. /silence off ends all silences";
                    let result = "not done: too many silences";
                    return self.finish_with_reply(text.to_owned(), result).await;
                };
                self.commit(vec![record]).await?;
                let silences = silence::describe_silences(&self.state, now);
                let text = format!(
                    "Only critical notifications are sent until the silence ends. Silences:\n{silences}"
                );
                self.finish_with_reply(text, "silenced").await
            }
        }
    }

    async fn finish_with_reply(&mut self, body: String, result: &str) -> Result<(), TermEnd> {
        let result = CommandResult {
            is_done: Some(true),
            result: result.to_owned(),
            body,
            has_picture: false,
            table_lines: 0,
        };
        self.finish_command(result).await
    }

    pub(super) async fn on_command_result(
        &mut self,
        ended: Result<CommandResult, JoinError>,
    ) -> Result<(), TermEnd> {
        let result = ended.unwrap_or_else(|error| CommandResult {
            is_done: None,
            result: format!("unknown: internal error: {error}"),
            body: "Internal error of the notifier: the command may have been executed or not. Check with /status"
                .to_owned(),
            has_picture: false,
            table_lines: 0,
        });
        self.finish_command(result).await
    }

    async fn finish_command(&mut self, result: CommandResult) -> Result<(), TermEnd> {
        let Some(running) = self.state.running_command.clone() else {
            return Ok(());
        };
        let records = command_intake::finished_records(&running, result, clock::now());
        log_commands(&records);
        self.commit(records).await
    }

    /// Ends the first expired silence and queues its counts.
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
            DeliveryRecord::CommandStarted { by, command, .. } => {
                tracing::info!(by, command, "command received");
            }
            DeliveryRecord::CommandFinished {
                by,
                command,
                result,
            } => tracing::info!(by, command, result, "command finished"),
            DeliveryRecord::UnauthorizedCommand { by, command } => {
                tracing::warn!(by, command, "unauthorized command ignored");
            }
            _ => {}
        }
    }
}
