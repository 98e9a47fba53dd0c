//! Faults that a test prepares for the next call.

use std::time::Duration;

/// Fault of one `sendMessage` or `sendPhoto`. The message itself is checked first, except with the first two faults.
#[derive(Debug, Clone)]
pub enum TelegramFault {
    /// The connection is closed without a response. The message is not shown.
    RefuseConnection,
    /// The response is a proxy's page with this status. The message is not shown.
    ServerError(u16),
    /// 429. The chat rejects every call for that time.
    TooManyRequests {
        /// Wait that the response names, in seconds.
        retry_after: u32,
    },
    /// 403: bot was blocked by the user.
    Blocked,
    /// 403: bot was kicked from the group chat.
    Kicked,
    /// 400: not enough rights.
    NoRights,
    /// 400: the text itself is rejected, as Telegram rejects an entity that it cannot parse.
    InvalidEntities,
    /// 400: chat not found.
    ChatNotFound,
    /// 400: the group became this supergroup, to which the bot may send. The old id stays invalid.
    Migrated {
        /// Id of the supergroup.
        to: i64,
    },
    /// The message is shown; then the connection is cut instead of a response.
    DropReply,
    /// The message is shown; the response is delayed by this time.
    DelayReply(Duration),
}
