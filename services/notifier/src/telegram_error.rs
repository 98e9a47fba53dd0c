//! What is wrong when a message did not get to the chat, and the one sentence that helps. For people: how
//! delivery goes on is decided by the outcome alone.

use protocol::exit_code::ExitCode;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelegramError {
    /// 401: no bot has this token (any more).
    TokenRevoked,
    /// 404: Telegram has no such page, so the token is not whole, or the address has a wrong path.
    TokenUnknown,
    /// The chat does not exist, or this bot has never seen it.
    ChatUnknown,
    /// The person has blocked the bot, or never started it.
    Blocked,
    /// The bot is no longer a member of the group.
    Kicked,
    /// The bot is a member and may not write.
    NoRights,
    /// 403 for another reason.
    Forbidden,
    /// The group became a supergroup, which has another number.
    ChatMigrated(i64),
    /// 429, with the seconds to wait where Telegram says them.
    RateLimited(Option<u64>),
    /// No connection: nothing was sent.
    NotConnected,
    /// The connection stood, and no answer came: it may have been sent.
    NoResponse,
    /// Whoever answered is not Telegram.
    NotTelegram,
    /// 5xx.
    ServerError,
    /// Another refusal.
    MessageRejected,
}

impl TelegramError {
    /// Which one a refusal is, by status and Telegram's words.
    pub fn from_response(status: u16, description: &str, retry_after: Option<u64>) -> Self {
        let said = description.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        match status {
            401 => Self::TokenRevoked,
            404 => Self::TokenUnknown,
            429 => Self::RateLimited(retry_after),
            403 if says(&["kicked", "not a member"]) => Self::Kicked,
            403 if says(&["blocked", "can't initiate", "deactivated"]) => Self::Blocked,
            403 => Self::Forbidden,
            _ if says(&["rights", "chat_write_forbidden", "topic_closed"]) => Self::NoRights,
            400 if says(&[
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

    /// The chat, and nothing else, is the reason.
    pub const fn concerns_chat(self) -> bool {
        matches!(
            self,
            Self::ChatUnknown | Self::Blocked | Self::Kicked | Self::NoRights | Self::Forbidden
        )
    }

    /// What a person, or time, has to do about it.
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
                 the number that getUpdates shows; a group's is negative"
            }
            Self::Blocked => "Open the chat with the bot in Telegram and press Start (or Unblock)",
            Self::Kicked => "Add the bot to the group again",
            Self::NoRights => {
                "Let the bot write: in the group's or channel's settings give it the right to send messages"
            }
            Self::Forbidden => {
                "Telegram lets this bot not write to this chat: start it there, or add it"
            }
            Self::ChatMigrated(to) => {
                return format!("The group has another number now: set TELEGRAM_CHAT_ID={to}");
            }
            Self::RateLimited(Some(secs)) => {
                return format!("Too many messages: wait {secs} s, then try again");
            }
            Self::RateLimited(None) => "Too many messages: wait a minute, then try again",
            Self::NotConnected => {
                "Nothing was sent: check this machine's way to the internet (DNS, firewall, proxy) and \
                 TELEGRAM_API_URL"
            }
            Self::NoResponse => {
                "It may have arrived all the same: look into the chat before you try again"
            }
            Self::NotTelegram => {
                "Something else than Telegram answers there: leave TELEGRAM_API_URL unset, and check for a \
                 proxy or a login page in between"
            }
            Self::ServerError => {
                "Telegram has trouble of its own; it may have arrived all the same: try again in a few minutes"
            }
            Self::MessageRejected => "Telegram does not take this text: try another one",
        };
        help.to_owned()
    }

    /// 69 where waiting may help, 78 where a person must mend something.
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
        for (status, words, expected) in table {
            assert_eq!(
                TelegramError::from_response(status, words, Some(4)),
                expected,
                "{words}"
            );
        }
    }
}
