//! What this process remembers of its own sending: when the next message may go out. Times are
//! milliseconds of the monotonic clock.

use std::collections::VecDeque;

use crate::decide::Outcome;

const MINUTE_MS: u64 = 60_000;
const FIRST_PAUSE_MS: u64 = 1_000;
const LONGEST_PAUSE_MS: u64 = 60_000;
const FURTHEST_DOUBLING: u32 = 6;

/// How fast messages may follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Shortest time between two messages of a chat.
    pub gap_ms: u64,
    /// Most messages within a minute.
    pub per_minute: usize,
    /// How long what is not critical waits for company.
    pub group_ms: u64,
}

impl Limits {
    /// A log takes everything at once.
    pub const NONE: Self = Self {
        gap_ms: 0,
        per_minute: usize::MAX,
        group_ms: 0,
    };

    /// Telegram's for this chat: not more than one message a second, in a group (negative number) not
    /// more than twenty a minute. Source: "My bot is hitting limits" in
    /// <https://core.telegram.org/bots/faq>.
    pub const fn telegram(chat: i64, gap_ms: u64) -> Self {
        Self {
            gap_ms,
            per_minute: if chat < 0 { 20 } else { usize::MAX },
            group_ms: 10_000,
        }
    }
}

/// When this process sent, and what it was told to wait for.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    began: VecDeque<u64>,
    closed_until: u64,
    failures: u32,
    waiting_since: Option<u64>,
    shut: bool,
}

impl Pace {
    /// Nothing was sent yet.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            began: VecDeque::new(),
            closed_until: 0,
            failures: 0,
            waiting_since: None,
            shut: false,
        }
    }

    /// A message went out at `now`.
    pub fn sent(&mut self, now: u64) {
        while self
            .began
            .front()
            .is_some_and(|first| first + MINUTE_MS <= now)
        {
            self.began.pop_front();
        }
        self.began.push_back(now);
    }

    /// How the call for a message ended, at `now`.
    pub fn ended(&mut self, outcome: &Outcome, now: u64) {
        match outcome {
            // The text was at fault, or the address; not the way.
            Outcome::Sent { .. } | Outcome::Refused { .. } | Outcome::Migrated { .. } => {
                self.failures = 0;
                self.shut = false;
            }
            Outcome::Unknown { .. } => self.failed(now, None),
            Outcome::Returned { wait_ms, .. } => self.failed(now, *wait_ms),
            Outcome::Closed { .. } => {
                self.shut = true;
                self.failed(now, Some(LONGEST_PAUSE_MS));
            }
        }
    }

    /// Nothing is taken until a person mends something.
    pub const fn is_shut(&self) -> bool {
        self.shut
    }

    /// Nothing waits for company any more: the process is about to end.
    pub const fn hurry(&mut self) {
        self.limits.group_ms = 0;
    }

    /// The next waits longer each time, or as long as the other side says.
    fn failed(&mut self, now: u64, told_to_wait_ms: Option<u64>) {
        let doubled = FIRST_PAUSE_MS << self.failures.min(FURTHEST_DOUBLING);
        let pause = told_to_wait_ms.unwrap_or(doubled.min(LONGEST_PAUSE_MS));
        self.failures = self.failures.saturating_add(1);
        self.closed_until = self.closed_until.max(now.saturating_add(pause));
    }

    /// From when on the next message may go out.
    pub fn open_at(&self) -> u64 {
        let gap = self
            .began
            .back()
            .map_or(0, |last| last + self.limits.gap_ms);
        let within = self.began.len().checked_sub(self.limits.per_minute);
        let first = within.and_then(|index| self.began.get(index));
        let minute = first.map_or(0, |first| first + MINUTE_MS);
        self.closed_until.max(gap).max(minute)
    }

    /// Keeps track of since when something that is not critical waits.
    pub const fn waits(&mut self, something: bool, now: u64) {
        match (something, self.waiting_since) {
            (true, None) => self.waiting_since = Some(now),
            (false, _) => self.waiting_since = None,
            (true, Some(_)) => {}
        }
    }

    /// From when on a group need not wait for more company.
    pub fn group_at(&self) -> Option<u64> {
        self.waiting_since.map(|since| since + self.limits.group_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_in_a_group_twenty_a_minute() {
        let mut pace = Pace::new(Limits::telegram(-5, 1_000));
        let mut now = 0;
        let mut sent = Vec::new();
        while now < 180_000 {
            now = now.max(pace.open_at());
            pace.sent(now);
            sent.push(now);
        }
        for pair in sent.windows(2) {
            assert!(pair[1] - pair[0] >= 1_000, "{pair:?}");
        }
        for window in sent.windows(21) {
            assert!(window[20] - window[0] >= 60_000, "{window:?}");
        }
        assert!(sent.len() >= 60, "{}", sent.len());
        let mut pace = Pace::new(Limits::telegram(5, 1_000));
        for second in 0..100 {
            assert!(pace.open_at() <= second * 1_000);
            pace.sent(second * 1_000);
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_what_the_other_side_says_counts_exactly() {
        let mut pace = Pace::new(Limits::NONE);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.failed(now, None);
            pauses.push((pace.open_at() - now) / 1_000);
            now = pace.open_at();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.failed(now, Some(37_000));
        assert_eq!(pace.open_at() - now, 37_000);
        pace.ended(&Outcome::Sent { message: None }, now);
        now = pace.open_at();
        pace.failed(now, None);
        assert_eq!(pace.open_at() - now, 1_000);
    }
}
