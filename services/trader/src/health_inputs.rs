//! How this process is, for those who ask from outside: what heartbeats add to its counters, and
//! what Docker's health check hears. Exists before there is anything to trade.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::heartbeat::{ComponentState, Heartbeat, ProcessPhase};
use protocol::ids::AccountKey;
use runtime::bus::Bus;
use runtime::components::{ComponentSource, ProcessStatus};
use runtime::health::{HealthFailure, HealthResult};

use crate::account::AccountMonitor;
use crate::book_registry::BookRegistry;
use crate::market::Feed;

/// A fleet that has not looked at its leases for this long is stuck.
const MAX_LEASE_PASS_AGE: Duration = Duration::from_secs(20);

/// What there is to look at.
pub struct HealthInputs {
    /// Counters of every part.
    pub process_status: Arc<ProcessStatus>,
    /// The books' own words.
    pub book_registry: Arc<BookRegistry>,
    /// The market feed.
    pub feed: Feed,
    /// Whose books these are; empty while the exchange is asked for that.
    pub account: OnceLock<AccountKey>,
    /// What is known of that account.
    pub account_monitor: Arc<AccountMonitor>,
    /// The latch that kept this process from starting to trade, or lets it only close.
    pub blocking_latch: OnceLock<String>,
    /// Empty while it is waited for.
    pub bus: OnceLock<Bus>,
}

impl HealthInputs {
    /// Of a process with this feed. While its candles are stale it is critical, whatever else is well.
    pub fn for_feed(feed: &Feed) -> Arc<Self> {
        let progress = Arc::<ProcessStatus>::default();
        progress.add_source("feed", Arc::clone(feed.stats()) as Arc<dyn ComponentSource>);
        let stale = feed.clone();
        let running = Arc::downgrade(&progress);
        progress.set_critical_check(move || {
            let running = running.upgrade()?.phase() == ProcessPhase::Running;
            let down = stale.stats().component_status().state != ComponentState::Ok;
            (running && down).then(|| "the market feed is down or its candles are stale".to_owned())
        });
        Arc::new(Self {
            process_status: progress,
            book_registry: Arc::default(),
            feed: feed.clone(),
            account: OnceLock::new(),
            account_monitor: Arc::default(),
            blocking_latch: OnceLock::new(),
            bus: OnceLock::new(),
        })
    }

    /// What a heartbeat says beyond the process itself.
    pub fn extend_heartbeat(&self, heartbeat: &mut Heartbeat) {
        let feed = self.feed.stats();
        let age = feed.candle_age(self.feed.clock().now());
        heartbeat.candle_age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        heartbeat.books = self.book_registry.summaries();
        heartbeat.account = self.account.get().cloned();
        heartbeat.latch_id = self.latch();
    }

    /// The latch that closes the account, if this process knows of one.
    fn latch(&self) -> Option<String> {
        let standing = self.account_monitor.status();
        let latch = standing.and_then(|standing| standing.report.latch);
        let latch = latch.map(|latch| latch.latch_id);
        latch.or_else(|| self.blocking_latch.get().cloned())
    }

    /// What Docker's health check hears.
    ///
    /// # Errors
    /// Why it is not well, in one line.
    pub fn check_health(&self) -> HealthResult {
        let Some(bus) = self.bus.get() else {
            return Err(HealthFailure::waiting("waiting for the bus"));
        };
        if !bus.is_connected() {
            return Err(HealthFailure::waiting("the bus is away"));
        }
        match self.process_status.phase() {
            ProcessPhase::Starting => {
                return Err(HealthFailure::waiting("starting: waiting for the exchange"));
            }
            ProcessPhase::Running | ProcessPhase::Draining | ProcessPhase::Stopped => {}
        }
        let idle = self
            .process_status
            .component("book-manager")
            .since_last_iteration();
        if idle.is_none_or(|idle| idle > MAX_LEASE_PASS_AGE) {
            return Err(HealthFailure::hung(format!(
                "leases were last renewed {idle:?} ago"
            )));
        }
        if self.feed.stats().component_status().state != ComponentState::Ok {
            return Err(HealthFailure::waiting("the market feed is down or stale"));
        }
        Ok(format!("{} books", self.book_registry.summaries().len()))
    }
}
