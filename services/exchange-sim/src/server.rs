//! Builds the exchange from its settings, serves it, and ends it within a second. Every task is
//! owned here: one that ends before it was asked to ends the process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use protocol::time::UtcMs;
use runtime::process::Stop;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::anchor::{Anchor, BadState};
use crate::clock::{Beginning, Clock};
use crate::desk::Desk;
use crate::desk::store::Store;
use crate::exchange::{Exchange, Limits};
use crate::keys::Keys;
use crate::market::Market;
use crate::market::replay::Recording;
use crate::settings::{MarketKind, Settings};
use crate::symbols::Contract;
use crate::trading::venue::Venue;
use crate::ws::Floor;
use crate::{pulse, rest, ws};

/// Wall time between two anchors while nothing happens: bounds what a wall clock that jumps back
/// between two runs could turn the exchange's clock back by.
const ANCHOR_EVERY: Duration = Duration::from_secs(10);
/// What is not finished so long after the end was asked for is cut off.
const END_WITHIN: Duration = Duration::from_millis(700);

/// An exchange that listens but does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    exchange: Arc<Exchange>,
    desk: Arc<Desk>,
    admin: bool,
    state_dir: Option<PathBuf>,
}

impl Server {
    /// Builds the market, finds its place in time, stores the first anchor and opens the port.
    ///
    /// # Errors
    /// Exit 78, naming what is wrong: candle file, warm-up, state file or port.
    pub async fn bind(settings: Settings, limits: Limits) -> Result<Self, Stop> {
        let (listen, state_dir) = (settings.listen, state_dir(&settings));
        let admin = settings.admin;
        let (exchange, desk) = spawn_blocking(move || build(&settings, limits))
            .await
            .map_err(|e| ended("building the market", Err(e)))??;
        if let Some(dir) = &state_dir {
            store_anchor(&exchange, dir).await.map_err(config)?;
        }
        let cannot_listen = |e| Stop::config(format!("listen {listen}: {e}; allowed: a free port"));
        let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        Ok(Self {
            listener,
            address,
            exchange,
            desk,
            admin,
            state_dir,
        })
    }

    /// Where it listens: with port 0 asked for, the port it got.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The exchange itself.
    pub const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Serves until `shutdown`, then ends within a second.
    ///
    /// # Errors
    /// Exit 70 if a part of it ended by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Stop> {
        let Self {
            listener,
            address,
            exchange,
            desk,
            admin,
            state_dir,
        } = self;
        let connections = TaskTracker::new();
        let floor = Floor {
            exchange: Arc::clone(&exchange),
            desk: Arc::clone(&desk),
            shutdown: shutdown.clone(),
            connections: connections.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(named("http server", serve(listener, floor, admin)));
        let pulse = pulse::run(Arc::clone(&exchange), desk, shutdown.clone());
        tasks.spawn(named("pulse", pulse));
        let keeper = keep_anchor(Arc::clone(&exchange), state_dir.clone(), shutdown.clone());
        tasks.spawn(named("anchor keeper", keeper));
        info!(%address, "exchange open");
        let first = tokio::select! {
            () = shutdown.cancelled() => None,
            first = tasks.join_next() => first,
        };
        if let Some(end) = first.filter(|_| !shutdown.is_cancelled()) {
            return Err(ended("a task", end));
        }
        finish(tasks, &connections).await;
        if let Some(dir) = &state_dir {
            store_anchor(&exchange, dir).await.map_err(config)?;
        }
        info!("exchange closed");
        Ok(())
    }
}

fn build(settings: &Settings, limits: Limits) -> Result<(Arc<Exchange>, Arc<Desk>), Stop> {
    let keys = keys(settings)?;
    let started = Instant::now();
    let mut market = match settings.market {
        MarketKind::Synthetic => Market::synthetic(settings.seed, listed(&settings.symbols)),
        MarketKind::Replay => replay(settings)?,
    };
    let beginning = beginning(settings, &market)?;
    market.advance(beginning.exchange_ms);
    info!(
        market = market.identity(),
        exchange_time = %UtcMs(beginning.exchange_ms),
        speed = settings.speed,
        hold = ?settings.hold,
        took_ms = started.elapsed().as_millis(),
        "market ready"
    );
    let clock = Clock::new(beginning, settings.speed, settings.hold, Instant::now());
    let exchange = Exchange::new(market, clock, limits);
    let desk = desk(settings, &exchange, keys, beginning.exchange_ms)?;
    Ok((exchange, desk))
}

/// The keys given, in the variable and in the file.
fn keys(settings: &Settings) -> Result<Keys, Stop> {
    let mut text = settings.api_keys.expose_secret().to_owned();
    let file = settings.api_keys_file.as_deref();
    if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
        let read = std::fs::read_to_string(path).map_err(|e| {
            let path = path.display();
            Stop::config(format!(
                "api-keys-file {path}: {e}; allowed: a readable file"
            ))
        })?;
        text = format!("{text}\n{read}");
    }
    Keys::parse(&text).map_err(|allowed| Stop::config(format!("api-keys (not shown); {allowed}")))
}

/// The trading side: what is stored of it, and an account for each key. Without keys nothing can be
/// traded, so nothing is stored.
fn desk(
    settings: &Settings,
    exchange: &Arc<Exchange>,
    keys: Keys,
    now_ms: i64,
) -> Result<Arc<Desk>, Stop> {
    let mut venue = Venue::new(exchange.listed(), now_ms);
    let balance = settings.balance_usdt;
    let dir = state_dir(settings).filter(|_| !keys.is_empty());
    let Some(dir) = dir else {
        return Ok(Desk::new(Arc::clone(exchange), keys, venue, None, balance));
    };
    let (identity, ..) = exchange.anchor_parts();
    for batch in Store::load(&dir, &identity).map_err(config)? {
        venue.restore(batch);
    }
    for name in keys.names() {
        venue.open_account(name, balance);
    }
    let store = Store::begin(&dir, &identity, &venue.snapshot()).map_err(config)?;
    Ok(Desk::new(
        Arc::clone(exchange),
        keys,
        venue,
        Some(store),
        balance,
    ))
}

/// Each contract once, in the order given.
fn listed(symbols: &[&'static Contract]) -> Vec<&'static Contract> {
    let mut listed: Vec<&'static Contract> = Vec::new();
    for contract in symbols {
        if !listed.iter().any(|c| c.symbol == contract.symbol) {
            listed.push(contract);
        }
    }
    listed
}

fn replay(settings: &Settings) -> Result<Market, Stop> {
    let contract = settings.candles_symbol;
    let path = settings
        .candles
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| {
            Stop::config("candles: not given; allowed: a candle file, with --market replay")
        })?;
    let recording = Recording::read(path, contract).map_err(config)?;
    let warmup = settings
        .warmup_candles
        .unwrap_or_else(|| recording.default_warmup());
    if warmup >= recording.len() {
        let most = recording.len() - 1;
        let file = path.display();
        return Err(Stop::config(format!(
            "warmup-candles {warmup}: allowed: 0 to {most}, one less than {file} has"
        )));
    }
    Ok(Market::replay(recording, contract, warmup))
}

/// Where the clock begins: where the state file says, else where the market opens.
fn beginning(settings: &Settings, market: &Market) -> Result<Beginning, Stop> {
    let fresh = Beginning {
        exchange_ms: market.opens_ms(),
        running: false,
        ends_ms: market.ends_ms(),
    };
    let stored = match state_dir(settings) {
        Some(dir) => Anchor::load(&dir, market.identity()).map_err(config)?,
        None => None,
    };
    Ok(stored.map_or(fresh, |anchor| {
        let wall_ms = runtime::clock::now().0;
        anchor.resume(wall_ms, settings.speed, market.ends_ms())
    }))
}

/// An empty variable counts as not set, as `.env` files are written.
fn state_dir(settings: &Settings) -> Option<PathBuf> {
    let dir = settings.state_dir.as_ref()?;
    (!dir.as_os_str().is_empty()).then(|| dir.clone())
}

/// A task that says which one it was when it ends.
async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

async fn serve(listener: TcpListener, floor: Floor, admin: bool) {
    let shutdown = floor.shutdown.clone();
    let rest = rest::router(&floor.desk, admin);
    let routes = ws::router(floor).merge(rest);
    let listener = listener.tap_io(|socket| {
        // Events are small and wanted at once; a socket that refuses is served all the same.
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await;
    if let Err(error) = served {
        warn!(%error, "http server ended");
    }
}

/// Stores an anchor whenever the clock starts or stops, and now and then.
async fn keep_anchor(exchange: Arc<Exchange>, dir: Option<PathBuf>, shutdown: CancellationToken) {
    let Some(dir) = dir else {
        shutdown.cancelled().await;
        return;
    };
    let mut clock_moves = exchange.clock_moves();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = clock_moves.changed() => {}
            () = sleep(ANCHOR_EVERY) => {}
        }
        if let Err(error) = store_anchor(&exchange, &dir).await {
            warn!(%error, "the clock's state was not stored: a restart may turn it back");
        }
    }
}

async fn store_anchor(exchange: &Exchange, dir: &Path) -> Result<(), BadState> {
    let (identity, exchange_ms, running) = exchange.anchor_parts();
    let anchor = Anchor::new(&identity, exchange_ms, runtime::clock::now().0, running);
    let target = dir.to_owned();
    spawn_blocking(move || anchor.store(&target))
        .await
        .unwrap_or_else(|panic| {
            Err(BadState::Unwritable {
                dir: dir.display().to_string(),
                cause: panic.to_string(),
            })
        })
}

/// Waits for every task and connection to end, and cuts off what does not.
async fn finish(mut tasks: JoinSet<&'static str>, connections: &TaskTracker) {
    connections.close();
    let all = async {
        while let Some(end) = tasks.join_next().await {
            debug!(task = ?end, "ended");
        }
        connections.wait().await;
    };
    if timeout(END_WITHIN, all).await.is_err() {
        warn!("some connections were cut off");
    }
}

fn ended(what: &str, end: Result<&'static str, JoinError>) -> Stop {
    match end {
        Ok(name) => Stop::internal(format!("{what} ended by itself: {name}")),
        Err(error) => Stop::internal(format!("{what} failed: {error}")),
    }
}

fn config(error: impl std::error::Error) -> Stop {
    Stop::config(error.to_string())
}
