//! Ids of the notifications that the notifier makes by itself. State and policies read facts off them.

pub(crate) const SUMMARY: &str = "summary:";
pub(crate) const WATCHDOG_LOST: &str = "watchdog-lost:";
pub(crate) const WATCHDOG_BLIND: &str = "watchdog-blind:";
pub(crate) const WATCHDOG_RECOVERED: &str = "watchdog-recovered:";

/// Period of a summary; `None` for the id of any other event.
pub(crate) fn summary_period(event: &str) -> Option<u64> {
    event.strip_prefix(SUMMARY)?.parse().ok()
}

/// Last heartbeat before a reported watchdog outage, after this event: set by its begin, cleared by its end.
pub(crate) fn watchdog_lost_after(event: &str, before: Option<String>) -> Option<String> {
    match event.strip_prefix(WATCHDOG_LOST) {
        Some(heartbeat) => Some(heartbeat.to_owned()),
        None if event.starts_with(WATCHDOG_RECOVERED) => None,
        None => before,
    }
}
