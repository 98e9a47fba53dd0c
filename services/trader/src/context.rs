//! What every part of a trader process shares, made once at start and never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::book::BookConfig;
use engine::rules::SymbolRules;
use protocol::event::EventBody;
use protocol::ids::{AccountKey, Token};
use protocol::trader_args::TraderArgs;
use runtime::bus::Bus;
use runtime::events::Events;
use runtime::identity::Identity;
use runtime::progress::Progress;
use rust_decimal::Decimal;

use crate::account::Watch;
use crate::board::Board;
use crate::calls::Calls;
use crate::market::{Feed, Market};
use crate::venue::Venue;

/// One trader process.
pub struct Context {
    /// The bus.
    pub bus: Bus,
    /// Who we are.
    pub identity: Identity,
    /// Whose books we trade.
    pub account: AccountKey,
    /// The symbols, with the exchange's rules for each.
    pub rules: BTreeMap<Token, SymbolRules>,
    /// What a book that opens now gets.
    pub slice: Decimal,
    /// How books are traded.
    pub config: BookConfig,
    /// The exchange's REST side.
    pub market: Market,
    /// Closed candles.
    pub feed: Feed,
    /// Where orders go; on paper nowhere.
    pub venue: Option<Venue>,
    /// For the owner.
    pub events: Events,
    /// For heartbeats.
    pub progress: Arc<Progress>,
    /// What is known of the account.
    pub standing: Arc<Watch>,
    /// What the books say of themselves.
    pub board: Arc<Board>,
    /// Calls to the books' brains that are under way.
    pub calls: Arc<Calls>,
    /// The command line.
    pub args: TraderArgs,
}

impl Context {
    /// As the exchange wants it said: a whole number.
    pub fn leverage(&self) -> u8 {
        u8::try_from(self.config.leverage).unwrap_or(1)
    }

    /// The event that says this process is at work.
    pub fn started(&self) -> EventBody {
        EventBody::TraderStarted {
            mode: self.args.mode(),
            symbols: self.rules.keys().cloned().collect(),
            flags: std::env::args().skip(1).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
