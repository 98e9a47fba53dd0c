//! What is found before a decision and kept with it: the end of the log, the exit, the last heartbeats.
//! Bounded, and without secrets.

use std::collections::VecDeque;

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Run};
use crate::mask::mask;
use crate::pulse::{Beat, Pulse};
use crate::record::Fact;

/// Lines of a log that are kept: the last.
pub const LINES: usize = 20;
/// Bytes of all of them together.
pub const BYTES: usize = 4_096;
/// Heartbeats that are kept.
const BEATS: usize = 3;

/// Everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The end of its log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_unread: Option<String>,
    /// The kernel killed it for lack of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom: bool,
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i64>,
    /// When it was started, by the engine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<UtcMs>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<UtcMs>,
    /// Its last heartbeats, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beats: Vec<String>,
    /// What the newest said of errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Found {
    /// Puts together what was seen.
    pub fn of(
        here: Option<&Container>,
        words: Option<&LastWords>,
        beats: &LastBeats,
        pulse: Option<&Pulse>,
        mono: u64,
    ) -> Self {
        let exit = here.and_then(Container::exit);
        let ended = here.zip(exit).map(|(here, exit)| {
            let uptime = std::time::Duration::from_millis(exit.uptime_ms);
            (here.began, here.began.plus(uptime))
        });
        let log = words.map(|words| words.log.clone());
        let (log, log_unread) = match log {
            Some(Ok(lines)) => (lines, None),
            Some(Err(why)) => (Vec::new(), Some(why)),
            None => (Vec::new(), None),
        };
        let error = pulse.and_then(|pulse| pulse.beat.last_error.as_deref());
        Self {
            log,
            log_unread,
            oom: exit.is_some_and(|exit| exit.oom),
            exit: exit.map(|exit| exit.code),
            started: ended.map(|(started, _)| started),
            finished: ended.map(|(_, finished)| finished),
            beats: beats.words(mono),
            last_error: error.map(mask),
        }
    }

    /// What it said of what went wrong: in its heartbeats, else in its log.
    pub fn complaint(&self) -> Option<&str> {
        let said = self.last_error.as_deref();
        said.or_else(|| complaint_in(&self.log))
    }

    /// For people, line by line.
    pub fn words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let (Some(exit), Some(started), Some(finished)) =
            (self.exit, self.started, self.finished)
        {
            let oom = if self.oom { ", out of memory" } else { "" };
            lines.push(format!(
                "exit {exit}{oom}; ran from {started} to {finished}"
            ));
        }
        lines.extend(self.beats.iter().cloned());
        lines.extend(
            self.log_unread
                .iter()
                .map(|why| format!("log not read: {why}")),
        );
        lines.extend(self.log.iter().map(|line| format!("| {line}")));
        lines
    }
}

/// The end of a run's log, or why it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    /// Of which run.
    pub run: Run,
    /// Bounded, without secrets.
    log: Result<Vec<String>, String>,
}

impl LastWords {
    /// As a record of its own; none if it said nothing.
    pub fn record(&self) -> Option<Fact> {
        let run = self.run.clone();
        let (log, log_unread) = match &self.log {
            Ok(lines) if lines.is_empty() => return None,
            Ok(lines) => (lines.clone(), None),
            Err(why) => (Vec::new(), Some(why.clone())),
        };
        Some(Fact::WordsFound {
            run,
            log,
            log_unread,
        })
    }

    /// From the text of a log.
    pub fn new(run: Run, text: Result<&str, String>) -> Self {
        let log = text.map(last_lines);
        Self { run, log }
    }
}

/// The last line of a log, unless it only tells what the process did: a level below a warning, as our services write
/// it, is its second word, or a field in JSON.
pub fn complaint_in(log: &[String]) -> Option<&str> {
    let last = log.last()?;
    let is_at = |level: &&str| {
        last.split_whitespace().nth(1) == Some(level)
            || last.starts_with('{') && last.contains(&format!(r#""level":"{level}""#))
    };
    let calm = ["INFO", "DEBUG", "TRACE"].iter().any(is_at);
    (!calm).then_some(last)
}

/// The last lines that fit, masked; a line that does not fit at all is cut.
fn last_lines(text: &str) -> Vec<String> {
    let mut room = BYTES;
    let mut lines = VecDeque::new();
    let said = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    for line in said.rev().take(LINES) {
        let line: String = mask(line).chars().filter(|c| !c.is_control()).collect();
        let cut = line.floor_char_boundary(room.min(line.len()));
        if cut == 0 {
            break;
        }
        room -= cut;
        lines.push_front(line[..cut].to_owned());
    }
    lines.into()
}

/// The last few heartbeats of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastBeats(VecDeque<(u64, String)>);

impl LastBeats {
    /// Keeps one more.
    pub fn push(&mut self, beat: &Beat, heard: u64) {
        if self.0.len() >= BEATS {
            self.0.pop_front();
        }
        self.0.push_back((heard, mask(&beat.words())));
    }

    fn words(&self, mono: u64) -> Vec<String> {
        let word = |(heard, words): &(u64, String)| {
            let age = mono.saturating_sub(*heard);
            format!(
                "heartbeat {}.{} s before: {words}",
                age / 1000,
                age % 1000 / 100
            )
        };
        self.0.iter().map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let run = Run {
            container: "c".to_owned(),
            started_at: "s".to_owned(),
        };
        LastWords::new(run, Ok(text)).log.unwrap()
    }

    #[test]
    fn a_line_that_tells_what_it_did_is_no_complaint() {
        let complaint = |line: &str| complaint_in(&words(line)).map(str::to_owned);
        for line in [
            "2026-11-29T06:51:47Z  INFO connected to the market stream",
            "2026-11-29T06:51:47Z DEBUG engine event",
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
    fn the_last_lines_are_kept_masked_and_bounded() {
        let text: Vec<String> = (0..100)
            .map(|n| format!("line {n} TOKEN=secret\r\n"))
            .collect();
        let text = text.concat();
        let kept = words(&text);
        assert_eq!(kept.len(), LINES);
        assert_eq!(kept[19], "line 99 TOKEN=***");
        let long = "ü".repeat(3_000);
        let kept = words(&format!("first\n{long}\nlast"));
        assert_eq!(kept.len(), 2, "the first has no room");
        assert!(kept.iter().map(String::len).sum::<usize>() <= BYTES);
        assert_eq!(words("\n\n"), Vec::<String>::new());
    }
}
