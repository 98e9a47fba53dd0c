//! Finds a second process under one instance name, also in another container. The older process continues; the younger
//! one ends with exit 71, at its start before it acquires anything.
//!
//! Each process announces itself on the subject of its name and answers the announcements of others. No stored message
//! and no wall clock decides: a process that has ended answers nothing, so a restart is never taken for a second process.

use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::exit_code::ExitCode;
use protocol::presence::Presence;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, DEADLINE};
use crate::exit_error::ExitError;
use crate::identity::Identity;

/// Time in which a process that runs answers at the start of another.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// Shortest time between two answers: a sender that announces itself all the time does not make this one send all the time.
const ANSWER_INTERVAL: Duration = Duration::from_millis(50);
/// Difference of two ages below which the boot ids decide, in milliseconds: a message takes time.
const SAME_AGE_MS: u64 = 1_000;

/// The presence of this process under its name.
pub struct PresenceWatch {
    bus: Bus,
    subject: String,
    identity: Identity,
    started_at: Instant,
    messages: Subscriber,
    answered_at: Option<Instant>,
}

impl PresenceWatch {
    /// Subscribes and announces this process, which started at `started_at`.
    ///
    /// # Errors
    /// One line, if the bus does not answer.
    pub async fn start(
        bus: &Bus,
        subject: String,
        identity: &Identity,
        started_at: Instant,
    ) -> Result<Self, String> {
        let subscribe = async {
            let messages = bus.client().subscribe(subject.clone()).await;
            let messages = messages.map_err(|error| error.to_string())?;
            // The server must know the subscription before another process answers.
            let flushed = bus.client().flush().await;
            flushed.map_err(|error| error.to_string())?;
            Ok::<_, String>(messages)
        };
        let messages = match timeout(DEADLINE, subscribe).await {
            Ok(messages) => messages?,
            Err(_) => return Err(format!("no answer within {DEADLINE:?}")),
        };
        let watch = Self {
            bus: bus.clone(),
            subject,
            identity: identity.clone(),
            started_at,
            messages,
            answered_at: None,
        };
        watch.publish(false).await;
        Ok(watch)
    }

    /// Waits until an older process would have answered.
    ///
    /// # Errors
    /// Exit 71 if one did.
    pub async fn ensure_only(&mut self) -> Result<(), ExitError> {
        timeout(ANSWER_TIME, self.find_older())
            .await
            .map_or(Ok(()), Err)
    }

    /// Answers other processes until `shutdown`, and announces this process after each connection to the bus.
    ///
    /// # Errors
    /// Exit 71 if an older process runs under this name.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ExitError> {
        let mut connects = self.bus.connects();
        connects.mark_unchanged();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                found = self.find_older() => return Err(found),
                Ok(()) = connects.changed() => self.publish(false).await,
            }
        }
    }

    /// Receives messages until one of an older process arrives. Safe to cancel.
    async fn find_older(&mut self) -> ExitError {
        loop {
            let Some(message) = self.messages.next().await else {
                // The client ends: so does the process.
                std::future::pending::<()>().await;
                continue;
            };
            let Ok(other) = serde_json::from_slice::<Presence>(&message.payload) else {
                tracing::warn!(subject = self.subject, "invalid presence");
                continue;
            };
            if other.boot == self.identity.boot {
                continue;
            }
            if self.is_older(&other) {
                return self.duplicate_error();
            }
            tracing::warn!(instance = %self.identity.instance, boot = %other.boot,
                "another process started under this name");
            if !other.is_answer {
                self.answer().await;
            }
        }
    }

    /// Whether the other process started before this one. Of two that start at once, the boot ids decide.
    fn is_older(&self, other: &Presence) -> bool {
        let own = self.uptime_ms();
        if own.abs_diff(other.uptime_ms) < SAME_AGE_MS {
            return other.boot < self.identity.boot;
        }
        other.uptime_ms > own
    }

    async fn answer(&mut self) {
        let last = self.answered_at;
        if let Some(last) = last.filter(|last| last.elapsed() < ANSWER_INTERVAL) {
            sleep(ANSWER_INTERVAL.saturating_sub(last.elapsed())).await;
        }
        self.answered_at = Some(Instant::now());
        self.publish(true).await;
    }

    async fn publish(&self, is_answer: bool) {
        let presence = Presence {
            v: VERSION,
            boot: self.identity.boot.clone(),
            uptime_ms: self.uptime_ms(),
            is_answer,
        };
        let Ok(payload) = serde_json::to_vec(&presence) else {
            return;
        };
        let published = async {
            let client = self.bus.client();
            let published = client.publish(self.subject.clone(), payload.into()).await;
            published.is_ok() && client.flush().await.is_ok()
        };
        if !timeout(DEADLINE, published).await.unwrap_or_default() {
            tracing::warn!(subject = self.subject, "presence not sent");
        }
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn duplicate_error(&self) -> ExitError {
        ExitError::new(
            ExitCode::DuplicateInstance,
            format!(
                "INSTANCE=\"{}\": expected a name that no other process has; an older process runs under it",
                self.identity.instance
            ),
        )
    }
}
