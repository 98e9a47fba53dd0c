//! Submission and cancellation of orders. An order is submitted once. If its answer leaves the state open, the outcome
//! is unknown, and the caller queries the order.

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use reqwest::Method;
use trader_core::fixed_point::{Price, Qty};
use trader_core::orders::{ExecutionReport, Leg, Order, OrderCallOutcome, OrderSide, OrderType};

use super::client::BinanceExecutionClient;
use super::order_answer::{is_algo_open, report};
use crate::client::{Call, CallError, Failure, Priority, code};
use crate::wire::Acknowledged;
use crate::wire::orders::{AlgoOrderAnswer, AlgoStatus, OrderAnswer};

const WHAT: &str = "order";
/// Errors of a cancellation which mean that the order has ended, or is ending.
const ENDED: [i64; 3] = [code::UNKNOWN_ORDER, code::NO_SUCH_ORDER, code::TRIGGERING];

impl BinanceExecutionClient {
    /// Submits an order, as [`exchange::ExecutionClient::submit_order`] states.
    pub(super) async fn submit_order(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> OrderCallOutcome {
        let submitted = match order.order_type {
            OrderType::Market { quantity } => self.submit_market(symbol, order, quantity).await,
            OrderType::Trigger { price } => self.submit_trigger(symbol, order, price).await,
        };
        match submitted {
            Ok(report) => OrderCallOutcome::Reported(report),
            Err(error) => error.order_outcome(),
        }
    }

    async fn submit_market(
        &self,
        symbol: &SubjectToken,
        order: &Order,
        quantity: Qty,
    ) -> Result<ExecutionReport, CallError> {
        let call = market_order(symbol, order, quantity);
        let answer: OrderAnswer = self.submit(call, order).await?;
        if let Ok(report) = report(&answer) {
            return Ok(report);
        }
        // The answer to an order has no price of its fill. The exchange has the order, whatever follows.
        let queried = self.by_id(symbol, answer.order_id).await;
        Ok(queried
            .and_then(|found| report(&found))
            .unwrap_or(ExecutionReport::OPEN))
    }

    async fn submit_trigger(
        &self,
        symbol: &SubjectToken,
        order: &Order,
        price: Price,
    ) -> Result<ExecutionReport, CallError> {
        let call = trigger_order(symbol, order, price);
        let answer: AlgoOrderAnswer = self.submit(call, order).await?;
        let is_open = is_algo_open(&answer.algo_status).map_err(|error| CallError {
            what: WHAT,
            failure: Failure::Unreadable {
                reason: error.to_string(),
            },
        })?;
        // A conditional order that ended at once may have become an order: the caller queries that.
        let is_open = is_open || answer.algo_status == AlgoStatus::Finished;
        Ok(ExecutionReport {
            is_open,
            fill: None,
            is_canceled: answer.algo_status == AlgoStatus::Canceled,
        })
    }

    /// Cancels an order, as [`exchange::ExecutionClient::cancel_order`] states.
    pub(super) async fn cancel_order(
        &self,
        symbol: &SubjectToken,
        client_order_id: &str,
        is_conditional: bool,
    ) -> Result<(), ExchangeError> {
        const WHAT: &str = "cancel";
        let call = if is_conditional {
            Call::new(WHAT, Method::DELETE, "/fapi/v1/algoOrder")
                .param("clientAlgoId", client_order_id)
        } else {
            Call::new(WHAT, Method::DELETE, "/fapi/v1/order")
                .param("symbol", symbol)
                .param("origClientOrderId", client_order_id)
        };
        let call = call.priority(Priority::Vital);
        let canceled = self.query_unless::<Acknowledged>(&ENDED, call);
        canceled.await.map(drop)
    }
}

const fn priority(leg: Leg) -> Priority {
    match leg {
        Leg::Entry => Priority::Entry,
        Leg::Stop | Leg::Target | Leg::Exit => Priority::Protective,
    }
}

const fn side(order: &Order) -> &'static str {
    match order.side {
        OrderSide::Buy => "BUY",
        OrderSide::Sell => "SELL",
    }
}

fn market_order(symbol: &SubjectToken, order: &Order, quantity: Qty) -> Call {
    Call::new(WHAT, Method::POST, "/fapi/v1/order")
        .param("symbol", symbol)
        .param("side", side(order))
        .param("type", "MARKET")
        .param("quantity", quantity.to_decimal())
        // An exit never opens a position, also if our own position is wrong.
        .optional("reduceOnly", (order.leg != Leg::Entry).then_some(true))
        .param("newClientOrderId", order.client_order_id.as_str())
        .param("newOrderRespType", "RESULT")
        .priority(priority(order.leg))
}

fn trigger_order(symbol: &SubjectToken, order: &Order, price: Price) -> Call {
    let kind = match order.leg {
        Leg::Target => "TAKE_PROFIT_MARKET",
        Leg::Entry | Leg::Stop | Leg::Exit => "STOP_MARKET",
    };
    Call::new(WHAT, Method::POST, "/fapi/v1/algoOrder")
        .param("algoType", "CONDITIONAL")
        .param("symbol", symbol)
        .param("side", side(order))
        .param("type", kind)
        .param("triggerPrice", price.to_decimal())
        .param("workingType", "CONTRACT_PRICE")
        .param("closePosition", true)
        .param("clientAlgoId", order.client_order_id.as_str())
        .priority(priority(order.leg))
}
