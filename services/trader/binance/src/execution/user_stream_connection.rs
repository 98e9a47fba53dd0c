//! One connection of the user stream, from the handshake to its first fault. Entry point: [`UserStreamConnection::open`]. A
//! connection is never repaired: the stream drops it and opens another one. Its messages only name the symbols
//! whose orders or positions changed.

use std::time::Duration;

use binance_sdk::derivatives_trading_usds_futures::websocket_streams::WebsocketStreams;
use binance_sdk::models::WebsocketEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::BinanceExecutionClient;
use crate::data::SdkRuntime;
use crate::error::one_line;

/// Deadline of a handshake. The SDK's own is 10 s; this one guards against a hang of the SDK.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// The path under which Binance serves user streams.
const PATH: &str = "private";

/// Events that may wait. A connection has two: the answer to its subscription, and its end.
const EVENTS: usize = 16;

/// An event of the connection itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectionEvent {
    /// The exchange has confirmed the subscription.
    Subscribed,
    /// The connection has ended, for this reason.
    Ended(String),
}

pub(super) struct UserStreamConnection {
    streams: Option<WebsocketStreams>,
    runtime: SdkRuntime,
    events: mpsc::Receiver<ConnectionEvent>,
}

impl UserStreamConnection {
    /// Connects and subscribes to the stream of this listen key. Messages become hints of `client` at once.
    ///
    /// # Errors
    /// One line on why the connection failed.
    pub(super) async fn open(client: &BinanceExecutionClient, key: String) -> Result<Self, String> {
        let runtime = SdkRuntime::start()?;
        let handle = client.inner.streams.clone();
        let connecting = runtime.get()?.spawn(async move { handle.connect().await });
        let streams = timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| format!("no connection within {} s", CONNECT_DEADLINE.as_secs()))?
            .map_err(|error| one_line(&format!("the SDK failed: {error}")))?
            .map_err(|error| one_line(&format!("{error:#}")))?;
        let (sender, events) = mpsc::channel(EVENTS);
        let listener = Listener {
            client: client.clone(),
            sender,
        };
        {
            let _inside = runtime.get()?.enter();
            streams.subscribe_on_ws_events(move |event| listener.handle(event));
            streams.subscribe_with_path(vec![key], None, Some(PATH.to_owned()));
        }
        Ok(Self {
            streams: Some(streams),
            runtime,
            events,
        })
    }

    /// The next event of the connection; waits for ever when there is none.
    pub(super) async fn next(&mut self) -> ConnectionEvent {
        let event = self.events.recv().await;
        event.unwrap_or_else(|| ConnectionEvent::Ended("the SDK ended the connection".to_owned()))
    }
}

impl Drop for UserStreamConnection {
    fn drop(&mut self) {
        // The SDK closes the connection from a task that it starts where it is dropped.
        if let Ok(runtime) = self.runtime.get() {
            let _inside = runtime.enter();
            drop(self.streams.take());
        }
    }
}

/// Converts the SDK's events to hints and events, on the SDK's thread. Never waits.
struct Listener {
    client: BinanceExecutionClient,
    sender: mpsc::Sender<ConnectionEvent>,
}

impl Listener {
    fn handle(&self, event: WebsocketEvent) {
        match event {
            WebsocketEvent::Message(text) => self.read(&text),
            WebsocketEvent::Error(reason) => self.send(ConnectionEvent::Ended(one_line(&reason))),
            WebsocketEvent::Close(code, reason) => {
                let reason = one_line(&format!("closed by the exchange with {code} {reason}"));
                self.send(ConnectionEvent::Ended(reason));
            }
            WebsocketEvent::Open | WebsocketEvent::Ping | WebsocketEvent::Pong => {}
        }
    }

    fn read(&self, text: &str) {
        match decode(text) {
            UserStreamMessage::Happened(symbols) => {
                symbols.iter().for_each(|s| self.client.hint(s))
            }
            UserStreamMessage::Anything => self.client.hint_all(),
            UserStreamMessage::Answer(None) => self.send(ConnectionEvent::Subscribed),
            UserStreamMessage::Answer(Some(error)) => {
                let reason = one_line(&format!("the subscription was refused: {error}"));
                self.send(ConnectionEvent::Ended(reason));
            }
            UserStreamMessage::KeyEnded => {
                self.send(ConnectionEvent::Ended(
                    "the listen key has expired".to_owned(),
                ));
            }
        }
    }

    /// Sends an event; drops it if the queue is full, which then holds the connection's end.
    fn send(&self, event: ConnectionEvent) {
        let _full = self.sender.try_send(event);
    }
}

/// The meaning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum UserStreamMessage {
    /// Something happened to these symbols.
    Happened(Vec<String>),
    /// Something happened, to symbols that the message does not name: every symbol is checked.
    Anything,
    /// The answer to the subscription: the text of an error; `None` for success.
    Answer(Option<String>),
    /// The listen key has expired.
    KeyEnded,
}

fn decode(text: &str) -> UserStreamMessage {
    let Ok(whole) = serde_json::from_str::<Value>(text) else {
        return UserStreamMessage::Anything;
    };
    let event = whole.get("data").unwrap_or(&whole);
    let Some(kind) = event.get("e").and_then(Value::as_str) else {
        return match (whole.get("error"), whole.get("id")) {
            (Some(error), _) => UserStreamMessage::Answer(Some(error.to_string())),
            (None, Some(_)) => UserStreamMessage::Answer(None),
            (None, None) => UserStreamMessage::Anything,
        };
    };
    let symbols: Vec<String> = match kind {
        "listenKeyExpired" => return UserStreamMessage::KeyEnded,
        "ORDER_TRADE_UPDATE" | "ALGO_UPDATE" => symbol_at(event, "/o/s"),
        "TRADE_LITE" => symbol_at(event, "/s"),
        "ACCOUNT_UPDATE" => event
            .pointer("/a/P")
            .and_then(Value::as_array)
            .map(|held| held.iter().flat_map(|p| symbol_at(p, "/s")).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    if symbols.is_empty() {
        UserStreamMessage::Anything
    } else {
        UserStreamMessage::Happened(symbols)
    }
}

fn symbol_at(event: &Value, place: &str) -> Vec<String> {
    let symbol = event.pointer(place).and_then(Value::as_str);
    symbol.map(str::to_owned).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_symbols_or_means_all_of_them() {
        let of = |symbols: &[&str]| {
            UserStreamMessage::Happened(symbols.iter().map(|s| (*s).to_owned()).collect())
        };
        for (text, message) in [
            (r#"{"e":"ORDER_TRADE_UPDATE","o":{"s":"A"}}"#, of(&["A"])),
            (
                r#"{"stream":"k","data":{"e":"ALGO_UPDATE","o":{"s":"A"}}}"#,
                of(&["A"]),
            ),
            (r#"{"e":"TRADE_LITE","s":"B"}"#, of(&["B"])),
            (
                r#"{"e":"ACCOUNT_UPDATE","a":{"P":[{"s":"A"},{"s":"B"}]}}"#,
                of(&["A", "B"]),
            ),
            (
                r#"{"e":"ACCOUNT_UPDATE","a":{"m":"FUNDING_FEE"}}"#,
                UserStreamMessage::Anything,
            ),
            (r#"{"e":"MARGIN_CALL","p":[]}"#, UserStreamMessage::Anything),
            (r#"{"e":"ORDER_TRADE_UPDATE"}"#, UserStreamMessage::Anything),
            (
                r#"{"stream":"k","data":{"e":"listenKeyExpired"}}"#,
                UserStreamMessage::KeyEnded,
            ),
            (r#"{"result":null,"id":1}"#, UserStreamMessage::Answer(None)),
            (
                r#"{"error":{"code":1},"id":1}"#,
                UserStreamMessage::Answer(Some(r#"{"code":1}"#.to_owned())),
            ),
            ("no json", UserStreamMessage::Anything),
            ("[]", UserStreamMessage::Anything),
        ] {
            assert_eq!(decode(text), message, "{text}");
        }
    }
}
