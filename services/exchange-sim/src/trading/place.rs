//! Placing of orders: all checks, and the immediate fills.

use rust_decimal::Decimal;

use super::enums::{
    AlgoStatus, AlgoType, MarginMode, OrderStatus, OrderType, PositionSide, Side, TimeInForce,
};
use super::error::ExchangeError;
use super::exchange_state::ExchangeState;
use super::execute::Fill;
use super::filters::check_client_id;
use super::leverage_brackets;
use super::order::{Algo, FillPlan, NewAlgo, NewOrder, Order};
use super::prices::{Now, Quote};
use super::record::{Record, UserNews};

/// Delay of the second half of a partial fill, in milliseconds.
const PARTIAL_FILL_DELAY_MS: i64 = 1_000;

impl ExchangeState {
    /// Places an order and fills it as far as possible; with `fills_in_parts` only half.
    ///
    /// # Errors
    /// [`ExchangeError`] of the check that rejects the order; nothing has changed then.
    pub fn place(
        &mut self,
        account: &str,
        request: &NewOrder,
        now: &Now<'_>,
        fills_in_parts: bool,
    ) -> Result<Order, ExchangeError> {
        let quote = self.quote(&request.symbol, now)?;
        let quantity = self.check_order(account, request, quote, now)?;
        let mut order = Order {
            id: self.ids.order + 1,
            client_id: String::new(),
            symbol: request.symbol.clone(),
            side: request.side,
            position_side: request.position_side,
            kind: request.kind,
            time_in_force: request.time_in_force,
            price: request.price,
            quantity,
            filled: Decimal::ZERO,
            filled_quote: Decimal::ZERO,
            reduce_only: request.reduce_only,
            close_position: false,
            origin: None,
            status: OrderStatus::New,
            created_ms: now.ms,
            updated_ms: now.ms,
            fill_plan: None,
            algo_id: None,
        };
        if fills_in_parts {
            order.fill_plan = self.half_and_rest(&order, now.ms);
        }
        let own = |id: i64| format!("sim_{id}");
        order.client_id = request.client_id.clone().unwrap_or_else(|| own(order.id));
        self.match_new(account, &mut order, quote, now);
        Ok(order)
    }

    /// Adds an order to the order book: it fills, rests or expires.
    pub(super) fn match_new(
        &mut self,
        account: &str,
        order: &mut Order,
        quote: Quote,
        now: &Now<'_>,
    ) {
        if order.fill_plan.is_none() {
            order.fill_plan = self.take_fill_plan(account, order, now.ms);
        }
        self.record(account, Record::Order(order.clone()));
        self.notify_order(account, order, "NEW", None, now.ms);
        let price = immediate_price(order.kind, order.side, order.price, quote);
        let plan = order.fill_plan.as_ref();
        let fills = plan.is_none_or(|plan| plan.has_part() && plan.not_before_ms <= now.ms);
        if let Some(price) = price.filter(|_| fills) {
            let fill = Fill {
                quantity: next_fill_quantity(order),
                price,
                is_maker: false,
            };
            self.fill(account, order, fill, now);
        }
        if !order.status.is_open() {
            return;
        }
        let plan = order.fill_plan.as_ref();
        let end = plan
            .and_then(|plan| plan.end)
            .filter(|(at_ms, _)| *at_ms <= now.ms);
        let leaves = order.kind == OrderType::Market || order.time_in_force == TimeInForce::Ioc;
        if let Some((_, status)) = end {
            self.end_order(account, order, status, now.ms);
        } else if leaves && plan.is_none() {
            self.end_order(account, order, OrderStatus::Expired, now.ms);
        }
    }

    /// Half of an order at once; the rest a second later if the order rests, else it expires. `None` if a half is
    /// below the quantity step.
    fn half_and_rest(&self, order: &Order, now_ms: i64) -> Option<FillPlan> {
        let step = self.filters.get(&order.symbol)?.step;
        let half = (order.quantity / step / Decimal::TWO).floor() * step;
        if half.is_zero() {
            return None;
        }
        let mut plan = FillPlan {
            not_before_ms: now_ms,
            ..FillPlan::default()
        };
        plan.parts.push_back((0, half));
        if order.kind == OrderType::Market || order.time_in_force == TimeInForce::Ioc {
            plan.end = Some((now_ms, OrderStatus::Expired));
        } else {
            let rest = order.quantity - half;
            plan.parts.push_back((PARTIAL_FILL_DELAY_MS, rest));
        }
        Some(plan)
    }

    pub(super) fn quote(&self, symbol: &str, now: &Now<'_>) -> Result<Quote, ExchangeError> {
        let tick = self.filters(symbol)?.tick;
        let price = now.prices.price_at(symbol, now.ms);
        let price = price.ok_or_else(|| ExchangeError::from_code(-1008))?;
        Ok(Quote::around(price, tick))
    }

    /// Checks an order; returns its quantity.
    fn check_order(
        &self,
        name: &str,
        request: &NewOrder,
        quote: Quote,
        now: &Now<'_>,
    ) -> Result<Decimal, ExchangeError> {
        let (account, rules) = (self.account(name)?, self.filters(&request.symbol)?);
        rules.check_status(false)?;
        self.check_side(name, request.position_side, request.reduce_only)?;
        let in_use = |id: &String| account.open_orders.values().any(|o| o.client_id == *id);
        check_new_client_id(request.client_id.as_ref(), in_use)?;
        let market = request.kind == OrderType::Market;
        rules.check_quantity(request.quantity, market)?;
        let mark = now.mark_price(&request.symbol);
        if !market {
            rules.check_price(request.price)?;
            rules.check_price_band(request.price, mark, request.side == Side::Buy)?;
        }
        let quantity = self.closable_quantity(name, request)?;
        if !request.reduce_only {
            let price = if market { mark } else { request.price };
            rules.check_notional(price * quantity)?;
        }
        let taken = immediate_price(request.kind, request.side, request.price, quote);
        if let Some(price) = taken.filter(|_| market) {
            rules.check_market_price(price, mark, request.side == Side::Buy)?;
        }
        match request.time_in_force {
            TimeInForce::Gtx if taken.is_some() => return Err(ExchangeError::from_code(-5022)),
            TimeInForce::Fok if taken.is_none() => return Err(ExchangeError::from_code(-5021)),
            _ => {}
        }
        let same = account
            .open_orders
            .values()
            .filter(|o| o.symbol == request.symbol);
        if !market && same.count() >= rules.max_orders {
            return Err(ExchangeError::from_code(-2025));
        }
        let price = taken.unwrap_or(request.price);
        self.check_margin(name, request, quantity, price, now)?;
        Ok(quantity)
    }

    /// Checks that the position side fits the position mode, and that reduce-only is used in one-way mode only.
    fn check_side(
        &self,
        name: &str,
        side: PositionSide,
        reduce: bool,
    ) -> Result<(), ExchangeError> {
        let dual = self.account(name)?.hedge_mode;
        if dual == (side == PositionSide::Both) {
            Err(ExchangeError::from_code(-4061))
        } else if dual && reduce {
            Err(ExchangeError::not_required("reduceOnly"))
        } else {
            Ok(())
        }
    }

    /// Limits the quantity of a closing order to the position.
    fn closable_quantity(&self, name: &str, request: &NewOrder) -> Result<Decimal, ExchangeError> {
        let position = self
            .account(name)?
            .position(&request.symbol, request.position_side);
        let closable = position.closable(request.side);
        if is_closing(request.position_side, request.side) && request.quantity > closable {
            return Err(ExchangeError::from_code(-2022));
        }
        if !request.reduce_only {
            return Ok(request.quantity);
        }
        if closable.is_zero() {
            return Err(ExchangeError::from_code(-2022));
        }
        Ok(request.quantity.min(closable))
    }

    /// Checks that the account's margin suffices for the order.
    pub(super) fn check_margin(
        &self,
        name: &str,
        request: &NewOrder,
        quantity: Decimal,
        price: Decimal,
        now: &Now<'_>,
    ) -> Result<(), ExchangeError> {
        let account = self.account(name)?;
        let position = account.position(&request.symbol, request.position_side);
        let opening = quantity - position.closable(request.side).min(quantity);
        if request.reduce_only || opening.is_zero() {
            return Ok(());
        }
        let filters = self.filters(&request.symbol)?;
        filters.check_status(true)?;
        let leverage = account.symbol_config(&request.symbol).leverage;
        let kept = if position.closable(request.side).is_zero() {
            position.amount.abs()
        } else {
            Decimal::ZERO
        };
        if (kept + opening) * price > leverage_brackets::max_notional(&filters.brackets(), leverage)
        {
            return Err(ExchangeError::from_code(-2027));
        }
        let price = if request.kind == OrderType::Market {
            self.assumed_price(request.side, price)
        } else {
            price
        };
        let mark = now.mark_price(&request.symbol);
        let loss = match request.side {
            Side::Buy => (price - mark).max(Decimal::ZERO),
            Side::Sell => (mark - price).max(Decimal::ZERO),
        };
        let cost = opening * (price / Decimal::from(leverage) + loss);
        // An order that reverses a position can use the margin of the closed one.
        let freed = match account.symbol_config(&request.symbol).margin_mode {
            _ if !kept.is_zero() || position.amount.is_zero() => Decimal::ZERO,
            MarginMode::Cross => account.initial_margin(&position, now),
            MarginMode::Isolated => position.isolated_margin,
        };
        if cost > account.available_balance(now) + freed {
            return Err(ExchangeError::from_code(-2019));
        }
        Ok(())
    }

    /// Places a conditional order.
    ///
    /// # Errors
    /// [`ExchangeError`] of the check that rejects the order; nothing has changed then.
    pub fn place_algo(
        &mut self,
        name: &str,
        request: &NewAlgo,
        now: &Now<'_>,
    ) -> Result<Algo, ExchangeError> {
        self.check_algo(name, request, now)?;
        let id = self.ids.algo + 1;
        let own = || format!("sim_algo_{id}");
        let algo = Algo {
            id,
            client_id: request.client_id.clone().unwrap_or_else(own),
            symbol: request.symbol.clone(),
            side: request.side,
            position_side: request.position_side,
            kind: request.kind,
            trigger_price: request.trigger_price,
            quantity: request.quantity,
            close_position: request.close_position,
            reduce_only: request.reduce_only || request.close_position,
            working_type: request.working_type,
            status: AlgoStatus::New,
            created_ms: now.ms,
            updated_ms: now.ms,
            triggered_ms: 0,
            order_id: None,
            actual_price: Decimal::ZERO,
            actual_quantity: Decimal::ZERO,
            reason: String::new(),
        };
        self.record_algo(name, &algo, now.ms);
        Ok(algo)
    }

    pub(super) fn record_algo(&mut self, account: &str, algo: &Algo, at_ms: i64) {
        self.record(account, Record::Algo(algo.clone()));
        self.notify(account, at_ms, UserNews::Algo(algo.clone()));
    }

    fn check_algo(
        &self,
        name: &str,
        request: &NewAlgo,
        now: &Now<'_>,
    ) -> Result<(), ExchangeError> {
        let (account, rules) = (self.account(name)?, self.filters(&request.symbol)?);
        rules.check_status(false)?;
        self.check_side(name, request.position_side, request.reduce_only)?;
        let in_use = |id: &String| account.waiting_algos.values().any(|a| a.client_id == *id);
        check_new_client_id(request.client_id.as_ref(), in_use)?;
        rules.check_price(request.trigger_price)?;
        if !request.close_position {
            rules.check_quantity(request.quantity, true)?;
            if !request.reduce_only {
                rules.check_notional(request.trigger_price * request.quantity)?;
            }
        }
        if is_triggered(
            request.kind,
            request.side,
            request.trigger_price,
            now.working_price(&request.symbol, request.working_type),
        ) {
            return Err(ExchangeError::from_code(-2021));
        }
        let same: Vec<&Algo> = account
            .waiting_algos
            .values()
            .filter(|a| a.symbol == request.symbol)
            .collect();
        let closing = |a: &&&Algo| {
            let wants = (request.side, request.kind, request.position_side);
            a.close_position && (a.side, a.kind, a.position_side) == wants
        };
        if request.close_position && same.iter().any(|a| closing(&a)) {
            return Err(ExchangeError::from_code(-4130));
        }
        if same.len() >= rules.max_algos {
            return Err(ExchangeError::from_code(-4045));
        }
        Ok(())
    }
}

/// Quantity of the next fill: the next part of the order's plan, else all that is left.
pub(super) fn next_fill_quantity(order: &Order) -> Decimal {
    let part = order.fill_plan.as_ref().and_then(|plan| plan.parts.front());
    part.map_or_else(
        || order.remaining(),
        |(_, part)| (*part).min(order.remaining()),
    )
}

fn check_new_client_id(
    id: Option<&String>,
    in_use: impl Fn(&String) -> bool,
) -> Result<(), ExchangeError> {
    let Some(id) = id else {
        return Ok(());
    };
    check_client_id(id)?;
    if in_use(id) {
        Err(ExchangeError::from_code(-4116))
    } else {
        Ok(())
    }
}

/// Whether an order of this side closes a position in hedge mode.
pub(super) const fn is_closing(position: PositionSide, side: Side) -> bool {
    matches!(
        (position, side),
        (PositionSide::Long, Side::Sell) | (PositionSide::Short, Side::Buy)
    )
}

/// Price at which an order fills at once; `None` if it does not.
pub(super) fn immediate_price(
    kind: OrderType,
    side: Side,
    limit: Decimal,
    quote: Quote,
) -> Option<Decimal> {
    let (price, good) = match side {
        Side::Buy => (quote.ask, quote.ask <= limit),
        Side::Sell => (quote.bid, quote.bid >= limit),
    };
    (kind == OrderType::Market || good).then_some(price)
}

/// Whether a price triggers a conditional order.
pub(super) fn is_triggered(kind: AlgoType, side: Side, trigger: Decimal, price: Decimal) -> bool {
    let rising = match kind {
        AlgoType::StopMarket => side == Side::Buy,
        AlgoType::TakeProfitMarket => side == Side::Sell,
    };
    if rising {
        price >= trigger
    } else {
        price <= trigger
    }
}
