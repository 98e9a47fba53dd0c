//! Candle files as exchanges, tools and users have them: CSV with or without a header, JSON, plain or in gzip or zip.
//! Entry points: [`CandleReader::open`] for one file, [`CandleSeries::open`] for the files of one symbol.
//!
//! What a file contains is detected by its content, not by its name. Memory does not grow with the file, except for one
//! whose newest candle comes first. Interval and gaps are judged by the users: a backtest bridges missing candles, the
//! exchange simulator refuses them.

mod cells;
mod container;
mod error;
mod json;
mod layout;
mod lines;
mod paths;
mod reader;
mod row;
mod series;
mod table;

pub use error::InvalidCandleFile;
pub use layout::{ColumnNames, InvalidColumns};
pub use reader::CandleReader;
pub use row::CandleRow;
pub use series::{CandleSeries, MAX_REVERSED_ROWS};

/// Units of a price or an amount in 1: 1e8. Finer prices are rounded.
pub const UNITS_PER_ONE: i64 = 100_000_000;
/// Prices and volumes are below this limit, which is far above all real ones: leaves room for calculations.
pub const VALUE_LIMIT: i64 = 1_000_000_000;
