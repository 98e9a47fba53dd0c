//! Fills: changes of order, position, wallet and incomes, and the notices for the user.

use rust_decimal::Decimal;

use super::enums::{IncomeType, MarginMode, OrderStatus, OrderType};
use super::exchange_state::{ExchangeState, MAKER_FEE_RATE, TAKER_FEE_RATE};
use super::order::{Income, Order, Trade};
use super::position::{MONEY_DECIMALS, Position};
use super::prices::Now;
use super::record::{Record, UserNews};

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
        let fee = (quote * rate).round_dp(MONEY_DECIMALS);
        let wallet = state.wallet_balance + pnl - fee;
        order.filled += fill.quantity;
        order.filled_quote += quote;
        order.updated_ms = now.ms;
        order.status = if order.remaining().is_zero() {
            OrderStatus::Filled
        } else {
            OrderStatus::PartiallyFilled
        };
        let trade = self.new_trade(order, fill, quote, now.ms, (fee, pnl));
        self.record(account, Record::Trade(trade.clone()));
        self.record(account, Record::Order(order.clone()));
        self.record_trade_income(account, order, IncomeType::Pnl, pnl, &trade);
        self.record_trade_income(account, order, IncomeType::Commission, -fee, &trade);
        self.record(account, Record::Wallet(wallet));
        self.record(account, Record::Position(position.clone()));
        self.notify_account(account, "ORDER", Decimal::ZERO, &[position], now);
        let execution = if order.kind == OrderType::Liquidation {
            "CALCULATED"
        } else {
            "TRADE"
        };
        self.notify_order(account, order, execution, Some(trade), now.ms);
    }

    fn new_trade(
        &self,
        order: &Order,
        fill: Fill,
        quote: Decimal,
        at_ms: i64,
        (fee, pnl): (Decimal, Decimal),
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
            fee,
            realized_pnl: pnl,
            is_maker: fill.is_maker,
            at_ms,
        }
    }

    fn record_trade_income(
        &mut self,
        account: &str,
        order: &Order,
        kind: IncomeType,
        sum: Decimal,
        trade: &Trade,
    ) {
        self.record_income(
            account,
            &order.symbol,
            kind,
            sum,
            Some(trade.id),
            trade.at_ms,
        );
    }

    /// Records a change of the wallet; nothing for zero.
    pub(super) fn record_income(
        &mut self,
        account: &str,
        symbol: &str,
        kind: IncomeType,
        amount: Decimal,
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
            trade_id,
            at_ms,
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
        self.notify_order(account, order, status.as_str(), None, at_ms);
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

    pub(super) fn notify_account(
        &mut self,
        account: &str,
        reason: &'static str,
        change: Decimal,
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
            wallet: state.wallet_balance,
            cross_wallet: state.cross_wallet(),
            balance_change: change,
            positions: with_mode.collect(),
        };
        self.notify(account, now.ms, news);
    }
}
