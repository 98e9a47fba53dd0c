//! All accounts of the exchange, the filters, and what has changed since it was last asked. Not here:
//! what changes them (`place.rs`, `cancel.rs`, `settings.rs`, `settle.rs`).

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::account::Account;
use super::record::{Batch, Entry, News, Notice, Record};
use super::refusal::Refusal;
use super::rules::Rules;
use crate::symbols::Contract;

/// Taker's and maker's fee per value, funding per value and 8 hours.
pub const TAKER: Decimal = rust_decimal::dec!(0.0005);
/// As above.
pub const MAKER: Decimal = rust_decimal::dec!(0.0002);
/// As above.
pub const FUNDING: Decimal = rust_decimal::dec!(0.0001);

/// The last id given of each kind.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) order: i64,
    pub(super) algo: i64,
    pub(super) trade: i64,
    pub(super) income: i64,
}

/// All accounts.
#[derive(Debug)]
pub struct Venue {
    pub(super) rules: BTreeMap<String, Rules>,
    pub(super) accounts: BTreeMap<String, Account>,
    /// Up to when the market's way has been taken into account.
    pub(super) settled_ms: i64,
    pub(super) ids: Ids,
    /// Accounts whose triggered orders are refused, and with what: a fault, not stored.
    pub(super) refuse_triggers: BTreeMap<String, i32>,
    entries: Vec<Entry>,
    notices: Vec<Notice>,
}

impl Venue {
    /// An exchange for `listed` contracts without accounts, at `now_ms`.
    pub fn new(listed: &[&'static Contract], now_ms: i64) -> Self {
        let rules = listed.iter().map(|c| (c.symbol.to_owned(), Rules::of(c)));
        Self {
            rules: rules.collect(),
            accounts: BTreeMap::new(),
            settled_ms: now_ms,
            ids: Ids::default(),
            refuse_triggers: BTreeMap::new(),
            entries: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Opens an account with this balance, unless there is one.
    pub fn open_account(&mut self, name: &str, balance: Decimal) {
        if !self.accounts.contains_key(name) {
            self.keep(name, Record::Wallet(balance));
        }
    }

    /// An account that was opened.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn account(&self, name: &str) -> Result<&Account, Refusal> {
        self.accounts.get(name).ok_or_else(|| Refusal::of(-2015))
    }

    /// Names of all accounts.
    pub fn names(&self) -> Vec<String> {
        self.accounts.keys().cloned().collect()
    }

    /// A contract's filters.
    ///
    /// # Errors
    /// If it is not listed.
    pub fn rules(&self, symbol: &str) -> Result<&Rules, Refusal> {
        self.rules.get(symbol).ok_or_else(|| Refusal::of(-1121))
    }

    /// Changes a contract's filters.
    pub fn change_rules(&mut self, rules: Rules) {
        self.keep("", Record::Rules(rules));
    }

    /// Refuses an account's conditional orders when they are triggered, until told otherwise.
    pub fn refuse_triggers(&mut self, account: &str, code: Option<i32>) {
        match code {
            Some(code) => self.refuse_triggers.insert(account.to_owned(), code),
            None => self.refuse_triggers.remove(account),
        };
    }

    /// Up to when the market's way has been taken into account, UTC ms.
    pub const fn settled_ms(&self) -> i64 {
        self.settled_ms
    }

    /// What has changed since this was last called: to be stored before anybody is told.
    pub fn take(&mut self) -> (Option<Batch>, Vec<Notice>) {
        let entries = std::mem::take(&mut self.entries);
        let batch = (!entries.is_empty()).then_some(Batch {
            settled_ms: self.settled_ms,
            entries,
        });
        (batch, std::mem::take(&mut self.notices))
    }

    /// Everything it is, as a batch that makes it again.
    pub fn snapshot(&self) -> Batch {
        let rules = self.rules.values().cloned().map(|rules| Entry {
            account: String::new(),
            record: Record::Rules(rules),
        });
        let accounts = self.accounts.iter().flat_map(|(name, account)| {
            account.records().into_iter().map(|record| Entry {
                account: name.clone(),
                record,
            })
        });
        Batch {
            settled_ms: self.settled_ms,
            entries: rules.chain(accounts).collect(),
        }
    }

    /// Takes in what was stored.
    pub fn restore(&mut self, batch: Batch) {
        for entry in batch.entries {
            self.apply(entry);
        }
        self.settled_ms = batch.settled_ms;
    }

    pub(super) fn keep(&mut self, account: &str, record: Record) {
        let entry = Entry {
            account: account.to_owned(),
            record,
        };
        self.apply(entry.clone());
        self.entries.push(entry);
    }

    pub(super) fn tell(&mut self, account: &str, at_ms: i64, news: News) {
        self.notices.push(Notice {
            account: account.to_owned(),
            at_ms,
            news,
        });
    }

    fn apply(&mut self, entry: Entry) {
        let ids = &mut self.ids;
        match &entry.record {
            Record::Order(order) => ids.order = ids.order.max(order.id),
            Record::Algo(algo) => ids.algo = ids.algo.max(algo.id),
            Record::Trade(trade) => ids.trade = ids.trade.max(trade.id),
            Record::Income(income) => ids.income = ids.income.max(income.id),
            Record::Rules(rules) => {
                // A contract that is not listed any more has no filters either.
                if let Some(known) = self.rules.get_mut(&rules.symbol) {
                    known.clone_from(rules);
                }
                return;
            }
            _ => {}
        }
        let account = self.accounts.entry(entry.account).or_default();
        account.apply(entry.record);
    }
}
