//! Assembly: builds the exchange from its settings, serves it, and ends it within a second. A task that ends early
//! ends the process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::time::UtcMs;
use runtime::process::ExitError;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::api_keys::ApiKeys;
use crate::clock::{Clock, ClockStart};
use crate::connection::{ConnectionListener, Peer};
use crate::exchange::{Exchange, Limits};
use crate::market::Market;
use crate::market::replay::Recording;
use crate::settings::{MarketKind, Settings};
use crate::state_file::{InvalidState, StateFile};
use crate::symbols::Contract;
use crate::trading::exchange_state::ExchangeState;
use crate::trading::record::CallRecords;
use crate::trading_service::TradingService;
use crate::trading_service::write_ahead_log::WriteAheadLog;
use crate::ws::ConnectionContext;
use crate::{rest, stream_publisher, ws};

/// Interval of writing the state file, in wall time: limits how far a wall clock that jumps back between two runs can
/// set exchange time back.
const STATE_SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// Time limit of the shutdown; open connections are dropped afterwards.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(700);

/// An exchange that listens but does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    exchange: Arc<Exchange>,
    trading_service: Arc<TradingService>,
    fault_api: bool,
    state_dir: Option<PathBuf>,
}

impl Server {
    /// Builds the market, restores the clock, writes the state file and opens the port.
    ///
    /// # Errors
    /// Exit 78 for an invalid candle file, warm-up, state file or port.
    pub async fn bind(settings: Settings, limits: Limits) -> Result<Self, ExitError> {
        let (listen, state_dir) = (settings.listen, state_dir(&settings));
        let fault_api = settings.fault_api;
        let (exchange, trading_service) =
            spawn_blocking(move || build(&settings, limits))
                .await
                .map_err(|e| task_end_error("building the market", Err(e)))??;
        if let Some(dir) = &state_dir {
            save_state(&exchange, dir).await.map_err(config_error)?;
        }
        let cannot_listen = |e| {
            ExitError::config(format!(
                "SIM_LISTEN=\"{listen}\": expected a free port: {e}"
            ))
        };
        let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        Ok(Self {
            listener,
            address,
            exchange,
            trading_service,
            fault_api,
            state_dir,
        })
    }

    /// Listening address, with the assigned port if the setting is port 0.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Exchange that the server serves.
    pub const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Serves until `shutdown`, then ends within a second.
    ///
    /// # Errors
    /// Exit 70 if a task ended early.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ExitError> {
        let Self {
            listener,
            address,
            exchange,
            trading_service,
            fault_api: admin,
            state_dir,
        } = self;
        let connections = TaskTracker::new();
        let context = ConnectionContext {
            exchange: Arc::clone(&exchange),
            trading_service: Arc::clone(&trading_service),
            shutdown: shutdown.clone(),
            connections: connections.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(named("http server", serve(listener, context, admin)));
        let publisher =
            stream_publisher::run(Arc::clone(&exchange), trading_service, shutdown.clone());
        tasks.spawn(named("stream publisher", publisher));
        let state_saver =
            save_state_periodically(Arc::clone(&exchange), state_dir.clone(), shutdown.clone());
        tasks.spawn(named("state saver", state_saver));
        info!(%address, "exchange open");
        let first = tokio::select! {
            () = shutdown.cancelled() => None,
            first = tasks.join_next() => first,
        };
        if let Some(end) = first.filter(|_| !shutdown.is_cancelled()) {
            return Err(task_end_error("a task", end));
        }
        finish(tasks, &connections).await;
        if let Some(dir) = &state_dir {
            save_state(&exchange, dir).await.map_err(config_error)?;
        }
        info!("exchange closed");
        Ok(())
    }
}

fn build(
    settings: &Settings,
    limits: Limits,
) -> Result<(Arc<Exchange>, Arc<TradingService>), ExitError> {
    let keys = read_api_keys(settings)?;
    let started = Instant::now();
    let mut market = match settings.market {
        MarketKind::Synthetic => {
            let listed = Contract::listed(&settings.symbols, settings.contracts);
            Market::synthetic(settings.seed, listed)
        }
        MarketKind::Replay => replay_market(settings)?,
    };
    let stored = stored_calls(settings, &keys, market.identity())?;
    for change in stored.iter().flat_map(CallRecords::price_changes) {
        market.change_prices(change);
    }
    let beginning = clock_start(settings, &market)?;
    market.advance(beginning.exchange_ms);
    info!(
        market = market.identity(),
        exchange_time = %UtcMs(beginning.exchange_ms),
        speed = settings.speed,
        clock_pause = ?settings.clock_pause,
        took_ms = started.elapsed().as_millis(),
        "market ready"
    );
    let clock = Clock::new(
        beginning,
        settings.speed,
        settings.clock_pause,
        Instant::now(),
    );
    let exchange = Exchange::new(market, clock, limits);
    let trading_service =
        build_trading_service(settings, &exchange, keys, stored, beginning.exchange_ms)?;
    Ok((exchange, trading_service))
}

/// The API keys from variable and file.
fn read_api_keys(settings: &Settings) -> Result<ApiKeys, ExitError> {
    let mut text = settings.api_keys.expose_secret().to_owned();
    let file = settings.api_keys_file.as_deref();
    if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
        let read = std::fs::read_to_string(path).map_err(|e| {
            let path = path.display();
            ExitError::config(format!(
                "SIM_API_KEYS_FILE=\"{path}\": expected a readable file: {e}"
            ))
        })?;
        text = format!("{text}\n{read}");
    }
    ApiKeys::parse(&text)
        .map_err(|expected| ExitError::config(format!("SIM_API_KEYS (not shown): {expected}")))
}

/// The stored calls. Without keys there is no trading, and nothing is stored.
fn stored_calls(
    settings: &Settings,
    keys: &ApiKeys,
    identity: &str,
) -> Result<Vec<CallRecords>, ExitError> {
    match state_dir(settings).filter(|_| !keys.is_empty()) {
        Some(dir) => WriteAheadLog::load(&dir, identity).map_err(config_error),
        None => Ok(Vec::new()),
    }
}

/// The trading service: stored state, and an account for each key. Without keys there is no trading, and nothing is
/// stored.
fn build_trading_service(
    settings: &Settings,
    exchange: &Arc<Exchange>,
    keys: ApiKeys,
    stored: Vec<CallRecords>,
    now_ms: i64,
) -> Result<Arc<TradingService>, ExitError> {
    let mut state = ExchangeState::new(&exchange.listed(), now_ms);
    let balance = settings.balance_usdt;
    let dir = state_dir(settings).filter(|_| !keys.is_empty());
    let Some(dir) = dir else {
        return Ok(TradingService::new(
            Arc::clone(exchange),
            keys,
            state,
            None,
            balance,
        ));
    };
    let (identity, ..) = exchange.clock_state();
    for batch in stored {
        state.restore(batch);
    }
    for name in keys.accounts() {
        state.open_account(name, balance);
    }
    let store = WriteAheadLog::create(&dir, &identity, &state.snapshot()).map_err(config_error)?;
    Ok(TradingService::new(
        Arc::clone(exchange),
        keys,
        state,
        Some(store),
        balance,
    ))
}

fn replay_market(settings: &Settings) -> Result<Market, ExitError> {
    let contract = settings.candles_symbol;
    let path = settings
        .candles_file
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| {
            ExitError::config("SIM_CANDLES_FILE is not set: it is required with SIM_MARKET=replay")
        })?;
    let recording = Recording::read(path, contract).map_err(config_error)?;
    let warmup = settings
        .warmup_candles
        .unwrap_or_else(|| recording.default_warmup());
    if warmup >= recording.len() {
        let most = recording.len() - 1;
        let file = path.display();
        return Err(ExitError::config(format!(
            "SIM_WARMUP_CANDLES=\"{warmup}\": expected 0 to {most}, one less than {file} has"
        )));
    }
    Ok(Market::replay(recording, contract, warmup))
}

/// Start of the clock: from the state file, else at the opening of the market.
fn clock_start(settings: &Settings, market: &Market) -> Result<ClockStart, ExitError> {
    let new_market = ClockStart {
        exchange_ms: market.opens_ms(),
        running: false,
        ends_ms: market.ends_ms(),
    };
    let stored = match state_dir(settings) {
        Some(dir) => StateFile::load(&dir, market.identity()).map_err(config_error)?,
        None => None,
    };
    Ok(stored.map_or(new_market, |anchor| {
        let wall_ms = runtime::clock::now().0;
        anchor.clock_start(wall_ms, settings.speed, market.ends_ms())
    }))
}

/// State directory; an empty variable counts as not set.
fn state_dir(settings: &Settings) -> Option<PathBuf> {
    let dir = settings.state_dir.as_ref()?;
    (!dir.as_os_str().is_empty()).then(|| dir.clone())
}

/// Wraps a task so that it returns its name.
async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

async fn serve(listener: TcpListener, context: ConnectionContext, fault_api: bool) {
    let shutdown = context.shutdown.clone();
    let trading_service = Arc::clone(&context.trading_service);
    let rest = rest::router(&trading_service, fault_api);
    let routes = rest::with_delivery(ws::router(context).merge(rest), &trading_service);
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(ConnectionListener(listener), service)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await;
    if let Err(error) = served {
        warn!(%error, "HTTP server failed");
    }
}

/// Writes the state file when the clock starts or stops, and periodically.
async fn save_state_periodically(
    exchange: Arc<Exchange>,
    dir: Option<PathBuf>,
    shutdown: CancellationToken,
) {
    let Some(dir) = dir else {
        shutdown.cancelled().await;
        return;
    };
    let mut clock_changes = exchange.clock_changes();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = clock_changes.changed() => {}
            () = sleep(STATE_SAVE_INTERVAL) => {}
        }
        if let Err(error) = save_state(&exchange, &dir).await {
            warn!(%error, "storing the clock state failed; a restart may set exchange time back");
        }
    }
}

async fn save_state(exchange: &Exchange, dir: &Path) -> Result<(), InvalidState> {
    let (identity, exchange_ms, running) = exchange.clock_state();
    let state_file = StateFile::new(&identity, exchange_ms, runtime::clock::now().0, running);
    let target = dir.to_owned();
    spawn_blocking(move || state_file.store(&target))
        .await
        .unwrap_or_else(|panic| {
            Err(InvalidState::Unwritable {
                dir: dir.display().to_string(),
                error: panic.to_string(),
            })
        })
}

/// Waits for all tasks and connections, and drops those that do not end in time.
async fn finish(mut tasks: JoinSet<&'static str>, connections: &TaskTracker) {
    connections.close();
    let all = async {
        while let Some(end) = tasks.join_next().await {
            debug!(task = ?end, "task ended");
        }
        connections.wait().await;
    };
    if timeout(SHUTDOWN_GRACE, all).await.is_err() {
        warn!("shutdown grace period expired; open connections dropped");
    }
}

fn task_end_error(what: &str, end: Result<&'static str, JoinError>) -> ExitError {
    match end {
        Ok(name) => ExitError::internal(format!("{what} ended by itself: {name}")),
        Err(error) => ExitError::internal(format!("{what} failed: {error}")),
    }
}

fn config_error(error: impl std::error::Error) -> ExitError {
    ExitError::config(error.to_string())
}
