//! Whether another trader runs under the name of this one.

use std::time::Instant;

use protocol::ids::Mode;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::exit_error::ExitError;
use runtime::identity::Identity;
use runtime::presence::PresenceWatch;

/// Ends the start with exit 71 if an older trader runs under this name, before anything is acquired. `None` if the bus
/// does not answer: leases and fences decide then.
///
/// # Errors
/// Exit 71 for a second trader under this name.
pub async fn check(
    bus: &Bus,
    identity: &Identity,
    mode: Mode,
    started_at: Instant,
) -> Result<Option<PresenceWatch>, ExitError> {
    let subject = Subject::TraderPresence {
        mode,
        host: identity.host.clone(),
        instance: identity.instance.clone(),
    };
    match PresenceWatch::start(bus, subject.to_string(), identity, started_at).await {
        Ok(mut presence) => {
            presence.ensure_only().await?;
            Ok(Some(presence))
        }
        Err(error) => {
            tracing::warn!(error, "presence not announced");
            Ok(None)
        }
    }
}
