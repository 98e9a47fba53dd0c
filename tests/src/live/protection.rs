//! For how long a position had no working stop, from the exchange's own lists: fills give the position, conditional
//! orders give the stops, and both carry the exchange's times. Entry point: [`unprotected_intervals`].

use rust_decimal::Decimal;
use serde_json::Value;

use crate::exchange_client::{ALGO_PAGES, ExchangeClient, TRADE_PAGES, decimal, text};

/// An interval in which a position was open and no stop worked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnprotectedInterval {
    /// Its begin, exchange time in UTC ms.
    pub from_ms: i64,
    /// Its end, exchange time in UTC ms.
    pub until_ms: i64,
    /// Signed quantity of the position at the begin.
    pub quantity: Decimal,
}

impl UnprotectedInterval {
    /// Its length in milliseconds of exchange time.
    pub const fn length_ms(&self) -> i64 {
        self.until_ms - self.from_ms
    }
}

/// A stop and the time in which it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stop {
    from_ms: i64,
    /// `i64::MAX` while it works.
    until_ms: i64,
    is_sell: bool,
    /// Quantity that it closes; `None` for all.
    quantity: Option<Decimal>,
}

impl Stop {
    /// A conditional order as a stop; `None` if it cannot close a position at a loss.
    fn of_row(row: &Value) -> Option<Self> {
        let is_stop = matches!(
            text(row, "orderType"),
            "STOP_MARKET" | "STOP" | "TRAILING_STOP_MARKET"
        );
        let closes_all = row["closePosition"] == true;
        let reduces = row["reduceOnly"] == true;
        (is_stop && (closes_all || reduces)).then(|| Self {
            from_ms: row["createTime"].as_i64().unwrap(),
            until_ms: match text(row, "algoStatus") {
                // Until its order has filled or was rejected, a stop that was triggered is at work.
                "NEW" | "TRIGGERING" | "TRIGGERED" => i64::MAX,
                _ => row["updateTime"].as_i64().unwrap(),
            },
            is_sell: text(row, "side") == "SELL",
            quantity: (!closes_all).then(|| decimal(row, "quantity")),
        })
    }

    fn protects(&self, position: Decimal, at_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&at_ms)
            && self.is_sell == position.is_sign_positive()
            && self.quantity.is_none_or(|covers| covers >= position.abs())
    }
}

/// The intervals without a working stop up to `now_ms`, oldest first. `fills` and `conditional_orders` are rows of
/// `userTrades` and of `allAlgoOrders` of one symbol. Adjacent intervals are one.
pub fn unprotected_intervals(
    fills: &[Value],
    conditional_orders: &[Value],
    now_ms: i64,
) -> Vec<UnprotectedInterval> {
    let stops: Vec<Stop> = conditional_orders.iter().filter_map(Stop::of_row).collect();
    let mut changes: Vec<(i64, Decimal)> = fills.iter().map(change).collect();
    changes.sort_by_key(|(at_ms, _)| *at_ms);
    let edges = stops.iter().flat_map(|stop| [stop.from_ms, stop.until_ms]);
    let mut times: Vec<i64> = changes
        .iter()
        .map(|(at_ms, _)| *at_ms)
        .chain(edges)
        .collect();
    times.push(now_ms);
    times.retain(|at_ms| *at_ms <= now_ms);
    times.sort_unstable();
    times.dedup();
    let mut found: Vec<UnprotectedInterval> = Vec::new();
    for pair in times.windows(2) {
        let (from_ms, until_ms) = (pair[0], pair[1]);
        let filled = changes.iter().filter(|(at_ms, _)| *at_ms <= from_ms);
        let quantity: Decimal = filled.map(|(_, quantity)| quantity).sum();
        if quantity.is_zero() || stops.iter().any(|stop| stop.protects(quantity, from_ms)) {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.until_ms == from_ms => last.until_ms = until_ms,
            _ => found.push(UnprotectedInterval {
                from_ms,
                until_ms,
                quantity,
            }),
        }
    }
    found
}

/// Time and signed quantity of a fill.
fn change(fill: &Value) -> (i64, Decimal) {
    let quantity = decimal(fill, "qty");
    let is_buy = text(fill, "side") == "BUY";
    let at_ms = fill["time"].as_i64().unwrap();
    (at_ms, if is_buy { quantity } else { -quantity })
}

/// The longest interval in which a long position in `symbol` had no working stop, in milliseconds of exchange time; zero
/// without one. The markets of the tests have long entries only: a short position is the operator's.
pub async fn longest_unprotected_ms(client: &ExchangeClient, symbol: &str) -> i64 {
    let fills = client
        .list("/fapi/v1/userTrades", symbol, TRADE_PAGES)
        .await;
    let orders = client
        .list("/fapi/v1/allAlgoOrders", symbol, ALGO_PAGES)
        .await;
    let intervals = unprotected_intervals(&fills, &orders, client.time().await);
    let long = intervals.iter().filter(|i| i.quantity.is_sign_positive());
    long.map(UnprotectedInterval::length_ms)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(time: i64, side: &str, qty: &str) -> Value {
        json!({"time": time, "side": side, "qty": qty})
    }

    fn stop(side: &str, from: i64, until: Option<i64>) -> Value {
        json!({
            "orderType": "STOP_MARKET", "closePosition": true, "reduceOnly": false, "side": side, "quantity": "0",
            "algoStatus": if until.is_some() { "CANCELED" } else { "NEW" },
            "createTime": from, "updateTime": until.unwrap_or(from),
        })
    }

    fn lengths(fills: &[Value], stops: &[Value]) -> Vec<(i64, i64)> {
        let found = unprotected_intervals(fills, stops, 1_000);
        found.iter().map(|i| (i.from_ms, i.until_ms)).collect()
    }

    #[test]
    fn position_is_unprotected_between_its_fill_and_its_stop() {
        let fills = [fill(100, "BUY", "1"), fill(500, "SELL", "1")];
        assert_eq!(lengths(&fills, &[]), [(100, 500)]);
        assert_eq!(lengths(&fills, &[stop("SELL", 130, None)]), [(100, 130)]);
        assert_eq!(
            lengths(
                &fills,
                &[stop("SELL", 130, Some(300)), stop("SELL", 340, None)]
            ),
            [(100, 130), (300, 340)]
        );
        assert_eq!(
            lengths(&fills[..1], &[stop("SELL", 130, Some(900))]),
            [(100, 130), (900, 1_000)]
        );
    }

    #[test]
    fn order_that_cannot_close_the_whole_position_at_a_loss_is_no_stop() {
        let fills = [fill(100, "SELL", "2"), fill(500, "BUY", "2")];
        let mut target = stop("BUY", 100, None);
        target["orderType"] = "TAKE_PROFIT_MARKET".into();
        let mut half = stop("BUY", 100, None);
        half["closePosition"] = false.into();
        half["reduceOnly"] = true.into();
        half["quantity"] = "1".into();
        let mut opening = half.clone();
        opening["reduceOnly"] = false.into();
        opening["quantity"] = "2".into();
        for order in [target, half.clone(), opening, stop("SELL", 100, None)] {
            assert_eq!(
                lengths(&fills, std::slice::from_ref(&order)),
                [(100, 500)],
                "{order}"
            );
        }
        half["quantity"] = "2".into();
        assert_eq!(lengths(&fills, &[half]), []);
    }

    #[test]
    fn fills_count_in_order_of_time_and_parts_of_an_interval_are_one() {
        let fills = [
            fill(300, "SELL", "1"),
            fill(100, "BUY", "0.5"),
            fill(200, "BUY", "0.5"),
        ];
        assert_eq!(lengths(&fills, &[]), [(100, 300)]);
        assert_eq!(lengths(&fills, &[stop("BUY", 50, None)]), [(100, 300)]);
    }
}
