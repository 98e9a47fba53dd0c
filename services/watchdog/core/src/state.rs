//! The folded journal. Folding never fails: a watchdog that rejects its own history would protect no unit.

use std::collections::BTreeMap;

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;

use crate::container::Run;
use crate::model::Latch;
use crate::phase::UnitPhase;
use crate::reason::QuarantineReason;
use crate::record::ServiceRecord;
use crate::record::{SupervisionRecord, UnitRecord};
use crate::unit::Unit;

/// Everything the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupervisionState {
    /// The process that supervises.
    pub writer: Option<Writer>,
    /// Every unit ever seen.
    pub units: BTreeMap<SubjectToken, Unit>,
    /// Every Compose service seen beside the units.
    pub services: BTreeMap<SubjectToken, ServiceState>,
    /// The blindness in progress. `None` if every unit can be judged.
    pub blindness: Option<BlindnessState>,
}

/// A blindness of the watchdog, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlindnessState {
    /// Start of the blindness, by the wall clock of the watchdog.
    pub since: UtcMs,
    /// What is missing, in one line.
    pub reason: String,
    /// Units that cannot be judged. Empty for all.
    pub units: Vec<SubjectToken>,
}

/// What the journal says about a Compose service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// The run recorded last.
    pub run: Run,
    /// Restarts by Docker when the run was recorded.
    pub restarts: u64,
    /// Time of that record.
    pub at: UtcMs,
    /// The run that was to be ended by a heal. `None` if no heal is in progress.
    pub intended_restart: Option<Run>,
}

/// The process that may append to the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Name of the process.
    pub instance: SubjectToken,
    /// Boot id of the process.
    pub boot: SubjectToken,
}

/// The batch was written by a newer version of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "journal batch has version {0}: expected at most {VERSION}; start the newer program version"
)]
pub struct UnsupportedVersion(pub u16);

impl SupervisionState {
    /// Folds one batch.
    ///
    /// # Errors
    /// [`UnsupportedVersion`]. Nothing is folded then.
    pub fn fold(
        &mut self,
        batch: &JournalBatch<SupervisionRecord>,
    ) -> Result<(), UnsupportedVersion> {
        if batch.v > VERSION {
            return Err(UnsupportedVersion(batch.v));
        }
        batch.records.iter().for_each(|record| self.apply(record));
        Ok(())
    }

    /// Changes the state by one journaled record.
    pub fn apply(&mut self, record: &SupervisionRecord) {
        match record {
            SupervisionRecord::WriterChanged { boot, instance, .. } => {
                self.writer = Some(Writer {
                    instance: instance.clone(),
                    boot: boot.clone(),
                });
            }
            SupervisionRecord::BlindnessBegan { at, reason, units } => {
                self.blindness = Some(BlindnessState {
                    since: *at,
                    reason: reason.clone(),
                    units: units.clone(),
                });
            }
            SupervisionRecord::BlindnessEnded { .. } => self.blindness = None,
            SupervisionRecord::Unit {
                unit,
                record: UnitRecord::Forgotten { .. },
                ..
            } => {
                self.units.remove(unit);
            }
            SupervisionRecord::Unit { unit, at, record } => {
                self.units
                    .entry(unit.clone())
                    .or_default()
                    .apply(*at, record);
            }
            SupervisionRecord::Service {
                service,
                at,
                record,
            } => self.apply_service(service, *at, record),
        }
    }

    fn apply_service(&mut self, service: &SubjectToken, at: UtcMs, record: &ServiceRecord) {
        match record {
            ServiceRecord::Started { run, restarts, .. } => {
                let before = self.services.remove(service);
                let known = ServiceState {
                    run: run.clone(),
                    restarts: *restarts,
                    at,
                    // A heal of this very run is still in progress.
                    intended_restart: before
                        .and_then(|before| before.intended_restart)
                        .filter(|intended| intended == run),
                };
                self.services.insert(service.clone(), known);
            }
            ServiceRecord::RestartIntended { run, .. } => {
                self.set_intended_restart(service, Some(run.clone()));
            }
            ServiceRecord::RestartFailed { .. } => self.set_intended_restart(service, None),
            ServiceRecord::Recovered { .. } => {}
        }
    }

    fn set_intended_restart(&mut self, service: &SubjectToken, run: Option<Run>) {
        if let Some(known) = self.services.get_mut(service) {
            known.intended_restart = run;
        }
    }

    /// Units that a latch keeps stopped, each with the latch if it is known.
    pub fn latched_units(&self) -> impl Iterator<Item = (&SubjectToken, Option<&Latch>)> {
        let latched = |unit: &Unit| {
            let wanted = QuarantineReason::AccountLatched;
            matches!(&unit.phase, UnitPhase::Quarantined { reason: known, .. } if *known == wanted)
        };
        let units = self.units.iter().filter(move |(_, unit)| latched(unit));
        units.map(|(name, unit)| (name, unit.latch.as_ref()))
    }

    /// Whether a unit waits for the operator.
    pub fn any_quarantined(&self) -> bool {
        let quarantined = |unit: &Unit| matches!(unit.phase, UnitPhase::Quarantined { .. });
        self.units.values().any(quarantined)
    }
}
