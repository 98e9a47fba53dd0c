//! What the courier tells of its own: heartbeats, the watchdog's silence, what an absence did; and what it sends
//! again because a person wants it.

use delivery::dead;
use delivery::heartbeat;
use delivery::inhibition;
use delivery::silence;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::guard::TurnEnd;

use super::Courier;
use crate::resend::Wish;
use crate::{fleet, reports};

/// How often the watchdog's heartbeat is looked at, in milliseconds.
const VIGIL_MS: u64 = 10_000;

impl Courier {
    /// Dead letters wait again once that is journaled; so a second wish for the same finds none.
    pub(super) async fn send_again(&mut self, wish: Wish) -> Result<(), TurnEnd> {
        let wanted = dead::resend(&self.state, wish.letters(), wish.by());
        tracing::info!(by = wish.by(), ?wanted, "dead letters are to be sent again");
        let done = match wanted {
            Ok((records, said)) => {
                self.commit(records).await?;
                Ok(said)
            }
            Err(why) => Err(why),
        };
        wish.answer(&self.desk.bus, done).await;
        Ok(())
    }

    /// Journals that the bus was away, once it is over (at the latest at `back`): what comes of it is held.
    pub(super) async fn note_absence(&mut self, back: Option<UtcMs>) -> Result<(), TurnEnd> {
        let absence = *self.desk.absence.borrow();
        let known = &self.state.outages;
        match absence.and_then(|absence| known.news_of(&absence, back)) {
            Some(record) => self.commit(vec![record]).await,
            None => Ok(()),
        }
    }

    /// What an absence did to traders, once it was held for long enough.
    pub(super) async fn tell_held(&mut self) -> Result<(), TurnEnd> {
        match inhibition::due(&self.state, clock::now()) {
            Some(records) => self.commit(records).await,
            None => Ok(()),
        }
    }

    /// Once a period, if the bus answers; else at the next turn.
    pub(super) async fn tell_heartbeat(&mut self) -> Result<(), TurnEnd> {
        let now = clock::now();
        let period = heartbeat::period(now, self.desk.heartbeat_ms);
        if period <= self.period {
            return Ok(());
        }
        match fleet::traders(&self.desk.bus).await {
            Ok(beats) => {
                self.period = period;
                let picture = reports::has_points(&self.desk.bus).await;
                let report = heartbeat::report(period, &beats, picture, now);
                let record = silence::heed(&self.state, &[], report, now);
                self.commit(vec![record]).await
            }
            Err(why) => {
                tracing::warn!(why, "heartbeats not read");
                Ok(())
            }
        }
    }

    /// Now and then: is the watchdog heard?
    pub(super) async fn keep_vigil(&mut self) -> Result<(), TurnEnd> {
        if self.now().mono < self.look_at {
            return Ok(());
        }
        let found = fleet::watchdog(&self.desk.bus).await;
        let now = self.now();
        self.look_at = now.mono + VIGIL_MS;
        match found {
            Ok(newest) => self.vigil.look(newest, now.mono),
            Err(why) => {
                tracing::debug!(why, "watchdog's heartbeat not read");
                self.vigil.deaf(now.mono);
            }
        }
        match self.vigil.due(&self.state, now) {
            Some(record) => {
                let record = silence::heed(&self.state, &[], record, now.utc);
                self.commit(vec![record]).await
            }
            None => Ok(()),
        }
    }
}
