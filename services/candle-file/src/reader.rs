//! [`CandleReader`]: the rows of a file, one at a time, so that a year needs no more memory than a day.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::StringRecord;
use flate2::bufread::MultiGzDecoder;
use rust_decimal::Decimal;

use crate::error::InvalidCandleFile;

/// Number of decimals that a price keeps; finer prices are rounded.
pub const PRICE_SCALE: u32 = 8;
/// Prices and volumes are below this limit, which is far above all real ones: leaves room for calculations.
pub const VALUE_LIMIT: i64 = 1_000_000_000;

/// Latest open time of a candle: 2100-01-01.
const MAX_OPEN_TIME_MS: i64 = 4_102_444_800_000;
/// Size of the buffer between the file and the decompression.
const BUFFER_BYTES: usize = 1 << 16;
/// The first bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Columns that every file has.
const COLUMNS: [&str; 5] = ["open_time", "open", "high", "low", "close"];
const VOLUME: &str = "volume";
const QUOTE_VOLUME: &str = "quote_volume";

/// One row: a candle whose interval is not known yet. Prices are above 0, `high` is at least and `low` at most all
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleRow {
    /// Line number in the file; the header is line 1.
    pub line: u64,
    /// Open time, UTC ms. Later than that of the row before.
    pub open_time_ms: i64,
    /// First price of the interval.
    pub open: Decimal,
    /// Highest price of the interval.
    pub high: Decimal,
    /// Lowest price of the interval.
    pub low: Decimal,
    /// Last price of the interval.
    pub close: Decimal,
}

/// A candle file that is being read.
pub struct CandleReader {
    file: String,
    csv: csv::Reader<Box<dyn Read>>,
    /// Position of each of [`COLUMNS`] in a row.
    positions: [usize; 5],
    volume: Option<usize>,
    quote_volume: Option<usize>,
    row: StringRecord,
    previous_ms: Option<i64>,
}

impl CandleReader {
    /// Opens a file and finds its columns by their names. Gzip is recognized by its first bytes. The file is read
    /// through `wrap_reader`, which can show the progress.
    ///
    /// # Errors
    /// [`InvalidCandleFile::Unreadable`] or [`InvalidCandleFile::MissingColumn`].
    pub fn open(
        path: &Path,
        wrap_reader: impl FnOnce(File) -> Box<dyn Read>,
    ) -> Result<Self, InvalidCandleFile> {
        let file = path.display().to_string();
        let bytes = File::open(path)
            .and_then(|opened| decompressed(wrap_reader(opened)))
            .map_err(|error| unreadable(&file, &error))?;
        let mut csv = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let header = csv.headers().map_err(|error| unreadable(&file, &error))?;
        let position = |column: &str| header.iter().position(|name| name == column);
        let mut positions = [0; 5];
        for (slot, column) in positions.iter_mut().zip(COLUMNS) {
            *slot = position(column).ok_or_else(|| InvalidCandleFile::MissingColumn {
                file: file.clone(),
                column,
                found: header.iter().collect::<Vec<_>>().join(","),
            })?;
        }
        Ok(Self {
            volume: position(VOLUME),
            quote_volume: position(QUOTE_VOLUME),
            positions,
            file,
            csv,
            row: StringRecord::new(),
            previous_ms: None,
        })
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// [`InvalidCandleFile::InvalidValue`] for the first invalid value of the row,
    /// [`InvalidCandleFile::Unreadable`] if the file cannot be read on.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator would continue after an error"
    )]
    pub fn next(&mut self) -> Result<Option<CandleRow>, InvalidCandleFile> {
        let more = self.csv.read_record(&mut self.row);
        if !more.map_err(|error| unreadable(&self.file, &error))? {
            return Ok(None);
        }
        let open_time_ms = self.open_time()?;
        let row = CandleRow {
            line: self.line(),
            open_time_ms,
            open: self.price(1)?,
            high: self.price(2)?,
            low: self.price(3)?,
            close: self.price(4)?,
        };
        let (highest, lowest) = (row.open.max(row.close), row.open.min(row.close));
        if row.high < highest {
            return Err(self.invalid_cell(2, format!("at least open and close, {highest}")));
        }
        if row.low > lowest {
            return Err(self.invalid_cell(3, format!("at most open and close, {lowest}")));
        }
        if let Some(previous) = self.previous_ms.replace(open_time_ms)
            && open_time_ms <= previous
        {
            return Err(self.invalid_cell(0, format!("later than the candle before, {previous}")));
        }
        Ok(Some(row))
    }

    /// Base volume of the row that was read last; `None` if the file has no such column.
    ///
    /// # Errors
    /// [`InvalidCandleFile::InvalidValue`] if it is no number from 0 to below [`VALUE_LIMIT`].
    pub fn volume(&self) -> Result<Option<Decimal>, InvalidCandleFile> {
        self.amount(self.volume, VOLUME)
    }

    /// Quote volume of the row that was read last; `None` if the file has no such column.
    ///
    /// # Errors
    /// As [`Self::volume`].
    pub fn quote_volume(&self) -> Result<Option<Decimal>, InvalidCandleFile> {
        self.amount(self.quote_volume, QUOTE_VOLUME)
    }

    /// The error that a row's open time is not the `expected` one.
    pub fn invalid_open_time(&self, row: &CandleRow, expected: String) -> InvalidCandleFile {
        let value = row.open_time_ms.to_string();
        self.invalid_value(row.line, COLUMNS[0], &value, expected)
    }

    /// The error that the file has too few or too many rows.
    pub fn invalid_row_count(&self, rows: usize, expected: String) -> InvalidCandleFile {
        InvalidCandleFile::RowCount {
            file: self.file.clone(),
            rows,
            expected,
        }
    }

    fn open_time(&self) -> Result<i64, InvalidCandleFile> {
        let parsed = self.cell(self.positions[0]).parse().ok();
        let valid = parsed.filter(|ms| (0..=MAX_OPEN_TIME_MS).contains(ms));
        valid.ok_or_else(|| {
            let expected = format!("milliseconds since the epoch, 0 to {MAX_OPEN_TIME_MS}");
            self.invalid_cell(0, expected)
        })
    }

    fn price(&self, column: usize) -> Result<Decimal, InvalidCandleFile> {
        let price = number(self.cell(self.positions[column])).map(|n| n.round_dp(PRICE_SCALE));
        price.filter(|n| *n > Decimal::ZERO).ok_or_else(|| {
            let expected = format!("a number above 0 and below {VALUE_LIMIT}");
            self.invalid_cell(column, expected)
        })
    }

    fn amount(
        &self,
        position: Option<usize>,
        column: &'static str,
    ) -> Result<Option<Decimal>, InvalidCandleFile> {
        let Some(position) = position else {
            return Ok(None);
        };
        let cell = self.cell(position);
        let amount = number(cell).filter(|n| *n >= Decimal::ZERO);
        if amount.is_none() {
            let expected = format!("a number from 0 to below {VALUE_LIMIT}");
            return Err(self.invalid_value(self.line(), column, cell, expected));
        }
        Ok(amount)
    }

    /// Text of a cell of the row that was read last; empty if the row is too short.
    fn cell(&self, position: usize) -> &str {
        self.row.get(position).unwrap_or("")
    }

    fn line(&self) -> u64 {
        self.row.position().map_or(0, csv::Position::line)
    }

    /// The error about a cell of the row that was read last; `column` is an index of [`COLUMNS`].
    fn invalid_cell(&self, column: usize, expected: String) -> InvalidCandleFile {
        let value = self.cell(self.positions[column]);
        self.invalid_value(self.line(), COLUMNS[column], value, expected)
    }

    fn invalid_value(
        &self,
        line: u64,
        column: &'static str,
        value: &str,
        expected: String,
    ) -> InvalidCandleFile {
        InvalidCandleFile::InvalidValue {
            file: self.file.clone(),
            line,
            column,
            value: value.to_owned(),
            expected,
        }
    }
}

fn unreadable(file: &str, error: &dyn std::error::Error) -> InvalidCandleFile {
    InvalidCandleFile::Unreadable {
        file: file.to_owned(),
        error: error.to_string(),
    }
}

fn decompressed(bytes: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut plain = BufReader::with_capacity(BUFFER_BYTES, bytes);
    if plain.fill_buf()?.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(MultiGzDecoder::new(plain)))
    } else {
        Ok(Box::new(plain))
    }
}

/// A number within ±[`VALUE_LIMIT`], in plain or scientific notation; `None` for any other text.
fn number(text: &str) -> Option<Decimal> {
    let number = text
        .parse::<Decimal>()
        .or_else(|_| Decimal::from_scientific(text))
        .ok()?;
    Some(number).filter(|n| n.abs() < Decimal::from(VALUE_LIMIT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::fs;

    use super::*;

    const HEADER: &str = "open_time,open,high,low,close,volume\n";

    fn reader(text: &str) -> CandleReader {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("candles.csv");
        fs::write(&path, text).unwrap();
        CandleReader::open(&path, |file| Box::new(file)).unwrap()
    }

    fn error_after(rows: usize, reader: &mut CandleReader) -> String {
        for _ in 0..rows {
            reader.next().unwrap().unwrap();
        }
        reader.next().unwrap_err().to_string()
    }

    #[test]
    fn row_has_its_line_time_and_rounded_prices() {
        let mut reader = reader(&format!(
            "{HEADER}60000, 1e-1 ,0.30000000000000004,0.1,0.2,5\n"
        ));
        let row = reader.next().unwrap().unwrap();
        assert_eq!((row.line, row.open_time_ms), (2, 60_000));
        let prices = [row.open, row.high, row.low, row.close].map(|price| price.to_string());
        assert_eq!(prices, ["0.1", "0.30000000", "0.1", "0.2"]);
        assert_eq!(reader.volume().unwrap(), Some(Decimal::from(5)));
        assert_eq!(reader.quote_volume().unwrap(), None);
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn high_and_low_enclose_open_and_close() {
        let mut low_high = reader(&format!("{HEADER}0,12,10,11,12,1\n"));
        let error = error_after(0, &mut low_high);
        assert!(
            error.ends_with("column high: \"10\"; expected at least open and close, 12"),
            "{error}"
        );
        let mut high_low = reader(&format!("{HEADER}0,12,13,12.5,12,1\n"));
        let error = error_after(0, &mut high_low);
        assert!(
            error.ends_with("column low: \"12.5\"; expected at most open and close, 12"),
            "{error}"
        );
    }

    #[test]
    fn open_times_increase_and_prices_stay_above_zero_after_rounding() {
        let rows = "60000,1,1,1,1,1\n60000,1,1,1,1,1\n";
        let error = error_after(1, &mut reader(&format!("{HEADER}{rows}")));
        assert!(
            error.ends_with(
                "line 3, column open_time: \"60000\"; expected later than the candle before, 60000"
            ),
            "{error}"
        );
        let error = error_after(0, &mut reader(&format!("{HEADER}0,1,1,1e-9,1,1\n")));
        assert!(
            error.contains("column low: \"1e-9\"; expected a number above 0"),
            "{error}"
        );
    }

    #[test]
    fn volume_is_checked_when_it_is_asked_for() {
        let mut reader = reader(&format!("{HEADER}0,1,1,1,1,-5\n"));
        reader.next().unwrap();
        let error = reader.volume().unwrap_err().to_string();
        assert!(
            error.ends_with(
                "line 2, column volume: \"-5\"; expected a number from 0 to below 1000000000"
            ),
            "{error}"
        );
    }
}
