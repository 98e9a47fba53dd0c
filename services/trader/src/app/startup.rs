//! The steps before a trader's tasks start: settings that fit together, the account, and the exchange's symbol
//! filters. A start waits for dependencies that are unavailable.

use std::collections::BTreeMap;
use std::time::Duration;

use exchange::{DataClient, ExchangeError, ExecutionClient};
use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, Mode, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::streams;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use trader_core::book::{BookConfig, LiveConfig};
use trader_core::symbol_filters::SymbolFilters;

use super::checks::{account::check_account, check_slice, describe_exchange_error};
use super::exchange_clients::{BASE_INTERVAL, ExchangeClients};
use crate::account::command_journal::read_account_state;
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

const RETRY: Duration = Duration::from_secs(2);

/// Rejects live trading that was not confirmed, before anything starts.
///
/// # Errors
/// Exit 64 for live without `--confirm-live`. With `--dry-run` no confirmation is needed.
pub fn check_mode(args: &TraderArgs) -> Result<(), ExitError> {
    match args.mode() {
        Mode::Live if !(args.confirm_live || args.dry_run) => Err(ExitError::new(
            ExitCode::Usage,
            "live trading is not confirmed: add --paper to simulate, or --confirm-live to trade real money",
        )),
        Mode::Live | Mode::Paper => Ok(()),
    }
}

/// The account whose books this process trades. The id of a live account comes from the exchange; waits for it.
///
/// # Errors
/// Exit 78 if the exchange rejects the key, 0 on shutdown.
pub async fn resolve_account(
    client: Option<&dyn ExecutionClient>,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<AccountKey, ExitError> {
    let Some(client) = client else {
        return settings.paper_account().await;
    };
    let wallet = retry_until_answered(shutdown, settings, || client.wallet_balance()).await?;
    settings.live_account(wallet.alias.as_str())
}

/// The account of these settings: live if a key is set, paper otherwise.
///
/// # Errors
/// Exit 78 for invalid settings, 69 if the exchange does not answer.
pub async fn configured_account(settings: &Settings) -> Result<AccountKey, ExitError> {
    if settings.credentials.credentials()?.is_none() {
        return settings.paper_account().await;
    }
    let client = ExchangeClients::live_execution(settings)?;
    let wallet = client.wallet_balance().await.map_err(|error| match error {
        ExchangeError::Retry { .. } => ExitError::new(ExitCode::Unavailable, error.to_string()),
        rejected => ExitError::config(rejected.to_string()),
    })?;
    settings.live_account(wallet.alias.as_str())
}

/// The live part of the books' configuration, after the account passed its checks; `None` on paper.
///
/// # Errors
/// Exit 78 if the account was never opened, fails a check, or has a journal of a newer version; 0 on shutdown.
pub async fn live_config(
    client: Option<&dyn ExecutionClient>,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<Option<LiveConfig>, ExitError> {
    let Some(client) = client else {
        return Ok(None);
    };
    loop {
        match shutdown
            .run_until_cancelled(try_live_config(client, bus, account, settings))
            .await
        {
            None => return Err(stopped_before_start()),
            Some(Err(stop)) if stop.code == ExitCode::Unavailable => {
                tracing::warn!(error = stop.message, "waiting for the account");
            }
            Some(config) => return config.map(Some),
        }
        wait_before_retry(shutdown, RETRY).await?;
    }
}

async fn try_live_config(
    client: &dyn ExecutionClient,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
) -> Result<LiveConfig, ExitError> {
    let unavailable = |error: String| ExitError::new(ExitCode::Unavailable, error);
    let state = read_account_state(bus, account)
        .await
        .map_err(unavailable)?;
    let installation_id = state
        .installation_id
        .ok_or_else(|| account_not_opened(account))?;
    check_account(client, settings, &installation_id).await?;
    Ok(LiveConfig {
        installation_id,
        recv_window_ms: settings.recv_window_ms,
    })
}

/// Exit 78: the live account has no journal on this bus.
pub fn account_not_opened(account: &AccountKey) -> ExitError {
    ExitError::config(format!(
        "account {account} was never opened on this bus: restore the backup if it has traded before, or open it: \
         scripts/bearish init --account"
    ))
}

/// The configuration of the books.
///
/// # Errors
/// Exit 78 naming the setting that does not fit.
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

/// Reads the exchange's filters of every symbol; waits for the exchange.
///
/// # Errors
/// Exit 78 for an unknown symbol or too little capital, 0 on shutdown.
pub async fn fetch_symbol_filters(
    client: &dyn DataClient,
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<BTreeMap<SubjectToken, SymbolFilters>, ExitError> {
    let filters = retry_until_answered(shutdown, settings, || {
        client.symbol_filters(&settings.symbols)
    })
    .await?;
    check_slice(settings, &filters)?;
    Ok(filters)
}

/// Repeats a call until the exchange answers.
async fn retry_until_answered<T, F>(
    shutdown: &CancellationToken,
    settings: &Settings,
    mut ask: impl FnMut() -> F,
) -> Result<T, ExitError>
where
    F: Future<Output = Result<T, ExchangeError>>,
{
    loop {
        let wait = match shutdown.run_until_cancelled(ask()).await {
            None => return Err(stopped_before_start()),
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(ExchangeError::Retry {
                what,
                reason,
                after,
            })) => {
                tracing::warn!(call = what, error = reason, "waiting for the exchange");
                after.unwrap_or(RETRY)
            }
            Some(Err(error)) => {
                return Err(ExitError::config(describe_exchange_error(settings, &error)));
            }
        };
        wait_before_retry(shutdown, wait).await?;
    }
}

async fn wait_before_retry(shutdown: &CancellationToken, wait: Duration) -> Result<(), ExitError> {
    let slept = shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
    slept.ok_or_else(stopped_before_start)
}

/// Exit 0: a shutdown was requested during the start.
pub(crate) fn stopped_before_start() -> ExitError {
    ExitError::new(ExitCode::Success, "stopped before the start was complete")
}
