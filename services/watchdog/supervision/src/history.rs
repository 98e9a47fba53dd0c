//! Facts in words, for `history`: what was done about a unit, and what was found before it.

use std::time::Duration;

use crate::record::{EndedWhy, Fact, Restart, StartedBy};

/// A fact in one line; what was found before it in more.
pub fn words(fact: &Fact) -> Vec<String> {
    let line = match fact {
        Fact::PolicyRead(policy) => format!(
            "flags read: auto-restart {}, at most {} restarts, {} s between them",
            on_off(policy.auto_restart),
            policy.max_restarts,
            policy.restart_delay
        ),
        Fact::PolicyUnreadable { why, .. } => format!("flags not understood: {why}"),
        Fact::Started { by, .. } => started(*by).to_owned(),
        Fact::Healthy { after_ms: None, .. } => "healthy".to_owned(),
        Fact::Healthy {
            after_ms: Some(ms), ..
        } => format!("healthy again after {}", span(*ms)),
        Fact::FailuresForgiven { healthy_ms } => {
            format!(
                "healthy for {}: earlier failures count no more",
                span(*healthy_ms)
            )
        }
        Fact::StopIntended { reason, .. } => format!("stop: {reason}"),
        Fact::HangObserved { reason, .. } => format!("only observed: {reason}"),
        Fact::RestartScheduled(restart) => scheduled(restart),
        Fact::StartIntended { .. } => "start".to_owned(),
        Fact::Quarantined {
            reason,
            restarts,
            consecutive,
            ..
        } => format!("given up: {reason}; {restarts} restarts, {consecutive} failures in a row"),
        Fact::Stopped { exit, by, .. } => format!(
            "stopped by {} (exit {exit})",
            by.as_deref().unwrap_or("a person")
        ),
        Fact::Ended { exit, why, .. } => format!("ended with exit {exit}: {}", ended(*why)),
        Fact::Ordered { order, by } => format!("{by} ordered: {}", order.as_str()),
        Fact::Held { by, why } => format!("held by {by}: {why}"),
        Fact::Released { by, total: false } => format!("released by {by}"),
        Fact::Released { by, total: true } => format!("released by {by}, restarts from zero"),
        Fact::CriticalForLong { for_ms, why } => {
            format!("critical for {}: {why}", span(*for_ms))
        }
        Fact::CriticalNoMore => "no longer critical".to_owned(),
        Fact::LatchKnown(latch) => format!("account {} is latched by {}", latch.account, latch.id),
        Fact::Unlatched { latch, by, why } => {
            format!("{by} ended latch {}: {why}; it may start", latch.id)
        }
        Fact::WordsFound { .. } => "what it had said before that".to_owned(),
        Fact::Gone => "its container was removed".to_owned(),
    };
    std::iter::once(line).chain(found(fact)).collect()
}

fn scheduled(restart: &Restart) -> String {
    format!(
        "restart {}/{} in {}: {}; {} in a row, ran {}",
        restart.attempt,
        restart.max,
        span(restart.delay_ms),
        restart.reason,
        restart.consecutive,
        span(restart.uptime_ms)
    )
}

fn found(fact: &Fact) -> Vec<String> {
    if let Fact::WordsFound {
        log, log_unread, ..
    } = fact
    {
        let unread = log_unread.iter().map(|why| format!("log not read: {why}"));
        return unread
            .chain(log.iter().map(|line| format!("| {line}")))
            .collect();
    }
    let (evidence, found) = match fact {
        Fact::RestartScheduled(restart) => (restart.evidence.as_ref(), restart.found.as_ref()),
        Fact::Quarantined { found, .. } => (None, found.as_ref()),
        _ => (None, None),
    };
    match found {
        Some(found) => found.words(),
        None => evidence.into_iter().cloned().collect(),
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

const fn started(by: StartedBy) -> &'static str {
    match by {
        StartedBy::Found => "found running",
        StartedBy::Watchdog => "runs, started by the watchdog",
        StartedBy::Person => "runs, started by a person",
    }
}

/// Why an end is not answered, in words.
pub const fn ended(why: EndedWhy) -> &'static str {
    match why {
        EndedWhy::Finished => "its work is done",
        EndedWhy::BeforeWatch => "before anybody watched",
        EndedWhy::NoAutoRestart => "not restarted without --auto-restart",
        EndedWhy::NoPolicy => "its flags are unknown, so it is not restarted",
        EndedWhy::Held => "it is held, so it is not restarted before its release",
        EndedWhy::NotStarted => "the engine did not start it",
    }
}

/// A span for people: 2.5s, 4m, 3h 20m, 2d 4h.
pub fn span(ms: u64) -> String {
    let secs = Duration::from_millis(ms).as_secs();
    match secs {
        0..10 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        10..120 => format!("{secs}s"),
        120..7_200 => format!("{}m", secs / 60),
        7_200..172_800 => format!("{}h {}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d {}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}
