//! How this process is, for those who ask from outside: what heartbeats add to its counters, and
//! what Docker's health check hears. Exists before there is anything to trade.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::heartbeat::{Heartbeat, PartState, Phase};
use protocol::ids::AccountKey;
use runtime::bus::Bus;
use runtime::health::{Ailment, Answer};
use runtime::progress::{Progress, SelfCounting};

use crate::account::Watch;
use crate::board::Board;
use crate::market::Feed;

/// A fleet that has not looked at its leases for this long is stuck.
const FLEET_STUCK: Duration = Duration::from_secs(20);

/// What there is to look at.
pub struct Vitals {
    /// Counters of every part.
    pub progress: Arc<Progress>,
    /// The books' own words.
    pub board: Arc<Board>,
    /// The market feed.
    pub feed: Feed,
    /// Whose books these are; empty while the exchange is asked for that.
    pub account: OnceLock<AccountKey>,
    /// What is known of that account.
    pub standing: Arc<Watch>,
    /// The latch that kept this process from starting to trade, or lets it only close.
    pub refused_by: OnceLock<String>,
    /// Empty while it is waited for.
    pub bus: OnceLock<Bus>,
}

impl Vitals {
    /// Of a process with this feed. While its candles are stale it is critical, whatever else is well.
    pub fn of(feed: &Feed) -> Arc<Self> {
        let progress = Arc::<Progress>::default();
        progress.include("feed", Arc::clone(feed.progress()) as Arc<dyn SelfCounting>);
        let stale = feed.clone();
        let running = Arc::downgrade(&progress);
        progress.critical_when(move || {
            let running = running.upgrade()?.phase() == Phase::Running;
            let down = stale.progress().part().state != PartState::Ok;
            (running && down).then(|| "the market feed is down or its candles are stale".to_owned())
        });
        Arc::new(Self {
            progress,
            board: Arc::default(),
            feed: feed.clone(),
            account: OnceLock::new(),
            standing: Arc::default(),
            refused_by: OnceLock::new(),
            bus: OnceLock::new(),
        })
    }

    /// What a heartbeat says beyond the process itself.
    pub fn add_to(&self, heartbeat: &mut Heartbeat) {
        let feed = self.feed.progress();
        let age = feed.candle_age(self.feed.clock().now());
        heartbeat.candle_age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        heartbeat.books = self.board.summaries();
        heartbeat.account = self.account.get().cloned();
        heartbeat.latch = self.latch();
    }

    /// The latch that closes the account, if this process knows of one.
    fn latch(&self) -> Option<String> {
        let standing = self.standing.standing();
        let latch = standing.and_then(|standing| standing.report.latch);
        let latch = latch.map(|latch| latch.id);
        latch.or_else(|| self.refused_by.get().cloned())
    }

    /// What Docker's health check hears.
    ///
    /// # Errors
    /// Why it is not well, in one line.
    pub fn examine(&self) -> Answer {
        let Some(bus) = self.bus.get() else {
            return Err(Ailment::waits("waiting for the bus"));
        };
        if !bus.is_connected() {
            return Err(Ailment::waits("the bus is away"));
        }
        match self.progress.phase() {
            Phase::Starting => return Err(Ailment::waits("starting: waiting for the exchange")),
            Phase::Running | Phase::Draining | Phase::Stopped => {}
        }
        let idle = self.progress.part("fleet").idle();
        if idle.is_none_or(|idle| idle > FLEET_STUCK) {
            return Err(Ailment::hangs(format!(
                "leases were last renewed {idle:?} ago"
            )));
        }
        if self.feed.progress().part().state != PartState::Ok {
            return Err(Ailment::waits("the market feed is down or stale"));
        }
        Ok(format!("{} books", self.board.summaries().len()))
    }
}
