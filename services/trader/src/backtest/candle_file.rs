//! A candle file, read row by row: a year needs no more memory than a day. Entry point: [`CandleFile::open`]. An
//! invalid value is refused with line and column; missing candles are counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::candle::{Candle, Interval, InvalidCandle};
use trader_core::fixed_point::{Price, SCALE};

/// Number of rows whose most common step is the file's interval.
const INTERVAL_SAMPLE_ROWS: usize = 1_000;
/// Latest open time of a candle: 2100-01-01.
const MAX_OPEN_TIME_MS: i64 = 4_102_444_800_000;
/// Highest price of a candle, far above all real prices: leaves room for calculations.
const PRICE_LIMIT: i64 = 1_000_000_000;

const COLUMNS: [&str; 5] = ["open_time", "open", "high", "low", "close"];

/// Why a candle file is refused, in one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidCandleFile {
    /// The file cannot be opened or read.
    #[error("candle file {file}: {cause}; allowed: a readable CSV or CSV.gz file")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// The system's error.
        cause: String,
    },
    /// The header lacks a column.
    #[error(
        "candle file {file}, line 1, column {column}: missing, found {found:?}; allowed: a header with open_time, open, high, low, close"
    )]
    MissingColumn {
        /// Path of the file.
        file: String,
        /// Name of the column.
        column: &'static str,
        /// The header of the file.
        found: String,
    },
    /// A value is invalid.
    #[error("candle file {file}, line {line}, column {column}: {value:?}; allowed: {allowed}")]
    InvalidValue {
        /// Path of the file.
        file: String,
        /// Line number, the header being 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The value in the file.
        value: String,
        /// The allowed values.
        allowed: String,
    },
    /// Too few rows to derive the interval.
    #[error("candle file {file}: {rows} candles; allowed: at least 2")]
    TooFewRows {
        /// Path of the file.
        file: String,
        /// Number of rows in the file.
        rows: usize,
    },
}

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

/// A candle file that is being read.
pub(super) struct CandleFile {
    rows: CandleRows,
    /// Rows that were read to derive the interval.
    head: VecDeque<Result<CandleRow, InvalidCandleFile>>,
    interval: Interval,
    last: Option<UtcMs>,
    gaps: CandleGaps,
}

/// One row's numbers, before the checks of a candle, which depend on the interval.
#[derive(Clone, Copy)]
struct CandleRow {
    line: u64,
    open_time: UtcMs,
    prices: [Price; 4],
}

impl CandleFile {
    /// Opens `path` and finds its interval. Gzip is recognised by its first bytes; `monitor` sees the bytes
    /// of the file as they are read.
    ///
    /// # Errors
    /// The first invalid value of the file's header and first rows.
    pub(super) fn open(
        path: &Path,
        wrap_reader: impl FnOnce(File) -> Box<dyn Read>,
    ) -> Result<Self, InvalidCandleFile> {
        let mut rows = CandleRows::open(path, wrap_reader)?;
        let mut head = VecDeque::new();
        while head.len() < INTERVAL_SAMPLE_ROWS
            && let Some(row) = rows.next().transpose()
        {
            let ends = row.is_err();
            head.push_back(row);
            if ends {
                break;
            }
        }
        Ok(Self {
            interval: interval_of(&rows.file, &head)?,
            rows,
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
    /// The first invalid value of the row, or a failure to read it.
    pub(super) fn next(&mut self) -> Result<Option<Candle>, InvalidCandleFile> {
        let row = match self.head.pop_front() {
            Some(row) => row?,
            None => match self.rows.next()? {
                Some(row) => row,
                None => return Ok(None),
            },
        };
        let CandleRow {
            line,
            open_time,
            prices: [open, high, low, close],
        } = row;
        let candle = Candle::new(self.interval, open_time, open, high, low, close)
            .map_err(|bad| invalid_candle(&self.rows.file, line, &bad))?;
        if let Some(last) = self.last.replace(open_time) {
            let expected = self.interval.close_of(last);
            if open_time < expected {
                let allowed = format!("later than the candle before, {}", last.0);
                return Err(self
                    .rows
                    .invalid_value(line, 0, &open_time.0.to_string(), allowed));
            }
            self.count_missing(expected, open_time);
        }
        Ok(Some(candle))
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

/// The most common step of the first rows.
fn interval_of(
    file: &str,
    head: &VecDeque<Result<CandleRow, InvalidCandleFile>>,
) -> Result<Interval, InvalidCandleFile> {
    let good: Vec<&CandleRow> = head.iter().flatten().collect();
    if good.len() == head.len() && good.len() < 2 {
        return Err(InvalidCandleFile::TooFewRows {
            file: file.to_owned(),
            rows: good.len(),
        });
    }
    let mut steps: BTreeMap<i64, (usize, &CandleRow)> = BTreeMap::new();
    for pair in good.windows(2) {
        let step = pair[1].open_time.0 - pair[0].open_time.0;
        if step > 0 {
            steps.entry(step).or_insert((0, pair[1])).0 += 1;
        }
    }
    let common = steps.into_iter().max_by_key(|(step, (count, _))| {
        (*count, allowed_interval(*step).is_some(), Reverse(*step))
    });
    let Some((step, (_, row))) = common else {
        // The error in these rows is reported when they are read.
        return Ok(Interval::M1);
    };
    allowed_interval(step).ok_or_else(|| {
        let allowed = "1, 3, 5, 15 or 30 minutes after the candle before, in ms";
        let at = row.open_time.0.to_string();
        invalid_value(file, row.line, 0, &at, allowed.to_owned())
    })
}

/// The interval of this length; `None` if files may not have it.
fn allowed_interval(step: i64) -> Option<Interval> {
    Interval::ALL
        .into_iter()
        .find(|i| i.millis() == step && *i <= Interval::M30)
}

fn invalid_candle(file: &str, line: u64, bad: &InvalidCandle) -> InvalidCandleFile {
    let place = |name: &str| COLUMNS.iter().position(|c| *c == name).unwrap_or(0);
    match bad {
        InvalidCandle::NotPositive {
            field, value: v, ..
        } => invalid_value(
            file,
            line,
            place(field),
            &v.to_string(),
            format!("a number above 0 and below {PRICE_LIMIT}"),
        ),
        InvalidCandle::HighTooLow { high, least, .. } => invalid_value(
            file,
            line,
            2,
            &high.to_string(),
            format!("at least open and close, {least}"),
        ),
        InvalidCandle::LowTooHigh { low, most, .. } => invalid_value(
            file,
            line,
            3,
            &low.to_string(),
            format!("at most open and close, {most}"),
        ),
        InvalidCandle::NotAligned {
            open_time,
            interval,
        } => invalid_value(
            file,
            line,
            0,
            &open_time.0.to_string(),
            format!(
                "a multiple of {} ms: most of the file's first candles are {interval} apart",
                interval.millis()
            ),
        ),
    }
}

fn invalid_value(
    file: &str,
    line: u64,
    column: usize,
    value: &str,
    allowed: String,
) -> InvalidCandleFile {
    InvalidCandleFile::InvalidValue {
        file: file.to_owned(),
        line,
        column: COLUMNS[column],
        value: value.to_owned(),
        allowed,
    }
}

/// The rows of the file as numbers.
struct CandleRows {
    file: String,
    reader: csv::Reader<Box<dyn Read>>,
    /// Position of each of [`COLUMNS`] in a row.
    column_positions: [usize; 5],
    row: StringRecord,
}

impl CandleRows {
    fn open(
        path: &Path,
        wrap_reader: impl FnOnce(File) -> Box<dyn Read>,
    ) -> Result<Self, InvalidCandleFile> {
        let file = path.display().to_string();
        let unreadable = |cause: String| InvalidCandleFile::Unreadable {
            file: file.clone(),
            cause,
        };
        let bytes = File::open(path)
            .and_then(|opened| decompressed(wrap_reader(opened)))
            .map_err(|e| unreadable(e.to_string()))?;
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let header = reader.headers().map_err(|e| unreadable(e.to_string()))?;
        let places = find_columns(&file, header)?;
        Ok(Self {
            file,
            reader,
            column_positions: places,
            row: StringRecord::new(),
        })
    }

    fn next(&mut self) -> Result<Option<CandleRow>, InvalidCandleFile> {
        let more = self.reader.read_record(&mut self.row);
        let more = more.map_err(|e| InvalidCandleFile::Unreadable {
            file: self.file.clone(),
            cause: e.to_string(),
        })?;
        if !more {
            return Ok(None);
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        let open_time = self.time(line)?;
        let mut prices = [Price::ZERO; 4];
        for (slot, column) in prices.iter_mut().zip(1..) {
            let cell = self.cell(column);
            *slot = price(cell).ok_or_else(|| {
                let allowed = format!("a number above 0 and below {PRICE_LIMIT}");
                self.invalid_value(line, column, cell, allowed)
            })?;
        }
        Ok(Some(CandleRow {
            line,
            open_time,
            prices,
        }))
    }

    fn time(&self, line: u64) -> Result<UtcMs, InvalidCandleFile> {
        let cell = self.cell(0);
        match cell.parse::<i64>() {
            Ok(ms) if (0..=MAX_OPEN_TIME_MS).contains(&ms) => Ok(UtcMs(ms)),
            _ => {
                let allowed = format!("milliseconds since the epoch, 0 to {MAX_OPEN_TIME_MS}");
                Err(self.invalid_value(line, 0, cell, allowed))
            }
        }
    }

    fn cell(&self, column: usize) -> &str {
        self.row.get(self.column_positions[column]).unwrap_or("")
    }

    fn invalid_value(
        &self,
        line: u64,
        column: usize,
        text: &str,
        allowed: String,
    ) -> InvalidCandleFile {
        invalid_value(&self.file, line, column, text, allowed)
    }
}

fn decompressed(bytes: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut plain = BufReader::with_capacity(1 << 16, bytes);
    if plain.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(plain)))
    } else {
        Ok(Box::new(plain))
    }
}

fn find_columns(file: &str, header: &StringRecord) -> Result<[usize; 5], InvalidCandleFile> {
    let mut places = [0; 5];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = header
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| InvalidCandleFile::MissingColumn {
                file: file.to_owned(),
                column,
                found: header.iter().collect::<Vec<_>>().join(","),
            })?;
    }
    Ok(places)
}

/// A price, rounded to the smallest price step; `None` for a text that is no valid price.
fn price(text: &str) -> Option<Price> {
    let number = text
        .parse::<Decimal>()
        .or_else(|_| Decimal::from_scientific(text))
        .ok()?;
    let number = Some(number).filter(|n| n.abs() < Decimal::from(PRICE_LIMIT))?;
    Price::from_decimal(number.round_dp(SCALE)).ok()
}
