//! Intake of Telegram updates: checks sender, chat and age of a command, asks for confirmation, and returns the records
//! to journal and the command to execute.
//!
//! Pending confirmations and recently rejected senders are in memory only: after a restart, the operator has to send
//! an unconfirmed command again.

use std::collections::{BTreeMap, BTreeSet};

use protocol::event::Severity;
use protocol::time::{ClockReading, UtcMs};

use crate::command_parser::{ParsedText, TelegramCommand, parse};
use crate::model::{Button, RunningCommand};
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;

/// Age from which a command is not executed, and a button has expired, in milliseconds.
pub const COMMAND_EXPIRY_MS: u64 = 60_000;
/// Time in which an unauthorized user is reported once, in milliseconds.
const UNAUTHORIZED_NOTICE_INTERVAL_MS: u64 = 3_600_000;
/// Unauthorized users that are remembered; more within an hour are not reported.
const MAX_UNAUTHORIZED_USERS: usize = 100;
/// Most pending confirmations; the oldest is dropped.
const MAX_PENDING_CONFIRMATIONS: usize = 20;
/// Length of a text in records and replies.
const MAX_ECHO_CHARS: usize = 200;
const CONFIRM_PREFIX: &str = "confirm:";
const CANCEL_PREFIX: &str = "cancel:";

/// One update from Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Id of the update; each is processed once.
    pub id: i64,
    /// Content of the update.
    pub kind: UpdateKind,
}

/// Content of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateKind {
    /// A text that a user wrote, in any chat with the bot.
    Text {
        /// User who sent it.
        user: i64,
        /// Chat of the message.
        chat: i64,
        /// Whether the chat is private: one user and the bot.
        is_private: bool,
        /// Time by Telegram's clock.
        sent_at: UtcMs,
        /// Text of the message.
        text: String,
    },
    /// A press of a button below a message of the bot.
    ButtonPress {
        /// User who pressed it.
        user: i64,
        /// Telegram's id of the press, which waits for a reply.
        callback_id: String,
        /// Data of the button.
        data: String,
        /// Chat and number of the message with the button; `None` if Telegram no longer names it.
        message: Option<(i64, i64)>,
    },
    /// Any other update; ignored.
    Other,
}

/// Users who may give commands, and the chat for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandRules {
    /// Ids of the users.
    pub allowed_users: BTreeSet<i64>,
    /// Chat in which commands are accepted, besides private chats with the bot.
    pub chat: i64,
    /// Name of this bot without @; `None` if it is not known yet.
    pub bot_name: Option<String>,
}

/// Result of an update.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IntakeDecision {
    /// Records to journal first.
    pub records: Vec<DeliveryRecord>,
    /// Command to execute afterwards.
    pub command: Option<TelegramCommand>,
    /// Reply to a pressed button.
    pub callback_reply: Option<CallbackReply>,
}

/// Reply to a pressed button.
#[derive(Debug, PartialEq, Eq)]
pub struct CallbackReply {
    /// Telegram's id of the press.
    pub callback_id: String,
    /// Text shown to the user.
    pub text: &'static str,
    /// Chat and number of a message whose buttons have expired.
    pub expired_message: Option<(i64, i64)>,
}

/// Reason why a pressed button does nothing.
struct Denied {
    text: &'static str,
    /// Whether the buttons have expired.
    are_buttons_expired: bool,
}

impl Denied {
    const fn with_buttons_kept(text: &'static str) -> Self {
        let are_buttons_expired = false;
        Self {
            text,
            are_buttons_expired,
        }
    }

    const fn with_buttons_expired(text: &'static str) -> Self {
        let are_buttons_expired = true;
        Self {
            text,
            are_buttons_expired,
        }
    }
}

struct PendingConfirmation {
    command: TelegramCommand,
    text: String,
    user: i64,
    chat: i64,
    asked_at: u64,
}

/// Pending confirmations and recently rejected users.
#[derive(Default)]
pub struct CommandIntake {
    pending_confirmations: BTreeMap<i64, PendingConfirmation>,
    unauthorized_users: BTreeMap<i64, u64>,
}

impl CommandIntake {
    /// Processes one update. The result is empty if it was processed before.
    pub fn process_update(
        &mut self,
        state: &DeliveryState,
        update: &Update,
        rules: &CommandRules,
        now: ClockReading,
    ) -> IntakeDecision {
        if state.has_processed(update.id) {
            return IntakeDecision::default();
        }
        let mut decision = match &update.kind {
            UpdateKind::Other => IntakeDecision::default(),
            UpdateKind::Text {
                user,
                chat,
                is_private,
                sent_at,
                text,
            } => {
                let incoming = IncomingText {
                    update_id: update.id,
                    user: *user,
                    chat: *chat,
                    is_private: *is_private,
                    text,
                };
                self.process_text(&incoming, *sent_at, rules, now)
            }
            UpdateKind::ButtonPress {
                user,
                callback_id,
                data,
                message,
            } => {
                let (confirmed, text, is_expired) =
                    match self.take_confirmed(*user, data, rules, now.mono) {
                        Ok(confirmed) => (Some(confirmed), "The command is being executed", true),
                        Err(denied) => (None, denied.text, denied.are_buttons_expired),
                    };
                let reply = CallbackReply {
                    callback_id: callback_id.clone(),
                    text,
                    expired_message: message.filter(|_| is_expired),
                };
                callback_decision(*user, confirmed, reply)
            }
        };
        decision
            .records
            .insert(0, DeliveryRecord::UpdateProcessed { update: update.id });
        decision
    }

    fn process_text(
        &mut self,
        incoming: &IncomingText<'_>,
        sent_at: UtcMs,
        rules: &CommandRules,
        now: ClockReading,
    ) -> IntakeDecision {
        let parsed = parse(incoming.text, rules.bot_name.as_deref());
        if parsed == ParsedText::ForAnotherBot
            || (parsed == ParsedText::NoCommand && !incoming.is_private)
        {
            return IntakeDecision::default();
        }
        if !rules.allowed_users.contains(&incoming.user) {
            return self.reject_unauthorized(incoming, now.mono);
        }
        if !incoming.is_private && incoming.chat != rules.chat {
            return IntakeDecision::default();
        }
        if now.utc.millis_since(sent_at) > COMMAND_EXPIRY_MS {
            let text = "Command expired (older than one minute), not executed. Send it again if it is still wanted.";
            return incoming.reply("⏳", text, "expired, not executed", now.utc);
        }
        match parsed {
            ParsedText::Command(command) => self.accept_command(incoming, command, now),
            ParsedText::Invalid(error) => incoming.reply("❔", &error, "invalid command", now.utc),
            _ => incoming.reply(
                "❔",
                "This is not a command; /help lists the commands",
                "invalid command",
                now.utc,
            ),
        }
    }

    fn accept_command(
        &mut self,
        incoming: &IncomingText<'_>,
        command: TelegramCommand,
        now: ClockReading,
    ) -> IntakeDecision {
        let Some(question) = command.confirmation_question() else {
            return IntakeDecision {
                records: vec![started_record(
                    incoming.user,
                    incoming.chat,
                    incoming.echo(),
                )],
                command: Some(command),
                callback_reply: None,
            };
        };
        if self.pending_confirmations.len() >= MAX_PENDING_CONFIRMATIONS {
            self.pending_confirmations.pop_first();
        }
        self.pending_confirmations.insert(
            incoming.update_id,
            PendingConfirmation {
                command,
                text: incoming.echo(),
                user: incoming.user,
                chat: incoming.chat,
                asked_at: now.mono,
            },
        );
        let button = |text: &str, prefix: &str| Button {
            text: text.to_owned(),
            data: format!("{prefix}{}", incoming.update_id),
        };
        let body = format!("{question}\nValid once, for one minute, for you only.");
        IntakeDecision {
            records: vec![
                incoming.finished_record("confirmation requested"),
                DeliveryRecord::Replied {
                    chat: incoming.chat,
                    notifications: reply_notification("❓ PLEASE CONFIRM", body, now.utc).split(),
                    buttons: vec![
                        button("✅ Yes, execute", CONFIRM_PREFIX),
                        button("❌ No", CANCEL_PREFIX),
                    ],
                },
            ],
            ..IntakeDecision::default()
        }
    }

    /// The confirmation of this button if its command may be executed now.
    ///
    /// # Errors
    /// [`Denied`] with the text for the user.
    fn take_confirmed(
        &mut self,
        user: i64,
        data: &str,
        rules: &CommandRules,
        now: u64,
    ) -> Result<PendingConfirmation, Denied> {
        let (is_confirmed, number) = match (
            data.strip_prefix(CONFIRM_PREFIX),
            data.strip_prefix(CANCEL_PREFIX),
        ) {
            (Some(number), _) => (true, number),
            (_, Some(number)) => (false, number),
            _ => return Err(Denied::with_buttons_kept("Unknown button")),
        };
        let number: i64 = number.parse().unwrap_or(-1);
        let is_own = |pending: &PendingConfirmation| {
            pending.user == user && rules.allowed_users.contains(&user)
        };
        if self
            .pending_confirmations
            .get(&number)
            .is_some_and(|pending| !is_own(pending))
        {
            return Err(Denied::with_buttons_kept(
                "Only the user who gave the command can confirm it",
            ));
        }
        // A button works once, whichever it is.
        let pending = self.pending_confirmations.remove(&number);
        let pending = pending.ok_or(Denied::with_buttons_expired(
            "This button has expired. Send the command again.",
        ))?;
        if now.saturating_sub(pending.asked_at) > COMMAND_EXPIRY_MS {
            return Err(Denied::with_buttons_expired(
                "Confirmation expired. Send the command again.",
            ));
        }
        if is_confirmed {
            Ok(pending)
        } else {
            Err(Denied::with_buttons_expired(
                "Canceled; nothing was changed",
            ))
        }
    }

    fn reject_unauthorized(&mut self, incoming: &IncomingText<'_>, now: u64) -> IntakeDecision {
        self.unauthorized_users.retain(|_, reported_at| {
            now.saturating_sub(*reported_at) < UNAUTHORIZED_NOTICE_INTERVAL_MS
        });
        let is_new = !self.unauthorized_users.contains_key(&incoming.user);
        if !is_new || self.unauthorized_users.len() >= MAX_UNAUTHORIZED_USERS {
            return IntakeDecision::default();
        }
        self.unauthorized_users.insert(incoming.user, now);
        let records = vec![DeliveryRecord::UnauthorizedCommand {
            by: user_name(incoming.user),
            command: incoming.echo(),
        }];
        IntakeDecision {
            records,
            ..IntakeDecision::default()
        }
    }
}

/// Result of a pressed button: the command, if the button confirms one.
fn callback_decision(
    user: i64,
    confirmed: Option<PendingConfirmation>,
    reply: CallbackReply,
) -> IntakeDecision {
    let callback_reply = Some(reply);
    let Some(confirmed) = confirmed else {
        return IntakeDecision {
            callback_reply,
            ..IntakeDecision::default()
        };
    };
    let command = format!("{} (confirmed)", confirmed.text);
    IntakeDecision {
        records: vec![started_record(user, confirmed.chat, command)],
        command: Some(confirmed.command),
        callback_reply,
    }
}

/// A text with its sender and chat.
struct IncomingText<'a> {
    update_id: i64,
    user: i64,
    chat: i64,
    is_private: bool,
    text: &'a str,
}

impl IncomingText<'_> {
    /// The text in one line of bounded length.
    fn echo(&self) -> String {
        let parts: Vec<&str> = self.text.split_whitespace().collect();
        parts.join(" ").chars().take(MAX_ECHO_CHARS).collect()
    }

    fn finished_record(&self, result: &str) -> DeliveryRecord {
        DeliveryRecord::CommandFinished {
            by: user_name(self.user),
            command: self.echo(),
            result: result.to_owned(),
        }
    }

    fn reply(&self, sign: &str, body: &str, result: &str, at: UtcMs) -> IntakeDecision {
        let title = format!("{sign} {}", self.echo());
        let reply = DeliveryRecord::Replied {
            chat: self.chat,
            notifications: reply_notification(&title, body.to_owned(), at).split(),
            buttons: Vec::new(),
        };
        IntakeDecision {
            records: vec![self.finished_record(result), reply],
            ..IntakeDecision::default()
        }
    }
}

/// Result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Whether the command was executed; `None` if the outcome is unknown.
    pub is_done: Option<bool>,
    /// Result in one line, for the record.
    pub result: String,
    /// Reply to the operator.
    pub body: String,
    /// Number of lines at the begin of the reply whose columns must align.
    pub table_lines: usize,
    /// Whether the reply has a picture of the equity curve.
    pub has_picture: bool,
}

/// Records that end the running command and reply to the operator.
pub fn finished_records(
    running: &RunningCommand,
    result: CommandResult,
    at: UtcMs,
) -> Vec<DeliveryRecord> {
    let sign = match result.is_done {
        Some(true) => "✅",
        Some(false) => "❌",
        None => "⚠️ OUTCOME UNKNOWN:",
    };
    let RunningCommand { by, chat, command } = running;
    let title = format!("{sign} {command}");
    let notification = Notification {
        table_lines: result.table_lines,
        ..reply_notification(&title, result.body, at)
    };
    let notifications = if result.has_picture {
        notification.with_picture()
    } else {
        notification.split()
    };
    vec![
        DeliveryRecord::CommandFinished {
            by: by.clone(),
            command: command.clone(),
            result: result.result,
        },
        DeliveryRecord::Replied {
            chat: *chat,
            notifications,
            buttons: Vec::new(),
        },
    ]
}

/// Records of a command during which the previous process ended: reported, never repeated.
pub(crate) fn interrupted_records(running: &RunningCommand, at: UtcMs) -> Vec<DeliveryRecord> {
    let result = CommandResult {
        is_done: None,
        result: "unknown: the notifier ended during the command".to_owned(),
        body:
            "The notifier ended during this command: it may have been executed or not. It is not \
               repeated.\nAction: check with /status, then send the command again if needed"
                .to_owned(),
        table_lines: 0,
        has_picture: false,
    };
    finished_records(running, result, at)
}

fn started_record(user: i64, chat: i64, command: String) -> DeliveryRecord {
    DeliveryRecord::CommandStarted {
        by: user_name(user),
        chat,
        command,
    }
}

/// Users can change their names, but not their id.
fn user_name(user: i64) -> String {
    format!("Telegram user {user}")
}

fn reply_notification(title: &str, body: String, at: UtcMs) -> Notification {
    Notification {
        at,
        severity: Severity::Info,
        kind: "reply".to_owned(),
        title: title.to_owned(),
        body,
        has_picture: false,
        table_lines: 0,
    }
}
