//! Cells with faults of the exchange: at each call in the life of a position a fault of this call, and at each moment
//! of the position a fault that lasts. The trader continues or is killed.

use std::time::Duration;

use bearish_tests::gateway::{HoldPoint, ReleaseAction};
use bearish_tests::live::scenario::LiveScenario;
use bearish_tests::live::step::{
    CONDITIONAL_ORDER, Fault, Initiator, ORDER, STEPS, Step, TraderEnd,
};
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use serde_json::Value;

use super::{Cell, SPEED, price_moves};

const fn fault(name: &'static str, start_request: &'static str) -> Fault {
    Fault {
        name,
        start_request,
        end_request: None,
    }
}

const fn lasting_fault(
    name: &'static str,
    start_request: &'static str,
    end_request: &'static str,
) -> Fault {
    Fault {
        name,
        start_request,
        end_request: Some(end_request),
    }
}

/// Faults of any call.
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

/// Fault of orders only.
const ORDER_REJECTED: Fault = fault(
    "rejected",
    r#"{"fault": "fail-before", "status": 400, "code": -4045}"#,
);
/// Fault of ordinary orders only.
const PARTIAL_FILL: Fault = fault("halved", r#"{"fault": "partial-fill"}"#);

/// Faults of the whole exchange, which last for a time or happen at once.
const LASTING_FAULTS: [Fault; 10] = [
    lasting_fault(
        "maintenance",
        r#"{"fault": "maintenance", "on": true}"#,
        r#"{"fault": "maintenance", "on": false}"#,
    ),
    lasting_fault(
        "user stream muted",
        r#"{"fault": "mute", "on": true, "to": "user"}"#,
        r#"{"fault": "mute", "on": false}"#,
    ),
    lasting_fault(
        "streams muted",
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
        "triggers rejected",
        r#"{"fault": "reject-triggers", "account": "livekey", "code": -2010}"#,
    ),
];

/// When a fault of the whole exchange starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PositionMoment {
    /// The entry is filled; its response has not arrived yet.
    Entered,
    /// Stop and target rest on the exchange.
    Protected,
    /// The flatten command is stored; nothing is closed yet.
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
    /// Number of consecutive calls that fail.
    times: u64,
    /// Duration of a lasting fault in milliseconds.
    lasts_ms: u64,
    /// Time from the start of the fault to the end of the trader in milliseconds.
    end_ms: u64,
    is_up: bool,
}

impl FaultCell {
    /// Whether the fault affects one call. Otherwise it affects the whole exchange.
    pub(super) const fn is_of_call(&self) -> bool {
        matches!(self.place, FaultPlace::Call(_))
    }

    pub(super) fn name(&self) -> String {
        let place = match self.place {
            FaultPlace::Call(step) => step.name.to_owned(),
            FaultPlace::Moment(moment) => format!("{moment:?}"),
        };
        format!("{place}: {}, trader {:?}", self.fault.name, self.end)
    }
}

fn faults_of_step(step: &Step) -> Vec<Fault> {
    let is_order = step.method == "POST" && (step.path == ORDER || step.path == CONDITIONAL_ORDER);
    let rejected = is_order.then_some(ORDER_REJECTED);
    let partial_fill = (is_order && step.path == ORDER).then_some(PARTIAL_FILL);
    CALL_FAULTS
        .into_iter()
        .chain(rejected)
        .chain(partial_fill)
        .collect()
}

pub(super) fn fault_cells(random: &mut SeededRandom) -> Vec<Cell> {
    let mut places = Vec::new();
    for step in STEPS {
        places.extend(
            faults_of_step(&step)
                .into_iter()
                .map(|fault| (fault, FaultPlace::Call(step))),
        );
    }
    for moment in [
        PositionMoment::Entered,
        PositionMoment::Protected,
        PositionMoment::Closing,
    ] {
        places.extend(LASTING_FAULTS.map(|fault| (fault, FaultPlace::Moment(moment))));
    }
    let mut cells = Vec::new();
    for (fault, place) in places {
        for end in [TraderEnd::Survives, TraderEnd::Killed] {
            cells.push(Cell::Fault(FaultCell {
                fault,
                place,
                end,
                times: 1 + random.below(3),
                lasts_ms: 2_000 + random.below(4_000),
                end_ms: random.below(1_500),
                // After several rejections the trader places no target any more: the position can exit by its stop only.
                is_up: random.below(2) == 0 && fault.name != ORDER_REJECTED.name,
            }));
        }
    }
    cells
}

pub(super) async fn play(cell: FaultCell) -> Duration {
    match cell.place {
        FaultPlace::Call(step) => Box::pin(play_at_call(cell, step)).await,
        FaultPlace::Moment(moment) => Box::pin(play_at_moment(cell, moment)).await,
    }
}

/// Holds the step's call until the fault is armed, so that this call fails.
async fn play_at_call(cell: FaultCell, step: Step) -> Duration {
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
    run.extend_outage();
    run.finish(step.initiator).await
}

async fn play_at_moment(cell: FaultCell, moment: PositionMoment) -> Duration {
    let initiator = match moment {
        PositionMoment::Closing => Initiator::Operator,
        PositionMoment::Entered | PositionMoment::Protected => Initiator::Market,
    };
    let mut run = LiveScenario::prepare(&price_moves(initiator, cell.is_up), SPEED).await;
    let start_fault = async |run: &LiveScenario| cell.fault.start(&run.system.exchange).await;
    match moment {
        PositionMoment::Entered => {
            let held = run.run_until(&STEPS[0], HoldPoint::AfterExchange).await;
            start_fault(&run).await;
            held.release(ReleaseAction::Forward);
        }
        PositionMoment::Protected => {
            run.start_trader();
            run.system.wait_until_protected().await;
            run.begin_outage();
            start_fault(&run).await;
        }
        PositionMoment::Closing => {
            // The first call is held, so that the fault affects every call of the flatten.
            let exit = STEPS
                .iter()
                .find(|step| step.initiator == Initiator::Operator)
                .unwrap();
            let held = run.run_until(exit, HoldPoint::BeforeExchange).await;
            start_fault(&run).await;
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
    run.extend_outage();
    run.finish(initiator).await
}
