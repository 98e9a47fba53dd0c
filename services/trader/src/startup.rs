//! What a trader needs before its parts can start: settings that make sense together, the bus with
//! its streams, the exchange with its rules. A real start waits for what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, Mode, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::process::ExitError;
use runtime::streams;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use trader_core::book::{BookConfig, LiveConfig};
use trader_core::candle::Interval;
use trader_core::symbol_filters::SymbolFilters;

use crate::account;
use crate::dry_run;
use crate::market::{BinanceDataClient, DataClientSettings, MarketError};
use crate::settings::Settings;
use crate::venue::{BinanceExecutionClient, ExecutionClientSettings};

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
const BASE_INTERVAL: Interval = Interval::M1;
const RETRY: Duration = Duration::from_secs(2);

/// Refuses what nobody may have meant, before anything starts.
///
/// # Errors
/// Exit 64 for live without `--confirm-live` (with `--dry-run` it risks nothing).
pub fn check_mode(args: &TraderArgs) -> Result<(), ExitError> {
    match args.mode() {
        Mode::Live if !(args.confirm_live || args.dry_run) => Err(ExitError::new(
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
pub fn execution_client(
    settings: &Settings,
    market: &BinanceDataClient,
    mode: Mode,
) -> Result<Option<BinanceExecutionClient>, ExitError> {
    if mode == Mode::Paper {
        return Ok(None);
    }
    let Some(keys) = settings.credentials.credentials()? else {
        return Err(ExitError::config(
            "BINANCE_API_KEY is not set: live needs BINANCE_API_KEY and BINANCE_API_SECRET, or \
             BINANCE_API_KEY_FILE and BINANCE_API_SECRET_FILE; --paper needs none",
        ));
    };
    let venue = ExecutionClientSettings {
        rest_url: settings.rest_url.clone(),
        ws_url: settings.ws_url.clone(),
        credentials: keys,
        recv_window_ms: settings.recv_window_ms,
    };
    let venue = BinanceExecutionClient::new(&venue, market);
    venue
        .map(Some)
        .map_err(|error| ExitError::config(error.to_string()))
}

/// Whose books these are. The exchange tells the name of a live account: it is waited for.
///
/// # Errors
/// Exit 78 if the exchange refuses the key, 0 when cancelled.
pub async fn resolve_account(
    venue: Option<&BinanceExecutionClient>,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<AccountKey, ExitError> {
    let Some(venue) = venue else {
        return settings.paper_account();
    };
    let alias = retry_until_answered(shutdown, || venue.alias()).await?;
    settings.live_account(alias.as_str())
}

/// The account that this container's settings name: of the key, or without one of the market data.
///
/// # Errors
/// Exit 78 for settings that are refused, 69 if the exchange does not answer.
pub async fn configured_account(settings: &Settings) -> Result<AccountKey, ExitError> {
    if settings.credentials.credentials()?.is_none() {
        return settings.paper_account();
    }
    let Some(venue) = execution_client(settings, &data_client(settings)?, Mode::Live)? else {
        return settings.paper_account();
    };
    let alias = venue.alias().await.map_err(|error| match error {
        MarketError::Retry { .. } => ExitError::new(ExitCode::Unavailable, error.to_string()),
        refused => ExitError::config(refused.to_string()),
    })?;
    settings.live_account(alias.as_str())
}

/// How a live book's orders are signed, after its account was found to be begun and fit for it; nothing on
/// paper.
///
/// # Errors
/// Exit 78 if it is not, or if its journal is of a newer program; 0 when cancelled.
pub async fn live_config(
    venue: Option<&BinanceExecutionClient>,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<Option<LiveConfig>, ExitError> {
    let Some(venue) = venue else {
        return Ok(None);
    };
    loop {
        match shutdown
            .run_until_cancelled(try_live_config(venue, bus, account, settings))
            .await
        {
            None => return Err(stopped_before_start()),
            Some(Err(stop)) if stop.code == ExitCode::Unavailable => {
                tracing::warn!(why = stop.message, "waiting for the account");
            }
            Some(terms) => return terms.map(Some),
        }
        wait_before_retry(shutdown, RETRY).await?;
    }
}

/// What `--dry-run` checks of the account too.
async fn try_live_config(
    venue: &BinanceExecutionClient,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
) -> Result<LiveConfig, ExitError> {
    let unavailable = |why: String| ExitError::new(ExitCode::Unavailable, why);
    let state = account::read_account_state(bus, account)
        .await
        .map_err(unavailable)?;
    let deployment = state
        .installation_id
        .ok_or_else(|| account_not_opened(account))?;
    dry_run::check_account(venue, settings, &deployment).await?;
    Ok(LiveConfig {
        installation_id: deployment,
        recv_window_ms: settings.recv_window_ms,
    })
}

/// Exit 78: nobody has begun this account here.
pub fn account_not_opened(account: &AccountKey) -> ExitError {
    ExitError::config(format!(
        "account {account} has no journal on this bus: restore it from a backup if it ever traded, or \
         begin it with trader init --account"
    ))
}

/// How books are traded, checked.
///
/// # Errors
/// Exit 78 naming the setting.
pub fn book_config(settings: &Settings) -> Result<BookConfig, ExitError> {
    let config = BookConfig {
        base: BASE_INTERVAL,
        leverage: Decimal::from(settings.leverage),
        fee_rate: settings.fee_rate,
        slippage_rate: settings.slippage_rate,
        funding_rate: settings.funding_rate,
        strategies: settings.strategies.clone(),
        protections: settings.protections,
        live: None,
    };
    config
        .check()
        .map_err(|error| ExitError::config(error.to_string()))?;
    Ok(config)
}

/// The exchange's REST side; connects to nothing yet.
///
/// # Errors
/// Exit 78 if the addresses are refused.
pub fn data_client(settings: &Settings) -> Result<BinanceDataClient, ExitError> {
    BinanceDataClient::new(&DataClientSettings {
        rest_url: settings.rest_url.clone(),
        ws_url: settings.ws_url.clone(),
    })
    .map_err(|error| ExitError::config(error.to_string()))
}

/// Waits for the exchange and reads the rules of every symbol.
///
/// # Errors
/// Exit 78 for an unknown symbol or a slice that can never meet a minimum, 0 when cancelled.
pub async fn fetch_symbol_filters(
    market: &BinanceDataClient,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<BTreeMap<SubjectToken, SymbolFilters>, ExitError> {
    let rules = retry_until_answered(shutdown, || market.symbol_filters(&settings.symbols)).await?;
    check_slice(settings, &rules)?;
    Ok(rules)
}

/// Asks the exchange until it answers.
async fn retry_until_answered<T, F>(
    shutdown: &CancellationToken,
    mut ask: impl FnMut() -> F,
) -> Result<T, ExitError>
where
    F: Future<Output = Result<T, MarketError>>,
{
    loop {
        let wait = match shutdown.run_until_cancelled(ask()).await {
            None => return Err(stopped_before_start()),
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(MarketError::Retry {
                what,
                reason,
                after,
            })) => {
                tracing::warn!(what, reason, "waiting for the exchange");
                after.unwrap_or(RETRY)
            }
            Some(Err(error)) => return Err(ExitError::config(error.to_string())),
        };
        wait_before_retry(shutdown, wait).await?;
    }
}

/// A slice that can never buy the least the exchange sells is a mistake, not a market condition.
///
/// # Errors
/// Exit 78 naming the symbol, the slice and the minimum.
pub fn check_slice(
    settings: &Settings,
    rules: &BTreeMap<SubjectToken, SymbolFilters>,
) -> Result<(), ExitError> {
    let most = settings.slice() * Decimal::from(settings.leverage);
    for (symbol, rules) in rules {
        if most < rules.min_notional {
            return Err(ExitError::config(format!(
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

async fn wait_before_retry(shutdown: &CancellationToken, wait: Duration) -> Result<(), ExitError> {
    let slept = shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
    slept.ok_or_else(stopped_before_start)
}

fn stopped_before_start() -> ExitError {
    ExitError::new(ExitCode::Success, "stopped before it began")
}
