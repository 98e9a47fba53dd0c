//! The exchange's own faults: at each call of an order's life one that this call meets, and at each instant of
//! a position's life one that stands for a while. In each the trader lives, or is killed with -9 then.

use std::time::Duration;

use bearish_tests::gateway::{HoldPoint, ReleaseAction};
use bearish_tests::live::scenario::LiveScenario;
use bearish_tests::live::step::{
    CONDITIONAL_ORDER, Fault, Initiator, ORDER, STEPS, Step, TraderEnd,
};
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use serde_json::Value;

use super::{Cell, SPEED, price_moves};

const fn fault(name: &'static str, begin: &'static str) -> Fault {
    Fault {
        name,
        start_request: begin,
        end_request: None,
    }
}

const fn lasting_fault(name: &'static str, begin: &'static str, end: &'static str) -> Fault {
    Fault {
        name,
        start_request: begin,
        end_request: Some(end),
    }
}

/// What any call may meet.
const CALL_FAULTS: [Fault; 7] = [
    fault(
        "throttled",
        r#"{"fault": "fail-before", "status": 503, "code": -1008}"#,
    ),
    fault(
        "limited",
        r#"{"fault": "fail-before", "status": 429, "code": -1003}"#,
    ),
    fault(
        "banned",
        r#"{"fault": "fail-before", "status": 418, "code": -1003}"#,
    ),
    fault(
        "too late",
        r#"{"fault": "fail-before", "status": 400, "code": -1021}"#,
    ),
    fault(
        "unknown",
        r#"{"fault": "fail-after", "status": 503, "code": -1007}"#,
    ),
    fault("cut", r#"{"fault": "cut-connection"}"#),
    fault("slow", r#"{"fault": "delay", "ms": 3000}"#),
];

/// What only an order may meet.
const ORDER_REJECTED: Fault = fault(
    "refused",
    r#"{"fault": "fail-before", "status": 400, "code": -4045}"#,
);
/// What only an ordinary order may meet.
const PARTIAL_FILL: Fault = fault("halved", r#"{"fault": "partial-fill"}"#);

/// What stands for a while, or happens at once, whoever calls.
const LASTING_FAULTS: [Fault; 10] = [
    lasting_fault(
        "maintenance",
        r#"{"fault": "maintenance", "on": true}"#,
        r#"{"fault": "maintenance", "on": false}"#,
    ),
    lasting_fault(
        "silent user stream",
        r#"{"fault": "mute", "on": true, "to": "user"}"#,
        r#"{"fault": "mute", "on": false}"#,
    ),
    lasting_fault(
        "silent streams",
        r#"{"fault": "mute", "on": true}"#,
        r#"{"fault": "mute", "on": false}"#,
    ),
    fault(
        "user stream closed",
        r#"{"fault": "close", "code": 1000, "to": "user"}"#,
    ),
    fault("streams cut", r#"{"fault": "close"}"#),
    fault(
        "user stream doubled",
        r#"{"fault": "duplicate", "times": 9, "to": "user"}"#,
    ),
    fault(
        "user stream reordered",
        r#"{"fault": "reorder", "times": 9, "to": "user"}"#,
    ),
    lasting_fault(
        "clock ahead",
        r#"{"fault": "clock-skew", "ms": 90000}"#,
        r#"{"fault": "clock-skew", "ms": 0}"#,
    ),
    lasting_fault(
        "clock behind",
        r#"{"fault": "clock-skew", "ms": -90000}"#,
        r#"{"fault": "clock-skew", "ms": 0}"#,
    ),
    fault(
        "triggers refused",
        r#"{"fault": "reject-triggers", "account": "livekey", "code": -2010}"#,
    ),
];

/// When a standing fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PositionMoment {
    /// The entry is filled, and its answer on its way.
    Entered,
    /// Stop and target rest.
    Protected,
    /// A person's word is stored; nothing is closed yet.
    Closing,
}

#[derive(Debug, Clone, Copy)]
enum FaultPlace {
    Call(Step),
    Moment(PositionMoment),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FaultCell {
    fault: Fault,
    place: FaultPlace,
    end: TraderEnd,
    /// How many calls in a row meet it.
    times: u64,
    /// How long a standing one stands, in milliseconds.
    lasts_ms: u64,
    /// How long after its begin the trader ends, in milliseconds.
    end_ms: u64,
    is_up: bool,
}

impl FaultCell {
    pub(super) fn name(&self) -> String {
        let place = match self.place {
            FaultPlace::Call(step) => step.name.to_owned(),
            FaultPlace::Moment(instant) => format!("{instant:?}"),
        };
        format!("{place}: {}, trader {:?}", self.fault.name, self.end)
    }
}

fn faults_of_step(step: &Step) -> Vec<Fault> {
    let is_order = step.method == "POST" && (step.path == ORDER || step.path == CONDITIONAL_ORDER);
    let refused = is_order.then_some(ORDER_REJECTED);
    let halved = (is_order && step.path == ORDER).then_some(PARTIAL_FILL);
    CALL_FAULTS
        .into_iter()
        .chain(refused)
        .chain(halved)
        .collect()
}

pub(super) fn fault_cells(dice: &mut SeededRandom) -> Vec<Cell> {
    let mut places = Vec::new();
    for step in STEPS {
        places.extend(
            faults_of_step(&step)
                .into_iter()
                .map(|fault| (fault, FaultPlace::Call(step))),
        );
    }
    for instant in [
        PositionMoment::Entered,
        PositionMoment::Protected,
        PositionMoment::Closing,
    ] {
        places.extend(LASTING_FAULTS.map(|fault| (fault, FaultPlace::Moment(instant))));
    }
    let mut cells = Vec::new();
    for (fault, place) in places {
        for end in [TraderEnd::Survives, TraderEnd::Killed] {
            cells.push(Cell::Fault(FaultCell {
                fault,
                place,
                end,
                times: 1 + dice.below(3),
                lasts_ms: 2_000 + dice.below(4_000),
                end_ms: dice.below(1_500),
                // A target that is refused again and again is given up: only the stop is left then.
                is_up: dice.below(2) == 0 && fault.name != ORDER_REJECTED.name,
            }));
        }
    }
    cells
}

pub(super) async fn play(cell: FaultCell) {
    match cell.place {
        FaultPlace::Call(step) => Box::pin(play_at_call(cell, step)).await,
        FaultPlace::Moment(instant) => Box::pin(play_at_moment(cell, instant)).await,
    }
}

/// The step's call is held until the fault is armed, so that it is this call that meets it.
async fn play_at_call(cell: FaultCell, step: Step) {
    let mut run = LiveScenario::prepare(&price_moves(step.initiator, cell.is_up), SPEED).await;
    let held = run.run_until(&step, HoldPoint::BeforeExchange).await;
    let mut fault: Value = serde_json::from_str(cell.fault.start_request).unwrap();
    fault["method"] = step.method.into();
    fault["path"] = step.path.into();
    fault["times"] = cell.times.into();
    run.system.arm_fault(&fault).await;
    held.release(ReleaseAction::Forward);
    let exchange = &run.system.exchange;
    eventually("the fault happens", DEFAULT_TIMEOUT, async || {
        (exchange.remaining_faults().await < cell.times).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(cell.end_ms)).await;
    run.end_trader(cell.end).await;
    run.finish(step.initiator).await;
}

async fn play_at_moment(cell: FaultCell, instant: PositionMoment) {
    let by = match instant {
        PositionMoment::Closing => Initiator::Operator,
        PositionMoment::Entered | PositionMoment::Protected => Initiator::Market,
    };
    let mut run = LiveScenario::prepare(&price_moves(by, cell.is_up), SPEED).await;
    let begin = async |run: &LiveScenario| cell.fault.start(&run.system.exchange).await;
    match instant {
        PositionMoment::Entered => {
            let held = run.run_until(&STEPS[0], HoldPoint::AfterExchange).await;
            begin(&run).await;
            held.release(ReleaseAction::Forward);
        }
        PositionMoment::Protected => {
            run.start_trader();
            run.system.wait_until_protected().await;
            begin(&run).await;
        }
        PositionMoment::Closing => {
            // Its first call is held, so that all of the closing meets it.
            let exit = STEPS
                .iter()
                .find(|step| step.initiator == Initiator::Operator)
                .unwrap();
            let held = run.run_until(exit, HoldPoint::BeforeExchange).await;
            begin(&run).await;
            held.release(ReleaseAction::Forward);
        }
    }
    tokio::time::sleep(Duration::from_millis(cell.end_ms)).await;
    run.end_trader(cell.end).await;
    if cell.end != TraderEnd::Survives {
        run.start_trader();
    }
    let rest = cell.lasts_ms.saturating_sub(cell.end_ms);
    tokio::time::sleep(Duration::from_millis(rest)).await;
    cell.fault.end(&run.system.exchange).await;
    run.finish(by).await;
}
