//! One run of a live position behind a gateway: initializes the account, starts, ends and restarts the trader,
//! and compares the result with the exchange. Entry point: [`LiveScenario`].

use std::time::{Duration, Instant};

use super::step::{Initiator, Step, TraderEnd};
use super::{LiveSystem, PriceMove};
use crate::gateway::{Gateway, HeldCall, HoldPoint};
use crate::trader::{Trader, TraderSetup};
use crate::wait::DEFAULT_TIMEOUT;

/// Time within which a trader exits after SIGTERM.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(12);
const STEP_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a position may be without a working stop beyond the outage itself: a trader that starts again reads its
/// journal and the exchange first.
const UNPROTECTED_LIMIT: Duration = Duration::from_secs(10);

/// A live system with a gateway and one trader.
pub struct LiveScenario {
    /// Bus, exchange and operator.
    pub system: LiveSystem,
    /// Proxy through which the trader calls the exchange.
    pub gateway: Gateway,
    setup: TraderSetup,
    trader: Option<Trader>,
    outage: Option<Outage>,
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
        let system = LiveSystem::start_without_account(moves, speed).await;
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
    }

    /// Waits until the book is flat after its entry and compares it with the exchange. An entry that never reached
    /// the exchange makes no trade. Returns the longest time without a working stop, which must not exceed the outage
    /// by more than a limit.
    pub async fn finish(&mut self, initiator: Initiator) -> Duration {
        if self.trader.is_none() {
            self.start_trader();
        }
        self.system.wait_until_flat().await;
        self.system.audit().await;
        if let (Initiator::Operator, Some(trader)) = (initiator, &mut self.trader) {
            assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, 21);
        }
        let outage = self.outage.map_or(Duration::ZERO, |o| o.until - o.from);
        let longest = self.system.longest_unprotected().await;
        assert!(
            longest <= outage + UNPROTECTED_LIMIT,
            "the position was {longest:.1?} without a working stop; the outage lasted {outage:.1?}"
        );
        longest
    }
}
