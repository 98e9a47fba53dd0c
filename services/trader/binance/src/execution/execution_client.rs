//! The implementation of [`ExecutionClient`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use exchange::{
    ApiPermissions, ExchangeError, ExchangeFill, ExchangePosition, ExecutionClient, RestingOrder,
    WalletBalance,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::components::ProcessStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trader_core::account::CashFlow;
use trader_core::fixed_point::Qty;
use trader_core::orders::{ExchangeView, FillCosts, FundingPayment, Order, OrderCallOutcome};

use super::client::BinanceExecutionClient;
use super::user_stream::UserStream;
use crate::client::Priority;

/// Highest age of the exchange's time that an order may be dated by.
const FRESH: Duration = Duration::from_millis(500);

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

    async fn order_costs(
        &self,
        symbol: &SubjectToken,
        exchange_order_id: i64,
        quantity: Qty,
    ) -> Result<Option<FillCosts>, ExchangeError> {
        self.order_costs(symbol, exchange_order_id, quantity).await
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

    async fn cash_flows(&self, from: UtcMs, until: UtcMs) -> Result<Vec<CashFlow>, ExchangeError> {
        self.cash_flows(from, until).await
    }

    async fn prepare_symbol(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<(), ExchangeError> {
        self.prepare_symbol(symbol, leverage).await
    }

    async fn settings_difference(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<Option<String>, ExchangeError> {
        self.settings_difference(symbol, leverage).await
    }

    async fn wallet_balance(&self) -> Result<WalletBalance, ExchangeError> {
        self.wallet_balance().await
    }

    async fn permissions(&self) -> Result<ApiPermissions, ExchangeError> {
        self.permissions().await
    }

    async fn pays_fees_in_other_asset(&self) -> Result<bool, ExchangeError> {
        self.pays_fees_in_other_asset().await
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
        self.hints_of(symbol)
    }

    fn hint(&self, symbol: &SubjectToken) {
        self.hint(symbol.as_str());
    }

    fn is_request_weight_scarce(&self) -> bool {
        let limits = self.inner.http.limits();
        let now = Instant::now();
        limits.closed_for(Priority::Ordinary, now).is_some()
    }

    async fn run_user_stream(
        &self,
        process_status: Arc<ProcessStatus>,
        shutdown: CancellationToken,
    ) {
        UserStream::new(self).run(&process_status, &shutdown).await;
    }
}
