//! Effects of the faults on accounts, contracts and prices.

use rust_decimal::Decimal;

use super::enums::{ContractStatus, IncomeType, Side};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::execute::USDT;
use super::fault::{
    BalanceChangeFault, FeeAssetFault, FillScheduleFault, FundingFault, MarkPriceFault,
    RenameFault, SettleFault, TradingFault,
};
use super::filters::SymbolFilters;
use super::order::{FillPlan, Income, Order};
use super::position::Position;
use super::prices::Now;
use super::record::{PriceChange, Record, SymbolConfig};

/// Largest number of lasting faults and of changes of prices.
const MAX_CHANGES: usize = 1_000;

impl ExchangeState {
    /// Applies a fault. A lasting one replaces those that it repeats; one that ends another is not kept. Returns the
    /// change of prices or symbols that the market must apply; `None` if there is none. `next_open_ms` is the open
    /// time of the next candle.
    ///
    /// # Errors
    /// [`ExchangeError`] if there is no such account, contract or position, or if there are too many changes.
    pub fn apply_fault(
        &mut self,
        fault: TradingFault,
        next_open_ms: i64,
        now: &Now<'_>,
    ) -> Result<Option<PriceChange>, ExchangeError> {
        let change = match &fault {
            TradingFault::Filter(f) => {
                self.change_filters(&f.symbol, |filters| filters.change(f))?;
                None
            }
            TradingFault::ContractStatus(f) => {
                self.change_filters(&f.symbol, |filters| filters.status = f.status)?;
                None
            }
            TradingFault::Unlist(f) => {
                self.change_filters(&f.symbol, |filters| filters.is_listed = !f.on)?;
                None
            }
            TradingFault::Brackets(f) => {
                self.change_filters(&f.symbol, |filters| filters.bracket_scale = f.scale.0)?;
                None
            }
            TradingFault::Settle(f) => {
                self.settle(f, now)?;
                return Ok(None);
            }
            TradingFault::Rename(f) => return self.rename(f, now).map(Some),
            TradingFault::PriceGap(f) => {
                self.known(&f.symbol)?;
                return Ok(Some(self.record_price_change(PriceChange::Gap {
                    symbol: f.symbol.clone(),
                    from_ms: next_open_ms,
                    factor: factor(f.percent.0),
                })?));
            }
            TradingFault::MarkPrice(f) => Some(self.mark_path(f, now)?),
            TradingFault::Liquidate(f) => {
                self.liquidate_now(&f.account, &f.symbol, now)?;
                return Ok(None);
            }
            TradingFault::Adl(f) => {
                self.deleverage(&f.account, &f.symbol, f.quantity.map(|q| q.0), now)?;
                return Ok(None);
            }
            TradingFault::FeeAsset(f) => {
                self.set_fee_asset(f, now)?;
                None
            }
            TradingFault::BalanceChange(f) => {
                self.change_balance(f, now)?;
                return Ok(None);
            }
            TradingFault::RejectTriggers(f) => {
                self.account(&f.account)?;
                None
            }
            TradingFault::FillSchedule(_)
            | TradingFault::AssumedPrice(_)
            | TradingFault::Funding(_) => None,
        };
        self.keep_fault(fault)?;
        Ok(change)
    }

    /// Ends all faults: contracts have their published filters again, and mark prices equal last prices. Returns the
    /// changes that the market must apply.
    pub fn clear_faults(&mut self, now: &Now<'_>) -> Vec<PriceChange> {
        let ended = std::mem::take(&mut self.faults);
        let mut changes = Vec::new();
        for fault in &ended {
            match fault {
                TradingFault::Filter(_)
                | TradingFault::ContractStatus(_)
                | TradingFault::Unlist(_)
                | TradingFault::Brackets(_) => {
                    let published = fault.symbol().and_then(|s| self.published_filters.get(s));
                    if let Some(filters) = published.cloned() {
                        self.record("", Record::Filters(filters));
                    }
                }
                TradingFault::MarkPrice(fault) => {
                    let end = PriceChange::Mark {
                        symbol: fault.symbol.clone(),
                        steps: vec![(now.ms, Decimal::ONE)],
                    };
                    changes.extend(self.record_price_change(end));
                }
                TradingFault::FeeAsset(fault) => {
                    self.record(&fault.account, Record::FeeAsset(None));
                }
                _ => {}
            }
        }
        if !ended.is_empty() {
            self.record("", Record::Faults(Vec::new()));
        }
        changes
    }

    /// The lasting faults in the order in which they were armed.
    pub fn faults(&self) -> &[TradingFault] {
        &self.faults
    }

    /// Changes of prices and symbols since the market began, for a market that is built again.
    pub fn price_changes(&self) -> &[PriceChange] {
        &self.price_changes
    }

    /// Keeps a lasting fault in place of the ones that it repeats.
    fn keep_fault(&mut self, fault: TradingFault) -> Result<(), ExchangeError> {
        let mut faults = self.faults.clone();
        faults.retain(|kept| !fault.replaces(kept));
        if !fault.ends() {
            faults.push(fault);
        }
        if faults.len() > MAX_CHANGES {
            return Err(too_many("faults"));
        }
        self.record("", Record::Faults(faults));
        Ok(())
    }

    fn record_price_change(&mut self, change: PriceChange) -> Result<PriceChange, ExchangeError> {
        if self.price_changes.len() >= MAX_CHANGES {
            return Err(too_many("changes of prices"));
        }
        self.record("", Record::PriceChange(change.clone()));
        Ok(change)
    }

    /// Filters of a contract, also of an unlisted one.
    fn known(&self, symbol: &str) -> Result<&SymbolFilters, ExchangeError> {
        self.filters
            .get(symbol)
            .ok_or_else(|| ExchangeError::from_code(-1121))
    }

    fn change_filters(
        &mut self,
        symbol: &str,
        change: impl FnOnce(&mut SymbolFilters),
    ) -> Result<(), ExchangeError> {
        let mut filters = self.known(symbol)?.clone();
        change(&mut filters);
        self.set_filters(filters);
        Ok(())
    }

    /// Ends all orders of a contract, closes its positions at the settlement price, and closes the contract.
    fn settle(&mut self, fault: &SettleFault, now: &Now<'_>) -> Result<(), ExchangeError> {
        let symbol = &fault.symbol;
        self.known(symbol)?;
        let price = fault
            .price
            .map_or_else(|| now.mark_price(symbol), |price| price.0);
        for account in self.account_names() {
            self.settle_positions(&account, symbol, price, now);
        }
        self.change_filters(symbol, |filters| filters.status = ContractStatus::Close)
    }

    /// Moves filters, settings, positions and waiting orders to another symbol. What has ended keeps the old one.
    fn rename(&mut self, fault: &RenameFault, now: &Now<'_>) -> Result<PriceChange, ExchangeError> {
        let (symbol, to) = (&fault.symbol, &fault.to);
        self.known(symbol)?;
        if to.is_empty() || to.len() > MAX_SYMBOL_BYTES || self.filters.contains_key(to) {
            let message = format!("to=\"{to}\": expected a symbol that is not listed");
            return Err(ExchangeError::new(-1102, message));
        }
        let change = self.record_price_change(PriceChange::Rename {
            symbol: symbol.clone(),
            to: to.clone(),
        })?;
        if let Some(filters) = self.filters.get(to).cloned() {
            self.set_filters(filters);
        }
        for name in self.account_names() {
            for record in self.renamed_records(&name, symbol, to, now) {
                self.record(&name, record);
            }
        }
        Ok(change)
    }

    fn renamed_records(&self, account: &str, symbol: &str, to: &str, now: &Now<'_>) -> Vec<Record> {
        let Some(state) = self.accounts.get(account) else {
            return Vec::new();
        };
        let mut records = Vec::new();
        let config: SymbolConfig = state.symbol_config(symbol);
        records.push(Record::SymbolConfig(to.to_owned(), config));
        for position in state.open_positions().filter(|p| p.symbol == symbol) {
            let mut flat = Position::flat(symbol, position.side);
            flat.updated_ms = now.ms;
            let mut moved = position.clone();
            to.clone_into(&mut moved.symbol);
            records.extend([Record::Position(flat), Record::Position(moved)]);
        }
        for order in state.open_orders.values().filter(|o| o.symbol == symbol) {
            let mut moved = order.clone();
            to.clone_into(&mut moved.symbol);
            records.push(Record::Order(moved));
        }
        for algo in state.waiting_algos.values().filter(|a| a.symbol == symbol) {
            let mut moved = algo.clone();
            to.clone_into(&mut moved.symbol);
            records.push(Record::Algo(moved));
        }
        records
    }

    fn mark_path(
        &mut self,
        fault: &MarkPriceFault,
        now: &Now<'_>,
    ) -> Result<PriceChange, ExchangeError> {
        self.known(&fault.symbol)?;
        let at_once = fault.percent.map(|percent| (now.ms, factor(percent.0)));
        let planned = fault.path.iter();
        let planned = planned.map(|step| (now.ms + step.after_ms.0, factor(step.percent.0)));
        let mut steps: Vec<(i64, Decimal)> = at_once.into_iter().chain(planned).collect();
        steps.sort_by_key(|(at_ms, _)| *at_ms);
        if steps.is_empty() || steps.len() > MAX_CHANGES {
            let message = format!("path: expected percent, or 1 to {MAX_CHANGES} steps");
            return Err(ExchangeError::new(-1102, message));
        }
        self.record_price_change(PriceChange::Mark {
            symbol: fault.symbol.clone(),
            steps,
        })
    }

    fn set_fee_asset(&mut self, fault: &FeeAssetFault, now: &Now<'_>) -> Result<(), ExchangeError> {
        let name = fault.account.as_str();
        let before = self.account(name)?.other_balances.clone();
        let asset = fault.asset.as_deref().filter(|asset| *asset != USDT);
        if let (Some(asset), Some(balance)) = (asset, fault.balance) {
            let change = balance.0 - before.get(asset).copied().unwrap_or_default();
            self.record(name, Record::OtherBalance(asset.to_owned(), balance.0));
            let moved = (asset, change);
            self.record_income(name, "", IncomeType::Transfer, moved, None, now.ms);
            let balances = self.balances(name, asset, change);
            self.notify_account(name, "DEPOSIT", balances, &[], now);
        }
        self.record(name, Record::FeeAsset(asset.map(str::to_owned)));
        Ok(())
    }

    fn change_balance(
        &mut self,
        fault: &BalanceChangeFault,
        now: &Now<'_>,
    ) -> Result<(), ExchangeError> {
        let name = fault.account.as_str();
        let amount = fault.amount.0;
        let wallet = self.account(name)?.wallet_balance + amount;
        self.record(name, Record::Wallet(wallet));
        if let Some(kind) = fault.income {
            let income = Income {
                id: self.ids.income + 1,
                symbol: String::new(),
                kind,
                amount,
                asset: USDT.to_owned(),
                trade_id: None,
                at_ms: now.ms,
                listed_from_ms: now.ms + fault.hidden_ms.0,
            };
            self.record(name, Record::Income(income));
        }
        let reason = if amount.is_sign_positive() {
            "DEPOSIT"
        } else {
            "WITHDRAW"
        };
        let balances = self.balances(name, USDT, amount);
        self.notify_account(name, reason, balances, &[], now);
        Ok(())
    }

    /// Error code with which triggered orders of an account are rejected; `None` if they are not.
    pub(super) fn trigger_rejection(&self, account: &str) -> Option<i32> {
        self.faults.iter().find_map(|fault| match fault {
            TradingFault::RejectTriggers(f) if f.account == account => f.code,
            _ => None,
        })
    }

    /// How a fault changes the bookings of funding.
    pub fn funding_fault(&self) -> FundingFault {
        let found = self.faults.iter().find_map(|fault| match fault {
            TradingFault::Funding(f) => Some(*f),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// Price that a market order is assumed to fill at when its margin is checked: the best ask for a buy order, or
    /// above if a fault says so, and the best bid for a sell order.
    pub(super) fn assumed_price(&self, side: Side, best: Decimal) -> Decimal {
        let armed = self.faults.iter().find_map(|fault| match fault {
            TradingFault::AssumedPrice(f) => Some(f.percent.0 / Decimal::ONE_HUNDRED),
            _ => None,
        });
        match side {
            Side::Buy => best * (Decimal::ONE + armed.unwrap_or_default()),
            Side::Sell => best,
        }
    }

    /// The plan of a new order's fills if a schedule is armed for it; counts the order.
    pub(super) fn take_fill_plan(
        &mut self,
        account: &str,
        order: &Order,
        now_ms: i64,
    ) -> Option<FillPlan> {
        let step = self.filters.get(&order.symbol)?.step;
        let mut faults = self.faults.clone();
        let index = faults.iter().position(|fault| match fault {
            TradingFault::FillSchedule(f) => f.hits(account, order),
            _ => false,
        })?;
        let TradingFault::FillSchedule(schedule) = faults.get_mut(index)? else {
            return None;
        };
        let plan = schedule.plan(order.quantity, step, now_ms);
        schedule.times = schedule.times.saturating_sub(1);
        if schedule.times == 0 {
            faults.remove(index);
        }
        self.record("", Record::Faults(faults));
        Some(plan)
    }
}

/// Longest symbol, in bytes.
const MAX_SYMBOL_BYTES: usize = 40;

fn factor(percent: Decimal) -> Decimal {
    Decimal::ONE + percent / Decimal::ONE_HUNDRED
}

fn too_many(what: &str) -> ExchangeError {
    let message = format!("too many {what}: expected at most {MAX_CHANGES}");
    ExchangeError::new(-1102, message)
}

impl FillScheduleFault {
    fn hits(&self, account: &str, order: &Order) -> bool {
        let same = |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|w| w == own);
        same(&self.account, account)
            && same(&self.symbol, &order.symbol)
            && self
                .conditional
                .is_none_or(|wanted| wanted == order.algo_id.is_some())
    }

    /// The plan for a quantity. A part below the quantity step is left out.
    fn plan(&self, quantity: Decimal, step: Decimal, now_ms: i64) -> FillPlan {
        let mut left = quantity;
        let mut plan = FillPlan {
            end: self.end.map(|end| (now_ms + end.after_ms.0, end.status)),
            ..FillPlan::default()
        };
        for part in &self.parts {
            let share = quantity * part.percent.0 / Decimal::ONE_HUNDRED;
            let share = ((share / step).floor() * step).min(left);
            left -= share;
            if !share.is_zero() {
                plan.parts.push_back((part.after_ms.0, share));
            }
        }
        if plan.end.is_none() && !left.is_zero() {
            match plan.parts.back_mut() {
                Some((_, last)) => *last += left,
                None => plan.parts.push_back((0, left)),
            }
        }
        plan.not_before_ms = now_ms + plan.parts.front().map_or(0, |(after_ms, _)| *after_ms);
        plan
    }
}

impl TradingFault {
    /// Symbol of the fault's contract; `None` if it concerns no contract, or any.
    fn symbol(&self) -> Option<&str> {
        match self {
            Self::Filter(f) => Some(&f.symbol),
            Self::ContractStatus(f) => Some(&f.symbol),
            Self::Unlist(f) => Some(&f.symbol),
            Self::MarkPrice(f) => Some(&f.symbol),
            Self::Brackets(f) => Some(&f.symbol),
            _ => None,
        }
    }

    /// Whether the fault takes the place of one that was armed before.
    fn replaces(&self, kept: &Self) -> bool {
        match (self, kept) {
            (Self::RejectTriggers(new), Self::RejectTriggers(old)) => new.account == old.account,
            (Self::FeeAsset(new), Self::FeeAsset(old)) => new.account == old.account,
            (Self::AssumedPrice(_), Self::AssumedPrice(_))
            | (Self::Funding(_), Self::Funding(_)) => true,
            // Each change of filters adds to the ones before.
            (Self::Filter(_) | Self::FillSchedule(_), _) => false,
            _ => {
                std::mem::discriminant(self) == std::mem::discriminant(kept)
                    && self.symbol().is_some()
                    && self.symbol() == kept.symbol()
            }
        }
    }

    /// Whether the fault only ends one that was armed before.
    fn ends(&self) -> bool {
        match self {
            Self::ContractStatus(f) => f.status == ContractStatus::Trading,
            Self::Unlist(f) => !f.on,
            Self::MarkPrice(f) => {
                f.path.is_empty() && f.percent.is_none_or(|percent| percent.0.is_zero())
            }
            Self::Brackets(f) => f.scale.0 == Decimal::ONE,
            Self::RejectTriggers(f) => f.code.is_none(),
            Self::FeeAsset(f) => f.asset.is_none(),
            Self::Funding(f) => *f == FundingFault::default(),
            Self::FillSchedule(f) => f.times == 0,
            _ => false,
        }
    }
}
