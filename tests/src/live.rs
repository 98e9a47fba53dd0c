//! A live account on the simulated exchange: a market with one entry, traders that send real orders, and an
//! audit that queries the exchange by itself. Entry point: [`LiveSystem`].
//! `live/step.rs`: the steps of a position's life; `live/scenario.rs`: one run of a position behind a gateway;
//! `live/audit.rs`: the comparison of journal and exchange; `live/protection.rs`: for how long a position had no
//! working stop.

pub mod audit;
pub mod protection;
pub mod scenario;
pub mod step;

pub use audit::{SYMBOL, is_protected};

use std::time::{Duration, Instant};

use protocol::ids::Mode;
use runtime::bus::Bus;
use rust_decimal::{Decimal, dec};
use serde_json::Value;
use tempfile::TempDir;
use trader_core::book::{BookPhase, BookRecord, BookState};
use trader_core::orders::{ClientOrderId, Leg};

use crate::candle_file::{WARM_UP_MINUTES, csv};
use crate::exchange::Exchange;
use crate::exchange_client::ExchangeClient;
use crate::journals::{self, Batches};
use crate::live::audit::AuditedProfit;
use crate::nats::{NatsServer, Role};
use crate::trader::TraderSetup;
use crate::wait::{DEFAULT_TIMEOUT, eventually};

/// Balance of the account, and capital of the trader, in USDT: what 0.25 BTC need as margin at the price that the exchange
/// assumes, with the fee.
pub const BALANCE: Decimal = dec!(10_030);
/// API key of the account.
pub const API_KEY: &str = "livekey";
const API_SECRET: &str = "livesecret";
/// Time within which journal and exchange agree.
const AUDIT_TIMEOUT: Duration = Duration::from_mins(1);
/// The audit shares its request weight with the trader: both call from one address.
const AUDIT_INTERVAL: Duration = Duration::from_secs(1);
/// Minutes from the start of the exchange to the close of the bar that triggers the entry.
const LEAD_MINUTES: i64 = 2;
/// Minutes of market after that close.
const PLAYED_MINUTES: i64 = 2_000;

/// A price move: minutes after the close of the entry's bar, and size in tenths of a USDT.
pub type PriceMove = (i64, i64);

/// A rise that reaches the target of a long position.
pub const UP: i64 = 6_000;
/// A fall that reaches the stop of a long position.
pub const DOWN: i64 = -1_500;

/// Candle file of a market that alternates half hours of equal small moves up and down. Three moves down in a
/// row make the entry's bar oversold. Afterwards the price changes only by `moves`. The entry's bar closes
/// `entry_minute` minutes after midnight.
fn market_csv(moves: &[PriceMove], entry_minute: i64) -> String {
    let (past, mut last) = (WARM_UP_MINUTES + entry_minute, 400_000);
    csv((0..past + PLAYED_MINUTES).map(|n| {
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

/// The market and the account of a test.
#[derive(Debug, Clone, Copy)]
pub struct LiveSetup<'a> {
    /// Price moves after the entry.
    pub moves: &'a [PriceMove],
    /// Speed of the exchange.
    pub speed: &'a str,
    /// Minutes after midnight at which the entry's bar closes, at a full or half hour.
    pub entry_minute: i64,
    /// Initial balance of the account in USDT. The trader uses no more than its own capital.
    pub balance: Decimal,
}

impl<'a> LiveSetup<'a> {
    /// An entry at midnight, and a balance of the trader's capital.
    pub const fn new(moves: &'a [PriceMove], speed: &'a str) -> Self {
        Self {
            moves,
            speed,
            entry_minute: 0,
            balance: BALANCE,
        }
    }
}

/// Bus, exchange and an operator's connection.
pub struct LiveSystem {
    /// nats-server with its streams.
    pub nats: NatsServer,
    /// Simulated exchange with the market of the test.
    pub exchange: Exchange,
    operator: Bus,
    speed: u64,
    /// Initial balance of the account in USDT.
    balance: Decimal,
    _market: TempDir,
}

impl LiveSystem {
    /// Starts an exchange whose market makes these moves, at this speed, and initializes the account.
    pub async fn start(moves: &[PriceMove], speed: &str) -> Self {
        let system = Self::start_without_account(moves, speed).await;
        system.init_account().await;
        system
    }

    /// As [`Self::start`], without initializing the account.
    pub async fn start_without_account(moves: &[PriceMove], speed: &str) -> Self {
        Self::start_with_entry_at(moves, speed, 0).await
    }

    /// As [`Self::start_without_account`]. The entry's bar closes `entry_minute` minutes after midnight, at a full
    /// or half hour.
    pub async fn start_with_entry_at(moves: &[PriceMove], speed: &str, entry_minute: i64) -> Self {
        let setup = LiveSetup {
            entry_minute,
            ..LiveSetup::new(moves, speed)
        };
        Self::start_with(setup).await
    }

    /// Starts an exchange with this market and account, without initializing the account on the bus.
    pub async fn start_with(setup: LiveSetup<'_>) -> Self {
        let LiveSetup {
            moves,
            speed,
            entry_minute,
            balance,
        } = setup;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("candles.csv");
        std::fs::write(&file, market_csv(moves, entry_minute)).unwrap();
        let nats = NatsServer::with_streams().await;
        let exchange = Exchange::start(&[
            ("SIM_MARKET", "replay"),
            ("SIM_CANDLES_FILE", file.to_str().unwrap()),
            (
                "SIM_WARMUP_CANDLES",
                &(WARM_UP_MINUTES + entry_minute - LEAD_MINUTES).to_string(),
            ),
            ("SIM_SPEED", speed),
            ("SIM_API_KEYS", &format!("{API_KEY}:{API_SECRET}:trade")),
            ("SIM_FAULT_API", "1"),
            ("SIM_BALANCE_USDT", &balance.to_string()),
        ])
        .await;
        let operator = nats.bus(Role::Operator).await;
        Self {
            nats,
            exchange,
            operator,
            speed: speed.parse().unwrap(),
            balance,
            _market: folder,
        }
    }

    /// Runs `trader init --account`, which must succeed.
    pub async fn init_account(&self) {
        let (code, output) = self.run_command("init", "init --account").await;
        assert_eq!(code, 0, "{output}");
    }

    /// Runs a trader command under this instance name; returns its exit code and its output.
    pub async fn run_command(&self, name: &str, arguments: &str) -> (i32, String) {
        self.run_command_with(&self.trader_setup(name), arguments)
            .await
    }

    /// Runs a trader command with the settings of `setup`; returns its exit code and its output.
    pub async fn run_command_with(&self, setup: &TraderSetup, arguments: &str) -> (i32, String) {
        let setup = setup.clone().flags(arguments);
        let mut process = setup.start().into_process();
        let code = process.exit_within(DEFAULT_TIMEOUT).await;
        let output = [process.out(), process.err()].concat().join("\n");
        (code, output)
    }

    /// Setup of a live trader with this instance name.
    pub fn trader_setup(&self, name: &str) -> TraderSetup {
        TraderSetup::new(name, &self.nats, &self.exchange)
            .with_bus(&self.nats, Role::TraderLive)
            .env("BINANCE_API_KEY", API_KEY)
            .env("BINANCE_API_SECRET", API_SECRET)
            .env("CAPITAL_USDT", &BALANCE.to_string())
            .env("RECV_WINDOW_MS", "60000")
            .env("SYMBOLS", SYMBOL)
            .flags("--infinite --auto-restart --confirm-live")
    }

    /// The operator's connection to the bus.
    pub const fn operator_bus(&self) -> &Bus {
        &self.operator
    }

    /// Reads the book's journal; empty if there is none.
    pub async fn read_journal(&self) -> Batches {
        let mut journals = journals::read_mode(&self.operator, Mode::Live).await;
        journals
            .pop_first()
            .map(|(_, entries)| entries)
            .unwrap_or_default()
    }

    /// Folds the book's journal into its state.
    pub async fn book_state(&self) -> BookState {
        journals::fold_book(&self.read_journal().await)
    }

    /// Waits for a record of the book's journal that `matches` accepts.
    pub async fn wait_for_record(
        &self,
        what: &str,
        matches: impl Fn(&BookRecord) -> bool,
    ) -> BookRecord {
        eventually(what, Duration::from_secs(90), async || {
            let journal = self.read_journal().await;
            journals::records([&journal]).find(|r| matches(r)).cloned()
        })
        .await
    }

    /// Waits until a position is open and its stop and target rest on the exchange.
    pub async fn wait_until_protected(&self) {
        eventually(
            "a position with its protective orders",
            Duration::from_secs(90),
            async || is_protected(&self.book_state().await).then_some(()),
        )
        .await;
    }

    /// Waits until the book has entered and is flat again.
    pub async fn wait_until_flat(&self) {
        eventually(
            "the book is flat after its entry",
            Duration::from_mins(2),
            async || {
                let journal = self.read_journal().await;
                let book = journals::fold_book(&journal);
                let entered = |r: &BookRecord| matches!(r, BookRecord::EntryDecided(_));
                let entered = journals::records([&journal]).any(entered);
                (entered && book.phase == BookPhase::Flat).then_some(())
            },
        )
        .await;
    }

    /// Waits until `count` positions are closed and the book is flat.
    pub async fn wait_for_trades(&self, count: u64) {
        let within = Duration::from_secs(90);
        eventually(&format!("{count} trades"), within, async || {
            let book = self.book_state().await;
            (book.trades >= count && book.phase == BookPhase::Flat).then_some(())
        })
        .await;
    }

    /// Arms a fault of the exchange.
    pub async fn arm_fault(&self, fault: &Value) {
        self.exchange.arm_fault(fault).await;
    }

    /// Places a market order that is not the trader's, as the operator could do on the exchange's site.
    pub async fn place_manual_order(&self, side: &str, quantity: Decimal) {
        let client = self.exchange_client();
        client.place_market_order(SYMBOL, side, quantity).await;
    }

    /// Waits until no conditional order is open on the exchange.
    pub async fn wait_until_nothing_rests(&self) {
        eventually("no conditional order rests", DEFAULT_TIMEOUT, async || {
            audit::resting_orders(&self.exchange_client())
                .await
                .is_empty()
                .then_some(())
        })
        .await;
    }

    /// Whether the exchange has a stop order for its position, or no position.
    pub async fn is_protected_on_exchange(&self) -> bool {
        let client = self.exchange_client();
        let rests = audit::resting_orders(&client).await;
        let mut legs = rests
            .keys()
            .map(|id| ClientOrderId::from_exchange(id).leg());
        audit::exchange_position(&client).await.is_zero() || legs.any(|leg| leg == Leg::Stop)
    }

    /// For how long a long position was without a working stop at a time, at most, by the exchange's own times. Host
    /// time. The market of the tests has long entries only: a short position is the operator's.
    pub async fn longest_unprotected(&self) -> Duration {
        let longest_ms = protection::longest_unprotected_ms(&self.exchange_client(), SYMBOL).await;
        Duration::from_millis(longest_ms.unsigned_abs() / self.speed)
    }

    /// Waits until journal and exchange agree, then checks that every order was executed at most once.
    pub async fn audit(&self) {
        self.audit_with(AuditedProfit::Book).await;
    }

    /// As [`Self::audit`]; `profit` says what the wallet's change must equal.
    pub async fn audit_with(&self, profit: AuditedProfit) {
        let client = self.exchange_client();
        let deadline = Instant::now() + AUDIT_TIMEOUT;
        while let Some(difference) =
            audit::difference(&client, &self.book_state().await, self.balance, profit).await
        {
            assert!(
                Instant::now() < deadline,
                "journal and exchange differ after {AUDIT_TIMEOUT:?}: {difference}"
            );
            tokio::time::sleep(AUDIT_INTERVAL).await;
        }
        audit::assert_executed_once(&client, &self.read_journal().await).await;
    }

    /// Client of the live account that is not the trader's.
    pub fn exchange_client(&self) -> ExchangeClient {
        ExchangeClient::new(&self.exchange, API_KEY, API_SECRET)
    }
}
