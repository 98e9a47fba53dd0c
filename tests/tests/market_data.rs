//! A recorded month of a real market through every part on its way: the exchange replays the file, the
//! trader's own adapter fetches, the engine judges. The figures were computed elsewhere (pandas).

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bearish_trader::market::{Market, MarketSettings};
use engine::aggregate::Aggregator;
use engine::candle::{Candle, Interval};
use engine::indicators::Indicators;
use engine::market::{BAR, WARM_UP_BARS};
use engine::strategy::{Sight, Strategy};
use exchange_sim::clock::Hold;
use exchange_sim::exchange::Limits;
use exchange_sim::server::Server;
use exchange_sim::settings::{MarketKind, Settings};
use exchange_sim::symbols::Contract;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const FILE: &str = "btcusdt-perp-1m-2022-01.csv.gz";
const SYMBOL: &str = "BTCUSDT";
const MINUTES: usize = 45_031;
/// Closed and complete half hours in it.
const BARS: usize = 1_500;

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn recording() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/market-data");
    let folder = std::env::var_os("BEARISH_MARKET_DATA").map_or(beside, PathBuf::from);
    let file = folder.join(FILE);
    if file.is_file() {
        return Some(file);
    }
    eprintln!(
        "SKIPPED: {FILE} is not in {} (BEARISH_MARKET_DATA names its folder)",
        folder.display()
    );
    None
}

/// An exchange for which all of the file but its last minute is past, and whose time stands still.
struct Replay {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), runtime::process::Stop>>,
}

impl Replay {
    async fn of(file: PathBuf) -> Self {
        let settings = Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            market: MarketKind::Replay,
            seed: 0,
            speed: 1.0,
            symbols: Vec::new(),
            candles: Some(file),
            candles_symbol: Contract::find(SYMBOL).unwrap(),
            warmup_candles: Some(MINUTES - 1),
            hold: Hold::FirstSubscriber,
            api_keys: String::new().into(),
            api_keys_file: None,
            balance_usdt: 0.into(),
            admin: false,
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

    fn market(&self) -> Market {
        let address = self.address;
        let settings = MarketSettings {
            rest_url: format!("http://{address}"),
            ws_url: format!("ws://{address}"),
        };
        Market::new(&settings).unwrap()
    }

    async fn close(mut self) {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// The newest candles, as a trader fetches them to warm up.
async fn fetch(market: &Market, interval: Interval, count: usize) -> Vec<Candle> {
    let now = market.server_time().await.unwrap();
    let symbol = SYMBOL.parse().unwrap();
    let fetched = market.closed_klines(&symbol, interval, None, count, now);
    fetched.await.unwrap()
}

/// On how many judged bars each condition holds: oversold, overbought, short-the-rip, under 45.
fn conditions(bars: &[Candle]) -> [usize; 4] {
    let mut indicators = Indicators::default();
    let mut holds = [0; 4];
    for (index, bar) in bars.iter().enumerate() {
        indicators.take(bar);
        let judged = index as u64 >= WARM_UP_BARS;
        let Some(values) = indicators.values().filter(|_| judged) else {
            continue;
        };
        let sight = Sight {
            values,
            regime: None,
        };
        let found = [
            Strategy::OversoldBounce.signals_on(&sight),
            values.rsi14 >= 61.0,
            Strategy::ShortTheRip.signals_on(&sight),
            values.rsi14 <= 45.0,
        ];
        for (count, found) in holds.iter_mut().zip(found) {
            *count += usize::from(found);
        }
    }
    holds
}

#[tokio::test]
async fn the_base_strategies_find_in_the_recorded_month_exactly_what_pandas_finds() {
    let Some(file) = recording() else { return };
    let exchange = Replay::of(file).await;
    let bars = fetch(&exchange.market(), BAR, BARS).await;
    exchange.close().await;
    assert_eq!(bars.len(), BARS);
    assert_eq!(conditions(&bars), [13, 169, 29, 392]);
}

#[tokio::test]
async fn half_hours_of_the_exchange_are_those_that_the_engine_folds_from_its_minutes() {
    let Some(file) = recording() else { return };
    let exchange = Replay::of(file).await;
    let market = exchange.market();
    let bars = fetch(&market, BAR, BARS).await;
    let minutes = fetch(&market, Interval::M1, MINUTES).await;
    exchange.close().await;
    assert_eq!(minutes.len(), MINUTES - 1);
    let mut aggregator = Aggregator::new(Interval::M1, BAR).unwrap();
    let folded = minutes
        .iter()
        .filter_map(|m| aggregator.take(m).unwrap().bar);
    assert_eq!(folded.collect::<Vec<_>>(), bars);
}
