//! The order of one subscription's candles: the next one, duplicates, gaps. Entry point: [`Sequencer`]. Pure: no I/O
//! and no clock.

use std::collections::BTreeMap;

use protocol::time::UtcMs;
use trader_core::candle::{Candle, Interval};

/// Candles kept that cannot be sent on yet. More are dropped, latest first, and queried again.
pub(crate) const AHEAD_LIMIT: usize = 2_000;

/// A gap counts as a gap of the exchange after this number of answers in a row with later candles only.
const ANSWERS_FOR_A_GAP: u8 = 3;

/// Result of [`Sequencer::insert`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InsertOutcome {
    /// The candle is new.
    Inserted,
    /// The candle was known already.
    Duplicate,
    /// The candle was known with other prices, given here, which are kept.
    Contradicts(Candle),
}

/// The closed candles of one symbol from a start time on.
#[derive(Debug)]
pub(crate) struct Sequencer {
    interval: Interval,
    /// Open time of the next candle to send on.
    expected: UtcMs,
    /// The last candle sent on.
    last: Option<Candle>,
    /// Candles that wait for their turn, by open time; none before `expected`.
    ahead: BTreeMap<UtcMs, Candle>,
    /// End of the newest candle that arrived, also if it was dropped.
    received_until: UtcMs,
    /// All candles before this are known to be closed, whether they arrived or not.
    closed_until: UtcMs,
    answers_without_expected: u8,
}

impl Sequencer {
    /// A sequencer whose first candle is the first one that opens at `from` or later.
    pub(crate) fn new(interval: Interval, from: UtcMs) -> Self {
        let open = interval.open_of(from);
        let expected = if open == from {
            from
        } else {
            interval.close_of(open)
        };
        Self {
            interval,
            expected,
            last: None,
            ahead: BTreeMap::new(),
            received_until: expected,
            closed_until: expected,
            answers_without_expected: 0,
        }
    }

    /// Inserts a candle, of the stream or of REST.
    pub(crate) fn insert(&mut self, candle: Candle) -> InsertOutcome {
        let at = candle.open_time;
        let earlier = if at < self.expected {
            self.last.filter(|last| last.open_time == at)
        } else {
            self.ahead.get(&at).copied()
        };
        match earlier {
            Some(earlier) if earlier != candle => return InsertOutcome::Contradicts(earlier),
            Some(_) => return InsertOutcome::Duplicate,
            None if at < self.expected => return InsertOutcome::Duplicate,
            None => {}
        }
        let end = self.interval.close_of(at);
        self.received_until = self.received_until.max(end);
        self.record_closed_until(end);
        self.ahead.insert(at, candle);
        if self.ahead.len() > AHEAD_LIMIT {
            self.ahead.pop_last();
        }
        InsertOutcome::Inserted
    }

    /// Removes the next candle; `None` if it has not arrived.
    pub(crate) fn pop(&mut self) -> Option<Candle> {
        let candle = self.ahead.remove(&self.expected)?;
        self.expected = self.interval.close_of(self.expected);
        self.last = Some(candle);
        self.answers_without_expected = 0;
        Some(candle)
    }

    /// Whether [`Self::pop`] has a candle.
    pub(crate) fn has_next(&self) -> bool {
        self.ahead.contains_key(&self.expected)
    }

    /// Whether the next candle is known to be closed and has not arrived.
    pub(crate) fn misses_next(&self) -> bool {
        self.expected < self.closed_until && !self.has_next()
    }

    /// Records that every candle that ended by `until` exists.
    pub(crate) fn record_closed_until(&mut self, until: UtcMs) {
        self.closed_until = self.closed_until.max(until);
    }

    /// Records that the candles of one REST answer, from `expected` on, were inserted. Returns a gap of the exchange
    /// itself, from its first candle to the candle after it, if enough answers in a row skipped it; `None` otherwise.
    pub(crate) fn record_answer(&mut self) -> Option<(UtcMs, UtcMs)> {
        let (&first, _) = self.ahead.first_key_value()?;
        if first == self.expected {
            return None;
        }
        self.answers_without_expected += 1;
        if self.answers_without_expected < ANSWERS_FOR_A_GAP {
            return None;
        }
        self.answers_without_expected = 0;
        Some((std::mem::replace(&mut self.expected, first), first))
    }

    /// Open time of the next candle to send on.
    pub(crate) fn expected(&self) -> UtcMs {
        self.expected
    }

    /// End of the newest candle that arrived; the start while there is none.
    pub(crate) fn received_until(&self) -> UtcMs {
        self.received_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trader_core::fixed_point::Price;

    const MINUTE: i64 = 60_000;

    fn candle(minute: i64) -> Candle {
        priced(minute, 100)
    }

    fn priced(minute: i64, price: i64) -> Candle {
        let p = Price::from_units(price);
        Candle::new(Interval::M1, UtcMs(minute * MINUTE), p, p, p, p).unwrap()
    }

    fn sequencer(from_minute: i64) -> Sequencer {
        Sequencer::new(Interval::M1, UtcMs(from_minute * MINUTE))
    }

    fn drain(sequencer: &mut Sequencer) -> Vec<i64> {
        std::iter::from_fn(|| sequencer.pop())
            .map(|c| c.open_time.0 / MINUTE)
            .collect()
    }

    #[test]
    fn candles_come_out_in_order_once_however_they_come_in() {
        let mut s = sequencer(5);
        for minute in [7, 5, 5, 4, 6, 9, 6, 7] {
            s.insert(candle(minute));
        }
        assert_eq!(drain(&mut s), [5, 6, 7]);
        assert!(s.misses_next(), "8 is missing");
        s.insert(candle(8));
        assert_eq!(drain(&mut s), [8, 9]);
        assert!(!s.misses_next());
    }

    #[test]
    fn a_start_within_a_candle_begins_with_the_next_one() {
        let s = Sequencer::new(Interval::M1, UtcMs(5 * MINUTE + 1));
        assert_eq!(s.expected(), UtcMs(6 * MINUTE));
        assert_eq!(sequencer(5).expected(), UtcMs(5 * MINUTE));
    }

    #[test]
    fn nothing_is_missing_before_a_later_candle_is_known() {
        let mut s = sequencer(5);
        assert!(!s.misses_next());
        s.record_closed_until(UtcMs(6 * MINUTE));
        assert!(s.misses_next(), "minute 5 has closed");
        assert_eq!(s.received_until(), UtcMs(5 * MINUTE), "but did not arrive");
    }

    #[test]
    fn candle_that_changed_after_its_close_is_reported_and_not_sent() {
        let mut s = sequencer(5);
        assert_eq!(s.insert(priced(5, 100)), InsertOutcome::Inserted);
        assert_eq!(
            s.insert(priced(5, 101)),
            InsertOutcome::Contradicts(priced(5, 100))
        );
        assert_eq!(s.pop(), Some(priced(5, 100)));
        assert_eq!(
            s.insert(priced(5, 102)),
            InsertOutcome::Contradicts(priced(5, 100))
        );
        assert_eq!(s.insert(priced(5, 100)), InsertOutcome::Duplicate);
        assert_eq!(s.pop(), None);
    }

    #[test]
    fn a_gap_of_the_exchange_is_accepted_at_the_third_answer() {
        let mut s = sequencer(5);
        s.insert(candle(8));
        assert_eq!((s.record_answer(), s.record_answer()), (None, None));
        let gap = (UtcMs(5 * MINUTE), UtcMs(8 * MINUTE));
        assert_eq!(s.record_answer(), Some(gap));
        assert_eq!(drain(&mut s), [8]);
    }

    #[test]
    fn an_answer_without_later_candles_is_no_gap() {
        let mut s = sequencer(5);
        s.record_closed_until(UtcMs(9 * MINUTE));
        for _ in 0..9 {
            assert_eq!(s.record_answer(), None);
        }
        assert_eq!(s.expected(), UtcMs(5 * MINUTE));
    }

    #[test]
    fn what_does_not_fit_is_dropped_from_the_end_and_known_to_be_missing() {
        let mut s = sequencer(0);
        let limit = i64::try_from(AHEAD_LIMIT).unwrap();
        for minute in (0..=limit).rev() {
            s.insert(candle(minute));
        }
        assert_eq!(drain(&mut s).len(), AHEAD_LIMIT);
        assert!(s.misses_next());
        assert_eq!(s.expected(), UtcMs(limit * MINUTE));
    }
}
