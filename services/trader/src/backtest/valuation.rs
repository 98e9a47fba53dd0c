//! The equity of the account at every base candle: drawdown, daily returns, monthly returns, the curve.

use std::collections::BTreeMap;

use protocol::time::UtcMs;

use super::curve::EquityCurve;
use super::totals::Month;

const DAY_MS: i64 = 86_400_000;

/// A fall of the equity from a peak.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Drawdown {
    /// Share of the peak.
    pub(super) depth: f64,
    /// Time of the peak.
    pub(super) peak_at: UtcMs,
    /// Time of the lowest value.
    pub(super) low_at: UtcMs,
}

/// Equity over time, marked to market at the close of every base candle.
#[derive(Debug)]
pub(super) struct Valuation {
    now: f64,
    peak: (UtcMs, f64),
    /// The largest drawdown; `None` without one.
    pub(super) max_drawdown: Option<Drawdown>,
    /// Longest time without a new peak, in milliseconds.
    pub(super) longest_drawdown_ms: u64,
    /// The day in progress, and the equity when it began.
    day: Option<(i64, f64)>,
    returns: Vec<f64>,
    /// Equity at the beginning and the end of each month.
    months: BTreeMap<Month, (f64, f64)>,
    /// The equity at the close of 30-minute bars.
    pub(super) curve: EquityCurve,
}

impl Valuation {
    /// The valuation of an account with this equity at `at`.
    pub(super) fn new(at: UtcMs, equity: f64) -> Self {
        let mut curve = EquityCurve::default();
        curve.add(at, equity);
        Self {
            now: equity,
            peak: (at, equity),
            max_drawdown: None,
            longest_drawdown_ms: 0,
            day: None,
            returns: Vec::new(),
            months: BTreeMap::new(),
            curve,
        }
    }

    /// Takes in the equity at the close of a candle.
    #[inline]
    pub(super) fn add(&mut self, close: UtcMs, equity: f64) {
        // A candle that closes at midnight belongs to the day before.
        let day = (close.0 - 1).div_euclid(DAY_MS);
        if self.day.is_none_or(|(current, _)| current != day) {
            self.begin_day(day, close);
        }
        if equity >= self.peak.1 {
            self.end_drawdown(close);
            self.peak = (close, equity);
        } else {
            let depth = (self.peak.1 - equity) / self.peak.1;
            if self.max_drawdown.is_none_or(|most| depth > most.depth) {
                self.max_drawdown = Some(Drawdown {
                    depth,
                    peak_at: self.peak.0,
                    low_at: close,
                });
            }
        }
        self.now = equity;
    }

    /// Ends the day and the drawdown in progress.
    pub(super) fn finish(&mut self, close: UtcMs) {
        if let Some((_, before)) = self.day.take() {
            self.returns.push(change(before, self.now));
            self.end_month(UtcMs(close.0 - 1));
        }
        if self.now < self.peak.1 {
            self.end_drawdown(close);
        }
        self.curve.add(close, self.now);
    }

    /// Returns by day; days without candles have a return of zero.
    pub(super) fn returns(&self) -> &[f64] {
        &self.returns
    }

    /// Returns by month.
    pub(super) fn monthly_returns(&self) -> impl Iterator<Item = (Month, f64)> {
        let months = self.months.iter();
        months.map(|(month, (before, after))| (*month, change(*before, *after)))
    }

    fn begin_day(&mut self, day: i64, close: UtcMs) {
        if let Some((last, before)) = self.day {
            self.returns.push(change(before, self.now));
            for _ in last + 1..day {
                self.returns.push(0.0);
            }
            self.end_month(UtcMs((last + 1) * DAY_MS - 1));
        }
        self.day = Some((day, self.now));
        let now = self.now;
        self.months
            .entry(Month::of(UtcMs(close.0 - 1)))
            .or_insert((now, now));
    }

    fn end_month(&mut self, at: UtcMs) {
        if let Some((_, after)) = self.months.get_mut(&Month::of(at)) {
            *after = self.now;
        }
    }

    fn end_drawdown(&mut self, at: UtcMs) {
        let length = at.millis_since(self.peak.0);
        // Between two peaks in a row there is none.
        if self.now < self.peak.1 {
            self.longest_drawdown_ms = self.longest_drawdown_ms.max(length);
        }
    }
}

fn change(before: f64, after: f64) -> f64 {
    if before > 0.0 {
        after / before - 1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_drawdown_is_measured_from_the_highest_earlier_value() {
        let mut value = Valuation::new(UtcMs(0), 100.0);
        for (at, equity) in [
            (1, 100.0),
            (2, 120.0),
            (3, 108.0),
            (4, 121.0),
            (5, 110.0),
            (9, 109.0),
        ] {
            value.add(UtcMs(at), equity);
        }
        value.finish(UtcMs(9));
        // 120 to 108 is 10 %; 121 to 109 is 9.9 %, but lasts longer.
        let drawdown = value.max_drawdown.unwrap();
        assert!((drawdown.depth - 0.1).abs() < 1e-12, "{drawdown:?}");
        assert_eq!((drawdown.peak_at, drawdown.low_at), (UtcMs(2), UtcMs(3)));
        assert_eq!(value.longest_drawdown_ms, 5);
    }

    #[test]
    fn days_and_months_return_the_change_of_their_equity() {
        let mut value = Valuation::new(UtcMs(0), 100.0);
        let day = |n: i64| UtcMs(n * DAY_MS);
        // The first day ends with 110. Nothing trades on the third. The last is of February.
        for (at, equity) in [
            (day(1), 110.0),
            (day(2), 99.0),
            (day(4), 99.0),
            (day(32), 198.0),
        ] {
            value.add(at, equity);
        }
        value.finish(day(32));
        let returns = value.returns();
        assert_eq!(returns.len(), 32);
        assert!((returns[0] - 0.1).abs() < 1e-12 && (returns[1] + 0.1).abs() < 1e-12);
        assert!((returns[31] - 1.0).abs() < 1e-12, "{returns:?}");
        let months: Vec<(String, f64)> = value
            .monthly_returns()
            .map(|(month, change)| (month.to_string(), (change * 1e6).round() / 1e6))
            .collect();
        let expected = [("1970-01".to_owned(), -0.01), ("1970-02".to_owned(), 1.0)];
        assert_eq!(months, expected);
    }
}
