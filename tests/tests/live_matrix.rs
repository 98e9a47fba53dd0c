//! Every call of an order's life, held at the instant before the exchange has it and at the instant before its
//! answer is back; then it goes on or is lost, and the trader lives, or is killed with -9 at that instant and
//! started again. At the end journal and exchange agree, an open position has its stop, no id was executed
//! twice, and the profit is the wallet's to the last digit.
//!
//! CI plays a sample that changes with its seed; `scripts/test --all` plays every cell many times.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and which cells were played is worth reading"
)]

use std::time::Duration;

use bearish_tests::gateway::{Gateway, Then, When};
use bearish_tests::live::{DOWN, LiveSystem, UP};
use bearish_tests::patience::Dice;
use futures_util::StreamExt;
use futures_util::stream::iter;

const ORDER: &str = "/fapi/v1/order";
const ALGO: &str = "/fapi/v1/algoOrder";
/// A candle in two seconds; the exchange takes an order for two seconds.
const SPEED: &str = "30";
const SOON: Duration = Duration::from_secs(90);
/// Cells that CI plays, and how many at once.
const SAMPLE: usize = 6;
const AT_ONCE: usize = 3;
/// How often every cell is played, if `BEARISH_TEST_ROUNDS` says nothing else.
const ROUNDS: usize = 11;

/// A step of an order's life: the call by which it is known, after how many others of its kind.
#[derive(Debug, Clone, Copy)]
struct Step {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    skip: usize,
}

const STEPS: [Step; 6] = [
    Step {
        name: "entry",
        method: "POST",
        path: ORDER,
        skip: 0,
    },
    Step {
        name: "stop",
        method: "POST",
        path: ALGO,
        skip: 0,
    },
    Step {
        name: "target",
        method: "POST",
        path: ALGO,
        skip: 1,
    },
    Step {
        name: "fees of the entry",
        method: "GET",
        path: "/fapi/v1/userTrades",
        skip: 0,
    },
    Step {
        name: "cancel of the other",
        method: "DELETE",
        path: ALGO,
        skip: 0,
    },
    Step {
        name: "funding at the end",
        method: "GET",
        path: "/fapi/v1/income",
        skip: 0,
    },
];

#[derive(Debug, Clone, Copy)]
struct Cell {
    step: Step,
    when: When,
    then: Then,
    killed: bool,
    /// How long the call is held, in milliseconds.
    held_ms: u64,
    up: bool,
}

fn cells(dice: &mut Dice) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in STEPS {
        for when in [When::Asked, When::Answered] {
            for then in [Then::GoesOn, Then::Lost] {
                for killed in [false, true] {
                    let held_ms = dice.below(1_500);
                    let up = dice.below(2) == 0;
                    cells.push(Cell {
                        step,
                        when,
                        then,
                        killed,
                        held_ms,
                        up,
                    });
                }
            }
        }
    }
    cells
}

async fn play(cell: Cell) {
    let moves = [(4, if cell.up { UP } else { DOWN })];
    let system = LiveSystem::bare(&moves, SPEED).await;
    let gateway = Gateway::to(system.exchange.address()).await;
    let setup = system.trader("one").env("BINANCE_REST_URL", &gateway.url());
    // An account is named after the address that it is reached by.
    let (code, said) = system.command_of(&setup, "init --account").await;
    assert_eq!(code, 0, "{said}");
    let Step {
        method, path, skip, ..
    } = cell.step;
    let mut held = gateway.hold(method, path, skip, cell.when);
    let mut trader = setup.start();
    held.caught(SOON).await;
    if cell.killed {
        trader.kill();
    }
    tokio::time::sleep(Duration::from_millis(cell.held_ms)).await;
    held.then(cell.then);
    let _again = cell.killed.then(|| setup.start());
    // An entry that never reached the exchange makes no trade.
    system.over().await;
    system.audit().await;
}

async fn play_all(cells: Vec<Cell>) {
    let played = cells.len();
    let playing = iter(cells).map(async |cell| {
        Box::pin(play(cell)).await;
        eprintln!("{}: {cell:?}", cell.step.name);
    });
    playing.buffer_unordered(AT_ONCE).collect::<()>().await;
    eprintln!("{played} cells played");
}

#[tokio::test]
async fn a_sample_of_the_matrix() {
    let mut dice = Dice::new();
    let mut cells = cells(&mut dice);
    let mut sample = Vec::new();
    for _ in 0..SAMPLE {
        let chosen = usize::try_from(dice.below(cells.len() as u64)).unwrap();
        sample.push(cells.swap_remove(chosen));
    }
    play_all(sample).await;
}

#[tokio::test]
#[ignore = "every cell eleven times: the better part of an hour"]
async fn the_whole_matrix() {
    let mut dice = Dice::new();
    let rounds = std::env::var("BEARISH_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let all = (0..rounds).flat_map(|_| cells(&mut dice)).collect();
    play_all(all).await;
}
