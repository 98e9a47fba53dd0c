//! Command line and settings of exchange-sim.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::logging::LoggingSettings;
use runtime::stdout::OutputArgs;
use rust_decimal::Decimal;
use secrecy::SecretString;

use crate::clock::ClockPause;
use crate::symbols::{self, Contract, MAX_CONTRACTS};

/// Default seed: its market has an early trade and stays active and plausible. Chosen by the search in
/// `tests/exchange/default_market.rs`, which also checks it.
pub const DEFAULT_SEED: u64 = 4;
/// One market minute per second of wall time.
pub const DEFAULT_SPEED: f64 = 60.0;
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=100_000.0;

/// A simulated exchange that speaks Binance USD-M Futures' REST and WebSocket protocol
#[derive(Debug, Parser)]
#[command(name = "exchange-sim", version)]
pub struct Cli {
    #[command(subcommand)]
    /// Subcommand; `None` to serve.
    pub command: Option<Command>,

    /// Settings of the log.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Settings of the server.
    #[command(flatten)]
    pub settings: Settings,
}

/// Commands beside running the server.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Check whether the exchange at SIM_LISTEN answers: exit 0 or 1
    #[allow(
        clippy::doc_markdown,
        reason = "this text is printed to a terminal, where backticks are noise"
    )]
    Health(OutputArgs),
}

/// Source of the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MarketKind {
    /// Generated from a seed, without end.
    Synthetic,
    /// Played back from a candle file.
    Replay,
}

/// Settings of the server.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address and port of REST and WebSocket
    #[arg(long, env = "SIM_LISTEN", default_value = "0.0.0.0:8080", value_parser = listen)]
    pub listen: SocketAddr,

    /// Source of the market
    #[arg(long, env = "SIM_MARKET", value_enum, default_value = "synthetic")]
    pub market: MarketKind,

    /// Seed of the synthetic market: the same seed gives the same candles everywhere
    #[arg(long, env = "SIM_SEED", default_value_t = DEFAULT_SEED, value_parser = seed)]
    pub seed: u64,

    /// Exchange time per wall time, from 0.1 to 100000
    #[arg(long, env = "SIM_SPEED", default_value_t = DEFAULT_SPEED, value_parser = speed)]
    pub speed: f64,

    /// Contracts of the synthetic market, separated by commas
    #[arg(
        long,
        env = "SIM_SYMBOLS",
        default_value = "BTCUSDT,ETHUSDT,SOLUSDT",
        value_delimiter = ',',
        value_parser = contract
    )]
    pub symbols: Vec<&'static Contract>,

    /// Number of contracts of the synthetic market, up to 500: those of SIM_SYMBOLS, and then others of the exchange's
    /// list. Default: only those of SIM_SYMBOLS
    #[arg(long, env = "SIM_CONTRACTS", default_value_t = 0, value_parser = contract_count)]
    #[allow(
        clippy::doc_markdown,
        reason = "this text is printed to a terminal, where backticks are noise"
    )]
    pub contracts: usize,

    /// Candle file of the replayed market, CSV or CSV.gz
    #[arg(long, env = "SIM_CANDLES_FILE")]
    pub candles_file: Option<PathBuf>,

    /// Contract of the candle file
    #[arg(long, env = "SIM_CANDLES_SYMBOL", default_value = "BTCUSDT", value_parser = contract)]
    pub candles_symbol: &'static Contract,

    /// Number of candles at the beginning of the file that are served as history. Default: 300 half-hours, or half of
    /// a shorter file. A synthetic market has a fixed history
    #[arg(long, env = "SIM_WARMUP_CANDLES", value_parser = warmup)]
    pub warmup_candles: Option<usize>,

    /// When exchange time is paused
    #[arg(
        long,
        env = "SIM_CLOCK_PAUSE",
        value_enum,
        default_value = "until-first-subscriber"
    )]
    pub clock_pause: ClockPause,

    /// API keys as key:secret or key:secret:permission (read, trade, withdraw), separated by commas; each is an
    /// account. key:secret:permission:other is a second key of the account of the key other. Without keys there is no
    /// trading
    // Parsed when the exchange is built, because clap's error would repeat the secret.
    #[arg(long, env = "SIM_API_KEYS", default_value = "", hide_env_values = true)]
    pub api_keys: SecretString,

    /// File with API keys, one per line
    #[arg(long, env = "SIM_API_KEYS_FILE")]
    pub api_keys_file: Option<PathBuf>,

    /// Initial balance of an account, in USDT
    #[arg(long, env = "SIM_BALANCE_USDT", default_value = "10000", value_parser = balance)]
    pub balance_usdt: Decimal,

    /// Serve /sim/fault, through which every client of this port can inject faults: 1 or 0
    #[arg(
        long,
        env = "SIM_FAULT_API",
        default_value = "0",
        value_parser = one_or_zero,
        action = clap::ArgAction::Set
    )]
    pub fault_api: bool,

    /// Directory of the state files, with which a restart continues market and accounts
    #[arg(long, env = "SIM_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, for instance 0.0.0.0:8080".to_owned())
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| SPEEDS.contains(speed))
        .ok_or_else(|| {
            format!(
                "expected a number from {} to {}",
                SPEEDS.start(),
                SPEEDS.end()
            )
        })
}

fn contract(text: &str) -> Result<&'static Contract, String> {
    Contract::find(text).ok_or_else(|| {
        format!(
            "expected {}, or a generated contract",
            symbols::catalogue_names()
        )
    })
}

fn contract_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= MAX_CONTRACTS)
        .ok_or_else(|| format!("expected a whole number from 0 to {MAX_CONTRACTS}"))
}

fn one_or_zero(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" | "" => Ok(false),
        _ => Err("expected 1 or 0".to_owned()),
    }
}

fn balance(text: &str) -> Result<Decimal, String> {
    Decimal::from_str_exact(text)
        .ok()
        .filter(|balance| !balance.is_sign_negative() && *balance < Decimal::from(1_000_000_000))
        .ok_or_else(|| "expected an amount of USDT from 0 to below 1000000000".to_owned())
}

fn warmup(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "expected a whole number of candles, below the file's".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(arguments: &[&str]) -> String {
        let all = ["exchange-sim"].iter().chain(arguments);
        Cli::try_parse_from(all).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = Cli::try_parse_from(["exchange-sim"]).unwrap().settings;
        let names: Vec<_> = settings.symbols.iter().map(|c| c.symbol).collect();
        assert_eq!(names, ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
        assert_eq!(settings.listen.port(), 8080);
        assert_eq!(settings.clock_pause, ClockPause::UntilFirstSubscriber);
        assert_eq!(settings.market, MarketKind::Synthetic);
    }

    #[test]
    fn each_rejection_names_the_value_and_what_is_expected() {
        for (flag, value) in [
            ("--listen", "nowhere"),
            ("--seed", "-1"),
            ("--speed", "0"),
            ("--speed", "NaN"),
            ("--symbols", "BTCUSDT,FOOUSDT"),
            ("--candles-symbol", "btcusdt"),
            ("--contracts", "501"),
            ("--warmup-candles", "many"),
        ] {
            let said = rejection(&[&format!("{flag}={value}")]);
            let wrong = value.rsplit(',').next().unwrap();
            assert!(said.contains(wrong) && said.contains("expected "), "{said}");
        }
        assert!(rejection(&["--market", "forex"]).contains("synthetic, replay"));
        assert!(
            rejection(&["--clock-pause", "x"])
                .contains("until-first-subscriber, without-subscribers, never")
        );
    }
}
