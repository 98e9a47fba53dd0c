//! Events of the user stream in Binance's JSON.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::hub::Frame;
use crate::trading::enums::MarginMode;
use crate::trading::order::{Algo, Order, Trade};
use crate::trading::position::Position;
use crate::trading::record::{AssetBalance, UserNews, UserNotice};

/// The frame of a notice for the user stream with this listen key.
pub(crate) fn frame(notice: &UserNotice, key: &str) -> Frame {
    let event = event(notice);
    Frame {
        raw: event.to_string().into(),
        combined: json!({"stream": key, "data": event}).to_string().into(),
    }
}

fn event(notice: &UserNotice) -> Value {
    let at = notice.at_ms;
    match &notice.news {
        UserNews::Order {
            order,
            execution_type: execution,
            trade,
        } => {
            let details = order_details(order, execution, trade.as_ref());
            json!({"e": "ORDER_TRADE_UPDATE", "E": at, "T": at, "o": details})
        }
        UserNews::Account {
            reason,
            balances,
            positions,
        } => {
            let balances: Vec<Value> = balances.iter().map(balance).collect();
            let positions: Vec<Value> = positions.iter().map(position).collect();
            json!({"e": "ACCOUNT_UPDATE", "E": at, "T": at, "a": {
                "m": reason,
                "B": balances,
                "P": positions,
            }})
        }
        UserNews::Algo(algo) => {
            json!({"e": "ALGO_UPDATE", "E": at, "T": at, "o": algo_details(algo)})
        }
        UserNews::Leverage { symbol, leverage } => json!({
            "e": "ACCOUNT_CONFIG_UPDATE", "E": at, "T": at, "ac": {"s": symbol, "l": leverage},
        }),
        UserNews::KeyExpired(key) => json!({"e": "listenKeyExpired", "E": at, "listenKey": key}),
    }
}

fn order_details(order: &Order, execution: &str, trade: Option<&Trade>) -> Value {
    let mut details = json!({
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.kind,
        "f": order.time_in_force,
        "q": format_decimal(order.quantity),
        "p": format_decimal(order.price),
        "ap": format_decimal(order.average_price().round_dp(8)),
        "sp": "0",
        "x": execution,
        "X": order.status,
        "i": order.id,
        "l": "0",
        "z": format_decimal(order.filled),
        "L": "0",
        "T": order.updated_ms,
        "t": 0,
        "b": "0",
        "a": "0",
        "m": false,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.original_type(),
        "ps": order.position_side,
        "cp": order.close_position,
        "pP": false,
        "si": 0,
        "ss": 0,
        "rp": "0",
        "V": "NONE",
        "pm": "NONE",
        "gtd": 0,
        "er": "0",
    });
    if let (Some(trade), Some(fields)) = (trade, details.as_object_mut()) {
        let filled = [
            ("l", json!(format_decimal(trade.quantity))),
            ("L", json!(format_decimal(trade.price))),
            ("N", json!(trade.fee_asset)),
            ("n", json!(format_decimal(trade.fee))),
            ("t", json!(trade.id)),
            ("m", json!(trade.is_maker)),
            ("rp", json!(format_decimal(trade.realized_pnl))),
        ];
        fields.extend(filled.map(|(name, value)| (name.to_owned(), value)));
    }
    details
}

fn algo_details(algo: &Algo) -> Value {
    json!({
        "caid": algo.client_id,
        "aid": algo.id,
        "at": "CONDITIONAL",
        "o": algo.kind,
        "s": algo.symbol,
        "S": algo.side,
        "ps": algo.position_side,
        "f": "GTC",
        "q": format_decimal(algo.quantity),
        "X": algo.status,
        "ai": algo.order_id.map(|id| id.to_string()).unwrap_or_default(),
        "ap": format_decimal(algo.actual_price),
        "aq": format_decimal(algo.actual_quantity),
        "act": if algo.order_id.is_some() { "MARKET" } else { "0" },
        "tp": format_decimal(algo.trigger_price),
        "p": "0",
        "V": "NONE",
        "wt": algo.working_type,
        "pm": "NONE",
        "cp": algo.close_position,
        "pP": false,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": 0,
        "rm": algo.reason,
    })
}

fn balance(balance: &AssetBalance) -> Value {
    json!({
        "a": balance.asset,
        "wb": format_decimal(balance.wallet),
        "cw": format_decimal(balance.cross_wallet),
        "bc": format_decimal(balance.change),
    })
}

fn position((position, margin, mark): &(Position, MarginMode, Decimal)) -> Value {
    let mode = match margin {
        MarginMode::Cross => "cross",
        MarginMode::Isolated => "isolated",
    };
    json!({
        "s": position.symbol,
        "pa": format_decimal(position.amount),
        "ep": format_decimal(position.entry_price),
        "bep": format_decimal(position.entry_price),
        "cr": format_decimal(position.realized_pnl),
        "up": format_decimal(position.unrealized_pnl(*mark)),
        "mt": mode,
        "iw": format_decimal(position.isolated_margin),
        "ps": position.side,
    })
}

/// A decimal without trailing zeros.
pub(crate) fn format_decimal(value: Decimal) -> String {
    value.normalize().to_string()
}
