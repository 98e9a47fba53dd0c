//! A fill and all it changes: order, position, wallet, trade, incomes, and what the user is told. Not
//! here: whether something fills, and at what price.

use rust_decimal::Decimal;

use super::order::{Income, Order, Trade};
use super::position::{KEPT, Position};
use super::prices::Now;
use super::record::{News, Record};
use super::terms::{IncomeKind, Kind, Margin, Status};
use super::venue::{MAKER, TAKER, Venue};

/// A part of an order at a price.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    pub(super) quantity: Decimal,
    pub(super) price: Decimal,
    pub(super) maker: bool,
}

impl Venue {
    /// Fills a part of `order`.
    pub(super) fn fill(&mut self, account: &str, order: &mut Order, fill: Fill, now: &Now<'_>) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let settings = state.settings(&order.symbol);
        let isolated = (settings.margin == Margin::Isolated).then_some(settings.leverage);
        let mut position = state.position(&order.symbol, order.position_side);
        let pnl = position.fill(order.side, fill.quantity, fill.price, isolated);
        position.updated_ms = now.ms;
        let quote = (fill.quantity * fill.price).round_dp(KEPT);
        let rate = if fill.maker { MAKER } else { TAKER };
        let fee = (quote * rate).round_dp(KEPT);
        let wallet = state.wallet + pnl - fee;
        order.filled += fill.quantity;
        order.quote += quote;
        order.updated_ms = now.ms;
        order.status = if order.rest().is_zero() {
            Status::Filled
        } else {
            Status::PartiallyFilled
        };
        let trade = self.trade(order, fill, quote, now.ms, (fee, pnl));
        self.keep(account, Record::Trade(trade.clone()));
        self.keep(account, Record::Order(order.clone()));
        self.earn(account, order, IncomeKind::Pnl, pnl, &trade);
        self.earn(account, order, IncomeKind::Commission, -fee, &trade);
        self.keep(account, Record::Wallet(wallet));
        self.keep(account, Record::Position(position.clone()));
        self.tell_account(account, "ORDER", Decimal::ZERO, &[position], now);
        let execution = if order.kind == Kind::Liquidation {
            "CALCULATED"
        } else {
            "TRADE"
        };
        self.tell_order(account, order, execution, Some(trade), now.ms);
    }

    fn trade(
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
            quote,
            fee,
            pnl,
            maker: fill.maker,
            at_ms,
        }
    }

    fn earn(&mut self, account: &str, order: &Order, kind: IncomeKind, sum: Decimal, of: &Trade) {
        self.income(account, &order.symbol, kind, sum, Some(of.id), of.at_ms);
    }

    /// Remembers a change of the wallet; nothing for a sum of zero.
    pub(super) fn income(
        &mut self,
        account: &str,
        symbol: &str,
        kind: IncomeKind,
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
        self.keep(account, Record::Income(income));
    }

    /// Ends an order that is not filled.
    pub(super) fn end(&mut self, account: &str, order: &mut Order, status: Status, at_ms: i64) {
        order.status = status;
        order.updated_ms = at_ms;
        self.keep(account, Record::Order(order.clone()));
        self.tell_order(account, order, status.word(), None, at_ms);
    }

    pub(super) fn tell_order(
        &mut self,
        account: &str,
        order: &Order,
        execution: &'static str,
        trade: Option<Trade>,
        at_ms: i64,
    ) {
        let order = order.clone();
        let news = News::Order {
            order,
            execution,
            trade,
        };
        self.tell(account, at_ms, news);
    }

    pub(super) fn tell_account(
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
            let margin = state.settings(&p.symbol).margin;
            (p.clone(), margin, now.mark(&p.symbol))
        });
        let news = News::Account {
            reason,
            wallet: state.wallet,
            cross_wallet: state.cross_wallet(),
            change,
            positions: with_mode.collect(),
        };
        self.tell(account, now.ms, news);
    }
}
