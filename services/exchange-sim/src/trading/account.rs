//! One account: wallet, settings, positions, orders and their history, as a fold of records.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::{Decimal, dec};

use super::enums::{AlgoStatus, MarginMode, PositionSide};
use super::filters::{Contracts, SymbolFilters};
use super::leverage_brackets::Bracket;
use super::order::{Algo, Income, Order, Trade};
use super::position::{MONEY_DECIMALS, Position};
use super::prices::Now;
use super::record::{ListenKey, Record, SymbolConfig};

/// Number of ended orders, fills and incomes kept of each kind; older ones are dropped.
const MAX_HISTORY: usize = 5_000;
/// Share of the value of another asset that is margin in multi-assets mode.
const COLLATERAL_RATE: Decimal = dec!(0.95);
/// Price of BNB while BNBUSDT is not listed.
const UNLISTED_BNB_PRICE: Decimal = dec!(600);
/// Settings of a new account at Binance.
const DEFAULT_SYMBOL_CONFIG: SymbolConfig = SymbolConfig {
    leverage: 20,
    margin_mode: MarginMode::Cross,
};

/// Balance, positions and orders of one API key's account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Balance of the wallet, margin of positions included.
    pub wallet_balance: Decimal,
    /// Balances of all other assets.
    pub other_balances: BTreeMap<String, Decimal>,
    /// Asset in which fees are paid while its balance lasts; `None` for USDT.
    pub fee_asset: Option<String>,
    /// Whether hedge mode is on.
    pub hedge_mode: bool,
    /// Whether multi-assets mode is on: other assets are margin too.
    pub multi_assets: bool,
    /// Settings by contract, where they differ from the default.
    pub symbol_configs: BTreeMap<String, SymbolConfig>,
    /// Positions by contract and side; closed ones remain with amount zero.
    pub positions: BTreeMap<(String, PositionSide), Position>,
    /// Orders that can still fill.
    pub open_orders: BTreeMap<i64, Order>,
    /// Orders that have ended, by id.
    pub ended_orders: BTreeMap<i64, Order>,
    /// Conditional orders that wait for their trigger.
    pub waiting_algos: BTreeMap<i64, Algo>,
    /// Conditional orders that have ended or were triggered.
    pub ended_algos: BTreeMap<i64, Algo>,
    /// Fills of all orders, oldest first.
    pub trades: VecDeque<Trade>,
    /// Changes of the wallet, oldest first.
    pub incomes: VecDeque<Income>,
    /// Listen key of the user stream; `None` without one.
    pub listen_key: Option<ListenKey>,
}

impl Account {
    /// Replaces the part of the account that the record holds.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Wallet(wallet) => self.wallet_balance = wallet,
            Record::OtherBalance(asset, balance) => {
                self.other_balances.insert(asset, balance);
            }
            Record::FeeAsset(asset) => self.fee_asset = asset,
            Record::HedgeMode(dual) => self.hedge_mode = dual,
            Record::MultiAssets(on) => self.multi_assets = on,
            Record::SymbolConfig(symbol, settings) => {
                self.symbol_configs.insert(symbol, settings);
            }
            Record::Position(position) => {
                let key = (position.symbol.clone(), position.side);
                self.positions.insert(key, position);
            }
            Record::Order(order) if order.status.is_open() => {
                self.open_orders.insert(order.id, order);
            }
            Record::Order(order) => {
                self.open_orders.remove(&order.id);
                self.ended_orders.insert(order.id, order);
                drop_oldest(&mut self.ended_orders);
            }
            Record::Algo(algo) if algo.status == AlgoStatus::New => {
                self.waiting_algos.insert(algo.id, algo);
            }
            Record::Algo(algo) => {
                self.waiting_algos.remove(&algo.id);
                self.ended_algos.insert(algo.id, algo);
                drop_oldest(&mut self.ended_algos);
            }
            Record::Trade(trade) => push_bounded(&mut self.trades, trade),
            Record::Income(income) => push_bounded(&mut self.incomes, income),
            Record::ListenKey(key) => self.listen_key = key,
            Record::Filters(_)
            | Record::PriceChange(_)
            | Record::Faults(_)
            | Record::FundingPaid(_) => {}
        }
    }

    /// The account as records from which it can be rebuilt.
    pub fn records(&self) -> Vec<Record> {
        let settings = self.symbol_configs.iter();
        let balances = self.other_balances.iter();
        let balances = balances.map(|(asset, b)| Record::OtherBalance(asset.clone(), *b));
        let orders = self.ended_orders.values().chain(self.open_orders.values());
        let algos = self.ended_algos.values().chain(self.waiting_algos.values());
        [
            Record::Wallet(self.wallet_balance),
            Record::HedgeMode(self.hedge_mode),
            Record::MultiAssets(self.multi_assets),
            Record::FeeAsset(self.fee_asset.clone()),
        ]
        .into_iter()
        .chain(balances)
        .chain(settings.map(|(symbol, s)| Record::SymbolConfig(symbol.clone(), *s)))
        .chain(self.positions.values().cloned().map(Record::Position))
        .chain(orders.cloned().map(Record::Order))
        .chain(algos.cloned().map(Record::Algo))
        .chain(self.trades.iter().cloned().map(Record::Trade))
        .chain(self.incomes.iter().cloned().map(Record::Income))
        .chain([Record::ListenKey(self.listen_key.clone())])
        .collect()
    }

    /// Settings of a contract.
    pub fn symbol_config(&self, symbol: &str) -> SymbolConfig {
        self.symbol_configs
            .get(symbol)
            .copied()
            .unwrap_or(DEFAULT_SYMBOL_CONFIG)
    }

    /// A position, with amount zero if there is none.
    pub fn position(&self, symbol: &str, side: PositionSide) -> Position {
        let key = (symbol.to_owned(), side);
        let found = self.positions.get(&key).cloned();
        found.unwrap_or_else(|| Position::flat(symbol, side))
    }

    /// Positions with an amount.
    pub fn open_positions(&self) -> impl Iterator<Item = &Position> {
        self.positions.values().filter(|p| !p.amount.is_zero())
    }

    /// Whether nothing can happen to the account without a call.
    pub fn is_idle(&self) -> bool {
        self.open_orders.is_empty()
            && self.waiting_algos.is_empty()
            && self.open_positions().next().is_none()
    }

    /// The order with one of these ids; of several with the same client order id, the open or the newest one.
    pub fn order(&self, symbol: &str, id: Option<i64>, client_id: Option<&str>) -> Option<&Order> {
        let newest = self
            .open_orders
            .values()
            .rev()
            .chain(self.ended_orders.values().rev());
        newest.filter(|o| o.symbol == symbol).find(|o| match id {
            Some(id) => o.id == id,
            None => Some(o.client_id.as_str()) == client_id,
        })
    }

    /// The conditional order with one of these ids, chosen as for orders.
    pub fn algo(&self, id: Option<i64>, client_id: Option<&str>) -> Option<&Algo> {
        let mut newest = self
            .waiting_algos
            .values()
            .rev()
            .chain(self.ended_algos.values().rev());
        newest.find(|a| match id {
            Some(id) => a.id == id,
            None => Some(a.client_id.as_str()) == client_id,
        })
    }

    /// Balance without the margin of isolated positions.
    pub fn cross_wallet(&self) -> Decimal {
        let isolated: Decimal = self.open_positions().map(|p| p.isolated_margin).sum();
        self.wallet_balance - isolated
    }

    /// Initial margin of a position at the mark price.
    pub fn initial_margin(&self, position: &Position, now: &Now<'_>) -> Decimal {
        let leverage = Decimal::from(self.symbol_config(&position.symbol).leverage);
        let value = position.notional(now.mark_price(&position.symbol)).abs();
        (value / leverage).round_dp(MONEY_DECIMALS)
    }

    /// Initial margin of the open orders.
    pub fn order_margin(&self) -> Decimal {
        let bound = self.open_orders.values().filter(|o| !o.reduce_only);
        bound
            .map(|o| {
                let leverage = Decimal::from(self.symbol_config(&o.symbol).leverage);
                (o.price * o.remaining() / leverage).round_dp(MONEY_DECIMALS)
            })
            .sum()
    }

    /// Positions under cross margin.
    pub fn cross_positions(&self) -> impl Iterator<Item = &Position> {
        let cross = |p: &&Position| self.symbol_config(&p.symbol).margin_mode == MarginMode::Cross;
        self.open_positions().filter(cross)
    }

    /// Unrealized profit of positions under cross margin.
    pub fn cross_unrealized_pnl(&self, now: &Now<'_>) -> Decimal {
        self.cross_positions()
            .map(|p| p.unrealized_pnl(now.mark_price(&p.symbol)))
            .sum()
    }

    /// Value of the other assets as margin, in USDT; zero outside of multi-assets mode.
    pub fn collateral(&self, now: &Now<'_>) -> Decimal {
        if !self.multi_assets {
            return Decimal::ZERO;
        }
        let value = |(asset, balance): (&String, &Decimal)| asset_price(asset, now) * *balance;
        let values: Decimal = self.other_balances.iter().map(value).sum();
        (values * COLLATERAL_RATE).round_dp(MONEY_DECIMALS)
    }

    /// Margin available for new orders.
    pub fn available_balance(&self, now: &Now<'_>) -> Decimal {
        let bound: Decimal = self
            .cross_positions()
            .map(|p| self.initial_margin(p, now))
            .sum();
        let free = self.cross_wallet() + self.collateral(now) + self.cross_unrealized_pnl(now)
            - bound
            - self.order_margin();
        free.max(Decimal::ZERO)
    }

    /// Loss that a position can bear: its own margin, or under cross margin the wallet less the margin
    /// of the other positions.
    pub fn liquidation_buffer(
        &self,
        position: &Position,
        contracts: &Contracts,
        now: &Now<'_>,
    ) -> Decimal {
        if self.symbol_config(&position.symbol).margin_mode == MarginMode::Isolated {
            return position.isolated_margin;
        }
        let others = self
            .cross_positions()
            .filter(|p| (&p.symbol, p.side) != (&position.symbol, position.side));
        let left: Decimal = others
            .map(|p| {
                let mark = now.mark_price(&p.symbol);
                let brackets = brackets_of(contracts, &p.symbol);
                p.unrealized_pnl(mark) - p.maintenance_margin(mark, &brackets)
            })
            .sum();
        self.cross_wallet() + self.collateral(now) + left
    }
}

/// Leverage brackets of a contract; empty if it is unknown.
pub fn brackets_of(contracts: &Contracts, symbol: &str) -> Vec<Bracket> {
    contracts
        .get(symbol)
        .map_or_else(Vec::new, SymbolFilters::brackets)
}

/// Price of an asset in USDT. Assets other than BNB are at par.
pub fn asset_price(asset: &str, now: &Now<'_>) -> Decimal {
    if asset != "BNB" {
        return Decimal::ONE;
    }
    Some(now.mark_price("BNBUSDT"))
        .filter(|price| !price.is_zero())
        .unwrap_or(UNLISTED_BNB_PRICE)
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MAX_HISTORY {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn drop_oldest<T>(ended: &mut BTreeMap<i64, T>) {
    if ended.len() > MAX_HISTORY {
        ended.pop_first();
    }
}
