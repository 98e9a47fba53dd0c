//! Leave to start what a latch keeps down: reads the operators' journals for the word that ends it, and for a unit whose
//! latch is not known yet its last heartbeat and its account's report. Tells what it finds, judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::heartbeat::Heartbeat;
use protocol::ids::{AccountKey, Service, Token};
use protocol::operator::{AccountOrder, Word};
use protocol::report::AccountReport;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::streams;
use supervision::pulse::Beat;
use supervision::record::Latch;
use supervision::state::State;
use supervision::watch::Event;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A person waits for it, but not by the millisecond.
const LOOK: Duration = Duration::from_secs(1);

/// What is to be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Latches that keep a unit down.
    latches: BTreeSet<Latch>,
    /// Units that are kept down by one that is not known.
    unknown: BTreeSet<Token>,
}

impl Wanted {
    /// What a state leaves open.
    pub fn of(state: &State) -> Self {
        let mut wanted = Self::default();
        for (unit, latch) in state.latched() {
            match latch {
                Some(latch) => wanted.latches.insert(latch.clone()),
                None => wanted.unknown.insert(unit.clone()),
            };
        }
        wanted
    }

    fn is_nothing(&self) -> bool {
        self.latches.is_empty() && self.unknown.is_empty()
    }
}

/// Looks until `stop`, or until nobody reads the reports.
pub async fn listen(
    bus: Bus,
    wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let listener = Listener {
        bus,
        wanted,
        reports,
        looked: BTreeSet::new(),
        read: BTreeMap::new(),
    };
    stop.run_until_cancelled(listener.run()).await;
}

/// The reader of our reports is gone: there is nothing more to do.
struct Unheard;

struct Listener {
    bus: Bus,
    wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Event>,
    /// Units whose latch was found.
    looked: BTreeSet<Token>,
    /// Up to where each operators' journal was read, and for which latches.
    read: BTreeMap<AccountKey, (u64, BTreeSet<Latch>)>,
}

impl Listener {
    async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if wanted.is_nothing() {
                self.looked.clear();
                self.read.clear();
                if self.wanted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if self.look(&wanted).await.is_err() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self, wanted: &Wanted) -> Result<(), Unheard> {
        self.looked.retain(|unit| wanted.unknown.contains(unit));
        let unseen = wanted.unknown.difference(&self.looked).cloned();
        for unit in unseen.collect::<Vec<_>>() {
            match self.last_beat(&unit).await {
                Ok(Some(beat)) if beat.latch.is_some() => {
                    self.looked.insert(unit.clone());
                    self.report(Event::Beat { unit, beat }).await?;
                }
                // Who keeps the account may say it later.
                Ok(_) => {}
                Err(why) => tracing::debug!(%unit, why, "last heartbeat not read"),
            }
        }
        let accounts: BTreeSet<&AccountKey> = wanted.latches.iter().map(|l| &l.account).collect();
        for account in accounts {
            match self.new_words(account, &wanted.latches).await {
                Ok(words) => self.hear(account, &wanted.latches, words).await?,
                Err(why) => tracing::debug!(%account, why, "operators' journal not read"),
            }
        }
        Ok(())
    }

    async fn last_beat(&self, unit: &Token) -> Result<Option<Beat>, String> {
        let subject = Subject::Heartbeat {
            service: Service::Trader,
            instance: unit.clone(),
        };
        let subject = subject.to_string();
        let newest = self.bus.newest(streams::HEARTBEATS, &subject).await?;
        let read = |payload: &[u8]| serde_json::from_slice::<Heartbeat>(payload);
        let heartbeat = newest.map(|newest| read(&newest.payload));
        let heartbeat = heartbeat.transpose().map_err(|error| error.to_string())?;
        let Some(mut heartbeat) = heartbeat else {
            return Ok(None);
        };
        if let (Some(account), None) = (&heartbeat.account, &heartbeat.latch) {
            heartbeat.latch = self.latch_of(account).await?;
        }
        Ok(Some(Beat::from(&heartbeat)))
    }

    /// What closes the account, by who keeps it: the very last heartbeat of a unit may have been lost.
    async fn latch_of(&self, account: &AccountKey) -> Result<Option<String>, String> {
        let subject = Subject::AccountReport(account.clone()).to_string();
        let Some(newest) = self.bus.newest(streams::REPORTS, &subject).await? else {
            return Ok(None);
        };
        let report: AccountReport =
            serde_json::from_slice(&newest.payload).map_err(|error| error.to_string())?;
        Ok(report.latch.map(|latch| latch.id))
    }

    /// Every word, if one is new or a latch is asked for that was not before.
    async fn new_words(
        &mut self,
        account: &AccountKey,
        latches: &BTreeSet<Latch>,
    ) -> Result<Vec<Word>, String> {
        let subject = Subject::OperatorJournal(account.clone());
        let name = subject.to_string();
        let Some(newest) = self.bus.newest(streams::JOURNAL, &name).await? else {
            return Ok(Vec::new());
        };
        let now = (newest.seq, latches.clone());
        if self.read.get(account) == Some(&now) {
            return Ok(Vec::new());
        }
        let (_, entries) = Journal::replay::<Word>(&self.bus, &subject, boot_id())
            .await
            .map_err(|error| error.to_string())?;
        self.read.insert(account.clone(), now);
        let words = entries.into_iter().flat_map(|stored| stored.entry.records);
        Ok(words.collect())
    }

    async fn hear(
        &self,
        account: &AccountKey,
        latches: &BTreeSet<Latch>,
        words: Vec<Word>,
    ) -> Result<(), Unheard> {
        for Word { order, who, why } in words {
            let AccountOrder::Unlatch { latch: id } = order else {
                continue;
            };
            let account = account.clone();
            let latch = Latch { account, id };
            if latches.contains(&latch) {
                let by = who;
                self.report(Event::Unlatched { latch, by, why }).await?;
            }
        }
        Ok(())
    }

    async fn report(&self, event: Event) -> Result<(), Unheard> {
        self.reports.send(event).await.map_err(|_| Unheard)
    }
}
