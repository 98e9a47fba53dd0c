//! A book on an exchange: what its orders' answers make of it, one fault after another.

use bearish_engine::book::{
    BookEvent, BookRecord, ExitReason, Findings, LiveEvent, Phase, Task, Terms, compare,
    is_unguarded, tasks,
};
use bearish_engine::orders::{
    Answer, ClientId, Costs, Fill, Kind, Leg, OpenOrder, Order, Payment, Report, View,
};
use bearish_engine::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, CALM, MINUTE, at, candle, config, dec, price, rules, signal};

const WINDOW_MS: i64 = 3_000;
/// Minute 30, when the bar has closed and the entry is decided.
const ENTRY: i64 = 30 * MINUTE;

/// A book on an exchange, and what it was told to send.
struct Live {
    book: Book,
    now: i64,
}

impl Live {
    fn flat() -> Self {
        let mut config = config();
        config.live = Some(Terms {
            deployment: "q7x2ab".parse().unwrap(),
            window_ms: u32::try_from(WINDOW_MS).unwrap(),
        });
        let book = Book::opened(config, rules(), dec("10000"));
        Self { book, now: ENTRY }
    }

    /// An entry of 0.25 at 40,000 with stop 39,600 and target 40,600 is on its way.
    fn entering() -> Self {
        let mut live = Self::flat();
        live.book
            .candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
        live
    }

    /// The entry filled at 40,000; stop and target rest.
    fn open() -> Self {
        let mut live = Self::entering();
        live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
        live.answer(Leg::Stop, resting());
        live.answer(Leg::Target, resting());
        live
    }

    fn on(&mut self, event: LiveEvent) -> Vec<&'static str> {
        let records = self.book.on(BookEvent::Live(event));
        records.iter().map(BookRecord::kind).collect()
    }

    fn answer(&mut self, leg: Leg, answer: Answer) -> Vec<&'static str> {
        let id = self.newest(leg).id;
        let now = UtcMs(self.now);
        self.on(LiveEvent::Answered { id, answer, now })
    }

    fn looked_after(&mut self, ms: i64) -> Vec<&'static str> {
        self.now += ms;
        let now = UtcMs(self.now);
        self.on(LiveEvent::Looked { now })
    }

    fn paid(&mut self, payments: &[(i64, &str)]) -> Vec<&'static str> {
        let payment = |(at, amount): &(i64, &str)| Payment {
            at: UtcMs(*at),
            amount: dec(amount),
        };
        let payments = payments.iter().map(payment).collect();
        let now = UtcMs(self.now);
        self.on(LiveEvent::Paid { payments, now })
    }

    fn newest(&self, leg: Leg) -> Order {
        let mut orders = self.book.state.orders.iter().rev();
        let found = orders.find(|o| o.order.leg == leg);
        found.map(|o| o.order.clone()).unwrap()
    }

    fn tasks(&self) -> Vec<String> {
        let tasks = tasks(&self.book.state, UtcMs(self.now));
        let words = tasks.iter().map(|task| match task {
            Task::LookUp(order) => format!("look up {} {}", order.leg, order.attempt),
            Task::Cancel(order) => format!("cancel {} {}", order.leg, order.attempt),
            Task::Payments { from } => format!("payments from {}", from.0),
        });
        words.collect()
    }

    /// Everything is over and accounted for.
    fn close_with(&mut self, leg: Leg, at: &str, realised: &str) {
        let exit = fill("0.25", at, self.now, "4.06", realised);
        self.answer(leg, has(exit));
        for other in [Leg::Stop, Leg::Target] {
            if other != leg {
                self.answer(other, ended());
            }
        }
        self.paid(&[]);
    }
}

fn fill(quantity: &str, at: &str, ms: i64, fee: &str, realised: &str) -> Fill {
    Fill {
        quantity: quantity.parse().unwrap(),
        price: price(at),
        at: UtcMs(ms),
        costs: Some(Costs {
            fee: dec(fee),
            realised: dec(realised),
        }),
    }
}

fn has(fill: Fill) -> Answer {
    Answer::Has(Report {
        working: false,
        fill: Some(fill),
    })
}

fn resting() -> Answer {
    Answer::Has(Report {
        working: true,
        fill: None,
    })
}

fn ended() -> Answer {
    Answer::Has(Report {
        working: false,
        fill: None,
    })
}

fn refused(code: i64) -> Answer {
    Answer::Refused {
        code,
        why: "as the exchange says".to_owned(),
    }
}

fn unclear() -> Answer {
    Answer::Unclear {
        why: "no answer within 5 s".to_owned(),
    }
}

/// Every kind of record about orders, for the golden files.
pub(crate) fn every_record_of_orders() -> Vec<BookRecord> {
    let mut live = Live::entering();
    live.answer(Leg::Entry, unclear());
    live.answer(Leg::Entry, resting());
    let bare = Fill {
        costs: None,
        ..fill("0.25", "40000", ENTRY, "0", "0")
    };
    live.answer(Leg::Entry, has(bare));
    live.answer(Leg::Stop, refused(-2021));
    live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    let of_orders = |r: &BookRecord| r.kind().starts_with("order_");
    live.book.journal.into_iter().filter(of_orders).collect()
}

#[test]
fn an_entry_is_one_decision_with_its_order() {
    let mut live = Live::flat();
    let records = live
        .book
        .candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    let kinds: Vec<_> = records.iter().map(BookRecord::kind).collect();
    assert_eq!(kinds, ["entry_decided", "order_intended"]);
    let order = live.newest(Leg::Entry);
    assert_eq!(order.at, UtcMs(ENTRY));
    assert_eq!(
        order.kind,
        Kind::Market {
            quantity: "0.25".parse().unwrap()
        }
    );
    assert!(live.tasks().is_empty(), "it is being sent");
}

#[test]
fn a_filled_entry_brings_its_stop_and_target_in_the_same_message() {
    let mut live = Live::entering();
    let kinds = live.answer(Leg::Entry, has(fill("0.25", "40001", ENTRY, "4", "0")));
    assert_eq!(
        kinds,
        [
            "order_done",
            "position_opened",
            "order_intended",
            "order_intended"
        ]
    );
    for (leg, at) in [(Leg::Stop, "39600"), (Leg::Target, "40600")] {
        assert_eq!(live.newest(leg).kind, Kind::Trigger { price: price(at) });
    }
    let Phase::Open(position) = &live.book.state.phase else {
        panic!("{:?}", live.book.state.phase)
    };
    assert_eq!((position.price, position.fee), (price("40001"), dec("4")));
}

#[test]
fn a_partly_filled_entry_is_a_smaller_position() {
    let mut live = Live::entering();
    live.answer(Leg::Entry, resting());
    assert_eq!(live.tasks(), ["look up entry 0"]);
    live.now += 2_001;
    assert_eq!(live.tasks(), ["cancel entry 0"]);
    live.answer(Leg::Entry, has(fill("0.1", "40000", ENTRY, "1.6", "0")));
    let Phase::Open(position) = &live.book.state.phase else {
        panic!("{:?}", live.book.state.phase)
    };
    assert_eq!(position.quantity, "0.1".parse().unwrap());
}

#[test]
fn a_refused_entry_is_dropped_and_its_bar_is_not_tried_again() {
    let mut live = Live::entering();
    let kinds = live.answer(Leg::Entry, refused(-2019));
    assert_eq!(kinds, ["order_gone", "entry_dropped"]);
    let again = live
        .book
        .candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    assert!(again.is_empty(), "{again:?}");
    assert!(live.book.state.orders.is_empty());
}

#[test]
fn an_unclear_entry_is_looked_up_until_the_exchange_can_no_longer_take_it() {
    let mut live = Live::entering();
    assert_eq!(live.answer(Leg::Entry, unclear()), ["order_unclear"]);
    assert_eq!(live.tasks(), ["look up entry 0"]);
    live.now = ENTRY + WINDOW_MS + 2_000;
    assert!(live.answer(Leg::Entry, Answer::NotFound).is_empty());
    assert!(live.answer(Leg::Entry, unclear()).is_empty(), "no news");
    live.now += 1;
    let kinds = live.answer(Leg::Entry, Answer::NotFound);
    assert_eq!(kinds, ["order_gone", "entry_dropped"]);
}

#[test]
fn an_unclear_entry_that_was_filled_is_a_position() {
    let mut live = Live::entering();
    live.answer(Leg::Entry, unclear());
    live.now += 60_000;
    let kinds = live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    assert_eq!(kinds[..2], ["order_done", "position_opened"]);
}

#[test]
fn a_new_owner_sends_nothing_that_the_last_one_may_have_sent() {
    let mut live = Live::entering();
    live.book.take_over("boot-2");
    assert_eq!(live.tasks(), ["look up entry 0"]);
    // Nor does an answer to somebody else's call end it.
    assert!(live.answer(Leg::Entry, refused(-1021)).is_empty());
    assert_eq!(live.tasks(), ["look up entry 0"]);
}

#[test]
fn funding_of_a_position_that_ends_just_behind_it_is_waited_for_until_it_is_listed() {
    let mut live = Live::open();
    let hour = 2 * ENTRY;
    live.now = hour + 5_000;
    let stop = fill("0.25", "39600", hour + 4_000, "3.96", "-100");
    live.answer(Leg::Stop, has(stop));
    live.answer(Leg::Target, ended());
    assert!(
        live.tasks().is_empty(),
        "what would be said says too little"
    );
    assert!(
        live.paid(&[]).is_empty(),
        "nor is it believed if it is heard"
    );
    live.now = hour + 60_000;
    assert_eq!(live.tasks(), [format!("payments from {ENTRY}")]);
    let kinds = live.paid(&[(hour, "0.5")]);
    assert_eq!(kinds, ["funding_paid", "position_closed"]);
    assert_eq!(live.book.state.equity, dec("9891.54"));
}

#[test]
fn a_stop_that_fills_closes_the_book_once_its_target_is_gone_and_every_cost_known() {
    let mut live = Live::open();
    let bare = Fill {
        costs: None,
        ..fill("0.25", "39600", ENTRY + MINUTE, "0", "0")
    };
    assert_eq!(live.answer(Leg::Stop, has(bare)), ["order_done"]);
    assert_eq!(live.tasks(), ["look up stop 0", "cancel target 0"]);
    assert!(live.paid(&[]).is_empty(), "the target still rests");
    live.answer(Leg::Target, ended());
    assert!(live.paid(&[]).is_empty(), "its costs are not known");
    let known = fill("0.25", "39600", ENTRY + MINUTE, "3.96", "-100");
    live.answer(Leg::Stop, has(known));
    assert_eq!(live.tasks(), [format!("payments from {ENTRY}")]);
    let kinds = live.paid(&[(ENTRY + 1, "0.5"), (ENTRY, "9")]);
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
fn what_a_stop_left_open_is_closed_at_the_market() {
    let mut live = Live::open();
    let part = fill("0.1", "39600", ENTRY + MINUTE, "1.6", "-40");
    let kinds = live.answer(Leg::Stop, has(part));
    assert_eq!(kinds, ["order_done", "order_intended"]);
    let exit = live.newest(Leg::Exit);
    let quantity = "0.15".parse().unwrap();
    assert_eq!(exit.kind, Kind::Market { quantity });
    assert_eq!(exit.why, Some(ExitReason::Stop));
    live.answer(
        Leg::Exit,
        has(fill("0.15", "39500", ENTRY + MINUTE, "2.4", "-75")),
    );
    live.answer(Leg::Target, ended());
    live.paid(&[]);
    let Some(BookRecord::PositionClosed(trade)) = live.book.journal.last() else {
        panic!("{:?}", live.book.journal.last())
    };
    assert_eq!((trade.price, trade.pnl), (price("39540"), dec("-123")));
}

#[test]
fn a_stop_that_would_trigger_at_once_closes_the_position() {
    let mut live = Live::entering();
    live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    let kinds = live.answer(Leg::Stop, refused(-2021));
    assert_eq!(kinds, ["order_gone", "order_intended"]);
    let exit = live.newest(Leg::Exit);
    assert_eq!(exit.why, Some(ExitReason::Stop));
}

#[test]
fn a_position_that_gets_no_stop_is_closed() {
    let mut live = Live::entering();
    live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    live.answer(Leg::Target, resting());
    assert_eq!(
        live.answer(Leg::Stop, refused(-4045)),
        ["order_gone", "order_intended"]
    );
    assert_eq!(live.answer(Leg::Stop, refused(-4045)), ["order_gone"]);
    assert!(is_unguarded(&live.book.state), "looked at soon");
    assert!(live.looked_after(999).is_empty());
    assert_eq!(live.looked_after(1), ["order_intended"]);
    assert_eq!(
        live.answer(Leg::Stop, refused(-4045)),
        ["order_gone", "order_intended"]
    );
    assert_eq!(live.newest(Leg::Exit).why, Some(ExitReason::Unprotected));
}

#[test]
fn what_meets_a_limit_or_comes_too_late_is_tried_again_and_closes_nothing() {
    let mut live = Live::entering();
    live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    for leg in [Leg::Stop, Leg::Target] {
        for code in [-1003, -1015, -1021, -1003] {
            live.answer(leg, refused(code));
            live.looked_after(30_000);
        }
        live.answer(leg, resting());
    }
    assert!(!is_unguarded(&live.book.state));
    assert_eq!(live.newest(Leg::Target).attempt, 4);
    let kinds = live.book.state.orders.iter().map(|o| o.order.leg);
    assert!(!kinds.into_iter().any(|leg| leg == Leg::Exit));
}

#[test]
fn a_target_that_never_arrives_is_tried_again_and_one_that_is_refused_thrice_is_not() {
    let mut live = Live::entering();
    live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    live.answer(Leg::Stop, resting());
    for _ in 0..4 {
        live.answer(Leg::Target, ended());
        live.looked_after(30_000);
    }
    assert_eq!(live.newest(Leg::Target).attempt, 4);
    for _ in 0..2 {
        live.answer(Leg::Target, ended());
    }
    assert!(is_unguarded(&live.book.state), "looked at soon");
    live.looked_after(30_000);
    for _ in 0..4 {
        live.answer(Leg::Target, refused(-4045));
        live.looked_after(30_000);
    }
    assert_eq!(
        live.newest(Leg::Target).attempt,
        8,
        "the third refusal was its last"
    );
    assert!(!is_unguarded(&live.book.state));
}

#[test]
fn a_stop_that_vanished_is_placed_again_at_once() {
    let mut live = Live::open();
    assert_eq!(
        live.answer(Leg::Stop, ended()),
        ["order_gone", "order_intended"]
    );
    assert_eq!(live.newest(Leg::Stop).attempt, 1);
}

#[test]
fn a_refused_exit_is_tried_again_while_the_others_are_looked_up() {
    let mut live = Live::open();
    let why = ExitReason::AccountLatched;
    let now = UtcMs(live.now);
    assert_eq!(
        live.on(LiveEvent::CloseNow { why, now }),
        ["order_intended"]
    );
    assert!(live.on(LiveEvent::CloseNow { why, now }).is_empty(), "once");
    live.answer(Leg::Exit, refused(-2022));
    let looked = live.tasks();
    assert_eq!(live.newest(Leg::Exit).attempt, 1);
    assert_eq!(looked, Vec::<String>::new(), "the next one is on its way");
    live.answer(Leg::Exit, refused(-2022));
    assert_eq!(live.tasks(), ["look up stop 0", "look up target 0"]);
    live.close_with(Leg::Stop, "39600", "-100");
    assert_eq!(live.book.state.phase, Phase::Flat);
}

#[test]
fn a_loss_beyond_the_breaker_is_closed_once() {
    let mut live = Live::open();
    let fall = ["40000", "40000", "38700", "38700"];
    let records = live.book.candle(candle(31, fall), None);
    let kinds: Vec<_> = records.iter().map(BookRecord::kind).collect();
    assert_eq!(kinds, ["order_intended", "breaker_tripped"]);
    assert!(live.book.candle(candle(32, fall), None).is_empty());
    live.close_with(Leg::Exit, "38700", "-325");
    let Some(BookRecord::PositionClosed(trade)) = live.book.journal.last() else {
        panic!("{:?}", live.book.journal.last())
    };
    assert_eq!(trade.reason, ExitReason::PositionLoss);
}

#[test]
fn a_candle_of_the_past_closes_nothing() {
    let mut live = Live::open();
    let fall = ["40000", "40000", "38700", "38700"];
    let event = BookEvent::CandleClosed {
        candle: candle(31, fall),
        signal: None,
        now: at(34 * MINUTE),
    };
    assert!(live.book.on(event).is_empty());
}

#[test]
fn what_a_person_or_a_liquidation_closed_is_an_exit_too() {
    let mut live = Live::open();
    let fill = fill("0.25", "39000", ENTRY + MINUTE, "3.9", "-250");
    let (order, now) = (77, UtcMs(live.now));
    let event = LiveEvent::ClosedElsewhere { order, fill, now };
    assert_eq!(live.on(event.clone()), ["order_intended", "order_done"]);
    assert!(live.on(event).is_empty(), "it is known");
    assert_eq!(live.tasks(), ["cancel stop 0", "cancel target 0"]);
    for leg in [Leg::Stop, Leg::Target] {
        live.answer(leg, ended());
    }
    assert_eq!(live.paid(&[]), ["position_closed"]);
}

#[test]
fn a_short_position_is_sold_and_bought_back() {
    use bearish_engine::orders::Way::{Buy, Sell};
    let mut live = Live::flat();
    live.book
        .candle(candle(29, CALM), Some(signal(ShortTheRip, 30)));
    assert_eq!(live.newest(Leg::Entry).way, Sell);
    live.answer(Leg::Entry, has(fill("0.25", "40000", ENTRY, "4", "0")));
    assert_eq!(
        [Leg::Stop, Leg::Target].map(|leg| live.newest(leg).way),
        [Buy, Buy]
    );
}

#[test]
fn the_exchanges_view_shows_what_is_amiss() {
    let live = Live::open();
    let ours = "q7x2ab".parse().unwrap();
    let open = |client_id: &str| OpenOrder {
        client_id: client_id.to_owned(),
        id: 1,
        conditional: true,
    };
    let (stop, target) = (live.newest(Leg::Stop).id, live.newest(Leg::Target).id);
    let usual = View {
        position: dec("0.25"),
        open: vec![open(stop.as_str()), open(target.as_str())],
    };
    let agreed = Findings {
        surplus: Some(Decimal::ZERO),
        ..Findings::default()
    };
    assert_eq!(compare(&live.book.state, &ours, &usual), agreed);

    let mut odd = usual.clone();
    odd.open[1] = open("ba-zzzzzz-57kto0gwqguos0000");
    odd.open.push(open("web_1"));
    odd.open.push(open(stop.sibling(Leg::Stop, 9).as_str()));
    let found = compare(&live.book.state, &ours, &odd);
    assert_eq!(found.foreign.unwrap().as_str(), "zzzzzz");
    assert_eq!((found.strangers, found.orphans.len()), (1, 1));
    assert_eq!(found.missing, [live.newest(Leg::Target)]);
    assert_eq!(found.surplus, None, "an order is missing: asked first");

    let gone = View {
        position: Decimal::ZERO,
        ..usual
    };
    let found = compare(&live.book.state, &ours, &gone);
    assert_eq!(found.surplus, Some(dec("-0.25")));
}

#[test]
fn an_id_of_no_order_changes_nothing() {
    let mut live = Live::open();
    let id = ClientId::told("web_1");
    let (answer, now) = (ended(), UtcMs(live.now));
    assert!(live.on(LiveEvent::Answered { id, answer, now }).is_empty());
}
