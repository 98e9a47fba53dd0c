//! One run of a live position behind a gateway: initializes the account, starts, ends and restarts the trader,
//! and compares the result with the exchange. Entry point: [`LiveScenario`].

use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use trader_core::book::{BookPhase, BookRecord, BookState, Position};

use super::audit::{AuditedProfit, exchange_position};
use super::step::{Initiator, Step, TRADES, TraderEnd};
use super::{LiveSetup, LiveSystem, PriceMove, SYMBOL};
use crate::exchange_client::{TRADE_PAGES, text};
use crate::gateway::{Gateway, HeldCall, HoldPoint};
use crate::journals;
use crate::trader::{Trader, TraderSetup};
use crate::wait::DEFAULT_TIMEOUT;

/// Time within which a trader exits after SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(12);
const STEP_TIMEOUT: Duration = Duration::from_secs(90);
/// Time within which the book is flat after its entry.
const FLAT_TIMEOUT: Duration = Duration::from_mins(2);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Exit code that no supervisor restarts: only the operator can change its cause.
const CONFIGURATION_ERROR: i32 = 78;
/// Exit code of a trader whose account is latched and whose positions are closed.
const LATCHED: i32 = 21;
/// How often a trader that exits is restarted, and how often a halt is ended.
const MAX_REPEATS: usize = 3;
/// How long a position may be without a working stop beyond the outage itself.
const UNPROTECTED_LIMIT: Duration = Duration::from_secs(5);
/// The same if the trader has ended: one that starts again reads its journal and the exchange first.
const UNPROTECTED_LIMIT_AFTER_RESTART: Duration = Duration::from_secs(10);

/// How a run is expected to end.
#[derive(Debug, Clone, Copy)]
pub struct Expectation {
    /// What closes the position.
    pub initiator: Initiator,
    /// Whether the book may halt. A halt must end by the command that its message names.
    pub may_halt: bool,
    /// Whether a position must have been open. An entry that never reached the exchange makes no trade.
    pub must_trade: bool,
    /// What the change of the wallet must equal.
    pub profit: AuditedProfit,
}

impl From<Initiator> for Expectation {
    fn from(initiator: Initiator) -> Self {
        Self {
            initiator,
            may_halt: false,
            must_trade: false,
            profit: AuditedProfit::Book,
        }
    }
}

/// A live system with a gateway and one trader.
pub struct LiveScenario {
    /// Bus, exchange and operator.
    pub system: LiveSystem,
    /// Proxy through which the trader calls the exchange.
    pub gateway: Gateway,
    setup: TraderSetup,
    trader: Option<Trader>,
    outage: Option<Outage>,
    /// Whether a trader has ended.
    has_restarted: bool,
}

/// A time in which the trader could not do its work: a call was held, a fault lasted, or the trader was down.
#[derive(Debug, Clone, Copy)]
struct Outage {
    from: Instant,
    until: Instant,
}

impl LiveScenario {
    /// Starts bus, exchange and gateway and initializes the account. Does not start a trader.
    pub async fn prepare(moves: &[PriceMove], speed: &str) -> Self {
        Self::prepare_with(LiveSetup::new(moves, speed)).await
    }

    /// As [`Self::prepare`], with this market and account.
    pub async fn prepare_with(setup: LiveSetup<'_>) -> Self {
        let system = LiveSystem::start_with(setup).await;
        let gateway = Gateway::start(system.exchange.address()).await;
        // The account is named after the address of its exchange, here the gateway.
        let setup = system
            .trader_setup("one")
            .env("BINANCE_REST_URL", &gateway.url());
        let (code, output) = system.run_command_with(&setup, "init --account").await;
        assert_eq!(code, 0, "{output}");
        Self {
            system,
            gateway,
            setup,
            trader: None,
            outage: None,
            has_restarted: false,
        }
    }

    /// Starts the trader of this scenario.
    pub fn start_trader(&mut self) {
        self.trader = Some(self.setup.start());
        self.extend_outage();
    }

    /// States that an outage begins now, unless one has begun before.
    pub fn begin_outage(&mut self) {
        let now = Instant::now();
        self.outage.get_or_insert(Outage {
            from: now,
            until: now,
        });
    }

    /// States that the outage, if one has begun, has lasted until now.
    pub fn extend_outage(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.until = Instant::now();
        }
    }

    /// Starts another trader instance.
    pub fn start_another(&self, name: &str) -> Trader {
        self.trader_setup(name).start()
    }

    /// Setup of a trader that calls the exchange through the gateway.
    fn trader_setup(&self, name: &str) -> TraderSetup {
        let setup = self.system.trader_setup(name);
        setup.env("BINANCE_REST_URL", &self.gateway.url())
    }

    /// Starts the trader and runs until the call of `step`, which is held.
    pub async fn run_until(&mut self, step: &Step, hold_point: HoldPoint) -> HeldCall {
        if step.initiator == Initiator::Operator {
            self.start_trader();
            self.system.wait_until_protected().await;
        }
        let mut held = (self.gateway).hold_call(step.method, step.path, step.skip, hold_point);
        match step.initiator {
            Initiator::Market => self.start_trader(),
            Initiator::Operator => self.flatten().await,
        }
        held.wait_until_held(STEP_TIMEOUT).await;
        self.begin_outage();
        held
    }

    /// Runs `trader flatten`; returns when the command is stored.
    pub async fn flatten(&self) {
        let operator = self.trader_setup("operator");
        let arguments = "flatten --confirm --reason tried";
        let (code, output) = self.system.run_command_with(&operator, arguments).await;
        assert_eq!(code, 0, "{output}");
    }

    /// Ends the trader. Waits for a graceful shutdown after SIGTERM.
    pub async fn end_trader(&mut self, end: TraderEnd) {
        let Some(trader) = &mut self.trader else {
            return;
        };
        match end {
            TraderEnd::Survives => return,
            TraderEnd::Killed => trader.kill(),
            TraderEnd::Stopped => {
                trader.signal("TERM");
                let code = trader.exit_within(SHUTDOWN_TIMEOUT).await;
                // 21: the account is latched and every position is closed.
                assert!(matches!(code, 0 | 21), "exit code {code}");
            }
        }
        self.trader = None;
        self.has_restarted = true;
    }

    /// Waits until the book is flat after its entry and compares it with the exchange. An entry that never reached
    /// the exchange makes no trade. Returns the longest time without a working stop, which must not exceed the outage
    /// by more than a limit.
    pub async fn finish(&mut self, expected: impl Into<Expectation>) -> Duration {
        let expected = expected.into();
        if self.trader.is_none() {
            self.start_trader();
        }
        self.wait_until_flat(expected).await;
        // What is left of a fault must not meet the audit's own calls.
        self.system.exchange.clear_faults().await;
        self.system.audit_with(expected.profit).await;
        if let (Initiator::Operator, Some(trader)) = (expected.initiator, &mut self.trader) {
            assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, LATCHED);
        }
        if expected.must_trade {
            let trades = self.system.book_state().await.trades;
            assert!(trades > 0, "no position was opened");
        }
        let outage = self.outage.map_or(Duration::ZERO, |o| o.until - o.from);
        let longest = self.system.longest_unprotected().await;
        let limit = if self.has_restarted {
            UNPROTECTED_LIMIT_AFTER_RESTART
        } else {
            UNPROTECTED_LIMIT
        };
        assert!(
            longest <= outage + limit,
            "the position was {longest:.1?} without a working stop; the outage lasted {outage:.1?}"
        );
        longest
    }

    /// Waits until the book has entered and is flat again. Restarts a trader that exits, as a supervisor does, and
    /// ends a halt that is allowed.
    async fn wait_until_flat(&mut self, expected: Expectation) {
        let deadline = Instant::now() + FLAT_TIMEOUT;
        let (mut restarts, mut halts) = (0, 0);
        loop {
            let journal = self.system.read_journal().await;
            let book = journals::fold_book(&journal);
            let entered = |r: &BookRecord| matches!(r, BookRecord::EntryDecided(_));
            let has_entered = journals::records([&journal]).any(entered);
            match &book.phase {
                BookPhase::Flat if has_entered => return,
                BookPhase::Halted {
                    reason, position, ..
                } => {
                    assert!(
                        expected.may_halt && halts < MAX_REPEATS,
                        "the book halted {} times: {reason}",
                        halts + 1
                    );
                    halts += 1;
                    self.end_halt(position.as_ref()).await;
                }
                _ => self.check_trader(expected, &mut restarts).await,
            }
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "{}", self.not_flat(&book).await);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// What is known of a book that is not flat in time.
    async fn not_flat(&self, book: &BookState) -> String {
        let position = exchange_position(&self.system.exchange_client()).await;
        let longest = self.system.longest_unprotected().await;
        format!(
            "the book is {} after {FLAT_TIMEOUT:?}; position on the exchange {position}, {longest:.1?} without a stop",
            book.phase.as_str()
        )
    }

    /// Restarts the trader if it has exited. Panics if nothing but the operator would restart it, or if the book is halted
    /// and the journal does not say so.
    async fn check_trader(&mut self, expected: Expectation, restarts: &mut usize) {
        let Some(trader) = &mut self.trader else {
            return;
        };
        if trader.is_running() {
            let halted = trader.out().into_iter().find(|l| l.contains("book halted"));
            if let Some(line) = halted.filter(|_| !expected.may_halt) {
                panic!("the book is halted: {line}");
            }
            return;
        }
        let code = trader.exit_within(SHUTDOWN_TIMEOUT).await;
        if code == LATCHED && expected.initiator == Initiator::Operator {
            return;
        }
        let error = trader.err().into_iter().next_back().unwrap_or_default();
        assert!(
            code != CONFIGURATION_ERROR && *restarts < MAX_REPEATS,
            "the trader exited with code {code} for the {}. time: {error}",
            *restarts + 1
        );
        *restarts += 1;
        self.has_restarted = true;
        self.start_trader();
    }

    /// Ends a halt with the commands of the runbook: a position that is gone from the exchange is stated as closed, and
    /// one that differs from the book's is closed manually first.
    async fn end_halt(&self, position: Option<&Position>) {
        let client = self.system.exchange_client();
        let of_book = position.map_or(Decimal::ZERO, Position::signed_quantity);
        let held = exchange_position(&client).await;
        if held != of_book && !held.is_zero() {
            let side = if held.is_sign_positive() {
                "SELL"
            } else {
                "BUY"
            };
            self.system.place_manual_order(side, held.abs()).await;
        }
        let mut arguments = vec![format!("unhalt --symbol {SYMBOL} --reason tried")];
        if held != of_book && position.is_some() {
            let fills = client.list(TRADES, SYMBOL, TRADE_PAGES).await;
            let price = fills.last().map(|fill| text(fill, "price").to_owned());
            arguments.push(format!("--closed-at {}", price.unwrap_or_default()));
        }
        let arguments = arguments.join(" ");
        let operator = self.trader_setup("operator");
        let (code, output) = self.system.run_command_with(&operator, &arguments).await;
        assert_eq!(code, 0, "{arguments}: {output}");
    }
}
