//! Bus and exchange together, and the questions that most tests ask of them.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ids::BookKey;
use runtime::bus::Bus;
use runtime::streams;
use trader_core::book::BookRecord;

use crate::audit;
use crate::bus_reader;
use crate::exchange::Exchange;
use crate::journals::{self, Batches};
use crate::nats::{NatsServer, Role};
use crate::trader::{Trader, TraderSetup};
use crate::wait::eventually;

/// Everything but traders.
pub struct System {
    /// The bus, with its streams.
    pub nats: NatsServer,
    /// The exchange.
    pub exchange: Exchange,
    operator: Bus,
}

impl System {
    /// Starts bus and exchange, the latter with these settings.
    pub async fn start(exchange: &[(&str, &str)]) -> Self {
        let nats = NatsServer::with_streams().await;
        let exchange = Exchange::start(exchange).await;
        let operator = nats.bus(Role::Operator).await;
        Self {
            nats,
            exchange,
            operator,
        }
    }

    /// How to start a trader of this name here.
    pub fn trader_setup(&self, name: &str) -> TraderSetup {
        TraderSetup::new(name, &self.nats, &self.exchange)
    }

    /// The operator's eyes.
    pub const fn operator_bus(&self) -> &Bus {
        &self.operator
    }

    /// Every journal now.
    pub async fn journals(&self) -> BTreeMap<BookKey, Batches> {
        journals::read_paper(&self.operator).await
    }

    /// Waits until so many positions have been closed since the first boot.
    pub async fn wait_for_trades(&self, count: usize, within: Duration) {
        eventually(&format!("{count} trades"), within, async || {
            let journals = self.journals().await;
            (journals::count_trades(journals.values()) >= count).then_some(())
        })
        .await;
    }

    /// Waits until a record like this is in a journal.
    pub async fn wait_for_record(
        &self,
        what: &str,
        within: Duration,
        matches: impl Fn(&BookRecord) -> bool,
    ) -> BookRecord {
        eventually(what, within, async || {
            let journals = self.journals().await;
            let found = journals::records(journals.values()).find(|r| matches(r));
            found.cloned()
        })
        .await
    }

    /// Fills the stream of events up, or ends that.
    pub async fn set_events_full(&self, full: bool) {
        let bus = self.nats.bus(Role::BusInit).await;
        let stream = bus.jetstream().get_stream(streams::EVENTS).await.unwrap();
        let info = stream.cached_info();
        let held = i64::try_from(info.state.messages).unwrap();
        let mut config = info.config.clone();
        config.max_messages = if full { held } else { -1 };
        bus.jetstream().update_stream(config).await.unwrap();
    }

    /// Holds every journal against the exchange's candles, and the events against the journals,
    /// once this trader has caught up. What the exchange did long before now must be in the journals.
    /// Returns how many positions were closed.
    pub async fn audit(&self, trader: &Trader) -> usize {
        let managed_until = self.exchange.now().await;
        let patience = Duration::from_secs(90);
        bus_reader::wait_until_caught_up(&self.operator, trader.instance(), patience).await;
        self.audit_until(managed_until.0 - audit::SLACK_MS).await
    }

    /// The same for traders that are gone: stops and targets are checked up to this time.
    pub async fn audit_until(&self, managed_until_ms: i64) -> usize {
        let journals = self.journals().await;
        for (key, entries) in &journals {
            let symbol = key.symbol.as_str();
            let market = audit::MarketData::fetch(&self.exchange, symbol, entries).await;
            audit::audit_journal(key, entries, &market, managed_until_ms);
        }
        let within = Duration::from_secs(20);
        eventually("every event that a journal owes", within, async || {
            let told = bus_reader::stored_events(&self.operator).await;
            audit::missing_events(&journals, &told)
                .is_empty()
                .then_some(())
        })
        .await;
        // In this order: whatever was told by now is in a journal read later.
        let told = bus_reader::stored_events(&self.operator).await;
        audit::audit_events(&self.journals().await, &told);
        journals::count_trades(journals.values())
    }
}
