//! A live book on an exchange that loses answers, rejects, fills in part, is slow and shows executed orders late, while the
//! operator trades beside it and the book's writer crashes at random times. Seeded: a failing seed is named and can be run
//! alone.
//!
//! After every step: no order is submitted twice, none is executed twice, the book never has more than
//! the exchange filled. After the last fault: position, profit, fees and funding equal the exchange's to the
//! last digit, an open position has its stop, no orphaned order rests.

use std::collections::BTreeMap;

use bearish_trader_core::book::{
    BookEvent, BookPhase, BookRecord, ExecutionEvent, ExitReason, LiveConfig, ReconciliationTask,
    compare_with_exchange, reconciliation_tasks, resting_orders,
};
use bearish_trader_core::fixed_point::{Price, Qty};
use bearish_trader_core::orders::{
    AccountTrade, ClientOrderId, ExchangeView, ExecutionReport, Fill, FillCosts, FundingPayment,
    Leg, OpenOrder, Order, OrderCallOutcome, OrderSide, OrderStatus, OrderType, WorkingStop,
};
use bearish_trader_core::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, CALM, MINUTE, Random, candle, config, dec, filters, inputs_at, signal};

const WINDOW_MS: i64 = 3_000;
const SEEDS: u64 = 400;
/// Entries tried in one run.
const ENTRIES: i64 = 3;
const STEPS: usize = 40;

/// Status of an order on the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExchangeOrderState {
    Open,
    Ended,
}

/// An order on the exchange.
#[derive(Debug, Clone)]
struct ExchangeOrder {
    order: Order,
    state: ExchangeOrderState,
    fill: Option<Fill>,
    is_canceled: bool,
}

/// A minimal exchange: one position, exact sums.
#[derive(Default)]
struct Exchange {
    now: i64,
    last: i64,
    orders: BTreeMap<ClientOrderId, ExchangeOrder>,
    /// Submitted, but not yet arrived: it arrives later if `recvWindow` still allows it.
    in_transit: Vec<Order>,
    sent: Vec<ClientOrderId>,
    /// Orders that are executed and not shown before this time.
    hidden_until: BTreeMap<ClientOrderId, i64>,
    /// Every trade with the order that made it; `None` for the operator's.
    trades: Vec<(Option<ClientOrderId>, OrderSide, Fill)>,
    position: Decimal,
    entry_price: Decimal,
    wallet: Decimal,
    payments: Vec<FundingPayment>,
}

impl Exchange {
    fn price(&self) -> Price {
        Price::from_units(self.last * 10_000_000)
    }

    /// The order arrives; `Err` is the error code of its rejection.
    fn accept(&mut self, order: &Order, partly: bool) -> Result<(), i64> {
        assert!(
            !self.orders.contains_key(&order.client_order_id),
            "{} is on the exchange twice",
            order.client_order_id
        );
        if self.now - order.at.0 > i64::from(order.recv_window_ms) {
            return Err(-1021);
        }
        let (standing, fill) = match order.order_type {
            OrderType::Trigger { .. } if self.position.is_zero() => return Err(-2021),
            OrderType::Trigger { price } if self.reached(order, price) => return Err(-2021),
            OrderType::Trigger { .. } if self.open_of(order.leg).next().is_some() => {
                return Err(-4130);
            }
            OrderType::Trigger { .. } => (ExchangeOrderState::Open, None),
            OrderType::Market { .. } if order.leg == Leg::Exit && self.position.is_zero() => {
                return Err(-2022);
            }
            OrderType::Market { quantity } => {
                let quantity = if partly { half(quantity) } else { quantity };
                let id = Some(order.client_order_id.clone());
                (
                    ExchangeOrderState::Ended,
                    Some(self.fill(id, order.side, order.leg, quantity)),
                )
            }
        };
        let order = order.clone();
        let id = order.client_order_id.clone();
        let there = ExchangeOrder {
            order,
            state: standing,
            fill,
            is_canceled: false,
        };
        self.orders.insert(id, there);
        Ok(())
    }

    fn reached(&self, order: &Order, trigger: Price) -> bool {
        match (order.side, order.leg) {
            (OrderSide::Sell, Leg::Stop) | (OrderSide::Buy, Leg::Target) => self.price() <= trigger,
            _ => self.price() >= trigger,
        }
    }

    fn open_of(&self, leg: Leg) -> impl Iterator<Item = &ExchangeOrder> {
        let is_open =
            move |o: &&ExchangeOrder| o.state == ExchangeOrderState::Open && o.order.leg == leg;
        self.orders.values().filter(is_open)
    }

    fn is_shown(&self, id: &ClientOrderId) -> bool {
        self.hidden_until
            .get(id)
            .is_none_or(|until| self.now >= *until)
    }

    /// The operator adds to the position or reduces it.
    fn trade_manually(&mut self, random: &mut Random) {
        let quantity = Qty::from_units((1 + random.below(20)) * 1_000_000);
        let leg = if random.below(2) == 0 {
            Leg::Entry
        } else {
            Leg::Exit
        };
        let side = if self.position.is_sign_positive() {
            protocol::event::PositionSide::Long
        } else {
            protocol::event::PositionSide::Short
        };
        if !self.position.is_zero() {
            self.fill(None, OrderSide::for_leg(side, leg), leg, quantity);
        }
    }

    fn fill(
        &mut self,
        order: Option<ClientOrderId>,
        way: OrderSide,
        leg: Leg,
        quantity: Qty,
    ) -> Fill {
        let price = self.price();
        let open = self.position.abs();
        let quantity = if leg == Leg::Entry {
            quantity
        } else {
            quantity.min(Qty::from_decimal(open).unwrap())
        };
        let (at, amount) = (price.to_decimal(), quantity.to_decimal());
        let signed = if way == OrderSide::Buy {
            amount
        } else {
            -amount
        };
        let realised = if leg == Leg::Entry {
            let worth = self.entry_price * self.position + at * signed;
            self.entry_price = worth / (self.position + signed);
            Decimal::ZERO
        } else {
            ((self.entry_price - at) * signed).round_dp(8)
        };
        let fee = (at * amount * dec("0.0004")).round_dp(8);
        self.position += signed;
        self.wallet += realised - fee;
        let fill = Fill {
            quantity,
            price,
            at: UtcMs(self.now),
            exchange_order_id: None,
            costs: Some(FillCosts {
                fee,
                realized_pnl: realised,
                ..FillCosts::default()
            }),
        };
        self.trades.push((order, way, fill));
        fill
    }

    fn move_price(&mut self, by: i64) {
        self.last += by;
        let waiting: Vec<Order> = self
            .orders
            .values()
            .filter(|o| o.state == ExchangeOrderState::Open)
            .map(|o| o.order.clone())
            .collect();
        for order in waiting {
            let OrderType::Trigger { price } = order.order_type else {
                continue;
            };
            if !self.reached(&order, price) {
                continue;
            }
            let id = Some(order.client_order_id.clone());
            let fill = (!self.position.is_zero())
                .then(|| self.fill(id, order.side, order.leg, Qty::from_units(i64::MAX)));
            let there = self.orders.get_mut(&order.client_order_id).unwrap();
            (there.state, there.fill) = (ExchangeOrderState::Ended, fill);
        }
    }

    fn query_order(&self, id: &ClientOrderId) -> OrderCallOutcome {
        match self.orders.get(id).filter(|_| self.is_shown(id)) {
            None => OrderCallOutcome::NotFound,
            Some(there) => OrderCallOutcome::Reported(ExecutionReport {
                is_open: there.state == ExchangeOrderState::Open,
                fill: there.fill,
                is_canceled: there.is_canceled,
            }),
        }
    }

    fn cancel(&mut self, id: &ClientOrderId) {
        if let Some(there) = self.orders.get_mut(id)
            && there.state == ExchangeOrderState::Open
        {
            there.state = ExchangeOrderState::Ended;
            there.is_canceled = true;
        }
    }

    /// The operator cancels a stop or target of ours.
    fn cancel_manually(&mut self, random: &mut Random) {
        let leg = [Leg::Stop, Leg::Target][usize::from(random.below(2) == 0)];
        let open = self.open_of(leg).next();
        if let Some(id) = open.map(|o| o.order.client_order_id.clone()) {
            self.cancel(&id);
        }
    }

    /// Orders in flight arrive, or are too late.
    fn deliver(&mut self) {
        for order in std::mem::take(&mut self.in_transit) {
            let _ = self.accept(&order, false);
        }
    }

    fn pay_funding(&mut self) {
        if !self.position.is_zero() {
            let (at, amount) = (UtcMs(self.now), self.position * dec("0.37"));
            self.payments.push(FundingPayment { at, amount });
            self.wallet -= amount;
        }
    }

    fn view(&self) -> ExchangeView {
        let open = self
            .orders
            .values()
            .filter(|o| o.state == ExchangeOrderState::Open)
            .filter(|o| self.is_shown(&o.order.client_order_id));
        ExchangeView {
            position: self.position,
            entry_price: (!self.position.is_zero()).then_some(self.entry_price),
            open_orders: open
                .map(|o| OpenOrder {
                    client_order_id: o.order.client_order_id.to_string(),
                    exchange_order_id: 1,
                    is_conditional: true,
                    stop: (o.order.leg == Leg::Stop).then_some(WorkingStop {
                        side: o.order.side,
                        trigger_price: None,
                        quantity: None,
                    }),
                })
                .collect(),
        }
    }
}

fn half(quantity: Qty) -> Qty {
    Qty::from_units(quantity.units() / 2).floor_to("0.001".parse().unwrap())
}

struct Run {
    book: Book,
    exchange: Exchange,
    random: Random,
    boots: u32,
    /// The exchange no longer fails.
    is_fault_free: bool,
}

impl Run {
    fn with_seed(seed: u64) -> Self {
        let mut config = config();
        config.live = Some(LiveConfig {
            installation_id: "q7x2ab".parse().unwrap(),
            recv_window_ms: u32::try_from(WINDOW_MS).unwrap(),
        });
        let exchange = Exchange {
            last: 400_000,
            ..Exchange::default()
        };
        Self {
            book: Book::opened(config, filters(), dec("10000")),
            exchange,
            random: Random(seed),
            boots: 1,
            is_fault_free: false,
        }
    }

    fn fails(&mut self, one_in: u64) -> bool {
        !self.is_fault_free && self.random.below(one_in) == 0
    }

    fn now(&self) -> UtcMs {
        UtcMs(self.exchange.now)
    }

    fn handle_execution(&mut self, event: ExecutionEvent) {
        self.decide(BookEvent::Execution(event));
    }

    /// Decides, appends, submits what was intended; the writer may crash between any two steps.
    fn decide(&mut self, event: BookEvent) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let records = self.book.handle_event(event);
            for record in &records {
                let BookRecord::OrderIntended(order) = record else {
                    continue;
                };
                let known = self
                    .book
                    .state
                    .order(&order.client_order_id)
                    .map(|o| o.status.clone());
                if known != Some(OrderStatus::Intended) {
                    continue;
                }
                if self.fails(12) {
                    return self.replace_writer();
                }
                let (id, now) = (order.client_order_id.clone(), self.now());
                let answer = self.send(order);
                if self.fails(12) {
                    return self.replace_writer();
                }
                events.push(BookEvent::Execution(ExecutionEvent::OrderCallFinished {
                    client_order_id: id,
                    outcome: answer,
                    now,
                }));
            }
        }
    }

    fn send(&mut self, order: &Order) -> OrderCallOutcome {
        assert!(
            !self.exchange.sent.contains(&order.client_order_id),
            "{} is sent twice",
            order.client_order_id
        );
        self.exchange.sent.push(order.client_order_id.clone());
        let unclear = || OrderCallOutcome::Unknown {
            error: "no answer".to_owned(),
        };
        if self.fails(10) {
            if self.fails(2) {
                self.exchange.in_transit.push(order.clone());
            }
            return unclear();
        }
        if self.fails(15) {
            return OrderCallOutcome::Rejected {
                code: -1003,
                reason: "too many requests".to_owned(),
            };
        }
        let partly = self.fails(8);
        let taken = self.exchange.accept(order, partly);
        if self.fails(8) {
            if self.fails(3) {
                let until = self.exchange.now + self.random.below(15_000);
                let id = order.client_order_id.clone();
                self.exchange.hidden_until.insert(id, until);
            }
            return unclear();
        }
        match taken {
            Ok(()) => Self::without_costs(self.exchange.query_order(&order.client_order_id)),
            Err(code) => OrderCallOutcome::Rejected {
                code,
                reason: "rejected".to_owned(),
            },
        }
    }

    /// The answer to an order does not contain its costs.
    fn without_costs(answer: OrderCallOutcome) -> OrderCallOutcome {
        match answer {
            OrderCallOutcome::Reported(ExecutionReport {
                is_open: working,
                fill,
                is_canceled,
            }) => OrderCallOutcome::Reported(ExecutionReport {
                is_open: working,
                is_canceled,
                fill: fill.map(|fill| Fill {
                    costs: None,
                    ..fill
                }),
            }),
            other => other,
        }
    }

    /// Another process continues from the journal.
    fn replace_writer(&mut self) {
        self.book = self.book.recovered(self.book.journal.len());
        self.boots += 1;
        self.book.change_writer(&format!("boot-{}", self.boots));
    }

    fn reconcile_round(&mut self) {
        let now = self.now();
        self.handle_execution(ExecutionEvent::Ticked { now });
        let orders: Vec<Order> = resting_orders(&self.book.state).cloned().collect();
        for order in orders {
            self.query_order(&order);
        }
        for task in reconciliation_tasks(&self.book.state, now) {
            match task {
                ReconciliationTask::QueryOrder(order) => self.query_order(&order),
                ReconciliationTask::CancelOrder(order) => {
                    if !self.fails(5) {
                        self.exchange.cancel(&order.client_order_id);
                    }
                    self.query_order(&order);
                }
                ReconciliationTask::QueryCosts(order, _) => self.query_costs(&order),
                ReconciliationTask::QueryTrades => self.query_trades(),
                ReconciliationTask::QueryFunding { from } => self.query_funding(from),
            }
        }
        if !self.fails(3) {
            self.compare_with_exchange();
        }
    }

    fn compare_with_exchange(&mut self) {
        let ours = "q7x2ab".parse().unwrap();
        let (now, view) = (self.now(), self.exchange.view());
        let found = compare_with_exchange(&self.book.state, &ours, &view, now);
        for orphan in &found.orphans {
            let id = ClientOrderId::from_exchange(&orphan.client_order_id);
            self.exchange.cancel(&id);
        }
        for order in found.missing_orders.iter().chain(&found.found_orders) {
            self.query_order(order);
        }
        let Some(surplus) = found.position_difference else {
            return;
        };
        match &self.book.state.phase {
            // Also without a surplus: the operator may have closed what appeared.
            BookPhase::Flat => self.query_lost_entries(),
            BookPhase::Open(_) if !surplus.is_zero() => self.query_trades(),
            BookPhase::Open(_) if found.is_protected => {
                self.handle_execution(ExecutionEvent::OtherStopFound);
            }
            BookPhase::Open(_) => {
                self.handle_execution(ExecutionEvent::StopMissing { now });
            }
            _ => {}
        }
    }

    fn query_lost_entries(&mut self) {
        for lost in self.book.state.lost_entries.clone() {
            let client_order_id = lost.order.client_order_id;
            let answer = self.exchange.query_order(&client_order_id);
            let OrderCallOutcome::Reported(ExecutionReport {
                fill: Some(fill), ..
            }) = Self::without_costs(answer)
            else {
                continue;
            };
            let now = self.now();
            self.handle_execution(ExecutionEvent::LateEntryFilled {
                client_order_id,
                fill,
                now,
            });
        }
    }

    fn query_trades(&mut self) {
        if let Some(trades) = self.trades() {
            let now = self.now();
            self.handle_execution(ExecutionEvent::TradesReceived { trades, now });
        }
    }

    /// The trades, with their positions in the list as ids; `None` while one belongs to an order that is not shown.
    fn trades(&self) -> Option<Vec<AccountTrade>> {
        let mut trades = Vec::new();
        for (trade_id, (order, side, fill)) in self.exchange.trades.iter().enumerate() {
            let is_ours = order.as_ref().is_some_and(|id| {
                let known = self.book.state.order(id);
                known.is_some_and(|o| !matches!(o.status, OrderStatus::ClosedUnfilled { .. }))
            });
            if order.as_ref().is_some_and(|id| !self.exchange.is_shown(id)) {
                return None;
            }
            trades.push(AccountTrade {
                trade_id: i64::try_from(trade_id).unwrap(),
                is_ours,
                side: *side,
                fill: *fill,
            });
        }
        Some(trades)
    }

    fn query_costs(&mut self, order: &Order) {
        let client_order_id = order.client_order_id.clone();
        let on_exchange = self.exchange.orders.get(&client_order_id);
        let fill = on_exchange.and_then(|o| o.fill);
        let costs = fill.and_then(|fill| fill.costs);
        if let (Some(costs), false) = (costs, self.fails(3)) {
            let now = self.now();
            self.handle_execution(ExecutionEvent::CostsReceived {
                client_order_id,
                costs,
                now,
            });
        }
    }

    fn query_order(&mut self, order: &Order) {
        if self.fails(4) {
            return;
        }
        let answer = self.exchange.query_order(&order.client_order_id);
        let answer = Self::without_costs(answer);
        let (id, now) = (order.client_order_id.clone(), self.now());
        self.handle_execution(ExecutionEvent::OrderCallFinished {
            client_order_id: id,
            outcome: answer,
            now,
        });
    }

    fn query_funding(&mut self, from: UtcMs) {
        let due = self.exchange.payments.iter().filter(|p| p.at >= from);
        let (payments, now) = (due.copied().collect(), self.now());
        let trades = self.trades();
        self.handle_execution(ExecutionEvent::FundingReceived {
            payments,
            trades,
            now,
        });
    }

    fn step(&mut self) {
        self.exchange.now += self.random.below(1_500) + 1;
        let by = self.random.around_zero(1_500);
        match self.random.below(14) {
            13 => self.exchange.cancel_manually(&mut self.random),
            12 => self.exchange.trade_manually(&mut self.random),
            0 => self.exchange.deliver(),
            1 => self.exchange.move_price(by * 4),
            2 => self.exchange.pay_funding(),
            3 => self.replace_writer(),
            4 if self.random.below(4) == 0 => {
                let (why, now) = (ExitReason::AccountLatched, self.now());
                self.handle_execution(ExecutionEvent::CloseRequested { reason: why, now });
            }
            5..=7 => self.exchange.move_price(by),
            _ => self.reconcile_round(),
        }
        self.check_always();
    }

    fn check_always(&self) {
        if let BookPhase::Open(position) = &self.book.state.phase {
            let manual = self.book.state.orders.iter().filter(|o| {
                o.order.leg == Leg::Entry && o.order.reason == Some(ExitReason::External)
            });
            let manual: i64 = manual
                .filter_map(|o| o.fill())
                .map(|f| f.quantity.units())
                .sum();
            let filled: i64 = self
                .exchange
                .orders
                .values()
                .filter(|o| o.order.leg == Leg::Entry && o.fill.is_some())
                .filter(|o| self.book.state.order(&o.order.client_order_id).is_some())
                .filter_map(|o| o.fill.map(|f| f.quantity.units()))
                .sum();
            assert_eq!(position.quantity.units(), filled + manual);
        }
    }

    /// No more faults: every unknown outcome is resolved.
    fn settle_without_faults(&mut self) {
        self.is_fault_free = true;
        for _ in 0..60 {
            self.exchange.deliver();
            self.exchange.now += 1_000;
            self.reconcile_round();
        }
        self.is_fault_free = false;
    }

    fn check_settled(&self, seed: u64) {
        let state = &self.book.state;
        let ours = "q7x2ab".parse().unwrap();
        let found = compare_with_exchange(state, &ours, &self.exchange.view(), self.now());
        assert_eq!(
            found.position_difference,
            Some(Decimal::ZERO),
            "seed {seed}: {state:#?}"
        );
        assert!(found.orphans.is_empty(), "seed {seed}: {found:?}");
        match &state.phase {
            BookPhase::Flat => {
                assert_eq!(self.exchange.position, Decimal::ZERO, "seed {seed}");
                assert_eq!(
                    state.equity - dec("10000"),
                    self.exchange.wallet,
                    "seed {seed}"
                );
            }
            BookPhase::Open(_) => {
                assert!(found.is_protected, "seed {seed}: no stop rests: {state:#?}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

#[test]
fn live_book_agrees_with_the_exchange_after_any_fault() {
    let (mut trades, mut boots) = (0, 0);
    for seed in 0..SEEDS {
        let mut run = Run::with_seed(seed);
        for entry in 1..=ENTRIES {
            let bar = 30 * entry;
            run.exchange.now = run.exchange.now.max(bar * MINUTE);
            let strategy = [OversoldBounce, ShortTheRip][usize::from(seed % 2 == 0)];
            let (signal, now) = (Some(signal(strategy, bar)), inputs_at(bar * MINUTE));
            let candle = candle(bar - 1, CALM);
            run.exchange.now = now.exchange_time.0;
            run.exchange.last = 400_000;
            run.decide(BookEvent::CandleClosed {
                candle,
                signal,
                inputs: now,
            });
            for _ in 0..STEPS {
                run.step();
            }
            run.settle_without_faults();
            run.check_settled(seed);
            let (why, now) = (ExitReason::AccountLatched, run.now());
            run.handle_execution(ExecutionEvent::CloseRequested { reason: why, now });
            run.settle_without_faults();
            run.check_settled(seed);
            assert_eq!(run.book.state.phase, BookPhase::Flat, "seed {seed}");
        }
        trades += run.book.state.trades;
        boots += run.boots;
    }
    // The runs contain every kind of fault.
    assert!(trades > SEEDS, "{trades} trades");
    assert!(u64::from(boots) > 3 * SEEDS, "{boots} writers");
}
