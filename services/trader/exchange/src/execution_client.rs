//! The client for one account: [`ExecutionClient`].

use std::sync::Arc;

use async_trait::async_trait;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::components::ProcessStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trader_core::account::CashFlow;
use trader_core::fixed_point::Qty;
use trader_core::orders::{ExchangeView, FillCosts, FundingPayment, Order, OrderCallOutcome};

use crate::{
    ApiPermissions, ExchangeError, ExchangeFill, ExchangePosition, RestingOrder, WalletBalance,
};

/// One account of an exchange. Each call has a deadline. An order is submitted once; a call that may be repeated is
/// retried by its caller.
#[async_trait]
pub trait ExecutionClient: Send + Sync {
    /// The exchange's time to date an order with: at most half a second old.
    ///
    /// # Errors
    /// [`ExchangeError`] if the time must be queried and the query fails.
    async fn now(&self) -> Result<UtcMs, ExchangeError>;

    /// Submits this order once, dated with its own time. A fill is reported as soon as the exchange states it, without
    /// its costs.
    ///
    /// The outcome is lost with the future: a caller that drops it must query the order.
    async fn submit_order(&self, symbol: &SubjectToken, order: &Order) -> OrderCallOutcome;

    /// Cancels an order by its client order id. An order that has ended is no error: the caller queries its state in
    /// any case.
    ///
    /// # Errors
    /// [`ExchangeError`]: it is unknown whether the order was canceled.
    async fn cancel_order(
        &self,
        symbol: &SubjectToken,
        client_order_id: &str,
        is_conditional: bool,
    ) -> Result<(), ExchangeError>;

    /// Queries the state of an order: `Reported`, without the costs of a fill, or `NotFound` if the exchange has neither
    /// the order nor one of its trades.
    ///
    /// # Errors
    /// [`ExchangeError`] if the state is not known now.
    async fn query_order(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<OrderCallOutcome, ExchangeError>;

    /// Queries what the fill of an order cost, by the exchange's id of the order. Fees in another asset are converted at
    /// its price when the trade was made. `None` while the listed trades do not add up to `quantity`.
    ///
    /// # Errors
    /// [`ExchangeError`] if a call fails, also the one for the price of another asset.
    async fn order_costs(
        &self,
        symbol: &SubjectToken,
        exchange_order_id: i64,
        quantity: Qty,
    ) -> Result<Option<FillCosts>, ExchangeError>;

    /// Queries position and open orders of one symbol. An order that fills meanwhile is seen twice, as an order and
    /// as a position, rather than not at all.
    ///
    /// # Errors
    /// [`ExchangeError`]; rejected in hedge mode.
    async fn exchange_view(&self, symbol: &SubjectToken) -> Result<ExchangeView, ExchangeError>;

    /// Queries the symbol's trades from `from` on, in the order of their ids, external ones included.
    ///
    /// # Errors
    /// [`ExchangeError`]; nothing is returned of a list that could not be read to its end, or while the order of one
    /// trade is not shown.
    async fn fills_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<Vec<ExchangeFill>, ExchangeError>;

    /// Queries the symbol's cash flows in `from..until` that no order caused, in order: funding, and what a
    /// liquidation cost.
    ///
    /// # Errors
    /// [`ExchangeError`]; nothing is returned of a list that could not be read to its end.
    async fn funding_payments(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
        until: UtcMs,
    ) -> Result<Vec<FundingPayment>, ExchangeError>;

    /// Queries the cash flows in the quote currency in `from..until`, of all symbols and of none, in order.
    ///
    /// # Errors
    /// [`ExchangeError`]; nothing is returned of a list that could not be read to its end.
    async fn cash_flows(&self, from: UtcMs, until: UtcMs) -> Result<Vec<CashFlow>, ExchangeError>;

    /// Sets isolated margin and this leverage for the symbol, and reads both back.
    ///
    /// # Errors
    /// [`ExchangeError`]; rejected if the account does not accept them, for example with an open position.
    async fn prepare_symbol(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<(), ExchangeError>;

    /// Queries whether margin mode, leverage and position mode are those that [`Self::prepare_symbol`] sets, whether the
    /// account still has single-asset mode, and whether it pays its fees in the asset of its first such query. Returns
    /// what differs, in one line; `None` if nothing does. What concerns the whole account may be up to a minute old, the
    /// asset of the fees five minutes.
    ///
    /// # Errors
    /// [`ExchangeError`] if a call fails.
    async fn settings_difference(
        &self,
        symbol: &SubjectToken,
        leverage: u8,
    ) -> Result<Option<String>, ExchangeError>;

    /// Queries the balance and the account's name.
    ///
    /// # Errors
    /// [`ExchangeError`]; rejected if the account has no wallet in the quote currency.
    async fn wallet_balance(&self) -> Result<WalletBalance, ExchangeError>;

    /// Queries the permissions of the key and the settings of the account.
    ///
    /// # Errors
    /// [`ExchangeError`] if the call fails.
    async fn permissions(&self) -> Result<ApiPermissions, ExchangeError>;

    /// Queries whether the account pays fees in another asset than the quote currency while its balance there lasts.
    ///
    /// # Errors
    /// [`ExchangeError`] if the call fails.
    async fn pays_fees_in_other_asset(&self) -> Result<bool, ExchangeError>;

    /// Queries whether the account may hold positions of both sides at once.
    ///
    /// # Errors
    /// [`ExchangeError`] if the call fails.
    async fn is_hedge_mode(&self) -> Result<bool, ExchangeError>;

    /// Queries every position of the account that is not flat.
    ///
    /// # Errors
    /// [`ExchangeError`]; rejected in hedge mode.
    async fn positions(&self) -> Result<Vec<ExchangePosition>, ExchangeError>;

    /// Queries every open order of the account, conditional ones included.
    ///
    /// # Errors
    /// [`ExchangeError`] if a call fails.
    async fn open_orders(&self) -> Result<Vec<RestingOrder>, ExchangeError>;

    /// A receiver that wakes whenever something may have happened to this symbol's orders or position. A hint may be
    /// late, doubled or missing, so a waiting book also queries without it.
    fn hints(&self, symbol: &SubjectToken) -> watch::Receiver<u64>;

    /// Wakes the receivers of this symbol's hints.
    fn hint(&self, symbol: &SubjectToken);

    /// Whether only the reserve of the request weight is left, which is kept for calls that protect positions.
    fn is_request_weight_scarce(&self) -> bool;

    /// Runs the user stream, which sends the hints, until `shutdown` is cancelled. It retries every failure and
    /// reports its state as a component of `process_status`.
    async fn run_user_stream(
        &self,
        process_status: Arc<ProcessStatus>,
        shutdown: CancellationToken,
    );
}
