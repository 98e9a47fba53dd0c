//! Fills: changes of order, position, wallet and incomes, and the notices for the user.

use rust_decimal::{Decimal, dec};

use super::account::{Account, asset_price};
use super::enums::{AlgoStatus, IncomeType, MarginMode, OrderStatus, OrderType};
use super::exchange_state::{ExchangeState, MAKER_FEE_RATE, TAKER_FEE_RATE};
use super::order::{Income, Order, Trade};
use super::position::{MONEY_DECIMALS, Position};
use super::prices::Now;
use super::record::{AssetBalance, Record, UserNews};

/// Asset in which contracts are margined.
pub(super) const USDT: &str = "USDT";
/// Share of a fee that remains if it is paid in BNB.
const BNB_FEE_SHARE: Decimal = dec!(0.9);

/// A fill of a part of an order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    pub(super) quantity: Decimal,
    pub(super) price: Decimal,
    pub(super) is_maker: bool,
}

impl ExchangeState {
    /// Fills a part of `order`.
    pub(super) fn fill(&mut self, account: &str, order: &mut Order, fill: Fill, now: &Now<'_>) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let settings = state.symbol_config(&order.symbol);
        let isolated = (settings.margin_mode == MarginMode::Isolated).then_some(settings.leverage);
        let mut position = state.position(&order.symbol, order.position_side);
        let pnl = position.fill(order.side, fill.quantity, fill.price, isolated);
        position.updated_ms = now.ms;
        let quote = (fill.quantity * fill.price).round_dp(MONEY_DECIMALS);
        let rate = if fill.is_maker {
            MAKER_FEE_RATE
        } else {
            TAKER_FEE_RATE
        };
        let fee = Fee::new(state, quote * rate, now);
        let paid = if fee.asset == USDT {
            fee.amount
        } else {
            Decimal::ZERO
        };
        let wallet = state.wallet_balance + pnl - paid;
        let rest = state
            .other_balances
            .get(&fee.asset)
            .map(|b| *b - fee.amount);
        order.filled += fill.quantity;
        order.filled_quote += quote;
        order.updated_ms = now.ms;
        if let Some(plan) = &mut order.fill_plan {
            plan.part_filled(now.ms);
        }
        order.status = if order.remaining().is_zero() {
            OrderStatus::Filled
        } else {
            OrderStatus::PartiallyFilled
        };
        let trade = self.new_trade(order, fill, quote, now.ms, (&fee, pnl));
        self.record(account, Record::Trade(trade.clone()));
        self.record(account, Record::Order(order.clone()));
        self.record_trade_income(account, IncomeType::Pnl, (USDT, pnl), &trade);
        let charged = (fee.asset.as_str(), -fee.amount);
        self.record_trade_income(account, IncomeType::Commission, charged, &trade);
        self.record(account, Record::Wallet(wallet));
        if let Some(rest) = rest {
            self.record(account, Record::OtherBalance(fee.asset.clone(), rest));
        }
        self.record(account, Record::Position(position.clone()));
        let mut balances = self.balances(account, USDT, Decimal::ZERO);
        if rest.is_some() {
            balances.extend(self.balances(account, &fee.asset, Decimal::ZERO));
        }
        self.notify_account(account, "ORDER", balances, &[position], now);
        let execution = if order.kind == OrderType::Liquidation {
            "CALCULATED"
        } else {
            "TRADE"
        };
        self.notify_order(account, order, execution, Some(trade), now.ms);
        self.finish_algo_of(account, order, now.ms);
    }

    /// Finishes the conditional order that became an order, once the order has ended.
    fn finish_algo_of(&mut self, account: &str, order: &Order, at_ms: i64) {
        let algo = self.accounts.get(account).and_then(|state| {
            let id = order.algo_id.filter(|_| !order.status.is_open())?;
            state.ended_algos.get(&id).cloned()
        });
        if let Some(mut algo) = algo {
            algo.actual_price = order.average_price().round_dp(MONEY_DECIMALS);
            algo.actual_quantity = order.filled;
            self.end_algo(account, &mut algo, AlgoStatus::Finished, "", at_ms);
        }
    }

    fn new_trade(
        &self,
        order: &Order,
        fill: Fill,
        quote: Decimal,
        at_ms: i64,
        (fee, pnl): (&Fee, Decimal),
    ) -> Trade {
        Trade {
            id: self.ids.trade + 1,
            order_id: order.id,
            symbol: order.symbol.clone(),
            side: order.side,
            position_side: order.position_side,
            price: fill.price,
            quantity: fill.quantity,
            quote_quantity: quote,
            fee: fee.amount,
            fee_asset: fee.asset.clone(),
            realized_pnl: pnl,
            is_maker: fill.is_maker,
            at_ms,
        }
    }

    fn record_trade_income(
        &mut self,
        account: &str,
        kind: IncomeType,
        sum: (&str, Decimal),
        trade: &Trade,
    ) {
        let (symbol, at_ms) = (&trade.symbol, trade.at_ms);
        self.record_income(account, symbol, kind, sum, Some(trade.id), at_ms);
    }

    /// Records a change of a balance, given by asset and amount; nothing for zero.
    pub(super) fn record_income(
        &mut self,
        account: &str,
        symbol: &str,
        kind: IncomeType,
        (asset, amount): (&str, Decimal),
        trade_id: Option<i64>,
        at_ms: i64,
    ) {
        if amount.is_zero() {
            return;
        }
        let income = Income {
            id: self.ids.income + 1,
            symbol: symbol.to_owned(),
            kind,
            amount,
            asset: asset.to_owned(),
            trade_id,
            at_ms,
            listed_from_ms: 0,
        };
        self.record(account, Record::Income(income));
    }

    /// Ends an order that is not completely filled.
    pub(super) fn end_order(
        &mut self,
        account: &str,
        order: &mut Order,
        status: OrderStatus,
        at_ms: i64,
    ) {
        order.status = status;
        order.updated_ms = at_ms;
        self.record(account, Record::Order(order.clone()));
        // An order that would have traded with another one of its account has the execution type EXPIRED too.
        let execution = match status {
            OrderStatus::ExpiredInMatch => OrderStatus::Expired.as_str(),
            other => other.as_str(),
        };
        self.notify_order(account, order, execution, None, at_ms);
        self.finish_algo_of(account, order, at_ms);
    }

    pub(super) fn notify_order(
        &mut self,
        account: &str,
        order: &Order,
        execution: &'static str,
        trade: Option<Trade>,
        at_ms: i64,
    ) {
        let order = order.clone();
        let news = UserNews::Order {
            order,
            execution_type: execution,
            trade,
        };
        self.notify(account, at_ms, news);
    }

    /// Sends balances and positions to the user stream.
    pub(super) fn notify_account(
        &mut self,
        account: &str,
        reason: &'static str,
        balances: Vec<AssetBalance>,
        positions: &[Position],
        now: &Now<'_>,
    ) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let with_mode = positions.iter().map(|p| {
            let margin = state.symbol_config(&p.symbol).margin_mode;
            (p.clone(), margin, now.mark_price(&p.symbol))
        });
        let news = UserNews::Account {
            reason,
            balances,
            positions: with_mode.collect(),
        };
        self.notify(account, now.ms, news);
    }

    /// The balance of an asset as one row of a notice; empty if there is no such account.
    pub(super) fn balances(
        &self,
        account: &str,
        asset: &str,
        change: Decimal,
    ) -> Vec<AssetBalance> {
        let row = |state: &Account| {
            let other = state.other_balances.get(asset).copied().unwrap_or_default();
            let (wallet, cross_wallet) = if asset == USDT {
                (state.wallet_balance, state.cross_wallet())
            } else {
                (other, other)
            };
            AssetBalance {
                asset: asset.to_owned(),
                wallet,
                cross_wallet,
                change,
            }
        };
        self.accounts.get(account).map(row).into_iter().collect()
    }
}

/// Fee of a fill, and the asset in which it is paid.
struct Fee {
    amount: Decimal,
    asset: String,
}

impl Fee {
    /// The fee of this amount of USDT: in the account's fee asset while its balance suffices, else in USDT.
    fn new(account: &Account, usdt: Decimal, now: &Now<'_>) -> Self {
        let in_asset = account.fee_asset.as_ref().and_then(|asset| {
            let share = if asset == "BNB" {
                BNB_FEE_SHARE
            } else {
                Decimal::ONE
            };
            let amount = (usdt * share / asset_price(asset, now)).round_dp(MONEY_DECIMALS);
            let balance = account
                .other_balances
                .get(asset)
                .copied()
                .unwrap_or_default();
            (balance >= amount).then(|| Self {
                amount,
                asset: asset.clone(),
            })
        });
        in_asset.unwrap_or_else(|| Self {
            amount: usdt.round_dp(MONEY_DECIMALS),
            asset: USDT.to_owned(),
        })
    }
}
