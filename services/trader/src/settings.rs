//! The trader's settings, all from the environment. An invalid value is rejected with its name and what is expected.

mod credentials;

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use protocol::ids::{AccountKey, HostKey, Mode, SubjectToken};
use runtime::bus::BusSettings;
use runtime::exit_error::ExitError;
use runtime::identity::InstanceSettings;
use runtime::logging::LoggingSettings;
use runtime::metrics::MetricsSettings;
use runtime::settings::whole_number;
use rust_decimal::Decimal;
use trader_core::protections::Protections;
use trader_core::strategy::Strategy;

pub use self::credentials::CredentialSettings;

/// Venue segment of an account key.
const VENUE: &str = "binance-usdm";

/// All settings of the trader.
#[derive(Debug, Clone, Parser)]
#[command(name = "trader")]
pub struct Settings {
    /// Connection to the bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Settings of the log.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Settings of the metrics endpoint.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// Name and host of this process.
    #[command(flatten)]
    pub instance: InstanceSettings,

    /// REST address of Binance USD-M futures or a compatible server
    #[arg(long, env = "BINANCE_REST_URL", value_name = "BINANCE_REST_URL",
          default_value = "http://exchange-sim:8080", value_parser = rest_url)]
    pub rest_url: String,

    /// Stream address of Binance USD-M futures or a compatible server
    #[arg(long, env = "BINANCE_WS_URL", value_name = "BINANCE_WS_URL",
          default_value = "ws://exchange-sim:8080", value_parser = ws_url)]
    pub ws_url: String,

    /// API key; only live trading needs one.
    #[command(flatten)]
    pub credentials: CredentialSettings,

    /// How long after its decision the exchange may accept an order, in milliseconds of exchange time
    #[arg(long, env = "RECV_WINDOW_MS", value_name = "RECV_WINDOW_MS",
          default_value = "3000", value_parser = whole_number::<u32>(1_000..=60_000))]
    pub recv_window_ms: u32,

    /// How long a difference between the exchange's balance and the books is checked again before it stops entries, in seconds
    #[arg(long, env = "BALANCE_GRACE_SECS", value_name = "BALANCE_GRACE_SECS",
          default_value = "180", value_parser = whole_number::<u32>(6..=3_600))]
    pub balance_grace_secs: u32,

    /// Symbols to trade
    #[arg(long, env = "SYMBOLS", value_name = "SYMBOLS", value_delimiter = ',',
          default_value = "BTCUSDT,ETHUSDT,SOLUSDT", value_parser = symbol)]
    pub symbols: Vec<SubjectToken>,

    /// Capital of the account in USDT, divided evenly over the symbols
    #[arg(long, env = "CAPITAL_USDT", value_name = "CAPITAL_USDT",
          default_value = "10000", value_parser = capital)]
    pub capital: Decimal,

    /// Strategies in order of precedence; of two signals on one bar the first is used
    #[arg(
        long,
        env = "STRATEGIES",
        value_name = "STRATEGIES",
        value_delimiter = ',',
        default_value = Strategy::default_list(),
        value_parser = strategy
    )]
    pub strategies: Vec<Strategy>,

    /// Protections that lock entries after bad trades; none switches them off
    #[arg(long, env = "PROTECTIONS", value_name = "PROTECTIONS",
          default_value_t = Protections::default())]
    pub protections: Protections,

    /// Funding that a long paper position pays every eight hours, as a fraction of its value
    #[arg(long, env = "FUNDING_RATE", value_name = "FUNDING_RATE",
          default_value = "0.0001", allow_negative_numbers = true, value_parser = funding)]
    pub funding_rate: Decimal,

    /// Fee of each fill, as a fraction of its value
    #[arg(long, env = "FEE_RATE", value_name = "FEE_RATE",
          default_value = "0.0006", value_parser = rate)]
    pub fee_rate: Decimal,

    /// Slippage of market orders on paper, as a fraction of the price
    #[arg(long, env = "SLIPPAGE_RATE", value_name = "SLIPPAGE_RATE",
          default_value = "0.0002", value_parser = rate)]
    pub slippage_rate: Decimal,

    /// Largest position, as a multiple of a book's equity
    #[arg(long, env = "LEVERAGE", value_name = "LEVERAGE",
          default_value = "1", value_parser = whole_number::<u8>(1..=5))]
    pub leverage: u8,
}

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// Exit 78 naming the invalid setting.
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

    /// The modes whose journals the bus user may read: a trader its own, the operator both.
    pub fn modes(&self) -> &'static [Mode] {
        match self.bus.nats_user.as_ref().map(SubjectToken::as_str) {
            Some("trader-paper") => &[Mode::Paper],
            Some("trader-live") => &[Mode::Live],
            _ => &[Mode::Paper, Mode::Live],
        }
    }

    /// Paper account: `<project>-<host>-<feed>` on a simulated feed, which is another market on each host, and
    /// `<project>-<feed>` on a real one.
    ///
    /// # Errors
    /// Exit 78 if the address makes no account id.
    pub async fn paper_account(&self) -> Result<AccountKey, ExitError> {
        let HostKey { project, host } = self.instance.host_key().await?;
        let prefix = match Environment::from_url(&self.rest_url) {
            Environment::Simulated => format!("{project}-{host}-"),
            Environment::Production | Environment::Testnet => format!("{project}-"),
        };
        self.account(Mode::Paper, &prefix, "")
    }

    /// The live account with the exchange's alias for it.
    ///
    /// # Errors
    /// Exit 78 if address and alias make no account id.
    pub fn live_account(&self, alias: &str) -> Result<AccountKey, ExitError> {
        self.account(Mode::Live, "", &format!("/{alias}"))
    }

    fn account(&self, mode: Mode, prefix: &str, path: &str) -> Result<AccountKey, ExitError> {
        let unusable = || {
            let url = &self.rest_url;
            ExitError::config(format!(
                "BINANCE_REST_URL={url:?}: expected a host of letters, digits, dots and dashes"
            ))
        };
        Ok(AccountKey {
            mode,
            venue: VENUE.parse().map_err(|_| unusable())?,
            account: account_name(&self.rest_url, prefix, path).ok_or_else(unusable)?,
        })
    }

    /// Each book's share of the capital in USDT, rounded down to cents.
    pub fn slice(&self) -> Decimal {
        let books = Decimal::from(self.symbols.len().max(1));
        (self.capital / books).trunc_with_scale(2)
    }

    /// How long a difference of the exchange's balance must last before it stops entries.
    pub fn balance_grace(&self) -> Duration {
        Duration::from_secs(self.balance_grace_secs.into())
    }
}

/// Which exchange an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    Production,
    Testnet,
    Simulated,
}

impl Environment {
    pub(crate) fn from_url(url: &str) -> Self {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        match host.split([':', '/']).next().unwrap_or_default() {
            "fapi.binance.com" => Self::Production,
            "testnet.binancefuture.com" | "demo-fapi.binance.com" => Self::Testnet,
            _ => Self::Simulated,
        }
    }
}

/// Longest account id; a longer name is cut to it.
const MAX_ACCOUNT_ID_LENGTH: usize = 64;

/// `https://fapi.binance.com` is `fapi-binance-com`, `http://exchange-sim:8080` is `exchange-sim-8080`; before it
/// stands the prefix, behind it the path. A name that is too long ends with a hash of itself. `None` if it is no token.
fn account_name(url: &str, prefix: &str, path: &str) -> Option<SubjectToken> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let feed = host.chars().chain(path.chars());
    let feed = feed.map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let mut name: String = prefix.chars().chain(feed).collect();
    if name.len() > MAX_ACCOUNT_ID_LENGTH {
        let suffix = format!("-{:016x}", fnv1a(&name));
        name.truncate(MAX_ACCOUNT_ID_LENGTH - suffix.len());
        name.push_str(&suffix);
    }
    name.parse().ok()
}

/// The 64-bit FNV-1a hash. It is part of stored names and must not change.
fn fnv1a(text: &str) -> u64 {
    let (offset_basis, prime) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);
    text.bytes().fold(offset_basis, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(prime)
    })
}

fn no_repeats(name: &str, values: impl Iterator<Item = String>) -> Result<(), ExitError> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Err(ExitError::config(format!(
                "{name}=\"{value}\": expected each value once"
            )));
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
            "expected {}host[:port]",
            schemes.join("host[:port] or ")
        )),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    !host.is_empty() && host.bytes().all(letters) && port.parse::<u16>().is_ok_and(|p| p > 0)
}

/// Parses a symbol. Spaces at the ends and lower case are accepted.
///
/// # Errors
/// What is expected.
pub(crate) fn symbol(text: &str) -> Result<SubjectToken, String> {
    let symbol = text.trim().to_ascii_uppercase();
    let is_valid =
        (5..=20).contains(&symbol.len()) && symbol.bytes().all(|b| b.is_ascii_alphanumeric());
    let parsed = symbol.parse().ok().filter(|_| is_valid);
    parsed.ok_or_else(|| {
        "expected symbols of 5 to 20 letters and digits, e.g. BTCUSDT,ETHUSDT".to_owned()
    })
}

/// Parses a strategy: `oversold-bounce` or `OversoldBounce`, in any case.
///
/// # Errors
/// What is expected.
pub(crate) fn strategy(text: &str) -> Result<Strategy, String> {
    let letters = |name: &str| name.trim().replace(['-', '_'], "").to_ascii_lowercase();
    let wanted = letters(text);
    let found = Strategy::ALL
        .into_iter()
        .find(|s| letters(s.as_str()) == wanted);
    found.ok_or_else(|| {
        let known: Vec<&str> = Strategy::ALL.iter().map(|s| s.as_str()).collect();
        format!("expected {}", known.join(", "))
    })
}

fn capital(text: &str) -> Result<Decimal, String> {
    let value = Decimal::from_str(text).ok();
    value
        .filter(|v| *v > Decimal::ZERO && *v <= Decimal::from(1_000_000_000))
        .ok_or_else(|| "expected an amount above 0, up to 1000000000".to_owned())
}

fn funding(text: &str) -> Result<Decimal, String> {
    let value = Decimal::from_str(text).ok();
    value
        .filter(|v| v.abs() <= Decimal::new(1, 2))
        .ok_or_else(|| "expected a fraction from -0.01 to 0.01, e.g. 0.0001".to_owned())
}

fn rate(text: &str) -> Result<Decimal, String> {
    let value = Decimal::from_str(text).ok();
    value
        .filter(|v| *v >= Decimal::ZERO && *v <= Decimal::new(1, 1))
        .ok_or_else(|| "expected a fraction from 0 to 0.1, e.g. 0.0006".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paper_account_is_named_after_the_host_of_its_feed() {
        for (url, prefix, path, name) in [
            ("https://fapi.binance.com", "p-", "", "p-fapi-binance-com"),
            (
                "http://exchange-sim:8080",
                "my_p-h-",
                "",
                "my_p-h-exchange-sim-8080",
            ),
            (
                "https://fapi.binance.com",
                "",
                "/SgsR",
                "fapi-binance-com-SgsR",
            ),
        ] {
            assert_eq!(account_name(url, prefix, path).unwrap().as_str(), name);
        }
        let name = |project: &str| account_name("http://exchange-sim:8080", project, "").unwrap();
        let (one, other) = (name(&"p".repeat(60)), name(&"p".repeat(61)));
        assert_eq!(one.as_str().len(), 64);
        assert_ne!(one, other, "two long names stay apart");
        assert_eq!(
            format!("{:x}", fnv1a("a")),
            "af63dc4c8601ec8c",
            "as published"
        );
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
    }

    #[test]
    fn symbols_are_trimmed_and_upper_cased() {
        assert_eq!(symbol(" ethusdt").unwrap().as_str(), "ETHUSDT");
        assert_eq!(symbol("1000PEPEUSDT ").unwrap().as_str(), "1000PEPEUSDT");
        for invalid in ["", "BTC", "BTC.USDT", "BTC USDT"] {
            assert!(
                symbol(invalid).unwrap_err().starts_with("expected"),
                "{invalid:?}"
            );
        }
    }

    #[test]
    fn strategies_are_accepted_as_documented_and_as_typed() {
        for text in [
            "oversold-bounce",
            "OversoldBounce",
            " oversoldbounce",
            "OVERSOLD_BOUNCE",
        ] {
            assert_eq!(strategy(text), Ok(Strategy::OversoldBounce), "{text:?}");
        }
        let error = strategy("bounce").unwrap_err();
        assert!(
            error.starts_with("expected adaptive-oversold-bounce"),
            "{error}"
        );
    }
}
