//! Cells with faults of the exchange: at each call in the life of a position a fault of this call, and at each moment
//! of the position a fault that lasts. The trader continues or is killed.

use std::time::Duration;

use bearish_tests::gateway::{HoldPoint, ReleaseAction};
use bearish_tests::live::scenario::{Expectation, LiveScenario};
use bearish_tests::live::step::{Fault, Initiator, STEPS, Step, TraderEnd};
use bearish_tests::live::{DOWN, LiveSetup, PriceMove, UP};
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use serde_json::Value;

use super::account_faults::{OF_ACCOUNT, OF_CONTRACT};
use super::call_faults::{ORDER_REJECTED, repeated_faults, single_faults};
use super::lasting_faults::{LastingFault, OF_ALL_CALLS, OF_EXCHANGE, OF_QUERIES, PositionMoment};
use super::{Cell, SPEED, price_moves};

#[derive(Debug, Clone, Copy)]
enum FaultPlace {
    Call(Fault, Step),
    Moment(LastingFault, PositionMoment),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FaultCell {
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
    fn new(place: FaultPlace, end: TraderEnd, random: &mut SeededRandom) -> Self {
        let exits_by_stop = match place {
            FaultPlace::Call(fault, _) => fault.name == ORDER_REJECTED.name,
            FaultPlace::Moment(lasting, _) => lasting.is_exited_by_stop,
        };
        Self {
            place,
            end,
            times: 1 + random.below(3),
            lasts_ms: 2_000 + random.below(4_000),
            end_ms: random.below(1_500),
            is_up: random.below(2) == 0 && !exits_by_stop,
        }
    }

    /// Whether the fault affects one call. Otherwise it affects the whole exchange.
    pub(super) const fn is_of_call(&self) -> bool {
        matches!(self.place, FaultPlace::Call(..))
    }

    pub(super) fn name(&self) -> String {
        let (place, fault) = match self.place {
            FaultPlace::Call(fault, step) => (step.name.to_owned(), fault),
            FaultPlace::Moment(lasting, moment) => (format!("{moment:?}"), lasting.fault),
        };
        format!("{place}: {}, trader {:?}", fault.name, self.end)
    }
}

/// The ends of the trader in the cells of a fault at its place number `index`.
fn trader_ends(is_repeated: bool, index: usize) -> &'static [TraderEnd] {
    match (is_repeated, index % 2) {
        (true, _) => &[TraderEnd::Survives, TraderEnd::Killed],
        (false, 0) => &[TraderEnd::Survives],
        (false, _) => &[TraderEnd::Killed],
    }
}

/// All faults that start at a moment of a position.
fn lasting_faults() -> impl Iterator<Item = LastingFault> {
    OF_EXCHANGE
        .into_iter()
        .chain(OF_ALL_CALLS)
        .chain(OF_QUERIES.into_iter().flatten())
        .chain(OF_ACCOUNT)
        .chain(OF_CONTRACT)
}

pub(super) fn fault_cells(random: &mut SeededRandom) -> Vec<Cell> {
    let mut places = Vec::new();
    for (number, step) in STEPS.into_iter().enumerate() {
        for fault in repeated_faults(&step) {
            places.push((FaultPlace::Call(fault, step), trader_ends(true, 0)));
        }
        for (index, fault) in single_faults(&step).enumerate() {
            let ends = trader_ends(false, number + index);
            places.push((FaultPlace::Call(fault, step), ends));
        }
    }
    for (number, lasting) in lasting_faults().enumerate() {
        for (index, moment) in lasting.moments.iter().enumerate() {
            let ends = trader_ends(lasting.is_repeated, number + index);
            places.push((FaultPlace::Moment(lasting, *moment), ends));
        }
    }
    let mut cells = Vec::new();
    for (place, ends) in places {
        for end in ends {
            cells.push(Cell::Fault(FaultCell::new(place, *end, random)));
        }
    }
    cells
}

pub(super) async fn play(cell: FaultCell) -> Duration {
    match cell.place {
        FaultPlace::Call(fault, step) => Box::pin(play_at_call(cell, fault, step)).await,
        FaultPlace::Moment(lasting, moment) => {
            Box::pin(play_at_moment(cell, lasting, moment)).await
        }
    }
}

/// Holds the step's call until the fault is armed, so that this call fails.
async fn play_at_call(cell: FaultCell, fault: Fault, step: Step) -> Duration {
    let mut run = LiveScenario::prepare(&price_moves(step.initiator, cell.is_up), SPEED).await;
    let held = run.run_until(&step, HoldPoint::BeforeExchange).await;
    let mut fault: Value = serde_json::from_str(fault.start_request).unwrap();
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

async fn play_at_moment(
    cell: FaultCell,
    lasting: LastingFault,
    moment: PositionMoment,
) -> Duration {
    let initiator = match moment {
        PositionMoment::Closing => Initiator::Operator,
        _ => Initiator::Market,
    };
    let (entry_minute, exit_minute) = lasting.entry_and_exit;
    let exit: PriceMove = (exit_minute, if cell.is_up { UP } else { DOWN });
    let moves: Vec<PriceMove> = match initiator {
        Initiator::Market => vec![exit],
        Initiator::Operator => Vec::new(),
    };
    let setup = LiveSetup {
        entry_minute,
        ..LiveSetup::new(&moves, SPEED)
    };
    let mut run = LiveScenario::prepare_with(setup).await;
    start_fault(&mut run, &lasting.fault, moment).await;
    tokio::time::sleep(Duration::from_millis(cell.end_ms)).await;
    run.end_trader(cell.end).await;
    if cell.end != TraderEnd::Survives {
        run.start_trader();
    }
    let rest = cell.lasts_ms.saturating_sub(cell.end_ms);
    tokio::time::sleep(Duration::from_millis(rest)).await;
    lasting.fault.end(&run.system.exchange).await;
    if !lasting.is_harmless {
        run.extend_outage();
    }
    let expected = Expectation {
        may_halt: lasting.ends_contract,
        must_trade: lasting.must_trade,
        ..initiator.into()
    };
    run.finish(expected).await
}

/// Runs until the moment and starts the fault there.
async fn start_fault(run: &mut LiveScenario, fault: &Fault, moment: PositionMoment) {
    match moment {
        PositionMoment::BeforeEntry => {
            fault.start(&run.system.exchange).await;
            let held = run.run_until(&STEPS[0], HoldPoint::AfterExchange).await;
            held.release(ReleaseAction::Forward);
        }
        PositionMoment::Entered => {
            let held = run.run_until(&STEPS[0], HoldPoint::AfterExchange).await;
            fault.start(&run.system.exchange).await;
            held.release(ReleaseAction::Forward);
        }
        PositionMoment::Protected => {
            run.start_trader();
            run.system.wait_until_protected().await;
            run.begin_outage();
            fault.start(&run.system.exchange).await;
        }
        PositionMoment::Closing => {
            // The first call is held, so that the fault affects every call of the flatten.
            let exit = STEPS
                .iter()
                .find(|step| step.initiator == Initiator::Operator)
                .unwrap();
            let held = run.run_until(exit, HoldPoint::BeforeExchange).await;
            fault.start(&run.system.exchange).await;
            held.release(ReleaseAction::Forward);
        }
    }
}
