//! Matching: follows the price path, and fills resting orders, triggers conditional ones, liquidates positions and
//! pays funding in the order in which the price reaches them. The result depends on the path alone, not on the times
//! of the calls. Under cross margin this is approximate: the margin that other positions leave is evaluated once per
//! step.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::account::{Account, brackets_of};
use super::enums::{AlgoStatus, OrderStatus, OrderType, PositionSide, TimeInForce, WorkingType};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::execute::Fill;
use super::order::{Algo, NewOrder, Order};
use super::place::{immediate_price, is_triggered, next_fill_quantity};
use super::prices::{Now, PriceLine, Prices, Quote, first_crossing};

/// Largest step along the price path, in milliseconds.
const MAX_STEP_MS: i64 = 600_000;

/// What the price reaches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum TriggerKind {
    Liquidation(String, PositionSide),
    Fill(i64),
    Trigger(i64),
    /// A fault's schedule ends an order.
    End(i64),
}

/// Time, account and trigger: ordered by time.
type DueTrigger = (i64, String, TriggerKind);

/// Turning points of the prices in a step, by contract.
type PricePath = BTreeMap<String, Vec<i64>>;

impl ExchangeState {
    /// Follows the price path up to `now_ms`.
    pub fn match_until(&mut self, prices: &dyn Prices, now_ms: i64) {
        while self.matched_until_ms < now_ms {
            if self.accounts.values().all(Account::is_idle) {
                self.matched_until_ms = now_ms;
                self.skip_funding_until(now_ms);
                break;
            }
            let booking = self.next_booking_ms();
            if booking <= self.matched_until_ms {
                let ms = self.matched_until_ms;
                self.pay_funding(&Now { ms, prices });
                continue;
            }
            let end = (self.matched_until_ms / MAX_STEP_MS + 1) * MAX_STEP_MS;
            let to = end.min(now_ms).min(booking);
            if let Some((at_ms, account, what)) = self.first_due(prices, to) {
                self.matched_until_ms = at_ms;
                let now = Now { ms: at_ms, prices };
                self.apply_trigger(&account, what, &now);
            } else {
                self.matched_until_ms = to;
            }
        }
        if self.next_booking_ms() <= self.matched_until_ms {
            self.pay_funding(&Now { ms: now_ms, prices });
        }
        self.expire_listen_keys(now_ms);
    }

    fn first_due(&self, prices: &dyn Prices, to: i64) -> Option<DueTrigger> {
        let from = self.matched_until_ms;
        let paths = self.price_paths(prices, to);
        let accounts = self.accounts.iter();
        let due = accounts.filter_map(|(name, account)| {
            let fills = account.open_orders.values();
            let fills = fills.filter_map(|o| self.fill_due(o, prices, &paths));
            let ends = account.open_orders.values().filter_map(|o| {
                let (at, _) = o.fill_plan.as_ref()?.end?;
                (at <= to).then(|| (at.max(from), TriggerKind::End(o.id)))
            });
            let triggers = account.waiting_algos.values();
            let triggers = triggers.filter_map(|a| {
                let hit = |price| is_triggered(a.kind, a.side, a.trigger_price, price);
                let line = PriceLine::new(prices, &a.symbol, a.working_type);
                let at = first_crossing(line, from, paths.get(&a.symbol)?, hit)?;
                Some((at, TriggerKind::Trigger(a.id)))
            });
            let lost = account.open_positions().filter_map(|p| {
                let now = Now { ms: from, prices };
                let cushion = account.liquidation_buffer(p, &self.filters, &now);
                let brackets = brackets_of(&self.filters, &p.symbol);
                let hit = |price| p.is_liquidated_at(price, cushion, &brackets);
                let line = PriceLine::new(prices, &p.symbol, WorkingType::Mark);
                let at = first_crossing(line, from, paths.get(&p.symbol)?, hit)?;
                Some((at, TriggerKind::Liquidation(p.symbol.clone(), p.side)))
            });
            let all = fills.chain(ends).chain(triggers).chain(lost);
            let first = all.min();
            first.map(|(at, what)| (at, name.clone(), what))
        });
        due.min()
    }

    fn fill_due(
        &self,
        order: &Order,
        prices: &dyn Prices,
        paths: &PricePath,
    ) -> Option<(i64, TriggerKind)> {
        let tick = self.filters.get(&order.symbol)?.tick;
        let hit = |price| {
            let quote = Quote::around(price, tick);
            immediate_price(order.kind, order.side, order.price, quote).is_some()
        };
        let from = match &order.fill_plan {
            Some(plan) if plan.has_part() => self.matched_until_ms.max(plan.not_before_ms),
            Some(_) => return None,
            None => self.matched_until_ms,
        };
        let turns = paths.get(&order.symbol)?;
        let line = PriceLine::new(prices, &order.symbol, WorkingType::Contract);
        let at = first_crossing(line, from, turns, hit)?;
        Some((at, TriggerKind::Fill(order.id)))
    }

    /// Turning points of all contracts with an open order or position.
    fn price_paths(&self, prices: &dyn Prices, to: i64) -> PricePath {
        let active: BTreeSet<&String> = self
            .accounts
            .values()
            .flat_map(|a| {
                let open = a.open_orders.values().map(|o| &o.symbol);
                let waiting = a.waiting_algos.values().map(|a| &a.symbol);
                open.chain(waiting)
                    .chain(a.open_positions().map(|p| &p.symbol))
            })
            .collect();
        let turns = |symbol: &String| prices.turning_points(symbol, self.matched_until_ms, to);
        let active = active.into_iter();
        active.map(|s| (s.clone(), turns(s))).collect()
    }

    fn apply_trigger(&mut self, account: &str, trigger: TriggerKind, now: &Now<'_>) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        match trigger {
            TriggerKind::Fill(id) => {
                if let Some(order) = state.open_orders.get(&id).cloned() {
                    self.fill_resting(account, order, now);
                }
            }
            TriggerKind::Trigger(id) => {
                if let Some(algo) = state.waiting_algos.get(&id).cloned() {
                    self.trigger_algo(account, algo, now);
                }
            }
            TriggerKind::End(id) => {
                if let Some(mut order) = state.open_orders.get(&id).cloned() {
                    let end = order.fill_plan.as_ref().and_then(|plan| plan.end);
                    let status = end.map_or(OrderStatus::Expired, |(_, status)| status);
                    self.end_order(account, &mut order, status, now.ms);
                }
            }
            TriggerKind::Liquidation(symbol, side) => {
                let position = state.position(&symbol, side);
                self.liquidate(account, &position, now);
            }
        }
    }

    /// Fills a resting order at its own price, or the next part of a market order at the best price.
    fn fill_resting(&mut self, account: &str, mut order: Order, now: &Now<'_>) {
        let mut quantity = next_fill_quantity(&order);
        if order.reduce_only {
            let state = self.accounts.get(account);
            let position = state.map(|a| a.position(&order.symbol, order.position_side));
            let closable = position.map(|p| p.closable(order.side));
            quantity = quantity.min(closable.unwrap_or_default());
        }
        if quantity.is_zero() {
            self.end_order(account, &mut order, OrderStatus::Expired, now.ms);
            return;
        }
        let is_maker = order.kind != OrderType::Market;
        let tick = self.filters.get(&order.symbol).map(|filters| filters.tick);
        let quote = Quote::around(now.last_price(&order.symbol), tick.unwrap_or_default());
        let taken = immediate_price(order.kind, order.side, order.price, quote);
        let price = taken.filter(|_| !is_maker).unwrap_or(order.price);
        let fill = Fill {
            quantity,
            price,
            is_maker,
        };
        self.fill(account, &mut order, fill, now);
    }

    /// Triggers a conditional order: it becomes a market order, or is rejected. It is finished when that order ends.
    fn trigger_algo(&mut self, account: &str, mut algo: Algo, now: &Now<'_>) {
        algo.triggered_ms = now.ms;
        match self.market_order(account, &algo, now) {
            Ok((mut order, quote)) => {
                algo.order_id = Some(order.id);
                self.end_algo(account, &mut algo, AlgoStatus::Triggered, "", now.ms);
                self.match_new(account, &mut order, quote, now);
            }
            Err(None) => self.end_algo(account, &mut algo, AlgoStatus::Expired, "", now.ms),
            Err(Some(refusal)) => {
                let message = refusal.message;
                self.end_algo(account, &mut algo, AlgoStatus::Rejected, &message, now.ms);
            }
        }
    }

    /// The market order that a conditional order becomes; the error is `None` if there is nothing left to close.
    fn market_order(
        &self,
        account: &str,
        algo: &Algo,
        now: &Now<'_>,
    ) -> Result<(Order, Quote), Option<ExchangeError>> {
        if let Some(code) = self.trigger_rejection(account) {
            return Err(Some(ExchangeError::from_code(code)));
        }
        let state = self.account(account)?;
        let position = state.position(&algo.symbol, algo.position_side);
        let closable = position.closable(algo.side);
        let quantity = match (algo.close_position, algo.reduce_only) {
            (true, _) if closable.is_zero() => return Err(None),
            (true, _) => closable,
            (false, true) if closable.is_zero() => {
                return Err(Some(ExchangeError::from_code(-2022)));
            }
            (false, true) => algo.quantity.min(closable),
            (false, false) => algo.quantity,
        };
        let quote = self.quote(&algo.symbol, now)?;
        let order = triggered_order(algo, quantity, self.ids.order + 1, now.ms);
        let wanted = NewOrder {
            symbol: order.symbol.clone(),
            side: order.side,
            position_side: order.position_side,
            kind: OrderType::Market,
            time_in_force: TimeInForce::Gtc,
            price: Decimal::ZERO,
            quantity,
            reduce_only: order.reduce_only,
            client_id: None,
        };
        let price = immediate_price(OrderType::Market, algo.side, Decimal::ZERO, quote);
        self.check_margin(account, &wanted, quantity, price.unwrap_or_default(), now)?;
        Ok((order, quote))
    }
}

/// The market order of a triggered conditional order, with the same client order id.
fn triggered_order(algo: &Algo, quantity: Decimal, id: i64, at_ms: i64) -> Order {
    Order {
        id,
        client_id: algo.client_id.clone(),
        symbol: algo.symbol.clone(),
        side: algo.side,
        position_side: algo.position_side,
        kind: OrderType::Market,
        time_in_force: TimeInForce::Gtc,
        price: Decimal::ZERO,
        quantity,
        filled: Decimal::ZERO,
        filled_quote: Decimal::ZERO,
        reduce_only: algo.reduce_only,
        close_position: algo.close_position,
        origin: Some(algo.kind),
        status: OrderStatus::New,
        created_ms: at_ms,
        updated_ms: at_ms,
        fill_plan: None,
        algo_id: Some(algo.id),
    }
}
