//! [`InvalidCandleFile`]: the only error of this crate.

/// Longest text of a file that an error shows.
const MAX_SHOWN: usize = 60;

/// Why a candle file is refused, in one line.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCandleFile {
    /// The file cannot be opened, read or decompressed.
    #[error(
        "candle file {file}: {error}; expected a readable file of candles: CSV or JSON, plain, gzip or zip"
    )]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Error of the operating system or the decompression, as text.
        error: String,
    },
    /// The content is of a kind that is not read.
    #[error("candle file {file}: {found}; {help}")]
    OtherKind {
        /// Path of the file.
        file: String,
        /// What the file is.
        found: String,
        /// What would help.
        help: String,
    },
    /// No line is a header or a candle.
    #[error(
        "candle file {file}, line {line}, column {column}: missing, found {found:?}; expected a header with time, open, high, low and close, or --columns to name them, or rows that begin with time, open, high, low and close"
    )]
    MissingColumn {
        /// Path of the file.
        file: String,
        /// Line number of the line that comes closest to a header.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The line, shortened.
        found: String,
    },
    /// A value is invalid.
    #[error("candle file {file}, line {line}, column {column}: {value:?}; expected {expected}")]
    InvalidValue {
        /// Path of the file.
        file: String,
        /// Line number, of the first line 1; in JSON the number of the candle.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The value in the file, shortened.
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

/// A text of the file as an error may show it: short, and without the bytes that a terminal would interpret.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text
        .chars()
        .take(MAX_SHOWN)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
