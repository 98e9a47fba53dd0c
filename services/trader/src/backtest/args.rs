//! The flags of `trader backtest`, each refused with its name, its value and what is allowed.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use runtime::process::ExitError;
use runtime::settings::whole_number;
use rust_decimal::Decimal;
use trader_core::backtest::OnHalt;
use trader_core::book::BookConfig;
use trader_core::candle::Interval;
use trader_core::fixed_point::{Price, Qty};
use trader_core::protections::Protections;
use trader_core::strategy::Strategy;

/// Trade a candle file as a trader would have, and say what came of it
#[derive(Debug, Clone, Args)]
pub struct BacktestArgs {
    /// What the candles are of
    #[arg(long, value_name = "SYMBOL", value_parser = symbol)]
    pub symbol: SubjectToken,

    /// CSV or CSV.gz with the columns `open_time` (ms), open, high, low, close
    #[arg(long, value_name = "FILE")]
    pub candles: PathBuf,

    /// Write every closed trade here, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub trades: Option<PathBuf>,

    /// Write every 30m candle here on which a strategy's condition holds, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub signals: Option<PathBuf>,

    /// Draw the equity here, as a PNG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Whose signals to follow, first one wins
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "adaptive-oversold-bounce,adaptive-short-the-rip,oversold-bounce,short-the-rip"
    )]
    pub strategies: Vec<Strategy>,

    /// What the book begins with, in USDT
    #[arg(long, value_name = "USDT", default_value = "10000", allow_negative_numbers = true,
          value_parser = capital)]
    pub capital_usdt: Decimal,

    /// Fee of each side, as a fraction of the notional
    #[arg(long, value_name = "FRACTION", default_value = "0.0006", allow_negative_numbers = true,
          value_parser = cost)]
    pub fee_rate: Decimal,

    /// Slippage of market fills, as a fraction of the price
    #[arg(long, value_name = "FRACTION", default_value = "0.0002", allow_negative_numbers = true,
          value_parser = cost)]
    pub slippage_rate: Decimal,

    /// What a long position pays every eight hours, as a fraction of its worth
    #[arg(long, value_name = "FRACTION", default_value = "0.0001", allow_negative_numbers = true,
          value_parser = funding)]
    pub funding_rate: Decimal,

    /// Largest position, as a multiple of the book's equity
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true,
          value_parser = whole_number::<u8>(1..=5))]
    pub leverage: u8,

    /// What keeps the book from entries after bad trades; none switches them off
    #[arg(long, value_name = "LIST", default_value_t = Protections::default())]
    pub protections: Protections,

    /// After a critical breaker enter again from the next UTC day on, which live only an operator decides
    #[arg(long)]
    pub continue_after_halt: bool,

    /// Price grid, in place of the built-in one
    #[arg(long, value_name = "PRICE", allow_negative_numbers = true, value_parser = step::<Price>)]
    pub tick_size: Option<Price>,

    /// Quantity grid and smallest quantity, in place of the built-in ones
    #[arg(long, value_name = "QUANTITY", allow_negative_numbers = true, value_parser = step::<Qty>)]
    pub lot_size: Option<Qty>,

    /// Smallest worth of an order in USDT, in place of the built-in one
    #[arg(long, value_name = "USDT", allow_negative_numbers = true, value_parser = least)]
    pub min_notional: Option<Decimal>,
}

impl BacktestArgs {
    /// How the book is traded on candles of this interval.
    ///
    /// # Errors
    /// Exit 64 for settings that do not fit together.
    pub fn config(&self, base: Interval) -> Result<BookConfig, ExitError> {
        let config = BookConfig {
            base,
            leverage: Decimal::from(self.leverage),
            fee_rate: self.fee_rate,
            slippage_rate: self.slippage_rate,
            funding_rate: self.funding_rate,
            strategies: self.strategies.clone(),
            protections: self.protections,
            live: None,
        };
        config.check().map_err(|bad| usage(bad.to_string()))?;
        Ok(config)
    }

    /// What each flag's own parser cannot see.
    ///
    /// # Errors
    /// Exit 64 naming the flag.
    pub fn check(&self) -> Result<(), ExitError> {
        for (n, strategy) in self.strategies.iter().enumerate() {
            if self.strategies[..n].contains(strategy) {
                return Err(usage(format!("--strategies: {strategy} is there twice")));
            }
        }
        Ok(())
    }

    /// What a critical breaker means.
    pub const fn on_halt(&self) -> OnHalt {
        if self.continue_after_halt {
            OnHalt::UnlatchNextDay
        } else {
            OnHalt::StayLatched
        }
    }
}

/// A wrong command line.
pub(super) fn usage(message: impl Into<String>) -> ExitError {
    ExitError::new(ExitCode::Usage, message)
}

fn symbol(text: &str) -> Result<SubjectToken, String> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let wrong = || "allowed are 5 to 20 capital letters and digits, e.g. BTCUSDT".to_owned();
    if (5..=20).contains(&text.len()) && text.bytes().all(allowed) {
        text.parse().map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

fn capital(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| *v > Decimal::ZERO && *v <= Decimal::from(1_000_000_000))
        .ok_or_else(|| "allowed is an amount above 0, up to 1000000000".to_owned())
}

fn cost(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| *v >= Decimal::ZERO && *v <= Decimal::new(1, 2))
        .ok_or_else(|| "allowed is a fraction from 0 to 0.01, e.g. 0.0006".to_owned())
}

fn funding(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| v.abs() <= Decimal::new(1, 2))
        .ok_or_else(|| "allowed is a fraction from -0.01 to 0.01, e.g. 0.0001".to_owned())
}

fn least(text: &str) -> Result<Decimal, String> {
    number(text)
        .filter(|v| *v >= Decimal::ZERO && *v <= Decimal::from(1_000_000))
        .ok_or_else(|| "allowed is an amount from 0 to 1000000".to_owned())
}

fn step<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|v| *v > T::default())
        .ok_or_else(|| "allowed is a decimal above 0 of at most 8 places, e.g. 0.001".to_owned())
}

fn number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok()
}
