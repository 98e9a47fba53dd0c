//! One connection of the user stream, from the handshake to its first fault. Entry point: [`Link::open`]. A
//! connection is never repaired: the stream drops it and opens another one. Its messages only name the symbols
//! whose orders or positions changed.

use std::time::Duration;

use binance_sdk::derivatives_trading_usds_futures::websocket_streams::WebsocketStreams;
use binance_sdk::models::WebsocketEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::BinanceExecutionClient;
use crate::market::{SdkRuntime, one_line};

/// Deadline of a handshake. The SDK's own is 10 s; this one guards against a hang of the SDK.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// The path under which Binance serves user streams.
const PATH: &str = "private";

/// News that may wait. A connection has two: the answer to its subscription, and its end.
const NEWS: usize = 16;

/// News of the connection itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The exchange has confirmed the subscription.
    Subscribed,
    /// The connection has ended, for this reason.
    Ended(String),
}

pub(super) struct Link {
    streams: Option<WebsocketStreams>,
    runtime: SdkRuntime,
    news: mpsc::Receiver<News>,
}

impl Link {
    /// Connects and subscribes to the stream of this listen key. Messages become hints of `venue` at once.
    ///
    /// # Errors
    /// One line on why the connection failed.
    pub(super) async fn open(venue: &BinanceExecutionClient, key: String) -> Result<Self, String> {
        let runtime = SdkRuntime::start()?;
        let handle = venue.inner.streams.clone();
        let connecting = runtime.get()?.spawn(async move { handle.connect().await });
        let streams = timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| format!("no connection within {} s", CONNECT_DEADLINE.as_secs()))?
            .map_err(|error| one_line(&format!("the SDK failed: {error}")))?
            .map_err(|error| one_line(&format!("{error:#}")))?;
        let (sender, news) = mpsc::channel(NEWS);
        let listener = Listener {
            venue: venue.clone(),
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
            news,
        })
    }

    /// The next news of the connection; waits for ever when there is none.
    pub(super) async fn next(&mut self) -> News {
        let news = self.news.recv().await;
        news.unwrap_or_else(|| News::Ended("the SDK ended the connection".to_owned()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The SDK closes the connection from a task that it starts where it is dropped.
        if let Ok(runtime) = self.runtime.get() {
            let _inside = runtime.enter();
            drop(self.streams.take());
        }
    }
}

/// Converts the SDK's events to hints and news, on the SDK's thread. Never waits.
struct Listener {
    venue: BinanceExecutionClient,
    sender: mpsc::Sender<News>,
}

impl Listener {
    fn handle(&self, event: WebsocketEvent) {
        match event {
            WebsocketEvent::Message(text) => self.read(&text),
            WebsocketEvent::Error(reason) => self.send(News::Ended(one_line(&reason))),
            WebsocketEvent::Close(code, reason) => {
                let reason = one_line(&format!("closed by the exchange with {code} {reason}"));
                self.send(News::Ended(reason));
            }
            WebsocketEvent::Open | WebsocketEvent::Ping | WebsocketEvent::Pong => {}
        }
    }

    fn read(&self, text: &str) {
        match decode(text) {
            Message::Happened(symbols) => symbols.iter().for_each(|s| self.venue.hint(s)),
            Message::Anything => self.venue.hint_all(),
            Message::Answer(None) => self.send(News::Subscribed),
            Message::Answer(Some(error)) => {
                let reason = one_line(&format!("the subscription was refused: {error}"));
                self.send(News::Ended(reason));
            }
            Message::KeyEnded => {
                self.send(News::Ended("the listen key has expired".to_owned()));
            }
        }
    }

    /// Sends news; drops it if the queue is full, which then holds the connection's end.
    fn send(&self, news: News) {
        let _full = self.sender.try_send(news);
    }
}

/// The meaning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Message {
    /// Something happened to these symbols.
    Happened(Vec<String>),
    /// Something happened, to symbols that the message does not name: every symbol is checked.
    Anything,
    /// The answer to the subscription: the text of an error; `None` for success.
    Answer(Option<String>),
    /// The listen key has expired.
    KeyEnded,
}

fn decode(text: &str) -> Message {
    let Ok(whole) = serde_json::from_str::<Value>(text) else {
        return Message::Anything;
    };
    let event = whole.get("data").unwrap_or(&whole);
    let Some(kind) = event.get("e").and_then(Value::as_str) else {
        return match (whole.get("error"), whole.get("id")) {
            (Some(error), _) => Message::Answer(Some(error.to_string())),
            (None, Some(_)) => Message::Answer(None),
            (None, None) => Message::Anything,
        };
    };
    let symbols: Vec<String> = match kind {
        "listenKeyExpired" => return Message::KeyEnded,
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
        Message::Anything
    } else {
        Message::Happened(symbols)
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
        let of =
            |symbols: &[&str]| Message::Happened(symbols.iter().map(|s| (*s).to_owned()).collect());
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
                Message::Anything,
            ),
            (r#"{"e":"MARGIN_CALL","p":[]}"#, Message::Anything),
            (r#"{"e":"ORDER_TRADE_UPDATE"}"#, Message::Anything),
            (
                r#"{"stream":"k","data":{"e":"listenKeyExpired"}}"#,
                Message::KeyEnded,
            ),
            (r#"{"result":null,"id":1}"#, Message::Answer(None)),
            (
                r#"{"error":{"code":1},"id":1}"#,
                Message::Answer(Some(r#"{"code":1}"#.to_owned())),
            ),
            ("no json", Message::Anything),
            ("[]", Message::Anything),
        ] {
            assert_eq!(decode(text), message, "{text}");
        }
    }
}
