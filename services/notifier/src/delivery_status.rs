//! State of delivery that the dispatcher publishes to other tasks of the process.

use protocol::time::UtcMs;

/// Name of the dispatcher in heartbeats.
pub const COMPONENT: &str = "dispatcher";

/// State of delivery after an iteration of the dispatcher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Whether a watchdog heartbeat arrived within its timeout.
    pub is_watchdog_alive: bool,
    /// Time at which the oldest critical notification was queued that Telegram has not accepted; `None` without one.
    pub oldest_critical_at: Option<UtcMs>,
    /// Whether the last call to Telegram delivered.
    pub last_delivery_succeeded: bool,
    /// Id of the chat that receives messages; `None` without Telegram.
    pub chat: Option<i64>,
}
