//! The simulated exchange as a process, and what its REST side says: the audit's own source of
//! candles and rules.

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

/// One minute in milliseconds: the candles that everything here is about.
pub const MINUTE_MS: i64 = 60_000;
const PAGE_SIZE: usize = 1_500;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// A closed one-minute candle, as told over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// First price.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
}

/// Closed candles of one symbol by open time.
pub type Candles = BTreeMap<i64, Candle>;

/// The grids of one symbol.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Prices are multiples of this.
    pub tick: Decimal,
    /// Quantities are multiples of this.
    pub lot: Decimal,
}

/// An exchange and its state.
pub struct Exchange {
    process: Process,
    address: SocketAddr,
    env: Vec<(String, String)>,
    state: TempDir,
}

impl Exchange {
    /// The default market with these settings changed; serves when this returns.
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

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Self::kill`], with its state, on the same port.
    pub async fn restart(&mut self) {
        self.process = start_process(self.address, &self.env, self.state.path());
        self.process
            .wait_for_log_within("exchange open", DEFAULT_TIMEOUT)
            .await;
    }

    /// Address of REST and WebSocket.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The exchange's time.
    pub async fn now(&self) -> UtcMs {
        UtcMs(self.get_json("time").await["serverTime"].as_i64().unwrap())
    }

    /// The grids of a symbol.
    pub async fn grid(&self, symbol: &str) -> Grid {
        let info = self.get_json("exchangeInfo").await;
        let listed = info["symbols"].as_array().unwrap();
        let found = listed.iter().find(|s| s["symbol"] == symbol).unwrap();
        let filters = found["filters"].as_array().unwrap();
        let of = |kind: &str, field: &str| {
            let filter = filters.iter().find(|f| f["filterType"] == kind).unwrap();
            parse_decimal(&filter[field])
        };
        Grid {
            tick: of("PRICE_FILTER", "tickSize"),
            lot: of("LOT_SIZE", "stepSize"),
        }
    }

    /// All closed one-minute candles from `from_seq` on.
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

    /// Arms a fault; needs `SIM_FAULT_API`.
    pub async fn arm_fault(&self, fault: &Value) {
        let body = fault.to_string();
        let request = format!(
            "POST /sim/fault HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = timeout(RESPONSE_TIMEOUT, send_request(self.address, &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{fault}: no answer"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{fault}: {answer}");
    }

    /// How often faults of calls are still to happen.
    pub async fn remaining_faults(&self) -> u64 {
        let request = "GET /sim/fault HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
        let answer = timeout(RESPONSE_TIMEOUT, send_request(self.address, request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("faults: no answer"));
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let armed: Value = serde_json::from_str(body).unwrap();
        let times = armed.as_array().unwrap().iter();
        times.filter_map(|fault| fault["times"].as_u64()).sum()
    }

    async fn get_json(&self, what: &str) -> Value {
        let answer = timeout(RESPONSE_TIMEOUT, get_json(self.address, what)).await;
        answer.unwrap_or_else(|_| panic!("{what}: no answer within {RESPONSE_TIMEOUT:?}"))
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
    let answer = send_request(address, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{what}: {answer}");
    serde_json::from_str(body).unwrap()
}

/// Sends a request; the whole answer.
async fn send_request(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
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
