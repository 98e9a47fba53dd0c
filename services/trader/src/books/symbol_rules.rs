//! The newest rules of every symbol of this process: [`SymbolRules`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exchange::SymbolListing;
use protocol::ids::SubjectToken;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use trader_core::symbol_filters::SymbolFilters;

/// Time between two readings.
const READ_INTERVAL: Duration = Duration::from_hours(1);
/// The same while a symbol cannot be traded.
const OBSTACLE_INTERVAL: Duration = Duration::from_mins(1);

/// The newest rules of every symbol of this process.
#[derive(Debug)]
pub struct SymbolRules {
    listings: Mutex<BTreeMap<SubjectToken, SymbolListing>>,
    /// Wakes the task before its time.
    wanted: Notify,
    /// Number of readings.
    readings: watch::Sender<u64>,
}

impl SymbolRules {
    /// The rules of the first reading.
    pub fn new(listings: BTreeMap<SubjectToken, SymbolListing>) -> Self {
        Self {
            listings: Mutex::new(listings),
            wanted: Notify::new(),
            readings: watch::Sender::new(1),
        }
    }

    /// The newest filters of a symbol that could be read; `None` if none ever could.
    pub fn filters(&self, symbol: &SubjectToken) -> Option<SymbolFilters> {
        self.lock().get(symbol)?.filters.clone()
    }

    /// Why no position may be opened in this symbol now, in one line; `None` if one may.
    pub fn obstacle(&self, symbol: &SubjectToken) -> Option<String> {
        let listings = self.lock();
        let listing = listings.get(symbol)?;
        listing.obstacle.as_ref().map(ToString::to_string)
    }

    /// Has the rules read again, and waits for them, at most this long. Returns whether they were read.
    pub(crate) async fn read_again(&self, within: Duration) -> bool {
        let mut readings = self.readings.subscribe();
        self.wanted.notify_one();
        matches!(timeout(within, readings.changed()).await, Ok(Ok(())))
    }

    /// Takes in a reading. Filters that cannot be read now stay as they were.
    pub(super) fn update(&self, read: BTreeMap<SubjectToken, SymbolListing>) {
        let mut listings = self.lock();
        for (symbol, mut listing) in read {
            let known = listings.get(&symbol);
            if let Some(known) = known {
                log_changes(&symbol, known, &listing);
            }
            if listing.filters.is_none() {
                listing.filters = known.and_then(|known| known.filters.clone());
            }
            listings.insert(symbol, listing);
        }
        drop(listings);
        self.readings.send_modify(|count| *count += 1);
    }

    /// Time until the next reading.
    pub(super) fn read_interval(&self) -> Duration {
        let has_obstacle = |listing: &SymbolListing| listing.obstacle.is_some();
        if self.lock().values().any(has_obstacle) {
            OBSTACLE_INTERVAL
        } else {
            READ_INTERVAL
        }
    }

    /// Waits until a reading is wanted before its time.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, SymbolListing>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_changes(symbol: &SubjectToken, known: &SymbolListing, now: &SymbolListing) {
    if let (Some(old), Some(new)) = (&known.filters, &now.filters)
        && old != new
    {
        tracing::warn!(%symbol, ?old, ?new, "symbol filters changed");
    }
    match (&known.obstacle, &now.obstacle) {
        (None, Some(obstacle)) => {
            tracing::warn!(%symbol, reason = %obstacle, "symbol cannot be traded");
        }
        (Some(_), None) => tracing::info!(%symbol, "symbol can be traded again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use exchange::ListingObstacle;
    use rust_decimal::Decimal;

    use super::*;

    fn listing(tick: &str, obstacle: Option<ListingObstacle>) -> SymbolListing {
        let filters = SymbolFilters {
            symbol: symbol(),
            tick: tick.parse().unwrap(),
            lot: "0.001".parse().unwrap(),
            min_qty: "0.001".parse().unwrap(),
            max_qty: "100".parse().unwrap(),
            min_notional: Decimal::from(100),
        };
        SymbolListing {
            filters: Some(filters),
            obstacle,
        }
    }

    fn symbol() -> SubjectToken {
        "SOLUSDT".parse().unwrap()
    }

    fn not_listed() -> ListingObstacle {
        ListingObstacle::NotListed {
            symbol: "SOLUSDT".to_owned(),
            examples: "BTCUSDT".to_owned(),
        }
    }

    #[test]
    fn symbol_that_vanishes_keeps_its_filters_and_cannot_be_traded() {
        let rules = SymbolRules::new(BTreeMap::from([(symbol(), listing("0.1", None))]));
        assert_eq!(rules.obstacle(&symbol()), None);
        let vanished = SymbolListing {
            filters: None,
            obstacle: Some(not_listed()),
        };
        rules.update(BTreeMap::from([(symbol(), vanished)]));
        let tick = rules.filters(&symbol()).unwrap().tick;
        assert_eq!(tick, "0.1".parse().unwrap());
        assert!(rules.obstacle(&symbol()).unwrap().contains("not listed"));
        assert_eq!(rules.read_interval(), OBSTACLE_INTERVAL);
        rules.update(BTreeMap::from([(symbol(), listing("1", None))]));
        assert_eq!(rules.obstacle(&symbol()), None);
        assert_eq!(rules.filters(&symbol()).unwrap().tick, "1".parse().unwrap());
        assert_eq!(rules.read_interval(), READ_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn reader_that_does_not_answer_is_waited_for_no_longer_than_allowed() {
        let rules = SymbolRules::new(BTreeMap::new());
        assert!(!rules.read_again(Duration::from_secs(3)).await);
        let (read, ()) = tokio::join!(rules.read_again(Duration::from_secs(3)), async {
            rules.wanted.notified().await;
            rules.update(BTreeMap::new());
        });
        assert!(read);
    }
}
