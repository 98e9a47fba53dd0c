//! Cells that are known to fail. A cell leaves this table with the change that makes it pass.

/// Cells that are expected to fail for one reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpectedFailure {
    /// Number by which the failure is known.
    pub(super) number: u32,
    /// Parts of the names of its cells.
    pub(super) cells: &'static [&'static str],
    /// What happens, as measured.
    pub(super) reason: &'static str,
}

/// All known failures.
const EXPECTED_FAILURES: &[ExpectedFailure] = &[];

/// The known failure of the cell with this name; `None` for a cell that must pass.
pub(super) fn expected_failure(name: &str) -> Option<&'static ExpectedFailure> {
    let has_cell = |known: &&ExpectedFailure| known.cells.iter().any(|part| name.contains(part));
    EXPECTED_FAILURES.iter().find(has_cell)
}
