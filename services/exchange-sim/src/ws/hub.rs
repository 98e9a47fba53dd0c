//! Subscriptions of the public streams, how far each stream has been published, and the disconnection of slow
//! subscribers.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::interval::Interval;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey {
    /// Index of the contract in the list of contracts.
    pub(crate) contract_index: usize,
    /// Kind of the stream.
    pub(crate) kind: StreamKind,
}

/// Kind of a public stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StreamKind {
    /// Candles of this interval.
    Kline(Interval),
    /// Best bid and ask.
    BookTicker,
    /// Mark price and funding, at this interval of exchange time.
    MarkPrice { every_ms: i64 },
}

/// Format of a connection's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamFormat {
    /// The event alone (`/ws`).
    Raw,
    /// The event under the stream's name (`/stream`).
    Combined,
}

/// One event in both formats.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) raw: Utf8Bytes,
    pub(crate) combined: Utf8Bytes,
}

/// A connection as the hub sees it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    peer: SocketAddr,
    format: StreamFormat,
    queue: mpsc::Sender<Utf8Bytes>,
    /// Cancelled if this subscriber is too slow.
    pub(crate) dropped: CancellationToken,
}

impl Subscriber {
    /// A subscriber, and the receiver of its queue of `length` frames.
    pub(crate) fn new(
        peer: SocketAddr,
        form: StreamFormat,
        length: usize,
    ) -> (Arc<Self>, mpsc::Receiver<Utf8Bytes>) {
        let (queue, frames) = mpsc::channel(length);
        let subscriber = Self {
            peer,
            format: form,
            queue,
            dropped: CancellationToken::new(),
        };
        (Arc::new(subscriber), frames)
    }

    /// Format of the frames.
    pub(crate) const fn format(&self) -> StreamFormat {
        self.format
    }

    /// Queues a frame. A full queue ends the connection, because a client that reconnects is better off than one that
    /// misses a candle unnoticed.
    pub(crate) fn enqueue(&self, frame: &Frame) {
        let text = match self.format {
            StreamFormat::Raw => &frame.raw,
            StreamFormat::Combined => &frame.combined,
        };
        if self.dropped.is_cancelled() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(text.clone()) {
            let waiting = self.queue.max_capacity();
            warn!(peer = %self.peer, waiting, "slow subscriber disconnected: its queue is full");
            self.dropped.cancel();
        }
    }
}

#[derive(Debug)]
struct Stream {
    /// Exchange time up to which the stream has been published, UTC ms.
    published_ms: i64,
    subscribers: Vec<Arc<Subscriber>>,
}

/// All streams with at least one subscriber.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    streams: BTreeMap<StreamKey, Stream>,
}

impl Hub {
    /// Adds a subscriber; a new stream is published from `now_ms` on. Adding it twice changes nothing.
    pub(crate) fn join(&mut self, subscriber: &Arc<Subscriber>, key: StreamKey, now_ms: i64) {
        let stream = self.streams.entry(key).or_insert_with(|| Stream {
            published_ms: now_ms,
            subscribers: Vec::new(),
        });
        if !stream
            .subscribers
            .iter()
            .any(|s| Arc::ptr_eq(s, subscriber))
        {
            stream.subscribers.push(Arc::clone(subscriber));
        }
    }

    /// Removes a subscriber from one stream.
    pub(crate) fn leave(&mut self, subscriber: &Subscriber, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.remove(subscriber);
        }
        self.streams.retain(|_, s| !s.subscribers.is_empty());
    }

    /// Removes a subscriber from every stream.
    pub(crate) fn leave_all(&mut self, subscriber: &Subscriber) {
        for stream in self.streams.values_mut() {
            stream.remove(subscriber);
        }
        self.streams.retain(|_, s| !s.subscribers.is_empty());
    }

    /// Number of connections with at least one stream.
    pub(crate) fn subscriber_count(&self) -> usize {
        self.streams
            .values()
            .flat_map(|s| s.subscribers.iter().map(Arc::as_ptr))
            .collect::<HashSet<_>>()
            .len()
    }

    /// All streams with the time up to which each has been published.
    pub(crate) fn published(&self) -> Vec<(StreamKey, i64)> {
        self.streams
            .iter()
            .map(|(k, s)| (*k, s.published_ms))
            .collect()
    }

    /// Publishes the frames of a stream up to `now_ms`.
    pub(crate) fn publish(&mut self, key: StreamKey, frames: &[Frame], now_ms: i64) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.published_ms = now_ms;
            for frame in frames {
                for subscriber in &stream.subscribers {
                    subscriber.enqueue(frame);
                }
            }
        }
    }
}

impl Stream {
    fn remove(&mut self, subscriber: &Subscriber) {
        self.subscribers
            .retain(|s| !std::ptr::eq(s.as_ref(), subscriber));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StreamKey = StreamKey {
        contract_index: 0,
        kind: StreamKind::Kline(Interval::M1),
    };

    fn subscriber(length: usize) -> (Arc<Subscriber>, mpsc::Receiver<Utf8Bytes>) {
        Subscriber::new(([127, 0, 0, 1], 1).into(), StreamFormat::Raw, length)
    }

    fn frame(text: &'static str) -> Frame {
        Frame {
            raw: Utf8Bytes::from_static(text),
            combined: Utf8Bytes::from_static("combined"),
        }
    }

    #[test]
    fn full_queue_drops_only_its_own_subscriber() {
        let mut hub = Hub::default();
        let ((slow, _unread), (fast, mut read)) = (subscriber(1), subscriber(4));
        hub.join(&slow, KEY, 0);
        hub.join(&fast, KEY, 0);
        hub.publish(KEY, &[frame("a"), frame("b")], 1);
        assert!(slow.dropped.is_cancelled() && !fast.dropped.is_cancelled());
        assert_eq!(read.try_recv().unwrap().as_str(), "a");
        assert_eq!(read.try_recv().unwrap().as_str(), "b");
    }

    #[test]
    fn connection_counts_once_and_unsubscribed_streams_are_removed() {
        let mut hub = Hub::default();
        let (one, _frames) = subscriber(1);
        let other = StreamKey {
            kind: StreamKind::Kline(Interval::M30),
            ..KEY
        };
        for key in [KEY, other, KEY] {
            hub.join(&one, key, 5);
        }
        assert_eq!(
            (hub.subscriber_count(), hub.published()),
            (1, vec![(KEY, 5), (other, 5)])
        );
        hub.leave(&one, KEY);
        assert_eq!(hub.subscriber_count(), 1);
        hub.leave_all(&one);
        assert_eq!((hub.subscriber_count(), hub.published().len()), (0, 0));
    }
}
