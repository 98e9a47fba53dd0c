//! Configuration of the channels, as the settings build it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use notifier_core::send_limiter::SendLimits;
use secrecy::SecretString;

use crate::secret_url::SecretUrl;

/// A bot and the chat that it writes to.
#[derive(Clone)]
pub struct Bot {
    /// Token of the bot.
    pub token: SecretString,
    /// Id of the configured chat.
    pub chat: i64,
    /// URL of the Bot API without a trailing slash.
    pub api_url: String,
    /// Highest rate of messages.
    pub limits: SendLimits,
    /// Ids of the users who may give commands; no one if empty.
    pub allowed_users: BTreeSet<i64>,
}

/// Format of a message to the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackFormat {
    /// JSON for any webhook.
    Webhook,
    /// Headers and text of ntfy: <https://docs.ntfy.sh/publish/>.
    Ntfy,
}

impl fmt::Display for FallbackFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Webhook => "webhook",
            Self::Ntfy => "ntfy",
        })
    }
}

/// Address and format of the fallback.
#[derive(Debug, Clone)]
pub struct FallbackConfig {
    /// URL that receives critical notifications.
    pub url: SecretUrl,
    /// Format of a message.
    pub format: FallbackFormat,
}

/// Address and interval of the dead man's switch.
#[derive(Debug, Clone)]
pub struct DeadManConfig {
    /// URL that receives pings.
    pub url: SecretUrl,
    /// Time between two pings.
    pub interval: Duration,
}
