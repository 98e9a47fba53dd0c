//! The folded journal. Folding never fails: a watchdog that rejects its own history would protect no unit.

use std::collections::BTreeMap;

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;

use crate::container::Run;
use crate::model::{JournaledHealing, Latch, StartedBy};
use crate::phase::UnitPhase;
use crate::reason::QuarantineReason;
use crate::record::ServiceRecord;
use crate::record::{SupervisionRecord, UnitRecord};
use crate::unit::{Hold, Unit};

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
    /// The last step of the wall clock that the present writer has seen.
    pub clock_step: Option<ClockStep>,
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
    /// The run that was to be ended by a heal. `None` if no heal is in progress.
    pub intended_restart: Option<Run>,
    /// Restarts of the hung service without a lasting health between them.
    pub heals: u32,
    /// Number of times that these restarts were reset.
    pub resets: u32,
    /// Reason of the last restart of the hung service.
    pub last_reason: Option<String>,
    /// The quarantine. `None` if the service is restarted when it hangs.
    pub quarantine: Option<ServiceQuarantine>,
    /// The hold of an operator.
    pub hold: Option<Hold>,
}

/// A service that is not restarted until an operator releases it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceQuarantine {
    /// Start of the quarantine, by the wall clock of the watchdog.
    pub since: UtcMs,
    /// The kind of hang that the restarts did not end.
    pub reason: String,
}

/// A step of the wall clock, as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Time after the step, by the wall clock.
    pub at: UtcMs,
    /// Size of the step in milliseconds; negative if the clock was set back.
    pub by_ms: i64,
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
                self.clock_step = None;
            }
            SupervisionRecord::BlindnessBegan { at, reason, units } => {
                self.blindness = Some(BlindnessState {
                    since: *at,
                    reason: reason.clone(),
                    units: units.clone(),
                });
            }
            SupervisionRecord::BlindnessEnded { .. } => self.blindness = None,
            SupervisionRecord::ClockStepped { at, by_ms, .. } => {
                self.clock_step = Some(ClockStep {
                    at: *at,
                    by_ms: *by_ms,
                });
            }
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
        if let ServiceRecord::Started { run, restarts, by } = record {
            let before = self.services.remove(service);
            let started = ServiceState::after_start(before, run, *restarts, *by);
            self.services.insert(service.clone(), started);
        } else if let Some(known) = self.services.get_mut(service) {
            known.apply(at, record);
        }
    }

    /// What the journal says about the healing of each service.
    pub fn healing(&self) -> BTreeMap<SubjectToken, JournaledHealing> {
        let services = self.services.iter();
        services
            .map(|(name, service)| (name.clone(), service.healing()))
            .collect()
    }

    /// Whether a service waits for the operator.
    pub fn any_service_quarantined(&self) -> bool {
        let mut services = self.services.values();
        services.any(|service| service.quarantine.is_some())
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

impl ServiceState {
    /// The state after the first observation of a run. A new container, or a start by anything but the watchdog and
    /// Docker's restart policy, ends a quarantine. A hold stays.
    fn after_start(before: Option<Self>, run: &Run, restarts: u64, by: StartedBy) -> Self {
        let mut started = Self {
            run: run.clone(),
            restarts,
            intended_restart: None,
            heals: 0,
            resets: 0,
            last_reason: None,
            quarantine: None,
            hold: None,
        };
        if let Some(before) = before {
            // A heal of this very run is still in progress.
            started.intended_restart = before.intended_restart.filter(|intended| intended == run);
            started.resets = before.resets;
            started.hold = before.hold;
            if matches!(by, StartedBy::Watchdog | StartedBy::Docker) {
                started.heals = before.heals;
                started.quarantine = before.quarantine;
                started.last_reason = before.last_reason;
            } else {
                started.resets = started.resets.saturating_add(1);
            }
        }
        started
    }

    fn apply(&mut self, at: UtcMs, record: &ServiceRecord) {
        match record {
            ServiceRecord::RestartIntended { run, reason } => {
                self.intended_restart = Some(run.clone());
                self.heals = self.heals.saturating_add(1);
                self.last_reason = Some(reason.clone());
            }
            ServiceRecord::RestartFailed { .. } => self.intended_restart = None,
            ServiceRecord::HealsReset { .. } => self.reset_heals(),
            ServiceRecord::Quarantined { reason, .. } => {
                self.quarantine = Some(ServiceQuarantine {
                    since: at,
                    reason: reason.clone(),
                });
            }
            ServiceRecord::HoldSet { by, reason } => {
                let (by, reason) = (by.clone(), reason.clone());
                self.hold = Some(Hold { by, reason });
            }
            ServiceRecord::Released { .. } => {
                self.hold = None;
                self.quarantine = None;
                self.reset_heals();
            }
            ServiceRecord::Recovered { .. } | ServiceRecord::Started { .. } => {}
        }
    }

    const fn reset_heals(&mut self) {
        self.heals = 0;
        self.resets = self.resets.saturating_add(1);
    }

    /// What the limiter of restarts needs.
    pub const fn healing(&self) -> JournaledHealing {
        JournaledHealing {
            heals: self.heals,
            resets: self.resets,
            is_quarantined: self.quarantine.is_some(),
            is_held: self.hold.is_some(),
        }
    }
}
