//! Leader election among the processes of one service: the holder of a lease acts, the others stand by. The lease keeps
//! order; the journal's fence keeps two processes from acting at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::exit_code::ExitCode;
use protocol::lease::Holder;
use protocol::subject::Subject;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::components::ComponentHandle;
use crate::exit_error::ExitError;
use crate::identity::Identity;
use crate::journal::{AppendError, ReplayError};
use crate::lease::{self, LeaseError, LeaseStatus, LeaseTracker, POLL};

/// Deadline for relinquishing the lease at the end.
const RELINQUISH_DEADLINE: Duration = Duration::from_secs(2);

/// Why a term as leader ended.
#[derive(Debug)]
pub enum TermEnd {
    /// A shutdown was requested.
    Stopped,
    /// Another process writes the journal or holds the lease.
    Lost(String),
    /// Only the operator can correct the cause.
    Failed(ExitError),
}

impl From<AppendError> for TermEnd {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Fenced { .. } => Self::Lost(error.to_string()),
            AppendError::Rejected { .. } => Self::Failed(ExitError::internal(error.to_string())),
        }
    }
}

impl From<ReplayError> for TermEnd {
    fn from(error: ReplayError) -> Self {
        let code = match error {
            ReplayError::Unavailable { .. } => ExitCode::Unavailable,
            ReplayError::Unreadable { .. } => ExitCode::Config,
        };
        Self::Failed(ExitError::new(code, error.to_string()))
    }
}

/// Sights of another process that holds the lease. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LeaderSightings(Arc<Mutex<Option<Instant>>>);

impl LeaderSightings {
    /// Whether another process was seen to hold the lease within this time.
    pub fn has_seen_within(&self, age: Duration) -> bool {
        self.locked().is_some_and(|seen| seen.elapsed() <= age)
    }

    fn set(&self, seen: Option<Instant>) {
        *self.locked() = seen;
    }

    fn locked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lease under which only one process acts at a time.
pub struct LeaderElection {
    bus: Bus,
    subject: String,
    me: Holder,
    tracker: LeaseTracker,
    sightings: LeaderSightings,
}

impl LeaderElection {
    /// Election in which this process holds nothing yet.
    pub fn new(bus: Bus, lease: &Subject, identity: &Identity) -> Self {
        Self {
            bus,
            subject: lease.to_string(),
            me: Holder {
                instance: identity.instance.clone(),
                boot: identity.boot.clone(),
            },
            tracker: LeaseTracker::default(),
            sightings: LeaderSightings::default(),
        }
    }

    /// Notes in `sightings` whenever another process is seen to hold the lease.
    #[must_use]
    pub fn with_sightings(mut self, sightings: LeaderSightings) -> Self {
        self.sightings = sightings;
        self
    }

    /// Stands by and serves terms as leader until `shutdown`. A process that loses the lease or the journal stands by again,
    /// and `on_standby` is called. `term` ends with its reason and does not renew the lease itself.
    ///
    /// # Errors
    /// The error of a term that only the operator can correct, or exit 71 for a duplicate instance.
    pub async fn run_as_leader<T: Future<Output = TermEnd>>(
        mut self,
        component: &ComponentHandle,
        mut on_standby: impl FnMut(),
        shutdown: &CancellationToken,
        mut term: impl FnMut() -> T,
    ) -> Result<(), ExitError> {
        loop {
            on_standby();
            let ours = shutdown.run_until_cancelled(self.stand_by(component)).await;
            if ours.is_none() {
                return Ok(());
            }
            let end = tokio::select! {
                biased;
                end = term() => end,
                held = self.renew_until_lost() => match held {
                    Ok(other) => TermEnd::Lost(format!("{} holds the lease", other.instance)),
                    Err(stop) => TermEnd::Failed(stop),
                },
            };
            match end {
                TermEnd::Stopped => {
                    if timeout(RELINQUISH_DEADLINE, self.relinquish())
                        .await
                        .is_err()
                    {
                        tracing::debug!("lease not relinquished; it expires");
                    }
                    return Ok(());
                }
                TermEnd::Lost(reason) => tracing::warn!(reason, "leadership lost; standing by"),
                TermEnd::Failed(stop) => return Err(stop),
            }
        }
    }

    /// Waits until this process holds the lease. Logs each holder once.
    async fn stand_by(&mut self, component: &ComponentHandle) {
        let mut waits_for = None;
        loop {
            component.record_iteration();
            match self.try_acquire().await {
                Ok(None) => {
                    self.sightings.set(None);
                    return;
                }
                Ok(Some(holder)) => {
                    self.sightings.set(Some(Instant::now()));
                    if waits_for.as_ref() != Some(&holder) {
                        tracing::info!(holder = %holder.instance, "standing by");
                        waits_for = Some(holder);
                    }
                }
                Err(error) => tracing::warn!(%error, "lease read failed"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Renews the lease until another process holds it.
    ///
    /// # Errors
    /// Exit 71 if another process runs under the same instance name.
    async fn renew_until_lost(&mut self) -> Result<Holder, ExitError> {
        loop {
            tokio::time::sleep(POLL).await;
            match self.renew().await {
                Ok(None) => {}
                Ok(Some(other)) if other.instance == self.me.instance => {
                    return Err(ExitError::new(
                        ExitCode::DuplicateInstance,
                        format!(
                            "INSTANCE=\"{}\": expected a name that no other process has; another process runs under it",
                            self.me.instance
                        ),
                    ));
                }
                Ok(Some(other)) => return Ok(other),
                Err(error) => tracing::warn!(%error, "lease renewal failed"),
            }
        }
    }

    /// Relinquishes the lease, so that another process need not wait for its expiry.
    async fn relinquish(&mut self) {
        if self
            .read_lease()
            .await
            .is_ok_and(|view| view == LeaseStatus::HeldByThisBoot)
        {
            let seq = self.tracker.seq(&self.subject);
            if let Err(error) = lease::write(&self.bus, &self.subject, None, seq).await {
                tracing::debug!(%error, "lease not relinquished; it expires");
            }
        }
    }

    /// Acquires the lease; `None` if this process holds it now, else its holder.
    async fn try_acquire(&mut self) -> Result<Option<Holder>, LeaseError> {
        match self.read_lease().await? {
            LeaseStatus::HeldByOther(holder) => Ok(Some(holder)),
            LeaseStatus::Free | LeaseStatus::HeldByPreviousBoot | LeaseStatus::HeldByThisBoot => {
                self.write_lease().await
            }
        }
    }

    /// Renews the lease. Reads it only after a conflict: another process has written it then.
    async fn renew(&mut self) -> Result<Option<Holder>, LeaseError> {
        match self.write_lease().await {
            Err(LeaseError::Conflict(_)) => {}
            written => return written,
        }
        match self.read_lease().await? {
            LeaseStatus::HeldByThisBoot | LeaseStatus::Free => self.write_lease().await,
            LeaseStatus::HeldByOther(holder) => Ok(Some(holder)),
            LeaseStatus::HeldByPreviousBoot => Ok(Some(self.me.clone())),
        }
    }

    async fn read_lease(&mut self) -> Result<LeaseStatus, LeaseError> {
        let newest = lease::read(&self.bus, &self.subject).await?;
        let now = Instant::now();
        self.tracker.observe(&self.subject, newest, now);
        Ok(self.tracker.status(&self.subject, &self.me, now))
    }

    async fn write_lease(&mut self) -> Result<Option<Holder>, LeaseError> {
        let expected = self.tracker.seq(&self.subject);
        let holder = Some(&self.me);
        let written = lease::write(&self.bus, &self.subject, holder, expected).await?;
        let now = Instant::now();
        self.tracker.observe(&self.subject, Some(written), now);
        Ok(None)
    }
}
