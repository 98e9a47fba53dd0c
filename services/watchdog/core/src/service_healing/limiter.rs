//! When a hung service may be restarted: a minimum age of its run, a delay that doubles with each restart in a row, and
//! a limit. Durations are those of the monotonic clock; the age of a run that began before this process is Docker's.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ids::SubjectToken;

use super::observed::ObservedService;
use crate::container::{ContainerHealth, Run};
use crate::model::JournaledHealing;
use crate::record::ServiceRecord;

/// Restarts in a row after which a service is quarantined.
pub const MAX_HEALS: u32 = 6;
/// Longest delay between two restarts in a row, unless the minimum interval is longer.
const MAX_DELAY: Duration = Duration::from_hours(1);
/// A shorter healthy time never resets the restarts in a row.
const MIN_HEALTHY_TIME: Duration = Duration::from_mins(10);

/// What follows from the observation of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heal {
    /// The service is restarted, for this reason.
    Restart(String),
    /// The limit is reached: this record is stored, and the service is not restarted.
    GiveUp(ServiceRecord),
}

/// Restarts of the services so far, and when each may be restarted again.
#[derive(Debug)]
pub struct HealLimiter {
    min_interval: Duration,
    services: BTreeMap<SubjectToken, ServiceHealing>,
    journaled: BTreeMap<SubjectToken, JournaledHealing>,
}

/// What this process knows about one service.
#[derive(Debug)]
struct ServiceHealing {
    run: Run,
    /// First observation of the run, by the monotonic clock in milliseconds.
    run_since: u64,
    /// Restarts in a row.
    heals: u32,
    /// Restarts in a row when the last restart was decided: the journal may count it before it happens.
    heals_before: u32,
    /// Resets by the journal that `heals` includes. `None` until the journal was read.
    resets: Option<u32>,
    /// The last restart, or the first observation by this process, by the monotonic clock in milliseconds.
    last_heal: u64,
    /// Start of uninterrupted health, by the monotonic clock in milliseconds.
    healthy_since: Option<u64>,
    /// Detection of the hang whose recovery was not reported yet, by the monotonic clock in milliseconds.
    recovery_pending_since: Option<u64>,
    /// The limit was reported.
    has_given_up: bool,
}

impl HealLimiter {
    /// A limiter that knows of no restart. `min_interval` is the shortest time between two starts of a service.
    pub const fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            services: BTreeMap::new(),
            journaled: BTreeMap::new(),
        }
    }

    /// Takes over what the journal says about every service.
    pub fn on_journal(&mut self, journaled: &BTreeMap<SubjectToken, JournaledHealing>) {
        self.journaled.clone_from(journaled);
        for (name, service) in &mut self.services {
            if let Some(journaled) = journaled.get(name) {
                service.merge(*journaled);
            }
        }
    }

    /// Adds an inspection. Returns the record of a recovery or of a lasting health, each once.
    pub fn observe(&mut self, service: &ObservedService, mono: u64) -> Option<ServiceRecord> {
        let min_interval = self.min_interval;
        let known = self.service_mut(service, mono);
        match service.health {
            ContainerHealth::Unhealthy(_) => known.healthy_since = None,
            ContainerHealth::Unknown => {}
            ContainerHealth::Healthy => return known.on_healthy(mono, min_interval),
        }
        None
    }

    /// What to do about the service now. `None` if nothing is to be done, as for one that does not hang.
    pub fn decide(&mut self, service: &ObservedService, mono: u64) -> Option<Heal> {
        let reason = service.hang_reason()?;
        let journaled = self
            .journaled
            .get(&service.name)
            .copied()
            .unwrap_or_default();
        if journaled.is_held || journaled.is_quarantined {
            return None;
        }
        let min_interval = self.min_interval;
        let known = self.service_mut(service, mono);
        known.healthy_since = None;
        if known.has_given_up {
            return None;
        }
        if known.heals >= MAX_HEALS {
            known.has_given_up = true;
            return Some(Heal::GiveUp(ServiceRecord::Quarantined {
                run: service.run.clone(),
                reason,
                heals: known.heals,
            }));
        }
        let run_age = Duration::from_millis(mono.saturating_sub(known.run_since));
        let since_heal = Duration::from_millis(mono.saturating_sub(known.last_heal));
        let is_old_enough = run_age >= min_interval || service.checked_age >= min_interval;
        let is_due = known.heals == 0 || since_heal >= delay(min_interval, known.heals);
        if !is_old_enough || !is_due {
            return None;
        }
        known.heals_before = known.heals;
        Some(Heal::Restart(reason))
    }

    /// Notes that the service is restarted now. `found` is the detection of its hang, by the monotonic clock.
    pub fn record_heal(&mut self, service: &ObservedService, found: u64, mono: u64) {
        let known = self.service_mut(service, mono);
        known.heals = known.heals.max(known.heals_before.saturating_add(1));
        known.last_heal = mono;
        known.healthy_since = None;
        known.recovery_pending_since = Some(found);
    }

    /// Services whose recovery was not reported yet, each with the id of its container.
    pub fn pending_recoveries(&self) -> Vec<(SubjectToken, String)> {
        let pending = self
            .services
            .iter()
            .filter(|(_, service)| service.recovery_pending_since.is_some());
        pending
            .map(|(name, service)| (name.clone(), service.run.container.clone()))
            .collect()
    }

    /// Forgets a service whose container was removed.
    pub fn forget(&mut self, name: &SubjectToken) {
        self.services.remove(name);
    }

    /// What is known of the service, with the run that is observed now.
    fn service_mut(&mut self, service: &ObservedService, mono: u64) -> &mut ServiceHealing {
        let journaled = self.journaled.get(&service.name).copied();
        let known = self
            .services
            .entry(service.name.clone())
            .or_insert_with(|| ServiceHealing::new(&service.run, journaled, mono));
        if known.run != service.run {
            known.run = service.run.clone();
            known.run_since = mono;
        }
        known
    }
}

impl ServiceHealing {
    fn new(run: &Run, journaled: Option<JournaledHealing>, mono: u64) -> Self {
        let mut service = Self {
            run: run.clone(),
            run_since: mono,
            heals: 0,
            heals_before: 0,
            resets: None,
            last_heal: mono,
            healthy_since: None,
            recovery_pending_since: None,
            has_given_up: false,
        };
        if let Some(journaled) = journaled {
            service.merge(journaled);
        }
        service
    }

    /// A restart that the journal could not take yet counts until the journal has reset the row.
    fn merge(&mut self, journaled: JournaledHealing) {
        let was_reset = self.resets.is_some_and(|known| known != journaled.resets);
        if was_reset {
            self.has_given_up = false;
            self.heals = journaled.heals;
        } else {
            self.heals = self.heals.max(journaled.heals);
        }
        self.resets = Some(journaled.resets);
    }

    fn on_healthy(&mut self, mono: u64, min_interval: Duration) -> Option<ServiceRecord> {
        let since = *self.healthy_since.get_or_insert(mono);
        if let Some(found) = self.recovery_pending_since.take() {
            let after_ms = mono.saturating_sub(found);
            return Some(ServiceRecord::Recovered { after_ms });
        }
        let healthy_ms = mono.saturating_sub(since);
        let needed = MIN_HEALTHY_TIME.max(delay(min_interval, self.heals) * 2);
        if self.heals == 0 || Duration::from_millis(healthy_ms) < needed {
            return None;
        }
        self.healthy_since = Some(mono);
        Some(ServiceRecord::HealsReset { healthy_ms })
    }
}

/// Delay between the `heals`-th restart in a row (the first is 1) and the next one: doubles up to the maximum.
fn delay(min_interval: Duration, heals: u32) -> Duration {
    let doublings = heals.saturating_sub(1).min(16);
    (min_interval * 2_u32.pow(doublings)).min(MAX_DELAY.max(min_interval))
}
