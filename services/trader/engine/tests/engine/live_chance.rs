//! A book on an exchange that loses answers, refuses, fills in part, is slow, and whose book's owner dies
//! at any moment. Seeded chance: a failing seed is named and can be run alone.
//!
//! Held after every step: no order is sent twice, none is executed twice, the book never holds more than
//! the exchange filled. Held once calm returns: position, profit, fees and funding are the exchange's to the
//! last digit, an open position has its stop, nothing of ours rests that nobody wants.

use std::collections::BTreeMap;

use bearish_engine::book::{
    BookEvent, BookRecord, ExitReason, LiveEvent, Phase, Task, Terms, compare, resting, tasks,
};
use bearish_engine::fixed::{Price, Qty};
use bearish_engine::orders::{
    Answer, ClientId, Costs, Fate, Fill, Kind, Leg, OpenOrder, Order, Payment, Report, View, Way,
};
use bearish_engine::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, CALM, Chance, MINUTE, at, candle, config, dec, rules, signal};

const WINDOW_MS: i64 = 3_000;
const SEEDS: u64 = 400;
/// Entries tried in one run.
const ENTRIES: i64 = 3;
const STEPS: usize = 40;

/// How an order stands on the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Working,
    Ended,
}

/// An order on the exchange.
#[derive(Debug, Clone)]
struct There {
    order: Order,
    standing: Standing,
    fill: Option<Fill>,
}

/// An exchange as strict as it must be for this: one position, exact sums.
#[derive(Default)]
struct Exchange {
    now: i64,
    last: i64,
    orders: BTreeMap<ClientId, There>,
    /// Sent, and not there yet: it arrives later, if its time still allows.
    under_way: Vec<Order>,
    sent: Vec<ClientId>,
    position: Decimal,
    entry: Decimal,
    wallet: Decimal,
    payments: Vec<Payment>,
}

impl Exchange {
    fn price(&self) -> Price {
        Price::from_units(self.last * 10_000_000)
    }

    /// The order arrives; `Err` is the code that it is refused with.
    fn take(&mut self, order: &Order, partly: bool) -> Result<(), i64> {
        assert!(
            !self.orders.contains_key(&order.id),
            "{} is on the exchange twice",
            order.id
        );
        if self.now - order.at.0 > i64::from(order.window_ms) {
            return Err(-1021);
        }
        let (standing, fill) = match order.kind {
            Kind::Trigger { .. } if self.position.is_zero() => return Err(-2021),
            Kind::Trigger { price } if self.reached(order, price) => return Err(-2021),
            Kind::Trigger { .. } => (Standing::Working, None),
            Kind::Market { .. } if order.leg == Leg::Exit && self.position.is_zero() => {
                return Err(-2022);
            }
            Kind::Market { quantity } => {
                let quantity = if partly { half(quantity) } else { quantity };
                (
                    Standing::Ended,
                    Some(self.fill(order.way, order.leg, quantity)),
                )
            }
        };
        let order = order.clone();
        let id = order.id.clone();
        let there = There {
            order,
            standing,
            fill,
        };
        self.orders.insert(id, there);
        Ok(())
    }

    fn reached(&self, order: &Order, trigger: Price) -> bool {
        match (order.way, order.leg) {
            (Way::Sell, Leg::Stop) | (Way::Buy, Leg::Target) => self.price() <= trigger,
            _ => self.price() >= trigger,
        }
    }

    fn fill(&mut self, way: Way, leg: Leg, quantity: Qty) -> Fill {
        let price = self.price();
        let open = self.position.abs();
        let quantity = if leg == Leg::Entry {
            quantity
        } else {
            quantity.min(Qty::from_decimal(open).unwrap())
        };
        let (at, amount) = (price.to_decimal(), quantity.to_decimal());
        let signed = if way == Way::Buy { amount } else { -amount };
        let realised = if leg == Leg::Entry {
            self.entry = at;
            Decimal::ZERO
        } else {
            (self.entry - at) * signed
        };
        let fee = (at * amount * dec("0.0004")).round_dp(8);
        self.position += signed;
        self.wallet += realised - fee;
        Fill {
            quantity,
            price,
            at: UtcMs(self.now),
            costs: Some(Costs { fee, realised }),
        }
    }

    fn move_price(&mut self, by: i64) {
        self.last += by;
        let waiting: Vec<Order> = self
            .orders
            .values()
            .filter(|o| o.standing == Standing::Working)
            .map(|o| o.order.clone())
            .collect();
        for order in waiting {
            let Kind::Trigger { price } = order.kind else {
                continue;
            };
            if !self.reached(&order, price) {
                continue;
            }
            let fill = (!self.position.is_zero())
                .then(|| self.fill(order.way, order.leg, Qty::from_units(i64::MAX)));
            let there = self.orders.get_mut(&order.id).unwrap();
            (there.standing, there.fill) = (Standing::Ended, fill);
        }
    }

    fn look_up(&self, id: &ClientId) -> Answer {
        match self.orders.get(id) {
            None => Answer::NotFound,
            Some(there) => Answer::Has(Report {
                working: there.standing == Standing::Working,
                fill: there.fill,
            }),
        }
    }

    fn cancel(&mut self, id: &ClientId) {
        if let Some(there) = self.orders.get_mut(id) {
            there.standing = Standing::Ended;
        }
    }

    /// What is under way arrives, or is too late.
    fn deliver(&mut self) {
        for order in std::mem::take(&mut self.under_way) {
            let _ = self.take(&order, false);
        }
    }

    fn pay(&mut self) {
        if !self.position.is_zero() {
            let (at, amount) = (UtcMs(self.now), self.position * dec("0.37"));
            self.payments.push(Payment { at, amount });
            self.wallet -= amount;
        }
    }

    fn view(&self) -> View {
        let open = self
            .orders
            .values()
            .filter(|o| o.standing == Standing::Working);
        View {
            position: self.position,
            open: open
                .map(|o| OpenOrder {
                    client_id: o.order.id.to_string(),
                    id: 1,
                    conditional: true,
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
    chance: Chance,
    boots: u32,
    /// Nothing fails any more.
    calm: bool,
}

impl Run {
    fn of(seed: u64) -> Self {
        let mut config = config();
        config.live = Some(Terms {
            deployment: "q7x2ab".parse().unwrap(),
            window_ms: u32::try_from(WINDOW_MS).unwrap(),
        });
        let exchange = Exchange {
            last: 400_000,
            ..Exchange::default()
        };
        Self {
            book: Book::opened(config, rules(), dec("10000")),
            exchange,
            chance: Chance(seed),
            boots: 1,
            calm: false,
        }
    }

    fn fails(&mut self, one_in: u64) -> bool {
        !self.calm && self.chance.below(one_in) == 0
    }

    fn now(&self) -> UtcMs {
        UtcMs(self.exchange.now)
    }

    fn live(&mut self, event: LiveEvent) {
        self.decide(BookEvent::Live(event));
    }

    /// Decide, append, send what was intended; the owner may die between any two of these.
    fn decide(&mut self, event: BookEvent) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let records = self.book.on(event);
            for record in &records {
                let BookRecord::OrderIntended(order) = record else {
                    continue;
                };
                let known = self.book.state.order(&order.id).map(|o| o.fate.clone());
                if known != Some(Fate::Intended) {
                    continue;
                }
                if self.fails(12) {
                    return self.die();
                }
                let (id, now) = (order.id.clone(), self.now());
                let answer = self.send(order);
                if self.fails(12) {
                    return self.die();
                }
                events.push(BookEvent::Live(LiveEvent::Answered { id, answer, now }));
            }
        }
    }

    fn send(&mut self, order: &Order) -> Answer {
        assert!(
            !self.exchange.sent.contains(&order.id),
            "{} is sent twice",
            order.id
        );
        self.exchange.sent.push(order.id.clone());
        let unclear = || Answer::Unclear {
            why: "no answer".to_owned(),
        };
        if self.fails(10) {
            if self.fails(2) {
                self.exchange.under_way.push(order.clone());
            }
            return unclear();
        }
        if self.fails(15) {
            return Answer::Refused {
                code: -1003,
                why: "too many requests".to_owned(),
            };
        }
        let partly = self.fails(8);
        let taken = self.exchange.take(order, partly);
        if self.fails(8) {
            return unclear();
        }
        match taken {
            Ok(()) => Self::known(self.exchange.look_up(&order.id)),
            Err(code) => Answer::Refused {
                code,
                why: "refused".to_owned(),
            },
        }
    }

    /// An answer to an order says nothing of its costs.
    fn known(answer: Answer) -> Answer {
        match answer {
            Answer::Has(Report { working, fill }) => Answer::Has(Report {
                working,
                fill: fill.map(|fill| Fill {
                    costs: None,
                    ..fill
                }),
            }),
            other => other,
        }
    }

    /// Another process goes on from the journal.
    fn die(&mut self) {
        self.book = self.book.recovered(self.book.journal.len());
        self.boots += 1;
        self.book.take_over(&format!("boot-{}", self.boots));
    }

    fn round(&mut self) {
        let now = self.now();
        self.live(LiveEvent::Looked { now });
        let orders: Vec<Order> = resting(&self.book.state).cloned().collect();
        for order in orders {
            self.look_up(&order);
        }
        for task in tasks(&self.book.state, now) {
            match task {
                Task::LookUp(order) => self.look_up(&order),
                Task::Cancel(order) => {
                    if !self.fails(5) {
                        self.exchange.cancel(&order.id);
                    }
                    self.look_up(&order);
                }
                Task::Payments { from } => self.ask_payments(from),
            }
        }
    }

    fn look_up(&mut self, order: &Order) {
        if self.fails(4) {
            return;
        }
        let answer = self.exchange.look_up(&order.id);
        let (id, now) = (order.id.clone(), self.now());
        self.live(LiveEvent::Answered { id, answer, now });
    }

    fn ask_payments(&mut self, from: UtcMs) {
        let due = self.exchange.payments.iter().filter(|p| p.at >= from);
        let (payments, now) = (due.copied().collect(), self.now());
        self.live(LiveEvent::Paid { payments, now });
    }

    fn step(&mut self) {
        self.exchange.now += self.chance.below(1_500) + 1;
        let by = self.chance.around_zero(1_500);
        match self.chance.below(12) {
            0 => self.exchange.deliver(),
            1 => self.exchange.move_price(by * 4),
            2 => self.exchange.pay(),
            3 => self.die(),
            4 if self.chance.below(4) == 0 => {
                let (why, now) = (ExitReason::AccountLatched, self.now());
                self.live(LiveEvent::CloseNow { why, now });
            }
            5..=7 => self.exchange.move_price(by),
            _ => self.round(),
        }
        self.check_always();
    }

    fn check_always(&self) {
        if let Phase::Open(position) = &self.book.state.phase {
            let filled: i64 = self
                .exchange
                .orders
                .values()
                .filter(|o| o.order.leg == Leg::Entry && o.fill.is_some())
                .filter(|o| self.book.state.order(&o.order.id).is_some())
                .filter_map(|o| o.fill.map(|f| f.quantity.units()))
                .sum();
            assert_eq!(position.quantity.units(), filled);
        }
    }

    /// Nothing fails any more: what is open to question is cleared up.
    fn settle(&mut self) {
        self.calm = true;
        for _ in 0..60 {
            self.exchange.deliver();
            self.exchange.now += 1_000;
            self.round();
        }
        self.calm = false;
    }

    fn check_settled(&self, seed: u64) {
        let state = &self.book.state;
        let ours = "q7x2ab".parse().unwrap();
        let found = compare(state, &ours, &self.exchange.view());
        assert_eq!(
            found.surplus,
            Some(Decimal::ZERO),
            "seed {seed}: {state:#?}"
        );
        assert!(found.orphans.is_empty(), "seed {seed}: {found:?}");
        match &state.phase {
            Phase::Flat => {
                assert_eq!(self.exchange.position, Decimal::ZERO, "seed {seed}");
                assert_eq!(
                    state.equity - dec("10000"),
                    self.exchange.wallet,
                    "seed {seed}"
                );
            }
            Phase::Open(_) => {
                let stop = resting(state).any(|order| order.leg == Leg::Stop);
                assert!(stop, "seed {seed}: no stop rests: {state:#?}");
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}

#[test]
fn whatever_fails_the_book_ends_as_the_exchange_has_it() {
    let (mut trades, mut boots) = (0, 0);
    for seed in 0..SEEDS {
        let mut run = Run::of(seed);
        for entry in 1..=ENTRIES {
            let bar = 30 * entry;
            run.exchange.now = run.exchange.now.max(bar * MINUTE);
            let strategy = [OversoldBounce, ShortTheRip][usize::from(seed % 2 == 0)];
            let (signal, now) = (Some(signal(strategy, bar)), at(bar * MINUTE));
            let candle = candle(bar - 1, CALM);
            run.exchange.now = now.market.0;
            run.exchange.last = 400_000;
            run.decide(BookEvent::CandleClosed {
                candle,
                signal,
                now,
            });
            for _ in 0..STEPS {
                run.step();
            }
            run.settle();
            run.check_settled(seed);
            let (why, now) = (ExitReason::AccountLatched, run.now());
            run.live(LiveEvent::CloseNow { why, now });
            run.settle();
            run.check_settled(seed);
            assert_eq!(run.book.state.phase, Phase::Flat, "seed {seed}");
        }
        trades += run.book.state.trades;
        boots += run.boots;
    }
    // The run is about something.
    assert!(trades > SEEDS, "{trades} trades");
    assert!(u64::from(boots) > 3 * SEEDS, "{boots} owners");
}
