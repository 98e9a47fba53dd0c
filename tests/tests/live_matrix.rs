//! Every call of an order's life: one that the market closes, and one that a person closes. Each is held at the
//! instant before the exchange has it and at the instant before its answer is back; then it goes on or is lost,
//! and the trader lives, is killed with -9 at that instant, or is told to end, and is started again. Beside that
//! the exchange's own faults, in `live_matrix/faults.rs`. At the end journal and exchange agree, an open position
//! has its stop, no id was executed twice, and the profit is the wallet's to the last digit.
//!
//! CI plays a sample that changes with its seed; `scripts/test --all` plays every cell twice.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and which cells were played is worth reading"
)]

#[path = "live_matrix/faults.rs"]
mod faults;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bearish_tests::gateway::{Then, When};
use bearish_tests::live::run::Run;
use bearish_tests::live::step::{By, End, STEPS, Step};
use bearish_tests::live::{DOWN, Move, UP};
use bearish_tests::patience::Dice;
use faults::Faulty;
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};

/// A candle in two seconds; the exchange takes an order for two seconds.
const SPEED: &str = "30";
/// Cells of each kind that CI plays, and how many at once.
const SAMPLE: usize = 4;
const AT_ONCE: usize = 4;
/// How often every cell is played, if `BEARISH_TEST_ROUNDS` says nothing else.
const ROUNDS: usize = 2;

/// A call that is held.
#[derive(Debug, Clone, Copy)]
struct Held {
    step: Step,
    when: When,
    then: Then,
    end: End,
    /// How long the call is held, in milliseconds.
    for_ms: u64,
    up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    Held(Held),
    Faulty(Faulty),
}

impl Cell {
    /// In a line: what `BEARISH_TEST_CELLS` is looked for in.
    fn name(&self) -> String {
        match self {
            Self::Held(held) => format!(
                "{}: held {:?}, {:?}, trader {:?}",
                held.step.name, held.when, held.then, held.end
            ),
            Self::Faulty(faulty) => faulty.name(),
        }
    }

    async fn play(self) {
        match self {
            Self::Held(held) => Box::pin(play(held)).await,
            Self::Faulty(faulty) => Box::pin(faults::play(faulty)).await,
        }
    }
}

fn held(dice: &mut Dice) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in STEPS {
        for when in [When::Asked, When::Answered] {
            for then in [Then::GoesOn, Then::Lost] {
                for end in [End::Never, End::Killed, End::Stopped] {
                    cells.push(Cell::Held(Held {
                        step,
                        when,
                        then,
                        end,
                        for_ms: dice.below(1_500),
                        up: dice.below(2) == 0,
                    }));
                }
            }
        }
    }
    cells
}

/// What the market does after the entry.
fn moves(by: By, up: bool) -> Vec<Move> {
    match by {
        By::Market => vec![(4, if up { UP } else { DOWN })],
        By::Person => Vec::new(),
    }
}

async fn play(cell: Held) {
    let by = cell.step.by;
    let mut run = Run::begin(&moves(by, cell.up), SPEED).await;
    let held = run.up_to(&cell.step, cell.when).await;
    let decide = async {
        tokio::time::sleep(Duration::from_millis(cell.for_ms)).await;
        held.then(cell.then);
    };
    tokio::join!(run.end(cell.end), decide);
    if cell.end == End::Stopped {
        let guarded = run.system.is_guarded_there().await;
        assert!(guarded, "it left a position without a stop");
    }
    run.over(by).await;
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
    let failed: Vec<_> = playing.buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    eprintln!("{played} cells played");
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
}

/// So many of them, in an order of chance.
fn some_of(count: usize, mut cells: Vec<Cell>, dice: &mut Dice) -> Vec<Cell> {
    let mut sample = Vec::new();
    for _ in 0..count {
        let chosen = usize::try_from(dice.below(cells.len() as u64)).unwrap();
        sample.push(cells.swap_remove(chosen));
    }
    sample
}

#[tokio::test]
async fn a_sample_of_the_matrix() {
    let mut dice = Dice::new();
    let mut sample = some_of(SAMPLE, held(&mut dice), &mut dice);
    sample.extend(some_of(SAMPLE, faults::cells(&mut dice), &mut dice));
    play_all(sample).await;
}

#[tokio::test]
#[ignore = "every cell twice: about an hour"]
async fn the_whole_matrix() {
    let mut dice = Dice::new();
    let rounds = std::env::var("BEARISH_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.extend(faults::cells(&mut dice));
        all.extend(held(&mut dice));
    }
    play_all(some_of(all.len(), all, &mut dice)).await;
}
