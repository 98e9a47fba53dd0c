//! A container that Docker can neither kill nor describe.

use std::process::Command;

use super::Unit;
use crate::docker::run_command;

/// Freezes the process of a unit and its shim. Continues them on drop, also if the test fails: they would outlive it.
pub struct FrozenContainer([String; 2]);

impl FrozenContainer {
    /// Freezes both processes.
    pub fn new(unit: &Unit) -> Self {
        let [process, shim] = unit.pids();
        for pid in [&shim, &process] {
            run_command(Command::new("kill").args(["-STOP", pid]));
        }
        Self([shim, process])
    }
}

impl Drop for FrozenContainer {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = Command::new("kill").args(["-CONT", pid]).status();
        }
    }
}
