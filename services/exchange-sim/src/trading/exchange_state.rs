//! All accounts and filters of the exchange, and the changes since the last drain.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::account::Account;
use super::error::ExchangeError;
use super::fault::TradingFault;
use super::filters::{Contracts, SymbolFilters};
use super::record::{CallRecords, LogRecord, PriceChange, Record, UserNews, UserNotice};
use crate::symbols::Contract;

/// Taker fee as a share of the value.
pub const TAKER_FEE_RATE: Decimal = rust_decimal::dec!(0.0005);
/// Maker fee as a share of the value.
pub const MAKER_FEE_RATE: Decimal = rust_decimal::dec!(0.0002);
/// Funding falls due at every multiple of this interval.
pub(super) const FUNDING_INTERVAL_MS: i64 = 8 * 3_600_000;
/// Funding every eight hours as a share of the value.
pub const FUNDING_RATE: Decimal = rust_decimal::dec!(0.0001);

/// Last assigned id of each kind.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) order: i64,
    pub(super) algo: i64,
    pub(super) trade: i64,
    pub(super) income: i64,
}

/// State of the exchange's trading.
#[derive(Debug)]
pub struct ExchangeState {
    pub(super) filters: Contracts,
    /// Filters as published at the start, which the end of all faults restores.
    pub(super) published_filters: Contracts,
    pub(super) accounts: BTreeMap<String, Account>,
    /// Time up to which the price path has been matched, UTC ms.
    pub(super) matched_until_ms: i64,
    pub(super) ids: Ids,
    /// The lasting faults in the order in which they were armed.
    pub(super) faults: Vec<TradingFault>,
    /// Changes of prices and symbols since the market began.
    pub(super) price_changes: Vec<PriceChange>,
    /// Number of the last funding interval that was paid, counted from the epoch.
    pub(super) funding_paid: i64,
    log_records: Vec<LogRecord>,
    notices: Vec<UserNotice>,
}

impl ExchangeState {
    /// A state for these contracts without accounts, at `now_ms`.
    pub fn new(listed: &[&'static Contract], now_ms: i64) -> Self {
        let filters = listed
            .iter()
            .map(|c| (c.symbol.to_owned(), SymbolFilters::from_contract(c)));
        let filters: Contracts = filters.collect();
        Self {
            published_filters: filters.clone(),
            filters,
            accounts: BTreeMap::new(),
            matched_until_ms: now_ms,
            ids: Ids::default(),
            faults: Vec::new(),
            price_changes: Vec::new(),
            funding_paid: now_ms.div_euclid(FUNDING_INTERVAL_MS),
            log_records: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Opens an account with this balance if there is none.
    pub fn open_account(&mut self, name: &str, balance: Decimal) {
        if !self.accounts.contains_key(name) {
            self.record(name, Record::Wallet(balance));
        }
    }

    /// An account.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no account of this name.
    pub fn account(&self, name: &str) -> Result<&Account, ExchangeError> {
        self.accounts
            .get(name)
            .ok_or_else(|| ExchangeError::from_code(-2015))
    }

    /// Names of all accounts.
    pub fn account_names(&self) -> Vec<String> {
        self.accounts.keys().cloned().collect()
    }

    /// Filters of a contract.
    ///
    /// # Errors
    /// [`ExchangeError`] if the contract is not listed.
    pub fn filters(&self, symbol: &str) -> Result<&SymbolFilters, ExchangeError> {
        self.filters
            .get(symbol)
            .filter(|filters| filters.is_listed)
            .ok_or_else(|| ExchangeError::from_code(-1121))
    }

    /// Symbols of the listed contracts.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        let listed = self.filters.values().filter(|filters| filters.is_listed);
        listed.map(|filters| filters.symbol.as_str())
    }

    /// Filters of all contracts, also of unlisted ones.
    pub const fn contracts(&self) -> &Contracts {
        &self.filters
    }

    /// Changes the filters of a contract.
    pub fn set_filters(&mut self, rules: SymbolFilters) {
        self.record("", Record::Filters(rules));
    }

    /// Replaces the accounts, for a query of their earlier state. Returns those that were there.
    pub fn swap_accounts(
        &mut self,
        accounts: BTreeMap<String, Account>,
    ) -> BTreeMap<String, Account> {
        std::mem::replace(&mut self.accounts, accounts)
    }

    /// Accounts by the name of their API key.
    pub const fn accounts(&self) -> &BTreeMap<String, Account> {
        &self.accounts
    }

    /// Time up to which the price path has been matched, UTC ms.
    pub const fn matched_until_ms(&self) -> i64 {
        self.matched_until_ms
    }

    /// Drains the changes since the last call: records to store before the notices are sent.
    pub fn take_changes(&mut self) -> (Option<CallRecords>, Vec<UserNotice>) {
        let entries = std::mem::take(&mut self.log_records);
        let batch = (!entries.is_empty()).then_some(CallRecords {
            matched_until_ms: self.matched_until_ms,
            records: entries,
        });
        (batch, std::mem::take(&mut self.notices))
    }

    /// The state as records from which it can be rebuilt.
    pub fn snapshot(&self) -> CallRecords {
        let rules = self.filters.values().cloned().map(|rules| LogRecord {
            account: String::new(),
            record: Record::Filters(rules),
        });
        let accounts = self.accounts.iter().flat_map(|(name, account)| {
            account.records().into_iter().map(|record| LogRecord {
                account: name.clone(),
                record,
            })
        });
        let changes = self.price_changes.iter().cloned().map(Record::PriceChange);
        let of_exchange = [
            Record::Faults(self.faults.clone()),
            Record::FundingPaid(self.funding_paid),
        ];
        let of_exchange = changes.chain(of_exchange).map(|record| LogRecord {
            account: String::new(),
            record,
        });
        CallRecords {
            matched_until_ms: self.matched_until_ms,
            records: of_exchange.chain(rules).chain(accounts).collect(),
        }
    }

    /// Applies the records of one stored call, as at a restart.
    pub fn restore(&mut self, batch: CallRecords) {
        for entry in batch.records {
            self.apply(entry);
        }
        self.matched_until_ms = batch.matched_until_ms;
    }

    pub(super) fn record(&mut self, account: &str, record: Record) {
        let entry = LogRecord {
            account: account.to_owned(),
            record,
        };
        self.apply(entry.clone());
        self.log_records.push(entry);
    }

    pub(super) fn notify(&mut self, account: &str, at_ms: i64, news: UserNews) {
        self.notices.push(UserNotice {
            account: account.to_owned(),
            at_ms,
            news,
        });
    }

    fn apply_price_change(&mut self, change: PriceChange) {
        if let PriceChange::Rename { symbol, to } = &change {
            for contracts in [&mut self.filters, &mut self.published_filters] {
                if let Some(mut filters) = contracts.remove(symbol) {
                    filters.symbol.clone_from(to);
                    contracts.insert(to.clone(), filters);
                }
            }
        }
        self.price_changes.push(change);
    }

    fn apply(&mut self, entry: LogRecord) {
        let ids = &mut self.ids;
        match &entry.record {
            Record::Order(order) => ids.order = ids.order.max(order.id),
            Record::Algo(algo) => ids.algo = ids.algo.max(algo.id),
            Record::Trade(trade) => ids.trade = ids.trade.max(trade.id),
            Record::Income(income) => ids.income = ids.income.max(income.id),
            Record::Filters(rules) => {
                // A contract that the market does not have has no filters.
                if let Some(known) = self.filters.get_mut(&rules.symbol) {
                    known.clone_from(rules);
                }
                return;
            }
            Record::Faults(faults) => {
                self.faults.clone_from(faults);
                return;
            }
            Record::FundingPaid(interval) => {
                self.funding_paid = *interval;
                return;
            }
            Record::PriceChange(change) => {
                self.apply_price_change(change.clone());
                return;
            }
            _ => {}
        }
        let account = self.accounts.entry(entry.account).or_default();
        account.apply(entry.record);
    }
}
