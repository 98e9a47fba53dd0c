//! The simulated exchange as a process, and a client of its REST API: the audit's source of candles and
//! symbol filters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ports;
use crate::process::{Process, binary};
use crate::wait::DEFAULT_TIMEOUT;

/// Milliseconds of one minute, the length of a candle.
pub const MINUTE_MS: i64 = 60_000;
const PAGE_SIZE: usize = 1_500;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// A closed one-minute candle from the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// First price of the minute.
    pub open: Decimal,
    /// Highest price of the minute.
    pub high: Decimal,
    /// Lowest price of the minute.
    pub low: Decimal,
    /// Last price of the minute.
    pub close: Decimal,
}

/// Closed candles of one symbol by open time.
pub type Candles = BTreeMap<i64, Candle>;

/// Price and quantity steps of one symbol.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Prices are multiples of this.
    pub tick: Decimal,
    /// Quantities are multiples of this.
    pub lot: Decimal,
}

/// A running exchange and its state directory.
pub struct Exchange {
    process: Process,
    address: SocketAddr,
    env: Vec<(String, String)>,
    state: TempDir,
}

impl Exchange {
    /// Starts an exchange with the default market and these settings; waits until it serves.
    pub async fn start(env: &[(&str, &str)]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
        let state = tempfile::tempdir().unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env: Vec<(String, String)> = env.iter().map(owned).collect();
        let process = start_process(address, &env, state.path());
        let exchange = Self {
            process,
            address,
            env,
            state,
        };
        exchange.process.wait_for_log("exchange open").await;
        exchange
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Restarts the exchange after [`Self::kill`] with the same state and port.
    pub async fn restart(&mut self) {
        self.process = start_process(self.address, &self.env, self.state.path());
        self.process
            .wait_for_log_within("exchange open", DEFAULT_TIMEOUT)
            .await;
    }

    /// Kills the exchange and starts another market on the same port, whose time begins again.
    pub async fn replace_market(&mut self, seed: &str) {
        self.process.kill();
        self.env.retain(|(name, _)| name != "SIM_SEED");
        self.env.push(("SIM_SEED".to_owned(), seed.to_owned()));
        self.state = tempfile::tempdir().unwrap();
        self.restart().await;
    }

    /// Address of the REST and WebSocket APIs.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fetches the exchange's time.
    pub async fn now(&self) -> UtcMs {
        UtcMs(self.get_json("time").await["serverTime"].as_i64().unwrap())
    }

    /// Fetches the symbols of the USDT perpetuals that trade now, in the exchange's order.
    pub async fn perpetuals(&self) -> Vec<String> {
        let info = self.get_json("exchangeInfo").await;
        let listed = info["symbols"].as_array().unwrap().iter();
        let trades = listed.filter(|contract| {
            contract["contractType"] == "PERPETUAL"
                && contract["quoteAsset"] == "USDT"
                && contract["status"] == "TRADING"
        });
        let names = trades.map(|contract| contract["symbol"].as_str().unwrap().to_owned());
        names
            .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric()))
            .collect()
    }

    /// Fetches the price and quantity steps of a symbol.
    pub async fn grid(&self, symbol: &str) -> Grid {
        let info = self.get_json("exchangeInfo").await;
        let listed = info["symbols"].as_array().unwrap();
        let found = listed.iter().find(|s| s["symbol"] == symbol).unwrap();
        let filters = found["filters"].as_array().unwrap();
        let filter_value = |kind: &str, field: &str| {
            let filter = filters.iter().find(|f| f["filterType"] == kind).unwrap();
            parse_decimal(&filter[field])
        };
        Grid {
            tick: filter_value("PRICE_FILTER", "tickSize"),
            lot: filter_value("LOT_SIZE", "stepSize"),
        }
    }

    /// Fetches all closed one-minute candles that open at `from` or later.
    pub async fn candles(&self, symbol: &str, from: UtcMs) -> Candles {
        let (mut candles, mut start) = (Candles::new(), from.0);
        let now = self.now().await.0;
        loop {
            let query =
                format!("klines?symbol={symbol}&interval=1m&startTime={start}&limit={PAGE_SIZE}");
            let page = self.get_json(&query).await;
            let rows = page.as_array().unwrap();
            for row in rows {
                let open_time = row[0].as_i64().unwrap();
                start = open_time + MINUTE_MS;
                if start <= now {
                    candles.insert(open_time, parse_candle(row));
                }
            }
            if rows.len() < PAGE_SIZE {
                return candles;
            }
        }
    }

    /// Arms a fault; requires `SIM_FAULT_API`.
    pub async fn arm_fault(&self, fault: &Value) {
        let body = fault.to_string();
        let request = format!(
            "POST /sim/fault HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = timeout(RESPONSE_TIMEOUT, send_request(self.address, &request)).await;
        let response = response.unwrap_or_else(|_| panic!("{fault}: no response"));
        assert!(response.starts_with("HTTP/1.1 200"), "{fault}: {response}");
    }

    /// Ends all faults: limits are free, and contracts and mark prices are as published. What has happened stays.
    pub async fn clear_faults(&self) {
        let request = "DELETE /sim/fault HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
        let response = timeout(RESPONSE_TIMEOUT, send_request(self.address, request)).await;
        let response = response.unwrap_or_else(|_| panic!("clearing of faults: no response"));
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }

    /// The armed faults as the exchange lists them.
    pub async fn armed_faults(&self) -> Vec<Value> {
        let request = "GET /sim/fault HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
        let response = timeout(RESPONSE_TIMEOUT, send_request(self.address, request)).await;
        let response = response.unwrap_or_else(|_| panic!("faults: no response"));
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Number of failures that armed faults of calls will still cause.
    pub async fn remaining_faults(&self) -> u64 {
        let armed = self.armed_faults().await;
        let times = armed.iter().filter_map(|fault| fault["times"].as_u64());
        times.sum()
    }

    /// The request weight that was used in the current minute, from this address.
    pub async fn used_weight(&self) -> u32 {
        let request = "GET /fapi/v1/time HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
        let response = timeout(RESPONSE_TIMEOUT, send_request(self.address, request)).await;
        let response = response.unwrap_or_else(|_| panic!("time: no response"));
        let lines = response.lines().map(str::to_ascii_lowercase);
        let mut weights = lines.filter_map(|line| {
            let value = line.strip_prefix("x-mbx-used-weight-1m: ")?;
            value.trim().parse().ok()
        });
        weights.next().unwrap()
    }

    async fn get_json(&self, what: &str) -> Value {
        let response = timeout(RESPONSE_TIMEOUT, get_json(self.address, what)).await;
        response.unwrap_or_else(|_| panic!("{what}: no response within {RESPONSE_TIMEOUT:?}"))
    }
}

fn start_process(address: SocketAddr, env: &[(String, String)], state: &Path) -> Process {
    let mut command = Command::new(binary("exchange-sim"));
    command
        .env_clear()
        .env("SIM_LISTEN", address.to_string())
        .env("SIM_STATE_DIR", state)
        .envs(env.iter().map(|(name, value)| (name, value)));
    Process::start("exchange-sim", command)
}

async fn get_json(address: SocketAddr, what: &str) -> Value {
    let request = format!("GET /fapi/v1/{what} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    let response = send_request(address, &request).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{what}: {response}");
    serde_json::from_str(body).unwrap()
}

/// Sends a request and returns the whole response.
pub(crate) async fn send_request(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

fn parse_candle(row: &Value) -> Candle {
    Candle {
        open: parse_decimal(&row[1]),
        high: parse_decimal(&row[2]),
        low: parse_decimal(&row[3]),
        close: parse_decimal(&row[4]),
    }
}

fn parse_decimal(value: &Value) -> Decimal {
    Decimal::from_str_exact(value.as_str().unwrap()).unwrap()
}
