//! An exchange simulator in this process that replays a few minutes, an execution client on it, and the helpers
//! of the tests.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bearish_binance::{
    BinanceDataClient, BinanceExecutionClient, DataClientSettings, ExecutionClientSettings,
    FeedSettings, QueryAges, UserStreamTiming,
};
use clap::Parser;
use exchange::{ApiCredentials, DataClient, ExchangeError, ExecutionClient};
use exchange_sim::exchange::{Exchange, Limits};
use exchange_sim::server::Server;
use exchange_sim::settings::Cli;
use protocol::event::PositionSide;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use rust_decimal::Decimal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_util::sync::CancellationToken;
use trader_core::candle::Interval;
use trader_core::fixed_point::Qty;
use trader_core::orders::{
    ClientOrderId, Fill, FillCosts, Leg, Order, OrderCallOutcome, OrderSide, OrderType,
};
use trader_core::strategy::Strategy;

/// Start of the replay: 2026-01-05T00:00Z.
const MIDNIGHT_MS: i64 = 1_767_571_200_000;
const MINUTE_MS: i64 = 60_000;
/// Deadline of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const KEYS: &str = "trader:secret,reader:secret:read,withdrawer:secret:withdraw";

pub(crate) struct TestExchange {
    pub(crate) client: BinanceExecutionClient,
    pub(crate) data_client: BinanceDataClient,
    address: SocketAddr,
    exchange: Arc<Exchange>,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), ExitError>>,
    _file: TempDir,
    attempts: u32,
}

impl TestExchange {
    /// Starts an exchange at the second of minutes with these opens, highs, lows and closes, and quiet minutes
    /// after them. The
    /// exchange's time is paused; [`Self::advance_to_minute`] lets it continue.
    pub(crate) async fn start(minutes: &[[i64; 4]], quiet: usize) -> Self {
        let file = tempfile::tempdir().unwrap();
        let path = file.path().join("candles.csv");
        std::fs::write(&path, candles(minutes, quiet)).unwrap();
        let arguments = [
            "exchange-sim",
            "--listen",
            "127.0.0.1:0",
            "--fault-api",
            "1",
        ];
        let arguments = arguments.into_iter().chain(["--market", "replay"]);
        let arguments =
            arguments.chain(["--candles-file", path.to_str().unwrap(), "--api-keys", KEYS]);
        let arguments = arguments.chain([
            "--warmup-candles",
            "1",
            "--clock-pause",
            "without-subscribers",
        ]);
        let arguments = arguments.chain(["--speed", "3000"]);
        let settings = Cli::try_parse_from(arguments).unwrap().settings;
        let server = Server::bind(settings, Limits::default()).await.unwrap();
        let (address, exchange) = (server.address(), Arc::clone(server.exchange()));
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(server.run(stop.clone()));
        let market = BinanceDataClient::new(&DataClientSettings {
            rest_url: format!("http://{address}"),
            ws_url: format!("ws://{address}"),
            feed: FeedSettings::new(Interval::M1),
        })
        .unwrap();
        Self {
            client: execution_client(
                address,
                &market,
                ["trader", "secret"],
                UserStreamTiming::default(),
            ),
            data_client: market,
            address,
            exchange,
            shutdown: stop,
            task,
            _file: file,
            attempts: 0,
        }
    }

    /// Starts an exchange whose price is constant.
    pub(crate) async fn at_constant_price() -> Self {
        Self::start(&[[40_000; 4]; 2], 10).await
    }

    /// The same exchange with another key.
    pub(crate) fn with_key(&self, key: &str, secret: &str) -> BinanceExecutionClient {
        let timing = UserStreamTiming::default();
        execution_client(self.address, &self.data_client, [key, secret], timing)
    }

    /// A client with this key and these deadlines of its user stream.
    pub(crate) fn with_stream(
        &self,
        key: &str,
        timing: UserStreamTiming,
    ) -> BinanceExecutionClient {
        execution_client(self.address, &self.data_client, [key, "secret"], timing)
    }

    pub(crate) fn now(&self) -> UtcMs {
        UtcMs(self.exchange.now_ms())
    }

    /// A new order, dated now, with an id of its own.
    pub(crate) fn order(&mut self, leg: Leg, kind: OrderType) -> Order {
        let deployment = "q7x2ab".parse().unwrap();
        let entry = ClientOrderId::for_entry(
            &deployment,
            &bitcoin(),
            Strategy::OversoldBounce,
            UtcMs(MIDNIGHT_MS),
        );
        self.attempts += 1;
        Order {
            client_order_id: entry.sibling(leg, self.attempts),
            leg,
            attempt: self.attempts,
            side: OrderSide::for_leg(PositionSide::Long, leg),
            order_type: kind,
            at: self.now(),
            recv_window_ms: 5_000,
            reason: None,
        }
    }

    pub(crate) fn market(&mut self, leg: Leg, quantity: &str) -> Order {
        let quantity: Qty = quantity.parse().unwrap();
        self.order(leg, OrderType::Market { quantity })
    }

    pub(crate) fn trigger(&mut self, leg: Leg, price: &str) -> Order {
        let price = price.parse().unwrap();
        self.order(leg, OrderType::Trigger { price })
    }

    pub(crate) async fn place(&self, order: &Order) -> OrderCallOutcome {
        self.client.submit_order(&bitcoin(), order).await
    }

    pub(crate) async fn query_order(&self, order: &Order) -> OrderCallOutcome {
        self.client.query_order(&bitcoin(), order).await.unwrap()
    }

    pub(crate) async fn cancel(&self, order: &Order) -> Result<(), ExchangeError> {
        let (id, is_conditional) = (&order.client_order_id, order.leg.is_conditional());
        self.client
            .cancel_order(&bitcoin(), id.as_str(), is_conditional)
            .await
    }

    /// Buys 0.01 at the market.
    pub(crate) async fn buy(&mut self) -> Fill {
        let entry = self.market(Leg::Entry, "0.01");
        filled(&self.place(&entry).await)
    }

    /// What an order that has ended cost; `None` while its trades are not listed.
    pub(crate) async fn costs(&self, answer: &OrderCallOutcome) -> Option<FillCosts> {
        let fill = filled(answer);
        let id = fill
            .exchange_order_id
            .expect("the exchange names its order");
        let (client, symbol) = (&self.client, bitcoin());
        let costs = client.order_costs(&symbol, id, fill.quantity).await;
        costs.unwrap()
    }

    /// Balance of the account.
    pub(crate) async fn balance(&self) -> Decimal {
        self.client.wallet_balance().await.unwrap().balance
    }

    /// Arms a fault at the simulator's fault API.
    pub(crate) async fn arm_fault(&self, fault: Value) {
        let body = fault.to_string();
        let length = body.len();
        let request = format!(
            "POST /sim/fault HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Lets the exchange's time advance to at least this minute after midnight, and pause again.
    pub(crate) async fn advance_to_minute(&self, minute: i64) {
        let url = format!("ws://{}/ws/btcusdt@kline_1m", self.address);
        let (client, _) = connect_async(url).await.unwrap();
        let passed = async {
            while self.now().0 < MIDNIGHT_MS + minute * MINUTE_MS {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, passed).await.unwrap();
        drop(client);
        let stands = async {
            loop {
                let before = self.now();
                sleep(Duration::from_millis(20)).await;
                if self.now() == before {
                    return;
                }
            }
        };
        timeout(SOON, stands).await.unwrap();
        self.data_client.server_time().await.unwrap();
    }

    pub(crate) async fn shut_down(mut self) {
        self.shutdown.cancel();
        let ended = timeout(SOON, self.task.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
    }
}

fn execution_client(
    address: SocketAddr,
    market: &BinanceDataClient,
    [key, secret]: [&str; 2],
    stream_timing: UserStreamTiming,
) -> BinanceExecutionClient {
    let settings = ExecutionClientSettings {
        ws_url: format!("ws://{address}/"),
        credentials: ApiCredentials {
            key: key.into(),
            secret: secret.into(),
        },
        recv_window_ms: 5_000,
        stream_timing,
        // Each comparison before an entry queries.
        query_ages: QueryAges {
            modes: Duration::ZERO,
            fee_asset: Duration::ZERO,
        },
    };
    BinanceExecutionClient::new(&settings, market)
}

fn candles(minutes: &[[i64; 4]], quiet: usize) -> String {
    let mut text = "open_time,open,high,low,close\n".to_owned();
    let last = [minutes.last().unwrap()[3]; 4];
    let all = minutes.iter().chain(std::iter::repeat_n(&last, quiet));
    for (index, [open, high, low, close]) in (0..).zip(all) {
        let time = MIDNIGHT_MS + index * MINUTE_MS;
        writeln!(text, "{time},{open},{high},{low},{close}").unwrap();
    }
    text
}

pub(crate) fn bitcoin() -> SubjectToken {
    "BTCUSDT".parse().unwrap()
}

/// The fill of an order that has ended.
pub(crate) fn filled(answer: &OrderCallOutcome) -> Fill {
    match answer {
        OrderCallOutcome::Reported(report) if !report.is_open => {
            report.fill.expect("something filled")
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn is_working(answer: &OrderCallOutcome) -> bool {
    matches!(answer, OrderCallOutcome::Reported(report) if report.is_open)
}

/// Whether the order has ended with nothing filled.
pub(crate) fn is_empty(answer: &OrderCallOutcome) -> bool {
    matches!(answer, OrderCallOutcome::Reported(report) if !report.is_open && report.fill.is_none())
}

/// The code of a refusal.
pub(crate) fn rejection_code(answer: &OrderCallOutcome) -> i64 {
    match answer {
        OrderCallOutcome::Rejected { code, reason: why } => {
            assert!(!why.is_empty());
            *code
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn is_outcome_unknown(answer: &OrderCallOutcome) -> bool {
    matches!(answer, OrderCallOutcome::Unknown { error } if !error.is_empty() && !error.contains("signature"))
}
