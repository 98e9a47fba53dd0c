//! What is recorded with a failure: the end of the log, the exit, the last heartbeats. Bounded, and without secrets.

use std::collections::VecDeque;

use protocol::duration::format_ms;
use protocol::redact::redact;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Run};
use crate::liveness::{HeartbeatSample, Liveness};

/// Log lines that are kept, counted from the end.
pub const MAX_LOG_LINES: usize = 20;
/// Total length of the log lines that are kept, in bytes.
pub const MAX_LOG_BYTES: usize = 4_096;
/// Heartbeats that are kept.
const MAX_HEARTBEATS: usize = 3;

/// Evidence of one failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The end of the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Error of reading the log. `None` if the log was read, or not read yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_error: Option<String>,
    /// Killed by the kernel for lack of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// Exit code. `None` if the run has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Start of the run by Docker's clock. `None` if the run has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UtcMs>,
    /// End of the run by Docker's clock. `None` if the run has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<UtcMs>,
    /// The last heartbeats as text, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heartbeats: Vec<String>,
    /// The last error that a heartbeat reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Evidence {
    /// The evidence from everything observed about a run. `mono` is the time of the failure.
    pub fn collect(
        container: Option<&Container>,
        log_tail: Option<&LogTail>,
        recent_heartbeats: &RecentHeartbeats,
        liveness: Option<&Liveness>,
        mono: u64,
    ) -> Self {
        let exit = container.and_then(Container::exit);
        let ended = container.zip(exit).map(|(container, exit)| {
            let uptime = std::time::Duration::from_millis(exit.uptime_ms);
            (container.start_time, container.start_time.plus(uptime))
        });
        let log = log_tail.map(|log_tail| log_tail.log.clone());
        let (log, log_error) = match log {
            Some(Ok(lines)) => (lines, None),
            Some(Err(error)) => (Vec::new(), Some(error)),
            None => (Vec::new(), None),
        };
        let error = liveness.and_then(|liveness| liveness.heartbeat.last_error.as_deref());
        Self {
            log,
            log_error,
            oom_killed: exit.is_some_and(|exit| exit.oom_killed),
            exit_code: exit.map(|exit| exit.code),
            started_at: ended.map(|(started, _)| started),
            finished_at: ended.map(|(_, finished)| finished),
            heartbeats: recent_heartbeats.describe(mono),
            last_error: error.map(redact),
        }
    }

    /// The best description of the failure: the last one of the heartbeats, else the last line of the log.
    pub fn error_line(&self) -> Option<&str> {
        let last_error = self.last_error.as_deref();
        last_error.or_else(|| last_error_line(&self.log))
    }

    /// The line that names an invalid setting or argument: the last line of the log, else the last reported error.
    pub fn settings_error(&self) -> Option<&str> {
        last_error_line(&self.log).or(self.last_error.as_deref())
    }

    /// The evidence line by line, for `watchdog history`.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let (Some(exit), Some(started), Some(finished)) =
            (self.exit_code, self.started_at, self.finished_at)
        {
            let oom = if self.oom_killed {
                ", out of memory"
            } else {
                ""
            };
            lines.push(format!(
                "exit {exit}{oom}; ran from {started} to {finished}"
            ));
        }
        lines.extend(self.heartbeats.iter().cloned());
        lines.extend(
            self.log_error
                .iter()
                .map(|error| format!("log not read: {error}")),
        );
        lines.extend(self.log.iter().map(|line| format!("| {line}")));
        lines
    }
}

/// The end of the log of a run, or the error of reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTail {
    /// Run that wrote the log.
    pub run: Run,
    /// Bounded lines without secrets, or the error of reading them.
    log: Result<Vec<String>, String>,
}

impl LogTail {
    /// The lines and the error of reading them. `None` if the run wrote nothing.
    pub fn to_parts(&self) -> Option<(Vec<String>, Option<String>)> {
        match &self.log {
            Ok(lines) if lines.is_empty() => None,
            Ok(lines) => Some((lines.clone(), None)),
            Err(error) => Some((Vec::new(), Some(error.clone()))),
        }
    }

    /// The end of `text`, bounded and redacted.
    pub fn new(run: Run, text: Result<&str, String>) -> Self {
        let log = text.map(tail_lines);
        Self { run, log }
    }
}

/// The last line of a log. `None` if its level is below a warning: the level is the second field in the services' text
/// format, or the field `level` in JSON.
pub fn last_error_line(log: &[String]) -> Option<&str> {
    let last = log.last()?;
    let is_at = |level: &&str| {
        last.split_whitespace().nth(1) == Some(level)
            || last.starts_with('{') && last.contains(&format!(r#""level":"{level}""#))
    };
    let is_below_warning = ["INFO", "DEBUG", "TRACE"].iter().any(is_at);
    (!is_below_warning).then_some(last)
}

/// The last lines that fit, redacted. A line that is too long is cut.
fn tail_lines(text: &str) -> Vec<String> {
    let mut room = MAX_LOG_BYTES;
    let mut lines = VecDeque::new();
    // The whole text: a private key has many lines.
    let text = redact(text);
    let written_lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    for line in written_lines.rev().take(MAX_LOG_LINES) {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let cut = line.floor_char_boundary(room.min(line.len()));
        if cut == 0 {
            break;
        }
        room -= cut;
        lines.push_front(line[..cut].to_owned());
    }
    lines.into()
}

/// The last heartbeats of a run, each with the time of its reception.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentHeartbeats(VecDeque<(u64, String)>);

impl RecentHeartbeats {
    /// Adds a heartbeat and drops the oldest if there are too many.
    pub fn push(&mut self, heartbeat: &HeartbeatSample, received_at: u64) {
        if self.0.len() >= MAX_HEARTBEATS {
            self.0.pop_front();
        }
        self.0
            .push_back((received_at, redact(&heartbeat.describe())));
    }

    fn describe(&self, mono: u64) -> Vec<String> {
        let line = |(received_at, text): &(u64, String)| {
            let age = format_ms(mono.saturating_sub(*received_at));
            format!("heartbeat {age} before the failure: {text}")
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_lines(text: &str) -> Vec<String> {
        let run = Run {
            container: "c".to_owned(),
            started_at: "s".to_owned(),
        };
        LogTail::new(run, Ok(text)).log.unwrap()
    }

    #[test]
    fn log_line_below_warning_is_not_an_error_line() {
        let complaint = |line: &str| last_error_line(&log_lines(line)).map(str::to_owned);
        for line in [
            "2026-11-29T06:51:47Z  INFO market stream connected",
            "2026-11-29T06:51:47Z DEBUG docker event",
            r#"{"timestamp":"2026-11-29T06:51:47Z","level":"INFO","message":"connected"}"#,
        ] {
            assert_eq!(complaint(line), None);
        }
        for line in [
            "2026-11-29T06:51:47Z ERROR connection refused",
            "2026-11-29T06:51:47Z  WARN no candle",
            "trader: SYMBOLS=\"X\": INFO is no symbol",
            r#"{"timestamp":"2026-11-29T06:51:47Z","level":"ERROR","message":"INFO"}"#,
        ] {
            assert_eq!(complaint(line).as_deref(), Some(line));
        }
    }

    #[test]
    fn log_tail_is_redacted_and_bounded() {
        let text: Vec<String> = (0..100)
            .map(|n| format!("line {n} TOKEN=secret\r\n"))
            .collect();
        let text = text.concat();
        let kept = log_lines(&text);
        assert_eq!(kept.len(), MAX_LOG_LINES);
        assert_eq!(kept[19], "line 99 TOKEN=***");
        let long = "ü".repeat(3_000);
        let kept = log_lines(&format!("first\n{long}\nlast"));
        assert_eq!(kept.len(), 2, "the first has no room");
        assert!(kept.iter().map(String::len).sum::<usize>() <= MAX_LOG_BYTES);
        assert_eq!(log_lines("\n\n"), Vec::<String>::new());
    }
}
