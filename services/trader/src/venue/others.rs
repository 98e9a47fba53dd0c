//! Differences between the exchange and the journal: open orders that the journal does not expect, trades of
//! orders that are not ours.

use protocol::event::PositionSide;
use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};
use trader_core::orders::{Fill, FillCosts, OpenOrder, OrderSide};

use super::{BinanceExecutionClient, ExchangeFill};
use crate::market::MarketError;

impl BinanceExecutionClient {
    /// Cancels an open order by its client order id; an order that has ended is no error.
    ///
    /// # Errors
    /// As [`BinanceExecutionClient::cancel`]: whether the order was cancelled is not known.
    pub async fn cancel_open(
        &self,
        symbol: &SubjectToken,
        open: &OpenOrder,
    ) -> Result<(), MarketError> {
        self.cancel_id(symbol, &open.client_order_id, open.is_conditional)
            .await
    }
}

/// The fills that reduce a position of this side, one for each order, oldest first. A fill whose fee was paid in
/// another coin is left out, because its costs are not known.
pub fn fills_against(side: PositionSide, trades: &[ExchangeFill]) -> Vec<(i64, Fill)> {
    let closing = |trade: &&ExchangeFill| match side {
        PositionSide::Long => trade.way == OrderSide::Sell,
        PositionSide::Short => trade.way == OrderSide::Buy,
    };
    let mut orders: Vec<i64> = trades.iter().filter(closing).map(|t| t.order_id).collect();
    orders.dedup();
    let of_order = |order: i64| {
        let trades: Vec<&ExchangeFill> = trades.iter().filter(|t| t.order_id == order).collect();
        Some((order, sum(&trades)?))
    };
    orders.into_iter().filter_map(of_order).collect()
}

fn sum(trades: &[&ExchangeFill]) -> Option<Fill> {
    let quantity: Decimal = trades.iter().map(|t| t.quantity).sum();
    let worth: Decimal = trades.iter().map(|t| t.quantity * t.price).sum();
    let fees: Option<Vec<Decimal>> = trades.iter().map(|t| t.fee).collect();
    let price = worth
        .checked_div(quantity)?
        .round_dp(trader_core::fixed_point::SCALE);
    Some(Fill {
        quantity: Qty::from_decimal(quantity).ok()?,
        price: Price::from_decimal(price).ok()?,
        at: trades.iter().map(|t| t.at).max()?,
        costs: Some(FillCosts {
            fee: fees?.into_iter().sum(),
            realized_pnl: trades.iter().map(|t| t.realised).sum(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::time::UtcMs;

    fn trade(order_id: i64, way: OrderSide, quantity: i64, price: i64) -> ExchangeFill {
        ExchangeFill {
            id: order_id,
            order_id,
            way,
            quantity: Decimal::new(quantity, 1),
            price: Decimal::from(price),
            at: UtcMs(order_id),
            fee: Some(Decimal::new(1, 2)),
            realised: Decimal::from(-5),
        }
    }

    #[test]
    fn trades_against_the_position_are_summed_by_order() {
        let trades = [
            trade(1, OrderSide::Buy, 9, 100),
            trade(2, OrderSide::Sell, 1, 90),
            trade(2, OrderSide::Sell, 3, 94),
            trade(3, OrderSide::Sell, 5, 80),
        ];
        let found = fills_against(PositionSide::Long, &trades);
        let orders: Vec<i64> = found.iter().map(|(order, _)| *order).collect();
        assert_eq!(orders, [2, 3]);
        let (_, first) = &found[0];
        assert_eq!(
            (first.quantity, first.price),
            ("0.4".parse().unwrap(), "93".parse().unwrap())
        );
        let costs = first.costs.unwrap();
        assert_eq!(
            (costs.fee, costs.realized_pnl),
            (Decimal::new(2, 2), Decimal::from(-10))
        );
    }

    #[test]
    fn a_fee_in_another_coin_makes_no_sum() {
        let odd = ExchangeFill {
            fee: None,
            ..trade(2, OrderSide::Sell, 1, 90)
        };
        assert!(fills_against(PositionSide::Long, &[odd]).is_empty());
    }
}
