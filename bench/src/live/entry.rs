//! Measures the time from a closed candle to the entry and its protective orders on the exchange. The candle's time is
//! that of its receipt by another client of the same stream. A gateway between trader and exchange records the calls;
//! it costs each call another connection.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bearish_tests::gateway::{AnsweredCall, Gateway};
use bearish_tests::live::{LiveSystem, SYMBOL};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;

use crate::stats::{format_millis, rank};

/// Speed of the exchange: a candle lasts three seconds.
const SPEED: &str = "20";
const STEPS: [&str; 4] = [
    "entry sent: decided and journaled",
    "entry acknowledged",
    "stop acknowledged",
    "target acknowledged",
];

pub(super) async fn measure(entries: usize) {
    println!(
        "closed candle to orders: trader, nats-server (sync_interval: always) and exchange-sim on this machine; \
         the exchange stores each change before it responds"
    );
    let mut spans: [Vec<Duration>; 4] = Default::default();
    for number in 1..=entries {
        let steps = Box::pin(measure_entry()).await;
        eprintln!(
            "entry {number} of {entries}: stop after {}",
            format_millis(steps[2])
        );
        for (all, step) in spans.iter_mut().zip(steps) {
            all.push(step);
        }
    }
    println!(
        "{:<32}{:>6}{:>12}{:>12}{:>12}",
        "candle closed to", "runs", "p50", "p99", "max"
    );
    for (step, mut all) in STEPS.into_iter().zip(spans) {
        all.sort_unstable();
        let [p50, p99, max] = [50, 99, 100].map(|percent| format_millis(rank(&all, percent)));
        println!("{step:<32}{:>6}{p50:>12}{p99:>12}{max:>12}", all.len());
    }
}

/// Measures one entry of a new trader.
async fn measure_entry() -> [Duration; 4] {
    let system = LiveSystem::start_without_account(&[], SPEED).await;
    let gateway = Gateway::start(system.exchange.address()).await;
    let setup = system
        .trader_setup("bench")
        .env("BINANCE_REST_URL", &gateway.url());
    let (code, output) = system.run_command_with(&setup, "init --account").await;
    assert_eq!(code, 0, "{output}");
    let trader = setup.start();
    trader.wait_until_running().await;
    let candle_closes = CandleCloses::subscribe(&system).await;
    system.wait_until_protected().await;
    let calls = gateway.answered_calls();
    let entry = first_placed(&calls, "/fapi/v1/order");
    let mut protective = placed(&calls, "/fapi/v1/algoOrder");
    let (stop, target) = (protective.next().unwrap(), protective.next().unwrap());
    let closed = candle_closes.last_before(entry.requested_at);
    [
        entry.requested_at,
        entry.answered_at,
        stop.answered_at,
        target.answered_at,
    ]
    .map(|moment| moment.duration_since(closed))
}

fn placed<'a>(calls: &'a [AnsweredCall], path: &'a str) -> impl Iterator<Item = &'a AnsweredCall> {
    calls
        .iter()
        .filter(move |call| call.method == "POST" && call.path == path)
}

fn first_placed<'a>(calls: &'a [AnsweredCall], path: &'a str) -> &'a AnsweredCall {
    placed(calls, path).next().unwrap()
}

/// Times at which the exchange announced a closed candle.
struct CandleCloses {
    received_at: Arc<Mutex<Vec<Instant>>>,
    _task: JoinSet<()>,
}

impl CandleCloses {
    /// Subscribes to the candles of [`SYMBOL`].
    async fn subscribe(system: &LiveSystem) -> Self {
        let symbol = SYMBOL.to_ascii_lowercase();
        let url = format!(
            "ws://{}/market/ws/{symbol}@kline_1m",
            system.exchange.address()
        );
        let (mut stream, _) = connect_async(url).await.unwrap();
        let received_at = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        let times = Arc::clone(&received_at);
        task.spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let now = Instant::now();
                let Ok(text) = message.to_text() else {
                    continue;
                };
                let event = serde_json::from_str::<Value>(text);
                if event.is_ok_and(|event| event["k"]["x"] == true) {
                    times.lock().unwrap().push(now);
                }
            }
        });
        Self {
            received_at,
            _task: task,
        }
    }

    fn last_before(&self, moment: Instant) -> Instant {
        let times = self.received_at.lock().unwrap();
        let before = times.iter().rev().find(|closed| **closed <= moment);
        *before.expect("no candle was received before the entry")
    }
}
