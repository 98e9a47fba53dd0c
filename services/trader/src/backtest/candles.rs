//! The candles of one symbol, row by row. Entry point: [`BacktestCandles::open`]. The interval is derived from the first
//! rows; missing candles are counted; prices that cannot be the symbol's are refused.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use candle_file::{CandleRow, CandleSeries, ColumnNames, InvalidCandleFile};
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;
use trader_core::symbol_filters::SymbolFilters;

use super::inputs::SymbolFiles;
use super::instruments::check_price;
use super::progress;

/// Number of rows whose most common step is the interval.
const INTERVAL_SAMPLE_ROWS: usize = 1_000;

/// Candles that are missing between the first and the last one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CandleGaps {
    /// Number of gaps.
    pub(super) count: u64,
    /// Number of missing candles in all gaps.
    pub(super) missing: u64,
    /// The first gap: open time of its first candle, and of the first candle after it.
    pub(super) first: Option<(UtcMs, UtcMs)>,
}

/// The candles of a symbol that are being read.
pub(super) struct BacktestCandles {
    filters: SymbolFilters,
    series: CandleSeries,
    /// Rows that were read to derive the interval, up to the first invalid one.
    head: VecDeque<Result<CandleRow, InvalidCandleFile>>,
    interval: Interval,
    next: Option<Candle>,
    last: Option<UtcMs>,
    gaps: CandleGaps,
}

impl BacktestCandles {
    /// Opens the files of a symbol and derives the interval of its candles.
    ///
    /// # Errors
    /// Exit 78 if a file cannot be read, if its interval is none that a backtest can use, or if its prices cannot be the
    /// symbol's.
    pub(super) fn open(
        files: &SymbolFiles,
        filters: SymbolFilters,
        columns: ColumnNames,
    ) -> Result<Self, ExitError> {
        let series = CandleSeries::open(&files.paths, columns, progress::with_progress_bar);
        let mut series = series.map_err(invalid_file)?;
        let mut head = VecDeque::new();
        while head.len() < INTERVAL_SAMPLE_ROWS
            && let Some(row) = series.next().transpose()
        {
            let ends = row.is_err();
            head.push_back(row);
            if ends {
                break;
            }
        }
        let mut candles = Self {
            interval: interval_of(&series, &head).map_err(invalid_file)?,
            filters,
            series,
            head,
            next: None,
            last: None,
            gaps: CandleGaps::default(),
        };
        candles.read_next()?;
        Ok(candles)
    }

    /// Interval of the candles.
    pub(super) const fn interval(&self) -> Interval {
        self.interval
    }

    /// Filters of the symbol.
    pub(super) const fn filters(&self) -> &SymbolFilters {
        &self.filters
    }

    /// Gaps up to the newest candle.
    pub(super) const fn gaps(&self) -> CandleGaps {
        self.gaps
    }

    /// What was found, for example `Binance portal, 12 files`.
    pub(super) fn description(&self) -> String {
        self.series.description()
    }

    /// Open time of the next candle; `None` after the last.
    #[inline]
    pub(super) fn next_open(&self) -> Option<UtcMs> {
        self.next.map(|candle| candle.open_time)
    }

    /// The next candle; `None` after the last.
    ///
    /// # Errors
    /// Exit 78 for the first invalid value of the row after it, or if that cannot be read.
    #[inline]
    pub(super) fn take(&mut self) -> Result<Option<Candle>, ExitError> {
        let candle = self.next.take();
        self.read_next()?;
        Ok(candle)
    }

    fn read_next(&mut self) -> Result<(), ExitError> {
        let row = match self.head.pop_front() {
            Some(row) => Some(row),
            None => self.series.next().transpose(),
        };
        let Some(row) = row.transpose().map_err(invalid_file)? else {
            return Ok(());
        };
        let open_time = UtcMs(row.open_time_ms);
        if self.interval.open_of(open_time) != open_time {
            let expected = format!(
                "a multiple of {} ms: most of the first candles are {} apart",
                self.interval.millis(),
                self.interval
            );
            return Err(invalid_file(self.series.invalid_open_time(&row, expected)));
        }
        if let Some(last) = self.last.replace(open_time) {
            self.count_missing(self.interval.close_of(last), open_time);
        } else {
            check_price(&self.filters, Price::from_units(row.close))?;
        }
        self.next = Some(candle(self.interval, &row)?);
        Ok(())
    }

    fn count_missing(&mut self, expected: UtcMs, found: UtcMs) {
        let missing = found.millis_since(expected) / self.interval.millis().unsigned_abs();
        if missing > 0 {
            self.gaps.count += 1;
            self.gaps.missing += missing;
            self.gaps.first.get_or_insert((expected, found));
        }
    }
}

/// The candle of a row. The reader has checked its prices, so that a failure is a bug.
#[inline]
fn candle(interval: Interval, row: &CandleRow) -> Result<Candle, ExitError> {
    let [open, high, low, close] = [row.open, row.high, row.low, row.close].map(Price::from_units);
    Candle::new(interval, UtcMs(row.open_time_ms), open, high, low, close)
        .map_err(|error| ExitError::internal(format!("candle of line {}: {error}", row.line)))
}

/// The most common step of the first rows.
fn interval_of(
    series: &CandleSeries,
    head: &VecDeque<Result<CandleRow, InvalidCandleFile>>,
) -> Result<Interval, InvalidCandleFile> {
    let good: Vec<&CandleRow> = head.iter().flatten().collect();
    if good.len() == head.len() && good.len() < 2 {
        return Err(series.invalid_row_count(good.len(), "at least 2".to_owned()));
    }
    let mut steps: BTreeMap<i64, (usize, &CandleRow)> = BTreeMap::new();
    for pair in good.windows(2) {
        let step = pair[1].open_time_ms - pair[0].open_time_ms;
        steps.entry(step).or_insert((0, pair[1])).0 += 1;
    }
    let common = steps.into_iter().max_by_key(|(step, (count, _))| {
        (*count, allowed_interval(*step).is_some(), Reverse(*step))
    });
    let Some((step, (_, row))) = common else {
        // The error in these rows is reported when they are read.
        return Ok(Interval::M1);
    };
    allowed_interval(step).ok_or_else(|| {
        let expected = format!(
            "1, 3, 5, 15 or 30 minutes after the candle before; most candles of this file are {} apart",
            protocol::duration::format_ms(step.unsigned_abs())
        );
        series.invalid_open_time(row, expected)
    })
}

/// The interval of this length; `None` if files may not have it.
fn allowed_interval(step: i64) -> Option<Interval> {
    Interval::ALL
        .into_iter()
        .find(|i| i.millis() == step && *i <= Interval::M30)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn invalid_file(error: InvalidCandleFile) -> ExitError {
    ExitError::config(error.to_string())
}
