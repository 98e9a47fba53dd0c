//! The trader's settings: all from the environment, each refused with its name, value and what is
//! allowed.

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::Parser;
use protocol::ids::{AccountKey, Mode, SubjectToken};
use runtime::bus::BusSettings;
use runtime::identity::InstanceSettings;
use runtime::logging::LoggingSettings;
use runtime::metrics::MetricsSettings;
use runtime::process::ExitError;
use runtime::settings::whole_number;
use rust_decimal::Decimal;
use trader_core::protections::Protections;
use trader_core::strategy::Strategy;

use crate::venue::CredentialSettings;

/// The exchange whose protocol we speak; the first word of an account after the mode.
const VENUE: &str = "binance-usdm";

/// Everything but the command line.
#[derive(Debug, Clone, Parser)]
#[command(name = "trader")]
pub struct Settings {
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Logs.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Prometheus's numbers.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// This process.
    #[command(flatten)]
    pub instance: InstanceSettings,

    /// Binance USD-M REST, or what speaks like it
    #[arg(long, env = "BINANCE_REST_URL", value_name = "BINANCE_REST_URL",
          default_value = "http://exchange-sim:8080", value_parser = rest_url)]
    pub rest_url: String,

    /// Binance USD-M market streams, or what speaks like them
    #[arg(long, env = "BINANCE_WS_URL", value_name = "BINANCE_WS_URL",
          default_value = "ws://exchange-sim:8080", value_parser = ws_url)]
    pub ws_url: String,

    /// The account's key; only live needs one.
    #[command(flatten)]
    pub credentials: CredentialSettings,

    /// How long after its decision the exchange may take an order, in milliseconds of its time
    #[arg(long, env = "RECV_WINDOW_MS", value_name = "RECV_WINDOW_MS",
          default_value = "3000", value_parser = whole_number::<u32>(1_000..=60_000))]
    pub recv_window_ms: u32,

    /// What to trade
    #[arg(long, env = "SYMBOLS", value_name = "SYMBOLS", value_delimiter = ',',
          default_value = "BTCUSDT,ETHUSDT,SOLUSDT", value_parser = symbol)]
    pub symbols: Vec<SubjectToken>,

    /// Capital of the account, shared out evenly over the symbols
    #[arg(long, env = "CAPITAL_USDT", value_name = "CAPITAL_USDT",
          default_value = "10000", value_parser = capital)]
    pub capital: Decimal,

    /// Whose signals to follow, first one wins
    #[arg(
        long,
        env = "STRATEGIES",
        value_name = "STRATEGIES",
        value_delimiter = ',',
        default_value = "adaptive-oversold-bounce,adaptive-short-the-rip,oversold-bounce,short-the-rip"
    )]
    pub strategies: Vec<Strategy>,

    /// What keeps a book from entries after bad trades; none switches them off
    #[arg(long, env = "PROTECTIONS", value_name = "PROTECTIONS",
          default_value_t = Protections::default())]
    pub protections: Protections,

    /// What a long position pays every eight hours on paper, as a fraction of its worth
    #[arg(long, env = "FUNDING_RATE", value_name = "FUNDING_RATE",
          default_value = "0.0001", allow_negative_numbers = true, value_parser = funding)]
    pub funding_rate: Decimal,

    /// Fee of each side, as a fraction of the notional
    #[arg(long, env = "FEE_RATE", value_name = "FEE_RATE",
          default_value = "0.0006", value_parser = rate)]
    pub fee_rate: Decimal,

    /// Slippage of market fills, as a fraction of the price
    #[arg(long, env = "SLIPPAGE_RATE", value_name = "SLIPPAGE_RATE",
          default_value = "0.0002", value_parser = rate)]
    pub slippage_rate: Decimal,

    /// Largest position, as a multiple of a book's equity
    #[arg(long, env = "LEVERAGE", value_name = "LEVERAGE",
          default_value = "1", value_parser = whole_number::<u8>(1..=5))]
    pub leverage: u8,
}

impl Settings {
    /// From the environment.
    ///
    /// # Errors
    /// Exit 78, one line.
    pub fn from_env() -> Result<Self, ExitError> {
        let settings: Self = runtime::settings::from_env()?;
        no_repeats(
            "SYMBOLS",
            settings.symbols.iter().map(SubjectToken::to_string),
        )?;
        no_repeats(
            "STRATEGIES",
            settings.strategies.iter().map(ToString::to_string),
        )?;
        Ok(settings)
    }

    /// The modes whose journals this user of the bus may read: a trader its own, the operator both.
    pub fn modes(&self) -> &'static [Mode] {
        match self.bus.nats_user.as_ref().map(SubjectToken::as_str) {
            Some("trader-paper") => &[Mode::Paper],
            Some("trader-live") => &[Mode::Live],
            _ => &[Mode::Paper, Mode::Live],
        }
    }

    /// Whose books paper's are. A paper account is its market-data feed: another feed, other books.
    ///
    /// # Errors
    /// Exit 78 if the feed's address makes no name.
    pub fn paper_account(&self) -> Result<AccountKey, ExitError> {
        self.account(Mode::Paper, "")
    }

    /// The account that the exchange calls this.
    ///
    /// # Errors
    /// Exit 78 if that makes no name.
    pub fn live_account(&self, alias: &str) -> Result<AccountKey, ExitError> {
        self.account(Mode::Live, &format!("/{alias}"))
    }

    fn account(&self, mode: Mode, path: &str) -> Result<AccountKey, ExitError> {
        let unusable = || {
            let url = &self.rest_url;
            ExitError::config(format!("BINANCE_REST_URL={url:?}: no account's name in it"))
        };
        Ok(AccountKey {
            mode,
            venue: VENUE.parse().map_err(|_| unusable())?,
            account: account_name(&self.rest_url, path).ok_or_else(unusable)?,
        })
    }

    /// One book's share of the capital, cut to whole cents.
    pub fn slice(&self) -> Decimal {
        let books = Decimal::from(self.symbols.len().max(1));
        (self.capital / books).trunc_with_scale(2)
    }
}

/// `https://fapi.binance.com` is `fapi-binance-com`, `http://exchange-sim:8080` `exchange-sim-8080`; an
/// account there has its alias behind that.
fn account_name(url: &str, path: &str) -> Option<SubjectToken> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let name: String = host
        .chars()
        .chain(path.chars())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    name.parse().ok()
}

fn no_repeats(name: &str, values: impl Iterator<Item = String>) -> Result<(), ExitError> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Err(ExitError::config(format!("{name}: {value} is there twice")));
        }
        seen.insert(value);
    }
    Ok(())
}

fn rest_url(text: &str) -> Result<String, String> {
    url(text, &["http://", "https://"])
}

fn ws_url(text: &str) -> Result<String, String> {
    url(text, &["ws://", "wss://"])
}

fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let host = schemes
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host) if is_host(host) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!(
            "allowed is {}host[:port]",
            schemes.join("host[:port] or ")
        )),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    !host.is_empty() && host.bytes().all(letters) && port.parse::<u16>().is_ok_and(|p| p > 0)
}

fn symbol(text: &str) -> Result<SubjectToken, String> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    if (5..=20).contains(&text.len()) && text.bytes().all(allowed) {
        text.parse().map_err(|_| String::from("no name"))
    } else {
        Err("allowed is a list like BTCUSDT,ETHUSDT: capital letters and digits".to_owned())
    }
}

fn capital(text: &str) -> Result<Decimal, String> {
    let value = Decimal::from_str(text).ok();
    value
        .filter(|v| *v > Decimal::ZERO && *v <= Decimal::from(1_000_000_000))
        .ok_or_else(|| "allowed is an amount above 0, up to 1000000000".to_owned())
}

fn funding(text: &str) -> Result<Decimal, String> {
    let value = Decimal::from_str(text).ok();
    value
        .filter(|v| v.abs() <= Decimal::new(1, 2))
        .ok_or_else(|| "allowed is a fraction from -0.01 to 0.01, e.g. 0.0001".to_owned())
}

fn rate(text: &str) -> Result<Decimal, String> {
    let value = Decimal::from_str(text).ok();
    value
        .filter(|v| *v >= Decimal::ZERO && *v <= Decimal::new(1, 1))
        .ok_or_else(|| "allowed is a fraction from 0 to 0.1, e.g. 0.0006".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_account_is_named_after_the_host_of_its_feed() {
        for (url, path, name) in [
            ("https://fapi.binance.com", "", "fapi-binance-com"),
            ("http://exchange-sim:8080", "", "exchange-sim-8080"),
            ("https://fapi.binance.com", "/SgsR", "fapi-binance-com-SgsR"),
        ] {
            assert_eq!(account_name(url, path).unwrap().as_str(), name);
        }
    }

    #[test]
    fn addresses_are_checked_before_anything_connects_to_them() {
        assert_eq!(rest_url("http://a:8080/").unwrap(), "http://a:8080");
        for bad in [
            "a:8080",
            "ws://a",
            "http://",
            "http://a:0",
            "http://a b",
            "http://u:p@a",
        ] {
            assert!(rest_url(bad).is_err(), "{bad}");
        }
        assert!(ws_url("wss://fstream.binance.com").is_ok());
    }

    #[test]
    fn capital_and_rates_have_bounds() {
        assert!(capital("0").is_err() && capital("-1").is_err() && capital("NaN").is_err());
        assert!(rate("0").is_ok() && rate("0.1").is_ok() && rate("0.11").is_err());
        assert!(symbol("btcusdt").is_err() && symbol("BTC.USDT").is_err());
    }
}
