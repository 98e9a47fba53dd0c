//! Rate limits of a bot. Telegram publishes only what its FAQ says ("My bot is hitting limits"): one message per second
//! in a chat, with short bursts; 20 per minute in a group; about 30 per second over all chats. Anything beyond is
//! unknown and not simulated.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// Rate limits. Only messages that are shown count.
#[derive(Debug, Clone, Copy)]
pub struct RateLimits {
    /// Average time between two messages of one chat.
    pub chat_every: Duration,
    /// Messages that may arrive at once in one chat.
    pub chat_burst: u32,
    /// Messages in one group within any minute.
    pub group_per_minute: usize,
    /// Messages in all chats together within any second.
    pub overall_per_second: usize,
}

impl RateLimits {
    /// Limits that no test reaches.
    pub const UNLIMITED: Self = Self {
        chat_every: Duration::ZERO,
        chat_burst: 1,
        group_per_minute: usize::MAX,
        overall_per_second: usize::MAX,
    };
}

impl Default for RateLimits {
    /// Telegram's limits. The length of a burst is not documented.
    fn default() -> Self {
        Self {
            chat_every: SECOND,
            chat_burst: 3,
            group_per_minute: 20,
            overall_per_second: 30,
        }
    }
}

/// Recipient of a message.
#[derive(Clone, Copy)]
pub(super) struct Recipient {
    pub(super) chat: i64,
    pub(super) is_group: bool,
}

/// Messages sent, and chats that reject messages because of a limit.
#[derive(Default)]
pub(super) struct RateLimiter {
    limits: RateLimits,
    sent: Vec<(Instant, i64)>,
    /// Time from which the next message of a chat keeps the average.
    due: BTreeMap<i64, Instant>,
    closed: BTreeMap<i64, Instant>,
    all_closed: Option<Instant>,
}

impl RateLimiter {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Counts a message to this chat. The error is the number of seconds to wait; an earlier attempt does not extend
    /// it.
    pub(super) fn admit(&mut self, to: Recipient, now: Instant) -> Result<(), u32> {
        self.sent.retain(|(at, _)| now.duration_since(*at) < MINUTE);
        let closed = self.closed.get(&to.chat).copied().max(self.all_closed);
        if let Some(wait) = closed.and_then(|until| seconds_until(until, now)) {
            return Err(wait);
        }
        if let Some(wait) = self
            .overall_free_at(now)
            .and_then(|until| seconds_until(until, now))
        {
            self.all_closed = Some(now + seconds(wait));
            return Err(wait);
        }
        let until = self.group_free_at(to).max(self.chat_free_at(to.chat));
        if let Some(wait) = until.and_then(|until| seconds_until(until, now)) {
            self.close_chat(to.chat, wait, now);
            return Err(wait);
        }
        self.sent.push((now, to.chat));
        let due = self.due.entry(to.chat).or_insert(now);
        *due = now.max(*due) + self.limits.chat_every;
        Ok(())
    }

    /// Rejects every message to this chat for that many seconds.
    pub(super) fn close_chat(&mut self, chat: i64, for_seconds: u32, now: Instant) {
        self.closed.insert(chat, now + seconds(for_seconds));
    }

    fn overall_free_at(&self, now: Instant) -> Option<Instant> {
        let recent = self.sent.iter().map(|(at, _)| *at);
        let recent = recent.filter(|at| now.duration_since(*at) < SECOND);
        oldest_of(recent, self.limits.overall_per_second).map(|oldest| oldest + SECOND)
    }

    fn group_free_at(&self, to: Recipient) -> Option<Instant> {
        let here = self.sent.iter().filter(|(_, chat)| *chat == to.chat);
        let here = here.filter(|_| to.is_group).map(|(at, _)| *at);
        oldest_of(here, self.limits.group_per_minute).map(|oldest| oldest + MINUTE)
    }

    fn chat_free_at(&self, chat: i64) -> Option<Instant> {
        let ahead = self.limits.chat_every * self.limits.chat_burst.saturating_sub(1);
        self.due.get(&chat).and_then(|due| due.checked_sub(ahead))
    }
}

/// Oldest of the newest `most` times. `None` if there are fewer.
fn oldest_of(times: impl DoubleEndedIterator<Item = Instant>, most: usize) -> Option<Instant> {
    times.rev().nth(most.checked_sub(1)?)
}

/// Whole seconds until then, at least one. `None` if it has passed.
fn seconds_until(until: Instant, now: Instant) -> Option<u32> {
    let left = until.checked_duration_since(now)?.as_nanos();
    let wait = u32::try_from(left.div_ceil(SECOND.as_nanos())).unwrap_or(u32::MAX);
    Some(wait).filter(|wait| *wait > 0)
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_BURST: RateLimits = RateLimits {
        chat_every: Duration::ZERO,
        chat_burst: 1,
        group_per_minute: 20,
        overall_per_second: 30,
    };

    fn recipient(chat: i64) -> Recipient {
        let is_group = chat < 0;
        Recipient { chat, is_group }
    }

    /// Sends a message to each of these chats at one moment. Returns how many are accepted, and the last wait.
    fn admit_all(
        flood: &mut RateLimiter,
        chats: impl Iterator<Item = i64>,
        now: Instant,
    ) -> (usize, Option<u32>) {
        let results: Vec<_> = chats
            .map(|chat| flood.admit(recipient(chat), now))
            .collect();
        let passed = results.iter().filter(|result| result.is_ok()).count();
        (passed, results.last().and_then(|result| result.err()))
    }

    #[test]
    fn chat_gets_a_short_burst_and_then_one_message_a_second() {
        let (mut flood, now) = (RateLimiter::default(), Instant::now());
        let chat = || std::iter::repeat_n(7, 5);
        assert_eq!(admit_all(&mut flood, chat(), now), (3, Some(1)));
        assert_eq!(
            admit_all(&mut flood, chat(), now + seconds(1) / 2),
            (0, Some(1))
        );
        assert_eq!(
            admit_all(&mut flood, chat(), now + seconds(1)),
            (1, Some(1))
        );
        for later in 2..60 {
            assert_eq!(flood.admit(recipient(7), now + seconds(later)), Ok(()));
        }
    }

    #[test]
    fn group_gets_twenty_in_any_minute_and_a_private_chat_more() {
        let (mut flood, now) = (RateLimiter::new(NO_BURST), Instant::now());
        let many = |chat| std::iter::repeat_n(chat, 25);
        assert_eq!(admit_all(&mut flood, many(-7), now), (20, Some(60)));
        assert_eq!(admit_all(&mut flood, many(7), now + seconds(1)), (25, None));
        assert_eq!(flood.admit(recipient(-7), now + seconds(59)), Err(1));
        assert_eq!(
            admit_all(&mut flood, many(-7), now + seconds(60)),
            (20, Some(60))
        );
    }

    #[test]
    fn all_chats_together_get_thirty_in_any_second() {
        let (mut flood, now) = (RateLimiter::new(NO_BURST), Instant::now());
        assert_eq!(admit_all(&mut flood, 1..=40, now), (30, Some(1)));
        assert_eq!(flood.admit(recipient(99), now + seconds(1) / 2), Err(1));
        assert_eq!(
            admit_all(&mut flood, 1..=40, now + seconds(1)),
            (30, Some(1))
        );
    }
}
