//! The channel to the operator: Telegram, or the log of this process without a token.

use std::collections::BTreeSet;

use notifier_core::command_hints::CommandHints;
use notifier_core::decide::Audience;
use notifier_core::message::Message;
use notifier_core::model::Outcome;
use notifier_core::send_limiter::SendLimits;
use runtime::process::ExitError;

use crate::config::Bot;
use crate::telegram::Telegram;

/// Log directive that keeps messages to the operator in the log, whatever `LOG_LEVEL` is.
pub const LOG_DIRECTIVE: &str = "operator=info";

/// The channel to the operator.
#[derive(Clone)]
pub enum Channel {
    /// A bot with its configuration.
    Telegram(Telegram, Bot),
    /// The log of this process.
    Log,
}

impl Channel {
    /// Channel of this bot; the log without a bot.
    ///
    /// # Errors
    /// Exit 70 if TLS cannot be initialized.
    pub fn new(bot: Option<Bot>) -> Result<Self, ExitError> {
        match bot {
            Some(bot) => Ok(Self::Telegram(Telegram::new(&bot)?, bot)),
            None => Ok(Self::Log),
        }
    }

    /// Checks that Telegram accepts token and chat.
    ///
    /// # Errors
    /// Exit 78 with Telegram's error if not.
    pub async fn check(&self) -> Result<(), ExitError> {
        match self {
            Self::Telegram(telegram, bot) => telegram.check(bot.chat).await,
            Self::Log => Ok(()),
        }
    }

    /// Highest rate of messages.
    pub const fn limits(&self) -> SendLimits {
        match self {
            Self::Telegram(_, bot) => bot.limits,
            Self::Log => SendLimits::NONE,
        }
    }

    /// Bot that receives commands, and the users who may give them; `None` if commands are not accepted.
    pub fn command_source(&self) -> Option<(&Telegram, &BTreeSet<i64>)> {
        match self {
            Self::Telegram(telegram, bot) if !bot.allowed_users.is_empty() => {
                Some((telegram, &bot.allowed_users))
            }
            Self::Telegram(..) | Self::Log => None,
        }
    }

    /// Id of the configured chat; `None` for the log.
    pub const fn chat(&self) -> Option<i64> {
        match self {
            Self::Telegram(_, bot) => Some(bot.chat),
            Self::Log => None,
        }
    }

    /// Readers of notifications in this chat, and the commands that notifications may name.
    pub fn audience(&self, chat: Option<i64>) -> Audience {
        Audience {
            chat,
            hints: CommandHints {
                telegram: self.command_source().is_some(),
            },
        }
    }

    /// Name of the channel for the log.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Telegram(..) => "telegram",
            Self::Log => "this log (TELEGRAM_BOT_TOKEN is not set)",
        }
    }

    /// Sends one message once, with the PNG if there is one. `chat` is the id of the chat after a migration; `None` for
    /// the configured one.
    pub async fn send(&self, chat: Option<i64>, message: &Message, png: Option<&[u8]>) -> Outcome {
        match self {
            Self::Telegram(telegram, bot) => {
                let chat = chat.unwrap_or(bot.chat);
                telegram.send(chat, message, png).await
            }
            Self::Log => {
                tracing::info!(target: "operator", "message to the operator:\n{}", message.text);
                Outcome::Delivered { message_id: None }
            }
        }
    }
}
