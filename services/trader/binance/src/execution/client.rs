//! The client of one account, with the hints of its user stream: [`BinanceExecutionClient`].

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use tokio::sync::watch;

use super::settings::{ExecutionClientSettings, UserStreamTiming};
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
    hints: Mutex<BTreeMap<SubjectToken, watch::Sender<u64>>>,
    /// The asset, minute and price of the last conversion: the trades of an order are made together.
    price: Mutex<Option<(String, UtcMs, Decimal)>>,
    /// Refused queries of prices in a row.
    pub(super) rejected_prices: AtomicU32,
    /// Whether the account was in hedge mode, and when it was queried; `None` before the first query.
    hedge_mode: Mutex<Option<(bool, Instant)>>,
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
                hints: Mutex::default(),
                price: Mutex::default(),
                rejected_prices: AtomicU32::new(0),
                hedge_mode: Mutex::default(),
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

    /// Whether the account is in hedge mode, if that was queried at most `age` ago.
    pub(super) fn known_hedge_mode(&self, age: Duration) -> Option<bool> {
        let known = *self.lock_hedge_mode();
        known
            .filter(|(_, at)| at.elapsed() <= age)
            .map(|(mode, _)| mode)
    }

    /// Notes the account's position mode.
    pub(super) fn note_hedge_mode(&self, mode: bool) {
        *self.lock_hedge_mode() = Some((mode, Instant::now()));
    }

    fn lock_hedge_mode(&self) -> MutexGuard<'_, Option<(bool, Instant)>> {
        let mode = &self.inner.hedge_mode;
        mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_hints(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, watch::Sender<u64>>> {
        self.inner
            .hints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
