//! Watches the account commands for an unlatch that permits restarting a unit stopped by a latch. If the latch is
//! unknown, it is taken from the unit's last heartbeat or from the account report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, HostKey, Mode, ProcessRole, SubjectToken};
use protocol::report::AccountReport;
use protocol::subject::{Subject, filter};
use runtime::backoff::Backoff;
use runtime::bus::Bus;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::streams;
use runtime::subscription::Subscription;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use watchdog_core::liveness::HeartbeatSample;
use watchdog_core::model::Latch;
use watchdog_core::observed_state::SupervisionEvent;
use watchdog_core::state::SupervisionState;

/// Wait before a check that failed is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Wait before a check without a push, 15 to 30 s: the last heartbeat of a unit is read, not pushed.
const CHECK_WAIT: Backoff = Backoff {
    first: Duration::from_secs(30),
    cap: Duration::from_secs(30),
};

/// The latches to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchedLatches {
    /// Latches that keep a unit stopped.
    latches: BTreeSet<Latch>,
    /// Units stopped by a latch that is not known.
    units_without_latch: BTreeSet<SubjectToken>,
}

impl WatchedLatches {
    /// The latches that a state waits for.
    pub fn from_state(state: &SupervisionState) -> Self {
        let mut watched = Self::default();
        for (unit, latch) in state.latched_units() {
            match latch {
                Some(latch) => watched.latches.insert(latch.clone()),
                None => watched.units_without_latch.insert(unit.clone()),
            };
        }
        watched
    }

    fn is_empty(&self) -> bool {
        self.latches.is_empty() && self.units_without_latch.is_empty()
    }
}

/// Watches until `shutdown`, or until the event channel is closed.
pub async fn watch_latches(
    bus: Bus,
    host: HostKey,
    latches: watch::Receiver<WatchedLatches>,
    events: mpsc::Sender<SupervisionEvent>,
    shutdown: CancellationToken,
) {
    let watcher = LatchWatcher {
        bus,
        host,
        watched: latches,
        events,
        resolved_units: BTreeSet::new(),
        journal_positions: BTreeMap::new(),
    };
    shutdown.run_until_cancelled(watcher.run()).await;
}

/// The event channel is closed.
struct ReceiverDropped;

/// Waits for the next account report; never returns without a subscription.
async fn next_report(reports: &mut Option<Subscription>) {
    match reports {
        Some(reports) => drop(reports.next().await),
        None => std::future::pending().await,
    }
}

struct LatchWatcher {
    bus: Bus,
    host: HostKey,
    watched: watch::Receiver<WatchedLatches>,
    events: mpsc::Sender<SupervisionEvent>,
    /// Units whose latch was found, and the mode of the heartbeat that has it.
    resolved_units: BTreeSet<(SubjectToken, Mode)>,
    /// Position up to which each account's commands were read, and the latches they were searched for.
    journal_positions: BTreeMap<AccountKey, (u64, BTreeSet<Latch>)>,
}

impl LatchWatcher {
    async fn run(mut self) {
        loop {
            if self.watched.borrow_and_update().is_empty() {
                self.resolved_units.clear();
                self.journal_positions.clear();
                if self.watched.changed().await.is_err() {
                    return;
                }
            } else if self.watch().await.is_err() {
                return;
            }
        }
    }

    /// Checks whenever the bus pushes a change, until there is nothing to watch.
    async fn watch(&mut self) -> Result<(), ReceiverDropped> {
        let commands = filter::ACCOUNT_COMMAND_JOURNALS;
        let mut commands = Subscription::start(&self.bus, streams::JOURNAL, commands);
        let mut reports = None;
        loop {
            let watched = self.watched.borrow_and_update().clone();
            if watched.is_empty() {
                return Ok(());
            }
            // The account leader may publish the latch of a unit later than the unit stops.
            if watched.units_without_latch.is_empty() {
                reports = None;
            } else if reports.is_none() {
                let filter = filter::ACCOUNT_REPORTS;
                reports = Some(Subscription::start(&self.bus, streams::REPORTS, filter));
            }
            let next_check = if self.check(&watched).await? {
                CHECK_WAIT.wait(1)
            } else {
                RETRY_DELAY
            };
            tokio::select! {
                changed = self.watched.changed() => changed.map_err(|_| ReceiverDropped)?,
                _ = commands.next() => {}
                () = next_report(&mut reports) => {}
                () = sleep(next_check) => {}
            }
        }
    }

    /// Searches for the unlatch of every latch; false if the bus did not answer everything.
    async fn check(&mut self, watched: &WatchedLatches) -> Result<bool, ReceiverDropped> {
        let mut is_complete = true;
        self.resolved_units
            .retain(|(unit, _)| watched.units_without_latch.contains(unit));
        // The core knows the mode of a unit and ignores the other one.
        let units = watched.units_without_latch.iter();
        let unseen = units
            .flat_map(|unit| [Mode::Paper, Mode::Live].map(|mode| (unit.clone(), mode)))
            .filter(|unit| !self.resolved_units.contains(unit));
        for unit in unseen.collect::<Vec<_>>() {
            let (unit, mode) = unit;
            match self.last_heartbeat(&unit, mode).await {
                Ok(Some(heartbeat)) if heartbeat.latch.is_some() => {
                    self.resolved_units.insert((unit.clone(), mode));
                    self.send_event(SupervisionEvent::HeartbeatReceived { unit, heartbeat })
                        .await?;
                }
                Ok(_) => {}
                Err(error) => {
                    is_complete = false;
                    tracing::debug!(%unit, error, "last heartbeat not read");
                }
            }
        }
        let accounts: BTreeSet<&AccountKey> = watched.latches.iter().map(|l| &l.account).collect();
        for account in accounts {
            match self.new_commands(account, &watched.latches).await {
                Ok(commands) => {
                    self.report_unlatches(account, &watched.latches, commands)
                        .await?;
                }
                Err(error) => {
                    is_complete = false;
                    tracing::debug!(%account, error, "account commands not read");
                }
            }
        }
        Ok(is_complete)
    }

    async fn last_heartbeat(
        &self,
        unit: &SubjectToken,
        mode: Mode,
    ) -> Result<Option<HeartbeatSample>, String> {
        let process = self.host.process(ProcessRole::Trader(mode), unit.clone());
        let subject = Subject::Heartbeat(process);
        let subject = subject.to_string();
        let newest = self.bus.newest_json(streams::HEARTBEATS, &subject).await?;
        let Some::<Heartbeat>(mut heartbeat) = newest else {
            return Ok(None);
        };
        if let (Some(account), None) = (&heartbeat.account, &heartbeat.latch_id) {
            heartbeat.latch_id = self.reported_latch(account).await?;
        }
        Ok(Some(HeartbeatSample::new(mode, &heartbeat)))
    }

    /// The latch by the account report: the last heartbeat of a unit may be lost.
    async fn reported_latch(&self, account: &AccountKey) -> Result<Option<String>, String> {
        let subject = Subject::AccountReport(account.clone()).to_string();
        let report: Option<AccountReport> =
            self.bus.newest_json(streams::REPORTS, &subject).await?;
        let latch = report.and_then(|report| report.latch);
        Ok(latch.map(|latch| latch.latch_id))
    }

    /// All commands of an account. Empty unless there is a new command or a new latch to search for.
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
        let commands = entries.into_iter().flat_map(|stored| stored.batch.records);
        Ok(commands.collect())
    }

    async fn report_unlatches(
        &self,
        account: &AccountKey,
        latches: &BTreeSet<Latch>,
        commands: Vec<AccountCommandRecord>,
    ) -> Result<(), ReceiverDropped> {
        for AccountCommandRecord {
            command,
            by,
            reason,
        } in commands
        {
            let AccountCommand::Unlatch { latch_id: id } = command else {
                continue;
            };
            let account = account.clone();
            let latch = Latch { account, id };
            if latches.contains(&latch) {
                self.send_event(SupervisionEvent::Unlatched { latch, by, reason })
                    .await?;
            }
        }
        Ok(())
    }

    async fn send_event(&self, event: SupervisionEvent) -> Result<(), ReceiverDropped> {
        self.events.send(event).await.map_err(|_| ReceiverDropped)
    }
}
