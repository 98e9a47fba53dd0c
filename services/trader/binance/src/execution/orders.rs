//! Placing and cancelling orders. An order is sent once. If its answer leaves the state open, the outcome is
//! unknown, and the caller queries the order.

use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    CancelAlgoOrderParams, CancelOrderParams, NewAlgoOrderAlgoTypeEnum,
    NewAlgoOrderClosePositionEnum, NewAlgoOrderParams, NewAlgoOrderSideEnum, NewAlgoOrderTypeEnum,
    NewAlgoOrderWorkingTypeEnum, NewOrderNewOrderRespTypeEnum, NewOrderParams,
    NewOrderReduceOnlyEnum, NewOrderSideEnum, NewOrderTypeEnum,
};
use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use trader_core::fixed_point::{Price, Qty};
use trader_core::orders::{ExecutionReport, Leg, Order, OrderCallOutcome, OrderSide, OrderType};

use super::BinanceExecutionClient;
use super::order_answer::{Facts, is_algo_over};
use super::order_error::{Fault, UNKNOWN};
use super::required_fields::must;
use super::signed_call::Need;

const WHAT: &str = "order";

/// The exchange has the order; a query gives its state.
const WORKING: ExecutionReport = ExecutionReport {
    is_open: true,
    fill: None,
};

impl BinanceExecutionClient {
    /// Sends this order once, signed with its own time. A fill is reported with its costs; a fill whose trades
    /// the exchange does not list yet is reported as working, and must be queried.
    ///
    /// The answer is lost with the future: a caller that drops it must query the order.
    pub(super) async fn submit_order(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> OrderCallOutcome {
        let sent = match order.order_type {
            OrderType::Market { quantity } => self.place_market(symbol, order, quantity).await,
            OrderType::Trigger { price } => self.place_trigger(symbol, order, price).await,
        };
        match sent {
            Ok(report) => OrderCallOutcome::Reported(report),
            Err(fault) => fault.answer(),
        }
    }

    async fn place_market(
        &self,
        symbol: &SubjectToken,
        order: &Order,
        quantity: Qty,
    ) -> Result<ExecutionReport, Fault> {
        let params = market_params(symbol, order, quantity);
        let request = self.rest().new_order(params);
        let placed = self.send(WHAT, need(order.leg), order.at, request).await?;
        let facts = Facts {
            id: must(WHAT, "orderId", placed.order_id)?,
            status: must(WHAT, "status", placed.status)?,
            executed: super::required_fields::decimal(
                WHAT,
                "executedQty",
                placed.executed_qty.as_deref(),
            )?,
            mean: None,
            updated: super::required_fields::time(WHAT, "updateTime", placed.update_time)?,
        };
        // The exchange has the order, also if the next calls fail.
        Ok(self.report(symbol, &facts).await.unwrap_or(WORKING))
    }

    async fn place_trigger(
        &self,
        symbol: &SubjectToken,
        order: &Order,
        price: Price,
    ) -> Result<ExecutionReport, Fault> {
        let request = self
            .rest()
            .new_algo_order(trigger_params(symbol, order, price));
        let placed = self.send(WHAT, need(order.leg), order.at, request).await?;
        let status = must(WHAT, "algoStatus", placed.algo_status)?;
        let over = is_algo_over(WHAT, &status)?;
        // A conditional order that ended at once may have become an order: the caller queries that.
        Ok(if over && status != "FINISHED" {
            ExecutionReport {
                is_open: false,
                fill: None,
            }
        } else {
            WORKING
        })
    }

    /// Cancels an order by its client order id, as [`exchange::ExecutionClient::cancel_order`] states.
    pub(super) async fn cancel_order(
        &self,
        symbol: &SubjectToken,
        id: &str,
        is_conditional: bool,
    ) -> Result<(), ExchangeError> {
        const WHAT: &str = "cancel";
        let (id, window) = (id.to_owned(), Some(self.window()));
        let gone = if is_conditional {
            let params = CancelAlgoOrderParams {
                algo_id: None,
                client_algo_id: Some(id),
                recv_window: window,
            };
            let gone = self.ask(WHAT, Need::Vital, |rest| {
                rest.cancel_algo_order(params.clone())
            });
            gone.await.map(drop)
        } else {
            let params = CancelOrderParams {
                symbol: symbol.to_string(),
                order_id: None,
                orig_client_order_id: Some(id),
                recv_window: window,
            };
            let gone = self.ask(WHAT, Need::Vital, |rest| rest.cancel_order(params.clone()));
            gone.await.map(drop)
        };
        match gone {
            Err(fault) if fault.code != Some(UNKNOWN) => Err(fault.into()),
            _ => Ok(()),
        }
    }
}

const fn need(leg: Leg) -> Need {
    match leg {
        Leg::Entry => Need::Entry,
        Leg::Stop | Leg::Target | Leg::Exit => Need::Vital,
    }
}

fn market_params(symbol: &SubjectToken, order: &Order, quantity: Qty) -> NewOrderParams {
    let side = match order.side {
        OrderSide::Buy => NewOrderSideEnum::Buy,
        OrderSide::Sell => NewOrderSideEnum::Sell,
    };
    NewOrderParams {
        symbol: symbol.to_string(),
        side,
        r#type: NewOrderTypeEnum::Market,
        position_side: None,
        time_in_force: None,
        // An exit never opens a position, also if our own position is wrong.
        reduce_only: (order.leg != Leg::Entry).then_some(NewOrderReduceOnlyEnum::True),
        quantity: Some(quantity.to_decimal()),
        price: None,
        new_client_order_id: Some(order.client_order_id.as_str().to_owned()),
        new_order_resp_type: Some(NewOrderNewOrderRespTypeEnum::Result),
        price_match: None,
        self_trade_prevention_mode: None,
        good_till_date: None,
        recv_window: Some(i64::from(order.recv_window_ms)),
    }
}

fn trigger_params(symbol: &SubjectToken, order: &Order, price: Price) -> NewAlgoOrderParams {
    let side = match order.side {
        OrderSide::Buy => NewAlgoOrderSideEnum::Buy,
        OrderSide::Sell => NewAlgoOrderSideEnum::Sell,
    };
    let kind = match order.leg {
        Leg::Target => NewAlgoOrderTypeEnum::TakeProfitMarket,
        Leg::Entry | Leg::Stop | Leg::Exit => NewAlgoOrderTypeEnum::StopMarket,
    };
    NewAlgoOrderParams {
        algo_type: NewAlgoOrderAlgoTypeEnum::Conditional,
        symbol: symbol.to_string(),
        side,
        r#type: kind,
        position_side: None,
        time_in_force: None,
        quantity: None,
        price: None,
        trigger_price: Some(price.to_decimal()),
        working_type: Some(NewAlgoOrderWorkingTypeEnum::ContractPrice),
        price_match: None,
        close_position: Some(NewAlgoOrderClosePositionEnum::True),
        price_protect: None,
        reduce_only: None,
        activate_price: None,
        callback_rate: None,
        client_algo_id: Some(order.client_order_id.as_str().to_owned()),
        new_order_resp_type: None,
        self_trade_prevention_mode: None,
        good_till_date: None,
        recv_window: Some(i64::from(order.recv_window_ms)),
    }
}
