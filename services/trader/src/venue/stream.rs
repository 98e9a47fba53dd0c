//! The user stream, on which the exchange reports changed orders and positions. Entry point: [`UserStream::run`].
//! A message is only a hint: the state is always queried over REST, so a lost, doubled or late message does no
//! harm.
//!
//! A stream without events is silent, so silence does not show a fault. The stream is therefore reconnected every
//! half hour, which also prolongs its listen key (valid for an hour at Binance). Books that wait for hints also
//! query without them.

use std::sync::Arc;
use std::time::Duration;

use binance_sdk::derivatives_trading_usds_futures::rest_api::RestApi;
use protocol::heartbeat::ComponentState;
use runtime::components::{ComponentHandle, ProcessStatus};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::BinanceExecutionClient;
use super::call::Need;
use super::link::{Link, News};
use super::read::must;
use runtime::backoff::Backoff;

use crate::market::MarketError;

/// Name of the component in heartbeats.
const PART: &str = "user-stream";
/// How often the component records an iteration while nothing happens.
const TURN: Duration = Duration::from_secs(10);
/// Connecting and the longest wait before it, with a margin.
const TURNS_WITHIN: Duration = Duration::from_mins(3);

/// Deadlines of the user stream, in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTiming {
    /// A connection is replaced after this time.
    pub rebuild_after: Duration,
    /// A subscription is answered within this time.
    pub answer_within: Duration,
    /// Wait after the first failure.
    pub retry_first: Duration,
    /// Longest wait between attempts; a stream that lived longer is no failed attempt.
    pub retry_cap: Duration,
}

impl Default for StreamTiming {
    fn default() -> Self {
        Self {
            rebuild_after: Duration::from_mins(30),
            answer_within: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_cap: Duration::from_mins(1),
        }
    }
}

/// The task of a venue's user stream.
#[derive(Clone)]
pub struct UserStream {
    venue: BinanceExecutionClient,
    timing: StreamTiming,
}

impl UserStream {
    /// A user stream that feeds the hints of `venue`, with default deadlines.
    pub fn new(venue: BinanceExecutionClient) -> Self {
        Self::with_timing(venue, StreamTiming::default())
    }

    /// A user stream with other deadlines than the default ones.
    pub const fn with_timing(venue: BinanceExecutionClient, timing: StreamTiming) -> Self {
        Self { venue, timing }
    }

    /// Runs until `stop` is cancelled, and retries every failure. Without the stream everything is still queried,
    /// only later.
    pub async fn run(self, progress: Arc<ProcessStatus>, stop: CancellationToken) {
        let part = progress.component(PART);
        part.set_deadline(TURNS_WITHIN);
        let mut failures = 0;
        loop {
            part.record_iteration();
            let began = Instant::now();
            let life = self.live(&part);
            let Some(ended) = stop.run_until_cancelled(life).await else {
                break;
            };
            let Err(reason) = ended else {
                failures = 0;
                continue;
            };
            failures = if began.elapsed() > self.timing.retry_cap {
                1
            } else {
                failures + 1
            };
            tracing::warn!(error = reason, failures, "user stream lost");
            part.set_state(ComponentState::Retrying);
            progress.record_error(PART, reason);
            let wait = sleep(self.backoff().wait(failures));
            if stop.run_until_cancelled(wait).await.is_none() {
                break;
            }
        }
        part.set_state(ComponentState::Stopped);
    }

    /// One connection, from its key to its end: by its age, or by a fault.
    async fn live(&self, part: &ComponentHandle) -> Result<(), String> {
        let key = self.venue.listen_key().await;
        let key = key.map_err(|error| error.to_string())?;
        let mut link = Link::open(&self.venue, key).await?;
        match timeout(self.timing.answer_within, link.next()).await {
            Ok(News::Subscribed) => {}
            Ok(News::Ended(reason)) => return Err(reason),
            Err(_) => {
                let seconds = self.timing.answer_within.as_secs_f32();
                return Err(format!("no answer to the subscription within {seconds} s"));
            }
        }
        part.set_state(ComponentState::Ok);
        // Events before the subscription was in force did not arrive.
        self.venue.hint_all();
        self.listen(&mut link, part).await
    }

    async fn listen(&self, link: &mut Link, part: &ComponentHandle) -> Result<(), String> {
        let old = sleep_until(Instant::now() + self.timing.rebuild_after);
        tokio::pin!(old);
        let mut turns = interval(TURN);
        loop {
            tokio::select! {
                () = &mut old => return Ok(()),
                _ = turns.tick() => part.record_iteration(),
                news = link.next() => match news {
                    News::Subscribed => {}
                    News::Ended(reason) => return Err(reason),
                }
            }
        }
    }

    const fn backoff(&self) -> Backoff {
        Backoff {
            first: self.timing.retry_first,
            cap: self.timing.retry_cap,
        }
    }
}

impl BinanceExecutionClient {
    /// A key for the user stream: the one there is, prolonged, or a new one.
    async fn listen_key(&self) -> Result<String, MarketError> {
        const WHAT: &str = "listen key";
        let asked = self.ask(WHAT, Need::Ordinary, RestApi::start_user_data_stream);
        must(WHAT, "listenKey", asked.await?.listen_key)
    }
}
