//! Matching: follows the price path, and fills resting orders, triggers conditional ones, liquidates positions and
//! pays funding in the order in which the price reaches them. The result depends on the path alone, not on the times
//! of the calls. Under cross margin this is approximate: the margin that other positions leave is evaluated once per
//! step.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::account::Account;
use super::enums::{AlgoStatus, OrderStatus, OrderType, PositionSide, TimeInForce};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::execute::Fill;
use super::funding::FUNDING_INTERVAL_MS;
use super::order::{Algo, NewOrder, Order};
use super::place::{PARTIAL_FILL_DELAY_MS, immediate_price, is_triggered};
use super::position::MONEY_DECIMALS;
use super::prices::{Now, Prices, Quote, first_crossing};

/// Largest step along the price path, in milliseconds; divides the funding interval.
const MAX_STEP_MS: i64 = 600_000;

/// What the price reaches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum TriggerKind {
    Liquidation(String, PositionSide),
    Fill(i64),
    Trigger(i64),
}

/// Time, account and trigger: ordered by time.
type DueTrigger = (i64, String, TriggerKind);

/// Prices at the turning points of a step, by contract.
type PricePath = BTreeMap<String, Vec<(i64, Decimal)>>;

impl ExchangeState {
    /// Follows the price path up to `now_ms`.
    pub fn match_until(&mut self, prices: &dyn Prices, now_ms: i64) {
        while self.matched_until_ms < now_ms {
            if self.accounts.values().all(Account::is_idle) {
                self.matched_until_ms = now_ms;
                break;
            }
            let end = (self.matched_until_ms / MAX_STEP_MS + 1) * MAX_STEP_MS;
            let to = end.min(now_ms);
            if let Some((at_ms, account, what)) = self.first_due(prices, to) {
                self.matched_until_ms = at_ms;
                let now = Now { ms: at_ms, prices };
                self.apply_trigger(&account, what, &now);
            } else {
                self.matched_until_ms = to;
                if to % FUNDING_INTERVAL_MS == 0 {
                    self.pay_funding(&Now { ms: to, prices });
                }
            }
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
            let triggers = account.waiting_algos.values();
            let triggers = triggers.filter_map(|a| {
                let hit = |price| is_triggered(a.kind, a.side, a.trigger_price, price);
                let at = first_crossing(prices, &a.symbol, from, paths.get(&a.symbol)?, hit)?;
                Some((at, TriggerKind::Trigger(a.id)))
            });
            let lost = account.open_positions().filter_map(|p| {
                let cushion = account.liquidation_buffer(p, &Now { ms: from, prices });
                let hit = |price| p.is_liquidated_at(price, cushion);
                let at = first_crossing(prices, &p.symbol, from, paths.get(&p.symbol)?, hit)?;
                Some((at, TriggerKind::Liquidation(p.symbol.clone(), p.side)))
            });
            let all = fills.chain(triggers).chain(lost);
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
        let from = self.matched_until_ms.max(order.no_fill_until_ms);
        let turns = paths.get(&order.symbol)?;
        let at = first_crossing(prices, &order.symbol, from, turns, hit)?;
        Some((at, TriggerKind::Fill(order.id)))
    }

    /// Prices at the turning points of all contracts with an open order or position.
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
        let with_prices = |symbol: &String| {
            let turns = prices.turning_points(symbol, self.matched_until_ms, to);
            let known = turns
                .into_iter()
                .filter_map(|ms| Some((ms, prices.price_at(symbol, ms)?)));
            known.collect()
        };
        let active = active.into_iter();
        active.map(|s| (s.clone(), with_prices(s))).collect()
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
            TriggerKind::Liquidation(symbol, side) => {
                let position = state.position(&symbol, side);
                self.liquidate(account, &position, now);
            }
        }
    }

    /// Fills a resting order at its own price.
    fn fill_resting(&mut self, account: &str, mut order: Order, now: &Now<'_>) {
        let mut quantity = self.next_fill_quantity(&order);
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
        let fill = Fill {
            quantity,
            price: order.price,
            is_maker: true,
        };
        if quantity < order.remaining() {
            order.no_fill_until_ms = now.ms + PARTIAL_FILL_DELAY_MS;
        }
        self.fill(account, &mut order, fill, now);
    }

    /// Triggers a conditional order: it becomes a market order, or is rejected.
    fn trigger_algo(&mut self, account: &str, mut algo: Algo, now: &Now<'_>) {
        algo.triggered_ms = now.ms;
        match self.market_order(account, &algo, now) {
            Ok((mut order, quote)) => {
                algo.order_id = Some(order.id);
                self.end_algo(account, &mut algo, AlgoStatus::Triggered, "", now.ms);
                self.match_new(account, &mut order, quote, now);
                algo.actual_price = order.average_price().round_dp(MONEY_DECIMALS);
                algo.actual_quantity = order.filled;
                self.end_algo(account, &mut algo, AlgoStatus::Finished, "", now.ms);
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
        if let Some(code) = self.rejected_triggers.get(account) {
            return Err(Some(ExchangeError::from_code(*code)));
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
        no_fill_until_ms: 0,
        fills_in_parts: false,
    }
}
