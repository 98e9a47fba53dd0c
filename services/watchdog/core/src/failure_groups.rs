//! Failures grouped by signature: how a run ended and its last error without numbers.

use std::time::Duration;

use protocol::time::UtcMs;
use serde::Serialize;

use crate::format::format_time;
use crate::reason::RestartReason;

/// Signatures that are kept. A new one replaces the one that was not seen for the longest time.
const MAX_SIGNATURES: usize = 16;
/// Times that are kept per signature, enough to see a trend.
const MAX_TIMES: usize = 64;
/// Characters of an error that are part of its signature.
const MAX_ERROR_CHARS: usize = 200;
/// Characters of an error that are shown.
const MAX_EXAMPLE_CHARS: usize = 300;
/// Shortest token that can be a hexadecimal id.
const MIN_ID_LENGTH: usize = 8;
const HOUR: Duration = Duration::from_hours(1);

/// All failure groups of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures(Vec<FailureSignature>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FailureSignature {
    signature: String,
    /// The newest failure with its real numbers.
    example: String,
    count: u32,
    first: UtcMs,
    last: UtcMs,
    times: Vec<UtcMs>,
}

/// One group of failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureGroup {
    /// How the runs ended, and the last error with `#` for every number.
    pub signature: String,
    /// The newest failure of the group, with its real numbers.
    pub example: String,
    /// Number of failures in the group.
    pub count: u32,
    /// Time of the first failure.
    pub first: UtcMs,
    /// Time of the newest failure.
    pub last: UtcMs,
    /// Whether the group had several failures in the last hour, and more than in the hour before.
    pub rising: bool,
}

impl FailureGroup {
    /// The group in one line.
    pub fn describe(&self) -> String {
        let (last, example) = (format_time(self.last), &self.example);
        let rising = if self.rising { ", more often" } else { "" };
        match self.count {
            1 => format!("{example} ({last})"),
            count => format!("{count} times: {example} (last {last}{rising})"),
        }
    }
}

impl Failures {
    /// Adds a failure to its group. A new group beyond the limit replaces the group that is longest without a failure.
    pub fn add(&mut self, at: UtcMs, reason: &RestartReason, last_error: Option<&str>) {
        let signature = signature(reason, last_error);
        let example = example(reason, last_error);
        if let Some(group) = self.0.iter_mut().find(|group| group.signature == signature) {
            group.record_repeat(at, example);
            return;
        }
        if self.0.len() >= MAX_SIGNATURES {
            let oldest = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, group)| group.last);
            let oldest = oldest.map_or(0, |(place, _)| place);
            self.0.swap_remove(oldest);
        }
        self.0.push(FailureSignature {
            signature,
            example,
            count: 1,
            first: at,
            last: at,
            times: vec![at],
        });
    }

    /// Moves a failure that was added without an error to the group of its error.
    pub fn attach_error(&mut self, at: UtcMs, reason: &RestartReason, last_error: &str) {
        let bare = signature(reason, None);
        let group = self.0.iter_mut().find(|group| group.signature == bare);
        if let Some(group) = group.filter(|group| group.last == at) {
            group.count = group.count.saturating_sub(1);
            group.times.pop();
            group.last = group.times.last().copied().unwrap_or(group.first);
            self.0.retain(|group| group.count > 0);
        }
        self.add(at, reason, Some(last_error));
    }

    /// The groups, most frequent first.
    pub fn groups(&self, now: UtcMs) -> Vec<FailureGroup> {
        let mut groups: Vec<FailureGroup> =
            self.0.iter().map(|group| group.to_group(now)).collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then(b.last.cmp(&a.last)));
        groups
    }
}

impl FailureSignature {
    fn record_repeat(&mut self, at: UtcMs, example: String) {
        self.example = example;
        self.count = self.count.saturating_add(1);
        self.last = at;
        self.times.push(at);
        if self.times.len() > MAX_TIMES {
            self.times.remove(0);
        }
    }

    fn to_group(&self, now: UtcMs) -> FailureGroup {
        let within = |from: Duration, to: Duration| {
            let ages = self.times.iter().map(|at| now.since(*at));
            ages.filter(|age| *age >= from && *age < to).count()
        };
        let (this_hour, hour_before) = (within(Duration::ZERO, HOUR), within(HOUR, 2 * HOUR));
        FailureGroup {
            signature: self.signature.clone(),
            example: self.example.clone(),
            count: self.count,
            first: self.first,
            last: self.last,
            rising: this_hour > 1 && this_hour > hour_before,
        }
    }
}

/// The signature of a failure. Durations, prices and ids differ between failures of one kind, so numbers are left out.
fn signature(reason: &RestartReason, last_error: Option<&str>) -> String {
    let end = match reason {
        RestartReason::HeartbeatLost { .. } => "hung: no heartbeat".to_owned(),
        RestartReason::NoFirstHeartbeat { .. } => "hung: no heartbeat after the start".to_owned(),
        RestartReason::ComponentStalled { component, .. } => {
            format!("hung: component {component} made no progress")
        }
        RestartReason::MarketDataLost { .. } => "hung: no market data".to_owned(),
        RestartReason::StartStalled { .. } => "hung: not running after the start".to_owned(),
        RestartReason::Unhealthy { check, .. } => {
            format!("hung: unhealthy: {}", without_numbers(check))
        }
        RestartReason::StartFailed { error } => {
            format!("start failed: {}", without_numbers(error))
        }
        other => other.to_string(),
    };
    match last_error {
        None => end,
        Some(error) => format!("{end}: {}", without_numbers(error)),
    }
}

fn example(reason: &RestartReason, last_error: Option<&str>) -> String {
    match last_error {
        None => reason.to_string(),
        Some(error) => {
            let error: String = error.chars().take(MAX_EXAMPLE_CHARS).collect();
            format!("{reason}: {error}")
        }
    }
}

/// The text with `#` for every number and for every hexadecimal id.
fn without_numbers(error: &str) -> String {
    let text: String = error.chars().take(MAX_ERROR_CHARS).collect();
    let mut out = String::with_capacity(text.len());
    for token in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = token
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(token.len());
        let (token, separator) = token.split_at(end);
        if is_hex_id(token) {
            out.push('#');
        } else {
            push_without_digits(&mut out, token);
        }
        out.push_str(separator);
    }
    out
}

/// Whether a token is an id such as Docker's: hexadecimal, long, and not a plain token or number.
fn is_hex_id(token: &str) -> bool {
    token.len() >= MIN_ID_LENGTH
        && token.bytes().all(|b| b.is_ascii_hexdigit())
        && token.bytes().any(|b| b.is_ascii_digit())
        && token.bytes().any(|b| b.is_ascii_alphabetic())
}

fn push_without_digits(out: &mut String, token: &str) {
    let mut is_in_number = false;
    for c in token.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !is_in_number {
            out.push('#');
        }
        is_in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn crashed(code: i64) -> RestartReason {
        RestartReason::Crashed { code }
    }

    #[test]
    fn similar_failures_form_one_group_with_count_and_trend() {
        let mut failures = Failures::default();
        for minute in [0, 70, 80, 90] {
            let error = format!("order {minute}: no answer within 5 s");
            failures.add(UtcMs(minute * MINUTE), &crashed(70), Some(&error));
        }
        failures.add(UtcMs(5 * MINUTE), &crashed(101), None);
        let groups = failures.groups(UtcMs(100 * MINUTE));
        let shown: Vec<_> = groups
            .iter()
            .map(|g| (g.count, g.rising, g.signature.as_str()))
            .collect();
        let first = "internal error (exit 70): order #: no answer within # s";
        assert_eq!(shown, [(4, true, first), (1, false, "panicked (exit 101)")]);
        let later = failures.groups(UtcMs(160 * MINUTE));
        assert!(!later[0].rising);
    }

    #[test]
    fn rejected_starts_that_differ_in_ids_form_one_group() {
        let mut failures = Failures::default();
        for id in ["1f3a9c0e77d2", "b280c14aa0f9"] {
            let error = format!("endpoint {id}{id} on port 8080: already allocated");
            failures.add(UtcMs(0), &RestartReason::StartFailed { error }, None);
        }
        let groups = failures.groups(UtcMs(1));
        assert_eq!(groups.len(), 1, "{groups:?}");
        assert_eq!(
            groups[0].signature,
            "start failed: endpoint # on port #: already allocated"
        );
    }

    #[test]
    fn failure_group_shows_the_real_value_and_no_trend_of_a_single_failure() {
        let mut failures = Failures::default();
        let error = "CAPITAL_USDT=\"abc\": expected an amount above 0, up to 1000000000";
        let reason = RestartReason::ExitNotRestartable { code: 78 };
        failures.add(UtcMs(0), &reason, Some(error));
        let text = failures.groups(UtcMs(1))[0].describe();
        assert_eq!(text, format!("{reason}: {error} (1970-01-01T00:00:00)"));
        failures.add(UtcMs(MINUTE), &reason, Some(error));
        let text = failures.groups(UtcMs(MINUTE))[0].describe();
        assert!(
            text.starts_with("2 times: ") && text.ends_with("more often)"),
            "{text}"
        );
    }

    #[test]
    fn late_error_moves_its_failure_to_the_matching_group() {
        let (mut early, mut late) = (Failures::default(), Failures::default());
        for minute in 0..3 {
            let at = UtcMs(minute * MINUTE);
            early.add(at, &crashed(70), Some("no answer"));
            late.add(at, &crashed(70), None);
            late.attach_error(at, &crashed(70), "no answer");
        }
        assert_eq!(early, late);
    }

    #[test]
    fn failure_groups_and_their_times_are_bounded() {
        let mut failures = Failures::default();
        for code in 0..1_000 {
            failures.add(UtcMs(code), &crashed(code), None);
            failures.add(UtcMs(code), &crashed(1_000), None);
        }
        assert_eq!(failures.0.len(), MAX_SIGNATURES);
        let most = &failures.groups(UtcMs(1_000))[0];
        assert_eq!(most.count, 1_000);
        assert!(
            failures
                .0
                .iter()
                .all(|group| group.times.len() <= MAX_TIMES)
        );
    }
}
