//! The client of one account, with the hints of its user stream: [`BinanceExecutionClient`].

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use tokio::sync::watch;

use super::settings::{ExecutionClientSettings, QueryAges, UserStreamTiming};
use crate::client::HttpClient;
use crate::data::{BinanceDataClient, RestClient};

/// One account. Cheap to clone; clones share connections, limits and hints.
#[derive(Clone)]
pub struct BinanceExecutionClient {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) http: HttpClient,
    /// Calls without a key, and the clock.
    pub(super) public: RestClient,
    pub(super) ws_url: String,
    pub(super) recv_window_ms: u32,
    pub(super) stream_timing: UserStreamTiming,
    pub(super) query_ages: QueryAges,
    hints: Mutex<BTreeMap<SubjectToken, watch::Sender<u64>>>,
    /// The asset, minute and price of the last conversion: the trades of an order are made together.
    price: Mutex<Option<(String, UtcMs, Decimal)>>,
    /// Refused queries of prices in a row.
    pub(super) rejected_prices: AtomicU32,
    /// Modes of the account.
    pub(super) modes: Recent<AccountModes>,
    /// Whether fees are paid in BNB while its balance lasts.
    pub(super) fee_burn: Recent<bool>,
    /// The same when risk was computed; `None` before the first query.
    pub(super) expected_fee_burn: Mutex<Option<bool>>,
}

/// Modes of the account that concern every symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccountModes {
    /// Whether positions of both sides may be held at once.
    pub(super) is_hedge: bool,
    /// Whether all assets form one margin.
    pub(super) is_multi_assets: bool,
}

/// The newest answer to a query that many books repeat. One of them asks; the others wait for its answer.
pub(super) struct Recent<T>(tokio::sync::Mutex<Option<(T, Instant)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::default())
    }
}

impl<T: Copy> Recent<T> {
    /// The answer if it is at most `age` old, else that of `query`.
    pub(super) async fn get<E>(
        &self,
        age: Duration,
        query: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut known = self.0.lock().await;
        if let Some((answer, at)) = *known
            && at.elapsed() <= age
        {
            return Ok(answer);
        }
        let answer = query.await?;
        *known = Some((answer, Instant::now()));
        Ok(answer)
    }
}

impl BinanceExecutionClient {
    /// Prepares the calls, which share connections, limits and clock with `data_client`; connects to nothing yet.
    pub fn new(settings: &ExecutionClientSettings, data_client: &BinanceDataClient) -> Self {
        let public = data_client.rest().clone();
        let http = public.http();
        Self {
            inner: Arc::new(Inner {
                http: http.with_credentials(settings.credentials.clone()),
                public,
                ws_url: settings.ws_url.trim_end_matches('/').to_owned(),
                recv_window_ms: settings.recv_window_ms,
                stream_timing: settings.stream_timing,
                query_ages: settings.query_ages,
                hints: Mutex::default(),
                price: Mutex::default(),
                rejected_prices: AtomicU32::new(0),
                modes: Recent::default(),
                fee_burn: Recent::default(),
                expected_fee_burn: Mutex::default(),
            }),
        }
    }

    /// Reports that something happened to this symbol; a symbol without a receiver is ignored.
    pub(super) fn hint(&self, symbol: &str) {
        let Ok(symbol) = symbol.parse::<SubjectToken>() else {
            return;
        };
        if let Some(hint) = self.lock_hints().get(&symbol) {
            hint.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Reports that something may have happened to any symbol.
    pub(super) fn hint_all(&self) {
        for hint in self.lock_hints().values() {
            hint.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// A receiver of the hints about this symbol.
    pub(super) fn hints_of(&self, symbol: &SubjectToken) -> watch::Receiver<u64> {
        let mut hints = self.lock_hints();
        let hint = hints.entry(symbol.clone()).or_default();
        hint.subscribe()
    }

    /// The price of an asset in this minute; `None` if another was converted last.
    pub(super) fn known_price(&self, asset: &str, minute: UtcMs) -> Option<Decimal> {
        let known = self.lock_price();
        let same = known
            .as_ref()
            .filter(|(a, m, _)| a == asset && *m == minute);
        same.map(|(_, _, price)| *price)
    }

    pub(super) fn remember_price(&self, asset: &str, minute: UtcMs, price: Decimal) {
        *self.lock_price() = Some((asset.to_owned(), minute, price));
    }

    fn lock_price(&self) -> MutexGuard<'_, Option<(String, UtcMs, Decimal)>> {
        self.inner
            .price
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_hints(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, watch::Sender<u64>>> {
        self.inner
            .hints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
