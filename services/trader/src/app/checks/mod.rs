//! The checks that a start and `--dry-run` share.

pub(crate) mod account;

use std::time::Duration;

use exchange::{ExchangeError, ListingObstacle};
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use serde::Serialize;
use tokio::time::timeout;
use trader_core::symbol_filters::SymbolFilters;

use crate::settings::{Environment, Settings};

/// Deadline of each check.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Result of a check, by the exit code of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckResult {
    /// The check passed: there is nothing to do.
    Pass,
    /// A start would go through.
    Warn,
    /// A dependency is unavailable: exit 69.
    Missing,
    /// A retry cannot fix the cause: exit 78.
    Fail,
}

/// One check and what it found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) result: CheckResult,
    pub(crate) finding: String,
    /// What the operator can do; empty if there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) advice: String,
    /// The call that failed; `None` for a check that had its answer.
    #[serde(skip)]
    pub(crate) error: Option<ExchangeError>,
}

/// A check with this result.
pub(crate) fn check(
    result: CheckResult,
    name: &'static str,
    finding: impl Into<String>,
    advice: impl Into<String>,
) -> Check {
    Check {
        name,
        result,
        finding: finding.into(),
        advice: advice.into(),
        error: None,
    }
}

/// A check that passed.
pub(crate) fn pass(name: &'static str, finding: impl Into<String>) -> Check {
    check(CheckResult::Pass, name, finding, "")
}

/// A check that does not prevent a start.
pub(crate) fn warn(
    name: &'static str,
    finding: impl Into<String>,
    advice: impl Into<String>,
) -> Check {
    check(CheckResult::Warn, name, finding, advice)
}

/// A check that failed with an error of the exchange.
pub(crate) fn failed_check(name: &'static str, about: &str, error: &ExchangeError) -> Check {
    let finding = format!("{about}: {error}");
    let failed = match error {
        ExchangeError::Retry { .. } => check(
            CheckResult::Missing,
            name,
            finding,
            "check that the exchange is up and the address is right",
        ),
        ExchangeError::Rejected { .. } => {
            check(CheckResult::Fail, name, finding, "correct what it names")
        }
    };
    Check {
        error: Some(error.clone()),
        ..failed
    }
}

/// The text of an obstacle. For an unlisted symbol it names the setting that lists the symbols of a simulated exchange.
pub(crate) fn describe_obstacle(settings: &Settings, obstacle: &ListingObstacle) -> String {
    match (obstacle, Environment::from_url(&settings.rest_url)) {
        (ListingObstacle::NotListed { .. }, Environment::Simulated) => {
            format!("{obstacle}; SIM_SYMBOLS lists the symbols of the simulated exchange")
        }
        _ => obstacle.to_string(),
    }
}

/// Limits a call to the exchange to the [`DEADLINE`].
///
/// # Errors
/// The call's own, or [`ExchangeError::Retry`] after the deadline.
pub(crate) async fn with_deadline<T>(
    call: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    timeout(DEADLINE, call).await.unwrap_or_else(|_| {
        Err(ExchangeError::Retry {
            what: "exchange",
            reason: format!("no answer within {DEADLINE:?}"),
            after: None,
        })
    })
}

/// Checks that each book's share of the capital is enough for the smallest order.
///
/// # Errors
/// Exit 78 naming the symbol, the share and the minimum.
pub(crate) fn check_slice<'a>(
    settings: &Settings,
    filters: impl Iterator<Item = &'a SymbolFilters>,
) -> Result<(), ExitError> {
    let largest = settings.slice() * Decimal::from(settings.leverage);
    for filters in filters {
        if largest < filters.min_notional {
            return Err(ExitError::config(format!(
                "CAPITAL_USDT=\"{}\": expected more capital or fewer SYMBOLS: {} gets {} USDT, and its smallest order \
                 is {} USDT",
                settings.capital,
                filters.symbol,
                settings.slice(),
                filters.min_notional
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn unlisted_symbol_names_sim_symbols_only_on_a_simulated_exchange() {
        let error = ListingObstacle::NotListed {
            symbol: "BNBUSDT".to_owned(),
            examples: "BTCUSDT, ETHUSDT".to_owned(),
        };
        let text = |url: &str| {
            let settings = Settings::parse_from(["settings", "--rest-url", url]);
            describe_obstacle(&settings, &error)
        };
        let simulated = text("http://exchange-sim:8080");
        assert!(
            simulated.starts_with("SYMBOLS=\"BNBUSDT\": expected"),
            "{simulated}"
        );
        assert!(simulated.contains("SIM_SYMBOLS"), "{simulated}");
        assert!(!text("https://fapi.binance.com").contains("SIM_SYMBOLS"));
    }
}
