//! One WebSocket connection: its loop over requests, frames, pings and faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info};

use super::ConnectionContext;
use super::event::find_stream;
use super::frame_key::read_frame_key;
use super::hub::{StreamFormat, Subscriber};
use super::request::{self, Method, Request};
use crate::trading_service::faults::distortion::distort;
use crate::trading_service::faults::{ForcedClose, FrameFault};

/// Time limit of sending one frame.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Time limit of the close frame at shutdown.
const CLOSE_DEADLINE: Duration = Duration::from_millis(200);

/// Input of a connection.
enum ConnectionInput {
    Shutdown,
    TooSlow,
    PingDue,
    FrameQueued(Utf8Bytes),
    ForcedClose(ForcedClose),
    ClientMessage(Message),
    ClientDisconnected,
}

/// Reason for which a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseReason {
    Shutdown,
    TooSlow,
    NoPong,
    ClientDisconnected,
    /// A fault closes it, with a code or without a close frame.
    Fault(Option<u16>),
}

pub(super) struct Connection {
    context: ConnectionContext,
    subscriber: Arc<Subscriber>,
    frames: mpsc::Receiver<Utf8Bytes>,
    forced_closes: watch::Receiver<ForcedClose>,
    /// Whether it has subscribed to a user stream.
    is_user: bool,
    /// A frame that a fault swaps with the next one.
    delayed_frame: Option<Utf8Bytes>,
    sink: SplitSink<WebSocket, Message>,
    source: SplitStream<WebSocket>,
    /// Stream names as the client sent them, for `LIST_SUBSCRIPTIONS`.
    stream_names: Vec<String>,
    ping_at: Instant,
    last_pong: Instant,
}

impl Connection {
    /// Serves a socket until it ends, with the streams of its URL.
    pub(super) async fn run(
        socket: WebSocket,
        peer: SocketAddr,
        context: ConnectionContext,
        form: StreamFormat,
        streams: Vec<String>,
    ) {
        let limits = *context.exchange.limits();
        let (subscriber, frames) = Subscriber::new(peer, form, limits.max_queued_frames);
        let (sink, source) = socket.split();
        let closings = context.trading_service.faults.forced_closes();
        let mut connection = Self {
            context,
            forced_closes: closings,
            is_user: false,
            delayed_frame: None,
            subscriber,
            frames,
            sink,
            source,
            stream_names: Vec::new(),
            ping_at: Instant::now() + limits.ping_interval,
            last_pong: Instant::now(),
        };
        connection.subscribe(streams);
        debug!(%peer, streams = ?connection.stream_names, "websocket opened");
        let end = loop {
            let happened = connection.next_input().await;
            if let Err(end) = connection.handle_input(happened).await {
                break end;
            }
        };
        connection
            .context
            .exchange
            .unsubscribe_all(&connection.subscriber);
        connection
            .context
            .trading_service
            .user_streams
            .leave(&connection.subscriber, None);
        connection.close(end).await;
        info!(%peer, ?end, "websocket closed");
    }

    async fn next_input(&mut self) -> ConnectionInput {
        tokio::select! {
            () = self.context.shutdown.cancelled() => ConnectionInput::Shutdown,
            () = self.subscriber.dropped.cancelled() => ConnectionInput::TooSlow,
            () = sleep_until(self.ping_at) => ConnectionInput::PingDue,
            Ok(()) = self.forced_closes.changed() => ConnectionInput::ForcedClose(*self.forced_closes.borrow_and_update()),
            Some(frame) = self.frames.recv() => ConnectionInput::FrameQueued(frame),
            said = self.source.next() => match said {
                Some(Ok(message)) => ConnectionInput::ClientMessage(message),
                Some(Err(_)) | None => ConnectionInput::ClientDisconnected,
            },
        }
    }

    async fn handle_input(&mut self, input: ConnectionInput) -> Result<(), CloseReason> {
        match input {
            ConnectionInput::Shutdown => Err(CloseReason::Shutdown),
            ConnectionInput::TooSlow => Err(CloseReason::TooSlow),
            ConnectionInput::ClientDisconnected
            | ConnectionInput::ClientMessage(Message::Close(_)) => {
                Err(CloseReason::ClientDisconnected)
            }
            ConnectionInput::PingDue => self.ping().await,
            ConnectionInput::FrameQueued(frame) => self.send_frame(frame).await,
            ConnectionInput::ForcedClose((_, code, to)) if to.includes(self.is_user) => {
                Err(CloseReason::Fault(code))
            }
            ConnectionInput::ClientMessage(Message::Text(text)) => {
                let answer = self.handle_request(&text);
                self.send(Message::Text(answer.into())).await
            }
            ConnectionInput::ClientMessage(Message::Pong(_)) => {
                self.last_pong = Instant::now();
                Ok(())
            }
            // The protocol layer answers pings; binary messages and faults of other connections are ignored.
            ConnectionInput::ClientMessage(Message::Ping(_) | Message::Binary(_))
            | ConnectionInput::ForcedClose(_) => Ok(()),
        }
    }

    /// Sends a frame, or applies a fault to it.
    async fn send_frame(&mut self, frame: Utf8Bytes) -> Result<(), CloseReason> {
        let (frame, fault) = self.apply_faults(frame);
        match fault {
            Some(FrameFault::Drop) => return Ok(()),
            Some(FrameFault::Reorder) if self.delayed_frame.is_none() => {
                self.delayed_frame = Some(frame);
                return Ok(());
            }
            Some(FrameFault::Duplicate) => self.send(Message::Text(frame.clone())).await?,
            None | Some(FrameFault::Reorder) => {}
        }
        self.send(Message::Text(frame)).await?;
        match self.delayed_frame.take() {
            Some(earlier) => self.send(Message::Text(earlier)).await,
            None => Ok(()),
        }
    }

    /// The frame after armed faults of its content, and what happens to it.
    fn apply_faults(&self, frame: Utf8Bytes) -> (Utf8Bytes, Option<FrameFault>) {
        let faults = &self.context.trading_service.faults;
        if faults.is_empty() {
            return (frame, None);
        }
        let Ok(mut document) = serde_json::from_str::<Value>(&frame) else {
            return (frame, None);
        };
        let is_combined = self.subscriber.format() == StreamFormat::Combined;
        let event = if is_combined {
            &mut document["data"]
        } else {
            &mut document
        };
        let key = read_frame_key(event, self.is_user);
        let fault = faults.take_frame_fault(&key);
        let contents = faults.take_frame_content(&key);
        if contents.is_empty() {
            return (frame, fault);
        }
        for content in &contents {
            distort(content, event);
        }
        (document.to_string().into(), fault)
    }

    async fn ping(&mut self) -> Result<(), CloseReason> {
        let limits = *self.context.exchange.limits();
        if self.last_pong.elapsed() > limits.pong_timeout {
            return Err(CloseReason::NoPong);
        }
        self.ping_at = Instant::now() + limits.ping_interval;
        let stamp = self.context.exchange.now_ms().to_string();
        self.send(Message::Ping(Bytes::from(stamp))).await
    }

    /// Sends a frame, unless the subscriber is too slow or the process shuts down.
    async fn send(&mut self, message: Message) -> Result<(), CloseReason> {
        tokio::select! {
            sent = timeout(SEND_DEADLINE, self.sink.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(CloseReason::ClientDisconnected),
                Err(_) => Err(CloseReason::TooSlow),
            },
            () = self.subscriber.dropped.cancelled() => Err(CloseReason::TooSlow),
            () = self.context.shutdown.cancelled() => Err(CloseReason::Shutdown),
        }
    }

    fn handle_request(&mut self, text: &str) -> String {
        let Request {
            method,
            streams,
            id,
        } = match request::parse(text) {
            Ok(request) => request,
            Err(refusal) => return refusal,
        };
        match method {
            Method::Subscribe => self.subscribe(streams),
            Method::Unsubscribe => self.unsubscribe(&streams),
            Method::ListSubscriptions => {
                return request::success_response(&json!(self.stream_names), &id);
            }
        }
        request::success_response(&Value::Null, &id)
    }

    fn subscribe(&mut self, streams: Vec<String>) {
        for name in streams {
            if self.stream_names.contains(&name) {
                continue;
            }
            if let Some(key) = find_stream(&self.context.exchange, &name) {
                self.context.exchange.subscribe(&self.subscriber, key);
            } else if self
                .context
                .trading_service
                .account_of_listen_key(&name)
                .is_some()
            {
                self.is_user = true;
                self.context
                    .trading_service
                    .user_streams
                    .join(&self.subscriber, &name);
            } else {
                debug!(%name, "subscribed to a stream without data");
            }
            self.stream_names.push(name);
        }
    }

    fn unsubscribe(&mut self, streams: &[String]) {
        self.stream_names.retain(|name| !streams.contains(name));
        for name in streams {
            if let Some(key) = find_stream(&self.context.exchange, name) {
                self.context.exchange.unsubscribe(&self.subscriber, key);
            } else {
                let users = &self.context.trading_service.user_streams;
                users.leave(&self.subscriber, Some(name));
            }
        }
    }

    /// Sends a close frame, unless the peer is gone or does not read.
    async fn close(&mut self, end: CloseReason) {
        let code = match end {
            CloseReason::Shutdown => close_code::AWAY,
            CloseReason::ClientDisconnected => close_code::NORMAL,
            CloseReason::Fault(Some(code)) => code,
            CloseReason::TooSlow | CloseReason::NoPong | CloseReason::Fault(None) => return,
        };
        let close_frame = Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(""),
        }));
        let sent = timeout(CLOSE_DEADLINE, self.sink.send(close_frame)).await;
        if !matches!(sent, Ok(Ok(()))) {
            debug!(?end, "close frame not sent: the peer does not read");
        }
    }
}
