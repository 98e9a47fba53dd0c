//! Where messages go: to Telegram, or, without a token, to this process's log.

use std::collections::BTreeSet;

use notifier_core::decide::Outcome;
use notifier_core::message::Message;
use notifier_core::send_limiter::SendLimits;
use runtime::process::ExitError;

use crate::settings::{Bot, Settings};
use crate::telegram::Telegram;

/// The way to the owner.
#[derive(Clone)]
pub enum Channel {
    /// A bot, and the chat that was set.
    Telegram(Telegram, Bot),
    /// For whoever reads it.
    Log,
}

impl Channel {
    /// As the settings say.
    ///
    /// # Errors
    /// Exit 78 naming the setting.
    pub fn new(settings: &Settings) -> Result<Self, ExitError> {
        match settings.bot()? {
            Some(bot) => Ok(Self::Telegram(Telegram::new(&bot)?, bot)),
            None => Ok(Self::Log),
        }
    }

    /// Whether what is set will do.
    ///
    /// # Errors
    /// Exit 78 in Telegram's words if not.
    pub async fn check(&self) -> Result<(), ExitError> {
        match self {
            Self::Telegram(telegram, bot) => telegram.check(bot.chat).await,
            Self::Log => Ok(()),
        }
    }

    /// How fast it takes messages.
    pub const fn limits(&self) -> SendLimits {
        match self {
            Self::Telegram(_, bot) => bot.limits,
            Self::Log => SendLimits::NONE,
        }
    }

    /// The bot that hears the owner, and who may give it orders; none for a log, or where nobody may.
    pub fn command_source(&self) -> Option<(&Telegram, &BTreeSet<i64>)> {
        match self {
            Self::Telegram(telegram, bot) if !bot.allowed_users.is_empty() => {
                Some((telegram, &bot.allowed_users))
            }
            Self::Telegram(..) | Self::Log => None,
        }
    }

    /// The chat that was set; none for a log.
    pub const fn chat(&self) -> Option<i64> {
        match self {
            Self::Telegram(_, bot) => Some(bot.chat),
            Self::Log => None,
        }
    }

    /// In words, for the log.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Telegram(..) => "telegram",
            Self::Log => "this log (TELEGRAM_BOT_TOKEN is not set)",
        }
    }

    /// Sends one message, once; with this PNG if there is one. `current_chat`: where the one that was set has moved to.
    pub async fn send(&self, chat: Option<i64>, message: &Message, png: Option<&[u8]>) -> Outcome {
        match self {
            Self::Telegram(telegram, bot) => {
                let chat = chat.unwrap_or(bot.chat);
                telegram.send(chat, message, png).await
            }
            Self::Log => {
                tracing::info!("to the owner:\n{}", message.text);
                Outcome::Delivered { message_id: None }
            }
        }
    }
}
