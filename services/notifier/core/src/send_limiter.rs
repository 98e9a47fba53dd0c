//! Limits the rate of messages: backoff after failures, intervals and counts per minute. Kept in memory. Times are
//! milliseconds of the monotonic clock.

use std::collections::VecDeque;

use crate::model::Outcome;

const MINUTE_MS: u64 = 60_000;
const MIN_BACKOFF_MS: u64 = 1_000;
const MAX_BACKOFF_MS: u64 = 60_000;
const MAX_DOUBLINGS: u32 = 6;

/// Highest rate of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendLimits {
    /// Shortest time between two messages to a chat.
    pub min_interval_ms: u64,
    /// Most messages in one minute.
    pub max_per_minute: usize,
    /// Time for which a notification that is not critical waits for others to be grouped with.
    pub group_wait_ms: u64,
}

impl SendLimits {
    /// No limits, for standard output.
    pub const NONE: Self = Self {
        min_interval_ms: 0,
        max_per_minute: usize::MAX,
        group_wait_ms: 0,
    };

    /// Telegram's limits for a chat: one message a second, and twenty a minute in a group (negative id). Source: "My bot is hitting limits" in
    /// <https://core.telegram.org/bots/faq>.
    pub const fn for_telegram(chat: i64, min_interval_ms: u64) -> Self {
        Self {
            min_interval_ms,
            max_per_minute: if chat < 0 { 20 } else { usize::MAX },
            group_wait_ms: 10_000,
        }
    }
}

/// Send times and backoff of one channel.
#[derive(Debug)]
pub struct SendLimiter {
    limits: SendLimits,
    sent_at: VecDeque<u64>,
    blocked_until: u64,
    failures: u32,
    waiting_since: Option<u64>,
    channel_rejected: bool,
}

impl SendLimiter {
    /// Limiter of a channel that nothing was sent to.
    pub const fn new(limits: SendLimits) -> Self {
        Self {
            limits,
            sent_at: VecDeque::new(),
            blocked_until: 0,
            failures: 0,
            waiting_since: None,
            channel_rejected: false,
        }
    }

    /// Notes a message that was sent at `now`.
    pub fn note_sent(&mut self, now: u64) {
        while self
            .sent_at
            .front()
            .is_some_and(|first| first + MINUTE_MS <= now)
        {
            self.sent_at.pop_front();
        }
        self.sent_at.push_back(now);
    }

    /// Notes the outcome of a call that ended at `now`.
    pub fn note_outcome(&mut self, outcome: &Outcome, now: u64) {
        match outcome {
            // The content or the address was wrong; the channel works.
            Outcome::Delivered { .. }
            | Outcome::MessageRejected { .. }
            | Outcome::ChatMigrated { .. } => {
                self.failures = 0;
                self.channel_rejected = false;
            }
            Outcome::Unknown { .. } => self.back_off(now, None),
            Outcome::Retryable { wait_ms, .. } => self.back_off(now, *wait_ms),
            Outcome::ChannelRejected { .. } => {
                self.channel_rejected = true;
                self.back_off(now, Some(MAX_BACKOFF_MS));
            }
        }
    }

    /// Whether the channel rejects every message until the operator corrects token or chat.
    pub const fn is_channel_rejected(&self) -> bool {
        self.channel_rejected
    }

    /// Sends without grouping from now on, because the process ends.
    pub const fn skip_group_wait(&mut self) {
        self.limits.group_wait_ms = 0;
    }

    /// Blocks the channel for twice the last backoff, or for the time that the other side names.
    fn back_off(&mut self, now: u64, retry_after_ms: Option<u64>) {
        let doubled = MIN_BACKOFF_MS << self.failures.min(MAX_DOUBLINGS);
        let pause = retry_after_ms.unwrap_or(doubled.min(MAX_BACKOFF_MS));
        self.failures = self.failures.saturating_add(1);
        self.blocked_until = self.blocked_until.max(now.saturating_add(pause));
    }

    /// Earliest time of the next message.
    pub fn next_send_at(&self) -> u64 {
        let gap = self
            .sent_at
            .back()
            .map_or(0, |last| last + self.limits.min_interval_ms);
        let within = self.sent_at.len().checked_sub(self.limits.max_per_minute);
        let first = within.and_then(|index| self.sent_at.get(index));
        let minute = first.map_or(0, |first| first + MINUTE_MS);
        self.blocked_until.max(gap).max(minute)
    }

    /// Notes whether a notification waits for its group.
    pub const fn note_waiting(&mut self, is_waiting: bool, now: u64) {
        match (is_waiting, self.waiting_since) {
            (true, None) => self.waiting_since = Some(now),
            (false, _) => self.waiting_since = None,
            (true, Some(_)) => {}
        }
    }

    /// Time at which the current group is sent; `None` if nothing waits.
    pub fn group_due_at(&self) -> Option<u64> {
        self.waiting_since
            .map(|since| since + self.limits.group_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_limiter_allows_one_a_second_and_twenty_a_minute_in_a_group() {
        let mut limiter = SendLimiter::new(SendLimits::for_telegram(-5, 1_000));
        let mut now = 0;
        let mut sent = Vec::new();
        while now < 180_000 {
            now = now.max(limiter.next_send_at());
            limiter.note_sent(now);
            sent.push(now);
        }
        for pair in sent.windows(2) {
            assert!(pair[1] - pair[0] >= 1_000, "{pair:?}");
        }
        for window in sent.windows(21) {
            assert!(window[20] - window[0] >= 60_000, "{window:?}");
        }
        assert!(sent.len() >= 60, "{}", sent.len());
        let mut limiter = SendLimiter::new(SendLimits::for_telegram(5, 1_000));
        for second in 0..100 {
            assert!(limiter.next_send_at() <= second * 1_000);
            limiter.note_sent(second * 1_000);
        }
    }

    #[test]
    fn backoff_doubles_up_to_a_minute_unless_telegram_names_a_time() {
        let mut limiter = SendLimiter::new(SendLimits::NONE);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            limiter.back_off(now, None);
            pauses.push((limiter.next_send_at() - now) / 1_000);
            now = limiter.next_send_at();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        limiter.back_off(now, Some(37_000));
        assert_eq!(limiter.next_send_at() - now, 37_000);
        limiter.note_outcome(&Outcome::Delivered { message_id: None }, now);
        now = limiter.next_send_at();
        limiter.back_off(now, None);
        assert_eq!(limiter.next_send_at() - now, 1_000);
    }
}
