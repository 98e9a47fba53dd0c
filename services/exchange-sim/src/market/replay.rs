//! A recorded market: reads and validates a candle file, and plays it back.

use std::path::Path;

use candle_file::{CandleReader, CandleRow, InvalidCandleFile};

use crate::candle::{AMOUNT_DECIMALS, Candle, PRICE_DECIMALS};
use crate::interval::Interval;
use crate::symbols::Contract;

/// Largest number of rows: 5.7 years of minutes, about 240 MB of memory.
const MAX_ROWS: usize = 3_000_000;
/// Mean value of a trade in USDT, for files without trade counts.
const TRADE_VALUE: i64 = 2_500 * 10_i64.pow(AMOUNT_DECIMALS);
/// Units of the reader in a unit of an amount.
const AMOUNT_UNIT: i64 = 10_i64.pow(PRICE_DECIMALS - AMOUNT_DECIMALS);
/// Number of 30-minute candles in the default warm-up, as indicators of 30-minute bars need. Indicators of 4-hour
/// bars need more.
const DEFAULT_WARMUP_HALF_HOURS: i64 = 300;

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
    /// Reads a candle file of a contract, plain or compressed with gzip.
    ///
    /// # Errors
    /// [`InvalidCandleFile`] for the first error in the file.
    pub fn read(path: &Path, contract: &Contract) -> Result<Self, InvalidCandleFile> {
        let mut reader = CandleReader::open(path, |file| Box::new(file))?;
        let expected_rows = || format!("2 to {MAX_ROWS}");
        let mut candles: Vec<Candle> = Vec::new();
        let mut base = None;
        while let Some(row) = reader.next()? {
            let candle = candle(&reader, &row, contract)?;
            if let Some(previous) = candles.last() {
                base = Some(check_interval(&reader, &row, previous.open_time, base)?);
            }
            if candles.len() == MAX_ROWS {
                return Err(reader.invalid_row_count(MAX_ROWS + 1, expected_rows()));
            }
            candles.push(candle);
        }
        match base {
            Some(base) => Ok(Self { base, candles }),
            None => Err(reader.invalid_row_count(candles.len(), expected_rows())),
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

/// The candle of the row that `reader` has read last. Its prices have the units of the reader.
fn candle(
    reader: &CandleReader,
    row: &CandleRow,
    contract: &Contract,
) -> Result<Candle, InvalidCandleFile> {
    let amount = |units: Option<i64>| units.map(|units| (units + AMOUNT_UNIT / 2) / AMOUNT_UNIT);
    let (volume, quote_volume) = volumes(
        amount(reader.volume()?),
        amount(reader.quote_volume()?),
        row.close,
        contract.step,
    );
    Ok(Candle {
        open_time: row.open_time_ms,
        open: row.open,
        high: row.high,
        low: row.low,
        close: row.close,
        volume,
        quote_volume,
        taker_volume: volume / 2,
        taker_quote_volume: quote_volume / 2,
        trades: (quote_volume + TRADE_VALUE - 1) / TRADE_VALUE,
    })
}

/// Base and quote volume; a missing one is computed from the other and the close, in lots of `step`.
fn volumes(volume: Option<i64>, quote: Option<i64>, close: i64, step: i64) -> (i64, i64) {
    let unit = i128::from(10_i64.pow(PRICE_DECIMALS));
    let narrow = |wide: i128| i64::try_from(wide).unwrap_or(i64::MAX / 2);
    let worth = |base: i64| narrow(i128::from(base) * i128::from(close) / unit);
    let bought = |quote: i64| {
        let exact = narrow(i128::from(quote) * unit / i128::from(close));
        exact - exact % step
    };
    match (volume, quote) {
        (Some(volume), Some(quote)) => (volume, quote),
        (Some(volume), None) => (volume, worth(volume)),
        (None, Some(quote)) => (bought(quote), quote),
        (None, None) => (0, 0),
    }
}

/// Checks the step from the previous candle; returns the interval of the file.
fn check_interval(
    reader: &CandleReader,
    row: &CandleRow,
    previous_ms: i64,
    base: Option<Interval>,
) -> Result<Interval, InvalidCandleFile> {
    let refuse = |expected| Err(reader.invalid_open_time(row, expected));
    let step = row.open_time_ms - previous_ms;
    match base {
        Some(base) if step == base.ms() => Ok(base),
        Some(base) => refuse(format!(
            "{}, {base} after the candle before: a file may have no gap",
            previous_ms + base.ms()
        )),
        None => match Interval::RECORDED.into_iter().find(|i| i.ms() == step) {
            Some(base) if previous_ms % base.ms() == 0 => Ok(base),
            Some(base) => refuse(format!("a multiple of {} for candles of {base}", base.ms())),
            None => refuse("1, 3, 5, 15 or 30 minutes after the candle before, in ms".into()),
        },
    }
}
