//! The feed with its real deadlines on the exchange simulator, at ten market minutes a second.

use std::net::SocketAddr;
use std::path::Path;

use bearish_binance::{BinanceDataClient, FeedSettings};
use clap::Parser;
use exchange::{DataClient, FeedEvent, FeedHandle};
use exchange_sim::exchange::Limits;
use exchange_sim::server::Server;
use exchange_sim::settings::Cli;
use runtime::exit_error::ExitError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trader_core::candle::{Candle, Interval};

use crate::test_exchange::Addresses;
use crate::test_feed::{TestFeed, next, run, token};

struct Simulator {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), ExitError>>,
}

impl Simulator {
    /// Starts a simulator. Tests use few symbols: their history is generated at each start.
    async fn start(symbols: &str, listen: &str, state: &Path) -> Self {
        let state = state.to_str().unwrap();
        let arguments = ["exchange-sim", "--speed", "600", "--symbols", symbols];
        let arguments = arguments
            .into_iter()
            .chain(["--listen", listen, "--state-dir", state]);
        let settings = Cli::try_parse_from(arguments).unwrap().settings;
        let server = Server::bind(settings, Limits::default()).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(server.run(stop.clone()));
        Self {
            address,
            shutdown: stop,
            task,
        }
    }

    async fn shut_down(mut self) {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            rest_url: format!("http://{}", self.address),
            ws_url: format!("ws://{}/", self.address),
        }
    }

    fn client(&self) -> BinanceDataClient {
        self.addresses().client(FeedSettings::new(Interval::M1))
    }
}

/// A book that starts `past` candles before now.
async fn book(rig: &TestFeed, market: &BinanceDataClient, symbol: &str, past: i64) -> FeedHandle {
    let now = market.server_time().await.unwrap();
    let minute = Interval::M1.open_of(now);
    let from = protocol::time::UtcMs(minute.0 - past * Interval::M1.millis());
    rig.client.subscribe(token(symbol), from).await.unwrap()
}

async fn candles(book: &mut FeedHandle, count: usize) -> Vec<Candle> {
    let mut candles: Vec<Candle> = Vec::new();
    while candles.len() < count {
        match next(book).await {
            FeedEvent::Candle(candle) => candles.push(candle),
            // A long restart is reported, and ends.
            FeedEvent::Stale { .. } | FeedEvent::Recovered { .. } => {}
            refused @ FeedEvent::Refused { .. } => panic!("{refused:?}"),
        }
    }
    candles
}

fn assert_gapless(candles: &[Candle]) {
    for pair in candles.windows(2) {
        let follows = Interval::M1.close_of(pair[0].open_time);
        assert_eq!(pair[1].open_time, follows, "after {}", pair[0].open_time);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_books_receive_the_candles_of_the_exchange() {
    let state = tempfile::tempdir().unwrap();
    let simulator = Simulator::start("BTCUSDT,ETHUSDT", "127.0.0.1:0", state.path()).await;
    let market = simulator.client();
    let rig = run(FeedSettings::new(Interval::M1), &simulator.addresses());
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        let mut book = book(&rig, &market, symbol, 100).await;
        let received = candles(&mut book, 130).await;
        assert_gapless(&received);
        let now = market.server_time().await.unwrap();
        let from = Some(received[0].open_time);
        let kept = market
            .closed_candles(&token(symbol), Interval::M1, from, received.len(), now)
            .await
            .unwrap();
        assert_eq!(received, kept, "{symbol}");
    }
    assert_eq!(rig.client.feed_stats().component_status().errors, 0);
    simulator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_restarts_costs_no_candle() {
    let state = tempfile::tempdir().unwrap();
    let simulator = Simulator::start("BTCUSDT", "127.0.0.1:0", state.path()).await;
    let address = simulator.address;
    let market = simulator.client();
    let rig = run(FeedSettings::new(Interval::M1), &simulator.addresses());
    let mut book = book(&rig, &market, "BTCUSDT", 5).await;
    let mut received = candles(&mut book, 20).await;
    simulator.shut_down().await;
    let simulator = Simulator::start("BTCUSDT", &address.to_string(), state.path()).await;
    received.extend(candles(&mut book, 100).await);
    assert_gapless(&received);
    assert!(
        rig.client.feed_stats().component_status().errors > 0,
        "the exchange was unavailable"
    );
    simulator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_the_exchanges_and_an_unlisted_symbol_gets_suggestions() {
    let state = tempfile::tempdir().unwrap();
    let simulator = Simulator::start("BTCUSDT,SOLUSDT", "127.0.0.1:0", state.path()).await;
    let market = simulator.client();
    let (bitcoin, unlisted) = (token("BTCUSDT"), token("BTCUST"));
    let wanted = [bitcoin.clone(), token("SOLUSDT"), unlisted.clone()];
    let listings = market.symbol_listings(&wanted).await.unwrap();
    assert_eq!(listings.len(), 3);
    let filters = listings[&bitcoin].filters.as_ref().unwrap();
    assert_eq!(filters.tick.to_string(), "0.1");
    assert_eq!(filters.max_qty.to_string(), "120");
    let line = listings[&unlisted].obstacle.as_ref().unwrap().to_string();
    assert!(
        line.starts_with("SYMBOLS=\"BTCUST\": ") && line.contains("BTCUSDT"),
        "{line}"
    );
    simulator.shut_down().await;
}
