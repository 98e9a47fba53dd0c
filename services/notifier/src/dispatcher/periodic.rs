//! Periodic work of the dispatcher: summaries, watchdog and bus outages, inhibited notifications, and dead letters that
//! the operator requests.

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

/// Time between two reads of the watchdog's heartbeat, in milliseconds.
const WATCHDOG_CHECK_INTERVAL_MS: u64 = 10_000;

impl Dispatcher {
    /// Queues dead letters again once that is journaled, so that a second request for them finds none.
    pub(super) async fn resend_dead_letters(
        &mut self,
        request: PendingResend,
    ) -> Result<(), TermEnd> {
        let decision = dead_letters::resend(&self.state, request.selection(), request.by());
        tracing::info!(
            by = request.by(),
            ?decision,
            "resend of dead letters requested"
        );
        let result = match decision {
            Ok((records, text)) => {
                self.commit(records).await?;
                Ok(text)
            }
            Err(error) => Err(error),
        };
        request.respond(&self.deps.bus, result).await;
        Ok(())
    }

    /// Journals an outage of the bus that ended at `recovered_at` at the latest, so that its effects are inhibited.
    pub(super) async fn record_outage(
        &mut self,
        recovered_at: Option<UtcMs>,
    ) -> Result<(), TermEnd> {
        let span = *self.deps.bus_outage.borrow();
        let known = &self.state.outages;
        match span.and_then(|span| known.outage_record(&span, recovered_at)) {
            Some(record) => self.commit(vec![record]).await,
            None => Ok(()),
        }
    }

    /// Queues the summary of an outage once it is due.
    pub(super) async fn flush_inhibited(&mut self) -> Result<(), TermEnd> {
        match inhibition::due_records(&self.state, clock::now()) {
            Some(records) => self.commit(records).await,
            None => Ok(()),
        }
    }

    /// Queues the summary of the period. Without the bus, the next iteration retries.
    pub(super) async fn queue_summary(&mut self) -> Result<(), TermEnd> {
        let now = clock::now();
        let period = summary::period(now, self.deps.summary_interval_ms);
        if period <= self.summary_period {
            return Ok(());
        }
        match heartbeats::trader_heartbeats(&self.deps.bus).await {
            Ok(heartbeats) => {
                self.summary_period = period;
                let has_picture = report_reader::has_equity_points(&self.deps.bus).await;
                let record = summary::summary_record(period, &heartbeats, has_picture, now);
                let record = silence::apply_silence(&self.state, &[], record, now);
                self.commit(vec![record]).await
            }
            Err(error) => {
                tracing::warn!(error, "heartbeats unavailable; summary is delayed");
                Ok(())
            }
        }
    }

    /// Checks for a watchdog heartbeat at an interval.
    pub(super) async fn check_watchdog(&mut self) -> Result<(), TermEnd> {
        if self.now().mono < self.next_watchdog_check_ms {
            return Ok(());
        }
        let found = heartbeats::ordered_watchdog_heartbeats(&self.deps.bus).await;
        let now = self.now();
        self.next_watchdog_check_ms = now.mono + WATCHDOG_CHECK_INTERVAL_MS;
        match found {
            Ok(found) => self.watchdog_outage.observe(&found, now.mono),
            Err(error) => {
                tracing::debug!(error, "watchdog heartbeat unavailable");
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
