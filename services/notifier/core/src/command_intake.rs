//! What is said to the bot: who may order something, whether it is too late for it, what has to be confirmed
//! first, and what is recorded of it. Carries nothing out.
//!
//! What this process asked and whom it has warned about is in its memory alone: after a restart a button is
//! spent, and the question has to be asked again.

use std::collections::{BTreeMap, BTreeSet};

use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::clock_reading::ClockReading;
use crate::command_parser::{ParsedText, TelegramCommand, parse};
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::{Button, DeliveryState, RunningCommand};

/// What is older than this is not carried out, in milliseconds. A button is good for as long.
pub const COMMAND_EXPIRY_MS: u64 = 60_000;
/// A stranger is told of once in this time.
const UNAUTHORIZED_NOTICE_INTERVAL_MS: u64 = 3_600_000;
/// Strangers that are remembered; more within an hour are not told of.
const MAX_UNAUTHORIZED_USERS: usize = 100;
/// Questions that wait for an answer; the oldest gives way.
const MAX_PENDING_CONFIRMATIONS: usize = 20;
/// What of a text is repeated in records and answers.
const MAX_ECHO_CHARS: usize = 200;
const CONFIRM_PREFIX: &str = "confirm:";
const CANCEL_PREFIX: &str = "cancel:";

/// One update of Telegram's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its number: none is looked at twice.
    pub id: i64,
    /// What it brings.
    pub kind: UpdateKind,
}

/// What an update brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateKind {
    /// A text.
    Text {
        /// Who wrote it.
        user: i64,
        /// Where.
        chat: i64,
        /// Only that person and the bot are there.
        is_private: bool,
        /// When, by Telegram's clock.
        sent_at: UtcMs,
        /// It.
        text: String,
    },
    /// A button was pressed.
    ButtonPress {
        /// Who pressed it.
        user: i64,
        /// What Telegram calls this press: it waits for an answer.
        callback_id: String,
        /// Which button.
        data: String,
        /// Below which message, where that can still be told: chat and number.
        message: Option<(i64, i64)>,
    },
    /// What is no command whatever it is.
    Other,
}

/// Who may order, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandRules {
    /// These users.
    pub allowed_users: BTreeSet<i64>,
    /// In this chat, or with the bot alone.
    pub chat: i64,
    /// Our own name, if it is known.
    pub bot_name: Option<String>,
}

/// What follows from an update.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IntakeDecision {
    /// What to record before anything else.
    pub records: Vec<DeliveryRecord>,
    /// What to carry out then.
    pub command: Option<TelegramCommand>,
    /// Which press to answer, and how.
    pub callback_reply: Option<CallbackReply>,
}

/// How a press is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct CallbackReply {
    /// What Telegram calls it.
    pub callback_id: String,
    /// What the one who pressed is told.
    pub text: &'static str,
    /// The message whose buttons are of no use any more: chat and number.
    pub expired_message: Option<(i64, i64)>,
}

/// Why a press does nothing.
struct Denied {
    text: &'static str,
    /// Its buttons are of no use any more.
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

/// What this process remembers of those who talk to it.
#[derive(Default)]
pub struct CommandIntake {
    pending_confirmations: BTreeMap<i64, PendingConfirmation>,
    unauthorized_users: BTreeMap<i64, u64>,
}

impl CommandIntake {
    /// What follows from this update. Nothing if it was dealt with before.
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
        let mut heard = match &update.kind {
            UpdateKind::Other => IntakeDecision::default(),
            UpdateKind::Text {
                user,
                chat,
                is_private: private,
                sent_at: at,
                text,
            } => {
                let said = IncomingText {
                    update_id: update.id,
                    user: *user,
                    chat: *chat,
                    is_private: *private,
                    text,
                };
                self.process_text(&said, *at, rules, now)
            }
            UpdateKind::ButtonPress {
                user,
                callback_id: call,
                data,
                message: below,
            } => {
                let (question, said, is_spent) =
                    match self.take_confirmed(*user, data, rules, now.mono) {
                        Ok(question) => (Some(question), "It is being carried out", true),
                        Err(Denied {
                            text: said,
                            are_buttons_expired: is_spent,
                        }) => (None, said, is_spent),
                    };
                let press = CallbackReply {
                    callback_id: call.clone(),
                    text: said,
                    expired_message: below.filter(|_| is_spent),
                };
                callback_decision(*user, question, press)
            }
        };
        heard
            .records
            .insert(0, DeliveryRecord::UpdateProcessed { update: update.id });
        heard
    }

    fn process_text(
        &mut self,
        said: &IncomingText<'_>,
        at: UtcMs,
        rules: &CommandRules,
        now: ClockReading,
    ) -> IntakeDecision {
        let parsed = parse(said.text, rules.bot_name.as_deref());
        if parsed == ParsedText::ForAnotherBot
            || (parsed == ParsedText::NoCommand && !said.is_private)
        {
            return IntakeDecision::default();
        }
        if !rules.allowed_users.contains(&said.user) {
            return self.reject_unauthorized(said, now.mono);
        }
        if !said.is_private && said.chat != rules.chat {
            return IntakeDecision::default();
        }
        if now.utc.millis_since(at) > COMMAND_EXPIRY_MS {
            let late = "Too old, not executed: say it again if it still holds";
            return said.reply("⏳", late, "too old, not executed", now.utc);
        }
        match parsed {
            ParsedText::Command(order) => self.accept_command(said, order, now),
            ParsedText::Invalid(why) => said.reply("❔", &why, "not understood", now.utc),
            _ => said.reply(
                "❔",
                "That is no command: see /help",
                "not understood",
                now.utc,
            ),
        }
    }

    fn accept_command(
        &mut self,
        said: &IncomingText<'_>,
        order: TelegramCommand,
        now: ClockReading,
    ) -> IntakeDecision {
        let Some(question) = order.confirmation_question() else {
            return IntakeDecision {
                records: vec![started_record(said.user, said.chat, said.echo())],
                command: Some(order),
                callback_reply: None,
            };
        };
        if self.pending_confirmations.len() >= MAX_PENDING_CONFIRMATIONS {
            self.pending_confirmations.pop_first();
        }
        self.pending_confirmations.insert(
            said.update_id,
            PendingConfirmation {
                command: order,
                text: said.echo(),
                user: said.user,
                chat: said.chat,
                asked_at: now.mono,
            },
        );
        let button = |text: &str, word: &str| Button {
            text: text.to_owned(),
            data: format!("{word}{}", said.update_id),
        };
        let body =
            format!("{question}\nThe buttons are good for a minute, once, and for you alone");
        IntakeDecision {
            records: vec![
                said.finished_record("waits to be confirmed"),
                DeliveryRecord::Replied {
                    chat: said.chat,
                    notifications: reply_notification("❓ ARE YOU SURE?", body, now.utc).split(),
                    buttons: vec![
                        button("✅ Yes, do it", CONFIRM_PREFIX),
                        button("❌ No", CANCEL_PREFIX),
                    ],
                },
            ],
            ..IntakeDecision::default()
        }
    }

    /// What was asked with this button, if it may be done now; else what the one who pressed it is told.
    fn take_confirmed(
        &mut self,
        user: i64,
        data: &str,
        rules: &CommandRules,
        now: u64,
    ) -> Result<PendingConfirmation, Denied> {
        let (yes, number) = match (
            data.strip_prefix(CONFIRM_PREFIX),
            data.strip_prefix(CANCEL_PREFIX),
        ) {
            (Some(number), _) => (true, number),
            (_, Some(number)) => (false, number),
            _ => return Err(Denied::with_buttons_kept("That is no button of this bot's")),
        };
        let number: i64 = number.parse().unwrap_or(-1);
        let is_his = |question: &PendingConfirmation| {
            question.user == user && rules.allowed_users.contains(&user)
        };
        if self
            .pending_confirmations
            .get(&number)
            .is_some_and(|question| !is_his(question))
        {
            return Err(Denied::with_buttons_kept(
                "Only who gave the order can confirm it",
            ));
        }
        // Whatever it says, a button works once.
        let question = self.pending_confirmations.remove(&number);
        let question = question.ok_or(Denied::with_buttons_expired(
            "This button is spent: give the order again",
        ))?;
        if now.saturating_sub(question.asked_at) > COMMAND_EXPIRY_MS {
            return Err(Denied::with_buttons_expired(
                "Too late: give the order again",
            ));
        }
        if yes {
            Ok(question)
        } else {
            Err(Denied::with_buttons_expired("Nothing was done"))
        }
    }

    fn reject_unauthorized(&mut self, said: &IncomingText<'_>, now: u64) -> IntakeDecision {
        self.unauthorized_users
            .retain(|_, told| now.saturating_sub(*told) < UNAUTHORIZED_NOTICE_INTERVAL_MS);
        let is_new = !self.unauthorized_users.contains_key(&said.user);
        if !is_new || self.unauthorized_users.len() >= MAX_UNAUTHORIZED_USERS {
            return IntakeDecision::default();
        }
        self.unauthorized_users.insert(said.user, now);
        let records = vec![DeliveryRecord::UnauthorizedCommand {
            by: user_name(said.user),
            command: said.echo(),
        }];
        IntakeDecision {
            records,
            ..IntakeDecision::default()
        }
    }
}

/// What follows from a press: the order, if it confirms one.
fn callback_decision(
    user: i64,
    question: Option<PendingConfirmation>,
    press: CallbackReply,
) -> IntakeDecision {
    let press = Some(press);
    let Some(question) = question else {
        return IntakeDecision {
            callback_reply: press,
            ..IntakeDecision::default()
        };
    };
    let command = format!("{} (confirmed)", question.text);
    IntakeDecision {
        records: vec![started_record(user, question.chat, command)],
        command: Some(question.command),
        callback_reply: press,
    }
}

/// A text with where it comes from.
struct IncomingText<'a> {
    update_id: i64,
    user: i64,
    chat: i64,
    is_private: bool,
    text: &'a str,
}

impl IncomingText<'_> {
    /// It in one line of bounded length.
    fn echo(&self) -> String {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        words.join(" ").chars().take(MAX_ECHO_CHARS).collect()
    }

    fn finished_record(&self, outcome: &str) -> DeliveryRecord {
        DeliveryRecord::CommandFinished {
            by: user_name(self.user),
            command: self.echo(),
            result: outcome.to_owned(),
        }
    }

    fn reply(&self, sign: &str, body: &str, outcome: &str, at: UtcMs) -> IntakeDecision {
        let head = format!("{sign} {}", self.echo());
        let reply = DeliveryRecord::Replied {
            chat: self.chat,
            notifications: reply_notification(&head, body.to_owned(), at).split(),
            buttons: Vec::new(),
        };
        IntakeDecision {
            records: vec![self.finished_record(outcome), reply],
            ..IntakeDecision::default()
        }
    }
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// It was done, not done, or nobody knows.
    pub is_done: Option<bool>,
    /// In one line, for the record.
    pub result: String,
    /// What the owner is told.
    pub body: String,
    /// With the picture of what the accounts are worth.
    pub has_picture: bool,
}

/// The order under way has come to an end: what is recorded and answered.
pub fn finished_records(
    under_way: &RunningCommand,
    carried: CommandResult,
    at: UtcMs,
) -> Vec<DeliveryRecord> {
    let sign = match carried.is_done {
        Some(true) => "✅",
        Some(false) => "❌",
        None => "⚠️ OUTCOME UNKNOWN:",
    };
    let RunningCommand {
        by: who,
        chat,
        command,
    } = under_way;
    let head = format!("{sign} {command}");
    let letter = reply_notification(&head, carried.body, at);
    let letters = if carried.has_picture {
        letter.with_picture()
    } else {
        letter.split()
    };
    vec![
        DeliveryRecord::CommandFinished {
            by: who.clone(),
            command: command.clone(),
            result: carried.result,
        },
        DeliveryRecord::Replied {
            chat: *chat,
            notifications: letters,
            buttons: Vec::new(),
        },
    ]
}

/// The process before this one ended in the middle of an order: told, never repeated.
pub(crate) fn interrupted_records(under_way: &RunningCommand, at: UtcMs) -> Vec<DeliveryRecord> {
    let carried = CommandResult {
        is_done: None,
        result: "unknown: the notifier ended while it was carried out".to_owned(),
        body: "The notifier ended while this was carried out: it may have been done or not. It is not \
               repeated. Look: /status, then give the order again if it is needed"
            .to_owned(),
        has_picture: false,
    };
    finished_records(under_way, carried, at)
}

fn started_record(user: i64, chat: i64, command: String) -> DeliveryRecord {
    DeliveryRecord::CommandStarted {
        by: user_name(user),
        chat,
        command,
    }
}

/// Names can be changed and chosen; the number cannot.
fn user_name(user: i64) -> String {
    format!("Telegram user {user}")
}

fn reply_notification(head: &str, body: String, at: UtcMs) -> Notification {
    Notification {
        at,
        severity: Severity::Info,
        kind: "reply".to_owned(),
        title: head.to_owned(),
        body,
        has_picture: false,
    }
}
