//! When a failed call is repeated, and when the exchange's answer is believed: [`Verdict`]. One odd answer is no verdict.
//! A content network, a firewall, a replica or a release of the exchange can refuse any call for a while, or answer it
//! wrongly. The time comes in from outside.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use runtime::backoff::Backoff;

use crate::ExchangeError;

/// Time for which a refusal must last before it is believed.
pub const REFUSED_FOR: Duration = Duration::from_mins(3);
/// Times that a kind of call must be refused.
const REFUSALS: u32 = 5;
/// Times that a second kind of call must be refused.
const SECOND_REFUSALS: u32 = 2;
/// Time for which a readable answer must say the same before it is believed.
pub const FOUND_FOR: Duration = Duration::from_secs(20);
/// Times that it must say so.
const FINDINGS: u32 = 3;

/// Wait before a failed call is repeated.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(8),
};

/// Failed calls of one scope, such as an account: how long to wait, and whether the exchange's answer is final.
#[derive(Debug, Default)]
pub struct Verdict {
    failures: u32,
    refusals: BTreeMap<&'static str, Streak>,
    finding: Option<(String, Streak)>,
}

/// Equal answers in a row.
#[derive(Debug, Clone, Copy)]
struct Streak {
    since: Instant,
    count: u32,
}

impl Streak {
    const fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
        }
    }

    fn has_lasted(self, count: u32, time: Duration, now: Instant) -> bool {
        self.count >= count && now.saturating_duration_since(self.since) >= time
    }
}

impl Verdict {
    /// Records a failed call. Returns the wait before it is repeated, with jitter: at least what the exchange demands.
    pub fn record_failure(&mut self, error: &ExchangeError, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let demanded = match error {
            ExchangeError::Retry { after, .. } => after.unwrap_or_default(),
            ExchangeError::Rejected { what, .. } => {
                self.record_refusal(what, now);
                Duration::ZERO
            }
        };
        BACKOFF.wait(self.failures).max(demanded)
    }

    /// Records that a kind of call was refused.
    pub fn record_refusal(&mut self, what: &'static str, now: Instant) {
        let streak = self.refusals.entry(what);
        streak.or_insert_with(|| Streak::new(now)).count += 1;
    }

    /// Records that a kind of call was answered: it is not refused.
    pub fn record_answer(&mut self, what: &str) {
        self.refusals.remove(what);
    }

    /// Records an answer that can be read and rules trading out, such as an account in hedge mode. Returns the wait
    /// before the next look.
    pub fn record_finding(&mut self, finding: &str, now: Instant) -> Duration {
        match &mut self.finding {
            Some((known, streak)) if known == finding => streak.count += 1,
            other => {
                let mut streak = Streak::new(now);
                streak.count = 1;
                *other = Some((finding.to_owned(), streak));
            }
        }
        self.failures = self.failures.saturating_add(1);
        BACKOFF.wait(self.failures)
    }

    /// Records that everything is as it should be.
    pub fn record_success(&mut self) {
        *self = Self::default();
    }

    /// Whether one kind of call was refused for so long that a second kind decides.
    pub fn needs_second_kind(&self, now: Instant) -> bool {
        let mut refusals = self.refusals.values();
        refusals.any(|streak| streak.has_lasted(REFUSALS, REFUSED_FOR, now))
    }

    /// Whether the refusal is believed: one kind of call was refused for [`REFUSED_FOR`], and a second kind too.
    pub fn is_refusal_final(&self, now: Instant) -> bool {
        let refused = self.refusals.values();
        let refused = refused.filter(|streak| streak.count >= SECOND_REFUSALS);
        self.needs_second_kind(now) && refused.count() > 1
    }

    /// Whether the newest finding is believed: it has been the same for [`FOUND_FOR`].
    pub fn is_finding_final(&self, now: Instant) -> bool {
        let finding = self.finding.as_ref();
        finding.is_some_and(|(_, streak)| streak.has_lasted(FINDINGS, FOUND_FOR, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(what: &'static str) -> ExchangeError {
        ExchangeError::rejected(
            what,
            "Invalid API-key, IP, or permissions for action (-2015)",
        )
    }

    #[test]
    fn refusal_is_final_after_minutes_and_on_a_second_kind_of_call_only() {
        let (mut verdict, start) = (Verdict::default(), Instant::now());
        let mut now = start;
        while now < start + REFUSED_FOR {
            verdict.record_failure(&refused("balance"), now);
            assert!(!verdict.is_refusal_final(now));
            now += Duration::from_secs(5);
        }
        verdict.record_failure(&refused("balance"), now);
        assert!(verdict.needs_second_kind(now));
        assert!(!verdict.is_refusal_final(now), "one kind of call");
        verdict.record_refusal("account", now);
        assert!(!verdict.is_refusal_final(now), "one odd answer");
        verdict.record_refusal("account", now);
        assert!(verdict.is_refusal_final(now));
        verdict.record_answer("account");
        assert!(!verdict.is_refusal_final(now), "the key is valid");
    }

    #[test]
    fn refusals_at_once_are_no_verdict_however_many() {
        let (mut verdict, now) = (Verdict::default(), Instant::now());
        for _ in 0..100 {
            verdict.record_failure(&refused("balance"), now);
            verdict.record_failure(&refused("account"), now);
        }
        assert!(!verdict.is_refusal_final(now + REFUSED_FOR / 2));
    }

    #[test]
    fn answer_in_between_starts_again() {
        let (mut verdict, now) = (Verdict::default(), Instant::now());
        for what in ["balance", "account"] {
            (0..9).for_each(|_| verdict.record_refusal(what, now));
        }
        assert!(verdict.is_refusal_final(now + REFUSED_FOR));
        verdict.record_answer("balance");
        verdict.record_refusal("balance", now + REFUSED_FOR);
        assert!(!verdict.is_refusal_final(now + REFUSED_FOR));
        verdict.record_success();
        assert!(!verdict.needs_second_kind(now + 2 * REFUSED_FOR));
    }

    #[test]
    fn failure_that_passes_is_never_final_and_waits_as_long_as_demanded() {
        let (mut verdict, now) = (Verdict::default(), Instant::now());
        for _ in 0..1_000 {
            let error = ExchangeError::retry("balance", "status 404: <html>");
            let wait = verdict.record_failure(&error, now);
            assert!(wait >= BACKOFF.first / 2 && wait <= BACKOFF.cap, "{wait:?}");
        }
        let later = now + Duration::from_hours(24);
        assert!(!verdict.needs_second_kind(later) && !verdict.is_refusal_final(later));
        let limited = ExchangeError::Retry {
            what: "balance",
            reason: "too many requests".to_owned(),
            after: Some(Duration::from_mins(2)),
        };
        assert_eq!(
            verdict.record_failure(&limited, now),
            Duration::from_mins(2)
        );
    }

    #[test]
    fn finding_is_final_once_it_was_the_same_for_a_while() {
        let (mut verdict, start) = (Verdict::default(), Instant::now());
        for seconds in [0, 5] {
            verdict.record_finding("hedge mode", start + Duration::from_secs(seconds));
        }
        let end = start + FOUND_FOR;
        assert!(!verdict.is_finding_final(end), "two answers");
        verdict.record_finding("hedge mode", end);
        assert!(verdict.is_finding_final(end));
        verdict.record_finding("may not trade", end);
        assert!(
            !verdict.is_finding_final(end),
            "another finding starts again"
        );
    }
}
