//! Reads what the filters of faults need to know about a frame.

use serde_json::Value;

use crate::trading_service::faults::FrameKey;

/// The key of an event on a connection; `is_user` says whether it has a user stream.
pub(super) fn read_frame_key(event: &Value, is_user: bool) -> FrameKey {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let inner = [&event["o"], &event["ac"], &event["a"]["P"][0]];
    let mut symbols = std::iter::once(event).chain(inner);
    FrameKey {
        is_user,
        event: text(&event["e"]),
        symbol: symbols.find_map(|part| text(&part["s"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn event_and_symbol_are_read_from_each_kind_of_event() {
        for event in [
            json!({"e": "kline", "s": "BTCUSDT"}),
            json!({"e": "ORDER_TRADE_UPDATE", "o": {"s": "BTCUSDT"}}),
            json!({"e": "ACCOUNT_UPDATE", "a": {"P": [{"s": "BTCUSDT"}]}}),
            json!({"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": "BTCUSDT"}}),
        ] {
            let key = read_frame_key(&event, true);
            assert_eq!(key.event.as_deref(), event["e"].as_str());
            assert_eq!(key.symbol.as_deref(), Some("BTCUSDT"), "{event}");
        }
        assert_eq!(
            read_frame_key(&json!({"e": "listenKeyExpired"}), true).symbol,
            None
        );
    }
}
