//! The state that the health check and the heartbeats read. Exists before the first dependency answers.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use exchange::DataClient;
use protocol::heartbeat::{ComponentState, Heartbeat, LifetimeCounters, ProcessPhase};
use protocol::host_command;
use protocol::ids::{AccountKey, Mode, ProcessRole};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::components::{ComponentSource, ProcessStatus};
use runtime::health::check::{HealthFailure, HealthResult};
use runtime::identity::Identity;
use runtime::streams;
use tokio::time::timeout;

use super::start_calls::WaitReason;
use crate::account::monitor::AccountMonitor;
use crate::account::protection_status::ProtectionStatus;
use crate::books::book_registry::BookRegistry;

/// Without a pass over the leases for this long, the book manager counts as hung.
const MAX_LEASE_PASS_AGE: Duration = Duration::from_secs(20);

/// How long the last heartbeat of the instance may be read.
const LAST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// State read by the health check and the heartbeat.
pub struct HealthInputs {
    /// Counters of every component.
    pub process_status: Arc<ProcessStatus>,
    /// Newest state of each book of this process.
    pub book_registry: Arc<BookRegistry>,
    /// Client for market data, with the state of the feed.
    pub data_client: Arc<dyn DataClient>,
    /// The account; empty until the exchange has named it.
    pub account: OnceLock<AccountKey>,
    /// Newest report of the account leader.
    pub account_monitor: Arc<AccountMonitor>,
    /// Positions without a stop.
    pub protection_status: Arc<ProtectionStatus>,
    /// The latch that prevents this process from trading, or lets it only close positions.
    pub blocking_latch: OnceLock<String>,
    /// Connection to the bus; empty until it answers.
    pub bus: OnceLock<Bus>,
    /// What the start waits for.
    pub waiting: WaitReason,
    /// Counters of the earlier boots of this instance; empty until its last heartbeat was read.
    pub earlier_boots: OnceLock<LifetimeCounters>,
}

impl HealthInputs {
    /// The inputs of a process with this client. Stale candles make the process's health critical.
    pub fn for_client(data_client: &Arc<dyn DataClient>) -> Arc<Self> {
        let progress = Arc::<ProcessStatus>::default();
        let feed = Arc::clone(data_client.feed_stats());
        progress.add_source("feed", Arc::clone(&feed) as Arc<dyn ComponentSource>);
        let running = Arc::downgrade(&progress);
        progress.set_critical_check(move || {
            let running = running.upgrade()?.phase() == ProcessPhase::Running;
            let down = feed.component_status().state != ComponentState::Ok;
            (running && down).then(|| "the market feed is down or its candles are stale".to_owned())
        });
        Arc::new(Self {
            process_status: progress,
            book_registry: Arc::default(),
            data_client: Arc::clone(data_client),
            account: OnceLock::new(),
            account_monitor: Arc::default(),
            protection_status: Arc::default(),
            blocking_latch: OnceLock::new(),
            bus: OnceLock::new(),
            waiting: WaitReason::default(),
            earlier_boots: OnceLock::new(),
        })
    }

    /// Adds the trader's part to a heartbeat.
    pub fn extend_heartbeat(&self, heartbeat: &mut Heartbeat) {
        let feed = self.data_client.feed_stats();
        let age = feed.candle_age(self.data_client.clock().now());
        heartbeat.candle_age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        heartbeat.books = self.book_registry.summaries();
        heartbeat.account = self.account.get().cloned();
        heartbeat.latch_id = self.latch();
        let earlier = self.earlier_boots.get().copied().unwrap_or_default();
        heartbeat.lifetime = Some(earlier.plus(LifetimeCounters::of_boot(heartbeat)));
    }

    /// Reads the counters of the earlier boots from the last heartbeat of this instance. Called before the first
    /// heartbeat of this boot replaces it. Without an answer the counters start again.
    pub async fn read_earlier_boots(&self, bus: &Bus, identity: &Identity, role: ProcessRole) {
        let subject = Subject::Heartbeat(identity.process(role)).to_string();
        let last = bus.newest_json::<Heartbeat>(streams::HEARTBEATS, &subject);
        let earlier = match timeout(LAST_HEARTBEAT_TIMEOUT, last).await {
            Ok(Ok(last)) => last.filter(|last| last.boot != identity.boot),
            Ok(Err(error)) => {
                tracing::warn!(error, "last heartbeat not read; the counters start again");
                None
            }
            Err(_) => {
                tracing::warn!("last heartbeat not read in time; the counters start again");
                None
            }
        };
        let earlier = earlier.as_ref().map(LifetimeCounters::of_instance);
        let _ = self.earlier_boots.set(earlier.unwrap_or_default());
    }

    /// Id of the account's latch; `None` if this process knows of no latch.
    fn latch(&self) -> Option<String> {
        let status = self.account_monitor.status();
        let latch = status.and_then(|status| status.report.latch);
        let latch = latch.map(|latch| latch.latch_id);
        latch.or_else(|| self.blocking_latch.get().cloned())
    }

    /// The number of books, each one that does not trade with its reason, and what stops entries of all.
    fn describe_books(&self) -> String {
        let mut text = format!("{} books", self.book_registry.summaries().len());
        for (symbol, reason) in self.book_registry.idle_books() {
            let _ = write!(text, "; {symbol} {reason}");
        }
        let report = self.account_monitor.status().map(|status| status.report);
        if let Some(id) = report.and_then(|report| report.difference_id) {
            let _ = write!(
                text,
                "; entries stopped, nothing explains the balance ({id}): {}",
                host_command::accept(Mode::Live, &id)
            );
        }
        text
    }

    /// Answers the health check.
    ///
    /// # Errors
    /// `waiting` for a dependency, or `hung` if the book manager makes no progress.
    pub fn check_health(&self) -> HealthResult {
        let Some(bus) = self.bus.get() else {
            return Err(HealthFailure::waiting("the bus has not answered yet"));
        };
        if !bus.is_connected() {
            return Err(HealthFailure::waiting("the bus is disconnected"));
        }
        match self.process_status.phase() {
            ProcessPhase::Starting => {
                let reason = self
                    .waiting
                    .get()
                    .or_else(|| self.book_registry.first_wait());
                let reason = reason.unwrap_or_else(|| "the exchange".to_owned());
                return Err(HealthFailure::waiting(format!(
                    "starting: waiting for {reason}"
                )));
            }
            ProcessPhase::Running | ProcessPhase::Draining | ProcessPhase::Stopped => {}
        }
        let idle = self
            .process_status
            .component("book-manager")
            .since_last_iteration();
        if idle.is_none_or(|idle| idle > MAX_LEASE_PASS_AGE) {
            let since =
                idle.map_or_else(|| "the start".to_owned(), |idle| format!("{idle:.1?} ago"));
            return Err(HealthFailure::hung(format!(
                "the book manager made no progress since {since}"
            )));
        }
        if self.data_client.feed_stats().component_status().state != ComponentState::Ok {
            return Err(HealthFailure::waiting("the market feed is down or stale"));
        }
        Ok(self.describe_books())
    }
}
