//! Builds bars from base candles. A bar is emitted only if none of its base candles is missing.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Interval};
use crate::fixed_point::Price;

/// Builds bars of one interval from closed candles of a shorter one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregator {
    base: Interval,
    bar: Interval,
    /// First bar that has neither been emitted nor reported as missing.
    next_bar: Option<UtcMs>,
    /// Open time of the newest candle added.
    newest: Option<UtcMs>,
    partial: Option<PartialBar>,
}

/// A bar in progress, with the number of its candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct PartialBar {
    bar: Candle,
    candles: i64,
}

/// Result of one candle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AggregationOutcome {
    /// The bar that this candle completed; `None` if it completed none.
    pub bar: Option<Candle>,
    /// Bars that are never emitted because candles are missing; `None` without a gap.
    pub gap: Option<BarGap>,
}

/// Bars with missing candles: those that open from `from` up to, but not at, `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarGap {
    /// Open time of the first missing bar.
    pub from: UtcMs,
    /// Open time of the first bar after the gap.
    pub until: UtcMs,
}

/// Candles that cannot be aggregated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// The base interval does not divide the bar's interval.
    #[error("base interval is {base}: expected an interval that divides {bar} evenly")]
    NotDivisible {
        /// Interval of the candles.
        base: Interval,
        /// Interval of the bar.
        bar: Interval,
    },
    /// The candle is off the grid of the base interval.
    #[error("candle {open_time}: invalid open time: expected a multiple of {base}")]
    NotAligned {
        /// Open time of the candle.
        open_time: UtcMs,
        /// Interval of the candles.
        base: Interval,
    },
}

impl Aggregator {
    /// An empty aggregator; its first bar is the one that contains its first candle.
    ///
    /// # Errors
    /// [`OutOfOrder::NotDivisible`] if `base` does not divide `bar`.
    pub fn new(base: Interval, bar: Interval) -> Result<Self, OutOfOrder> {
        if bar.millis() % base.millis() != 0 {
            return Err(OutOfOrder::NotDivisible { base, bar });
        }
        Ok(Self {
            base,
            bar,
            next_bar: None,
            newest: None,
            partial: None,
        })
    }

    /// Starts over: the first bar to be emitted opens at `first_bar`; candles before it are ignored.
    pub fn restart_at(&mut self, first_bar: UtcMs) {
        self.next_bar = Some(first_bar);
        self.newest = None;
        self.partial = None;
    }

    /// Open time of the first bar that has neither been emitted nor reported as missing; `None` before the first candle.
    pub const fn next_bar(&self) -> Option<UtcMs> {
        self.next_bar
    }

    /// Open time of the candle that is expected next, and the close of the newest one; `None` before the first candle, and
    /// before the first one after [`Self::restart_at`].
    pub fn expected_candle(&self) -> Option<(UtcMs, Price)> {
        let (newest, partial) = (self.newest?, self.partial?);
        Some((self.base.close_of(newest), partial.bar.close))
    }

    /// Fast path without a division: adds the candle if it follows the newest one and does not complete its bar. Returns
    /// false, and changes nothing, for any other candle.
    #[inline]
    pub fn add_inner_candle(&mut self, candle: &Candle) -> bool {
        // The newest candle is always part of the bar in progress.
        let (Some(newest), Some(PartialBar { bar, candles })) = (self.newest, &mut self.partial)
        else {
            return false;
        };
        let next = self.base.close_of(newest);
        let ends = self.bar.close_of(bar.open_time);
        if candle.open_time != next || self.base.close_of(next) >= ends {
            return false;
        }
        bar.high = bar.high.max(candle.high);
        bar.low = bar.low.min(candle.low);
        bar.close = candle.close;
        *candles += 1;
        self.newest = Some(next);
        true
    }

    /// Adds the next closed candle. A candle that is not newer than the newest one changes nothing.
    ///
    /// # Errors
    /// [`OutOfOrder::NotAligned`] if the candle is off the grid of the base interval; nothing has changed then.
    pub fn add_candle(&mut self, candle: &Candle) -> Result<AggregationOutcome, OutOfOrder> {
        if self.add_inner_candle(candle) {
            return Ok(AggregationOutcome::default());
        }
        let open_time = candle.open_time;
        if self.base.open_of(open_time) != open_time {
            let base = self.base;
            return Err(OutOfOrder::NotAligned { open_time, base });
        }
        if self.is_old(open_time) {
            return Ok(AggregationOutcome::default());
        }
        self.newest = Some(open_time);
        let opens = self.bar.open_of(open_time);
        let missed = self.close_bars_before(opens);
        let partial = self.extend(opens, candle);
        let ends = self.bar.close_of(opens);
        if self.base.close_of(open_time) < ends {
            return Ok(AggregationOutcome {
                bar: None,
                gap: missed,
            });
        }
        self.next_bar = Some(ends);
        Ok(self.finish_bar(partial, missed))
    }

    fn is_old(&self, open_time: UtcMs) -> bool {
        self.newest.is_some_and(|newest| open_time <= newest)
            || self.next_bar.is_some_and(|next| open_time < next)
    }

    /// The bars between the last one and the one that opens at `opens`; `None` if there are none.
    fn close_bars_before(&mut self, opens: UtcMs) -> Option<BarGap> {
        let from = self.next_bar.replace(opens)?;
        (from < opens).then_some(BarGap { from, until: opens })
    }

    fn extend(&mut self, opens: UtcMs, candle: &Candle) -> PartialBar {
        let partial = match self.partial {
            Some(PartialBar { bar, candles }) if bar.open_time == opens => PartialBar {
                bar: Candle {
                    high: bar.high.max(candle.high),
                    low: bar.low.min(candle.low),
                    close: candle.close,
                    ..bar
                },
                candles: candles + 1,
            },
            _ => PartialBar {
                bar: Candle {
                    open_time: opens,
                    ..*candle
                },
                candles: 1,
            },
        };
        self.partial = Some(partial);
        partial
    }

    /// Ends a bar at its last candle: emits it if it is complete, else reports it as missing.
    fn finish_bar(&self, partial: PartialBar, missed: Option<BarGap>) -> AggregationOutcome {
        if partial.candles * self.base.millis() == self.bar.millis() {
            return AggregationOutcome {
                bar: Some(partial.bar),
                gap: missed,
            };
        }
        let opens = partial.bar.open_time;
        AggregationOutcome {
            bar: None,
            gap: Some(BarGap {
                from: missed.map_or(opens, |gap| gap.from),
                until: self.bar.close_of(opens),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: i64 = 60_000;

    fn candle(minute: i64, [open, high, low, close]: [i64; 4]) -> Candle {
        let [open, high, low, close] = [open, high, low, close].map(Price::from_units);
        Candle::new(Interval::M1, UtcMs(minute * MIN), open, high, low, close).unwrap()
    }

    fn flat(minute: i64) -> Candle {
        candle(minute, [5; 4])
    }

    fn three_minutes() -> Aggregator {
        Aggregator::new(Interval::M1, Interval::M3).unwrap()
    }

    /// Feeds minutes; yields the open minute of each bar, and of each gap's two ends.
    fn feed(minutes: &[i64]) -> (Vec<i64>, Vec<(i64, i64)>) {
        let mut aggregator = three_minutes();
        let (mut bars, mut gaps) = (Vec::new(), Vec::new());
        for minute in minutes {
            let done = aggregator.add_candle(&flat(*minute)).unwrap();
            bars.extend(done.bar.map(|bar| bar.open_time.0 / MIN));
            gaps.extend(done.gap.map(|gap| (gap.from.0 / MIN, gap.until.0 / MIN)));
        }
        (bars, gaps)
    }

    #[test]
    fn a_bar_is_first_open_highest_high_lowest_low_last_close() {
        let mut aggregator = three_minutes();
        for (minute, prices) in [(0, [5, 7, 4, 6]), (1, [6, 9, 5, 8])] {
            let done = aggregator.add_candle(&candle(minute, prices)).unwrap();
            assert_eq!(done, AggregationOutcome::default());
        }
        let done = aggregator.add_candle(&candle(2, [8, 8, 3, 4])).unwrap();
        let [open, high, low, close] = [5, 9, 3, 4].map(Price::from_units);
        let bar = Candle::new(Interval::M3, UtcMs(0), open, high, low, close).unwrap();
        assert_eq!(
            done,
            AggregationOutcome {
                bar: Some(bar),
                gap: None
            }
        );
        assert_eq!(aggregator.next_bar(), Some(UtcMs(3 * MIN)));
    }

    #[test]
    fn only_complete_bars_are_emitted_and_gaps_are_reported() {
        type Case<'a> = (&'a [i64], &'a [i64], &'a [(i64, i64)]);
        let cases: [Case; 8] = [
            (&[0, 1, 2, 3, 4, 5], &[0, 3], &[]),
            // It began in the middle of a bar.
            (&[1, 2, 3, 4, 5], &[3], &[(0, 3)]),
            // A candle in the middle is missing: known at the bar's end.
            (&[0, 2, 3, 4, 5], &[3], &[(0, 3)]),
            // The last candle is missing: known at the next bar's first.
            (&[0, 1, 3, 4, 5], &[3], &[(0, 3)]),
            // Whole bars are missing.
            (&[0, 1, 2, 9, 10, 11], &[0, 9], &[(3, 9)]),
            // A bar's end and the whole next bar up to the last candle of a third: one gap.
            (&[0, 1, 8], &[], &[(0, 9)]),
            // The same candles again, and older ones.
            (&[0, 0, 1, 0, 1, 2, 2, 1, 3, 4, 5], &[0, 3], &[]),
            (&[], &[], &[]),
        ];
        for (minutes, bars, gaps) in cases {
            assert_eq!(feed(minutes), (bars.to_vec(), gaps.to_vec()), "{minutes:?}");
        }
    }

    #[test]
    fn restart_at_sets_the_first_expected_bar() {
        let mut aggregator = three_minutes();
        aggregator.restart_at(UtcMs(3 * MIN));
        for minute in 0..5 {
            let done = aggregator.add_candle(&flat(minute)).unwrap();
            assert_eq!(done, AggregationOutcome::default(), "{minute}");
        }
        let bar = aggregator.add_candle(&flat(5)).unwrap().bar.unwrap();
        assert_eq!(bar.open_time, UtcMs(3 * MIN));
        aggregator.restart_at(UtcMs(3 * MIN));
        let gap = aggregator.add_candle(&flat(6)).unwrap().gap.unwrap();
        assert_eq!((gap.from, gap.until), (UtcMs(3 * MIN), UtcMs(6 * MIN)));
    }

    #[test]
    fn fast_path_accepts_only_the_next_inner_candle() {
        let mut aggregator = three_minutes();
        assert!(!aggregator.add_inner_candle(&flat(0)), "nothing to follow");
        aggregator.add_candle(&flat(0)).unwrap();
        let before = aggregator.clone();
        for (minute, why) in [
            (0, "again"),
            (-1, "older"),
            (2, "a gap"),
            (4, "another bar"),
        ] {
            assert!(!aggregator.add_inner_candle(&flat(minute)), "{why}");
            assert_eq!(aggregator, before, "{why}");
        }
        assert!(aggregator.add_inner_candle(&flat(1)));
        assert!(!aggregator.add_inner_candle(&flat(2)), "it ends the bar");
        assert!(aggregator.add_candle(&flat(2)).unwrap().bar.is_some());
        assert!(!aggregator.add_inner_candle(&flat(3)), "it begins a bar");
    }

    #[test]
    fn a_base_that_is_the_bar_passes_through() {
        let mut aggregator = Aggregator::new(Interval::M1, Interval::M1).unwrap();
        for minute in [4, 5, 6] {
            assert_eq!(
                aggregator.add_candle(&flat(minute)).unwrap().bar,
                Some(flat(minute))
            );
        }
    }

    #[test]
    fn invalid_interval_or_alignment_is_an_error() {
        let refused = Aggregator::new(Interval::M15, Interval::M5).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "base interval is 15m: expected an interval that divides 5m evenly"
        );
        let mut aggregator = Aggregator::new(Interval::M3, Interval::M30).unwrap();
        let refused = aggregator.add_candle(&flat(1)).unwrap_err().to_string();
        assert!(refused.contains("a multiple of 3m"), "{refused}");
        for at in [i64::MIN, i64::MAX] {
            let mut wild = flat(0);
            wild.open_time = Interval::M3.open_of(UtcMs(at));
            let _ = aggregator.add_candle(&wild);
        }
    }
}
