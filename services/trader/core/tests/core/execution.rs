//! A live book: the records that follow from the outcomes of its orders, one fault after another.

use bearish_trader_core::book::{
    BookEvent, BookPhase, BookRecord, ExecutionEvent, ExitReason, LiveConfig, Reconciliation,
    ReconciliationTask, compare_with_exchange, is_stop_canceled, is_unprotected,
    reconciliation_tasks, resting_orders,
};
use bearish_trader_core::orders::{
    AccountTrade, ClientOrderId, ExchangeView, ExecutionReport, Fill, FillCosts, FundingPayment,
    Leg, OpenOrder, Order, OrderCallOutcome, OrderSide, OrderType, WorkingStop,
};
use bearish_trader_core::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, CALM, MINUTE, candle, config, dec, filters, inputs_at, price, signal};

const WINDOW_MS: i64 = 3_000;
/// Minute 30, when the bar has closed and the entry is decided.
const ENTRY: i64 = 30 * MINUTE;

/// A live book with the orders that it has intended.
struct LiveBook {
    book: Book,
    now: i64,
}

impl LiveBook {
    fn flat() -> Self {
        let mut config = config();
        config.live = Some(LiveConfig {
            installation_id: "q7x2ab".parse().unwrap(),
            recv_window_ms: u32::try_from(WINDOW_MS).unwrap(),
        });
        let book = Book::opened(config, filters(), dec("10000"));
        Self { book, now: ENTRY }
    }

    /// An entry of 0.25 at 40,000 with stop 39,600 and target 40,600 is in flight.
    fn entering() -> Self {
        let mut live = Self::flat();
        live.book
            .candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
        live
    }

    /// The entry filled at 40,000; stop and target rest.
    fn open() -> Self {
        let mut live = Self::entering();
        live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
        live.finish_call(Leg::Stop, accepted());
        live.finish_call(Leg::Target, accepted());
        live
    }

    fn handle_event(&mut self, event: ExecutionEvent) -> Vec<&'static str> {
        let records = self.book.handle_event(BookEvent::Execution(event));
        records.iter().map(BookRecord::kind).collect()
    }

    fn finish_call(&mut self, leg: Leg, answer: OrderCallOutcome) -> Vec<&'static str> {
        let id = self.newest_order(leg).client_order_id;
        let now = UtcMs(self.now);
        self.handle_event(ExecutionEvent::OrderCallFinished {
            client_order_id: id,
            outcome: answer,
            now,
        })
    }

    fn receive_costs(&mut self, leg: Leg, fee: &str, realised: &str) -> Vec<&'static str> {
        let client_order_id = self.newest_order(leg).client_order_id;
        let costs = FillCosts {
            fee: dec(fee),
            realized_pnl: dec(realised),
            ..FillCosts::default()
        };
        let now = UtcMs(self.now);
        self.handle_event(ExecutionEvent::CostsReceived {
            client_order_id,
            costs,
            now,
        })
    }

    /// Reads the account's trades: those of the entry (trade 1) and these of the operator, by trade id.
    fn receive_trades(&mut self, manual: &[(i64, OrderSide, Fill)]) -> Vec<&'static str> {
        let entry = self.book.state.orders[0].clone();
        let own = AccountTrade {
            trade_id: 1,
            is_ours: true,
            side: entry.order.side,
            fill: *entry.fill().unwrap(),
        };
        let hand = manual.iter().map(|(trade_id, side, fill)| AccountTrade {
            trade_id: *trade_id,
            is_ours: false,
            side: *side,
            fill: *fill,
        });
        let trades = hand.chain([own]).collect();
        let now = UtcMs(self.now);
        self.handle_event(ExecutionEvent::TradesReceived { trades, now })
    }

    fn last_trade(&self) -> bearish_trader_core::book::Trade {
        match self.book.journal.last() {
            Some(BookRecord::PositionClosed(trade)) => *trade,
            other => panic!("{other:?}"),
        }
    }

    fn tick_after(&mut self, ms: i64) -> Vec<&'static str> {
        self.now += ms;
        let now = UtcMs(self.now);
        self.handle_event(ExecutionEvent::Ticked { now })
    }

    fn receive_funding(&mut self, payments: &[(i64, &str)]) -> Vec<&'static str> {
        let payment = |(at, amount): &(i64, &str)| FundingPayment {
            at: UtcMs(*at),
            amount: dec(amount),
        };
        let payments = payments.iter().map(payment).collect();
        let now = UtcMs(self.now);
        self.handle_event(ExecutionEvent::FundingReceived {
            payments,
            trades: Some(Vec::new()),
            now,
        })
    }

    fn newest_order(&self, leg: Leg) -> Order {
        let mut orders = self.book.state.orders.iter().rev();
        let found = orders.find(|o| o.order.leg == leg);
        found.map(|o| o.order.clone()).unwrap()
    }

    fn tasks(&self) -> Vec<String> {
        let tasks = reconciliation_tasks(&self.book.state, UtcMs(self.now));
        let texts = tasks.iter().map(|task| match task {
            ReconciliationTask::QueryOrder(order) => {
                format!("query {} {}", order.leg, order.attempt)
            }
            ReconciliationTask::CancelOrder(order) => {
                format!("cancel {} {}", order.leg, order.attempt)
            }
            ReconciliationTask::QueryCosts(order, _) => {
                format!("costs {} {}", order.leg, order.attempt)
            }
            ReconciliationTask::QueryTrades => "trades".to_owned(),
            ReconciliationTask::QueryFunding { from } => format!("payments from {}", from.0),
        });
        texts.collect()
    }

    /// Every order has ended, and every cost is known.
    fn close_with(&mut self, leg: Leg, at: &str, realised: &str) {
        let exit = fill("0.25", at, self.now, "4.06", realised);
        self.finish_call(leg, filled(exit));
        for other in [Leg::Stop, Leg::Target] {
            if other != leg {
                self.finish_call(other, closed_unfilled());
            }
        }
        self.receive_funding(&[]);
    }
}

fn fill(quantity: &str, at: &str, ms: i64, fee: &str, realised: &str) -> Fill {
    Fill {
        quantity: quantity.parse().unwrap(),
        price: price(at),
        at: UtcMs(ms),
        exchange_order_id: None,
        costs: Some(FillCosts {
            fee: dec(fee),
            realized_pnl: dec(realised),
            ..FillCosts::default()
        }),
    }
}

fn filled(fill: Fill) -> OrderCallOutcome {
    OrderCallOutcome::Reported(ExecutionReport {
        is_open: false,
        fill: Some(fill),
        is_canceled: false,
    })
}

fn accepted() -> OrderCallOutcome {
    OrderCallOutcome::Reported(ExecutionReport::OPEN)
}

fn closed_unfilled() -> OrderCallOutcome {
    OrderCallOutcome::Reported(ExecutionReport {
        is_open: false,
        ..ExecutionReport::OPEN
    })
}

fn canceled() -> OrderCallOutcome {
    OrderCallOutcome::Reported(ExecutionReport {
        is_open: false,
        is_canceled: true,
        ..ExecutionReport::OPEN
    })
}

fn rejected(code: i64) -> OrderCallOutcome {
    OrderCallOutcome::Rejected {
        code,
        reason: "as the exchange says".to_owned(),
    }
}

fn outcome_unknown() -> OrderCallOutcome {
    OrderCallOutcome::Unknown {
        error: "no answer within 5 s".to_owned(),
    }
}

/// Every kind of record about orders, for the golden files.
pub(crate) fn every_order_record() -> Vec<BookRecord> {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, outcome_unknown());
    live.finish_call(Leg::Entry, accepted());
    let bare = Fill {
        costs: None,
        ..fill("0.25", "40000", ENTRY, "0", "0")
    };
    live.finish_call(Leg::Entry, filled(bare));
    live.finish_call(Leg::Stop, rejected(-2021));
    live.receive_costs(Leg::Entry, "4", "0");
    let of_orders = |r: &BookRecord| r.kind().starts_with("order_") || r.kind() == "entry_adopted";
    let late = late_entry().book.journal;
    let all = live.book.journal.into_iter().chain(late);
    all.filter(of_orders).collect()
}

/// An entry that was believed lost, and has filled after all.
fn late_entry() -> LiveBook {
    let mut live = LiveBook::entering();
    let client_order_id = live.newest_order(Leg::Entry).client_order_id;
    live.finish_call(Leg::Entry, outcome_unknown());
    live.tick_after(WINDOW_MS + 3_000);
    live.finish_call(Leg::Entry, OrderCallOutcome::NotFound);
    let now = UtcMs(live.now);
    live.handle_event(ExecutionEvent::LateEntryFilled {
        client_order_id,
        fill: fill("0.25", "40000", ENTRY, "4", "0"),
        now,
    });
    live
}

#[test]
fn entry_and_its_order_are_one_decision() {
    let mut live = LiveBook::flat();
    let records = live
        .book
        .candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    let kinds: Vec<_> = records.iter().map(BookRecord::kind).collect();
    assert_eq!(kinds, ["entry_decided", "order_intended"]);
    let order = live.newest_order(Leg::Entry);
    assert_eq!(order.at, UtcMs(ENTRY));
    assert_eq!(
        order.order_type,
        OrderType::Market {
            quantity: "0.25".parse().unwrap()
        }
    );
    assert!(live.tasks().is_empty(), "it is being sent");
}

#[test]
fn filled_entry_brings_its_stop_and_target_in_the_same_batch() {
    let mut live = LiveBook::entering();
    let kinds = live.finish_call(Leg::Entry, filled(fill("0.25", "40001", ENTRY, "4", "0")));
    assert_eq!(
        kinds,
        [
            "order_filled",
            "position_opened",
            "order_intended",
            "order_intended"
        ]
    );
    for (leg, at) in [(Leg::Stop, "39600"), (Leg::Target, "40600")] {
        assert_eq!(
            live.newest_order(leg).order_type,
            OrderType::Trigger { price: price(at) }
        );
    }
    let BookPhase::Open(position) = &live.book.state.phase else {
        panic!("{:?}", live.book.state.phase)
    };
    assert_eq!(
        (position.entry_price, position.fee),
        (price("40001"), dec("4"))
    );
}

#[test]
fn a_partly_filled_entry_is_a_smaller_position() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, accepted());
    assert_eq!(live.tasks(), ["query entry 0"]);
    live.now += 2_001;
    assert_eq!(live.tasks(), ["cancel entry 0"]);
    live.finish_call(Leg::Entry, filled(fill("0.1", "40000", ENTRY, "1.6", "0")));
    let BookPhase::Open(position) = &live.book.state.phase else {
        panic!("{:?}", live.book.state.phase)
    };
    assert_eq!(position.quantity, "0.1".parse().unwrap());
}

#[test]
fn rejected_entry_is_dropped_and_its_bar_is_not_tried_again() {
    let mut live = LiveBook::entering();
    let kinds = live.finish_call(Leg::Entry, rejected(-2019));
    assert_eq!(kinds, ["order_closed_unfilled", "entry_dropped"]);
    let again = live
        .book
        .candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    assert!(again.is_empty(), "{again:?}");
    assert!(live.book.state.orders.is_empty());
}

#[test]
fn entry_with_unknown_outcome_is_queried_until_it_has_expired() {
    let mut live = LiveBook::entering();
    assert_eq!(
        live.finish_call(Leg::Entry, outcome_unknown()),
        ["order_outcome_unknown"]
    );
    assert_eq!(live.tasks(), ["query entry 0"]);
    live.now = ENTRY + WINDOW_MS + 2_000;
    assert!(
        live.finish_call(Leg::Entry, OrderCallOutcome::NotFound)
            .is_empty()
    );
    assert!(
        live.finish_call(Leg::Entry, outcome_unknown()).is_empty(),
        "no news"
    );
    live.now += 1;
    let kinds = live.finish_call(Leg::Entry, OrderCallOutcome::NotFound);
    assert_eq!(kinds, ["order_closed_unfilled", "entry_dropped"]);
}

#[test]
fn entry_with_unknown_outcome_that_filled_is_a_position() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, outcome_unknown());
    live.now += 60_000;
    let kinds = live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    assert_eq!(kinds[..2], ["order_filled", "position_opened"]);
}

#[test]
fn new_writer_sends_no_order_that_the_last_one_may_have_sent() {
    let mut live = LiveBook::entering();
    live.book.change_writer("boot-2");
    assert_eq!(live.tasks(), ["query entry 0"]);
    // Nor does the outcome of another order's call end it.
    assert!(live.finish_call(Leg::Entry, rejected(-1021)).is_empty());
    assert_eq!(live.tasks(), ["query entry 0"]);
}

#[test]
fn position_close_waits_until_funding_just_before_it_is_listed() {
    let mut live = LiveBook::open();
    let hour = 2 * ENTRY;
    live.now = hour + 5_000;
    let stop = fill("0.25", "39600", hour + 4_000, "3.96", "-100");
    live.finish_call(Leg::Stop, filled(stop));
    live.finish_call(Leg::Target, closed_unfilled());
    assert!(
        live.tasks().is_empty(),
        "what would be said says too little"
    );
    assert!(
        live.receive_funding(&[]).is_empty(),
        "nor does a report change it"
    );
    live.now = hour + 60_000;
    assert_eq!(live.tasks(), [format!("payments from {ENTRY}")]);
    let kinds = live.receive_funding(&[(hour, "0.5")]);
    assert_eq!(kinds, ["funding_paid", "position_closed"]);
    assert_eq!(live.book.state.equity, dec("9891.54"));
}

#[test]
fn filled_stop_closes_the_position_once_target_and_costs_are_settled() {
    let mut live = LiveBook::open();
    let bare = Fill {
        costs: None,
        ..fill("0.25", "39600", ENTRY + MINUTE, "0", "0")
    };
    assert_eq!(live.finish_call(Leg::Stop, filled(bare)), ["order_filled"]);
    assert_eq!(live.tasks(), ["costs stop 0", "cancel target 0"]);
    assert!(
        live.receive_funding(&[]).is_empty(),
        "the target still rests"
    );
    live.finish_call(Leg::Target, closed_unfilled());
    assert!(
        live.receive_funding(&[]).is_empty(),
        "its costs are not known"
    );
    live.receive_costs(Leg::Stop, "3.96", "-100");
    assert_eq!(live.tasks(), [format!("payments from {ENTRY}")]);
    let kinds = live.receive_funding(&[(ENTRY + 1, "0.5"), (ENTRY, "9")]);
    assert_eq!(kinds, ["funding_paid", "position_closed"]);
    let Some(BookRecord::PositionClosed(trade)) = live.book.journal.last() else {
        panic!("{:?}", live.book.journal.last())
    };
    assert_eq!(
        (trade.reason, trade.pnl),
        (ExitReason::Stop, dec("-108.46"))
    );
    assert_eq!(live.book.state.equity, dec("9891.54"));
    assert_eq!(live.book.state.fees, dec("7.96"));
    assert!(live.book.state.orders.is_empty() && live.tasks().is_empty());
}

#[test]
fn rest_of_a_partly_filled_stop_is_closed_at_the_market() {
    let mut live = LiveBook::open();
    let part = fill("0.1", "39600", ENTRY + MINUTE, "1.6", "-40");
    let kinds = live.finish_call(Leg::Stop, filled(part));
    assert_eq!(kinds, ["order_filled", "order_intended"]);
    let exit = live.newest_order(Leg::Exit);
    let quantity = "0.15".parse().unwrap();
    assert_eq!(exit.order_type, OrderType::Market { quantity });
    assert_eq!(exit.reason, Some(ExitReason::Stop));
    live.finish_call(
        Leg::Exit,
        filled(fill("0.15", "39500", ENTRY + MINUTE, "2.4", "-75")),
    );
    live.finish_call(Leg::Target, closed_unfilled());
    live.receive_funding(&[]);
    let Some(BookRecord::PositionClosed(trade)) = live.book.journal.last() else {
        panic!("{:?}", live.book.journal.last())
    };
    assert_eq!((trade.exit_price, trade.pnl), (price("39540"), dec("-123")));
}

#[test]
fn a_stop_that_would_trigger_at_once_closes_the_position() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    let kinds = live.finish_call(Leg::Stop, rejected(-2021));
    assert_eq!(kinds, ["order_closed_unfilled", "order_intended"]);
    let exit = live.newest_order(Leg::Exit);
    assert_eq!(exit.reason, Some(ExitReason::Stop));
}

#[test]
fn a_position_that_gets_no_stop_is_closed() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    live.finish_call(Leg::Target, accepted());
    assert_eq!(
        live.finish_call(Leg::Stop, rejected(-4045)),
        ["order_closed_unfilled", "order_intended"]
    );
    assert_eq!(
        live.finish_call(Leg::Stop, rejected(-4045)),
        ["order_closed_unfilled"]
    );
    assert!(is_unprotected(&live.book.state), "queried soon");
    assert!(live.tick_after(999).is_empty());
    assert_eq!(live.tick_after(1), ["order_intended"]);
    assert_eq!(
        live.finish_call(Leg::Stop, rejected(-4045)),
        ["order_closed_unfilled", "order_intended"]
    );
    assert_eq!(
        live.newest_order(Leg::Exit).reason,
        Some(ExitReason::Unprotected)
    );
}

#[test]
fn transient_rejections_are_retried_and_close_nothing() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    for leg in [Leg::Stop, Leg::Target] {
        for code in [-1003, -1015, -1021, -1121, -2008, -2015] {
            live.finish_call(leg, rejected(code));
            live.tick_after(30_000);
        }
        live.finish_call(leg, accepted());
    }
    assert!(!is_unprotected(&live.book.state));
    assert_eq!(live.newest_order(Leg::Target).attempt, 6);
    let kinds = live.book.state.orders.iter().map(|o| o.order.leg);
    assert!(!kinds.into_iter().any(|leg| leg == Leg::Exit));
}

#[test]
fn lost_target_is_retried_and_one_rejected_three_times_is_not() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    live.finish_call(Leg::Stop, accepted());
    for _ in 0..4 {
        live.finish_call(Leg::Target, closed_unfilled());
        live.tick_after(30_000);
    }
    assert_eq!(live.newest_order(Leg::Target).attempt, 4);
    for _ in 0..2 {
        live.finish_call(Leg::Target, closed_unfilled());
    }
    assert!(is_unprotected(&live.book.state), "queried soon");
    live.tick_after(30_000);
    for _ in 0..4 {
        live.finish_call(Leg::Target, rejected(-4045));
        live.tick_after(30_000);
    }
    assert_eq!(
        live.newest_order(Leg::Target).attempt,
        8,
        "the third rejection was its last"
    );
    assert!(!is_unprotected(&live.book.state));
}

#[test]
fn a_stop_that_vanished_is_placed_again_at_once() {
    let mut live = LiveBook::open();
    assert_eq!(
        live.finish_call(Leg::Stop, closed_unfilled()),
        ["order_closed_unfilled", "order_intended"]
    );
    assert_eq!(live.newest_order(Leg::Stop).attempt, 1);
}

#[test]
fn rejected_exit_is_retried_while_stop_and_target_are_queried() {
    let mut live = LiveBook::open();
    let reason = ExitReason::AccountLatched;
    let now = UtcMs(live.now);
    assert_eq!(
        live.handle_event(ExecutionEvent::CloseRequested { reason, now }),
        ["order_intended"]
    );
    assert!(
        live.handle_event(ExecutionEvent::CloseRequested { reason, now })
            .is_empty(),
        "once"
    );
    live.finish_call(Leg::Exit, rejected(-2022));
    let tasks = live.tasks();
    assert_eq!(live.newest_order(Leg::Exit).attempt, 1);
    assert_eq!(tasks, Vec::<String>::new(), "the next one is in flight");
    live.finish_call(Leg::Exit, rejected(-2022));
    assert_eq!(live.tasks(), ["query stop 0", "query target 0"]);
    live.close_with(Leg::Stop, "39600", "-100");
    assert_eq!(live.book.state.phase, BookPhase::Flat);
}

#[test]
fn a_loss_beyond_the_breaker_is_closed_once() {
    let mut live = LiveBook::open();
    let fall = ["40000", "40000", "38700", "38700"];
    let records = live.book.candle(candle(31, fall), None);
    let kinds: Vec<_> = records.iter().map(BookRecord::kind).collect();
    assert_eq!(kinds, ["order_intended", "breaker_tripped"]);
    assert!(live.book.candle(candle(32, fall), None).is_empty());
    live.close_with(Leg::Exit, "38700", "-325");
    let closed = live
        .book
        .journal
        .iter()
        .rev()
        .find_map(|record| match record {
            BookRecord::PositionClosed(trade) => Some(trade.reason),
            _ => None,
        });
    assert_eq!(closed, Some(ExitReason::PositionLoss));
}

#[test]
fn late_candle_closes_nothing() {
    let mut live = LiveBook::open();
    let fall = ["40000", "40000", "38700", "38700"];
    let event = BookEvent::CandleClosed {
        candle: candle(31, fall),
        signal: None,
        inputs: inputs_at(34 * MINUTE),
    };
    assert!(live.book.handle_event(event).is_empty());
}

#[test]
fn position_closed_manually_in_parts_is_booked_with_its_own_prices() {
    let mut live = LiveBook::open();
    let part = |quantity, at, fee, realised| fill(quantity, at, ENTRY + MINUTE, fee, realised);
    let first = (5, OrderSide::Sell, part("0.1", "39000", "1.5", "-100"));
    assert_eq!(
        live.receive_trades(&[first]),
        ["order_intended", "order_filled"]
    );
    assert!(live.receive_trades(&[first]).is_empty(), "it is known");
    assert!(live.tasks().is_empty(), "0.15 are open and have their stop");
    let second = (7, OrderSide::Sell, part("0.15", "39200", "2", "-120"));
    assert_eq!(
        live.receive_trades(&[first, second]),
        ["order_intended", "order_filled"]
    );
    assert_eq!(live.tasks(), ["cancel stop 0", "cancel target 0"]);
    for leg in [Leg::Stop, Leg::Target] {
        live.finish_call(leg, closed_unfilled());
    }
    assert_eq!(live.receive_funding(&[]), ["position_closed"]);
    let trade = live.last_trade();
    assert_eq!(trade.reason, ExitReason::External);
    assert_eq!(trade.exit_price, price("39120"));
    assert_eq!(trade.pnl, dec("-227.5"), "-220 and fees of 4 and 3.5");
}

#[test]
fn position_increased_manually_is_closed_as_a_whole_and_booked_to_the_last_digit() {
    let mut live = LiveBook::open();
    // The stop closes the position before the trades are queried.
    live.finish_call(
        Leg::Stop,
        filled(fill("0.35", "39600", ENTRY + MINUTE, "7", "-145")),
    );
    live.finish_call(Leg::Target, closed_unfilled());
    assert!(
        live.receive_funding(&[]).is_empty(),
        "0.1 are not explained"
    );
    assert_eq!(live.tasks(), ["trades"]);
    let added = fill("0.1", "40050", ENTRY + 1_000, "1.6", "0");
    assert_eq!(
        live.receive_trades(&[(4, OrderSide::Buy, added)]),
        ["order_intended", "order_filled"]
    );
    assert_eq!(live.receive_funding(&[]), ["position_closed"]);
    let trade = live.last_trade();
    assert_eq!(trade.quantity, "0.35".parse().unwrap());
    assert_eq!(trade.entry_price, price("40014.28571429"));
    assert_eq!(trade.exit_price, price("39600"));
    assert_eq!(trade.pnl, dec("-157.6"), "-145 and fees of 4, 1.6 and 7");
    assert_eq!(live.book.state.balance_change, trade.pnl);
}

#[test]
fn manual_flip_closes_the_position_and_leaves_the_rest_to_the_operator() {
    let mut live = LiveBook::open();
    let sold = fill("0.5", "39000", ENTRY + MINUTE, "8", "-250");
    let later = fill("0.5", "38000", ENTRY + 2 * MINUTE, "8", "250");
    let trades = [(5, OrderSide::Sell, sold), (6, OrderSide::Buy, later)];
    assert_eq!(
        live.receive_trades(&trades),
        ["order_intended", "order_filled"],
        "what was traded after the close belongs to the operator"
    );
    for leg in [Leg::Stop, Leg::Target] {
        live.finish_call(leg, closed_unfilled());
    }
    assert_eq!(live.receive_funding(&[]), ["position_closed"]);
    let trade = live.last_trade();
    assert_eq!(trade.quantity, "0.25".parse().unwrap());
    assert_eq!(trade.pnl, dec("-258"), "-250, the entry's 4, half of 8");
}

#[test]
fn stop_follows_from_a_fill_whose_costs_are_unknown() {
    let mut live = LiveBook::entering();
    let bare = Fill {
        costs: None,
        ..fill("0.25", "40000", ENTRY, "0", "0")
    };
    assert_eq!(
        live.finish_call(Leg::Entry, filled(bare)),
        [
            "order_filled",
            "position_opened",
            "order_intended",
            "order_intended"
        ]
    );
    live.finish_call(Leg::Stop, accepted());
    live.finish_call(Leg::Target, accepted());
    assert_eq!(live.tasks(), ["costs entry 0"]);
    live.finish_call(
        Leg::Stop,
        filled(Fill {
            costs: None,
            ..fill("0.25", "39600", ENTRY, "0", "0")
        }),
    );
    live.finish_call(Leg::Target, closed_unfilled());
    assert_eq!(live.tasks(), ["costs entry 0", "costs stop 0"]);
    assert!(
        live.receive_funding(&[]).is_empty(),
        "the costs are unknown"
    );
    // In another asset, in part: the balance in the quote currency does not show it.
    let client_order_id = live.newest_order(Leg::Entry).client_order_id;
    let costs = FillCosts {
        fee: dec("4"),
        fee_in_other_assets: dec("3"),
        realized_pnl: Decimal::ZERO,
    };
    let now = UtcMs(live.now);
    live.handle_event(ExecutionEvent::CostsReceived {
        client_order_id,
        costs,
        now,
    });
    assert_eq!(
        live.receive_costs(Leg::Stop, "4", "-100"),
        ["order_costs_recorded"]
    );
    assert!(
        live.receive_costs(Leg::Stop, "5", "-100").is_empty(),
        "once"
    );
    assert_eq!(live.receive_funding(&[]), ["position_closed"]);
    assert_eq!(live.last_trade().pnl, dec("-108"));
    assert_eq!(live.book.state.balance_change, dec("-105"));
}

#[test]
fn stop_of_another_client_takes_the_place_of_ours_and_closes_nothing() {
    let mut live = LiveBook::open();
    for _ in 0..5 {
        let mut records = live.finish_call(Leg::Stop, closed_unfilled());
        records.extend(live.tick_after(6_000));
        assert_eq!(
            records,
            ["order_closed_unfilled", "order_intended"],
            "the operator canceled it"
        );
        live.finish_call(Leg::Stop, rejected(-4130));
        assert!(!is_unprotected(&live.book.state));
        assert!(live.tick_after(60_000).is_empty(), "theirs protects");
        let now = UtcMs(live.now);
        assert_eq!(
            live.handle_event(ExecutionEvent::StopMissing { now }),
            ["order_intended"]
        );
        live.finish_call(Leg::Stop, accepted());
        assert!(
            live.handle_event(ExecutionEvent::StopMissing { now })
                .is_empty()
        );
    }
}

#[test]
fn canceled_stop_or_target_is_placed_again_after_the_pause_in_which_the_operator_may_replace_it() {
    for (leg, intended) in [(Leg::Stop, "stop"), (Leg::Target, "target")] {
        let mut live = LiveBook::open();
        assert_eq!(
            live.finish_call(leg, canceled()),
            ["order_closed_unfilled"],
            "{intended}"
        );
        assert!(live.tick_after(1_999).is_empty(), "{intended}");
        assert_eq!(live.tick_after(1), ["order_intended"], "{intended}");
        assert_eq!(live.newest_order(leg).attempt, 1);
    }
}

#[test]
fn stop_that_another_client_placed_in_the_pause_keeps_ours_away_until_it_is_missing() {
    let mut live = LiveBook::open();
    live.finish_call(Leg::Stop, canceled());
    assert!(is_stop_canceled(&live.book.state));
    let found = live.handle_event(ExecutionEvent::OtherStopFound);
    assert_eq!(found, ["order_closed_unfilled"]);
    assert!(!is_stop_canceled(&live.book.state) && !is_unprotected(&live.book.state));
    assert!(live.tick_after(600_000).is_empty());
    assert!(live.handle_event(ExecutionEvent::OtherStopFound).is_empty());
    let now = UtcMs(live.now);
    let missing = live.handle_event(ExecutionEvent::StopMissing { now });
    assert_eq!(missing, ["order_intended"]);
}

#[test]
fn stop_that_was_believed_lost_and_rests_is_managed_again() {
    let mut live = LiveBook::open();
    let lost = live.newest_order(Leg::Stop);
    live.finish_call(Leg::Stop, OrderCallOutcome::NotFound);
    live.now += 8_000;
    let records = live.finish_call(Leg::Stop, OrderCallOutcome::NotFound);
    assert_eq!(records, ["order_closed_unfilled", "order_intended"]);
    // The exchange has it all along, and refuses the second one.
    live.finish_call(Leg::Stop, rejected(-4130));
    let view = ExchangeView {
        position: dec("0.25"),
        entry_price: None,
        open_orders: vec![OpenOrder {
            client_order_id: lost.client_order_id.to_string(),
            exchange_order_id: 1,
            is_conditional: true,
            stop: None,
        }],
    };
    let ours = "q7x2ab".parse().unwrap();
    let found = compare_with_exchange(&live.book.state, &ours, &view, UtcMs(live.now));
    assert!(found.orphans.is_empty(), "{found:?}");
    assert_eq!(found.found_orders.as_slice(), std::slice::from_ref(&lost));
    let now = UtcMs(live.now);
    let again = live.handle_event(ExecutionEvent::OrderCallFinished {
        client_order_id: lost.client_order_id.clone(),
        outcome: accepted(),
        now,
    });
    assert_eq!(again, ["order_accepted"]);
    assert!(resting_orders(&live.book.state).any(|order| *order == lost));
}

#[test]
fn exit_above_the_largest_quantity_is_made_in_parts_without_a_delay() {
    let mut live = LiveBook::open();
    live.book.filters.max_qty = "0.1".parse().unwrap();
    let now = UtcMs(live.now);
    let reason = ExitReason::AccountLatched;
    let mut records = live.handle_event(ExecutionEvent::CloseRequested { reason, now });
    for part in ["0.1", "0.1", "0.05"] {
        assert!(records.contains(&"order_intended"), "{part}: {records:?}");
        let quantity = part.parse().unwrap();
        assert_eq!(
            live.newest_order(Leg::Exit).order_type,
            OrderType::Market { quantity }
        );
        let part = fill(part, "40000", live.now, "1", "0");
        records = live.finish_call(Leg::Exit, filled(part));
    }
    assert!(!records.contains(&"order_intended"), "{records:?}");
}

#[test]
fn entry_that_was_believed_lost_and_fills_is_protected_at_once() {
    let mut live = LiveBook::entering();
    let entry = live.newest_order(Leg::Entry);
    live.finish_call(Leg::Entry, outcome_unknown());
    live.tick_after(WINDOW_MS + 3_000);
    live.finish_call(Leg::Entry, OrderCallOutcome::NotFound);
    assert_eq!(live.book.state.phase, BookPhase::Flat);
    let later = |ms| UtcMs(live.now + ms);
    let required = |ms| bearish_trader_core::book::required_stop(&live.book.state, later(ms));
    assert_eq!(required(0).unwrap().1, price("39600"));
    assert_eq!(required(2 * 3_600_000), None, "it does not appear any more");
    let now = UtcMs(live.now);
    let appeared = ExecutionEvent::LateEntryFilled {
        client_order_id: entry.client_order_id,
        fill: fill("0.25", "40000", ENTRY, "4", "0"),
        now,
    };
    assert_eq!(
        live.handle_event(appeared.clone()),
        [
            "entry_adopted",
            "order_filled",
            "position_opened",
            "order_intended",
            "order_intended"
        ]
    );
    assert!(live.handle_event(appeared).is_empty());
    assert_eq!(
        live.newest_order(Leg::Stop).order_type,
        OrderType::Trigger {
            price: price("39600")
        }
    );
}

#[test]
fn a_short_position_is_sold_and_bought_back() {
    use OrderSide::{Buy, Sell};
    let mut live = LiveBook::flat();
    live.book
        .candle(candle(29, CALM), Some(signal(ShortTheRip, 30)));
    assert_eq!(live.newest_order(Leg::Entry).side, Sell);
    live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    assert_eq!(
        [Leg::Stop, Leg::Target].map(|leg| live.newest_order(leg).side),
        [Buy, Buy]
    );
}

#[test]
fn comparison_with_the_exchange_finds_every_difference() {
    let live = LiveBook::open();
    let ours = "q7x2ab".parse().unwrap();
    let open = |client_id: &str| OpenOrder {
        client_order_id: client_id.to_owned(),
        exchange_order_id: 1,
        is_conditional: true,
        stop: None,
    };
    let (stop, target) = (
        live.newest_order(Leg::Stop).client_order_id,
        live.newest_order(Leg::Target).client_order_id,
    );
    let working = WorkingStop {
        side: OrderSide::Sell,
        trigger_price: Some(dec("39600")),
        quantity: None,
    };
    let stop_order = OpenOrder {
        stop: Some(working),
        ..open(stop.as_str())
    };
    let usual = ExchangeView {
        position: dec("0.25"),
        entry_price: Some(dec("40000")),
        open_orders: vec![stop_order.clone(), open(target.as_str())],
    };
    let agreed = Reconciliation {
        position_difference: Some(Decimal::ZERO),
        is_protected: true,
        ..Reconciliation::default()
    };
    let now = UtcMs(live.now);
    let compare = |view: &ExchangeView| compare_with_exchange(&live.book.state, &ours, view, now);
    assert_eq!(compare(&usual), agreed);

    let mut odd = usual.clone();
    odd.open_orders[1] = open("ba-zzzzzz-57kto0gwqguos0000");
    odd.open_orders.push(open("web_1"));
    odd.open_orders
        .push(open(stop.sibling(Leg::Stop, 9).as_str()));
    let found = compare(&odd);
    assert_eq!(found.foreign_installation.unwrap().as_str(), "zzzzzz");
    assert_eq!((found.external_orders, found.orphans.len()), (1, 1));
    assert_eq!(found.missing_orders, [live.newest_order(Leg::Target)]);
    assert_eq!(
        found.position_difference, None,
        "an order is missing: asked first"
    );

    let gone = ExchangeView {
        position: Decimal::ZERO,
        ..usual
    };
    let found = compare(&gone);
    assert_eq!(found.position_difference, Some(dec("-0.25")));
}

#[test]
fn unknown_client_order_id_changes_nothing() {
    let mut live = LiveBook::open();
    let id = ClientOrderId::from_exchange("web_1");
    let (answer, now) = (closed_unfilled(), UtcMs(live.now));
    assert!(
        live.handle_event(ExecutionEvent::OrderCallFinished {
            client_order_id: id,
            outcome: answer,
            now
        })
        .is_empty()
    );
}

#[test]
fn stop_that_a_filter_refused_is_rounded_by_the_newest_filters() {
    let mut live = LiveBook::entering();
    live.finish_call(Leg::Entry, filled(fill("0.25", "40000", ENTRY, "4", "0")));
    live.book.filters.tick = price("700");
    assert_eq!(
        live.finish_call(Leg::Stop, rejected(-4014)),
        ["order_closed_unfilled", "order_intended"]
    );
    let stop = live.newest_order(Leg::Stop);
    let expected = OrderType::Trigger {
        price: price("39200"),
    };
    assert_eq!((stop.attempt, stop.order_type), (1, expected));
    live.finish_call(Leg::Target, rejected(-4014));
    let expected = OrderType::Trigger {
        price: price("40600"),
    };
    assert_eq!(live.newest_order(Leg::Target).order_type, expected);
}

#[test]
fn entry_that_a_filter_refused_is_intended_once_more_by_the_newest_filters() {
    let mut live = LiveBook::entering();
    let first = live.newest_order(Leg::Entry);
    live.book.filters.lot = "0.1".parse().unwrap();
    assert_eq!(
        live.finish_call(Leg::Entry, rejected(-4023)),
        ["order_closed_unfilled", "order_intended"]
    );
    let again = live.newest_order(Leg::Entry);
    let quantity = "0.2".parse().unwrap();
    assert_eq!(again.order_type, OrderType::Market { quantity });
    assert_ne!(again.client_order_id, first.client_order_id);
    assert_eq!(live.book.state.orders.len(), 1, "the first never existed");
    assert_eq!(
        live.finish_call(Leg::Entry, rejected(-4023)),
        ["order_closed_unfilled", "entry_dropped"],
        "once"
    );
}

#[test]
fn entry_is_dropped_if_the_newest_filters_change_nothing_or_rule_it_out() {
    type Change = fn(&mut bearish_trader_core::symbol_filters::SymbolFilters);
    let changes: [(Change, i64); 4] = [
        (|_| (), -4023),
        (|filters| filters.lot = "0.5".parse().unwrap(), -4023),
        (
            |filters| {
                filters.lot = "0.1".parse().unwrap();
                filters.min_notional = dec("9000");
            },
            -4164,
        ),
        (|filters| filters.lot = "0.1".parse().unwrap(), -2019),
    ];
    for (change, code) in changes {
        let mut live = LiveBook::entering();
        change(&mut live.book.filters);
        assert_eq!(
            live.finish_call(Leg::Entry, rejected(code)),
            ["order_closed_unfilled", "entry_dropped"],
            "{code}"
        );
    }
}
