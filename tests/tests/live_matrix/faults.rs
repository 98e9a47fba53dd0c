//! The exchange's own faults: at each call of an order's life one that this call meets, and at each instant of
//! a position's life one that stands for a while. In each the trader lives, or is killed with -9 then.

use std::time::Duration;

use bearish_tests::gateway::{Then, When};
use bearish_tests::live::run::Run;
use bearish_tests::live::step::{ALGO, By, End, Fault, ORDER, STEPS, Step};
use bearish_tests::patience::{Dice, SOON, eventually};
use serde_json::Value;

use super::{Cell, SPEED, moves};

const fn fault(name: &'static str, begin: &'static str) -> Fault {
    Fault {
        name,
        begin,
        end: None,
    }
}

const fn standing(name: &'static str, begin: &'static str, end: &'static str) -> Fault {
    Fault {
        name,
        begin,
        end: Some(end),
    }
}

/// What any call may meet.
const OF_CALLS: [Fault; 7] = [
    fault(
        "throttled",
        r#"{"do": "before", "status": 503, "code": -1008}"#,
    ),
    fault(
        "limited",
        r#"{"do": "before", "status": 429, "code": -1003}"#,
    ),
    fault(
        "banned",
        r#"{"do": "before", "status": 418, "code": -1003}"#,
    ),
    fault(
        "too late",
        r#"{"do": "before", "status": 400, "code": -1021}"#,
    ),
    fault(
        "unknown",
        r#"{"do": "after", "status": 503, "code": -1007}"#,
    ),
    fault("cut", r#"{"do": "cut"}"#),
    fault("slow", r#"{"do": "delay", "ms": 3000}"#),
];

/// What only an order may meet.
const REFUSED: Fault = fault(
    "refused",
    r#"{"do": "before", "status": 400, "code": -4045}"#,
);
/// What only an ordinary order may meet.
const HALVED: Fault = fault("halved", r#"{"do": "partial"}"#);

/// What stands for a while, or happens at once, whoever calls.
const STANDING: [Fault; 10] = [
    standing(
        "maintenance",
        r#"{"do": "maintenance", "on": true}"#,
        r#"{"do": "maintenance", "on": false}"#,
    ),
    standing(
        "silent user stream",
        r#"{"do": "silent", "on": true, "to": "user"}"#,
        r#"{"do": "silent", "on": false}"#,
    ),
    standing(
        "silent streams",
        r#"{"do": "silent", "on": true}"#,
        r#"{"do": "silent", "on": false}"#,
    ),
    fault(
        "user stream closed",
        r#"{"do": "close", "code": 1000, "to": "user"}"#,
    ),
    fault("streams cut", r#"{"do": "close"}"#),
    fault(
        "user stream doubled",
        r#"{"do": "duplicate", "times": 9, "to": "user"}"#,
    ),
    fault(
        "user stream reordered",
        r#"{"do": "reorder", "times": 9, "to": "user"}"#,
    ),
    standing(
        "clock ahead",
        r#"{"do": "skew", "ms": 90000}"#,
        r#"{"do": "skew", "ms": 0}"#,
    ),
    standing(
        "clock behind",
        r#"{"do": "skew", "ms": -90000}"#,
        r#"{"do": "skew", "ms": 0}"#,
    ),
    fault(
        "triggers refused",
        r#"{"do": "refuse-triggers", "account": "livekey", "code": -2010}"#,
    ),
];

/// When a standing fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instant {
    /// The entry is filled, and its answer on its way.
    Entered,
    /// Stop and target rest.
    Guarded,
    /// A person's word is stored; nothing is closed yet.
    Closing,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Call(Step),
    Instant(Instant),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Faulty {
    fault: Fault,
    place: Place,
    end: End,
    /// How many calls in a row meet it.
    times: u64,
    /// How long a standing one stands, in milliseconds.
    stands_ms: u64,
    /// How long after its begin the trader ends, in milliseconds.
    end_ms: u64,
    up: bool,
}

impl Faulty {
    pub(super) fn name(&self) -> String {
        let place = match self.place {
            Place::Call(step) => step.name.to_owned(),
            Place::Instant(instant) => format!("{instant:?}"),
        };
        format!("{place}: {}, trader {:?}", self.fault.name, self.end)
    }
}

fn meets(step: &Step) -> Vec<Fault> {
    let is_order = step.method == "POST" && (step.path == ORDER || step.path == ALGO);
    let refused = is_order.then_some(REFUSED);
    let halved = (is_order && step.path == ORDER).then_some(HALVED);
    OF_CALLS.into_iter().chain(refused).chain(halved).collect()
}

pub(super) fn cells(dice: &mut Dice) -> Vec<Cell> {
    let mut places = Vec::new();
    for step in STEPS {
        places.extend(
            meets(&step)
                .into_iter()
                .map(|fault| (fault, Place::Call(step))),
        );
    }
    for instant in [Instant::Entered, Instant::Guarded, Instant::Closing] {
        places.extend(STANDING.map(|fault| (fault, Place::Instant(instant))));
    }
    let mut cells = Vec::new();
    for (fault, place) in places {
        for end in [End::Never, End::Killed] {
            cells.push(Cell::Faulty(Faulty {
                fault,
                place,
                end,
                times: 1 + dice.below(3),
                stands_ms: 2_000 + dice.below(4_000),
                end_ms: dice.below(1_500),
                // A target that is refused again and again is given up: only the stop is left then.
                up: dice.below(2) == 0 && fault.name != REFUSED.name,
            }));
        }
    }
    cells
}

pub(super) async fn play(cell: Faulty) {
    match cell.place {
        Place::Call(step) => Box::pin(at_a_call(cell, step)).await,
        Place::Instant(instant) => Box::pin(at_an_instant(cell, instant)).await,
    }
}

/// The step's call is held until the fault is armed, so that it is this call that meets it.
async fn at_a_call(cell: Faulty, step: Step) {
    let mut run = Run::begin(&moves(step.by, cell.up), SPEED).await;
    let held = run.up_to(&step, When::Asked).await;
    let mut fault: Value = serde_json::from_str(cell.fault.begin).unwrap();
    fault["method"] = step.method.into();
    fault["path"] = step.path.into();
    fault["times"] = cell.times.into();
    run.system.fault(&fault).await;
    held.then(Then::GoesOn);
    let exchange = &run.system.exchange;
    eventually("the fault happens", SOON, async || {
        (exchange.armed().await < cell.times).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(cell.end_ms)).await;
    run.end(cell.end).await;
    run.over(step.by).await;
}

async fn at_an_instant(cell: Faulty, instant: Instant) {
    let by = match instant {
        Instant::Closing => By::Person,
        Instant::Entered | Instant::Guarded => By::Market,
    };
    let mut run = Run::begin(&moves(by, cell.up), SPEED).await;
    let begin = async |run: &Run| cell.fault.begin(&run.system.exchange).await;
    match instant {
        Instant::Entered => {
            let held = run.up_to(&STEPS[0], When::Answered).await;
            begin(&run).await;
            held.then(Then::GoesOn);
        }
        Instant::Guarded => {
            run.start();
            run.system.guarded().await;
            begin(&run).await;
        }
        Instant::Closing => {
            // Its first call is held, so that all of the closing meets it.
            let exit = STEPS.iter().find(|step| step.by == By::Person).unwrap();
            let held = run.up_to(exit, When::Asked).await;
            begin(&run).await;
            held.then(Then::GoesOn);
        }
    }
    tokio::time::sleep(Duration::from_millis(cell.end_ms)).await;
    run.end(cell.end).await;
    if cell.end != End::Never {
        run.start();
    }
    let rest = cell.stands_ms.saturating_sub(cell.end_ms);
    tokio::time::sleep(Duration::from_millis(rest)).await;
    cell.fault.end(&run.system.exchange).await;
    run.over(by).await;
}
