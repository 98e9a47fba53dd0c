//! Failures that a test prepares for the next call.

use std::time::Duration;

/// What a `sendMessage` can meet. The message itself is judged first, except by the first two.
#[derive(Debug, Clone)]
pub enum TelegramFault {
    /// The connection is closed, and no answer comes. The message is not shown.
    RefuseConnection,
    /// This status with a proxy's page instead of JSON. The message is not shown.
    ServerError(u16),
    /// 429. The chat is closed for so long, to every call.
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
    /// 400: the text itself is at fault. The real one says this of an entity it can not make out.
    InvalidEntities,
    /// 400: chat not found.
    ChatNotFound,
    /// 400: the group is now this supergroup, which the bot can send to. The old id stays refused.
    Migrated {
        /// Id of the supergroup.
        to: i64,
    },
    /// The message is shown, then the connection is cut instead of an answer.
    DropReply,
    /// The message is shown, the answer comes this much later.
    DelayReply(Duration),
}
