//! The dead man's switch: a GET at an interval while everything works, so that its absence raises an alarm outside.
//! [`reason_to_withhold_ping`] decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use notifier_core::dead_man_switch::{LivenessSignals, reason_to_withhold_ping};
use reqwest::Client;
use runtime::bus::Bus;
use runtime::clock;
use runtime::components::ProcessStatus;
use runtime::process::ExitError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::DeadManConfig;
use crate::delivery_status::{COMPONENT, DeliveryStatus};
use crate::secret_url::build_client;

/// Time between two checks of the signals.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Client of the dead man's switch.
#[derive(Debug, Clone)]
pub struct DeadManSwitch {
    client: Client,
    config: DeadManConfig,
}

/// Sources of the signals.
pub struct SignalSources {
    /// Connection to the bus.
    pub bus: Bus,
    /// State of the dispatcher.
    pub process_status: Arc<ProcessStatus>,
    /// Newest result of deliveries, by the dispatcher.
    pub delivery: watch::Receiver<DeliveryStatus>,
}

impl DeadManSwitch {
    /// Makes a client that is not connected yet.
    ///
    /// # Errors
    /// Exit 70 if TLS cannot be initialized.
    pub fn new(config: DeadManConfig) -> Result<Self, ExitError> {
        Ok(Self {
            client: build_client()?,
            config,
        })
    }

    /// Sends one ping. A ping that fails is not repeated before the next interval.
    async fn ping(&self) {
        let request = self.client.get(self.config.url.expose());
        match self.config.url.send(request).await {
            Ok(status) if status.is_success() => tracing::debug!("dead man's switch: ping sent"),
            Ok(status) => {
                tracing::warn!(status = status.as_u16(), "dead man's switch: ping rejected");
            }
            Err(error) => tracing::warn!(error = error.error, "dead man's switch: ping failed"),
        }
    }
}

/// Pings while every signal is good, until `shutdown`.
pub async fn run_switch(
    sources: SignalSources,
    switch: DeadManSwitch,
    shutdown: CancellationToken,
) {
    let pings = async {
        let mut last_ping: Option<Instant> = None;
        let mut withheld = None;
        loop {
            let reason = reason_to_withhold_ping(&read_signals(&sources));
            if reason != withheld {
                if let Some(reason) = reason {
                    tracing::warn!(reason, "dead man's switch: pings stopped");
                } else {
                    tracing::info!("dead man's switch: pings resumed");
                }
                withheld = reason;
            }
            let is_due = last_ping.is_none_or(|last| last.elapsed() >= switch.config.interval);
            if withheld.is_none() && is_due {
                last_ping = Some(Instant::now());
                switch.ping().await;
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    };
    shutdown.run_until_cancelled(pings).await;
}

fn read_signals(sources: &SignalSources) -> LivenessSignals {
    let delivery = *sources.delivery.borrow();
    let now = clock::now();
    let idle = sources
        .process_status
        .component(COMPONENT)
        .since_last_iteration();
    LivenessSignals {
        is_bus_connected: sources.bus.is_connected(),
        is_watchdog_alive: delivery.is_watchdog_alive,
        oldest_critical_ms: delivery
            .oldest_critical_at
            .map(|since| now.millis_since(since)),
        last_delivery_succeeded: delivery.last_delivery_succeeded,
        dispatcher_idle_ms: idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
    }
}
