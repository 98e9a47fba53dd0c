//! The dry run's checks of the exchange.

use std::collections::BTreeMap;
use std::time::Duration;

use ::exchange::{DataClient, SymbolListing};
use protocol::duration::format_duration;
use protocol::ids::{Mode, SubjectToken};
use protocol::time::UtcMs;
use runtime::clock;
use trader_core::candle::Interval;
use trader_core::symbol_filters::SymbolFilters;

use crate::app::checks::{
    Check, CheckResult, check, check_slice, describe_obstacle, failed_check, pass, warn,
    with_deadline,
};
use crate::settings::{Environment, Settings};

/// A larger difference between wall clock and exchange is reported.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(1);

/// The checks of the exchange, and what they found out for other checks.
#[derive(Default)]
pub(super) struct ExchangeChecks {
    pub(super) checks: Vec<Check>,
    /// The exchange's time and the filters of the symbols; `None` if it did not answer.
    pub(super) market: Option<(UtcMs, BTreeMap<SubjectToken, SymbolFilters>)>,
}

pub(super) async fn checks(
    client: &dyn DataClient,
    settings: &Settings,
    mode: Mode,
) -> ExchangeChecks {
    let url = &settings.rest_url;
    let before = clock::now();
    let now = match with_deadline(client.server_time()).await {
        Ok(now) => now,
        Err(error) => {
            let address = format!("BINANCE_REST_URL={url}");
            return ExchangeChecks {
                checks: vec![failed_check("exchange", &address, &error)],
                market: None,
            };
        }
    };
    let skew = now.since(before).max(before.since(now));
    let mut checks = vec![
        pass("exchange", format!("{url} answers, its time is {now}")),
        clock_check(skew, mode, Environment::from_url(url)),
    ];
    let mut market = None;
    match with_deadline(client.symbol_listings(&settings.symbols)).await {
        Ok(listings) => {
            checks.push(symbols(settings, &listings));
            for (symbol, listing) in &listings {
                match &listing.obstacle {
                    None => checks.push(candles(client, symbol, now).await),
                    Some(obstacle) => checks.push(check(
                        CheckResult::Fail,
                        "symbols",
                        describe_obstacle(settings, obstacle),
                        "remove the symbol from SYMBOLS; a start trades the others",
                    )),
                }
            }
            let tradable = listings
                .into_iter()
                .filter(|(_, listing)| listing.obstacle.is_none());
            let filters = tradable.filter_map(|(symbol, listing)| Some((symbol, listing.filters?)));
            market = Some((now, filters.collect()));
        }
        Err(error) => checks.push(failed_check("symbols", "SYMBOLS", &error)),
    }
    ExchangeChecks { checks, market }
}

fn clock_check(skew: Duration, mode: Mode, environment: Environment) -> Check {
    let finding = format!("{skew:.3?} from the exchange's clock");
    match (skew > MAX_CLOCK_SKEW, mode) {
        (false, _) => pass("clock", finding),
        (true, Mode::Live) if environment == Environment::Simulated => {
            warn("clock", finding, "expected only with a simulated exchange")
        }
        (true, Mode::Paper) => warn("clock", finding, "expected only with a simulated exchange"),
        (true, Mode::Live) => check(
            CheckResult::Fail,
            "clock",
            finding,
            "set the host's clock, for example with NTP",
        ),
    }
}

fn symbols(settings: &Settings, listings: &BTreeMap<SubjectToken, SymbolListing>) -> Check {
    let tradable = listings.values().filter(|l| l.obstacle.is_none());
    match check_slice(
        settings,
        tradable.clone().filter_map(|l| l.filters.as_ref()),
    ) {
        Ok(()) => pass("symbols", format!("{} can be traded", tradable.count())),
        Err(error) => check(CheckResult::Fail, "symbols", error.message, ""),
    }
}

async fn candles(client: &dyn DataClient, symbol: &SubjectToken, now: UtcMs) -> Check {
    let base = Interval::M1;
    match with_deadline(client.closed_candles(symbol, base, None, 2, now)).await {
        Err(error) => failed_check("candles", symbol.as_str(), &error),
        Ok(candles) => match candles.last() {
            None => warn(
                "candles",
                format!("{symbol}: the exchange has no candles yet"),
                "try again in a minute",
            ),
            Some(last) => {
                let age = now.since(base.close_of(last.open_time));
                let finding = format!(
                    "{symbol}: newest candle closed {} ago",
                    format_duration(age)
                );
                if age > 3 * Duration::from_mins(1) {
                    warn("candles", finding, "check whether the market is halted")
                } else {
                    pass("candles", finding)
                }
            }
        },
    }
}
