//! The wall clock: the one place that reads it. Brains get time with each event.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::time::UtcMs;

/// Wall-clock time now, UTC.
pub fn now() -> UtcMs {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UtcMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
