//! The dead man's switch: a GET every now and then while all is well, so that somebody outside notices
//! when it stops. What is well is not decided here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use notifier_core::dead_man_switch::{LivenessSignals, reason_to_withhold_ping};
use reqwest::Client;
use runtime::clock;
use runtime::process::ExitError;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::{COMPONENT, DispatcherDeps};
use crate::secret_url::{SecretUrl, build_client};

/// How often it is looked whether all is well.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Where the signs of life go, and how often.
#[derive(Debug, Clone)]
pub struct DeadManSwitch {
    client: Client,
    url: SecretUrl,
    interval: Duration,
}

impl DeadManSwitch {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Exit 70 if there is no TLS.
    pub fn new(address: SecretUrl, every: Duration) -> Result<Self, ExitError> {
        Ok(Self {
            client: build_client()?,
            url: address,
            interval: every,
        })
    }

    /// One sign of life. One that does not arrive is followed by the next.
    async fn ping(&self) {
        let request = self.client.get(self.url.expose());
        match self.url.send(request).await {
            Ok(status) if status.is_success() => tracing::debug!("dead man's switch held"),
            Ok(status) => {
                tracing::warn!(status = status.as_u16(), "dead man's switch not held");
            }
            Err(error) => tracing::warn!(why = error.error, "dead man's switch not held"),
        }
    }
}

/// Holds the switch while all is well, until `stop`.
pub async fn run_switch(
    deps: Arc<DispatcherDeps>,
    switch: DeadManSwitch,
    shutdown: CancellationToken,
) {
    let holding = async {
        let mut held: Option<Instant> = None;
        let mut ill = None;
        loop {
            let found = reason_to_withhold_ping(&read_signals(&deps));
            if found != ill {
                if let Some(why) = found {
                    tracing::warn!(why, "dead man's switch let go");
                } else {
                    tracing::info!("dead man's switch held again");
                }
                ill = found;
            }
            let is_due = held.is_none_or(|last| last.elapsed() >= switch.interval);
            if ill.is_none() && is_due {
                held = Some(Instant::now());
                switch.ping().await;
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    };
    shutdown.run_until_cancelled(holding).await;
}

fn read_signals(deps: &DispatcherDeps) -> LivenessSignals {
    let seen = *deps.status.borrow();
    let now = clock::now();
    let turned = deps
        .process_status
        .component(COMPONENT)
        .since_last_iteration();
    LivenessSignals {
        is_bus_connected: deps.bus.is_connected(),
        is_watchdog_alive: seen.is_watchdog_alive,
        oldest_critical_ms: seen.oldest_critical_at.map(|since| now.millis_since(since)),
        last_delivery_succeeded: seen.last_delivery_succeeded,
        dispatcher_idle_ms: turned.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
    }
}
