//! The dead man's switch: a GET every now and then while all is well, so that somebody outside notices
//! when it stops. What is well is not decided here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::deadman::{Signs, illness};
use reqwest::Client;
use runtime::clock;
use runtime::process::Stop;
use tokio_util::sync::CancellationToken;

use crate::address::{SecretAddress, client};
use crate::courier::{Desk, PART};

/// How often it is looked whether all is well.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the signs of life go, and how often.
#[derive(Debug, Clone)]
pub struct Switch {
    client: Client,
    address: SecretAddress,
    every: Duration,
}

impl Switch {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Exit 70 if there is no TLS.
    pub fn new(address: SecretAddress, every: Duration) -> Result<Self, Stop> {
        Ok(Self {
            client: client()?,
            address,
            every,
        })
    }

    /// One sign of life. One that does not arrive is followed by the next.
    async fn hold(&self) {
        let request = self.client.get(self.address.expose());
        match self.address.call(request).await {
            Ok(status) if status.is_success() => tracing::debug!("dead man's switch held"),
            Ok(status) => {
                tracing::warn!(status = status.as_u16(), "dead man's switch not held");
            }
            Err(error) => tracing::warn!(why = error.why, "dead man's switch not held"),
        }
    }
}

/// Holds the switch while all is well, until `stop`.
pub async fn hold(desk: Arc<Desk>, switch: Switch, stop: CancellationToken) {
    let holding = async {
        let mut held: Option<Instant> = None;
        let mut ill = None;
        loop {
            let found = illness(&signs(&desk));
            if found != ill {
                if let Some(why) = found {
                    tracing::warn!(why, "dead man's switch let go");
                } else {
                    tracing::info!("dead man's switch held again");
                }
                ill = found;
            }
            let is_due = held.is_none_or(|last| last.elapsed() >= switch.every);
            if ill.is_none() && is_due {
                held = Some(Instant::now());
                switch.hold().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    stop.run_until_cancelled(holding).await;
}

fn signs(desk: &Desk) -> Signs {
    let seen = *desk.seen.borrow();
    let now = clock::now();
    let turned = desk.progress.part(PART).idle();
    Signs {
        bus: desk.bus.is_connected(),
        watchdog: seen.watchdog,
        oldest_critical_ms: seen.oldest_critical.map(|since| now.millis_since(since)),
        delivers: seen.delivers,
        turned_ms: turned.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
    }
}
