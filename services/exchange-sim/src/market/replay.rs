//! A recorded market: reads and validates a candle file, and plays it back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::candle::{AMOUNT_DECIMALS, Candle, PRICE_DECIMALS};
use crate::interval::Interval;
use crate::symbols::Contract;

/// Largest number of rows: 5.7 years of minutes, about 240 MB of memory.
const MAX_ROWS: usize = 3_000_000;
/// Upper limit of prices and volumes, so that sums fit into integers.
const VALUE_LIMIT: i64 = 1_000_000_000;
/// Mean value of a trade in USDT, for files without trade counts.
const TRADE_VALUE: i64 = 2_500 * 10_i64.pow(AMOUNT_DECIMALS);
/// Number of 30-minute candles in the default warm-up, as indicators of 30-minute bars need. Indicators of 4-hour
/// bars need more.
const DEFAULT_WARMUP_HALF_HOURS: i64 = 300;

/// Error of a candle file, in one line.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCandleFile {
    /// The file cannot be opened or read.
    #[error("candle file {file}: {error}; expected a readable CSV or CSV.gz file")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Error of the operating system.
        error: String,
    },
    /// The header lacks a column.
    #[error(
        "candle file {file}, line 1, column {column}: missing, found {found:?}; expected a header with open_time, open, high, low, close and optionally volume, quote_volume"
    )]
    MissingColumn {
        /// Path of the file.
        file: String,
        /// Name of the column.
        column: &'static str,
        /// The header that was found.
        found: String,
    },
    /// A value is invalid.
    #[error("candle file {file}, line {line}, column {column}: {value:?}; expected {allowed}")]
    Value {
        /// Path of the file.
        file: String,
        /// Line number, the header being 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The value that was found.
        value: String,
        /// What is expected.
        allowed: String,
    },
    /// Too few or too many rows.
    #[error("candle file {file}: {rows} candles; expected 2 to {MAX_ROWS}")]
    Rows {
        /// Path of the file.
        file: String,
        /// Number of rows, or one more than allowed.
        rows: usize,
    },
}

/// A validated candle file without gaps.
#[derive(Debug)]
pub struct Recording {
    base: Interval,
    candles: Vec<Candle>,
}

/// The candles of a recording in order.
pub struct ReplaySource(std::vec::IntoIter<Candle>);

impl ReplaySource {
    /// The next candle; `None` after the last.
    pub(super) fn next(&mut self) -> Option<Candle> {
        self.0.next()
    }
}

impl Recording {
    /// Reads a candle file of a contract; gzip is recognized by its first bytes.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for the first error in the file.
    pub fn read(path: &Path, contract: &Contract) -> Result<Self, InvalidCandleFile> {
        let file = FileReader {
            path: path.to_owned(),
            contract_step: contract.step,
        };
        let mut rows = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(file.open()?);
        let columns = file.columns(rows.headers().map_err(|e| file.unreadable(&e))?)?;
        let mut candles: Vec<Candle> = Vec::new();
        let mut base = None;
        for row in rows.records() {
            let row = row.map_err(|e| file.unreadable(&e))?;
            let cells = CsvRow {
                file: &file,
                columns: &columns,
                row: &row,
            };
            let candle = cells.candle()?;
            if let Some(previous) = candles.last() {
                base = Some(cells.check_interval(previous, base, candle.open_time)?);
            }
            if candles.len() == MAX_ROWS {
                return Err(file.wrong_row_count(MAX_ROWS + 1));
            }
            candles.push(candle);
        }
        match base {
            Some(base) => Ok(Self { base, candles }),
            None => Err(file.wrong_row_count(candles.len())),
        }
    }

    /// Interval of the file.
    pub const fn base(&self) -> Interval {
        self.base
    }

    /// Number of candles, at least 2.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a recording is never empty: read() refuses that"
    )]
    pub fn len(&self) -> usize {
        self.candles.len()
    }

    /// Default warm-up: 300 half-hours, or half of a shorter file.
    pub fn default_warmup(&self) -> usize {
        let wanted = DEFAULT_WARMUP_HALF_HOURS * Interval::M30.ms() / self.base.ms();
        usize::try_from(wanted).unwrap_or(0).min(self.len() / 2)
    }

    /// Time at which the first `warmup` candles have closed, UTC ms.
    pub(super) fn opens_ms(&self, warmup: usize) -> i64 {
        let first = self.candles.first().map_or(0, |c| c.open_time);
        first + i64::try_from(warmup).unwrap_or(0) * self.base.ms()
    }

    /// Close time of the last candle, UTC ms.
    pub(super) fn ends_ms(&self) -> i64 {
        self.opens_ms(self.len())
    }

    /// Identity of the content, independent of its path.
    pub(super) fn identity(&self, contract: &Contract) -> String {
        let values = self
            .candles
            .iter()
            .flat_map(|c| [c.open_time, c.open, c.high, c.low, c.close]);
        // FNV-1a over the numbers: distinguishes files, no protection against forgery.
        let mark = values
            .flat_map(i64::to_le_bytes)
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let (symbol, count, base) = (contract.symbol, self.len(), self.base);
        format!("replay, {symbol}, {count} candles of {base}, mark {mark:016x}")
    }

    /// Converts into the sequence of its candles.
    pub(super) fn into_source(self) -> ReplaySource {
        ReplaySource(self.candles.into_iter())
    }
}

/// The file during reading: opens it and builds errors.
struct FileReader {
    path: PathBuf,
    contract_step: i64,
}

/// Positions of the columns.
struct Columns {
    open_time: usize,
    prices: [usize; 4],
    volume: Option<usize>,
    quote_volume: Option<usize>,
}

const PRICES: [&str; 4] = ["open", "high", "low", "close"];

impl FileReader {
    fn open(&self) -> Result<Box<dyn Read>, InvalidCandleFile> {
        let open = || -> io::Result<Box<dyn Read>> {
            let mut plain = BufReader::new(File::open(&self.path)?);
            if plain.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
                Ok(Box::new(MultiGzDecoder::new(plain)))
            } else {
                Ok(Box::new(plain))
            }
        };
        open().map_err(|e| self.unreadable(&e))
    }

    fn columns(&self, header: &StringRecord) -> Result<Columns, InvalidCandleFile> {
        let place = |column: &str| header.iter().position(|name| name == column);
        let needed = |column: &'static str| {
            place(column).ok_or_else(|| InvalidCandleFile::MissingColumn {
                file: self.name(),
                column,
                found: header.iter().collect::<Vec<_>>().join(","),
            })
        };
        let [open, high, low, close] = PRICES;
        Ok(Columns {
            open_time: needed("open_time")?,
            prices: [needed(open)?, needed(high)?, needed(low)?, needed(close)?],
            volume: place("volume"),
            quote_volume: place("quote_volume"),
        })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn unreadable(&self, cause: &dyn std::error::Error) -> InvalidCandleFile {
        InvalidCandleFile::Unreadable {
            file: self.name(),
            error: cause.to_string(),
        }
    }

    fn wrong_row_count(&self, rows: usize) -> InvalidCandleFile {
        InvalidCandleFile::Rows {
            file: self.name(),
            rows,
        }
    }
}

/// One row of the file.
struct CsvRow<'a> {
    file: &'a FileReader,
    columns: &'a Columns,
    row: &'a StringRecord,
}

impl CsvRow<'_> {
    fn candle(&self) -> Result<Candle, InvalidCandleFile> {
        let open_time = self.time()?;
        let mut prices = [0_i64; 4];
        for (slot, (place, column)) in prices
            .iter_mut()
            .zip(self.columns.prices.into_iter().zip(PRICES))
        {
            *slot = self.price(place, column)?;
        }
        let [open, high, low, close] = prices;
        let [high_cell, low_cell] = [1, 2].map(|i| self.cell(self.columns.prices[i]));
        if high < low {
            return Err(self.invalid("high", high_cell, format!("at least the low, {low_cell}")));
        }
        if high < open.max(close) {
            return Err(self.invalid("high", high_cell, "at least open and close".into()));
        }
        if low > open.min(close) {
            return Err(self.invalid("low", low_cell, "at most open and close".into()));
        }
        let (volume, quote_volume) = self.volumes(close)?;
        let half = volume / 2;
        Ok(Candle {
            open_time,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            taker_volume: half,
            taker_quote_volume: quote_volume / 2,
            trades: (quote_volume + TRADE_VALUE - 1) / TRADE_VALUE,
        })
    }

    /// Checks the step from the previous candle; returns the interval of the file.
    fn check_interval(
        &self,
        previous: &Candle,
        base: Option<Interval>,
        open_time: i64,
    ) -> Result<Interval, InvalidCandleFile> {
        let refuse = |allowed| Err(self.invalid("open_time", &open_time.to_string(), allowed));
        let step = open_time - previous.open_time;
        if step <= 0 {
            return refuse(format!(
                "later than the candle before, {}",
                previous.open_time
            ));
        }
        match base {
            Some(base) if step == base.ms() => Ok(base),
            Some(base) => refuse(format!(
                "{}, {base} after the candle before: a file may have no gap",
                previous.open_time + base.ms()
            )),
            None => match Interval::RECORDED.into_iter().find(|i| i.ms() == step) {
                Some(base) if previous.open_time % base.ms() == 0 => Ok(base),
                Some(base) => refuse(format!("a multiple of {} for candles of {base}", base.ms())),
                None => refuse("1, 3, 5, 15 or 30 minutes after the candle before, in ms".into()),
            },
        }
    }

    fn time(&self) -> Result<i64, InvalidCandleFile> {
        let cell = self.cell(self.columns.open_time);
        match cell.parse::<i64>() {
            Ok(ms) if (0..=4_102_444_800_000).contains(&ms) => Ok(ms),
            _ => Err(self.invalid(
                "open_time",
                cell,
                "milliseconds since the epoch, 0 to 4102444800000".into(),
            )),
        }
    }

    fn price(&self, place: usize, column: &'static str) -> Result<i64, InvalidCandleFile> {
        let cell = self.cell(place);
        parse_fixed(cell, PRICE_DECIMALS)
            .filter(|price| *price > 0)
            .ok_or_else(|| {
                self.invalid(
                    column,
                    cell,
                    format!("a number above 0 and below {VALUE_LIMIT}"),
                )
            })
    }

    /// Base and quote volume; a missing one is computed from the other and the close.
    fn volumes(&self, close: i64) -> Result<(i64, i64), InvalidCandleFile> {
        let read = |place: Option<usize>, column| match place {
            None => Ok(None),
            Some(place) => {
                let cell = self.cell(place);
                let amount = parse_fixed(cell, AMOUNT_DECIMALS).filter(|amount| *amount >= 0);
                amount.map(Some).ok_or_else(|| {
                    self.invalid(
                        column,
                        cell,
                        format!("a number from 0 to below {VALUE_LIMIT}"),
                    )
                })
            }
        };
        let volume = read(self.columns.volume, "volume")?;
        let quote = read(self.columns.quote_volume, "quote_volume")?;
        let unit = i128::from(10_i64.pow(PRICE_DECIMALS));
        let narrow = |wide: i128| i64::try_from(wide).unwrap_or(i64::MAX / 2);
        let worth = |base: i64| narrow(i128::from(base) * i128::from(close) / unit);
        let bought = |quote: i64| {
            let exact = narrow(i128::from(quote) * unit / i128::from(close));
            exact - exact % self.file.contract_step
        };
        Ok(match (volume, quote) {
            (Some(volume), Some(quote)) => (volume, quote),
            (Some(volume), None) => (volume, worth(volume)),
            (None, Some(quote)) => (bought(quote), quote),
            (None, None) => (0, 0),
        })
    }

    fn cell(&self, place: usize) -> &str {
        self.row.get(place).unwrap_or("")
    }

    fn invalid(&self, column: &'static str, value: &str, allowed: String) -> InvalidCandleFile {
        InvalidCandleFile::Value {
            file: self.file.name(),
            line: self.row.position().map_or(0, csv::Position::line),
            column,
            value: value.to_owned(),
            allowed,
        }
    }
}

/// `text` in units of 10^-`decimals`, rounded; `None` unless it is a number within ±`VALUE_LIMIT`.
fn parse_fixed(text: &str, decimals: u32) -> Option<i64> {
    let number = text
        .parse::<Decimal>()
        .or_else(|_| Decimal::from_scientific(text))
        .ok()?;
    if number.abs() >= Decimal::from(VALUE_LIMIT) {
        return None;
    }
    (number * Decimal::from(10_i64.pow(decimals)))
        .round()
        .to_i64()
}
