//! Text forms of values that logs, messages and tables share.

use std::time::Duration;

use protocol::time::UtcMs;

/// A duration for people: 2.5s, 4m, 3h 20m, 2d 4h.
pub fn format_duration(ms: u64) -> String {
    let secs = Duration::from_millis(ms).as_secs();
    match secs {
        0..10 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        10..120 => format!("{secs}s"),
        120..7_200 => format!("{}m", secs / 60),
        7_200..172_800 => format!("{}h {}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d {}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// Seconds with one decimal place: `15.4`.
pub fn format_seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}

/// UTC to the second, without the zone: `2026-11-24T03:00:00`.
pub fn format_time(at: UtcMs) -> String {
    at.to_string().chars().take(19).collect()
}
