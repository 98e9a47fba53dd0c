//! When a live book queries the exchange: after hints, periodically, urgently, and not during a backoff.

use std::time::{Duration, Instant};

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use runtime::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::book::RETRY_DELAY;
use crate::app::context::Context;

/// Delay to the next round while a query is pending.
const URGENT_DELAY: Duration = Duration::from_millis(100);
/// Time between two queries of the resting orders without a hint.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Delay after the exchange rejected a query, for example because the key is not valid any more.
const REJECTED_RETRY_DELAY: Duration = Duration::from_secs(10);
/// Longest such delay of an urgent round. The delay grows by a second with each rejection.
const LONGEST_URGENT_REJECTED_DELAY: Duration = Duration::from_secs(3);
/// Delay to the next comparison after a position mismatch. A fill between two answers can cause one.
const MISMATCH_RECHECK_DELAY: Duration = Duration::from_secs(2);
/// Delays between two queries of costs that the exchange does not list yet.
const ACCOUNTING_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(30),
};

/// Schedule of the queries to the exchange for one book. Never due on paper.
pub(super) struct ReconcileSchedule {
    hints: Option<watch::Receiver<u64>>,
    next_round: Instant,
    /// No round before this time after a failure, however urgent.
    not_before: Instant,
    /// When the resting orders are queried without a hint.
    next_poll: Instant,
    /// The next round also queries the resting orders.
    queries_resting_orders: bool,
    next_reconciliation: Instant,
    /// When costs, trades and funding are queried next.
    next_accounting: Instant,
    /// Queries of them in a row that were not the last.
    unfinished_accounting: u32,
    mismatches: u8,
    /// Since when comparisons show a mismatch; `None` after one without.
    mismatched_since: Option<Instant>,
    /// Since when comparisons show a position without a stop; `None` after one with.
    unprotected_since: Option<Instant>,
    /// Rejected rounds in a row.
    rejections: u32,
    external_orders: usize,
    failures: usize,
}

impl ReconcileSchedule {
    pub(super) fn for_symbol(ctx: &Context, symbol: &SubjectToken) -> Self {
        let now = Instant::now();
        Self {
            hints: ctx
                .execution_client
                .as_ref()
                .map(|client| client.hints(symbol)),
            next_round: now + POLL_INTERVAL,
            not_before: now,
            next_poll: now + POLL_INTERVAL,
            queries_resting_orders: false,
            next_reconciliation: now,
            next_accounting: now,
            unfinished_accounting: 0,
            mismatches: 0,
            mismatched_since: None,
            unprotected_since: None,
            rejections: 0,
            external_orders: 0,
            failures: 0,
        }
    }

    /// Waits until a round is due. Cancel-safe.
    pub(super) async fn wait_until_due(&mut self) {
        let Some(hints) = &mut self.hints else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = sleep_until(self.next_round.into()) => {}
            changed = hints.changed() => {
                let now = Instant::now();
                self.queries_resting_orders = true;
                self.next_reconciliation = now;
                if changed.is_ok() {
                    // One fill causes several hints; none of them ends the backoff after a failure.
                    self.schedule_no_later_than(now);
                }
                // While the stream's task restarts there are no hints: the timer applies.
                sleep_until(self.next_round.into()).await;
            }
        }
    }

    /// Whether a round is due now.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next_round
    }

    /// Makes the next round urgent.
    pub(super) fn schedule_soon(&mut self) {
        self.schedule_no_later_than(Instant::now() + URGENT_DELAY);
    }

    /// Moves the next round to this time or earlier, but not into the backoff after a failure.
    fn schedule_no_later_than(&mut self, at: Instant) {
        self.next_round = self.next_round.min(at.max(self.not_before));
    }

    /// Delays the next round after a failure. A pause that the exchange demands applies to rounds that are not urgent, and
    /// so does the long delay after a rejection.
    pub(super) fn back_off(&mut self, error: &ExchangeError) {
        let (backoff, pause) = match error {
            ExchangeError::Retry { after, .. } => {
                (RETRY_DELAY, after.unwrap_or(RETRY_DELAY).max(RETRY_DELAY))
            }
            ExchangeError::Rejected { .. } => {
                self.rejections = self.rejections.saturating_add(1);
                let urgent = RETRY_DELAY.saturating_mul(self.rejections);
                (
                    urgent.min(LONGEST_URGENT_REJECTED_DELAY),
                    REJECTED_RETRY_DELAY,
                )
            }
        };
        let now = Instant::now();
        self.queries_resting_orders = true;
        self.not_before = now + backoff;
        self.next_round = now + pause;
    }

    /// Notes a round that was answered.
    pub(super) fn end_rejections(&mut self) {
        self.rejections = 0;
    }

    /// Notes whether a comparison shows a stop for the position. Returns for how long none has.
    pub(super) fn note_protection(&mut self, is_protected: bool) -> Duration {
        if is_protected {
            self.unprotected_since = None;
            return Duration::ZERO;
        }
        self.unprotected_since
            .get_or_insert_with(Instant::now)
            .elapsed()
    }

    /// Schedules the next comparison after one that could not be made, or that differs.
    pub(super) fn recheck_mismatch(&mut self) {
        self.next_reconciliation = Instant::now() + MISMATCH_RECHECK_DELAY;
        self.next_round = self.next_round.min(self.next_reconciliation);
    }

    /// Counts a comparison that differs. Returns for how long they have.
    pub(super) fn note_mismatch(&mut self) -> Duration {
        self.mismatches = self.mismatches.saturating_add(1);
        self.recheck_mismatch();
        self.mismatched_since
            .get_or_insert_with(Instant::now)
            .elapsed()
    }

    /// Notes that nothing differs, or that it is explained.
    pub(super) fn end_mismatch(&mut self) {
        self.mismatches = 0;
        self.mismatched_since = None;
    }

    /// Whether the last comparison differed.
    pub(super) fn is_mismatched(&self) -> bool {
        self.mismatches > 0
    }

    /// Waits before the next comparison is repeated.
    pub(super) async fn wait_for_recheck(&self) {
        let delay = if self.is_mismatched() {
            MISMATCH_RECHECK_DELAY
        } else {
            URGENT_DELAY
        };
        tokio::time::sleep(delay).await;
    }

    /// Schedules the next comparison.
    pub(super) fn reconcile_after(&mut self, delay: Duration) {
        self.next_reconciliation = Instant::now() + delay;
        self.next_round = self.next_round.min(self.next_reconciliation);
    }

    /// Makes the next round compare with the exchange, and query the resting orders.
    pub(super) fn reconcile_now(&mut self) {
        self.queries_resting_orders = true;
        self.next_reconciliation = Instant::now();
    }

    /// Whether a comparison is due.
    pub(super) fn is_reconciliation_due(&self) -> bool {
        Instant::now() >= self.next_reconciliation
    }

    /// Whether the round queries the resting orders; only once.
    pub(super) fn takes_resting_orders(&mut self) -> bool {
        std::mem::take(&mut self.queries_resting_orders)
    }

    /// Whether costs, trades and funding may be queried now.
    pub(super) fn is_accounting_due(&self) -> bool {
        Instant::now() >= self.next_accounting
    }

    /// Schedules the next query of what the exchange did not list, or refused to list for at least `pause`. Returns for
    /// how many queries this has lasted.
    pub(super) fn delay_accounting(&mut self, pause: Option<Duration>) -> u32 {
        self.unfinished_accounting = self.unfinished_accounting.saturating_add(1);
        let delay = ACCOUNTING_BACKOFF.wait(self.unfinished_accounting);
        self.next_accounting = Instant::now() + pause.unwrap_or(delay).max(delay);
        self.unfinished_accounting
    }

    /// Notes that all is booked.
    pub(super) fn end_accounting(&mut self) {
        self.unfinished_accounting = 0;
        self.next_accounting = Instant::now();
    }

    /// Makes a round due when the next query of costs is.
    pub(super) fn schedule_accounting(&mut self) {
        self.schedule_no_later_than(self.next_accounting.max(Instant::now() + URGENT_DELAY));
    }

    /// Notes the number of external orders. Returns whether it changed.
    pub(super) fn note_external_orders(&mut self, orders: usize) -> bool {
        std::mem::replace(&mut self.external_orders, orders) != orders
    }

    /// When the next round is due.
    pub(super) fn next_round(&self) -> Instant {
        self.next_round
    }

    /// Reconciles now if one more protective or exit order has failed.
    pub(super) fn reconcile_on_new_failures(&mut self, failures: usize) {
        if std::mem::replace(&mut self.failures, failures) < failures {
            self.next_reconciliation = Instant::now();
        }
    }

    /// Starts a round. An urgent round does not query the resting orders, unless their poll is due.
    pub(super) fn begin_round(&mut self) {
        let now = Instant::now();
        self.queries_resting_orders |= now >= self.next_poll;
        if self.queries_resting_orders {
            self.next_poll = now + POLL_INTERVAL;
        }
        self.next_round = self.next_poll;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// The schedule of a book without failures.
    fn schedule(now: Instant, hints: Option<watch::Receiver<u64>>) -> ReconcileSchedule {
        ReconcileSchedule {
            hints,
            next_round: now + POLL_INTERVAL,
            not_before: now,
            next_poll: now + POLL_INTERVAL,
            queries_resting_orders: false,
            next_reconciliation: now + POLL_INTERVAL,
            next_accounting: now,
            unfinished_accounting: 0,
            mismatches: 0,
            mismatched_since: None,
            unprotected_since: None,
            rejections: 0,
            external_orders: 0,
            failures: 0,
        }
    }

    #[tokio::test]
    async fn hint_is_followed_at_once_but_does_not_end_backoff_after_a_failure() {
        let at_once = Duration::from_millis(100);
        let (hint, hints) = watch::channel(0);
        let mut rounds = schedule(Instant::now(), Some(hints));
        hint.send_replace(1);
        timeout(at_once, rounds.wait_until_due()).await.unwrap();
        rounds.back_off(&ExchangeError::Rejected {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        for count in 2..4 {
            hint.send_replace(count);
            assert!(timeout(at_once, rounds.wait_until_due()).await.is_err());
        }
        // A hint whose wait was cancelled is not lost.
        rounds.not_before = Instant::now();
        rounds.next_round = rounds.next_round.min(rounds.not_before);
        timeout(at_once, rounds.wait_until_due()).await.unwrap();
        assert!(rounds.queries_resting_orders);
    }

    #[test]
    fn urgent_round_does_not_wait_for_the_next_poll_but_respects_backoff() {
        let now = Instant::now();
        let mut rounds = schedule(now, None);
        rounds.schedule_soon();
        assert!(rounds.next_round < now + RETRY_DELAY);
        rounds.back_off(&ExchangeError::Retry {
            what: "orders",
            reason: "busy".to_owned(),
            after: Some(POLL_INTERVAL),
        });
        assert!(rounds.next_round >= now + POLL_INTERVAL);
        rounds.schedule_soon();
        assert!(rounds.next_round >= now + RETRY_DELAY);
        assert!(rounds.next_round < now + POLL_INTERVAL);
        rounds.back_off(&ExchangeError::Rejected {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        assert!(rounds.next_round >= now + REJECTED_RETRY_DELAY);
        // The position may be without a stop.
        rounds.schedule_soon();
        assert!(rounds.next_round >= now + RETRY_DELAY);
        assert!(rounds.next_round < now + LONGEST_URGENT_REJECTED_DELAY);
    }

    #[test]
    fn urgent_rounds_are_rejected_at_most_every_three_seconds() {
        let now = Instant::now();
        let mut rounds = schedule(now, None);
        for _ in 0..100 {
            rounds.back_off(&ExchangeError::rejected("orders", "a key that is revoked"));
        }
        rounds.schedule_soon();
        let delay = rounds.next_round.duration_since(Instant::now());
        assert!(delay <= LONGEST_URGENT_REJECTED_DELAY && delay > RETRY_DELAY);
    }
}
