//! The candles of a backtest, from a file that is read row by row. Entry point: [`BacktestCandles::open`]. The interval is
//! derived from the first rows; missing candles are counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_file::{CandleReader, CandleRow, InvalidCandleFile};
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;

/// Number of rows whose most common step is the file's interval.
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

/// The candles of a file that is being read.
pub(super) struct BacktestCandles {
    reader: CandleReader,
    /// Rows that were read to derive the interval, up to the first invalid one.
    head: VecDeque<Result<CandleRow, InvalidCandleFile>>,
    interval: Interval,
    last: Option<UtcMs>,
    gaps: CandleGaps,
}

impl BacktestCandles {
    /// Opens a file and derives the interval of its candles. The file is read through `wrap_reader`.
    ///
    /// # Errors
    /// Exit 78 if the file cannot be read, or if its interval is none that a backtest can use.
    pub(super) fn open(
        path: &Path,
        wrap_reader: impl FnOnce(File) -> Box<dyn Read>,
    ) -> Result<Self, ExitError> {
        let mut reader = CandleReader::open(path, wrap_reader).map_err(invalid_file)?;
        let mut head = VecDeque::new();
        while head.len() < INTERVAL_SAMPLE_ROWS
            && let Some(row) = reader.next().transpose()
        {
            let ends = row.is_err();
            head.push_back(row);
            if ends {
                break;
            }
        }
        Ok(Self {
            interval: interval_of(&reader, &head).map_err(invalid_file)?,
            reader,
            head,
            last: None,
            gaps: CandleGaps::default(),
        })
    }

    /// Interval of the file's candles.
    pub(super) const fn interval(&self) -> Interval {
        self.interval
    }

    /// Gaps up to the newest candle.
    pub(super) const fn gaps(&self) -> CandleGaps {
        self.gaps
    }

    /// The next candle; `None` after the last.
    ///
    /// # Errors
    /// Exit 78 for the first invalid value of the row, or if it cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Candle>, ExitError> {
        let row = match self.head.pop_front() {
            Some(row) => row.map_err(invalid_file)?,
            None => match self.reader.next().map_err(invalid_file)? {
                Some(row) => row,
                None => return Ok(None),
            },
        };
        let open_time = UtcMs(row.open_time_ms);
        if self.interval.open_of(open_time) != open_time {
            let expected = format!(
                "a multiple of {} ms: most of the file's first candles are {} apart",
                self.interval.millis(),
                self.interval
            );
            return Err(invalid_file(self.reader.invalid_open_time(&row, expected)));
        }
        if let Some(last) = self.last.replace(open_time) {
            self.count_missing(self.interval.close_of(last), open_time);
        }
        candle(self.interval, &row).map(Some)
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
fn candle(interval: Interval, row: &CandleRow) -> Result<Candle, ExitError> {
    let bug = |error: String| ExitError::internal(format!("candle of line {}: {error}", row.line));
    let price = |value: Decimal| Price::from_decimal(value).map_err(|error| bug(error.to_string()));
    let (open, high) = (price(row.open)?, price(row.high)?);
    let (low, close) = (price(row.low)?, price(row.close)?);
    Candle::new(interval, UtcMs(row.open_time_ms), open, high, low, close)
        .map_err(|error| bug(error.to_string()))
}

/// The most common step of the first rows.
fn interval_of(
    reader: &CandleReader,
    head: &VecDeque<Result<CandleRow, InvalidCandleFile>>,
) -> Result<Interval, InvalidCandleFile> {
    let good: Vec<&CandleRow> = head.iter().flatten().collect();
    if good.len() == head.len() && good.len() < 2 {
        return Err(reader.invalid_row_count(good.len(), "at least 2".to_owned()));
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
        let expected = "1, 3, 5, 15 or 30 minutes after the candle before, in ms";
        reader.invalid_open_time(row, expected.to_owned())
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
