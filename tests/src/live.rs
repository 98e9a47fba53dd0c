//! A live account on the simulated exchange: a market written for one entry, the traders that trade it with
//! real orders, faults on the way, and an audit that asks the exchange through Binance's own client.
//! `live/step.rs`: the steps of a position's life; `live/run.rs`: one run of it.

pub mod run;
pub mod step;

use std::collections::BTreeSet;
use std::time::Duration;

use binance_sdk::config::ConfigurationRestApi;
use binance_sdk::derivatives_trading_usds_futures::DerivativesTradingUsdsFuturesRestApi;
use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    AllOrdersParams, CurrentAllAlgoOpenOrdersParams, FuturesAccountBalanceV3Params, NewOrderParams,
    NewOrderSideEnum, NewOrderTypeEnum, PositionInformationV3Params, QueryAllAlgoOrdersParams,
    RestApi,
};
use engine::book::{BookRecord, BookState, Phase, Position};
use engine::orders::{ClientId, Fate, Leg};
use protocol::ids::Mode;
use runtime::bus::Bus;
use rust_decimal::Decimal;
use serde_json::Value;
use tempfile::TempDir;

use crate::candle_file::{PAST, csv};
use crate::exchange::Exchange;
use crate::journals::{self, Entries};
use crate::nats::{NatsServer, Role};
use crate::patience::{SOON, eventually};
use crate::trader::Setup;

/// The symbol that is traded.
pub const SYMBOL: &str = "BTCUSDT";
/// The account's key.
pub const KEY: &str = "livekey";
const SECRET: &str = "livesecret";
/// What the account begins with.
const BALANCE: i64 = 10_000;
/// Minutes from the exchange's opening to the bar whose close brings the entry.
const LEAD: i64 = 2;
/// Minutes of market behind that.
const PLAYED: i64 = 2_000;

/// A move of the price: so many minutes after the entry's bar, by so many tenths.
pub type Move = (i64, i64);

/// Far enough to fill the target, or to reach the stop.
pub const UP: i64 = 6_000;
/// The same the other way.
pub const DOWN: i64 = -1_500;

/// Half hours of the same small size up and down, three down in a row until the entry's bar closes, which
/// is oversold; then a market that stands still but for these moves. The entry's bar closes so many minutes
/// after midnight.
fn market(moves: &[Move], late: i64) -> String {
    let (past, mut last) = (PAST + late, 400_000);
    csv((0..past + PLAYED).map(|n| {
        let (open, to_go) = (last, n / 30 - past / 30);
        let step = 16 - 8 * n / past;
        let due = moves.iter().filter(|(minute, _)| past + minute == n);
        last += match to_go {
            ..-3 if to_go % 2 == 0 => step,
            ..0 => -step,
            _ => due.map(|(_, by)| by).sum(),
        };
        [open, open.max(last), open.min(last), last]
    }))
}

/// Bus, exchange and the operator's eyes.
pub struct LiveSystem {
    /// The bus, with its streams.
    pub nats: NatsServer,
    /// The exchange.
    pub exchange: Exchange,
    operator: Bus,
    speed: u64,
    _market: TempDir,
}

impl LiveSystem {
    /// An exchange whose market makes these moves, at this speed; its account is begun.
    pub async fn start(moves: &[Move], speed: &str) -> Self {
        let system = Self::bare(moves, speed).await;
        system.begin().await;
        system
    }

    /// The same, with an account that nobody has begun.
    pub async fn bare(moves: &[Move], speed: &str) -> Self {
        Self::late(moves, speed, 0).await
    }

    /// The same; the entry's bar closes so many minutes after midnight, at a full or half hour.
    pub async fn late(moves: &[Move], speed: &str, late: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("candles.csv");
        std::fs::write(&file, market(moves, late)).unwrap();
        let nats = NatsServer::with_streams().await;
        let exchange = Exchange::start(&[
            ("SIM_MARKET", "replay"),
            ("SIM_CANDLES", file.to_str().unwrap()),
            ("SIM_WARMUP_CANDLES", &(PAST + late - LEAD).to_string()),
            ("SIM_SPEED", speed),
            ("SIM_API_KEYS", &format!("{KEY}:{SECRET}:trade")),
            ("SIM_ADMIN", "1"),
        ])
        .await;
        let operator = nats.bus(Role::Operator).await;
        Self {
            nats,
            exchange,
            operator,
            speed: speed.parse().unwrap(),
            _market: folder,
        }
    }

    /// `trader init --account`.
    pub async fn begin(&self) {
        let (code, said) = self.command("init", "init --account").await;
        assert_eq!(code, 0, "{said}");
    }

    /// Runs one of the trader's commands; its exit code and what it printed.
    pub async fn command(&self, name: &str, words: &str) -> (i32, String) {
        self.command_of(&self.trader(name), words).await
    }

    /// The same with this trader's settings.
    pub async fn command_of(&self, setup: &Setup, words: &str) -> (i32, String) {
        let setup = setup.clone().flags(words);
        let mut process = setup.start().into_process();
        let code = process.exit_within(SOON).await;
        let said = [process.out(), process.err()].concat().join("\n");
        (code, said)
    }

    /// How to start a trader of this name.
    pub fn trader(&self, name: &str) -> Setup {
        Setup::new(name, &self.nats, &self.exchange)
            .bus(&self.nats, Role::TraderLive)
            .env("BINANCE_API_KEY", KEY)
            .env("BINANCE_API_SECRET", SECRET)
            .env("RECV_WINDOW_MS", "60000")
            .env("SYMBOLS", SYMBOL)
            .flags("--infinite --auto-restart --confirm-live")
    }

    /// The operator's eyes.
    pub const fn operator(&self) -> &Bus {
        &self.operator
    }

    /// The book's journal.
    pub async fn journal(&self) -> Entries {
        let mut journals = journals::of_mode(&self.operator, Mode::Live).await;
        journals
            .pop_first()
            .map(|(_, entries)| entries)
            .unwrap_or_default()
    }

    /// The book.
    pub async fn book(&self) -> BookState {
        journals::fold(&self.journal().await)
    }

    /// Waits until the book's journal has a record like this.
    pub async fn record(&self, what: &str, wish: impl Fn(&BookRecord) -> bool) -> BookRecord {
        eventually(what, Duration::from_secs(90), async || {
            let journal = self.journal().await;
            journals::records([&journal]).find(|r| wish(r)).cloned()
        })
        .await
    }

    /// Waits until a position is open with stop and target at rest.
    pub async fn guarded(&self) {
        eventually("a guarded position", Duration::from_secs(90), async || {
            is_guarded(&self.book().await).then_some(())
        })
        .await;
    }

    /// Waits until the book is flat again after its entry.
    pub async fn over(&self) {
        eventually("the entry's end", Duration::from_mins(2), async || {
            let journal = self.journal().await;
            let book = journals::fold(&journal);
            let entered = |r: &BookRecord| matches!(r, BookRecord::EntryDecided(_));
            let entered = journals::records([&journal]).any(entered);
            (entered && book.phase == Phase::Flat).then_some(())
        })
        .await;
    }

    /// Waits until so many positions are closed.
    pub async fn trades(&self, count: u64) {
        let within = Duration::from_secs(90);
        eventually(&format!("{count} trades"), within, async || {
            let book = self.book().await;
            (book.trades >= count && book.phase == Phase::Flat).then_some(())
        })
        .await;
    }

    /// Arms a fault.
    pub async fn fault(&self, fault: &Value) {
        self.exchange.arm(fault).await;
    }

    /// A person's order at the market, on the exchange's own site, so to say.
    pub async fn by_hand(&self, side: NewOrderSideEnum, quantity: Decimal) {
        let order = NewOrderParams::builder(SYMBOL.to_owned(), side, NewOrderTypeEnum::Market)
            .quantity(quantity)
            .recv_window(60_000)
            .build()
            .unwrap();
        self.client().await.new_order(order).await.unwrap();
    }

    /// Waits until no conditional order rests on the exchange.
    pub async fn nothing_rests(&self) {
        eventually("nothing rests", SOON, async || {
            resting(&self.client().await).await.is_empty().then_some(())
        })
        .await;
    }

    /// Whether what is held on the exchange has its stop there.
    pub async fn is_guarded_there(&self) -> bool {
        let client = self.client().await;
        let rests = resting(&client).await;
        let mut legs = rests.iter().map(|id| ClientId::told(id).leg());
        held(&client).await.is_zero() || legs.any(|leg| leg == Leg::Stop)
    }

    /// Holds the journal against the exchange, once nothing is open to question.
    pub async fn audit(&self) {
        let (what, within) = ("journal and exchange agree", Duration::from_mins(1));
        eventually(what, within, async || {
            let book = self.book().await;
            if agree(&self.client().await, &book).await {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            None
        })
        .await;
        let client = self.client().await;
        executed_once(&client, &self.journal().await).await;
    }

    async fn client(&self) -> RestApi {
        client(&self.exchange, self.speed, KEY, SECRET).await
    }
}

/// Binance's own client with an account's key; its clock is as fast as the exchange.
pub async fn client(exchange: &Exchange, speed: u64, key: &str, secret: &str) -> RestApi {
    let address = exchange.address();
    let base = exchange.now().await.0;
    let began = std::time::Instant::now();
    let since = move || u64::try_from(began.elapsed().as_millis()).unwrap() * speed;
    let clock = move || u64::try_from(base).unwrap() + since();
    let configuration = ConfigurationRestApi::builder()
        .base_path(format!("http://{address}"))
        .api_key(key)
        .api_secret(secret)
        .timestamp_provider(std::sync::Arc::new(clock))
        .timeout(5_000)
        .retries(0)
        .build()
        .unwrap();
    DerivativesTradingUsdsFuturesRestApi::from_config(configuration)
}

/// Whether the book has a position whose stop and target rest.
pub fn is_guarded(book: &BookState) -> bool {
    let rests = |leg| {
        let of_leg = |o: &&engine::orders::Tracked| o.order.leg == leg;
        let newest = book.orders.iter().rev().find(of_leg);
        newest.is_some_and(|o| o.fate == Fate::Working)
    };
    matches!(book.phase, Phase::Open(_)) && rests(Leg::Stop) && rests(Leg::Target)
}

/// Position, resting orders, and, of a flat book, the last digit of its profit.
async fn agree(client: &RestApi, book: &BookState) -> bool {
    if book
        .orders
        .iter()
        .any(|o| o.is_unclear() || o.fate == Fate::Intended)
    {
        return false;
    }
    let ours = book
        .position()
        .map_or(Decimal::ZERO, Position::signed_quantity);
    let wanted: BTreeSet<String> = book
        .orders
        .iter()
        .filter(|o| o.fate == Fate::Working)
        .map(|o| o.order.id.to_string())
        .collect();
    let guarded = book.position().is_none() || is_guarded(book);
    let settled = book.position().is_some() || profit(client).await == book.equity - book.capital;
    held(client).await == ours && resting(client).await == wanted && guarded && settled
}

/// The position there.
async fn held(client: &RestApi) -> Decimal {
    let params = PositionInformationV3Params {
        symbol: Some(SYMBOL.to_owned()),
        recv_window: Some(60_000),
    };
    let held = client.position_information_v3(params).await.unwrap();
    let held = held.data().await.unwrap();
    let amounts = held.iter().filter_map(|p| p.position_amt.as_deref());
    amounts
        .map(|amount| amount.parse::<Decimal>().unwrap())
        .sum()
}

async fn resting(client: &RestApi) -> BTreeSet<String> {
    let params = CurrentAllAlgoOpenOrdersParams {
        algo_type: None,
        symbol: Some(SYMBOL.to_owned()),
        algo_id: None,
        recv_window: Some(60_000),
    };
    let open = client.current_all_algo_open_orders(params).await.unwrap();
    let open = open.data().await.unwrap();
    open.into_iter().filter_map(|o| o.client_algo_id).collect()
}

/// What the account's wallet has won or lost.
async fn profit(client: &RestApi) -> Decimal {
    let params = FuturesAccountBalanceV3Params {
        recv_window: Some(60_000),
    };
    let balances = client.futures_account_balance_v3(params).await.unwrap();
    let balances = balances.data().await.unwrap();
    let wallet = balances[0].balance.as_deref().unwrap();
    wallet.parse::<Decimal>().unwrap() - Decimal::from(BALANCE)
}

/// No id is in the journal twice, and none on the exchange.
async fn executed_once(client: &RestApi, journal: &Entries) {
    let mut intended = BTreeSet::new();
    for record in journals::records([journal]) {
        if let BookRecord::OrderIntended(order) = record {
            assert!(
                intended.insert(order.id.clone()),
                "{} is intended twice",
                order.id
            );
        }
    }
    let orders = AllOrdersParams {
        symbol: Some(SYMBOL.to_owned()),
        order_id: None,
        start_time: None,
        end_time: None,
        limit: None,
        recv_window: Some(60_000),
    };
    let orders = client
        .all_orders(orders)
        .await
        .unwrap()
        .data()
        .await
        .unwrap();
    let algos = QueryAllAlgoOrdersParams {
        symbol: SYMBOL.to_owned(),
        algo_id: None,
        start_time: None,
        end_time: None,
        limit: None,
        recv_window: Some(60_000),
    };
    let algos = client.query_all_algo_orders(algos).await.unwrap();
    let algos = algos.data().await.unwrap();
    let ordinary = orders.into_iter().filter_map(|o| o.client_order_id);
    let conditional = algos.into_iter().filter_map(|o| o.client_algo_id);
    for ids in [ordinary.collect::<Vec<_>>(), conditional.collect()] {
        let ours: Vec<String> = ids.into_iter().filter(|id| id.starts_with("ba-")).collect();
        let once: BTreeSet<&String> = ours.iter().collect();
        assert_eq!(
            once.len(),
            ours.len(),
            "an id is on the exchange twice: {ours:?}"
        );
    }
}
