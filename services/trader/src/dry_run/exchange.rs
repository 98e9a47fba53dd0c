//! What a start would meet at the exchange.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ids::{Mode, SubjectToken};
use protocol::time::UtcMs;
use runtime::clock;
use tokio::time::timeout;
use trader_core::candle::Interval;
use trader_core::symbol_filters::SymbolFilters;

use super::account::Environment;
use super::{Check, CheckResult, check, pass, warn};
use crate::market::{BinanceDataClient, MarketError};
use crate::settings::Settings;
use crate::startup;

/// Any one check.
const DEADLINE: Duration = Duration::from_secs(10);
/// A wall clock this far from the exchange's is worth a word.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(1);

pub(super) async fn checks(
    market: &BinanceDataClient,
    settings: &Settings,
    mode: Mode,
) -> Vec<Check> {
    let url = &settings.rest_url;
    let before = clock::now();
    let now = match with_deadline(market.server_time()).await {
        Ok(now) => now,
        Err(error) => {
            return vec![failed_check(
                "exchange",
                &format!("BINANCE_REST_URL={url}"),
                &error,
            )];
        }
    };
    let skew = now.since(before).max(before.since(now));
    let mut checks = vec![
        pass("exchange", format!("{url} answers, its time is {now}")),
        clock_check(skew, mode, Environment::from_url(url)),
    ];
    match with_deadline(market.symbol_filters(&settings.symbols)).await {
        Ok(rules) => {
            checks.push(symbols(settings, &rules));
            for symbol in rules.keys() {
                checks.push(candles(market, symbol, now).await);
            }
        }
        Err(error) => checks.push(failed_check("symbols", "SYMBOLS", &error)),
    }
    checks
}

fn clock_check(skew: Duration, mode: Mode, place: Environment) -> Check {
    let finding = format!("{skew:.3?} from the exchange's");
    match (skew > MAX_CLOCK_SKEW, mode) {
        (false, _) => pass("clock", finding),
        (true, Mode::Live) if place == Environment::Simulated => {
            warn("clock", finding, "right only for a simulated exchange")
        }
        (true, Mode::Paper) => warn("clock", finding, "right only for a simulated exchange"),
        (true, Mode::Live) => check(
            CheckResult::Fail,
            "clock",
            finding,
            "set the host's clock (NTP)",
        ),
    }
}

fn symbols(settings: &Settings, rules: &BTreeMap<SubjectToken, SymbolFilters>) -> Check {
    match startup::check_slice(settings, rules) {
        Ok(()) => pass("symbols", format!("{} known, slice is enough", rules.len())),
        Err(stop) => check(CheckResult::Fail, "symbols", stop.message, ""),
    }
}

async fn candles(market: &BinanceDataClient, symbol: &SubjectToken, now: UtcMs) -> Check {
    let base = Interval::M1;
    match with_deadline(market.closed_klines(symbol, base, None, 2, now)).await {
        Err(error) => failed_check("candles", symbol.as_str(), &error),
        Ok(candles) => match candles.last() {
            None => warn(
                "candles",
                format!("{symbol}: the exchange has none yet"),
                "wait",
            ),
            Some(last) => {
                let age = now.since(base.close_of(last.open_time));
                let finding = format!("{symbol}: newest closed {} s ago", age.as_secs());
                if age > 3 * Duration::from_mins(1) {
                    warn("candles", finding, "is the market halted?")
                } else {
                    pass("candles", finding)
                }
            }
        },
    }
}

pub(super) async fn with_deadline<T>(
    call: impl Future<Output = Result<T, MarketError>>,
) -> Result<T, MarketError> {
    timeout(DEADLINE, call).await.unwrap_or_else(|_| {
        Err(MarketError::Retry {
            what: "exchange",
            reason: format!("no answer within {DEADLINE:?}"),
            after: None,
        })
    })
}

pub(super) fn failed_check(name: &'static str, about: &str, error: &MarketError) -> Check {
    let finding = format!("{about}: {error}");
    match error {
        MarketError::Retry { .. } => check(
            CheckResult::Missing,
            name,
            finding,
            "is it up, and the address right?",
        ),
        MarketError::Refused { .. } => {
            check(CheckResult::Fail, name, finding, "mend what it names")
        }
        MarketError::UnknownSymbol { .. } => check(
            CheckResult::Fail,
            name,
            error.to_string(),
            "take it out of SYMBOLS",
        ),
    }
}
