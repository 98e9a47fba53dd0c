//! One account: wallet, settings, positions, orders and what is remembered of them. Takes records in,
//! answers questions. Not here: what makes records.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use super::order::{Algo, Income, Order, Trade};
use super::position::{KEPT, Position};
use super::prices::Now;
use super::record::{ListenKey, Record, Settings};
use super::terms::{AlgoStatus, Margin, PositionSide};

/// Ended orders, trades and incomes kept of each kind; older ones are forgotten.
const KEEP: usize = 5_000;
/// What Binance gives a new account.
const BEGINNING: Settings = Settings {
    leverage: 20,
    margin: Margin::Cross,
};

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// All the money, margin of positions included.
    pub wallet: Decimal,
    /// Hedge mode.
    pub dual: bool,
    /// Settings that were changed.
    pub settings: BTreeMap<String, Settings>,
    /// Positions by contract and side; a closed one stays as a flat one.
    pub positions: BTreeMap<(String, PositionSide), Position>,
    /// Orders that may still trade.
    pub open: BTreeMap<i64, Order>,
    /// Ended orders.
    pub ended: BTreeMap<i64, Order>,
    /// Conditional orders that wait.
    pub waiting: BTreeMap<i64, Algo>,
    /// Conditional orders that do not wait any more.
    pub done: BTreeMap<i64, Algo>,
    /// Fills, oldest first.
    pub trades: VecDeque<Trade>,
    /// Incomes, oldest first.
    pub incomes: VecDeque<Income>,
    /// The user stream's key.
    pub listen: Option<ListenKey>,
}

impl Account {
    /// Takes a record in.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Wallet(wallet) => self.wallet = wallet,
            Record::Dual(dual) => self.dual = dual,
            Record::Settings(symbol, settings) => {
                self.settings.insert(symbol, settings);
            }
            Record::Position(position) => {
                let key = (position.symbol.clone(), position.side);
                self.positions.insert(key, position);
            }
            Record::Order(order) if order.status.open() => {
                self.open.insert(order.id, order);
            }
            Record::Order(order) => {
                self.open.remove(&order.id);
                self.ended.insert(order.id, order);
                forget(&mut self.ended);
            }
            Record::Algo(algo) if algo.status == AlgoStatus::New => {
                self.waiting.insert(algo.id, algo);
            }
            Record::Algo(algo) => {
                self.waiting.remove(&algo.id);
                self.done.insert(algo.id, algo);
                forget(&mut self.done);
            }
            Record::Trade(trade) => push(&mut self.trades, trade),
            Record::Income(income) => push(&mut self.incomes, income),
            Record::Listen(key) => self.listen = key,
            Record::Rules(_) => {}
        }
    }

    /// Everything it is, as records that make it again.
    pub fn records(&self) -> Vec<Record> {
        let settings = self.settings.iter();
        let orders = self.ended.values().chain(self.open.values());
        let algos = self.done.values().chain(self.waiting.values());
        [Record::Wallet(self.wallet), Record::Dual(self.dual)]
            .into_iter()
            .chain(settings.map(|(symbol, s)| Record::Settings(symbol.clone(), *s)))
            .chain(self.positions.values().cloned().map(Record::Position))
            .chain(orders.cloned().map(Record::Order))
            .chain(algos.cloned().map(Record::Algo))
            .chain(self.trades.iter().cloned().map(Record::Trade))
            .chain(self.incomes.iter().cloned().map(Record::Income))
            .chain([Record::Listen(self.listen.clone())])
            .collect()
    }

    /// Settings of a contract.
    pub fn settings(&self, symbol: &str) -> Settings {
        self.settings.get(symbol).copied().unwrap_or(BEGINNING)
    }

    /// A position, flat if there is none.
    pub fn position(&self, symbol: &str, side: PositionSide) -> Position {
        let key = (symbol.to_owned(), side);
        let found = self.positions.get(&key).cloned();
        found.unwrap_or_else(|| Position::flat(symbol, side))
    }

    /// Positions that are not flat.
    pub fn held(&self) -> impl Iterator<Item = &Position> {
        self.positions.values().filter(|p| !p.amount.is_zero())
    }

    /// Whether anything can happen to it by itself.
    pub fn idle(&self) -> bool {
        self.open.is_empty() && self.waiting.is_empty() && self.held().next().is_none()
    }

    /// An order of one of these ids; of several with the same client's id, the open or newest one.
    pub fn order(&self, symbol: &str, id: Option<i64>, client_id: Option<&str>) -> Option<&Order> {
        let newest = self.open.values().rev().chain(self.ended.values().rev());
        newest.filter(|o| o.symbol == symbol).find(|o| match id {
            Some(id) => o.id == id,
            None => Some(o.client_id.as_str()) == client_id,
        })
    }

    /// A conditional order of one of these ids, as above.
    pub fn algo(&self, id: Option<i64>, client_id: Option<&str>) -> Option<&Algo> {
        let mut newest = self.waiting.values().rev().chain(self.done.values().rev());
        newest.find(|a| match id {
            Some(id) => a.id == id,
            None => Some(a.client_id.as_str()) == client_id,
        })
    }

    /// The part of the wallet that no position has for itself.
    pub fn cross_wallet(&self) -> Decimal {
        let isolated: Decimal = self.held().map(|p| p.isolated).sum();
        self.wallet - isolated
    }

    /// Margin a position binds at the mark price.
    pub fn initial_margin(&self, position: &Position, now: &Now<'_>) -> Decimal {
        let leverage = Decimal::from(self.settings(&position.symbol).leverage);
        let value = position.notional(now.mark(&position.symbol)).abs();
        (value / leverage).round_dp(KEPT)
    }

    /// Margin that resting orders bind.
    pub fn order_margin(&self) -> Decimal {
        let bound = self.open.values().filter(|o| !o.reduce_only);
        bound
            .map(|o| {
                let leverage = Decimal::from(self.settings(&o.symbol).leverage);
                (o.price * o.rest() / leverage).round_dp(KEPT)
            })
            .sum()
    }

    /// Positions under cross margin.
    pub fn crossed(&self) -> impl Iterator<Item = &Position> {
        let cross = |p: &&Position| self.settings(&p.symbol).margin == Margin::Cross;
        self.held().filter(cross)
    }

    /// Profit not realised of positions under cross margin.
    pub fn cross_unrealised(&self, now: &Now<'_>) -> Decimal {
        self.crossed()
            .map(|p| p.unrealised(now.mark(&p.symbol)))
            .sum()
    }

    /// What new orders may bind.
    pub fn available(&self, now: &Now<'_>) -> Decimal {
        let bound: Decimal = self.crossed().map(|p| self.initial_margin(p, now)).sum();
        let free = self.cross_wallet() + self.cross_unrealised(now) - bound - self.order_margin();
        free.max(Decimal::ZERO)
    }

    /// What a position can lose: its own margin, or under cross margin the wallet and what the others
    /// leave of it.
    pub fn cushion(&self, position: &Position, now: &Now<'_>) -> Decimal {
        if self.settings(&position.symbol).margin == Margin::Isolated {
            return position.isolated;
        }
        let others = self
            .crossed()
            .filter(|p| (&p.symbol, p.side) != (&position.symbol, position.side));
        let left: Decimal = others
            .map(|p| {
                let mark = now.mark(&p.symbol);
                p.unrealised(mark) - p.maintenance(mark)
            })
            .sum();
        self.cross_wallet() + left
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEEP {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn forget<T>(ended: &mut BTreeMap<i64, T>) {
    if ended.len() > KEEP {
        ended.pop_first();
    }
}
