//! What the courier tells of its own: heartbeats, the watchdog's silence, what an absence did; and what it sends
//! again because a person wants it.

use notifier_core::dead_letters;
use notifier_core::inhibition;
use notifier_core::silence;
use notifier_core::summary;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::leader_election::TermEnd;

use super::Dispatcher;
use crate::resend::PendingResend;
use crate::{heartbeats, report_reader};

/// How often the watchdog's heartbeat is looked at, in milliseconds.
const WATCHDOG_CHECK_INTERVAL_MS: u64 = 10_000;

impl Dispatcher {
    /// Dead letters wait again once that is journaled; so a second wish for the same finds none.
    pub(super) async fn resend_dead_letters(&mut self, wish: PendingResend) -> Result<(), TermEnd> {
        let wanted = dead_letters::resend(&self.state, wish.selection(), wish.by());
        tracing::info!(by = wish.by(), ?wanted, "dead letters are to be sent again");
        let done = match wanted {
            Ok((records, said)) => {
                self.commit(records).await?;
                Ok(said)
            }
            Err(why) => Err(why),
        };
        wish.respond(&self.deps.bus, done).await;
        Ok(())
    }

    /// Journals that the bus was away, once it is over (at the latest at `back`): what comes of it is held.
    pub(super) async fn record_outage(&mut self, back: Option<UtcMs>) -> Result<(), TermEnd> {
        let absence = *self.deps.bus_outage.borrow();
        let known = &self.state.outages;
        match absence.and_then(|absence| known.outage_record(&absence, back)) {
            Some(record) => self.commit(vec![record]).await,
            None => Ok(()),
        }
    }

    /// What an absence did to traders, once it was held for long enough.
    pub(super) async fn flush_inhibited(&mut self) -> Result<(), TermEnd> {
        match inhibition::due_records(&self.state, clock::now()) {
            Some(records) => self.commit(records).await,
            None => Ok(()),
        }
    }

    /// Once a period, if the bus answers; else at the next turn.
    pub(super) async fn queue_summary(&mut self) -> Result<(), TermEnd> {
        let now = clock::now();
        let period = summary::period(now, self.deps.summary_interval_ms);
        if period <= self.summary_period {
            return Ok(());
        }
        match heartbeats::trader_heartbeats(&self.deps.bus).await {
            Ok(beats) => {
                self.summary_period = period;
                let picture = report_reader::has_equity_points(&self.deps.bus).await;
                let report = summary::summary_record(period, &beats, picture, now);
                let record = silence::apply_silence(&self.state, &[], report, now);
                self.commit(vec![record]).await
            }
            Err(why) => {
                tracing::warn!(why, "heartbeats not read");
                Ok(())
            }
        }
    }

    /// Now and then: is the watchdog heard?
    pub(super) async fn check_watchdog(&mut self) -> Result<(), TermEnd> {
        if self.now().mono < self.next_watchdog_check_ms {
            return Ok(());
        }
        let found = heartbeats::newest_watchdog_heartbeat(&self.deps.bus).await;
        let now = self.now();
        self.next_watchdog_check_ms = now.mono + WATCHDOG_CHECK_INTERVAL_MS;
        match found {
            Ok(newest) => self.watchdog_outage.observe(newest, now.mono),
            Err(why) => {
                tracing::debug!(why, "watchdog's heartbeat not read");
                self.watchdog_outage.on_bus_unreachable(now.mono);
            }
        }
        match self.watchdog_outage.due_record(&self.state, now) {
            Some(record) => {
                let record = silence::apply_silence(&self.state, &[], record, now.utc);
                self.commit(vec![record]).await
            }
            None => Ok(()),
        }
    }
}
