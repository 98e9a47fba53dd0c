//! The flags of `trader backtest`. An invalid value is rejected with its flag and what is expected.

use std::path::PathBuf;
use std::str::FromStr;

use candle_file::{ColumnNames, InvalidColumns};
use clap::Args;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use runtime::settings::whole_number;
use runtime::stdout::OutputArgs;
use rust_decimal::Decimal;
use trader_core::backtest::OnHalt;
use trader_core::book::BookConfig;
use trader_core::candle::Interval;
use trader_core::fixed_point::{Price, Qty};
use trader_core::protections::Protections;
use trader_core::strategy::Strategy;

use super::candles_arg::CandlesArg;
use super::period::utc_time;
use crate::settings::{strategy, symbol};

/// Flags of `trader backtest`
#[derive(Debug, Clone, Args)]
pub struct BacktestArgs {
    /// Symbol of the candles that name none
    #[arg(long, value_name = "SYMBOL", value_parser = symbol)]
    pub symbol: Option<SubjectToken>,

    /// Files of candles of a symbol: paths, directories, patterns, or - for standard input; CSV or JSON, plain, gzip or zip.
    /// Repeatable, for files that follow each other and for further symbols, which share the account
    #[arg(long, value_name = "[SYMBOL=]FILE", required = true, num_args = 1..)]
    pub candles: Vec<CandlesArg>,

    /// Columns of the CSV files that are not found by their usual names: time=NAME,open=NAME,...
    #[arg(long, value_name = "COLUMN=NAME,...", default_value = "", hide_default_value = true, value_parser = columns)]
    pub columns: ColumnNames,

    /// First time that is traded, a date or a time in UTC; candles before it warm up the indicators
    #[arg(long, value_name = "TIME", value_parser = utc_time)]
    pub from: Option<UtcMs>,

    /// First time that is not traded any more, a date or a time in UTC
    #[arg(long, value_name = "TIME", value_parser = utc_time)]
    pub to: Option<UtcMs>,

    /// File for the closed trades, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub trades: Option<PathBuf>,

    /// File for the 30-minute bars on which a strategy's condition holds, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub signals: Option<PathBuf>,

    /// File for the equity at each 30-minute bar, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub equity: Option<PathBuf>,

    /// PNG file for a chart of the equity
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Strategies in order of precedence; of two signals on one bar the first is used. Without the flag all; a strategy that
    /// is named must be able to trade
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = strategy)]
    pub strategies: Vec<Strategy>,

    /// Capital of the account in USDT, of which each symbol's book has an equal share
    #[arg(long, value_name = "USDT", default_value = "10000", allow_negative_numbers = true,
          value_parser = capital)]
    pub capital_usdt: Decimal,

    /// Fee of each fill, as a fraction of its value
    #[arg(long, value_name = "FRACTION", default_value = "0.0006", allow_negative_numbers = true,
          value_parser = cost)]
    pub fee_rate: Decimal,

    /// Slippage of market orders, as a fraction of the price
    #[arg(long, value_name = "FRACTION", default_value = "0.0002", allow_negative_numbers = true,
          value_parser = cost)]
    pub slippage_rate: Decimal,

    /// Funding that a long position pays every eight hours, as a fraction of its value
    #[arg(long, value_name = "FRACTION", default_value = "0.0001", allow_negative_numbers = true,
          value_parser = funding)]
    pub funding_rate: Decimal,

    /// Largest position, as a multiple of the book's equity
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true,
          value_parser = whole_number::<u8>(1..=5))]
    pub leverage: u8,

    /// Protections that lock entries after bad trades; none switches them off
    #[arg(long, value_name = "LIST", default_value_t = Protections::default())]
    pub protections: Protections,

    /// After an account breaker, enter again from the next UTC day on (outside a backtest only an operator decides that)
    #[arg(long)]
    pub continue_after_halt: bool,

    /// Tick size of prices, instead of the built-in one
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true, value_parser = step::<Price>)]
    pub tick_size: Option<Price>,

    /// Step and minimum of quantities, instead of the built-in ones
    #[arg(long, value_name = "QUANTITY", allow_negative_numbers = true, value_parser = step::<Qty>)]
    pub lot_size: Option<Qty>,

    /// Minimum value of an order in USDT, instead of the built-in one
    #[arg(long, value_name = "USDT", allow_negative_numbers = true, value_parser = least)]
    pub min_notional: Option<Decimal>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl BacktestArgs {
    /// Configuration of the book for candles of this interval.
    ///
    /// # Errors
    /// Exit 64 for flags that do not fit together.
    pub(super) fn config(&self, base: Interval) -> Result<BookConfig, ExitError> {
        let config = BookConfig {
            base,
            leverage: Decimal::from(self.leverage),
            fee_rate: self.fee_rate,
            slippage_rate: self.slippage_rate,
            funding_rate: self.funding_rate,
            strategies: self.chosen_strategies(),
            protections: self.protections,
            live: None,
        };
        config.check().map_err(|error| usage(error.to_string()))?;
        Ok(config)
    }

    /// Checks what the parser of a single flag cannot check.
    ///
    /// # Errors
    /// Exit 64 naming the flag.
    pub(super) fn check(&self) -> Result<(), ExitError> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(usage(format!(
                "--to {to}: expected a time after --from, {from}"
            )));
        }
        for (n, strategy) in self.strategies.iter().enumerate() {
            if self.strategies[..n].contains(strategy) {
                return Err(usage(format!(
                    "--strategies=\"{strategy}\": expected each strategy once"
                )));
            }
        }
        Ok(())
    }

    /// The strategies in order of precedence.
    pub(super) fn chosen_strategies(&self) -> Vec<Strategy> {
        if self.strategies.is_empty() {
            Strategy::ALL.to_vec()
        } else {
            self.strategies.clone()
        }
    }

    /// What happens after an account breaker.
    pub(super) const fn on_halt(&self) -> OnHalt {
        if self.continue_after_halt {
            OnHalt::UnlatchNextDay
        } else {
            OnHalt::StayLatched
        }
    }
}

/// Exit 64: an invalid command line.
pub(super) fn usage(message: impl Into<String>) -> ExitError {
    ExitError::new(ExitCode::Usage, message)
}

fn columns(text: &str) -> Result<ColumnNames, String> {
    if text.is_empty() {
        return Ok(ColumnNames::default());
    }
    text.parse()
        .map_err(|error: InvalidColumns| error.to_string())
}

fn capital(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| *v > Decimal::ZERO && *v <= Decimal::from(1_000_000_000))
        .ok_or_else(|| "expected an amount above 0, up to 1000000000".to_owned())
}

fn cost(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| *v >= Decimal::ZERO && *v <= Decimal::new(1, 2))
        .ok_or_else(|| "expected a fraction from 0 to 0.01, e.g. 0.0006".to_owned())
}

fn funding(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| v.abs() <= Decimal::new(1, 2))
        .ok_or_else(|| "expected a fraction from -0.01 to 0.01, e.g. 0.0001".to_owned())
}

fn least(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| *v >= Decimal::ZERO && *v <= Decimal::from(1_000_000))
        .ok_or_else(|| "expected an amount from 0 to 1000000".to_owned())
}

fn step<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|v| *v > T::default())
        .ok_or_else(|| "expected a number above 0 with at most 8 decimals, e.g. 0.001".to_owned())
}

fn number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok()
}
