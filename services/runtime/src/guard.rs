//! Which of several processes of one service acts: the holder of a lease; the others stand by. Order,
//! not safety: the journal's fence is what keeps two from acting.

use std::time::{Duration, Instant};

use protocol::exit::ExitCode;
use protocol::lease::Holder;
use protocol::subject::Subject;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::identity::Identity;
use crate::journal::{AppendError, ReplayError};
use crate::lease::{self, LeaseError, Observer, POLL, View};
use crate::process::Stop;
use crate::progress::PartProgress;

/// Time to give the lease back at the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a turn under the lease ended.
#[derive(Debug)]
pub enum TurnEnd {
    /// It was told to.
    Stopped,
    /// Another process writes the journal, or holds the lease.
    Lost(String),
    /// A person must look.
    Failed(Stop),
}

impl From<AppendError> for TurnEnd {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Lost { .. } => Self::Lost(error.to_string()),
            AppendError::Refused { .. } => Self::Failed(Stop::internal(error.to_string())),
        }
    }
}

impl From<ReplayError> for TurnEnd {
    fn from(error: ReplayError) -> Self {
        let code = match error {
            ReplayError::Unavailable { .. } => ExitCode::Unavailable,
            ReplayError::Unreadable { .. } => ExitCode::Config,
        };
        Self::Failed(Stop::new(code, error.to_string()))
    }
}

/// One lease that only one process at a time acts under.
pub struct Guard {
    bus: Bus,
    subject: String,
    me: Holder,
    observer: Observer,
}

impl Guard {
    /// Holds nothing yet.
    pub fn new(bus: Bus, lease: &Subject, identity: &Identity) -> Self {
        Self {
            bus,
            subject: lease.to_string(),
            me: Holder {
                instance: identity.instance.clone(),
                boot: identity.boot.clone(),
            },
            observer: Observer::default(),
        }
    }

    /// Stands by and takes turns until `asked`: whoever loses the lease or the journal stands by again,
    /// and `standing_by` hears of it. A `turn` ends with its reason and renews nothing itself.
    ///
    /// # Errors
    /// What a person must look at.
    pub async fn take_turns<T: Future<Output = TurnEnd>>(
        mut self,
        part: &PartProgress,
        mut standing_by: impl FnMut(),
        asked: &CancellationToken,
        mut turn: impl FnMut() -> T,
    ) -> Result<(), Stop> {
        loop {
            standing_by();
            let ours = asked.run_until_cancelled(self.stand_by(part)).await;
            if ours.is_none() {
                return Ok(());
            }
            let end = tokio::select! {
                biased;
                end = turn() => end,
                held = self.hold() => match held {
                    Ok(other) => TurnEnd::Lost(format!("{} holds the lease", other.instance)),
                    Err(stop) => TurnEnd::Failed(stop),
                },
            };
            match end {
                TurnEnd::Stopped => {
                    if timeout(GOODBYE, self.give_back()).await.is_err() {
                        tracing::debug!("lease left to expire");
                    }
                    return Ok(());
                }
                TurnEnd::Lost(why) => tracing::warn!(why, "another process acts; standing by"),
                TurnEnd::Failed(stop) => return Err(stop),
            }
        }
    }

    /// Waits until the lease is ours. Says once whom it waits for.
    async fn stand_by(&mut self, part: &PartProgress) {
        let mut waits_for = None;
        loop {
            part.turn();
            match self.try_to_take().await {
                Ok(None) => return,
                Ok(Some(holder)) => {
                    if waits_for.as_ref() != Some(&holder) {
                        tracing::info!(holder = %holder.instance, "standing by");
                        waits_for = Some(holder);
                    }
                }
                Err(error) => tracing::warn!(%error, "lease not read"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Renews until the lease is another's.
    ///
    /// # Errors
    /// Exit 71 if another process runs under this instance's name.
    async fn hold(&mut self) -> Result<Holder, Stop> {
        loop {
            tokio::time::sleep(POLL).await;
            match self.renew().await {
                Ok(None) => {}
                Ok(Some(other)) if other.instance == self.me.instance => {
                    return Err(Stop::new(
                        ExitCode::DuplicateInstance,
                        format!(
                            "INSTANCE={}: another process runs under this name; give each its own",
                            self.me.instance
                        ),
                    ));
                }
                Ok(Some(other)) => return Ok(other),
                Err(error) => tracing::warn!(%error, "lease not renewed"),
            }
        }
    }

    /// Gives it back, so that another need not wait for it.
    async fn give_back(&mut self) {
        if self.look().await.is_ok_and(|view| view == View::Mine) {
            let seq = self.observer.seq(&self.subject);
            if let Err(error) = lease::write(&self.bus, &self.subject, None, seq).await {
                tracing::debug!(%error, "lease left to expire");
            }
        }
    }

    /// None: it is ours. Some: it is that one's.
    async fn try_to_take(&mut self) -> Result<Option<Holder>, LeaseError> {
        match self.look().await? {
            View::Other(holder) => Ok(Some(holder)),
            View::Free | View::OwnEarlierBoot | View::Mine => self.write().await,
        }
    }

    /// Looks only if another came in between: that shows, since it moved the sequence.
    async fn renew(&mut self) -> Result<Option<Holder>, LeaseError> {
        match self.write().await {
            Err(LeaseError::Taken(_)) => {}
            written => return written,
        }
        match self.look().await? {
            View::Mine | View::Free => self.write().await,
            View::Other(holder) => Ok(Some(holder)),
            View::OwnEarlierBoot => Ok(Some(self.me.clone())),
        }
    }

    async fn look(&mut self) -> Result<View, LeaseError> {
        let newest = lease::read(&self.bus, &self.subject).await?;
        let now = Instant::now();
        self.observer.observe(&self.subject, newest, now);
        Ok(self.observer.view(&self.subject, &self.me, now))
    }

    async fn write(&mut self) -> Result<Option<Holder>, LeaseError> {
        let expected = self.observer.seq(&self.subject);
        let holder = Some(&self.me);
        let written = lease::write(&self.bus, &self.subject, holder, expected).await?;
        let now = Instant::now();
        self.observer.observe(&self.subject, Some(written), now);
        Ok(None)
    }
}
