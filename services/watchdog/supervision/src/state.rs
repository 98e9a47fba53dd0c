//! What was decided: a fold of the journal's records. Folding is total: a watchdog that refuses its own
//! history protects nobody.

use std::collections::BTreeMap;

use protocol::VERSION;
use protocol::ids::Token;
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;

use crate::container::Run;
use crate::healing::Healing;
use crate::phase::Phase;
use crate::record::{Latch, Record, Why};
use crate::unit::Unit;

/// Everything the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Who supervises.
    pub owner: Option<Owner>,
    /// Every unit ever seen.
    pub units: BTreeMap<Token, Unit>,
    /// Every service beside them that was seen.
    pub services: BTreeMap<Token, Service>,
}

/// What is known of a service beside the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The run that was recorded last.
    pub run: Run,
    /// How often the engine had started it again by then.
    pub restarts: u64,
    /// When that was.
    pub at: UtcMs,
    /// The run that was to be ended, and another one started.
    pub intended: Option<Run>,
}

/// The process that supervises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub instance: Token,
    /// This run of it.
    pub boot: Token,
}

/// Written by a newer build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("journal entry has version {0}: allowed is up to {VERSION}")]
pub struct NewerVersion(pub u16);

impl State {
    /// Folds one journal message.
    ///
    /// # Errors
    /// [`NewerVersion`]; nothing is folded then.
    pub fn fold(&mut self, entry: &JournalEntry<Record>) -> Result<(), NewerVersion> {
        if entry.v > VERSION {
            return Err(NewerVersion(entry.v));
        }
        entry.records.iter().for_each(|record| self.apply(record));
        Ok(())
    }

    /// Folds one record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::OwnerTookOver { boot, instance, .. } => {
                self.owner = Some(Owner {
                    instance: instance.clone(),
                    boot: boot.clone(),
                });
            }
            Record::Unit { unit, at, fact } => {
                self.units.entry(unit.clone()).or_default().apply(*at, fact);
            }
            Record::Service { service, at, fact } => self.healed(service, *at, fact),
        }
    }

    fn healed(&mut self, service: &Token, at: UtcMs, fact: &Healing) {
        match fact {
            Healing::Began { run, restarts, .. } => {
                let before = self.services.remove(service);
                let known = Service {
                    run: run.clone(),
                    restarts: *restarts,
                    at,
                    // What is still to be done to this very run.
                    intended: before
                        .and_then(|before| before.intended)
                        .filter(|intended| intended == run),
                };
                self.services.insert(service.clone(), known);
            }
            Healing::RestartIntended { run, .. } => self.intended(service, Some(run.clone())),
            Healing::NotRestarted { .. } => self.intended(service, None),
            Healing::Recovered { .. } => {}
        }
    }

    fn intended(&mut self, service: &Token, run: Option<Run>) {
        if let Some(known) = self.services.get_mut(service) {
            known.intended = run;
        }
    }

    /// The units that a latch keeps down, each with that latch if it is known.
    pub fn latched(&self) -> impl Iterator<Item = (&Token, Option<&Latch>)> {
        let latched = |unit: &Unit| {
            let why = Why::CriticalHalt;
            matches!(&unit.phase, Phase::Quarantined { why: known, .. } if *known == why)
        };
        let units = self.units.iter().filter(move |(_, unit)| latched(unit));
        units.map(|(name, unit)| (name, unit.latch.as_ref()))
    }

    /// Whether a person has to act.
    pub fn any_quarantined(&self) -> bool {
        let quarantined = |unit: &Unit| matches!(unit.phase, Phase::Quarantined { .. });
        self.units.values().any(quarantined)
    }
}
