//! The trader's side of a real exchange: one account of Binance USD-M futures through Binance's official
//! SDK. An order is sent once ([`BinanceExecutionClient::place`]); its state is queried
//! ([`BinanceExecutionClient::query_order`]). The trader core decides what to send.
//!
//! | file | contents |
//! | --- | --- |
//! | `keys` | API key and secret |
//! | `fault` | meaning of a failed call for an order: refused or unknown |
//! | `call` | one signed call: its timestamp, its limits |
//! | `pace` | counts of orders, as the exchange counts them |
//! | `orders` | place and cancel |
//! | `look_up` | state of an order, costs of its trades |
//! | `facts`, `read` | decoding of answers |
//! | `account` | balance, rights, positions, resting orders, funding, leverage |
//! | `others` | orders and trades that the journal does not have |
//! | `stream`, `link` | the user stream, which only says when to query |
//! | `request_time` | timestamp of a call |

mod account;
mod call;
mod facts;
mod fault;
mod keys;
mod link;
mod look_up;
mod orders;
mod others;
mod pace;
mod read;
mod request_time;
mod stream;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binance_sdk::config::{ConfigurationRestApi, ConfigurationWebsocketStreams};
use binance_sdk::derivatives_trading_usds_futures::rest_api::RestApi;
use binance_sdk::derivatives_trading_usds_futures::websocket_streams::WebsocketStreamsHandle;
use binance_sdk::derivatives_trading_usds_futures::{
    DerivativesTradingUsdsFuturesRestApi, DerivativesTradingUsdsFuturesWsStreams,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio::sync::watch;

use crate::market::{BinanceDataClient, MarketError};
use pace::Pace;

pub use account::{ApiPermissions, ExchangeFill, ExchangePosition, RestingOrder, WalletBalance};
pub use keys::{ApiCredentials, CredentialSettings};
pub use others::fills_against;
pub use stream::{StreamTiming, UserStream};

/// Deadline of a whole REST call, connection and body included, in milliseconds. It is shorter than a book's
/// deadline to end: the book must still query the order of a call without an answer.
const DEADLINE_MS: u64 = 3_000;

/// Highest age of the exchange's time that an order may be dated by.
const FRESH: Duration = Duration::from_millis(500);

/// Currency in which trades are settled: only symbols that are quoted in it can be traded.
const QUOTE: &str = "USDT";

/// Addresses of the exchange and credentials of the account.
#[derive(Debug, Clone)]
pub struct ExecutionClientSettings {
    /// Base of the REST addresses, e.g. `https://fapi.binance.com`.
    pub rest_url: String,
    /// Base of the stream addresses, e.g. `wss://fstream.binance.com`.
    pub ws_url: String,
    /// API key and secret of the account.
    pub credentials: ApiCredentials,
    /// `recvWindow` of calls that place no order, in milliseconds; at most 60,000.
    pub recv_window_ms: u32,
}

/// One account. Cheap to clone; clones share connections, limits and hints.
#[derive(Clone)]
pub struct BinanceExecutionClient {
    inner: Arc<Inner>,
}

struct Inner {
    rest: RestApi,
    streams: WebsocketStreamsHandle,
    /// Shares its clock and request budget: the exchange counts by address.
    market: BinanceDataClient,
    pace: Pace,
    window_ms: u32,
    hints: Mutex<BTreeMap<SubjectToken, watch::Sender<u64>>>,
}

impl BinanceExecutionClient {
    /// Prepares the calls; connects to nothing yet.
    ///
    /// # Errors
    /// [`MarketError::Refused`] when the SDK refuses the settings.
    pub fn new(
        settings: &ExecutionClientSettings,
        market: &BinanceDataClient,
    ) -> Result<Self, MarketError> {
        let refused =
            |error: &dyn Error| MarketError::refused("exchange settings", error.to_string());
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        let clock = market.clock().clone();
        // Retries belong to the caller: an order sent twice may be filled twice.
        let rest = ConfigurationRestApi::builder()
            .base_path(base(&settings.rest_url))
            .api_key(settings.credentials.key())
            .api_secret(settings.credentials.secret())
            .timestamp_provider(Arc::new(move || request_time::timestamp(&clock)))
            .timeout(DEADLINE_MS)
            .retries(0)
            .compression(false)
            .build()
            .map_err(|error| refused(&error))?;
        let streams = ConfigurationWebsocketStreams::builder()
            .ws_url(base(&settings.ws_url))
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                rest: DerivativesTradingUsdsFuturesRestApi::from_config(rest),
                streams: DerivativesTradingUsdsFuturesWsStreams::from_config(streams),
                market: market.clone(),
                pace: Pace::default(),
                window_ms: settings.recv_window_ms,
                hints: Mutex::default(),
            }),
        })
    }

    /// The exchange's time, to date an order with: received at most half a second ago, or requested now.
    ///
    /// # Errors
    /// As [`BinanceDataClient::server_time`].
    pub async fn now(&self) -> Result<UtcMs, MarketError> {
        match self.inner.market.clock().carried(FRESH) {
            Some(now) => Ok(now),
            None => self.inner.market.server_time().await,
        }
    }

    /// Changes whenever something may have happened to this symbol's orders or position. Only a
    /// wake-up: it may be late, doubled or missing, so a waiting book also queries without it.
    pub fn hints(&self, symbol: &SubjectToken) -> watch::Receiver<u64> {
        let mut hints = self.lock_hints();
        let hint = hints.entry(symbol.clone()).or_default();
        hint.subscribe()
    }

    /// Reports that something happened to this symbol; a symbol without a receiver is ignored.
    pub(super) fn hint(&self, symbol: &str) {
        let hints = self.lock_hints();
        let hint = hints.iter().find(|(known, _)| known.as_str() == symbol);
        if let Some((_, hint)) = hint {
            hint.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Reports that something may have happened to any symbol.
    pub(super) fn hint_all(&self) {
        for hint in self.lock_hints().values() {
            hint.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn lock_hints(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, watch::Sender<u64>>> {
        self.inner
            .hints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
