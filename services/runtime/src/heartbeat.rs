//! Publishes heartbeats from a task of its own, so that a hung loop shows as a component without iterations and not as
//! missing heartbeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::VERSION;
use protocol::heartbeat::{Heartbeat, ProcessPhase};
use protocol::ids::ProcessRole;
use protocol::subject::Subject;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::clock;
use crate::components::ProcessStatus;
use crate::identity::Identity;

const PUBLISH_DEADLINE: Duration = Duration::from_secs(2);

/// Adds what only the service knows: candle age, books.
pub type HeartbeatExtension = Arc<dyn Fn(&mut Heartbeat) + Send + Sync>;

/// Publisher of the heartbeats of one process. A clone continues the numbering, so that a restarted task can use one.
#[derive(Clone)]
pub struct HeartbeatPublisher {
    bus: Bus,
    subject: String,
    identity: Identity,
    status: Arc<ProcessStatus>,
    interval: Duration,
    seq: Arc<AtomicU64>,
    extension: HeartbeatExtension,
}

impl HeartbeatPublisher {
    /// Publisher that publishes every `interval` once [`run`](Self::run) is called.
    pub fn new(
        bus: Bus,
        role: ProcessRole,
        identity: Identity,
        status: Arc<ProcessStatus>,
        interval: Duration,
        extension: HeartbeatExtension,
    ) -> Self {
        let subject = Subject::Heartbeat(identity.process(role));
        Self {
            bus,
            subject: subject.to_string(),
            identity,
            status,
            interval,
            seq: Arc::default(),
            extension,
        }
    }

    /// Publishes until `shutdown`, then once more with phase `stopped`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
                // Published at once: the watchdog waits for the first heartbeat of a running process.
                () = self.status.phase_changed() => {}
            }
            self.publish(self.status.phase()).await;
        }
        self.publish(ProcessPhase::Stopped).await;
        // The last heartbeat is in the client's buffer, and the process ends before the client flushes it.
        let _ = timeout(PUBLISH_DEADLINE, self.bus.client().flush()).await;
    }

    async fn publish(&self, phase: ProcessPhase) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        // Built also without a connection: each call updates the errors of the last hour.
        let heartbeat = self.build_heartbeat(phase, seq);
        if !self.bus.is_connected() {
            // The client would keep it and deliver it late: an old heartbeat is worse than none.
            return;
        }
        let payload = match serde_json::to_vec(&heartbeat) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!(%error, "heartbeat not serialized");
                return;
            }
        };
        let published = self
            .bus
            .client()
            .publish(self.subject.clone(), payload.into());
        // Not retried: the next heartbeat is due soon. A full buffer means that the bus is unavailable.
        match timeout(PUBLISH_DEADLINE, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "heartbeat not sent"),
            Err(_) => tracing::warn!("heartbeat not sent: bus does not accept messages"),
        }
    }

    fn build_heartbeat(&self, phase: ProcessPhase, seq: u64) -> Heartbeat {
        let condition = self.status.health_grade();
        let mut heartbeat = Heartbeat {
            v: VERSION,
            boot: self.identity.boot.clone(),
            seq,
            at: clock::now(),
            uptime_ms: millis(self.status.uptime()),
            interval_ms: millis(self.interval),
            phase,
            health: Some(condition.health),
            health_reason: condition.reason,
            components: self.status.components(),
            candle_age_ms: None,
            entries_decided: self.status.entries_decided(),
            errors: self.status.errors(),
            errors_last_hour: condition.errors_last_hour,
            last_error: self.status.last_error(),
            lifetime: None,
            account: None,
            latch_id: None,
            books: Vec::new(),
            blindness: None,
        };
        (self.extension)(&mut heartbeat);
        heartbeat
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
