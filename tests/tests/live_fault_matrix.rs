//! Every call in the life of a live position, closed by the market or by the operator. Each call is held before the
//! exchange receives it, or before its response arrives. Then it is forwarded or discarded, while the trader
//! continues, is killed, or shuts down, and is started again. `live_fault_matrix/faults.rs` adds faults of the
//! exchange. At the end journal and exchange agree, an open position has its stop, no order was executed twice, and
//! the profit equals the change of the wallet balance. By the exchange's own times, a position was without a working
//! stop no longer than the outage and a limit.
//!
//! CI plays a random sample of each of four parts of the matrix. `scripts/test --all live` plays every cell once,
//! `scripts/test --all live --shard 1/4` a quarter of them. A part appends its result to a file that is committed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails; prints which cells were played"
)]

#[path = "live_fault_matrix/account_faults.rs"]
mod account_faults;
#[path = "live_fault_matrix/call_faults.rs"]
mod call_faults;
#[path = "live_fault_matrix/expected_failures.rs"]
mod expected_failures;
#[path = "live_fault_matrix/faults.rs"]
mod faults;
#[path = "live_fault_matrix/lasting_faults.rs"]
mod lasting_faults;
#[path = "live_fault_matrix/manual_trading.rs"]
mod manual_trading;
#[path = "live_fault_matrix/results.rs"]
mod results;

use std::any::Any;
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
use manual_trading::ManualCell;
use results::{CellOutcome, MatrixResult, Shard};

/// Speed of the exchange: a candle lasts two seconds, and the exchange accepts an order for two seconds.
const SPEED: &str = "30";
/// Number of cells that each sample test plays.
const SAMPLE_SIZE: usize = 2;
/// Number of cells that a test plays at once: most of them wait for the market.
const CONCURRENT_CELLS: usize = 5;

/// A cell in which a call is held.
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
    Manual(ManualCell),
}

impl Cell {
    /// Name of the cell in one line. `BEARISH_TEST_CELLS` selects cells whose name contains it, or one of its parts
    /// between `|`.
    fn name(&self) -> String {
        match self {
            Self::Held(held) => format!(
                "{}: held {:?}, {:?}, trader {:?}",
                held.step.name, held.hold_point, held.release, held.end
            ),
            Self::Fault(faulty) => faulty.name(),
            Self::Manual(manual) => manual.name(),
        }
    }

    /// Plays the cell; returns the longest time without a working stop. Panics if the cell fails.
    async fn play(self) -> Duration {
        match self {
            Self::Held(held) => Box::pin(play(held)).await,
            Self::Fault(faulty) => Box::pin(faults::play(faulty)).await,
            Self::Manual(manual) => Box::pin(manual_trading::play(manual)).await,
        }
    }
}

fn held_cells(random: &mut SeededRandom) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in STEPS {
        for hold_point in [HoldPoint::BeforeExchange, HoldPoint::AfterExchange] {
            for release in [ReleaseAction::Forward, ReleaseAction::Discard] {
                for end in [TraderEnd::Survives, TraderEnd::Killed, TraderEnd::Stopped] {
                    cells.push(Cell::Held(HeldCell {
                        step,
                        hold_point,
                        release,
                        end,
                        held_ms: random.below(1_500),
                        is_up: random.below(2) == 0,
                    }));
                }
            }
        }
    }
    cells
}

/// Minutes after the entry's bar at which the market ends a position. A position without a stop lives longer than the
/// limit of the audit.
const EXIT_MINUTE: i64 = 6;

/// Price moves after the entry.
fn price_moves(initiator: Initiator, is_up: bool) -> Vec<PriceMove> {
    match initiator {
        Initiator::Market => vec![(EXIT_MINUTE, if is_up { UP } else { DOWN })],
        Initiator::Operator => Vec::new(),
    }
}

async fn play(cell: HeldCell) -> Duration {
    let initiator = cell.step.initiator;
    let mut run = LiveScenario::prepare(&price_moves(initiator, cell.is_up), SPEED).await;
    let held = run.run_until(&cell.step, cell.hold_point).await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(cell.held_ms)).await;
        held.release(cell.release);
    };
    tokio::join!(run.end_trader(cell.end), release);
    run.extend_outage();
    if cell.end == TraderEnd::Stopped {
        let is_protected = run.system.is_protected_on_exchange().await;
        assert!(
            is_protected,
            "the trader exited with a position without a stop"
        );
    }
    run.finish(initiator).await
}

/// First line of the message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("a panic without text");
    text.lines().next().unwrap_or_default().to_owned()
}

/// The cells of all kinds. Their order does not depend on the seed.
fn all_cells(random: &mut SeededRandom) -> Vec<Cell> {
    let mut cells = held_cells(random);
    cells.extend(faults::fault_cells(random));
    cells.extend(manual_trading::manual_cells());
    cells
}

/// Number of cells that are played at once: as `BEARISH_TEST_CELLS_AT_ONCE` says.
fn concurrent_cells() -> usize {
    let text = std::env::var("BEARISH_TEST_CELLS_AT_ONCE");
    text.map_or(CONCURRENT_CELLS, |text| text.parse().unwrap())
}

/// Plays all cells, also after a failure, and panics at the end with the names of those that failed unexpectedly.
async fn play_all(cells: Vec<Cell>, seed: u64, shard: Shard) {
    let pattern = std::env::var("BEARISH_TEST_CELLS").unwrap_or_default();
    let is_selected = |cell: &Cell| pattern.split('|').any(|part| cell.name().contains(part));
    let cells: Vec<Cell> = cells.into_iter().filter(is_selected).collect();
    let start = Instant::now();
    let playing = iter(cells).map(async |cell| {
        let start = Instant::now();
        let ended = AssertUnwindSafe(Box::pin(cell.play())).catch_unwind().await;
        let outcome = CellOutcome {
            name: cell.name(),
            longest_unprotected: ended.map_err(|panic| panic_text(&*panic)),
        };
        eprintln!(
            "{outcome} in {:.1} s: {}: {cell:?}",
            start.elapsed().as_secs_f32(),
            cell.name()
        );
        outcome
    });
    let outcomes: Vec<_> = playing.buffer_unordered(concurrent_cells()).collect().await;
    let result = MatrixResult::new(&outcomes, seed, shard, start.elapsed());
    eprintln!("{result}");
    result.append_to_file();
    let failed = &result.failed;
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

/// Picks at most `count` cells in random order.
fn pick_random(count: usize, mut cells: Vec<Cell>, random: &mut SeededRandom) -> Vec<Cell> {
    let mut sample = Vec::new();
    for _ in 0..count.min(cells.len()) {
        let chosen = usize::try_from(random.below(cells.len() as u64)).unwrap();
        sample.push(cells.swap_remove(chosen));
    }
    sample
}

/// Plays a random sample of the cells that `is_included` accepts.
async fn play_sample(is_included: impl Fn(&Cell) -> bool) {
    let mut random = SeededRandom::new();
    let mut cells = all_cells(&mut random);
    cells.retain(is_included);
    let sample = pick_random(SAMPLE_SIZE, cells, &mut random);
    play_all(sample, random.seed(), Shard::WHOLE).await;
}

async fn play_held_sample(hold_point: HoldPoint) {
    play_sample(|cell| matches!(cell, Cell::Held(held) if held.hold_point == hold_point)).await;
}

#[tokio::test]
async fn random_calls_held_before_the_exchange_end_consistent() {
    play_held_sample(HoldPoint::BeforeExchange).await;
}

#[tokio::test]
async fn random_calls_held_after_the_exchange_end_consistent() {
    play_held_sample(HoldPoint::AfterExchange).await;
}

#[tokio::test]
async fn random_faults_of_a_call_end_consistent() {
    play_sample(|cell| matches!(cell, Cell::Fault(fault) if fault.is_of_call())).await;
}

#[tokio::test]
async fn random_faults_of_the_exchange_end_consistent() {
    play_sample(|cell| matches!(cell, Cell::Fault(fault) if !fault.is_of_call())).await;
}

#[tokio::test]
async fn random_manual_trades_end_consistent() {
    play_sample(|cell| matches!(cell, Cell::Manual(_))).await;
}

#[tokio::test]
#[ignore = "every cell: about an hour"]
async fn whole_matrix_ends_consistent() {
    let mut random = SeededRandom::new();
    let cells = all_cells(&mut random);
    let shard = Shard::from_environment();
    let cells = pick_random(cells.len(), shard.select(cells), &mut random);
    play_all(cells, random.seed(), shard).await;
}
