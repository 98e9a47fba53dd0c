//! `kill -9` of the process: all answered changes survive, and time has passed meanwhile.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;

use serde_json::Value;

use crate::support::CandleFile;
use crate::support::program::serve;
use crate::support::signed::{API_KEY_ARGS, call_ok, minute_file};

const READS: [(&str, &str); 7] = [
    ("v3/account", ""),
    ("v1/openOrders", ""),
    ("v1/openAlgoOrders", ""),
    ("v1/allOrders", "symbol=BTCUSDT"),
    ("v1/userTrades", "symbol=BTCUSDT"),
    ("v1/income", ""),
    ("v1/symbolConfig", "symbol=BTCUSDT"),
];

/// The process with its own state directory and a paused clock.
fn serve_paused(file: &CandleFile, state: &Path) -> (Child, SocketAddr) {
    let path = file.path();
    let market = [
        "--market",
        "replay",
        "--warmup-candles",
        "1",
        "--candles-file",
    ]
    .map(OsStr::new);
    let files = [
        path.as_os_str(),
        OsStr::new("--state-dir"),
        state.as_os_str(),
    ];
    serve(&[&market[..], &files, &API_KEY_ARGS.map(OsStr::new)].concat())
}

async fn read_everything(at: SocketAddr) -> Vec<Value> {
    let mut all = Vec::new();
    for (path, query) in READS {
        all.push(call_ok(at, "GET", path, query).await);
    }
    all
}

#[tokio::test]
async fn answered_calls_survive_kill_9() {
    let file = minute_file(&[[40_000; 4]; 3]);
    let state = tempfile::tempdir().unwrap();
    let (mut child, at) = serve_paused(&file, state.path());
    call_ok(
        at,
        "POST",
        "v1/marginType",
        "symbol=BTCUSDT&marginType=ISOLATED",
    )
    .await;
    call_ok(at, "POST", "v1/leverage", "symbol=BTCUSDT&leverage=3").await;
    call_ok(
        at,
        "POST",
        "v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.02",
    )
    .await;
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=39000";
    call_ok(at, "POST", "v1/order", limit).await;
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                &closePosition=true";
    call_ok(at, "POST", "v1/algoOrder", stop).await;
    let before = read_everything(at).await;
    assert_eq!(before[1].as_array().unwrap().len(), 1);
    for _ in 0..2 {
        child.kill().unwrap();
        child.wait().unwrap();
        let (again, at) = serve_paused(&file, state.path());
        child = again;
        assert_eq!(read_everything(at).await, before);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
