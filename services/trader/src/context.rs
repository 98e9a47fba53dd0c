//! What every part of a trader process shares, made once at start and never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::event::EventBody;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::components::ProcessStatus;
use runtime::identity::Identity;
use runtime::outbox::Outbox;
use rust_decimal::Decimal;
use trader_core::book::BookConfig;
use trader_core::symbol_filters::SymbolFilters;

use crate::account::AccountMonitor;
use crate::book_registry::BookRegistry;
use crate::core_calls::InFlightCalls;
use crate::market::{BinanceDataClient, Feed};
use crate::venue::BinanceExecutionClient;

/// One trader process.
pub struct Context {
    /// The bus.
    pub bus: Bus,
    /// Who we are.
    pub identity: Identity,
    /// Whose books we trade.
    pub account: AccountKey,
    /// The symbols, with the exchange's rules for each.
    pub symbol_filters: BTreeMap<SubjectToken, SymbolFilters>,
    /// What a book that opens now gets.
    pub slice: Decimal,
    /// How books are traded.
    pub config: BookConfig,
    /// The exchange's REST side.
    pub data_client: BinanceDataClient,
    /// Closed candles.
    pub feed: Feed,
    /// Where orders go; on paper nowhere.
    pub execution_client: Option<BinanceExecutionClient>,
    /// For the owner.
    pub outbox: Outbox,
    /// For heartbeats.
    pub process_status: Arc<ProcessStatus>,
    /// What is known of the account.
    pub account_monitor: Arc<AccountMonitor>,
    /// What the books say of themselves.
    pub book_registry: Arc<BookRegistry>,
    /// Calls to the books' brains that are under way.
    pub core_calls: Arc<InFlightCalls>,
    /// The command line.
    pub args: TraderArgs,
}

impl Context {
    /// As the exchange wants it said: a whole number.
    pub fn leverage(&self) -> u8 {
        u8::try_from(self.config.leverage).unwrap_or(1)
    }

    /// The event that says this process is at work.
    pub fn started_event(&self) -> EventBody {
        EventBody::TraderStarted {
            mode: self.args.mode(),
            symbols: self.symbol_filters.keys().cloned().collect(),
            flags: std::env::args().skip(1).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
