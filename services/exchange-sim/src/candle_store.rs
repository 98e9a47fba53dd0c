//! Candles of one contract in every interval that its base interval divides: closed candles in a bounded window, and
//! the open one. Candles that have left the window are not served.

use std::collections::VecDeque;

use crate::candle::Candle;
use crate::interval::Interval;

/// Number of base candles kept per contract: 34 days of minutes, or half a day of wall time at 60x.
const MAX_BASE_CANDLES: usize = 50_000;
/// Number of candles kept per contract and longer interval: six full responses of `klines`.
const MAX_LONGER_CANDLES: usize = 10_000;
/// The same for a generated contract: 33 hours of minutes, and one full response of `klines`.
const SMALL_WINDOW: [usize; 2] = [2_000, 1_500];

/// Range of requested candles by open time in UTC ms, both ends inclusive.
#[derive(Debug, Clone, Copy)]
pub struct CandleRange {
    /// Oldest open time, from which the range runs forward; `None` for the newest candles.
    pub start: Option<i64>,
    /// Newest open time; `None` for no limit.
    pub end: Option<i64>,
    /// Largest number of candles.
    pub limit: usize,
}

/// Candles of one interval.
#[derive(Debug)]
struct Series {
    interval: Interval,
    closed: VecDeque<Candle>,
    /// Closed base candles of the open bucket.
    open_bucket: Option<Candle>,
    max_candles: usize,
}

/// All intervals of one contract.
#[derive(Debug)]
pub struct CandleStore {
    base: Interval,
    series: Vec<Series>,
}

impl CandleStore {
    /// An empty store for base candles of `base`.
    pub fn new(base: Interval) -> Self {
        Self::with_window(base, [MAX_BASE_CANDLES, MAX_LONGER_CANDLES])
    }

    /// An empty store with a smaller window, for one of hundreds of contracts.
    pub fn small(base: Interval) -> Self {
        Self::with_window(base, SMALL_WINDOW)
    }

    fn with_window(base: Interval, [base_candles, longer_candles]: [usize; 2]) -> Self {
        let series = Interval::ALL
            .into_iter()
            .filter(|i| i.ms() % base.ms() == 0)
            .map(|interval| {
                let is_base = interval == base;
                Series::new(
                    interval,
                    if is_base {
                        base_candles
                    } else {
                        longer_candles
                    },
                )
            })
            .collect();
        Self { base, series }
    }

    /// Whether candles of `interval` can be built.
    pub fn has_interval(&self, interval: Interval) -> bool {
        self.series(interval).is_some()
    }

    /// Adds the next closed base candle; candles must arrive without gaps.
    pub fn push(&mut self, candle: &Candle) {
        let base_ms = self.base.ms();
        for series in &mut self.series {
            series.push(candle, base_ms);
        }
    }

    /// Candles of `interval` within `range`, oldest first. If `forming`, the open base candle, is given, the open
    /// candle of `interval` is the last one.
    pub fn candles(
        &self,
        interval: Interval,
        span: &CandleRange,
        forming: Option<&Candle>,
    ) -> Vec<Candle> {
        let Some(series) = self.series(interval) else {
            return Vec::new();
        };
        let running = series.running_candle(forming);
        let count = series.closed.len() + usize::from(running.is_some());
        let before = |time: i64| {
            let closed = series.closed.partition_point(|c| c.open_time < time);
            closed + usize::from(running.is_some_and(|c| c.open_time < time))
        };
        let from = span.start.map_or(0, before);
        let to = span.end.map_or(count, |e| before(e.saturating_add(1)));
        let (from, to) = match span.start {
            Some(_) => (from, to.min(from.saturating_add(span.limit))),
            None => (from.max(to.saturating_sub(span.limit)), to),
        };
        (from..to)
            .filter_map(|i| series.closed.get(i).copied().or(running))
            .collect()
    }

    /// Candles of `interval` that closed after `after_ms`, oldest first.
    pub fn closed_after(&self, interval: Interval, after_ms: i64) -> Vec<Candle> {
        self.series(interval).map_or_else(Vec::new, |series| {
            let first_open = after_ms.saturating_sub(interval.ms());
            let from = series.closed.partition_point(|c| c.open_time <= first_open);
            series.closed.range(from..).copied().collect()
        })
    }

    /// The closed base candle that contains `time`, or the last one before it.
    pub fn base_candle_at(&self, time: i64) -> Option<&Candle> {
        let closed = &self.series(self.base)?.closed;
        let after = closed.partition_point(|c| c.open_time <= time);
        closed.get(after.checked_sub(1)?)
    }

    /// The open candle of `interval`.
    pub fn running_candle(&self, interval: Interval, forming: Option<&Candle>) -> Option<Candle> {
        self.series(interval)?.running_candle(forming)
    }

    fn series(&self, interval: Interval) -> Option<&Series> {
        self.series.iter().find(|s| s.interval == interval)
    }
}

impl Series {
    fn new(interval: Interval, max_candles: usize) -> Self {
        Self {
            interval,
            closed: VecDeque::with_capacity(max_candles),
            open_bucket: None,
            max_candles,
        }
    }

    fn push(&mut self, candle: &Candle, base_ms: i64) {
        let bucket = self.interval.bucket(candle.open_time);
        match &mut self.open_bucket {
            Some(begun) => begun.merge(candle),
            // A bucket whose beginning is missing would give a wrong candle: it is left out.
            None if candle.open_time != bucket => return,
            None => self.open_bucket = Some(*candle),
        }
        if candle.open_time + base_ms == bucket + self.interval.ms() {
            // Drops the oldest first: a full window that grew by one would double its memory.
            if self.closed.len() == self.max_candles {
                self.closed.pop_front();
            }
            self.closed.extend(self.open_bucket.take());
        }
    }

    fn running_candle(&self, forming: Option<&Candle>) -> Option<Candle> {
        let Some(forming) = forming else {
            return self.open_bucket;
        };
        match self.open_bucket {
            Some(mut begun) => {
                begun.merge(forming);
                Some(begun)
            }
            None if forming.open_time == self.interval.bucket(forming.open_time) => Some(*forming),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::MINUTE_MS;

    fn minute(index: i64) -> Candle {
        Candle {
            open_time: index * MINUTE_MS,
            open: 100 + index,
            high: 110 + index,
            low: 90 + index,
            close: 101 + index,
            volume: 10,
            quote_volume: 1_000,
            taker_volume: 5,
            taker_quote_volume: 500,
            trades: 2,
        }
    }

    fn candle_store(minutes: std::ops::Range<i64>) -> CandleStore {
        let mut book = CandleStore::new(Interval::M1);
        for index in minutes {
            book.push(&minute(index));
        }
        book
    }

    fn opens(candles: &[Candle]) -> Vec<i64> {
        candles.iter().map(|c| c.open_time / MINUTE_MS).collect()
    }

    fn range(start: Option<i64>, end: Option<i64>, limit: usize) -> CandleRange {
        CandleRange {
            start: start.map(|m| m * MINUTE_MS),
            end: end.map(|m| m * MINUTE_MS),
            limit,
        }
    }

    #[test]
    fn an_incomplete_first_bucket_is_left_out() {
        let book = candle_store(3..16);
        let fives = book.candles(Interval::M5, &range(None, None, 10), None);
        assert_eq!(opens(&fives), [5, 10, 15]);
        let first = fives[0];
        assert_eq!((first.open, first.close, first.volume), (105, 110, 50));
        assert_eq!((first.high, first.low, first.trades), (119, 95, 10));
        assert_eq!(
            book.closed_after(Interval::M5, 0).len(),
            2,
            "the last of the three still runs"
        );
    }

    #[test]
    fn paging_runs_forward_from_the_start_and_backward_without_one() {
        let book = candle_store(0..10);
        let forming = minute(10);
        let pick = |s| opens(&book.candles(Interval::M1, &s, Some(&forming)));
        assert_eq!(pick(range(None, None, 3)), [8, 9, 10]);
        assert_eq!(pick(range(Some(2), None, 3)), [2, 3, 4]);
        assert_eq!(pick(range(Some(9), None, 5)), [9, 10]);
        assert_eq!(pick(range(None, Some(5), 2)), [4, 5]);
        assert_eq!(pick(range(Some(4), Some(5), 9)), [4, 5]);
        assert_eq!(pick(range(Some(11), None, 5)), Vec::<i64>::new());
    }

    #[test]
    fn closed_after_returns_each_candle_once() {
        let book = candle_store(0..10);
        let after = |ms| opens(&book.closed_after(Interval::M1, ms));
        assert_eq!(after(9 * MINUTE_MS), [9]);
        assert_eq!(after(10 * MINUTE_MS - 1), [9]);
        assert_eq!(after(10 * MINUTE_MS), Vec::<i64>::new());
    }

    #[test]
    fn the_window_is_bounded() {
        let count = i64::try_from(MAX_BASE_CANDLES).unwrap() + 100;
        let book = candle_store(0..count);
        let all = book.candles(Interval::M1, &range(None, None, usize::MAX), None);
        assert_eq!(all.len(), MAX_BASE_CANDLES);
        assert_eq!(all[0].open_time, 100 * MINUTE_MS);
        let asked = |s| opens(&book.candles(Interval::M1, &s, None));
        assert_eq!(asked(range(Some(0), Some(99), 9)), Vec::<i64>::new());
        assert_eq!(asked(range(Some(0), None, 2)), [100, 101]);
        let hours = book.candles(Interval::H1, &range(Some(0), None, 1), None);
        assert_eq!(opens(&hours), [0], "longer ones reach farther back");
        let never_grew = |s: &Series| s.closed.capacity() < 2 * s.max_candles;
        assert!(book.series.iter().all(never_grew));
    }

    #[test]
    fn a_coarser_base_offers_only_its_multiples() {
        let book = CandleStore::new(Interval::M3);
        assert!(!book.has_interval(Interval::M1) && !book.has_interval(Interval::M5));
        assert!(book.has_interval(Interval::M15) && book.has_interval(Interval::D1));
    }
}
