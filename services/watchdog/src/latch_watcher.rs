//! Leave to start what a latch keeps down: reads the operators' journals for the word that ends it, and for a unit whose
//! latch is not known yet its last heartbeat and its account's report. Tells what it finds, judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, HostKey, Service, SubjectToken};
use protocol::report::AccountReport;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::streams;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watchdog_core::liveness::HeartbeatSample;
use watchdog_core::observed_state::SupervisionEvent;
use watchdog_core::model::Latch;
use watchdog_core::state::SupervisionState;

use crate::supervisor::SupervisorDeps;

/// A person waits for it, but not by the millisecond.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What is to be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedLatches {
    /// Latches that keep a unit down.
    latches: BTreeSet<Latch>,
    /// Units that are kept down by one that is not known.
    units_without_latch: BTreeSet<SubjectToken>,
}

impl WatchedLatches {
    /// What a state leaves open.
    pub fn from_state(state: &SupervisionState) -> Self {
        let mut wanted = Self::default();
        for (unit, latch) in state.latched_units() {
            match latch {
                Some(latch) => wanted.latches.insert(latch.clone()),
                None => wanted.units_without_latch.insert(unit.clone()),
            };
        }
        wanted
    }

    fn is_empty(&self) -> bool {
        self.latches.is_empty() && self.units_without_latch.is_empty()
    }
}

/// Looks until `shutdown`, or until nobody reads the reports.
pub fn watch_latches(
    deps: &SupervisorDeps,
    wanted: watch::Receiver<WatchedLatches>,
    reports: mpsc::Sender<SupervisionEvent>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let listener = LatchWatcher {
        bus: deps.bus.clone(),
        host: deps.identity.host.clone(),
        watched: wanted,
        events: reports,
        resolved_units: BTreeSet::new(),
        journal_positions: BTreeMap::new(),
    };
    async move {
        shutdown.run_until_cancelled(listener.run()).await;
    }
}

/// The reader of our reports is gone: there is nothing more to do.
struct ReceiverDropped;

struct LatchWatcher {
    bus: Bus,
    host: HostKey,
    watched: watch::Receiver<WatchedLatches>,
    events: mpsc::Sender<SupervisionEvent>,
    /// Units whose latch was found.
    resolved_units: BTreeSet<SubjectToken>,
    /// Up to where each operators' journal was read, and for which latches.
    journal_positions: BTreeMap<AccountKey, (u64, BTreeSet<Latch>)>,
}

impl LatchWatcher {
    async fn run(mut self) {
        loop {
            let wanted = self.watched.borrow_and_update().clone();
            if wanted.is_empty() {
                self.resolved_units.clear();
                self.journal_positions.clear();
                if self.watched.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if self.check(&wanted).await.is_err() {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn check(&mut self, wanted: &WatchedLatches) -> Result<(), ReceiverDropped> {
        self.resolved_units
            .retain(|unit| wanted.units_without_latch.contains(unit));
        let unseen = wanted
            .units_without_latch
            .difference(&self.resolved_units)
            .cloned();
        for unit in unseen.collect::<Vec<_>>() {
            match self.last_heartbeat(&unit).await {
                Ok(Some(beat)) if beat.latch.is_some() => {
                    self.resolved_units.insert(unit.clone());
                    self.send_event(SupervisionEvent::HeartbeatReceived {
                        unit,
                        heartbeat: beat,
                    })
                    .await?;
                }
                // Who keeps the account may say it later.
                Ok(_) => {}
                Err(why) => tracing::debug!(%unit, why, "last heartbeat not read"),
            }
        }
        let accounts: BTreeSet<&AccountKey> = wanted.latches.iter().map(|l| &l.account).collect();
        for account in accounts {
            match self.new_commands(account, &wanted.latches).await {
                Ok(words) => {
                    self.report_unlatches(account, &wanted.latches, words)
                        .await?;
                }
                Err(why) => tracing::debug!(%account, why, "operators' journal not read"),
            }
        }
        Ok(())
    }

    async fn last_heartbeat(&self, unit: &SubjectToken) -> Result<Option<HeartbeatSample>, String> {
        let subject = Subject::Heartbeat(self.host.process(Service::Trader, unit.clone()));
        let subject = subject.to_string();
        let newest = self
            .bus
            .latest_message(streams::HEARTBEATS, &subject)
            .await?;
        let read = |payload: &[u8]| serde_json::from_slice::<Heartbeat>(payload);
        let heartbeat = newest.map(|newest| read(&newest.payload));
        let heartbeat = heartbeat.transpose().map_err(|error| error.to_string())?;
        let Some(mut heartbeat) = heartbeat else {
            return Ok(None);
        };
        if let (Some(account), None) = (&heartbeat.account, &heartbeat.latch_id) {
            heartbeat.latch_id = self.reported_latch(account).await?;
        }
        Ok(Some(HeartbeatSample::from(&heartbeat)))
    }

    /// What closes the account, by who keeps it: the very last heartbeat of a unit may have been lost.
    async fn reported_latch(&self, account: &AccountKey) -> Result<Option<String>, String> {
        let subject = Subject::AccountReport(account.clone()).to_string();
        let Some(newest) = self.bus.latest_message(streams::REPORTS, &subject).await? else {
            return Ok(None);
        };
        let report: AccountReport =
            serde_json::from_slice(&newest.payload).map_err(|error| error.to_string())?;
        Ok(report.latch.map(|latch| latch.latch_id))
    }

    /// Every word, if one is new or a latch is asked for that was not before.
    async fn new_commands(
        &mut self,
        account: &AccountKey,
        latches: &BTreeSet<Latch>,
    ) -> Result<Vec<AccountCommandRecord>, String> {
        let subject = Subject::AccountCommandJournal(account.clone());
        let name = subject.to_string();
        let Some(newest) = self.bus.latest_message(streams::JOURNAL, &name).await? else {
            return Ok(Vec::new());
        };
        let now = (newest.seq, latches.clone());
        if self.journal_positions.get(account) == Some(&now) {
            return Ok(Vec::new());
        }
        let (_, entries) = Journal::replay::<AccountCommandRecord>(&self.bus, &subject, boot_id())
            .await
            .map_err(|error| error.to_string())?;
        self.journal_positions.insert(account.clone(), now);
        let words = entries.into_iter().flat_map(|stored| stored.batch.records);
        Ok(words.collect())
    }

    async fn report_unlatches(
        &self,
        account: &AccountKey,
        latches: &BTreeSet<Latch>,
        commands: Vec<AccountCommandRecord>,
    ) -> Result<(), ReceiverDropped> {
        for AccountCommandRecord {
            command: order,
            by: who,
            reason: why,
        } in commands
        {
            let AccountCommand::Unlatch { latch_id: id } = order else {
                continue;
            };
            let account = account.clone();
            let latch = Latch { account, id };
            if latches.contains(&latch) {
                let by = who;
                self.send_event(SupervisionEvent::Unlatched {
                    latch,
                    by,
                    reason: why,
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn send_event(&self, event: SupervisionEvent) -> Result<(), ReceiverDropped> {
        self.events.send(event).await.map_err(|_| ReceiverDropped)
    }
}
