//! [`CandleReader`]: the rows of a file with one table, one at a time, so that a year needs no more memory than a day.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::container::tables;
use crate::error::InvalidCandleFile;
use crate::layout::ColumnNames;
use crate::row::CandleRow;
use crate::table::Table;

/// A candle file that is being read, oldest candle first.
pub struct CandleReader {
    table: Table,
    previous_ms: Option<i64>,
}

impl CandleReader {
    /// Opens a file with one table and finds its columns. The file is read through `wrap_reader`, which can show the
    /// progress.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for a file that cannot be read, is of another kind, or lacks a column.
    pub fn open(
        path: &Path,
        wrap_reader: impl Fn(File) -> Box<dyn Read>,
    ) -> Result<Self, InvalidCandleFile> {
        let mut sources = tables(path)?;
        let (Some(source), true) = (sources.pop(), sources.is_empty()) else {
            return Err(InvalidCandleFile::OtherKind {
                file: path.display().to_string(),
                found: format!("a zip file of {} files", sources.len() + 1),
                help: "expected one".to_owned(),
            });
        };
        Ok(Self {
            table: Table::open(&source, &ColumnNames::default(), &wrap_reader)?,
            previous_ms: None,
        })
    }

    /// The next row, later than the one before; `None` after the last.
    ///
    /// # Errors
    /// [`InvalidCandleFile::InvalidValue`] for the first invalid value of the row,
    /// [`InvalidCandleFile::Unreadable`] if the file cannot be read on.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator would continue after an error"
    )]
    pub fn next(&mut self) -> Result<Option<CandleRow>, InvalidCandleFile> {
        let Some(row) = self.table.next()? else {
            return Ok(None);
        };
        if let Some(previous) = self.previous_ms.replace(row.open_time_ms)
            && row.open_time_ms <= previous
        {
            let expected = format!("later than the candle before, {previous}");
            return Err(self.table.invalid_time(&row, expected));
        }
        Ok(Some(row))
    }

    /// Base volume of the row that was read last, in units of 1e-8; `None` if the file has no such column.
    ///
    /// # Errors
    /// [`InvalidCandleFile::InvalidValue`] if it is no number from 0 to below [`VALUE_LIMIT`](crate::VALUE_LIMIT).
    pub fn volume(&self) -> Result<Option<i64>, InvalidCandleFile> {
        self.table.amount(false)
    }

    /// Quote volume of the row that was read last, as [`Self::volume`].
    ///
    /// # Errors
    /// As [`Self::volume`].
    pub fn quote_volume(&self) -> Result<Option<i64>, InvalidCandleFile> {
        self.table.amount(true)
    }

    /// The error that a row's open time is not the `expected` one.
    pub fn invalid_open_time(&self, row: &CandleRow, expected: String) -> InvalidCandleFile {
        self.table.invalid_time(row, expected)
    }

    /// The error that the file has too few or too many rows.
    pub fn invalid_row_count(&self, rows: usize, expected: String) -> InvalidCandleFile {
        InvalidCandleFile::RowCount {
            file: self.table.name().to_owned(),
            rows,
            expected,
        }
    }
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
        let prices = [row.open, row.high, row.low, row.close];
        assert_eq!(prices, [10_000_000, 30_000_000, 10_000_000, 20_000_000]);
        assert_eq!(reader.volume().unwrap(), Some(500_000_000));
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
