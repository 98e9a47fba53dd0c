//! One account of Binance USD-M futures over the SDK: [`BinanceExecutionClient`]. An order is submitted once; its state
//! is queried.
//!
//! | file | contents |
//! | --- | --- |
//! | `account` | balance, permissions, positions, open orders, fills, funding, leverage |
//! | `orders` | submission and cancellation |
//! | `order_query` | state of an order, costs of its trades |
//! | `order_answer`, `required_fields` | conversion of answers |
//! | `order_error` | meaning of a failed call for an order: rejected or unknown |
//! | `signed_call`, `request_time` | one signed call: its limits, its timestamp |
//! | `order_limiter` | number of orders, as the exchange counts them |
//! | `user_stream`, `user_stream_connection` | the user stream, which only says when to query |

mod account;
mod order_answer;
mod order_error;
mod order_limiter;
mod order_query;
mod orders;
mod request_time;
mod required_fields;
mod signed_call;
mod user_stream;
mod user_stream_connection;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use binance_sdk::config::{ConfigurationRestApi, ConfigurationWebsocketStreams};
use binance_sdk::derivatives_trading_usds_futures::rest_api::RestApi;
use binance_sdk::derivatives_trading_usds_futures::websocket_streams::WebsocketStreamsHandle;
use binance_sdk::derivatives_trading_usds_futures::{
    DerivativesTradingUsdsFuturesRestApi, DerivativesTradingUsdsFuturesWsStreams,
};
use exchange::{
    ApiCredentials, ApiPermissions, ExchangeError, ExchangeFill, ExchangePosition, ExecutionClient,
    RestingOrder, WalletBalance,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::components::ProcessStatus;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trader_core::orders::{ExchangeView, FundingPayment, Order, OrderCallOutcome};

use self::order_limiter::OrderLimiter;
use self::user_stream::UserStream;
use crate::data::{BinanceDataClient, RestClient};
use crate::error::rejected;

pub use self::user_stream::UserStreamTiming;

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
    /// Deadlines of the user stream.
    pub stream_timing: UserStreamTiming,
}

/// One account. Cheap to clone; clones share connections, limits and hints.
#[derive(Clone)]
pub struct BinanceExecutionClient {
    inner: Arc<Inner>,
}

struct Inner {
    rest: RestApi,
    streams: WebsocketStreamsHandle,
    /// Shares its clock and its weight limiter: the exchange counts by address.
    public: RestClient,
    orders: OrderLimiter,
    recv_window_ms: u32,
    stream_timing: UserStreamTiming,
    hints: Mutex<BTreeMap<SubjectToken, watch::Sender<u64>>>,
}

impl BinanceExecutionClient {
    /// Prepares the calls; connects to nothing yet.
    ///
    /// # Errors
    /// [`ExchangeError::Rejected`] if the SDK rejects the settings.
    pub fn new(
        settings: &ExecutionClientSettings,
        data_client: &BinanceDataClient,
    ) -> Result<Self, ExchangeError> {
        let refused = |error: &dyn Error| rejected("exchange settings", error.to_string());
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        let public = data_client.rest().clone();
        let clock = public.clock().clone();
        // Retries belong to the caller: an order sent twice may be filled twice.
        let rest = ConfigurationRestApi::builder()
            .base_path(base(&settings.rest_url))
            .api_key(settings.credentials.key.expose_secret())
            .api_secret(settings.credentials.secret.expose_secret())
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
                public,
                orders: OrderLimiter::default(),
                recv_window_ms: settings.recv_window_ms,
                stream_timing: settings.stream_timing,
                hints: Mutex::default(),
            }),
        })
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

#[async_trait]
impl ExecutionClient for BinanceExecutionClient {
    async fn now(&self) -> Result<UtcMs, ExchangeError> {
        match self.inner.public.clock().carried(FRESH) {
            Some(now) => Ok(now),
            None => self.inner.public.server_time().await,
        }
    }

    async fn submit_order(&self, symbol: &SubjectToken, order: &Order) -> OrderCallOutcome {
        self.submit_order(symbol, order).await
    }

    async fn cancel_order(
        &self,
        symbol: &SubjectToken,
        client_order_id: &str,
        is_conditional: bool,
    ) -> Result<(), ExchangeError> {
        self.cancel_order(symbol, client_order_id, is_conditional)
            .await
    }

    async fn query_order(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<OrderCallOutcome, ExchangeError> {
        self.query_order(symbol, order).await
    }

    async fn exchange_view(&self, symbol: &SubjectToken) -> Result<ExchangeView, ExchangeError> {
        self.exchange_view(symbol).await
    }

    async fn fills_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<Vec<ExchangeFill>, ExchangeError> {
        self.fills_since(symbol, from).await
    }

    async fn funding_payments(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
        until: UtcMs,
    ) -> Result<Vec<FundingPayment>, ExchangeError> {
        self.funding_payments(symbol, from, until).await
    }

    async fn prepare_symbol(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<(), ExchangeError> {
        self.prepare_symbol(symbol, leverage).await
    }

    async fn wallet_balance(&self) -> Result<WalletBalance, ExchangeError> {
        self.wallet_balance().await
    }

    async fn permissions(&self) -> Result<ApiPermissions, ExchangeError> {
        self.permissions().await
    }

    async fn is_hedge_mode(&self) -> Result<bool, ExchangeError> {
        self.is_hedge_mode().await
    }

    async fn positions(&self) -> Result<Vec<ExchangePosition>, ExchangeError> {
        self.positions_of(None).await
    }

    async fn open_orders(&self) -> Result<Vec<RestingOrder>, ExchangeError> {
        self.open_orders_of(None).await
    }

    fn hints(&self, symbol: &SubjectToken) -> watch::Receiver<u64> {
        let mut hints = self.lock_hints();
        let hint = hints.entry(symbol.clone()).or_default();
        hint.subscribe()
    }

    async fn run_user_stream(
        &self,
        process_status: Arc<ProcessStatus>,
        shutdown: CancellationToken,
    ) {
        UserStream::new(self).run(&process_status, &shutdown).await;
    }
}
