//! The steps before a trader's tasks start: settings that fit together, the account, its symbols, and what the exchange
//! lists about them. A start waits for dependencies that are unavailable.

use std::collections::BTreeMap;

use exchange::{DataClient, ExchangeError, ExecutionClient, ListingObstacle, SymbolListing};
use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, Mode, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::streams;
use rust_decimal::Decimal;
use trader_core::book::{BookConfig, LiveConfig};

use super::checks::{account::check_account, check_slice, describe_obstacle};
use super::exchange_clients::{BASE_INTERVAL, ExchangeClients};
use super::managed_symbols::ManagedSymbols;
use super::patience::Patience;
use super::start_calls::{StartCalls, Unready};
use crate::account::command_journal::read_account_state;
use crate::settings::Settings;

/// The streams a trader reads or writes.
pub const STREAMS: [&str; 7] = [
    streams::JOURNAL,
    streams::EQUITY,
    streams::EVENTS,
    streams::HEARTBEATS,
    streams::LEASES,
    streams::REPORTS,
    streams::SNAPSHOTS,
];

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
/// Exit 78 if the exchange refuses the key for minutes, 0 on shutdown.
pub async fn resolve_account(
    calls: StartCalls<'_>,
    settings: &Settings,
) -> Result<AccountKey, ExitError> {
    let Some(client) = calls.account else {
        return settings.paper_account().await;
    };
    let wallet = calls
        .until_ready(async || Ok(client.wallet_balance().await?))
        .await?;
    settings.live_account(wallet.alias.as_str())
}

/// The account of these settings: live if a key is set, paper otherwise.
///
/// # Errors
/// Exit 78 for invalid settings and a refused key, 69 if the exchange does not answer.
pub async fn configured_account(
    settings: &Settings,
    patience: Patience,
) -> Result<AccountKey, ExitError> {
    if settings.credentials.credentials()?.is_none() {
        return settings.paper_account().await;
    }
    let client = ExchangeClients::live_execution(settings)?;
    // One refusal is no verdict either.
    let answered = patience.answer(
        "the exchange",
        |_| false,
        async || client.wallet_balance().await,
    );
    let wallet = answered.await.map_err(|error| match error {
        ExchangeError::Retry { .. } => ExitError::new(ExitCode::Unavailable, error.to_string()),
        ExchangeError::Rejected { .. } => ExitError::config(error.to_string()),
    })?;
    settings.live_account(wallet.alias.as_str())
}

/// The live part of the books' configuration, after the account passed its checks; `None` on paper.
///
/// # Errors
/// Exit 78 if the account was never opened, fails a check for a while, or has a journal of a newer version; 0 on
/// shutdown.
pub async fn live_config(
    calls: StartCalls<'_>,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
) -> Result<Option<LiveConfig>, ExitError> {
    let Some(client) = calls.account else {
        return Ok(None);
    };
    let config = calls.until_ready(|| try_live_config(client, bus, account, settings));
    config.await.map(Some)
}

async fn try_live_config(
    client: &dyn ExecutionClient,
    bus: &Bus,
    account: &AccountKey,
    settings: &Settings,
) -> Result<LiveConfig, Unready> {
    let state = read_account_state(bus, account)
        .await
        .map_err(|error| ExchangeError::retry("account", error))?;
    let installation_id = state
        .installation_id
        .ok_or_else(|| Unready::Final(account_not_opened(account)))?;
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

/// Reads what the exchange lists about every managed symbol; waits for the exchange. A symbol that cannot be traded
/// waits with its own book.
///
/// # Errors
/// Exit 78 if the account has never traded, and no symbol is listed or a book has too little capital; 0 on shutdown.
pub async fn fetch_listings(
    calls: StartCalls<'_>,
    client: &dyn DataClient,
    settings: &Settings,
    managed: &ManagedSymbols,
) -> Result<BTreeMap<SubjectToken, SymbolListing>, ExitError> {
    let symbols: Vec<SubjectToken> = managed.all().cloned().collect();
    let listings = calls
        .until_ready(async || {
            let listings = client.symbol_listings(&symbols).await?;
            match unlisted(settings, &listings) {
                Some(reason) if !managed.has_journals => Err(Unready::Found(reason)),
                _ => Ok(listings),
            }
        })
        .await?;
    for listing in listings.values() {
        if let Some(obstacle) = &listing.obstacle {
            tracing::warn!(reason = %obstacle, "symbol cannot be traded; its book waits, the others trade");
        }
    }
    let filters = listings.values().filter_map(|l| l.filters.as_ref());
    match check_slice(settings, filters) {
        // The exchange may have raised its minimum: that concerns one book, and its signals are rejected.
        Err(poor) if managed.has_journals => {
            tracing::warn!(reason = poor.message, "capital of a book is too small");
        }
        checked => checked?,
    }
    Ok(listings)
}

/// Why no symbol of the settings is listed; `None` if one is.
fn unlisted(
    settings: &Settings,
    listings: &BTreeMap<SubjectToken, SymbolListing>,
) -> Option<String> {
    let mut first = None;
    for symbol in &settings.symbols {
        match listings.get(symbol)?.obstacle.as_ref()? {
            obstacle @ ListingObstacle::NotListed { .. } => {
                first.get_or_insert_with(|| describe_obstacle(settings, obstacle));
            }
            ListingObstacle::NotTradable { .. } | ListingObstacle::Unreadable { .. } => {
                return None;
            }
        }
    }
    first
}
