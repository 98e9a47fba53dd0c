//! Candle files: CSV with a header, plain or compressed with gzip. Entry point: [`CandleReader::open`].
//!
//! The reader checks each row by itself and the order of the rows. Interval and gaps are judged by its users: a
//! backtest counts missing candles, the exchange simulator refuses them.

mod error;
mod reader;

pub use error::InvalidCandleFile;
pub use reader::{CandleReader, CandleRow, PRICE_SCALE, VALUE_LIMIT};
