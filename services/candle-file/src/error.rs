//! [`InvalidCandleFile`]: the only error of this crate.

/// Why a candle file is refused, in one line.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCandleFile {
    /// The file cannot be opened, read or decompressed.
    #[error("candle file {file}: {error}; expected a readable CSV or CSV.gz file")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Error of the operating system, as text.
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
        /// The header of the file.
        found: String,
    },
    /// A value is invalid.
    #[error("candle file {file}, line {line}, column {column}: {value:?}; expected {expected}")]
    InvalidValue {
        /// Path of the file.
        file: String,
        /// Line number; the header is line 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The value in the file.
        value: String,
        /// The values that are valid there.
        expected: String,
    },
    /// Too few or too many rows.
    #[error("candle file {file}: {rows} candles; expected {expected}")]
    RowCount {
        /// Path of the file.
        file: String,
        /// Number of rows; one more than allowed if there are too many.
        rows: usize,
        /// The valid number of rows.
        expected: String,
    },
}
