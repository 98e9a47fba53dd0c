//! Which positions the protection check has found without a stop.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;

/// Positions without a stop, for metrics.
#[derive(Debug, Default)]
pub struct ProtectionStatus {
    unprotected: Mutex<BTreeMap<SubjectToken, Instant>>,
}

impl ProtectionStatus {
    /// For how long the position of each symbol has been without a stop.
    pub fn unprotected(&self) -> Vec<(SubjectToken, Duration)> {
        let unprotected = self.lock();
        let age = |(symbol, since): (&SubjectToken, &Instant)| (symbol.clone(), since.elapsed());
        unprotected.iter().map(age).collect()
    }

    /// Since when the position of each symbol has been without a stop.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, Instant>> {
        self.unprotected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
