//! One run of a live position behind a gateway: its account begun, its trader started, ended and started
//! again, its end held against the exchange.

use std::time::Duration;

use super::step::{Initiator, Step, TraderEnd};
use super::{LiveSystem, PriceMove};
use crate::gateway::{Gateway, HeldCall, HoldPoint};
use crate::trader::{Trader, TraderSetup};
use crate::wait::DEFAULT_TIMEOUT;

/// Within this a trader that is told to ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(12);
const STEP_TIMEOUT: Duration = Duration::from_secs(90);

/// A system with one trader.
pub struct LiveScenario {
    /// Bus and exchange.
    pub system: LiveSystem,
    /// What the trader takes for the exchange.
    pub gateway: Gateway,
    setup: TraderSetup,
    trader: Option<Trader>,
}

impl LiveScenario {
    /// Begins the account; starts nobody yet.
    pub async fn prepare(moves: &[PriceMove], speed: &str) -> Self {
        let system = LiveSystem::start_without_account(moves, speed).await;
        let gateway = Gateway::start(system.exchange.address()).await;
        // An account is named after the address that it is reached by.
        let setup = system
            .trader_setup("one")
            .env("BINANCE_REST_URL", &gateway.url());
        let (code, said) = system.run_command_with(&setup, "init --account").await;
        assert_eq!(code, 0, "{said}");
        Self {
            system,
            gateway,
            setup,
            trader: None,
        }
    }

    /// Starts the trader.
    pub fn start_trader(&mut self) {
        self.trader = Some(self.setup.start());
    }

    /// Starts another instance.
    pub fn start_another(&self, name: &str) -> Trader {
        self.trader_setup(name).start()
    }

    /// Who reaches the exchange in the same way.
    fn trader_setup(&self, name: &str) -> TraderSetup {
        let setup = self.system.trader_setup(name);
        setup.env("BINANCE_REST_URL", &self.gateway.url())
    }

    /// Starts the trader and has everything happen up to this step, whose call is held.
    pub async fn run_until(&mut self, step: &Step, when: HoldPoint) -> HeldCall {
        if step.initiator == Initiator::Operator {
            self.start_trader();
            self.system.wait_until_protected().await;
        }
        let mut held = (self.gateway).hold_call(step.method, step.path, step.skip, when);
        match step.initiator {
            Initiator::Market => self.start_trader(),
            Initiator::Operator => self.flatten().await,
        }
        held.wait_until_held(STEP_TIMEOUT).await;
        held
    }

    /// A person closes everything; returns when the word is stored.
    pub async fn flatten(&self) {
        let person = self.trader_setup("person");
        let words = "flatten --confirm --reason tried";
        let (code, said) = self.system.run_command_with(&person, words).await;
        assert_eq!(code, 0, "{said}");
    }

    /// Ends the trader. One that is asked to has time for it.
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
                // Its account may be latched, and all closed.
                assert!(matches!(code, 0 | 21), "ended with {code}");
            }
        }
        self.trader = None;
    }

    /// Waits for the end of the entry and holds it against the exchange. An entry that never reached the
    /// exchange makes no trade.
    pub async fn finish(&mut self, by: Initiator) {
        if self.trader.is_none() {
            self.start_trader();
        }
        self.system.wait_until_flat().await;
        self.system.audit().await;
        if let (Initiator::Operator, Some(trader)) = (by, &mut self.trader) {
            assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, 21);
        }
    }
}
