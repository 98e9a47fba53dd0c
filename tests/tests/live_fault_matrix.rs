//! Every call of an order's life: one that the market closes, and one that a person closes. Each is held at the
//! instant before the exchange has it and at the instant before its answer is back; then it goes on or is lost,
//! and the trader lives, is killed with -9 at that instant, or is told to end, and is started again. Beside that
//! the exchange's own faults, in `live_fault_matrix/faults.rs`. At the end journal and exchange agree, an open position
//! has its stop, no id was executed twice, and the profit is the wallet's to the last digit.
//!
//! CI plays a sample that changes with its seed; `scripts/test --all` plays every cell twice.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and which cells were played is worth reading"
)]

#[path = "live_fault_matrix/faults.rs"]
mod faults;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bearish_tests::gateway::{HoldPoint, ReleaseAction};
use bearish_tests::live::scenario::LiveScenario;
use bearish_tests::live::step::{Initiator, STEPS, Step, TraderEnd};
use bearish_tests::live::{DOWN, PriceMove, UP};
use bearish_tests::wait::SeededRandom;
use faults::FaultCell;
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};

/// A candle in two seconds; the exchange takes an order for two seconds.
const SPEED: &str = "30";
/// Cells of each kind that CI plays, and how many at once.
const SAMPLE_SIZE: usize = 4;
const CONCURRENT_CELLS: usize = 4;
/// How often every cell is played, if `BEARISH_TEST_ROUNDS` says nothing else.
const ROUNDS: usize = 2;

/// A call that is held.
#[derive(Debug, Clone, Copy)]
struct HeldCell {
    step: Step,
    hold_point: HoldPoint,
    release: ReleaseAction,
    end: TraderEnd,
    /// How long the call is held, in milliseconds.
    held_ms: u64,
    is_up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    Held(HeldCell),
    Fault(FaultCell),
}

impl Cell {
    /// In a line: what `BEARISH_TEST_CELLS` is looked for in.
    fn name(&self) -> String {
        match self {
            Self::Held(held) => format!(
                "{}: held {:?}, {:?}, trader {:?}",
                held.step.name, held.hold_point, held.release, held.end
            ),
            Self::Fault(faulty) => faulty.name(),
        }
    }

    async fn play(self) {
        match self {
            Self::Held(held) => Box::pin(play(held)).await,
            Self::Fault(faulty) => Box::pin(faults::play(faulty)).await,
        }
    }
}

fn held_cells(dice: &mut SeededRandom) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in STEPS {
        for when in [HoldPoint::BeforeExchange, HoldPoint::AfterExchange] {
            for then in [ReleaseAction::Forward, ReleaseAction::Discard] {
                for end in [TraderEnd::Survives, TraderEnd::Killed, TraderEnd::Stopped] {
                    cells.push(Cell::Held(HeldCell {
                        step,
                        hold_point: when,
                        release: then,
                        end,
                        held_ms: dice.below(1_500),
                        is_up: dice.below(2) == 0,
                    }));
                }
            }
        }
    }
    cells
}

/// What the market does after the entry.
fn price_moves(by: Initiator, up: bool) -> Vec<PriceMove> {
    match by {
        Initiator::Market => vec![(4, if up { UP } else { DOWN })],
        Initiator::Operator => Vec::new(),
    }
}

async fn play(cell: HeldCell) {
    let by = cell.step.initiator;
    let mut run = LiveScenario::prepare(&price_moves(by, cell.is_up), SPEED).await;
    let held = run.run_until(&cell.step, cell.hold_point).await;
    let decide = async {
        tokio::time::sleep(Duration::from_millis(cell.held_ms)).await;
        held.release(cell.release);
    };
    tokio::join!(run.end_trader(cell.end), decide);
    if cell.end == TraderEnd::Stopped {
        let guarded = run.system.is_protected_on_exchange().await;
        assert!(guarded, "it left a position without a stop");
    }
    run.finish(by).await;
}

/// Plays them all, whatever becomes of one; which of them failed is told at the end.
async fn play_all(cells: Vec<Cell>) {
    let wanted = std::env::var("BEARISH_TEST_CELLS").unwrap_or_default();
    let chosen = |cell: &Cell| cell.name().contains(&wanted);
    let cells: Vec<Cell> = cells.into_iter().filter(chosen).collect();
    let played = cells.len();
    let playing = iter(cells).map(async |cell| {
        let began = Instant::now();
        let ended = AssertUnwindSafe(Box::pin(cell.play())).catch_unwind().await;
        let word = if ended.is_ok() { "done" } else { "FAILED" };
        eprintln!("{word} in {:.1} s: {cell:?}", began.elapsed().as_secs_f32());
        ended.err().map(|_| cell.name())
    });
    let failed: Vec<_> = playing.buffer_unordered(CONCURRENT_CELLS).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    eprintln!("{played} cells played");
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

/// So many of them, in an order of chance.
fn pick_random(count: usize, mut cells: Vec<Cell>, dice: &mut SeededRandom) -> Vec<Cell> {
    let mut sample = Vec::new();
    for _ in 0..count {
        let chosen = usize::try_from(dice.below(cells.len() as u64)).unwrap();
        sample.push(cells.swap_remove(chosen));
    }
    sample
}

#[tokio::test]
async fn random_sample_of_the_matrix_ends_consistent() {
    let mut dice = SeededRandom::new();
    let mut sample = pick_random(SAMPLE_SIZE, held_cells(&mut dice), &mut dice);
    sample.extend(pick_random(
        SAMPLE_SIZE,
        faults::fault_cells(&mut dice),
        &mut dice,
    ));
    play_all(sample).await;
}

#[tokio::test]
#[ignore = "every cell twice: about an hour"]
async fn whole_matrix_ends_consistent() {
    let mut dice = SeededRandom::new();
    let rounds = std::env::var("BEARISH_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.extend(faults::fault_cells(&mut dice));
        all.extend(held_cells(&mut dice));
    }
    play_all(pick_random(all.len(), all, &mut dice)).await;
}
