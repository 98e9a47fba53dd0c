//! Cause of a failed message with one sentence of help, for `notifier send-test`. Delivery depends on the outcome
//! alone.

use protocol::exit_code::ExitCode;

/// Cause of a failed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelegramError {
    /// 401: no bot has this token, or not any more.
    TokenRevoked,
    /// 404: the token is incomplete, or the URL has a wrong path.
    TokenUnknown,
    /// The chat does not exist, or the bot has never received a message from it.
    ChatUnknown,
    /// The user has blocked the bot, or never started it.
    Blocked,
    /// The bot is no longer a member of the group.
    Kicked,
    /// The bot is a member and may not write.
    NoRights,
    /// 403 for another reason.
    Forbidden,
    /// The group became a supergroup with this id.
    ChatMigrated(i64),
    /// 429, with the wait in seconds if Telegram names one.
    RateLimited(Option<u64>),
    /// No connection: nothing was sent.
    NotConnected,
    /// No response on an open connection: the message may have been sent.
    NoResponse,
    /// The response is not Telegram's.
    NotTelegram,
    /// Telegram failed (5xx): the message may have been sent.
    ServerError,
    /// Telegram rejects the message for its content.
    MessageRejected,
}

impl TelegramError {
    /// Cause by status and description of a response.
    pub fn from_response(status: u16, description: &str, retry_after: Option<u64>) -> Self {
        let description = description.to_lowercase();
        let contains = |texts: &[&str]| texts.iter().any(|text| description.contains(text));
        match status {
            401 => Self::TokenRevoked,
            404 => Self::TokenUnknown,
            429 => Self::RateLimited(retry_after),
            403 if contains(&["kicked", "not a member"]) => Self::Kicked,
            403 if contains(&["blocked", "can't initiate", "deactivated"]) => Self::Blocked,
            403 => Self::Forbidden,
            _ if contains(&["rights", "chat_write_forbidden", "topic_closed"]) => Self::NoRights,
            400 if contains(&[
                "chat not found",
                "chat_id",
                "chat identifier",
                "peer_id_invalid",
            ]) =>
            {
                Self::ChatUnknown
            }
            500.. => Self::ServerError,
            _ => Self::MessageRejected,
        }
    }

    /// Whether the chat is the cause.
    pub const fn concerns_chat(self) -> bool {
        matches!(
            self,
            Self::ChatUnknown | Self::Blocked | Self::Kicked | Self::NoRights | Self::Forbidden
        )
    }

    /// What to do about the cause, in one sentence.
    pub fn help(self) -> String {
        let help = match self {
            Self::TokenRevoked => {
                "No bot has this token: ask @BotFather for the current one (/token) and set TELEGRAM_BOT_TOKEN"
            }
            Self::TokenUnknown => {
                "Telegram knows no bot behind this address: copy the whole token from @BotFather, and leave \
                 TELEGRAM_API_URL unset unless you run your own Bot API server"
            }
            Self::ChatUnknown => {
                "Write to the bot once from that chat (or add it to the group), then set TELEGRAM_CHAT_ID to \
                 the id that getUpdates shows; the id of a group is negative"
            }
            Self::Blocked => "Open the chat with the bot in Telegram and press Start (or Unblock)",
            Self::Kicked => "Add the bot to the group again",
            Self::NoRights => {
                "Let the bot write: in the group's or channel's settings give it the right to send messages"
            }
            Self::Forbidden => {
                "Telegram does not let the bot write to this chat: start the bot there, or add it"
            }
            Self::ChatMigrated(to) => {
                return format!("The group has a new id: set TELEGRAM_CHAT_ID={to}");
            }
            Self::RateLimited(Some(secs)) => {
                return format!("Too many messages: wait {secs} s, then try again");
            }
            Self::RateLimited(None) => "Too many messages: wait a minute, then try again",
            Self::NotConnected => {
                "Nothing was sent: check the internet connection (DNS, firewall, proxy) and TELEGRAM_API_URL"
            }
            Self::NoResponse => "The message may have arrived: check the chat before you try again",
            Self::NotTelegram => {
                "Another server answers there: leave TELEGRAM_API_URL unset, and check for a proxy or a login page"
            }
            Self::ServerError => {
                "Telegram has an internal error; the message may have arrived: try again in a few minutes"
            }
            Self::MessageRejected => "Telegram rejects this text: try another one",
        };
        help.to_owned()
    }

    /// 69 if waiting may help, 78 if the operator has to correct something.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Self::RateLimited(_) | Self::NotConnected | Self::NoResponse | Self::ServerError => {
                ExitCode::Unavailable
            }
            _ => ExitCode::Config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telegram_error_is_recognized_by_status_and_description() {
        let table = [
            (401, "Unauthorized", TelegramError::TokenRevoked),
            (404, "Not Found", TelegramError::TokenUnknown),
            (
                400,
                "Bad Request: chat not found",
                TelegramError::ChatUnknown,
            ),
            (
                400,
                "Bad Request: chat_id is empty",
                TelegramError::ChatUnknown,
            ),
            (
                400,
                "Bad Request: not enough rights to send text messages to the chat",
                TelegramError::NoRights,
            ),
            (
                400,
                "Bad Request: need administrator rights in the channel chat",
                TelegramError::NoRights,
            ),
            (
                403,
                "Forbidden: bot was blocked by the user",
                TelegramError::Blocked,
            ),
            (
                403,
                "Forbidden: bot can't initiate conversation with a user",
                TelegramError::Blocked,
            ),
            (
                403,
                "Forbidden: bot was kicked from the group chat",
                TelegramError::Kicked,
            ),
            (
                403,
                "Forbidden: bot is not a member of the channel chat",
                TelegramError::Kicked,
            ),
            (403, "Forbidden: something new", TelegramError::Forbidden),
            (
                429,
                "Too Many Requests: retry after 4",
                TelegramError::RateLimited(Some(4)),
            ),
            (500, "Internal Server Error", TelegramError::ServerError),
            (
                400,
                "Bad Request: message is too long",
                TelegramError::MessageRejected,
            ),
        ];
        for (status, description, expected) in table {
            assert_eq!(
                TelegramError::from_response(status, description, Some(4)),
                expected,
                "{description}"
            );
        }
    }
}
