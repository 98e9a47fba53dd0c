//! One WebSocket connection from upgrade to end: waits for what comes next, then acts on it.
//! Not here: what requests mean on the wire (`request.rs`) and who gets which frame (`hub.rs`).

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

use super::Floor;
use super::event::find_stream;
use super::hub::{Form, Subscriber};
use super::request::{self, Method, Request};
use crate::desk::faults::{Closing, FrameFate, meant};

/// A single frame must leave within this wall time.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Time for a goodbye when the process ends.
const CLOSE_DEADLINE: Duration = Duration::from_millis(200);

/// What a connection waits for.
enum Happened {
    ProcessEnds,
    TooSlow,
    PingDue,
    FrameQueued(Utf8Bytes),
    Closing(Closing),
    ClientSaid(Message),
    ClientLeft,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    ProcessEnds,
    TooSlow,
    NoPong,
    ClientLeft,
    /// A fault closes it, with a code or by a cut.
    Fault(Option<u16>),
}

pub(super) struct Connection {
    floor: Floor,
    subscriber: Arc<Subscriber>,
    frames: mpsc::Receiver<Utf8Bytes>,
    closings: watch::Receiver<Closing>,
    /// Whether it hears a user stream.
    user: bool,
    /// A frame that waits for the one after it.
    held_back: Option<Utf8Bytes>,
    sink: SplitSink<WebSocket, Message>,
    source: SplitStream<WebSocket>,
    /// Names as the client gave them, for `LIST_SUBSCRIPTIONS`.
    names: Vec<String>,
    ping_at: Instant,
    last_pong: Instant,
}

impl Connection {
    /// Serves `socket` until it ends; `streams` are those of its URL.
    pub(super) async fn run(
        socket: WebSocket,
        peer: SocketAddr,
        floor: Floor,
        form: Form,
        streams: Vec<String>,
    ) {
        let limits = *floor.exchange.limits();
        let (subscriber, frames) = Subscriber::new(peer, form, limits.queue);
        let (sink, source) = socket.split();
        let closings = floor.desk.faults.closings();
        let mut connection = Self {
            floor,
            closings,
            user: false,
            held_back: None,
            subscriber,
            frames,
            sink,
            source,
            names: Vec::new(),
            ping_at: Instant::now() + limits.ping_every,
            last_pong: Instant::now(),
        };
        connection.subscribe(streams);
        debug!(%peer, streams = ?connection.names, "websocket opened");
        let end = loop {
            let happened = connection.wait().await;
            if let Err(end) = connection.act(happened).await {
                break end;
            }
        };
        connection.floor.exchange.forget(&connection.subscriber);
        connection
            .floor
            .desk
            .users
            .leave(&connection.subscriber, None);
        connection.close(end).await;
        info!(%peer, ?end, "websocket closed");
    }

    async fn wait(&mut self) -> Happened {
        tokio::select! {
            () = self.floor.shutdown.cancelled() => Happened::ProcessEnds,
            () = self.subscriber.dropped.cancelled() => Happened::TooSlow,
            () = sleep_until(self.ping_at) => Happened::PingDue,
            Ok(()) = self.closings.changed() => Happened::Closing(*self.closings.borrow_and_update()),
            Some(frame) = self.frames.recv() => Happened::FrameQueued(frame),
            said = self.source.next() => match said {
                Some(Ok(message)) => Happened::ClientSaid(message),
                Some(Err(_)) | None => Happened::ClientLeft,
            },
        }
    }

    async fn act(&mut self, happened: Happened) -> Result<(), End> {
        match happened {
            Happened::ProcessEnds => Err(End::ProcessEnds),
            Happened::TooSlow => Err(End::TooSlow),
            Happened::ClientLeft | Happened::ClientSaid(Message::Close(_)) => Err(End::ClientLeft),
            Happened::PingDue => self.ping().await,
            Happened::FrameQueued(frame) => self.pass_on(frame).await,
            Happened::Closing((_, code, to)) if meant(to, self.user) => Err(End::Fault(code)),
            Happened::ClientSaid(Message::Text(text)) => {
                let answer = self.answer(&text);
                self.send(Message::Text(answer.into())).await
            }
            Happened::ClientSaid(Message::Pong(_)) => {
                self.last_pong = Instant::now();
                Ok(())
            }
            // The protocol layer has answered a ping already; binary messages mean nothing here, nor does
            // a fault of other connections.
            Happened::ClientSaid(Message::Ping(_) | Message::Binary(_)) | Happened::Closing(_) => {
                Ok(())
            }
        }
    }

    /// Sends a frame, unless a fault has something else in mind for it.
    async fn pass_on(&mut self, frame: Utf8Bytes) -> Result<(), End> {
        match self.floor.desk.faults.frame(self.user) {
            FrameFate::Dropped => return Ok(()),
            FrameFate::AfterTheNext if self.held_back.is_none() => {
                self.held_back = Some(frame);
                return Ok(());
            }
            FrameFate::Twice => self.send(Message::Text(frame.clone())).await?,
            FrameFate::Sent | FrameFate::AfterTheNext => {}
        }
        self.send(Message::Text(frame)).await?;
        match self.held_back.take() {
            Some(earlier) => self.send(Message::Text(earlier)).await,
            None => Ok(()),
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        let limits = *self.floor.exchange.limits();
        if self.last_pong.elapsed() > limits.pong_within {
            return Err(End::NoPong);
        }
        self.ping_at = Instant::now() + limits.ping_every;
        let stamp = self.floor.exchange.now_ms().to_string();
        self.send(Message::Ping(Bytes::from(stamp))).await
    }

    /// Sends, unless this subscriber is found too slow or the process ends meanwhile.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            sent = timeout(SEND_DEADLINE, self.sink.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::ClientLeft),
                Err(_) => Err(End::TooSlow),
            },
            () = self.subscriber.dropped.cancelled() => Err(End::TooSlow),
            () = self.floor.shutdown.cancelled() => Err(End::ProcessEnds),
        }
    }

    fn answer(&mut self, text: &str) -> String {
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
            Method::ListSubscriptions => return request::done(&json!(self.names), &id),
        }
        request::done(&Value::Null, &id)
    }

    fn subscribe(&mut self, streams: Vec<String>) {
        for name in streams {
            if self.names.contains(&name) {
                continue;
            }
            if let Some(key) = find_stream(&self.floor.exchange, &name) {
                self.floor.exchange.subscribe(&self.subscriber, key);
            } else if self.floor.desk.listener(&name).is_some() {
                self.user = true;
                self.floor.desk.users.join(&self.subscriber, &name);
            } else {
                debug!(%name, "subscribed to a stream that nothing is behind");
            }
            self.names.push(name);
        }
    }

    fn unsubscribe(&mut self, streams: &[String]) {
        self.names.retain(|name| !streams.contains(name));
        for name in streams {
            if let Some(key) = find_stream(&self.floor.exchange, name) {
                self.floor.exchange.unsubscribe(&self.subscriber, key);
            } else {
                let users = &self.floor.desk.users;
                users.leave(&self.subscriber, Some(name));
            }
        }
    }

    /// Says goodbye where someone may still listen; a peer that is gone or stuck gets none.
    async fn close(&mut self, end: End) {
        let code = match end {
            End::ProcessEnds => close_code::AWAY,
            End::ClientLeft => close_code::NORMAL,
            End::Fault(Some(code)) => code,
            End::TooSlow | End::NoPong | End::Fault(None) => return,
        };
        let goodbye = Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(""),
        }));
        let sent = timeout(CLOSE_DEADLINE, self.sink.send(goodbye)).await;
        if !matches!(sent, Ok(Ok(()))) {
            debug!(?end, "no goodbye: the peer does not listen any more");
        }
    }
}
