//! Where trading meets the world: one call at a time is carried out on the venue at the market's
//! present moment, stored, and only then answered and told to its user. Not here: what calls do
//! (`trading/`), and how they come and are answered (`rest/`, `ws/`).

pub(crate) mod counts;
pub(crate) mod faults;
pub(crate) mod store;
pub(crate) mod users;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rust_decimal::Decimal;
use tokio::task::spawn_blocking;
use tracing::error;

use crate::exchange::Exchange;
use crate::keys::Keys;
use crate::trading::prices::Now;
use crate::trading::refusal::Refusal;
use crate::trading::rules::Rules;
use crate::trading::venue::Venue;
use counts::Counts;
use faults::Faults;
use store::Store;
use users::Users;

/// The trading side, shared by every connection and task.
pub(crate) struct Desk {
    exchange: Arc<Exchange>,
    keys: Keys,
    counts: Counts,
    pub(crate) users: Users,
    pub(crate) faults: Faults,
    inner: Mutex<Inner>,
}

struct Inner {
    venue: Venue,
    store: Option<Store>,
    /// A change could not be stored: nothing is done any more, since a restart would not know of it.
    broken: bool,
}

impl Desk {
    /// A desk over `venue` with an account for each key.
    pub(crate) fn new(
        exchange: Arc<Exchange>,
        keys: Keys,
        mut venue: Venue,
        store: Option<Store>,
        balance: Decimal,
    ) -> Arc<Self> {
        for name in keys.names() {
            venue.open_account(name, balance);
        }
        // An account without anything is made again from its key: nothing to store.
        let _ = venue.take();
        let counts = Counts::new(*exchange.limits());
        let inner = Inner {
            venue,
            store,
            broken: false,
        };
        Arc::new(Self {
            exchange,
            keys,
            counts,
            users: Users::default(),
            faults: Faults::default(),
            inner: Mutex::new(inner),
        })
    }

    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Counts an order against its account's rate.
    pub(crate) fn count_order(&self, account: &str) -> Result<[u32; 2], Refusal> {
        self.counts.count(account, runtime::clock::now().0)
    }

    /// Exchange time as clients are told it, UTC ms.
    pub(crate) fn clients_time(&self) -> i64 {
        self.exchange.now_ms() + self.faults.skew_ms()
    }

    /// Carries out a call, away from the threads that must not wait for a disk.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut Venue, &Now<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let desk = Arc::clone(self);
        let done = spawn_blocking(move || desk.act(call)).await;
        done.unwrap_or_else(|error| {
            error!(%error, "a call ended in a panic");
            Err(Refusal::of(-1007))
        })
    }

    /// Carries out a call at this moment.
    pub(crate) fn act<T>(
        &self,
        call: impl FnOnce(&mut Venue, &Now<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let inner = &mut *self.inner();
        if inner.broken {
            return Err(Refusal::of(-1016));
        }
        let venue = &mut inner.venue;
        let answer = self.exchange.at_once(|moment| {
            venue.settle(moment.market, moment.now_ms);
            let now = Now {
                ms: moment.now_ms.max(venue.settled_ms()),
                prices: moment.market,
            };
            call(venue, &now)
        });
        let (batch, notices) = venue.take();
        if let (Some(batch), Some(store)) = (batch, &mut inner.store)
            && let Err(error) = store.append(&batch)
        {
            error!(%error, "a change was not stored: trading ends until a restart");
            inner.broken = true;
            return Err(Refusal::of(-1007));
        }
        self.users.tell(&inner.venue, &notices);
        answer
    }

    /// A contract's filters as they stand.
    pub(crate) fn rules(&self, symbol: &str) -> Option<Rules> {
        self.inner().venue.rules(symbol).ok().cloned()
    }

    /// Whose user stream has this key, if anybody's.
    pub(crate) fn listener(&self, key: &str) -> Option<String> {
        let inner = self.inner();
        inner.venue.listener(key).map(str::to_owned)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
