//! Test with a recorded month of a real market: the exchange replays the file, the trader's data client fetches the
//! candles, and the strategies evaluate them. The expected figures were computed with pandas.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use binance::{BinanceDataClient, DataClientSettings, FeedSettings};
use exchange::DataClient;
use exchange_sim::clock::ClockPause;
use exchange_sim::exchange::Limits;
use exchange_sim::server::Server;
use exchange_sim::settings::{MarketKind, Settings};
use exchange_sim::symbols::Contract;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trader_core::bar_aggregator::Aggregator;
use trader_core::candle::{Candle, Interval};
use trader_core::indicators::Indicators;
use trader_core::market_state::{BAR, WARM_UP_BARS};
use trader_core::strategy::{Strategy, StrategyInputs};

const FILE: &str = "btcusdt-perp-1m-2022-01.csv.gz";
const SYMBOL: &str = "BTCUSDT";
const MINUTES: usize = 45_031;
/// Number of complete half hours in the file.
const BARS: usize = 1_500;

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn recorded_month() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/market-data");
    let folder = std::env::var_os("BEARISH_MARKET_DATA").map_or(default, PathBuf::from);
    let file = folder.join(FILE);
    if file.is_file() {
        return Some(file);
    }
    eprintln!(
        "SKIPPED: {FILE} is not in {} (BEARISH_MARKET_DATA sets its folder)",
        folder.display()
    );
    None
}

/// An exchange with paused time, whose history is the file without its last minute.
struct ReplayExchange {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), runtime::process::ExitError>>,
}

impl ReplayExchange {
    async fn start(file: PathBuf) -> Self {
        let settings = Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            market: MarketKind::Replay,
            seed: 0,
            speed: 1.0,
            symbols: Vec::new(),
            contracts: 0,
            candles_file: Some(file),
            candles_symbol: Contract::find(SYMBOL).unwrap(),
            warmup_candles: Some(MINUTES - 1),
            clock_pause: ClockPause::UntilFirstSubscriber,
            api_keys: String::new().into(),
            api_keys_file: None,
            balance_usdt: 0.into(),
            fault_api: false,
            state_dir: None,
        };
        let server = Server::bind(settings, Limits::default()).await.unwrap();
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(server.run(shutdown.clone()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    fn market(&self) -> BinanceDataClient {
        let address = self.address;
        let settings = DataClientSettings {
            rest_url: format!("http://{address}"),
            ws_url: format!("ws://{address}"),
            feed: FeedSettings::new(Interval::M1),
        };
        BinanceDataClient::new(&settings).unwrap()
    }

    async fn close(mut self) {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// Fetches the newest candles, as a trader does for its warm-up.
async fn fetch(market: &BinanceDataClient, interval: Interval, count: usize) -> Vec<Candle> {
    let now = market.server_time().await.unwrap();
    let symbol = SYMBOL.parse().unwrap();
    let fetched = market.closed_candles(&symbol, interval, None, count, now);
    fetched.await.unwrap()
}

/// Counts the evaluated bars on which each condition holds: oversold, overbought, short-the-rip, RSI below 45.
fn count_conditions(bars: &[Candle]) -> [usize; 4] {
    let mut indicators = Indicators::default();
    let mut holds = [0; 4];
    for (index, bar) in bars.iter().enumerate() {
        indicators.update(bar);
        let is_evaluated = index as u64 >= WARM_UP_BARS;
        let Some(values) = indicators.values().filter(|_| is_evaluated) else {
            continue;
        };
        let inputs = StrategyInputs {
            values,
            regime: None,
        };
        let found = [
            Strategy::OversoldBounce.evaluate(&inputs),
            values.rsi14 >= 61.0,
            Strategy::ShortTheRip.evaluate(&inputs),
            values.rsi14 <= 45.0,
        ];
        for (count, found) in holds.iter_mut().zip(found) {
            *count += usize::from(found);
        }
    }
    holds
}

#[tokio::test]
async fn base_strategies_find_the_signals_that_pandas_finds() {
    let Some(file) = recorded_month() else { return };
    let exchange = ReplayExchange::start(file).await;
    let bars = fetch(&exchange.market(), BAR, BARS).await;
    exchange.close().await;
    assert_eq!(bars.len(), BARS);
    assert_eq!(count_conditions(&bars), [13, 169, 29, 392]);
}

#[tokio::test]
async fn exchange_half_hours_equal_bars_aggregated_from_minutes() {
    let Some(file) = recorded_month() else { return };
    let exchange = ReplayExchange::start(file).await;
    let market = exchange.market();
    let bars = fetch(&market, BAR, BARS).await;
    let minutes = fetch(&market, Interval::M1, MINUTES).await;
    exchange.close().await;
    assert_eq!(minutes.len(), MINUTES - 1);
    let mut aggregator = Aggregator::new(Interval::M1, BAR).unwrap();
    let folded = minutes
        .iter()
        .filter_map(|m| aggregator.add_candle(m).unwrap().bar);
    assert_eq!(folded.collect::<Vec<_>>(), bars);
}
