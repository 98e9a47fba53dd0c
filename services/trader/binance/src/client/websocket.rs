//! One WebSocket connection, for market streams or a user stream: [`StreamConnection`].
//!
//! It has no task: [`StreamConnection::next`] reads, answers pings, sends what is due and watches the deadlines.
//! A connection is never repaired: after [`StreamEvent::Ended`] the caller drops it and opens another one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::error::{one_line, with_causes};
use super::tls;

/// Largest message, in bytes. Binance's are below 10 KiB.
const MOST_BYTES: usize = 1024 * 1024;
/// Buffer for reading; also the size up to which messages are joined into one write.
const BUFFER_BYTES: usize = 16 * 1024;
/// Largest amount of data that waits to be sent.
const MOST_UNSENT_BYTES: usize = 256 * 1024;
/// Most streams of one connection at Binance.
const MOST_STREAMS: usize = 1_024;
/// Streams in one request. Binance refuses long messages.
const STREAMS_OF_A_REQUEST: usize = 100;
/// Shortest time between two requests. Binance ends a connection that sends more than ten messages in a second, pongs
/// included.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(250);
/// Deadline for the operating system to take in what is sent.
const SEND_DEADLINE: Duration = Duration::from_secs(5);

/// Deadlines of a connection, in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTiming {
    /// Connecting, TLS and the handshake.
    pub open_within: Duration,
    /// A ping is sent after this time without a frame.
    pub ping_after: Duration,
    /// The connection counts as dead after this time without a frame.
    pub dead_after: Duration,
}

impl Default for StreamTiming {
    fn default() -> Self {
        Self {
            open_within: Duration::from_secs(10),
            ping_after: Duration::from_secs(10),
            dead_after: Duration::from_secs(25),
        }
    }
}

/// An event of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// A message of a stream, as text.
    Message(String),
    /// The answer to a request.
    Answered {
        /// Id of the request; `None` if the exchange could not read it.
        id: Option<u64>,
        /// The exchange's error in one line; `None` for success.
        error: Option<String>,
    },
    /// The last event: the connection has ended, for this reason in one line.
    Ended(String),
}

/// More streams than one connection may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} streams on one connection: expected at most 1024; use fewer symbols")]
pub struct TooManyStreams(usize);

/// One connection.
#[derive(Debug)]
pub struct StreamConnection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    timing: StreamTiming,
    /// Requests that wait to be sent.
    unsent: VecDeque<String>,
    next_request_at: Instant,
    next_id: u64,
    streams: usize,
    last_frame_at: Instant,
    /// When the last ping was sent; `None` after a frame arrived.
    pinged_at: Option<Instant>,
    /// Since when the operating system has not taken in everything; `None` if it has.
    unflushed_since: Option<Instant>,
    ended: Option<String>,
}

/// What [`StreamConnection::next`] waited for.
enum Step {
    Frame(Option<Result<Message, Error>>),
    RequestDue,
    PingDue,
    Dead,
}

impl StreamConnection {
    /// Connects to this address, e.g. `wss://fstream.binance.com/market/stream`.
    ///
    /// # Errors
    /// One line on why the connection failed; the address's query is not in it.
    pub async fn open(url: &str, timing: StreamTiming) -> Result<Self, String> {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MOST_UNSENT_BYTES)
            .max_message_size(Some(MOST_BYTES))
            .max_frame_size(Some(MOST_BYTES));
        let connector = Connector::Rustls(tls::config().ok_or("TLS cannot be set up")?);
        let opening = connect_async_tls_with_config(url, Some(config), true, Some(connector));
        let (socket, _) = timeout(timing.open_within, Box::pin(opening))
            .await
            .map_err(|_| {
                format!(
                    "no connection within {} s",
                    timing.open_within.as_secs_f32()
                )
            })?
            .map_err(|error| reason(&error))?;
        let now = Instant::now();
        Ok(Self {
            socket,
            timing,
            unsent: VecDeque::new(),
            next_request_at: now,
            next_id: 1,
            streams: 0,
            last_frame_at: now,
            pinged_at: None,
            unflushed_since: None,
            ended: None,
        })
    }

    /// Requests these streams. The requests are sent by [`Self::next`]. Returns their ids, in the order in which they
    /// are sent.
    ///
    /// # Errors
    /// [`TooManyStreams`], with nothing requested.
    pub fn subscribe(&mut self, streams: &[String]) -> Result<Vec<u64>, TooManyStreams> {
        let all = self.streams + streams.len();
        if all > MOST_STREAMS {
            return Err(TooManyStreams(all));
        }
        self.streams = all;
        Ok(self.request("SUBSCRIBE", streams))
    }

    /// Ends these streams, which must have been subscribed to. Returns the ids of the requests.
    pub fn unsubscribe(&mut self, streams: &[String]) -> Vec<u64> {
        self.streams = self.streams.saturating_sub(streams.len());
        self.request("UNSUBSCRIBE", streams)
    }

    fn request(&mut self, method: &str, streams: &[String]) -> Vec<u64> {
        let mut ids = Vec::new();
        for names in streams.chunks(STREAMS_OF_A_REQUEST) {
            let id = self.next_id;
            self.next_id += 1;
            let request = serde_json::json!({"method": method, "params": names, "id": id});
            self.unsent.push_back(request.to_string());
            ids.push(id);
        }
        ids
    }

    /// The next event; waits while there is none. A connection works only while this is polled. Safe to drop while it
    /// waits: no event is lost.
    pub async fn next(&mut self) -> StreamEvent {
        loop {
            if let Some(reason) = &self.ended {
                return StreamEvent::Ended(reason.clone());
            }
            match self.advance().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(reason) => self.ended = Some(reason),
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<StreamEvent>, String> {
        self.flush().await?;
        match self.step().await {
            Step::Frame(frame) => self.take_frame(frame),
            Step::RequestDue => {
                self.writable().await?;
                // Taken out only now: a caller that drops the future loses no request.
                let request = self.unsent.pop_front().unwrap_or_default();
                self.next_request_at = Instant::now() + BETWEEN_REQUESTS;
                self.send(Message::text(request))
            }
            Step::PingDue => {
                self.writable().await?;
                self.pinged_at = Some(Instant::now());
                self.send(Message::Ping(Bytes::new()))
            }
            Step::Dead => {
                let seconds = self.timing.dead_after.as_secs_f32();
                Err(format!("no frame within {seconds} s"))
            }
        }
    }

    async fn step(&mut self) -> Step {
        let dead_at = self.last_frame_at + self.timing.dead_after;
        let ping_at = self
            .last_frame_at
            .max(self.pinged_at.unwrap_or(self.last_frame_at))
            + self.timing.ping_after;
        select! {
            // Requests are few, and a flood of frames must not hold them up. Frames that have arrived show that the peer
            // lives.
            biased;
            () = sleep_until(self.next_request_at), if !self.unsent.is_empty() => Step::RequestDue,
            frame = self.socket.next() => Step::Frame(frame),
            () = sleep_until(dead_at) => Step::Dead,
            () = sleep_until(ping_at) => Step::PingDue,
        }
    }

    fn take_frame(
        &mut self,
        frame: Option<Result<Message, Error>>,
    ) -> Result<Option<StreamEvent>, String> {
        let message = match frame {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(reason(&error)),
            None => return Err("closed by the exchange without a close frame".to_owned()),
        };
        self.last_frame_at = Instant::now();
        self.pinged_at = None;
        match message {
            Message::Text(text) => Ok(Some(event_of(text.as_str()))),
            // Binance sends none. It is passed on, so that the reader reports it.
            Message::Binary(bytes) => Ok(Some(event_of(&String::from_utf8_lossy(&bytes)))),
            // The protocol layer answers a ping with the next read or write.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
            Message::Close(frame) => Err(closed(frame.as_ref())),
        }
    }

    /// Waits until a message can be taken in.
    async fn writable(&mut self) -> Result<(), String> {
        let ready = poll_fn(|context| self.socket.poll_ready_unpin(context));
        in_time(timeout(SEND_DEADLINE, ready).await)
    }

    fn send(&mut self, message: Message) -> Result<Option<StreamEvent>, String> {
        let sent = self.socket.start_send_unpin(message);
        self.unflushed_since = Some(Instant::now());
        sent.map(|()| None).map_err(|error| reason(&error))
    }

    /// Waits until the operating system has taken in everything.
    async fn flush(&mut self) -> Result<(), String> {
        let Some(since) = self.unflushed_since else {
            return Ok(());
        };
        let flushed = timeout_at(since + SEND_DEADLINE, self.socket.flush()).await;
        in_time(flushed)?;
        self.unflushed_since = None;
        Ok(())
    }
}

fn in_time(done: Result<Result<(), Error>, Elapsed>) -> Result<(), String> {
    if let Ok(done) = done {
        return done.map_err(|error| reason(&error));
    }
    let seconds = SEND_DEADLINE.as_secs();
    Err(format!("nothing could be sent for {seconds} s"))
}

/// The parts of a message that distinguish an answer from an event of a stream.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Value>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    e: Option<&'a RawValue>,
}

fn event_of(text: &str) -> StreamEvent {
    match serde_json::from_str::<Frame<'_>>(text) {
        Ok(frame) if frame.stream.is_none() && frame.e.is_none() => {
            let id = frame
                .id
                .and_then(|id| id.get().trim_matches('"').parse().ok());
            match frame.error {
                Some(error) => StreamEvent::Answered {
                    id,
                    error: Some(one_line(&error.to_string())),
                },
                None if id.is_some() || frame.result.is_some() => {
                    StreamEvent::Answered { id, error: None }
                }
                None => StreamEvent::Message(text.to_owned()),
            }
        }
        _ => StreamEvent::Message(text.to_owned()),
    }
}

fn closed(frame: Option<&CloseFrame>) -> String {
    frame.map_or_else(
        || "closed by the exchange".to_owned(),
        |frame| {
            let code = u16::from(frame.code);
            one_line(&format!(
                "closed by the exchange with {code} {}",
                frame.reason
            ))
        },
    )
}

fn reason(error: &Error) -> String {
    match error {
        Error::Http(response) => format!("handshake answered with status {}", response.status()),
        other => with_causes(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_events_are_distinguished() {
        let answered = |id, error: Option<&str>| StreamEvent::Answered {
            id,
            error: error.map(str::to_owned),
        };
        let refused = Some(r#"{"code":2,"msg":"Invalid request"}"#);
        for (text, event) in [
            (r#"{"result":null,"id":7}"#, answered(Some(7), None)),
            (r#"{"id":"7","result":["a"]}"#, answered(Some(7), None)),
            (
                r#"{"error":{"code":2,"msg":"Invalid request"},"id":7}"#,
                answered(Some(7), refused),
            ),
            (
                r#"{"error":{"code":2,"msg":"Invalid request"},"id":null}"#,
                answered(None, refused),
            ),
        ] {
            assert_eq!(event_of(text), event, "{text}");
        }
        for text in [
            r#"{"stream":"a@kline_1m","data":{"e":"kline","id":7}}"#,
            r#"{"e":"ORDER_TRADE_UPDATE","id":7,"error":1}"#,
            r#"{"new":1}"#,
            "[]",
            "no json",
            "",
        ] {
            assert_eq!(event_of(text), StreamEvent::Message(text.to_owned()));
        }
    }
}
