//! One run of a live position behind a gateway: its account begun, its trader started, ended and started
//! again, its end held against the exchange.

use std::time::Duration;

use super::step::{By, End, Step};
use super::{LiveSystem, Move};
use crate::gateway::{Gateway, Held, When};
use crate::patience::SOON;
use crate::trader::{Setup, Trader};

/// Within this a trader that is told to ends.
const DRAINED: Duration = Duration::from_secs(12);
const WITHIN: Duration = Duration::from_secs(90);

/// A system with one trader.
pub struct Run {
    /// Bus and exchange.
    pub system: LiveSystem,
    /// What the trader takes for the exchange.
    pub gateway: Gateway,
    setup: Setup,
    trader: Option<Trader>,
}

impl Run {
    /// Begins the account; starts nobody yet.
    pub async fn begin(moves: &[Move], speed: &str) -> Self {
        let system = LiveSystem::bare(moves, speed).await;
        let gateway = Gateway::to(system.exchange.address()).await;
        // An account is named after the address that it is reached by.
        let setup = system.trader("one").env("BINANCE_REST_URL", &gateway.url());
        let (code, said) = system.command_of(&setup, "init --account").await;
        assert_eq!(code, 0, "{said}");
        Self {
            system,
            gateway,
            setup,
            trader: None,
        }
    }

    /// Starts the trader.
    pub fn start(&mut self) {
        self.trader = Some(self.setup.start());
    }

    /// Starts another instance.
    pub fn another(&self, name: &str) -> Trader {
        self.setup_of(name).start()
    }

    /// Who reaches the exchange in the same way.
    fn setup_of(&self, name: &str) -> Setup {
        let setup = self.system.trader(name);
        setup.env("BINANCE_REST_URL", &self.gateway.url())
    }

    /// Starts the trader and has everything happen up to this step, whose call is held.
    pub async fn up_to(&mut self, step: &Step, when: When) -> Held {
        if step.by == By::Person {
            self.start();
            self.system.guarded().await;
        }
        let mut held = (self.gateway).hold(step.method, step.path, step.skip, when);
        match step.by {
            By::Market => self.start(),
            By::Person => self.flatten().await,
        }
        held.caught(WITHIN).await;
        held
    }

    /// A person closes everything; returns when the word is stored.
    pub async fn flatten(&self) {
        let person = self.setup_of("person");
        let words = "flatten --confirm --why tried";
        let (code, said) = self.system.command_of(&person, words).await;
        assert_eq!(code, 0, "{said}");
    }

    /// Ends the trader. One that is asked to has time for it.
    pub async fn end(&mut self, how: End) {
        let Some(trader) = &mut self.trader else {
            return;
        };
        match how {
            End::Never => return,
            End::Killed => trader.kill(),
            End::Stopped => {
                trader.signal("TERM");
                let code = trader.exit_within(DRAINED).await;
                // Its account may be latched, and all closed.
                assert!(matches!(code, 0 | 21), "ended with {code}");
            }
        }
        self.trader = None;
    }

    /// Waits for the end of the entry and holds it against the exchange. An entry that never reached the
    /// exchange makes no trade.
    pub async fn over(&mut self, by: By) {
        if self.trader.is_none() {
            self.start();
        }
        self.system.over().await;
        self.system.audit().await;
        if let (By::Person, Some(trader)) = (by, &mut self.trader) {
            assert_eq!(trader.exit_within(SOON).await, 21);
        }
    }
}
