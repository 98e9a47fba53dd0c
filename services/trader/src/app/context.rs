//! What all tasks of a trader process share. Created once at the start, never changed.

use std::sync::Arc;
use std::time::Duration;

use exchange::{DataClient, ExecutionClient};
use protocol::event::EventBody;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::components::ProcessStatus;
use runtime::identity::Identity;
use runtime::outbox::Outbox;
use rust_decimal::Decimal;
use trader_core::book::BookConfig;

use super::managed_symbols::ManagedSymbols;
use crate::account::monitor::AccountMonitor;
use crate::account::protection_status::ProtectionStatus;
use crate::books::book_registry::BookRegistry;
use crate::books::core_calls::InFlightCalls;
use crate::books::symbol_rules::SymbolRules;
use crate::books::warm_up_queue::WarmUpQueue;

/// What all parts of one trader process share.
pub struct Context {
    /// Connection to the bus.
    pub bus: Bus,
    /// Instance and boot of this process.
    pub identity: Identity,
    /// Account whose books this process trades.
    pub account: AccountKey,
    /// The symbols whose books this process manages.
    pub symbols: ManagedSymbols,
    /// What the exchange lists about each of them.
    pub symbol_rules: SymbolRules,
    /// Capital of each book in USDT.
    pub slice: Decimal,
    /// How long a difference of the exchange's balance must last before it stops entries.
    pub balance_grace: Duration,
    /// Configuration of the books.
    pub config: BookConfig,
    /// Client for the exchange's market data, and the feed of closed candles.
    pub data_client: Arc<dyn DataClient>,
    /// Client for orders; `None` on paper.
    pub execution_client: Option<Arc<dyn ExecutionClient>>,
    /// Queue of events for the operator and other services.
    pub outbox: Outbox,
    /// Component counters for heartbeats and metrics.
    pub process_status: Arc<ProcessStatus>,
    /// Newest report of the account leader.
    pub account_monitor: Arc<AccountMonitor>,
    /// Positions without a stop.
    pub protection_status: Arc<ProtectionStatus>,
    /// Newest state of each book of this process.
    pub book_registry: Arc<BookRegistry>,
    /// The order in which the books warm up.
    pub warm_up_queue: Arc<WarmUpQueue>,
    /// Calls to `trader_core` that are in flight.
    pub core_calls: Arc<InFlightCalls>,
    /// Trading flags of the command line.
    pub args: TraderArgs,
}

impl Context {
    /// Leverage as the exchange expects it: a whole number.
    pub fn leverage(&self) -> u8 {
        u8::try_from(self.config.leverage).unwrap_or(1)
    }

    /// The symbols whose books this process manages: traded ones, and removed ones with a position.
    pub fn managed_symbols(&self) -> impl Iterator<Item = &SubjectToken> {
        self.symbols.all()
    }

    /// Whether this process manages the book of a symbol.
    pub fn is_managed(&self, symbol: &SubjectToken) -> bool {
        self.symbols.traded.contains(symbol) || self.is_removed(symbol)
    }

    /// Whether a symbol was removed from the settings, so that its book is wound down.
    pub fn is_removed(&self, symbol: &SubjectToken) -> bool {
        self.symbols.removed.contains(symbol)
    }

    /// The event that announces this process.
    pub fn started_event(&self) -> EventBody {
        EventBody::TraderStarted {
            mode: self.args.mode(),
            symbols: self.symbols.traded.iter().cloned().collect(),
            flags: std::env::args().skip(1).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            missed_signals: self.book_registry.missed_signals(),
        }
    }
}
