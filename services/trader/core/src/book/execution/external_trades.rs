//! Trades of the operator or another program that changed the position of a book. They are booked with their own prices and
//! fees, as orders of the reason `external`: what adds to the position as an entry, what reduces it as an exit.

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::protective_orders::order_draft;
use crate::book::context::DecisionContext;
use crate::book::{BookPhase, BookRecord, BookState, ExitReason, Position};
use crate::fixed_point::{Qty, SCALE};
use crate::orders::{
    AccountTrade, ClientOrderId, Fill, FillCosts, Leg, Order, OrderSide, OrderType,
};

/// The external trades that belong to the position and are not booked yet, oldest first. They lie between the first trade of the entry and the trade with which the position was closed. What a trade does
/// beyond the close belongs to a position that the book did not open.
fn unbooked_trades(
    state: &BookState,
    position: &Position,
    trades: &[AccountTrade],
) -> Vec<AccountTrade> {
    let entry_side = OrderSide::for_leg(position.side, Leg::Entry);
    let mut trades: Vec<AccountTrade> = trades.to_vec();
    trades.sort_by_key(|trade| trade.trade_id);
    trades.dedup_by_key(|trade| trade.trade_id);
    let is_entry = |trade: &AccountTrade| trade.is_ours && trade.side == entry_side;
    let mut open: i64 = 0;
    let mut unbooked = Vec::new();
    for mut trade in trades.into_iter().skip_while(|trade| !is_entry(trade)) {
        let quantity = trade.fill.quantity.units();
        if trade.side == entry_side {
            open = open.saturating_add(quantity);
        } else {
            if !trade.is_ours {
                trade.fill = limited_to(trade.fill, Qty::from_units(open));
            }
            open = open.saturating_sub(quantity);
        }
        if !trade.is_ours && state.order(&order_id(&trade)).is_none() {
            unbooked.push(trade);
        }
        if open <= 0 {
            break;
        }
    }
    unbooked
}

/// The records of the external trades among these that belong to the open position and are not booked yet.
pub(super) fn records(
    context: DecisionContext<'_>,
    state: &BookState,
    trades: &[AccountTrade],
    now: UtcMs,
) -> Vec<BookRecord> {
    let BookPhase::Open(position) = &state.phase else {
        return Vec::new();
    };
    let unbooked = unbooked_trades(state, position, trades);
    let records = |trade: &AccountTrade| records_of_trade(context, position, trade, now);
    unbooked.iter().flat_map(records).collect()
}

fn records_of_trade(
    context: DecisionContext<'_>,
    position: &Position,
    trade: &AccountTrade,
    now: UtcMs,
) -> [BookRecord; 2] {
    let leg = if trade.side == OrderSide::for_leg(position.side, Leg::Entry) {
        Leg::Entry
    } else {
        Leg::Exit
    };
    let id = order_id(trade);
    let order = Order {
        order_type: OrderType::Market {
            quantity: trade.fill.quantity,
        },
        reason: Some(ExitReason::External),
        ..order_draft(context, position.side, id.clone(), leg, 0, now)
    };
    [
        BookRecord::OrderIntended(order),
        BookRecord::OrderFilled {
            client_order_id: id,
            fill: trade.fill,
        },
    ]
}

/// The id under which a trade is booked once.
fn order_id(trade: &AccountTrade) -> ClientOrderId {
    ClientOrderId::from_exchange(&format!("external-{}", trade.trade_id))
}

/// The part of a trade that closes at most `open`, with its share of the fee. The profit is all of that part.
fn limited_to(fill: Fill, open: Qty) -> Fill {
    if fill.quantity <= open {
        return fill;
    }
    let share = |amount: Decimal| {
        let part = amount.checked_mul(open.to_decimal());
        part.and_then(|part| part.checked_div(fill.quantity.to_decimal()))
            .map_or(amount, |part| part.round_dp(SCALE))
    };
    Fill {
        quantity: open,
        costs: fill.costs.map(|costs| FillCosts {
            fee: share(costs.fee),
            fee_in_other_assets: share(costs.fee_in_other_assets),
            realized_pnl: costs.realized_pnl,
        }),
        ..fill
    }
}
