//! What a trader needs before its parts can start: settings that make sense together, the bus with
//! its streams, the exchange with its rules. A real start waits for what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::book::BookConfig;
use engine::candle::Interval;
use engine::rules::SymbolRules;
use protocol::exit::ExitCode;
use protocol::ids::{Mode, Token};
use protocol::trader_args::TraderArgs;
use runtime::process::Stop;
use runtime::streams;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::market::{Market, MarketError, MarketSettings};
use crate::settings::Settings;

/// The streams a trader reads or writes.
pub const STREAMS: [&str; 6] = [
    streams::JOURNAL,
    streams::EVENTS,
    streams::HEARTBEATS,
    streams::LEASES,
    streams::REPORTS,
    streams::SNAPSHOTS,
];

/// Interval of the candles that paper fills are made against.
const BASE: Interval = Interval::M1;
const RETRY: Duration = Duration::from_secs(2);

/// Refuses what this build cannot do, before anything starts.
///
/// # Errors
/// Exit 64 for live without `--confirm-live`, 78 for live with it (or with `--dry-run`, which risks
/// nothing): this version has no live venue.
pub fn check_mode(args: &TraderArgs) -> Result<(), Stop> {
    match args.mode() {
        Mode::Paper => Ok(()),
        Mode::Live if args.confirm_live || args.dry_run => Err(Stop::config(
            "live trading is not in this version: add --paper to simulate",
        )),
        Mode::Live => Err(Stop::new(
            ExitCode::Usage,
            "without --paper this would trade real money: add --paper to simulate, or --confirm-live",
        )),
    }
}

/// How books are traded, checked.
///
/// # Errors
/// Exit 78 naming the setting.
pub fn book_config(settings: &Settings) -> Result<BookConfig, Stop> {
    let config = BookConfig {
        base: BASE,
        leverage: Decimal::from(settings.leverage),
        fee_rate: settings.fee_rate,
        slippage: settings.slippage_rate,
        funding_rate: settings.funding_rate,
        strategies: settings.strategies.clone(),
        protections: settings.protections,
        live: None,
    };
    config
        .check()
        .map_err(|error| Stop::config(error.to_string()))?;
    Ok(config)
}

/// The exchange's REST side; connects to nothing yet.
///
/// # Errors
/// Exit 78 if the addresses are refused.
pub fn market(settings: &Settings) -> Result<Market, Stop> {
    Market::new(&MarketSettings {
        rest_url: settings.rest_url.clone(),
        ws_url: settings.ws_url.clone(),
    })
    .map_err(|error| Stop::config(error.to_string()))
}

/// Waits for the exchange and reads the rules of every symbol.
///
/// # Errors
/// Exit 78 for an unknown symbol or a slice that can never meet a minimum, 0 when cancelled.
pub async fn rules(
    market: &Market,
    settings: &Settings,
    until: &CancellationToken,
) -> Result<BTreeMap<Token, SymbolRules>, Stop> {
    loop {
        let asked = until.run_until_cancelled(market.rules(&settings.symbols));
        let wait = match asked.await {
            None => return Err(stopped()),
            Some(Ok(rules)) => {
                check_slice(settings, &rules)?;
                return Ok(rules);
            }
            Some(Err(MarketError::Retry {
                what,
                reason,
                after,
            })) => {
                tracing::warn!(what, reason, "waiting for the exchange");
                after.unwrap_or(RETRY)
            }
            Some(Err(error)) => return Err(Stop::config(error.to_string())),
        };
        pause(until, wait).await?;
    }
}

/// A slice that can never buy the least the exchange sells is a mistake, not a market condition.
///
/// # Errors
/// Exit 78 naming the symbol, the slice and the minimum.
pub fn check_slice(settings: &Settings, rules: &BTreeMap<Token, SymbolRules>) -> Result<(), Stop> {
    let most = settings.slice() * Decimal::from(settings.leverage);
    for (symbol, rules) in rules {
        if most < rules.min_notional {
            return Err(Stop::config(format!(
                "CAPITAL_USDT={}: {symbol} gets {} of it, but its smallest order is {}; allowed is \
                 more capital or fewer SYMBOLS",
                settings.capital,
                settings.slice(),
                rules.min_notional
            )));
        }
    }
    Ok(())
}

async fn pause(until: &CancellationToken, wait: Duration) -> Result<(), Stop> {
    let slept = until.run_until_cancelled(tokio::time::sleep(wait)).await;
    slept.ok_or_else(stopped)
}

fn stopped() -> Stop {
    Stop::new(ExitCode::Done, "stopped before it began")
}
