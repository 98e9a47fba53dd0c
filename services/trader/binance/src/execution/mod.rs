//! One account of Binance USD-M futures: [`BinanceExecutionClient`]. An order is submitted once; its state is queried.
//!
//! | file | contents |
//! | --- | --- |
//! | `account` | balance, permissions, positions, open orders, fills, funding, leverage |
//! | `orders` | submission and cancellation |
//! | `order_query` | state of an order, costs of its trades |
//! | `order_answer` | meaning of answers |
//! | `signed_call` | one signed call, and its timestamp |
//! | `user_stream` | the user stream, which only says when to query |

mod account;
mod order_answer;
mod order_query;
mod orders;
mod signed_call;
mod user_stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use exchange::{
    ApiCredentials, ApiPermissions, ExchangeError, ExchangeFill, ExchangePosition, ExecutionClient,
    RestingOrder, WalletBalance,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::components::ProcessStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trader_core::orders::{ExchangeView, FundingPayment, Order, OrderCallOutcome};

use self::user_stream::UserStream;
use crate::client::HttpClient;
use crate::data::{BinanceDataClient, RestClient};

pub use self::user_stream::UserStreamTiming;

/// Highest age of the exchange's time that an order may be dated by.
const FRESH: Duration = Duration::from_millis(500);

/// Credentials of the account, and the address of its user stream.
#[derive(Debug, Clone)]
pub struct ExecutionClientSettings {
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
    http: HttpClient,
    /// Calls without a key, and the clock.
    public: RestClient,
    ws_url: String,
    recv_window_ms: u32,
    stream_timing: UserStreamTiming,
    hints: Mutex<BTreeMap<SubjectToken, watch::Sender<u64>>>,
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
