//! What a start would meet at the exchange.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::candle::Interval;
use engine::rules::SymbolRules;
use protocol::ids::{Mode, Token};
use protocol::time::UtcMs;
use runtime::clock;
use tokio::time::timeout;

use super::account::Place;
use super::{Check, Grade, check, pass, warn};
use crate::market::{Market, MarketError};
use crate::settings::Settings;
use crate::start;

/// Any one check.
const DEADLINE: Duration = Duration::from_secs(10);
/// A wall clock this far from the exchange's is worth a word.
const SKEW: Duration = Duration::from_secs(1);

pub(super) async fn checks(market: &Market, settings: &Settings, mode: Mode) -> Vec<Check> {
    let url = &settings.rest_url;
    let before = clock::now();
    let now = match within(market.server_time()).await {
        Ok(now) => now,
        Err(error) => {
            return vec![failed(
                "exchange",
                &format!("BINANCE_REST_URL={url}"),
                &error,
            )];
        }
    };
    let skew = now.since(before).max(before.since(now));
    let mut checks = vec![
        pass("exchange", format!("{url} answers, its time is {now}")),
        clock_check(skew, mode, Place::of(url)),
    ];
    match within(market.rules(&settings.symbols)).await {
        Ok(rules) => {
            checks.push(symbols(settings, &rules));
            for symbol in rules.keys() {
                checks.push(candles(market, symbol, now).await);
            }
        }
        Err(error) => checks.push(failed("symbols", "SYMBOLS", &error)),
    }
    checks
}

fn clock_check(skew: Duration, mode: Mode, place: Place) -> Check {
    let finding = format!("{skew:.3?} from the exchange's");
    match (skew > SKEW, mode) {
        (false, _) => pass("clock", finding),
        (true, Mode::Live) if place == Place::Other => {
            warn("clock", finding, "right only for a simulated exchange")
        }
        (true, Mode::Paper) => warn("clock", finding, "right only for a simulated exchange"),
        (true, Mode::Live) => check(Grade::Fail, "clock", finding, "set the host's clock (NTP)"),
    }
}

fn symbols(settings: &Settings, rules: &BTreeMap<Token, SymbolRules>) -> Check {
    match start::check_slice(settings, rules) {
        Ok(()) => pass("symbols", format!("{} known, slice is enough", rules.len())),
        Err(stop) => check(Grade::Fail, "symbols", stop.message, ""),
    }
}

async fn candles(market: &Market, symbol: &Token, now: UtcMs) -> Check {
    let base = Interval::M1;
    match within(market.closed_klines(symbol, base, None, 2, now)).await {
        Err(error) => failed("candles", symbol.as_str(), &error),
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

pub(super) async fn within<T>(
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

pub(super) fn failed(name: &'static str, about: &str, error: &MarketError) -> Check {
    let finding = format!("{about}: {error}");
    match error {
        MarketError::Retry { .. } => check(
            Grade::Missing,
            name,
            finding,
            "is it up, and the address right?",
        ),
        MarketError::Refused { .. } => check(Grade::Fail, name, finding, "mend what it names"),
        MarketError::UnknownSymbol { .. } => check(
            Grade::Fail,
            name,
            error.to_string(),
            "take it out of SYMBOLS",
        ),
    }
}
