//! The user stream, on which the exchange reports changed orders and positions. Entry point: [`UserStream::run`].
//! A message is only a hint: the state is always queried over REST, so a lost, doubled or late message does no
//! harm.
//!
//! A stream without events is silent, so silence does not show a fault. The stream is therefore reconnected every
//! half hour, which also prolongs its listen key (valid for an hour at Binance). Books that wait for hints also
//! query without them.

use std::time::Duration;

use exchange::ExchangeError;
use protocol::heartbeat::ComponentState;
use reqwest::Method;
use runtime::backoff::Backoff;
use runtime::components::{ComponentHandle, ProcessStatus};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::client::BinanceExecutionClient;
use super::settings::UserStreamTiming;
use crate::client::{Auth, Call, StreamConnection, StreamEvent, StreamTiming};
use crate::wire::account::ListenKeyAnswer;
use crate::wire::stream::UserEvent;

/// Name of the component in heartbeats.
const COMPONENT: &str = "user-stream";
/// How often the component records an iteration while nothing happens.
const TICK: Duration = Duration::from_secs(10);
/// Connecting and the longest wait before it, with a margin.
const ITERATION_DEADLINE: Duration = Duration::from_mins(3);

/// The task of a client's user stream.
pub(super) struct UserStream<'a> {
    client: &'a BinanceExecutionClient,
    timing: UserStreamTiming,
}

impl<'a> UserStream<'a> {
    /// A user stream that sends the hints of `client`.
    pub(super) fn new(client: &'a BinanceExecutionClient) -> Self {
        Self {
            timing: client.inner.stream_timing,
            client,
        }
    }

    /// Runs until `shutdown` is cancelled, and retries every failure. Without the stream everything is still queried,
    /// only later.
    pub(super) async fn run(&self, process_status: &ProcessStatus, shutdown: &CancellationToken) {
        let component = process_status.component(COMPONENT);
        component.set_deadline(ITERATION_DEADLINE);
        let mut failures = 0;
        loop {
            component.record_iteration();
            let began = Instant::now();
            let life = self.run_connection(&component);
            let Some(ended) = shutdown.run_until_cancelled(life).await else {
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
            component.set_state(ComponentState::Retrying);
            process_status.record_error(COMPONENT, reason);
            let wait = sleep(self.backoff().wait(failures));
            if shutdown.run_until_cancelled(wait).await.is_none() {
                break;
            }
        }
        component.set_state(ComponentState::Stopped);
    }

    /// One connection, from its key to its end: by its age, or by a fault.
    async fn run_connection(&self, component: &ComponentHandle) -> Result<(), String> {
        let key = self.client.listen_key().await;
        let key = key.map_err(|error| error.to_string())?;
        let url = format!("{}/private/stream", self.client.inner.ws_url);
        let mut connection = StreamConnection::open(&url, StreamTiming::default()).await?;
        let subscribed = connection.subscribe(&[key]);
        subscribed.map_err(|error| error.to_string())?;
        let answered = self.subscription_answered(&mut connection);
        if let Ok(answered) = timeout(self.timing.answer_within, answered).await {
            answered?;
        } else {
            let seconds = self.timing.answer_within.as_secs_f32();
            return Err(format!("no answer to the subscription within {seconds} s"));
        }
        component.set_state(ComponentState::Ok);
        // Events before the subscription was in force did not arrive.
        self.client.hint_all();
        self.listen(&mut connection, component).await
    }

    async fn subscription_answered(&self, connection: &mut StreamConnection) -> Result<(), String> {
        loop {
            match connection.next().await {
                StreamEvent::Answered { error: None, .. } => return Ok(()),
                event => self.handle(event)?,
            }
        }
    }

    async fn listen(
        &self,
        connection: &mut StreamConnection,
        component: &ComponentHandle,
    ) -> Result<(), String> {
        let old = sleep_until(Instant::now() + self.timing.rebuild_after);
        tokio::pin!(old);
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                () = &mut old => return Ok(()),
                _ = ticks.tick() => component.record_iteration(),
                event = connection.next() => self.handle(event)?,
            }
        }
    }

    /// Turns an event into hints.
    ///
    /// # Errors
    /// One line on why the connection must be replaced.
    fn handle(&self, event: StreamEvent) -> Result<(), String> {
        match event {
            StreamEvent::Message(text) => match UserEvent::of(&text) {
                UserEvent::Symbols(symbols) => symbols.iter().for_each(|s| self.client.hint(s)),
                UserEvent::Anything => self.client.hint_all(),
                UserEvent::ListenKeyExpired => {
                    return Err("the listen key has expired".to_owned());
                }
            },
            StreamEvent::Answered { error: None, .. } => {}
            StreamEvent::Answered {
                error: Some(error), ..
            } => return Err(format!("the subscription was rejected: {error}")),
            StreamEvent::Ended(reason) => return Err(reason),
        }
        Ok(())
    }

    const fn backoff(&self) -> Backoff {
        Backoff {
            first: self.timing.retry_first,
            cap: self.timing.retry_cap,
        }
    }
}

impl BinanceExecutionClient {
    /// A key for the user stream: the one that exists, prolonged, or a new one.
    async fn listen_key(&self) -> Result<String, ExchangeError> {
        let call = Call::new("listen key", Method::POST, "/fapi/v1/listenKey").auth(Auth::ApiKey);
        let answer: ListenKeyAnswer = self.inner.http.call(call).await?;
        Ok(answer.listen_key)
    }
}
