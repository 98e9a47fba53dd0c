//! Executes calls one at a time on the state at the current market time, stores the changes, then answers and
//! notifies the user streams.

mod account_history;
pub(crate) mod faults;
pub(crate) mod order_limiter;
pub(crate) mod user_streams;
pub(crate) mod write_ahead_log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use tokio::task::spawn_blocking;
use tracing::error;

use crate::api_keys::ApiKeys;
use crate::exchange::Exchange;
use crate::symbols::Contract;
use crate::trading::account::Account;
use crate::trading::error::ExchangeError;
use crate::trading::exchange_state::ExchangeState;
use crate::trading::filters::SymbolFilters;
use crate::trading::prices::Now;
use account_history::AccountHistory;
use faults::Faults;
use order_limiter::{OrderLimiter, TooManyOrders};
use user_streams::UserStreams;
use write_ahead_log::WriteAheadLog;

/// The trading service, shared by all connections and tasks.
pub(crate) struct TradingService {
    exchange: Arc<Exchange>,
    api_keys: ApiKeys,
    order_limiter: OrderLimiter,
    pub(crate) user_streams: UserStreams,
    pub(crate) faults: Faults,
    inner: Mutex<Inner>,
}

struct Inner {
    state: ExchangeState,
    log: Option<WriteAheadLog>,
    /// Earlier states of the accounts, kept while a fault makes queries late.
    history: AccountHistory,
    /// Storing a change has failed: all calls are rejected until a restart.
    is_broken: bool,
}

/// The state with earlier accounts. The current ones are back when it is dropped, also if a query panics.
struct EarlierView<'a> {
    state: &'a mut ExchangeState,
    current: Option<BTreeMap<String, Account>>,
}

impl<'a> EarlierView<'a> {
    /// A view of these accounts, or of the current ones.
    fn new(state: &'a mut ExchangeState, earlier: Option<BTreeMap<String, Account>>) -> Self {
        let current = earlier.map(|accounts| state.swap_accounts(accounts));
        Self { state, current }
    }
}

impl Drop for EarlierView<'_> {
    fn drop(&mut self) {
        if let Some(current) = self.current.take() {
            self.state.swap_accounts(current);
        }
    }
}

impl TradingService {
    /// A service over `exchange_state` with an account for each key.
    pub(crate) fn new(
        exchange: Arc<Exchange>,
        keys: ApiKeys,
        mut state: ExchangeState,
        store: Option<WriteAheadLog>,
        balance: Decimal,
    ) -> Arc<Self> {
        for name in keys.accounts() {
            state.open_account(name, balance);
        }
        // A new account is derived from its key and need not be stored.
        let _ = state.take_changes();
        let counts = OrderLimiter::new(*exchange.limits());
        let inner = Inner {
            state,
            log: store,
            history: AccountHistory::default(),
            is_broken: false,
        };
        Arc::new(Self {
            exchange,
            api_keys: keys,
            order_limiter: counts,
            user_streams: UserStreams::default(),
            faults: Faults::default(),
            inner: Mutex::new(inner),
        })
    }

    pub(crate) const fn api_keys(&self) -> &ApiKeys {
        &self.api_keys
    }

    pub(crate) const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    pub(crate) const fn order_limiter(&self) -> &OrderLimiter {
        &self.order_limiter
    }

    /// Counts an order against the order limits of its account.
    ///
    /// # Errors
    /// [`TooManyOrders`] if a window is full.
    pub(crate) fn count_order(&self, account: &str) -> Result<[u32; 2], TooManyOrders> {
        self.order_limiter
            .count_order(account, runtime::clock::now().0)
    }

    /// Exchange time as shown to clients, UTC ms; a fault may skew it.
    pub(crate) fn client_time_ms(&self) -> i64 {
        self.exchange.now_ms() + self.faults.clock_skew_ms()
    }

    /// Executes a call on a blocking thread, because it waits for the disk.
    pub(crate) async fn execute<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&mut ExchangeState, &Now<'_>) -> Result<T, ExchangeError> + Send + 'static,
    ) -> Result<T, ExchangeError> {
        let trading_service = Arc::clone(self);
        let result = spawn_blocking(move || trading_service.execute_blocking(call)).await;
        result.unwrap_or_else(|error| {
            error!(%error, "call panicked");
            Err(ExchangeError::from_code(-1007))
        })
    }

    /// Executes a query. With `lag` it sees the accounts as they were that time ago.
    pub(crate) async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        lag: Option<Duration>,
        query: impl FnOnce(&mut ExchangeState, &Now<'_>) -> Result<T, ExchangeError> + Send + 'static,
    ) -> Result<T, ExchangeError> {
        let Some(lag) = lag else {
            return self.execute(query).await;
        };
        let trading_service = Arc::clone(self);
        let result =
            spawn_blocking(move || trading_service.query_blocking(Instant::now(), lag, query))
                .await;
        result.unwrap_or_else(|error| {
            error!(%error, "query panicked");
            Err(ExchangeError::from_code(-1007))
        })
    }

    /// Executes a query on the accounts as they were `lag` before `now`.
    fn query_blocking<T>(
        &self,
        now: Instant,
        lag: Duration,
        query: impl FnOnce(&mut ExchangeState, &Now<'_>) -> Result<T, ExchangeError>,
    ) -> Result<T, ExchangeError> {
        let inner = &mut *self.inner();
        let earlier = inner.history.accounts_at(now.checked_sub(lag));
        let view = EarlierView::new(&mut inner.state, earlier);
        self.exchange.with_market_moment(|moment| {
            let now = Now {
                ms: moment.now_ms.max(view.state.matched_until_ms()),
                prices: moment.market,
            };
            query(view.state, &now)
        })
    }

    /// Executes a call at the current time.
    pub(crate) fn execute_blocking<T>(
        &self,
        call: impl FnOnce(&mut ExchangeState, &Now<'_>) -> Result<T, ExchangeError>,
    ) -> Result<T, ExchangeError> {
        let inner = &mut *self.inner();
        if inner.is_broken {
            return Err(ExchangeError::from_code(-1016));
        }
        let state = &mut inner.state;
        let result = self.exchange.with_market_moment(|moment| {
            state.match_until(moment.market, moment.now_ms);
            let now = Now {
                ms: moment.now_ms.max(state.matched_until_ms()),
                prices: moment.market,
            };
            call(state, &now)
        });
        let (batch, notices) = state.take_changes();
        let changed = batch.is_some();
        if let (Some(batch), Some(store)) = (batch, &mut inner.log)
            && let Err(error) = store.append(&batch)
        {
            error!(%error, "storing a change failed; all calls are rejected until a restart");
            inner.is_broken = true;
            return Err(ExchangeError::from_code(-1007));
        }
        inner.history.remember(
            inner.state.accounts(),
            changed,
            self.faults.longest_query_lag(),
        );
        self.user_streams.publish(&inner.state, &notices);
        result
    }

    /// The current filters of a contract.
    pub(crate) fn filters(&self, symbol: &str) -> Option<SymbolFilters> {
        self.inner().state.filters(symbol).ok().cloned()
    }

    /// Symbols of the listed contracts.
    pub(crate) fn listed(&self) -> BTreeSet<String> {
        self.inner().state.listed().map(str::to_owned).collect()
    }

    /// Price steps of these contracts; zero for one that is not listed.
    pub(crate) fn ticks(&self, contracts: &[&'static Contract]) -> Vec<Decimal> {
        let inner = self.inner();
        let filters = inner.state.contracts();
        let tick = |c: &&'static Contract| {
            let listed = filters.get(c.symbol).filter(|filters| filters.is_listed);
            listed.map_or(Decimal::ZERO, |filters| filters.tick)
        };
        contracts.iter().map(tick).collect()
    }

    /// Account of the user stream with this listen key; `None` if there is none.
    pub(crate) fn account_of_listen_key(&self, key: &str) -> Option<String> {
        let inner = self.inner();
        inner.state.account_of_listen_key(key).map(str::to_owned)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_accounts_are_back_after_a_view_of_earlier_ones() {
        let mut state = ExchangeState::new(&[], 0);
        state.open_account("a", Decimal::ONE);
        let current = state.accounts().clone();
        let view = EarlierView::new(&mut state, Some(BTreeMap::new()));
        assert!(view.state.accounts().is_empty());
        drop(view);
        assert_eq!(state.accounts(), &current);
    }
}
