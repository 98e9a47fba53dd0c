//! Fills of the account, also of orders that the journal does not have.

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};
use trader_core::orders::{Fill, FillCosts, OrderSide};

/// One trade of the account, external ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeFill {
    /// The trade's own id.
    pub id: i64,
    /// The exchange's id of the order.
    pub order_id: i64,
    /// Side of the order.
    pub side: OrderSide,
    /// Quantity in base units.
    pub quantity: Decimal,
    /// Price in the quote currency.
    pub price: Decimal,
    /// The exchange's time of the trade.
    pub at: UtcMs,
    /// Fee in the quote currency; `None` if it was paid in another asset.
    pub fee: Option<Decimal>,
    /// Realized profit before fees; negative for a loss.
    pub realized_pnl: Decimal,
}

/// The fills that reduce a position of this side, summed for each order and in the order of their first trades. An
/// order whose fee was paid in another asset is left out, because its costs are unknown.
pub fn fills_against(side: PositionSide, fills: &[ExchangeFill]) -> Vec<(i64, Fill)> {
    let closing = match side {
        PositionSide::Long => OrderSide::Sell,
        PositionSide::Short => OrderSide::Buy,
    };
    let mut by_order: Vec<(i64, Vec<&ExchangeFill>)> = Vec::new();
    for fill in fills.iter().filter(|fill| fill.side == closing) {
        match by_order
            .iter_mut()
            .find(|(order, _)| *order == fill.order_id)
        {
            Some((_, of_order)) => of_order.push(fill),
            None => by_order.push((fill.order_id, vec![fill])),
        }
    }
    let sum_order = |(order, fills): (i64, Vec<&ExchangeFill>)| Some((order, sum(&fills)?));
    by_order.into_iter().filter_map(sum_order).collect()
}

fn sum(fills: &[&ExchangeFill]) -> Option<Fill> {
    let quantity: Decimal = fills.iter().map(|f| f.quantity).sum();
    let worth: Decimal = fills.iter().map(|f| f.quantity * f.price).sum();
    let fees: Option<Vec<Decimal>> = fills.iter().map(|f| f.fee).collect();
    let price = worth
        .checked_div(quantity)?
        .round_dp(trader_core::fixed_point::SCALE);
    Some(Fill {
        quantity: Qty::from_decimal(quantity).ok()?,
        price: Price::from_decimal(price).ok()?,
        at: fills.iter().map(|f| f.at).max()?,
        costs: Some(FillCosts {
            fee: fees?.into_iter().sum(),
            realized_pnl: fills.iter().map(|f| f.realized_pnl).sum(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(order_id: i64, side: OrderSide, quantity: i64, price: i64) -> ExchangeFill {
        ExchangeFill {
            id: order_id,
            order_id,
            side,
            quantity: Decimal::new(quantity, 1),
            price: Decimal::from(price),
            at: UtcMs(order_id),
            fee: Some(Decimal::new(1, 2)),
            realized_pnl: Decimal::from(-5),
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
    fn trades_of_two_orders_that_alternate_are_summed_once_for_each() {
        let trades = [
            trade(2, OrderSide::Sell, 1, 90),
            trade(3, OrderSide::Sell, 1, 90),
            trade(2, OrderSide::Sell, 1, 90),
        ];
        let found = fills_against(PositionSide::Long, &trades);
        let quantities: Vec<(i64, String)> = found
            .iter()
            .map(|(order, fill)| (*order, fill.quantity.to_string()))
            .collect();
        assert_eq!(quantities, [(2, "0.2".to_owned()), (3, "0.1".to_owned())]);
    }

    #[test]
    fn fee_in_another_asset_makes_no_sum() {
        let odd = ExchangeFill {
            fee: None,
            ..trade(2, OrderSide::Sell, 1, 90)
        };
        assert!(fills_against(PositionSide::Long, &[odd]).is_empty());
    }
}
