//! Which of a project's watchdogs acts: the holder of a lease; the others stand by. Order, not safety:
//! the journal's fence is what keeps two from acting.

use std::time::Instant;

use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::lease::Holder;
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::identity::Identity;
use runtime::lease::{self, LeaseError, Observer, POLL, View};
use runtime::process::Stop;
use runtime::progress::PartProgress;

/// The lease of one project.
pub struct Guard {
    bus: Bus,
    subject: String,
    me: Holder,
    observer: Observer,
}

impl Guard {
    /// Holds nothing yet.
    pub fn new(bus: Bus, project: Token, identity: &Identity) -> Self {
        Self {
            bus,
            subject: Subject::WatchdogLease(project).to_string(),
            me: Holder {
                instance: identity.instance.clone(),
                boot: identity.boot.clone(),
            },
            observer: Observer::default(),
        }
    }

    /// Waits until the lease is ours. Says once whom it waits for.
    pub async fn stand_by(&mut self, part: &PartProgress) {
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
    pub async fn hold(&mut self) -> Result<Holder, Stop> {
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
    pub async fn give_back(&mut self) {
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

    async fn renew(&mut self) -> Result<Option<Holder>, LeaseError> {
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

    async fn write(&self) -> Result<Option<Holder>, LeaseError> {
        let seq = self.observer.seq(&self.subject);
        lease::write(&self.bus, &self.subject, Some(&self.me), seq).await?;
        Ok(None)
    }
}
