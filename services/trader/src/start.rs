//! What a trader needs before its parts can start: settings that make sense together, the bus with
//! its streams, the exchange with its rules. A real start waits for what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::book::{BookConfig, Terms};
use engine::candle::Interval;
use engine::rules::SymbolRules;
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, Mode, Token};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::process::Stop;
use runtime::streams;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::dry_run;
use crate::market::{Market, MarketError, MarketSettings};
use crate::settings::Settings;
use crate::venue::{Venue, VenueSettings};

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

/// Refuses what nobody may have meant, before anything starts.
///
/// # Errors
/// Exit 64 for live without `--confirm-live` (with `--dry-run` it risks nothing).
pub fn check_mode(args: &TraderArgs) -> Result<(), Stop> {
    match args.mode() {
        Mode::Live if !(args.confirm_live || args.dry_run) => Err(Stop::new(
            ExitCode::Usage,
            "without --paper this would trade real money: add --paper to simulate, or --confirm-live",
        )),
        Mode::Live | Mode::Paper => Ok(()),
    }
}

/// Where orders go, in this mode; on paper nowhere.
///
/// # Errors
/// Exit 78 for live without keys, and for keys and addresses that are refused.
pub fn venue(settings: &Settings, market: &Market, mode: Mode) -> Result<Option<Venue>, Stop> {
    if mode == Mode::Paper {
        return Ok(None);
    }
    let Some(keys) = settings.keys.keys()? else {
        return Err(Stop::config(
            "BINANCE_API_KEY is not set: live needs BINANCE_API_KEY and BINANCE_API_SECRET, or \
             BINANCE_API_KEY_FILE and BINANCE_API_SECRET_FILE; --paper needs none",
        ));
    };
    let venue = VenueSettings {
        rest_url: settings.rest_url.clone(),
        ws_url: settings.ws_url.clone(),
        keys,
        window_ms: settings.recv_window_ms,
    };
    let venue = Venue::new(&venue, market);
    venue
        .map(Some)
        .map_err(|error| Stop::config(error.to_string()))
}

/// Whose books these are. The exchange tells the name of a live account: it is waited for.
///
/// # Errors
/// Exit 78 if the exchange refuses the key, 0 when cancelled.
pub async fn account(
    venue: Option<&Venue>,
    settings: &Settings,
    until: &CancellationToken,
) -> Result<AccountKey, Stop> {
    let Some(venue) = venue else {
        return settings.paper_account();
    };
    let alias = waited(until, || venue.alias()).await?;
    settings.live_account(alias.as_str())
}

/// The account that this container's settings name: of the key, or without one of the market data.
///
/// # Errors
/// Exit 78 for settings that are refused, 69 if the exchange does not answer.
pub async fn own_account(settings: &Settings) -> Result<AccountKey, Stop> {
    if settings.keys.keys()?.is_none() {
        return settings.paper_account();
    }
    let Some(venue) = venue(settings, &market(settings)?, Mode::Live)? else {
        return settings.paper_account();
    };
    let alias = venue.alias().await.map_err(|error| match error {
        MarketError::Retry { .. } => Stop::new(ExitCode::Unavailable, error.to_string()),
        refused => Stop::config(refused.to_string()),
    })?;
    settings.live_account(alias.as_str())
}

/// How a live book's orders are signed, after its account was found to be begun and fit for it; nothing on
/// paper.
///
/// # Errors
/// Exit 78 if it is not, or if its journal is of a newer program; 0 when cancelled.
pub async fn terms(
    venue: Option<&Venue>,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
    until: &CancellationToken,
) -> Result<Option<Terms>, Stop> {
    let Some(venue) = venue else {
        return Ok(None);
    };
    loop {
        match until
            .run_until_cancelled(fit(venue, bus, account, settings))
            .await
        {
            None => return Err(stopped()),
            Some(Err(stop)) if stop.code == ExitCode::Unavailable => {
                tracing::warn!(why = stop.message, "waiting for the account");
            }
            Some(terms) => return terms.map(Some),
        }
        pause(until, RETRY).await?;
    }
}

/// What `--dry-run` checks of the account too.
async fn fit(
    venue: &Venue,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
) -> Result<Terms, Stop> {
    let unavailable = |why: String| Stop::new(ExitCode::Unavailable, why);
    let state = account::read(bus, account).await.map_err(unavailable)?;
    let deployment = state.deployment.ok_or_else(|| not_founded(account))?;
    dry_run::check_account(venue, settings, &deployment).await?;
    Ok(Terms {
        deployment,
        window_ms: settings.recv_window_ms,
    })
}

/// Exit 78: nobody has begun this account here.
pub fn not_founded(account: &AccountKey) -> Stop {
    Stop::config(format!(
        "account {account} has no journal on this bus: restore it from a backup if it ever traded, or \
         begin it with trader init --account"
    ))
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
    let rules = waited(until, || market.rules(&settings.symbols)).await?;
    check_slice(settings, &rules)?;
    Ok(rules)
}

/// Asks the exchange until it answers.
async fn waited<T, F>(until: &CancellationToken, mut ask: impl FnMut() -> F) -> Result<T, Stop>
where
    F: Future<Output = Result<T, MarketError>>,
{
    loop {
        let wait = match until.run_until_cancelled(ask()).await {
            None => return Err(stopped()),
            Some(Ok(answer)) => return Ok(answer),
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
