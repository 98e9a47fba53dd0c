//! What time does: follows the price's way and lets happen, in its order, whatever it reaches: resting
//! orders fill, conditional ones are triggered, positions are liquidated, funding is paid. The result
//! depends on the way alone, not on how often somebody looks (under cross margin nearly so: what other
//! positions leave of the wallet is looked at once per stretch).

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::account::Account;
use super::execute::Fill;
use super::order::{Algo, NewOrder, Order};
use super::place::{BETWEEN_PARTS_MS, taken_at, triggered};
use super::position::{KEPT, Position};
use super::prices::{Now, Prices, Quote, crossing};
use super::record::Record;
use super::refusal::Refusal;
use super::terms::{AlgoStatus, IncomeKind, Kind, Margin, PositionSide, Side, Status, TimeInForce};
use super::venue::{FUNDING, Venue};

/// Funding is paid at every multiple of this.
const FUNDING_EVERY_MS: i64 = 8 * 3_600_000;
/// What a liquidation costs per value, if the margin has as much left: `liquidationFee` of `exchangeInfo`.
pub(crate) const CLEARANCE: Decimal = rust_decimal::dec!(0.0125);
/// The way is followed in stretches of at most this; funding times are among their ends.
const STRETCH_MS: i64 = 600_000;

/// When funding is paid next after `now_ms`.
pub(crate) const fn next_funding(now_ms: i64) -> i64 {
    (now_ms.div_euclid(FUNDING_EVERY_MS) + 1) * FUNDING_EVERY_MS
}

/// What the price reaches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Liquidation(String, PositionSide),
    Fill(i64),
    Trigger(i64),
}

/// When, to whom, what: in the order in which it happens.
type Due = (i64, String, What);

/// One contract's prices at the turns of a stretch.
type Turns = BTreeMap<String, Vec<(i64, Decimal)>>;

impl Venue {
    /// Follows the price up to `now_ms`.
    pub fn settle(&mut self, prices: &dyn Prices, now_ms: i64) {
        while self.settled_ms < now_ms {
            if self.accounts.values().all(Account::idle) {
                self.settled_ms = now_ms;
                break;
            }
            let end = (self.settled_ms / STRETCH_MS + 1) * STRETCH_MS;
            let to = end.min(now_ms);
            if let Some((at_ms, account, what)) = self.first_due(prices, to) {
                self.settled_ms = at_ms;
                let now = Now { ms: at_ms, prices };
                self.happen(&account, what, &now);
            } else {
                self.settled_ms = to;
                if to % FUNDING_EVERY_MS == 0 {
                    self.fund(&Now { ms: to, prices });
                }
            }
        }
        self.expire_keys(now_ms);
    }

    fn first_due(&self, prices: &dyn Prices, to: i64) -> Option<Due> {
        let from = self.settled_ms;
        let turns = self.turns(prices, to);
        let accounts = self.accounts.iter();
        let due = accounts.filter_map(|(name, account)| {
            let fills = account.open.values();
            let fills = fills.filter_map(|o| self.fill_due(o, prices, &turns));
            let triggers = account.waiting.values();
            let triggers = triggers.filter_map(|a| {
                let hit = |price| triggered(a.kind, a.side, a.trigger, price);
                let at = crossing(prices, &a.symbol, from, turns.get(&a.symbol)?, hit)?;
                Some((at, What::Trigger(a.id)))
            });
            let lost = account.held().filter_map(|p| {
                let cushion = account.cushion(p, &Now { ms: from, prices });
                let hit = |price| p.is_lost(price, cushion);
                let at = crossing(prices, &p.symbol, from, turns.get(&p.symbol)?, hit)?;
                Some((at, What::Liquidation(p.symbol.clone(), p.side)))
            });
            let all = fills.chain(triggers).chain(lost);
            let first = all.min();
            first.map(|(at, what)| (at, name.clone(), what))
        });
        due.min()
    }

    fn fill_due(&self, order: &Order, prices: &dyn Prices, turns: &Turns) -> Option<(i64, What)> {
        let tick = self.rules.get(&order.symbol)?.tick;
        let hit = |price| {
            let quote = Quote::around(price, tick);
            taken_at(order.kind, order.side, order.price, quote).is_some()
        };
        let from = self.settled_ms.max(order.quiet_until_ms);
        let turns = turns.get(&order.symbol)?;
        let at = crossing(prices, &order.symbol, from, turns, hit)?;
        Some((at, What::Fill(order.id)))
    }

    /// Prices at the turns of every contract in which something is open.
    fn turns(&self, prices: &dyn Prices, to: i64) -> Turns {
        let active: BTreeSet<&String> = self
            .accounts
            .values()
            .flat_map(|a| {
                let open = a.open.values().map(|o| &o.symbol);
                let waiting = a.waiting.values().map(|a| &a.symbol);
                open.chain(waiting).chain(a.held().map(|p| &p.symbol))
            })
            .collect();
        let with_prices = |symbol: &String| {
            let turns = prices.turns(symbol, self.settled_ms, to);
            let known = turns
                .into_iter()
                .filter_map(|ms| Some((ms, prices.at(symbol, ms)?)));
            known.collect()
        };
        let active = active.into_iter();
        active.map(|s| (s.clone(), with_prices(s))).collect()
    }

    fn happen(&mut self, account: &str, what: What, now: &Now<'_>) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        match what {
            What::Fill(id) => {
                if let Some(order) = state.open.get(&id).cloned() {
                    self.fill_resting(account, order, now);
                }
            }
            What::Trigger(id) => {
                if let Some(algo) = state.waiting.get(&id).cloned() {
                    self.trigger(account, algo, now);
                }
            }
            What::Liquidation(symbol, side) => {
                let position = state.position(&symbol, side);
                self.liquidate(account, &position, now);
            }
        }
    }

    /// A resting order is reached: it fills at its own price.
    fn fill_resting(&mut self, account: &str, mut order: Order, now: &Now<'_>) {
        let mut quantity = self.part(&order);
        if order.reduce_only {
            let state = self.accounts.get(account);
            let position = state.map(|a| a.position(&order.symbol, order.position_side));
            let closable = position.map(|p| p.closable(order.side));
            quantity = quantity.min(closable.unwrap_or_default());
        }
        if quantity.is_zero() {
            self.end(account, &mut order, Status::Expired, now.ms);
            return;
        }
        let fill = Fill {
            quantity,
            price: order.price,
            maker: true,
        };
        if quantity < order.rest() {
            order.quiet_until_ms = now.ms + BETWEEN_PARTS_MS;
        }
        self.fill(account, &mut order, fill, now);
    }

    /// A conditional order is reached: it becomes a market order, or is refused.
    fn trigger(&mut self, account: &str, mut algo: Algo, now: &Now<'_>) {
        algo.triggered_ms = now.ms;
        match self.market_order(account, &algo, now) {
            Ok((mut order, quote)) => {
                algo.order_id = Some(order.id);
                self.end_algo(account, &mut algo, AlgoStatus::Triggered, "", now.ms);
                self.enter(account, &mut order, quote, now);
                algo.actual_price = order.mean().round_dp(KEPT);
                algo.actual_quantity = order.filled;
                self.end_algo(account, &mut algo, AlgoStatus::Finished, "", now.ms);
            }
            Err(None) => self.end_algo(account, &mut algo, AlgoStatus::Expired, "", now.ms),
            Err(Some(refusal)) => {
                let words = refusal.words;
                self.end_algo(account, &mut algo, AlgoStatus::Rejected, &words, now.ms);
            }
        }
    }

    /// The order a conditional one becomes; `None` if there is nothing left to close.
    fn market_order(
        &self,
        account: &str,
        algo: &Algo,
        now: &Now<'_>,
    ) -> Result<(Order, Quote), Option<Refusal>> {
        if let Some(code) = self.refuse_triggers.get(account) {
            return Err(Some(Refusal::of(*code)));
        }
        let state = self.account(account)?;
        let position = state.position(&algo.symbol, algo.position_side);
        let closable = position.closable(algo.side);
        let quantity = match (algo.close_position, algo.reduce_only) {
            (true, _) if closable.is_zero() => return Err(None),
            (true, _) => closable,
            (false, true) if closable.is_zero() => return Err(Some(Refusal::of(-2022))),
            (false, true) => algo.quantity.min(closable),
            (false, false) => algo.quantity,
        };
        let quote = self.quote(&algo.symbol, now)?;
        let order = forced(algo, quantity, self.ids.order + 1, now.ms);
        let wanted = NewOrder {
            symbol: order.symbol.clone(),
            side: order.side,
            position_side: order.position_side,
            kind: Kind::Market,
            tif: TimeInForce::Gtc,
            price: Decimal::ZERO,
            quantity,
            reduce_only: order.reduce_only,
            client_id: None,
        };
        let price = taken_at(Kind::Market, algo.side, Decimal::ZERO, quote);
        self.afford(account, &wanted, quantity, price.unwrap_or_default(), now)?;
        Ok((order, quote))
    }

    /// Closes an account's position in a contract as if its margin were used up now.
    ///
    /// # Errors
    /// If there is no such account or position.
    pub fn liquidate_now(
        &mut self,
        account: &str,
        symbol: &str,
        now: &Now<'_>,
    ) -> Result<(), Refusal> {
        let held = self.account(account)?.held();
        let held: Vec<Position> = held.filter(|p| p.symbol == symbol).cloned().collect();
        if held.is_empty() {
            return Err(Refusal::new(-1102, "no such position to liquidate"));
        }
        for position in held {
            self.liquidate(account, &position, now);
        }
        Ok(())
    }

    /// A position's margin is used up: its contract's orders end, it is closed at the mark price, and of
    /// what its margin has left the fee for that goes to the insurance fund, which also bears what is missing.
    fn liquidate(&mut self, account: &str, position: &Position, now: &Now<'_>) {
        let symbol = position.symbol.as_str();
        // The contract is listed, or nothing could be open in it.
        let _ = self.cancel_all(account, symbol, now.ms);
        self.end_algos(account, symbol, AlgoStatus::Expired, "liquidation", now.ms);
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let isolated = state.settings(symbol).margin == Margin::Isolated;
        let lost = state.wallet
            - if isolated {
                position.isolated
            } else {
                state.cross_wallet()
            };
        let mut order = liquidation(position, self.ids.order + 1, now.ms);
        self.keep(account, Record::Order(order.clone()));
        self.tell_order(account, &order, "NEW", None, now.ms);
        let fill = Fill {
            quantity: order.quantity,
            price: now.mark(symbol),
            maker: false,
        };
        self.fill(account, &mut order, fill, now);
        let wallet = self.accounts.get(account).map(|a| a.wallet);
        let rest = wallet.unwrap_or_default() - lost;
        if isolated || rest.is_sign_negative() {
            let fee = (order.quote * CLEARANCE).round_dp(KEPT);
            let cleared = -rest.min(fee);
            self.pay(account, symbol, IncomeKind::Insurance, cleared, now);
            self.tell_account(account, "INSURANCE_CLEAR", cleared, &[], now);
        }
    }

    /// Every position pays or gets its funding.
    fn fund(&mut self, now: &Now<'_>) {
        for name in self.names() {
            let held = self.accounts.get(&name).map(|a| a.held().cloned());
            let held: Vec<Position> = held.into_iter().flatten().collect();
            for mut position in held {
                let value = position.notional(now.mark(&position.symbol));
                let amount = -(value * FUNDING).round_dp(KEPT);
                let symbol = position.symbol.clone();
                self.pay(&name, &symbol, IncomeKind::Funding, amount, now);
                if !position.isolated.is_zero() {
                    position.isolated += amount;
                    self.keep(&name, Record::Position(position.clone()));
                }
                self.tell_account(&name, "FUNDING_FEE", amount, &[position], now);
            }
        }
    }

    fn pay(&mut self, account: &str, symbol: &str, kind: IncomeKind, sum: Decimal, now: &Now<'_>) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let wallet = state.wallet + sum;
        self.keep(account, Record::Wallet(wallet));
        self.income(account, symbol, kind, sum, None, now.ms);
    }
}

/// The market order of a triggered conditional one; it keeps the client's id.
fn forced(algo: &Algo, quantity: Decimal, id: i64, at_ms: i64) -> Order {
    Order {
        id,
        client_id: algo.client_id.clone(),
        symbol: algo.symbol.clone(),
        side: algo.side,
        position_side: algo.position_side,
        kind: Kind::Market,
        tif: TimeInForce::Gtc,
        price: Decimal::ZERO,
        quantity,
        filled: Decimal::ZERO,
        quote: Decimal::ZERO,
        reduce_only: algo.reduce_only,
        close_position: algo.close_position,
        origin: Some(algo.kind),
        status: Status::New,
        created_ms: at_ms,
        updated_ms: at_ms,
        quiet_until_ms: 0,
        in_parts: false,
    }
}

/// The order that closes a lost position, named as Binance names it.
fn liquidation(position: &Position, id: i64, at_ms: i64) -> Order {
    Order {
        id,
        client_id: format!("autoclose-{id}"),
        symbol: position.symbol.clone(),
        side: if position.amount.is_sign_positive() {
            Side::Sell
        } else {
            Side::Buy
        },
        position_side: position.side,
        kind: Kind::Liquidation,
        tif: TimeInForce::Ioc,
        price: Decimal::ZERO,
        quantity: position.amount.abs(),
        filled: Decimal::ZERO,
        quote: Decimal::ZERO,
        reduce_only: true,
        close_position: false,
        origin: None,
        status: Status::New,
        created_ms: at_ms,
        updated_ms: at_ms,
        quiet_until_ms: 0,
        in_parts: false,
    }
}
