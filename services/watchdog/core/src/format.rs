//! Text form of times in logs, messages and tables.

use protocol::time::UtcMs;

/// UTC to the second, without the zone: `2026-11-24T03:00:00`.
pub fn format_time(at: UtcMs) -> String {
    at.to_string().chars().take(19).collect()
}
