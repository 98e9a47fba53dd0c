//! Requests of clients over a WebSocket, and their responses, in Binance's JSON.

use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) streams: Vec<String>,
    pub(super) id: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Method {
    Subscribe,
    Unsubscribe,
    ListSubscriptions,
}

#[derive(Deserialize)]
struct Message {
    method: Method,
    #[serde(default)]
    params: Vec<String>,
    #[serde(default)]
    id: Value,
}

/// Parses a message; the error is the response to send.
pub(super) fn parse(text: &str) -> Result<Request, String> {
    let message: Message = serde_json::from_str(text).map_err(|e| {
        if e.is_data() {
            error_response(2, &format!("Invalid request: {e}"), &Value::Null)
        } else {
            error_response(3, &format!("Invalid JSON: {e}"), &Value::Null)
        }
    })?;
    if !(message.id.is_u64() || message.id.is_string()) {
        let error = "Invalid request: request ID must be an unsigned integer";
        return Err(error_response(2, error, &message.id));
    }
    if !message.params.iter().all(|name| is_stream_name(name)) {
        return Err(error_response(
            2,
            "Invalid request: invalid stream",
            &message.id,
        ));
    }
    Ok(Request {
        method: message.method,
        streams: message.params,
        id: message.id,
    })
}

/// Response to an executed request.
pub(super) fn success_response(result: &Value, id: &Value) -> String {
    json!({"result": result, "id": id}).to_string()
}

fn error_response(code: u32, message: &str, id: &Value) -> String {
    json!({"error": {"code": code, "msg": message}, "id": id}).to_string()
}

/// Whether Binance would accept a name for a stream. A well-formed name without data is accepted, there and here.
fn is_stream_name(name: &str) -> bool {
    let known = |c: char| c.is_alphanumeric() || "@_!-".contains(c);
    let key = name.len() == 64 && name.chars().all(|c| c.is_ascii_alphanumeric());
    (key || name.contains('@')) && name.len() <= 100 && name.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_methods_are_understood() {
        let text = r#"{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":312}"#;
        let request = parse(text).unwrap();
        assert_eq!(request.method, Method::Subscribe);
        assert_eq!(request.streams, ["btcusdt@kline_1m"]);
        assert_eq!(
            success_response(&Value::Null, &request.id),
            r#"{"id":312,"result":null}"#
        );
        for (text, method) in [
            (
                r#"{"method":"UNSUBSCRIBE","params":[],"id":"a1"}"#,
                Method::Unsubscribe,
            ),
            (
                r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#,
                Method::ListSubscriptions,
            ),
        ] {
            assert_eq!(parse(text).unwrap().method, method);
        }
    }

    #[test]
    fn each_invalid_request_gets_binances_code_and_message() {
        for (text, code, message) in [
            (
                "hello",
                3,
                "Invalid JSON: expected value at line 1 column 1",
            ),
            (r#"{"method":"#, 3, "Invalid JSON: EOF"),
            (r#"{"id":1}"#, 2, "Invalid request: missing field `method`"),
            (
                r#"{"method":"FLY","id":1}"#,
                2,
                "Invalid request: unknown variant `FLY`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`",
            ),
            (
                r#"{"method":"SUBSCRIBE","params":["a@b"]}"#,
                2,
                "Invalid request: request ID must be an unsigned integer",
            ),
            (
                r#"{"method":"SUBSCRIBE","params":["a@b"],"id":-1}"#,
                2,
                "Invalid request: request ID must be an unsigned integer",
            ),
            (
                r#"{"method":"SUBSCRIBE","params":["nonsense"],"id":1}"#,
                2,
                "Invalid request: invalid stream",
            ),
        ] {
            let answer: Value = serde_json::from_str(&parse(text).unwrap_err()).unwrap();
            assert_eq!(answer["error"]["code"], code, "{text}");
            let said = answer["error"]["msg"].as_str().unwrap();
            assert!(said.starts_with(message), "{text}: {said}");
        }
    }
}
