//! Placing orders: everything that may refuse them, and what happens to them at once. Not here: what
//! time does to resting ones (`settle.rs`).

use rust_decimal::Decimal;

use super::bracket;
use super::execute::Fill;
use super::order::{Algo, NewAlgo, NewOrder, Order};
use super::prices::{Now, Quote};
use super::record::{News, Record};
use super::refusal::Refusal;
use super::rules::{MOST_ALGOS, MOST_ORDERS, check_client_id};
use super::terms::{
    AlgoStatus, Conditional, Kind, Margin, PositionSide, Side, Status, TimeInForce,
};
use super::venue::Venue;

/// How long the second part of a fill in parts waits.
pub(super) const BETWEEN_PARTS_MS: i64 = 1_000;

impl Venue {
    /// Places an order and fills what can be filled at once; `in_parts` fills only half of it.
    ///
    /// # Errors
    /// What refuses it; then nothing has changed.
    pub fn place(
        &mut self,
        account: &str,
        wanted: &NewOrder,
        now: &Now<'_>,
        in_parts: bool,
    ) -> Result<Order, Refusal> {
        let quote = self.quote(&wanted.symbol, now)?;
        let quantity = self.check(account, wanted, quote, now)?;
        let mut order = Order {
            id: self.ids.order + 1,
            client_id: String::new(),
            symbol: wanted.symbol.clone(),
            side: wanted.side,
            position_side: wanted.position_side,
            kind: wanted.kind,
            tif: wanted.tif,
            price: wanted.price,
            quantity,
            filled: Decimal::ZERO,
            quote: Decimal::ZERO,
            reduce_only: wanted.reduce_only,
            close_position: false,
            origin: None,
            status: Status::New,
            created_ms: now.ms,
            updated_ms: now.ms,
            quiet_until_ms: 0,
            in_parts,
        };
        let own = |id: i64| format!("sim_{id}");
        order.client_id = wanted.client_id.clone().unwrap_or_else(|| own(order.id));
        self.enter(account, &mut order, quote, now);
        Ok(order)
    }

    /// Takes an order into the matching engine: fills, rests or expires.
    pub(super) fn enter(&mut self, account: &str, order: &mut Order, quote: Quote, now: &Now<'_>) {
        self.keep(account, Record::Order(order.clone()));
        self.tell_order(account, order, "NEW", None, now.ms);
        if let Some(price) = taken_at(order.kind, order.side, order.price, quote) {
            let fill = Fill {
                quantity: self.part(order),
                price,
                maker: false,
            };
            self.fill(account, order, fill, now);
        }
        let leaves = order.kind == Kind::Market || order.tif == TimeInForce::Ioc;
        if order.status.open() && leaves {
            self.end(account, order, Status::Expired, now.ms);
        } else if order.status == Status::PartiallyFilled {
            order.quiet_until_ms = now.ms + BETWEEN_PARTS_MS;
            self.keep(account, Record::Order(order.clone()));
        }
    }

    /// What is filled next of an order: all, or half of it if it fills in parts and none is filled yet.
    pub(super) fn part(&self, order: &Order) -> Decimal {
        let step = self.rules.get(&order.symbol).map(|r| r.step);
        let half = step.filter(|_| order.in_parts && order.filled.is_zero());
        let half = half.map(|step| (order.quantity / step / Decimal::TWO).floor() * step);
        half.filter(|half| !half.is_zero())
            .unwrap_or_else(|| order.rest())
    }

    pub(super) fn quote(&self, symbol: &str, now: &Now<'_>) -> Result<Quote, Refusal> {
        let tick = self.rules(symbol)?.tick;
        let price = now.prices.at(symbol, now.ms);
        let price = price.ok_or_else(|| Refusal::of(-1008))?;
        Ok(Quote::around(price, tick))
    }

    /// Everything that may refuse an order; the quantity it then has.
    fn check(
        &self,
        name: &str,
        wanted: &NewOrder,
        quote: Quote,
        now: &Now<'_>,
    ) -> Result<Decimal, Refusal> {
        let (account, rules) = (self.account(name)?, self.rules(&wanted.symbol)?);
        self.check_side(name, wanted.position_side, wanted.reduce_only)?;
        let in_use = |id: &String| account.open.values().any(|o| o.client_id == *id);
        check_id(wanted.client_id.as_ref(), in_use)?;
        let market = wanted.kind == Kind::Market;
        rules.check_quantity(wanted.quantity, market)?;
        let mark = now.mark(&wanted.symbol);
        if !market {
            rules.check_price(wanted.price)?;
            rules.check_reach(wanted.price, mark, wanted.side == Side::Buy)?;
        }
        let quantity = self.clipped(name, wanted)?;
        if !wanted.reduce_only {
            let price = if market { mark } else { wanted.price };
            rules.check_notional(price * quantity)?;
        }
        let taken = taken_at(wanted.kind, wanted.side, wanted.price, quote);
        match wanted.tif {
            TimeInForce::Gtx if taken.is_some() => return Err(Refusal::of(-5022)),
            TimeInForce::Fok if taken.is_none() => return Err(Refusal::of(-5021)),
            _ => {}
        }
        let same = account.open.values().filter(|o| o.symbol == wanted.symbol);
        if !market && same.count() >= MOST_ORDERS {
            return Err(Refusal::of(-2025));
        }
        let price = taken.unwrap_or(wanted.price);
        self.afford(name, wanted, quantity, price, now)?;
        Ok(quantity)
    }

    /// The position side must be the mode's, and reduce-only is a word of one-way mode.
    fn check_side(&self, name: &str, side: PositionSide, reduce: bool) -> Result<(), Refusal> {
        let dual = self.account(name)?.dual;
        if dual == (side == PositionSide::Both) {
            Err(Refusal::of(-4061))
        } else if dual && reduce {
            Err(Refusal::not_required("reduceOnly"))
        } else {
            Ok(())
        }
    }

    /// What closes is clipped to what there is to close.
    fn clipped(&self, name: &str, wanted: &NewOrder) -> Result<Decimal, Refusal> {
        let position = self
            .account(name)?
            .position(&wanted.symbol, wanted.position_side);
        let closable = position.closable(wanted.side);
        if closes(wanted.position_side, wanted.side) && wanted.quantity > closable {
            return Err(Refusal::of(-2022));
        }
        if !wanted.reduce_only {
            return Ok(wanted.quantity);
        }
        if closable.is_zero() {
            return Err(Refusal::of(-2022));
        }
        Ok(wanted.quantity.min(closable))
    }

    /// Whether the account can hold what the order would open.
    pub(super) fn afford(
        &self,
        name: &str,
        wanted: &NewOrder,
        quantity: Decimal,
        price: Decimal,
        now: &Now<'_>,
    ) -> Result<(), Refusal> {
        let account = self.account(name)?;
        let position = account.position(&wanted.symbol, wanted.position_side);
        let opening = quantity - position.closable(wanted.side).min(quantity);
        if wanted.reduce_only || opening.is_zero() {
            return Ok(());
        }
        if !self.rules(&wanted.symbol)?.trading {
            return Err(Refusal::of(-4140));
        }
        let leverage = account.settings(&wanted.symbol).leverage;
        let kept = if position.closable(wanted.side).is_zero() {
            position.amount.abs()
        } else {
            Decimal::ZERO
        };
        if (kept + opening) * price > bracket::most(leverage) {
            return Err(Refusal::of(-2027));
        }
        let mark = now.mark(&wanted.symbol);
        let loss = match wanted.side {
            Side::Buy => (price - mark).max(Decimal::ZERO),
            Side::Sell => (mark - price).max(Decimal::ZERO),
        };
        let cost = opening * (price / Decimal::from(leverage) + loss);
        // An order that turns a position round has what the closed one bound.
        let freed = match account.settings(&wanted.symbol).margin {
            _ if !kept.is_zero() || position.amount.is_zero() => Decimal::ZERO,
            Margin::Cross => account.initial_margin(&position, now),
            Margin::Isolated => position.isolated,
        };
        if cost > account.available(now) + freed {
            return Err(Refusal::of(-2019));
        }
        Ok(())
    }

    /// Places a conditional order.
    ///
    /// # Errors
    /// What refuses it; then nothing has changed.
    pub fn place_algo(
        &mut self,
        name: &str,
        wanted: &NewAlgo,
        now: &Now<'_>,
    ) -> Result<Algo, Refusal> {
        self.check_algo(name, wanted, now)?;
        let id = self.ids.algo + 1;
        let own = || format!("sim_algo_{id}");
        let algo = Algo {
            id,
            client_id: wanted.client_id.clone().unwrap_or_else(own),
            symbol: wanted.symbol.clone(),
            side: wanted.side,
            position_side: wanted.position_side,
            kind: wanted.kind,
            trigger: wanted.trigger,
            quantity: wanted.quantity,
            close_position: wanted.close_position,
            reduce_only: wanted.reduce_only || wanted.close_position,
            working: wanted.working,
            status: AlgoStatus::New,
            created_ms: now.ms,
            updated_ms: now.ms,
            triggered_ms: 0,
            order_id: None,
            actual_price: Decimal::ZERO,
            actual_quantity: Decimal::ZERO,
            reason: String::new(),
        };
        self.keep_algo(name, &algo, now.ms);
        Ok(algo)
    }

    pub(super) fn keep_algo(&mut self, account: &str, algo: &Algo, at_ms: i64) {
        self.keep(account, Record::Algo(algo.clone()));
        self.tell(account, at_ms, News::Algo(algo.clone()));
    }

    fn check_algo(&self, name: &str, wanted: &NewAlgo, now: &Now<'_>) -> Result<(), Refusal> {
        let (account, rules) = (self.account(name)?, self.rules(&wanted.symbol)?);
        self.check_side(name, wanted.position_side, wanted.reduce_only)?;
        let in_use = |id: &String| account.waiting.values().any(|a| a.client_id == *id);
        check_id(wanted.client_id.as_ref(), in_use)?;
        rules.check_price(wanted.trigger)?;
        if !wanted.close_position {
            rules.check_quantity(wanted.quantity, true)?;
            if !wanted.reduce_only {
                rules.check_notional(wanted.trigger * wanted.quantity)?;
            }
        }
        if triggered(
            wanted.kind,
            wanted.side,
            wanted.trigger,
            now.mark(&wanted.symbol),
        ) {
            return Err(Refusal::of(-2021));
        }
        let same: Vec<&Algo> = account
            .waiting
            .values()
            .filter(|a| a.symbol == wanted.symbol)
            .collect();
        let closing = |a: &&&Algo| {
            let wants = (wanted.side, wanted.kind, wanted.position_side);
            a.close_position && (a.side, a.kind, a.position_side) == wants
        };
        if wanted.close_position && same.iter().any(|a| closing(&a)) {
            return Err(Refusal::of(-4130));
        }
        if same.len() >= MOST_ALGOS {
            return Err(Refusal::of(-4045));
        }
        Ok(())
    }
}

fn check_id(id: Option<&String>, in_use: impl Fn(&String) -> bool) -> Result<(), Refusal> {
    let Some(id) = id else {
        return Ok(());
    };
    check_client_id(id)?;
    if in_use(id) {
        Err(Refusal::of(-4116))
    } else {
        Ok(())
    }
}

/// Whether, in hedge mode, such an order closes.
pub(super) const fn closes(position: PositionSide, side: Side) -> bool {
    matches!(
        (position, side),
        (PositionSide::Long, Side::Sell) | (PositionSide::Short, Side::Buy)
    )
}

/// The price at which an order trades at once, if it does.
pub(super) fn taken_at(kind: Kind, side: Side, limit: Decimal, quote: Quote) -> Option<Decimal> {
    let (price, good) = match side {
        Side::Buy => (quote.ask, quote.ask <= limit),
        Side::Sell => (quote.bid, quote.bid >= limit),
    };
    (kind == Kind::Market || good).then_some(price)
}

/// Whether `price` triggers a conditional order.
pub(super) fn triggered(kind: Conditional, side: Side, trigger: Decimal, price: Decimal) -> bool {
    let rising = match kind {
        Conditional::StopMarket => side == Side::Buy,
        Conditional::TakeProfitMarket => side == Side::Sell,
    };
    if rising {
        price >= trigger
    } else {
        price <= trigger
    }
}
