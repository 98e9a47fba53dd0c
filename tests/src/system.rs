//! Bus and exchange together, with the queries and the audit that most tests need. Entry point: [`System`].

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

/// A bus with its streams and an exchange, without traders.
pub struct System {
    /// nats-server with its streams.
    pub nats: NatsServer,
    /// Simulated exchange that the traders use.
    pub exchange: Exchange,
    operator: Bus,
}

impl System {
    /// Starts the bus, and the exchange with these settings.
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

    /// Setup of a paper trader with this name.
    pub fn trader_setup(&self, name: &str) -> TraderSetup {
        TraderSetup::new(name, &self.nats, &self.exchange)
    }

    /// The operator's connection to the bus.
    pub const fn operator_bus(&self) -> &Bus {
        &self.operator
    }

    /// Reads the journal of every paper book.
    pub async fn journals(&self) -> BTreeMap<BookKey, Batches> {
        journals::read_paper(&self.operator).await
    }

    /// Waits until the journals contain `count` closed positions.
    pub async fn wait_for_trades(&self, count: usize, within: Duration) {
        eventually(&format!("{count} trades"), within, async || {
            let journals = self.journals().await;
            (journals::count_trades(journals.values()) >= count).then_some(())
        })
        .await;
    }

    /// Waits for a record of any journal that `matches` accepts.
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

    /// Limits the stream of events to its present messages, so that it rejects new ones, or lifts that limit.
    pub async fn set_events_full(&self, full: bool) {
        let bus = self.nats.bus(Role::BusInitEvents).await;
        let stream = bus.jetstream().get_stream(streams::EVENTS).await.unwrap();
        let info = stream.cached_info();
        let count = i64::try_from(info.state.messages).unwrap();
        let mut config = info.config.clone();
        config.max_messages = if full { count } else { -1 };
        bus.jetstream().update_stream(config).await.unwrap();
    }

    /// Waits until this trader has caught up, then compares every journal with the exchange's candles and the
    /// events with the journals. Returns the number of closed positions.
    pub async fn audit(&self, trader: &Trader) -> usize {
        let managed_until = self.exchange.now().await;
        let timeout = Duration::from_secs(90);
        bus_reader::wait_until_caught_up(&self.operator, trader.instance(), timeout).await;
        self.audit_until(managed_until.0 - audit::SLACK_MS).await
    }

    /// As [`Self::audit`], without a running trader: stops and targets are checked up to this time.
    pub async fn audit_until(&self, managed_until_ms: i64) -> usize {
        let journals = self.journals().await;
        for (key, entries) in &journals {
            let symbol = key.symbol.as_str();
            let market = audit::MarketData::fetch(&self.exchange, symbol, entries).await;
            audit::audit_journal(key, entries, &market, managed_until_ms);
        }
        let within = Duration::from_secs(20);
        eventually("every event that a journal requires", within, async || {
            let events = bus_reader::stored_events(&self.operator).await;
            audit::missing_events(&journals, &events)
                .is_empty()
                .then_some(())
        })
        .await;
        // Events first: every event stored by now is in a journal that is read later.
        let events = bus_reader::stored_events(&self.operator).await;
        audit::audit_events(&self.journals().await, &events);
        journals::count_trades(journals.values())
    }
}
