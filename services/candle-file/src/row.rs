//! [`CandleRow`].

/// One row: a candle whose interval is not known yet. Prices are in units of 1e-8, above 0; `high` is at least and `low` at
/// most all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleRow {
    /// Line number in the file, of the first line 1; in JSON the number of the candle.
    pub line: u64,
    /// Open time, UTC ms.
    pub open_time_ms: i64,
    /// First price of the interval.
    pub open: i64,
    /// Highest price of the interval.
    pub high: i64,
    /// Lowest price of the interval.
    pub low: i64,
    /// Last price of the interval.
    pub close: i64,
}

impl CandleRow {
    /// Whether both rows are the same candle with the same prices.
    pub(crate) fn is_same_candle(&self, other: &Self) -> bool {
        let candle = |row: &Self| (row.open_time_ms, row.open, row.high, row.low, row.close);
        candle(self) == candle(other)
    }
}
