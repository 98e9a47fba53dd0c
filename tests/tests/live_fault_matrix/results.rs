//! Results of a played part of the matrix: which cells failed, expected or not, and the longest time without a stop.
//! `BEARISH_TEST_RESULTS` names the file to which a part appends one line of JSON.

use std::fmt::{self, Display, Formatter};
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use super::Cell;
use super::expected_failures::expected_failure;

/// A part of the matrix: every `count`-th cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// Number of the part, from 1.
    number: usize,
    count: usize,
}

impl Shard {
    /// The whole matrix.
    pub(super) const WHOLE: Self = Self {
        number: 1,
        count: 1,
    };

    /// The part that `BEARISH_TEST_SHARD` names, such as `2/4`; the whole matrix without it.
    pub(super) fn from_environment() -> Self {
        let Ok(text) = std::env::var("BEARISH_TEST_SHARD") else {
            return Self::WHOLE;
        };
        Self::parse(&text).unwrap_or_else(|| {
            panic!("BEARISH_TEST_SHARD={text:?}: expected number/count such as 2/4, counted from 1")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, count) = text.split_once('/')?;
        let (number, count) = (number.parse().ok()?, count.parse().ok()?);
        (1..=count)
            .contains(&number)
            .then_some(Self { number, count })
    }

    /// The cells of this part. The order of `cells` must not depend on the seed.
    pub(super) fn select(self, cells: Vec<Cell>) -> Vec<Cell> {
        let of_part = cells.into_iter().skip(self.number - 1);
        of_part.step_by(self.count).collect()
    }
}

impl Display for Shard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

/// Outcome of a cell.
#[derive(Debug, Clone)]
pub(super) struct CellOutcome {
    pub(super) name: String,
    /// Longest time without a working stop, or why the cell failed.
    pub(super) longest_unprotected: Result<Duration, String>,
}

impl Display for CellOutcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.longest_unprotected, expected_failure(&self.name)) {
            (Ok(longest), None) => write!(f, "done (unprotected for {longest:.1?})"),
            (Ok(_), Some(known)) => write!(f, "done, known failure {}", known.number),
            (Err(error), Some(known)) => write!(
                f,
                "failed as known failure {} ({}): {error}",
                known.number, known.reason
            ),
            (Err(error), None) => write!(f, "FAILED: {error}"),
        }
    }
}

/// Result of a part of the matrix, as one line of the results file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct MatrixResult {
    /// Commit that was played; ends with `+changes` if the checkout had uncommitted changes.
    commit: String,
    seed: u64,
    shard: String,
    cells: usize,
    seconds: u64,
    /// Longest time without a working stop in milliseconds of host time, over the cells that passed.
    longest_unprotected_ms: u128,
    /// Names of cells that failed unexpectedly.
    pub(super) failed: Vec<String>,
    /// Numbers and names of cells that failed as expected.
    failed_as_expected: Vec<(u32, String)>,
    /// Numbers and names of cells that passed although a known failure names them.
    passed_unexpectedly: Vec<(u32, String)>,
}

impl MatrixResult {
    pub(super) fn new(
        outcomes: &[CellOutcome],
        seed: u64,
        shard: Shard,
        duration: Duration,
    ) -> Self {
        let longest = outcomes.iter().flat_map(|o| &o.longest_unprotected).max();
        let mut result = Self {
            commit: commit(),
            seed,
            shard: shard.to_string(),
            cells: outcomes.len(),
            seconds: duration.as_secs(),
            longest_unprotected_ms: longest.map_or(0, Duration::as_millis),
            failed: Vec::new(),
            failed_as_expected: Vec::new(),
            passed_unexpectedly: Vec::new(),
        };
        for outcome in outcomes {
            let name = outcome.name.clone();
            let known = expected_failure(&outcome.name).map(|known| known.number);
            match (&outcome.longest_unprotected, known) {
                (Ok(_), None) => {}
                (Ok(_), Some(number)) => result.passed_unexpectedly.push((number, name)),
                (Err(_), Some(number)) => result.failed_as_expected.push((number, name)),
                (Err(_), None) => result.failed.push(name),
            }
        }
        result
    }

    /// Appends this result to the file that `BEARISH_TEST_RESULTS` names; does nothing without it.
    pub(super) fn append_to_file(&self) {
        let Some(path) = std::env::var_os("BEARISH_TEST_RESULTS") else {
            return;
        };
        let mut line = serde_json::to_string(self).unwrap();
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

impl Display for MatrixResult {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cells of part {} played in {} s: {} failed, {} failed as expected, {} passed unexpectedly; longest time \
             without a working stop: {} ms",
            self.cells,
            self.shard,
            self.seconds,
            self.failed.len(),
            self.failed_as_expected.len(),
            self.passed_unexpectedly.len(),
            self.longest_unprotected_ms
        )
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"]);
    // The results file itself changes while parts are played one after another.
    let changed = git(&[
        "status",
        "--porcelain",
        "--",
        ":/",
        ":(exclude,top)tests/results",
    ]);
    if changed.is_empty() {
        head
    } else {
        format!("{head}+changes")
    }
}

#[test]
fn parts_of_the_matrix_are_disjoint_and_complete() {
    use bearish_tests::wait::SeededRandom;
    let cells = || super::all_cells(&mut SeededRandom::new());
    let all: Vec<String> = cells().iter().map(Cell::name).collect();
    let mut of_parts: Vec<String> = (1..=5)
        .flat_map(|number| Shard { number, count: 5 }.select(cells()))
        .map(|cell| cell.name())
        .collect();
    of_parts.sort_unstable();
    let mut sorted = all;
    sorted.sort_unstable();
    assert_eq!(of_parts, sorted);
    for text in ["", "1", "0/4", "5/4", "1/0", "a/b", "1/4/2", "-1/4"] {
        assert_eq!(Shard::parse(text), None, "{text}");
    }
}
