//! What this instance knows of its account, and how fresh that is. Books ask before they enter; a latch
//! makes them close what is open, and then ends the process with 21.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::SubjectToken;
use protocol::report::{AccountReport, PauseReport};
use protocol::subject::Subject;
use runtime::process::ExitError;
use runtime::{clock, streams};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use trader_core::book::EntryPermission;

use super::{account_commands, latch_check};
use crate::context::Context;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A report older than this gives no leave.
const MAX_REPORT_AGE: Duration = Duration::from_mins(1);
/// How long a starting book waits for the account's state.
const FIRST_REPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long books on paper may take to close what is open. On an exchange it is not left until it is closed:
/// nobody else would look after it.
const PAPER_CLOSE_TIMEOUT: Duration = Duration::from_mins(1);

/// The newest report, and when it was first seen: two clocks are never compared.
#[derive(Debug, Clone)]
pub struct AccountStatus {
    seq: u64,
    /// What the keeper says.
    pub report: AccountReport,
    received_at: Instant,
    /// The last operator's word that we know of.
    last_command_seq: u64,
}

impl AccountStatus {
    fn entry_permission(&self, symbol: &SubjectToken, now: Instant) -> EntryPermission {
        if self.report.latch.is_some() {
            return EntryPermission::Latched;
        }
        if !self.is_known(now) {
            return EntryPermission::Unknown;
        }
        let pauses = |pause: &PauseReport| pause.symbol.as_ref().is_none_or(|s| s == symbol);
        if self.report.pauses.iter().any(pauses) {
            return EntryPermission::Paused;
        }
        EntryPermission::Allowed {
            seq: self.report.seq,
        }
    }

    fn is_known(&self, now: Instant) -> bool {
        self.report.unvalued_books.is_empty()
            && self.report.command_seq >= self.last_command_seq
            && now.duration_since(self.received_at) <= MAX_REPORT_AGE
    }
}

/// Where books ask.
#[derive(Debug)]
pub struct AccountMonitor {
    status: watch::Sender<Option<AccountStatus>>,
    /// The latch that this process began with, to close what it left open.
    initial_latch: OnceLock<String>,
}

impl Default for AccountMonitor {
    fn default() -> Self {
        Self {
            status: watch::Sender::new(None),
            initial_latch: OnceLock::new(),
        }
    }
}

impl AccountMonitor {
    /// This process only closes what this latch left open, whatever is said later.
    pub fn start_with_latch(&self, latch: &str) {
        let _ = self.initial_latch.set(latch.to_owned());
    }

    /// Whether this symbol's book may enter now.
    pub fn entry_permission(&self, symbol: &SubjectToken) -> EntryPermission {
        if self.initial_latch.get().is_some() {
            return EntryPermission::Latched;
        }
        let standing = self.status.borrow();
        let now = Instant::now();
        let leave = standing.as_ref().map(|s| s.entry_permission(symbol, now));
        leave.unwrap_or(EntryPermission::Unknown)
    }

    /// The latch that closes the account, as far as is known.
    fn latch(&self) -> Option<String> {
        let heard = self.status().and_then(|s| s.report.latch);
        heard
            .map(|l| l.latch_id)
            .or_else(|| self.initial_latch.get().cloned())
    }

    /// The newest report.
    pub fn status(&self) -> Option<AccountStatus> {
        self.status.borrow().clone()
    }

    /// Waits until the account is latched.
    pub async fn wait_until_latched(&self) {
        if self.initial_latch.get().is_some() {
            return;
        }
        let mut standing = self.status.subscribe();
        let latched =
            |s: &Option<AccountStatus>| s.as_ref().is_some_and(|s| s.report.latch.is_some());
        if standing.wait_for(latched).await.is_err() {
            // The sender is ours: it lives as long as we do.
            std::future::pending::<()>().await;
        }
    }

    /// Takes in what the keeper said. One that is read again is no fresher; nor is the first, if by our
    /// wall clock it is old: its keeper may be gone. `last_command_seq` is the operators' last that we know of.
    pub(super) fn update_report(&self, seq: u64, report: AccountReport, word: u64) {
        self.status.send_if_modified(|standing| {
            let known = standing.as_ref().map(|s| s.seq);
            let word = standing
                .as_ref()
                .map_or(word, |s| s.last_command_seq.max(word));
            if known.is_some_and(|known| known >= seq) {
                return false;
            }
            let now = Instant::now();
            let age = clock::now().since(report.at);
            let seen = match known {
                None => now.checked_sub(age).unwrap_or(now),
                Some(_) => now,
            };
            *standing = Some(AccountStatus {
                seq,
                report,
                received_at: seen,
                last_command_seq: word,
            });
            true
        });
    }

    /// Takes in that an operator's word of this sequence is there. A report from before it gives no
    /// leave: it might be what stops us.
    fn note_command_seq(&self, word: u64) {
        self.status.send_if_modified(|standing| {
            let news = standing.as_mut().filter(|s| s.last_command_seq < word);
            news.map(|standing| standing.last_command_seq = word)
                .is_some()
        });
    }

    /// Waits until something is known of the account, but not for long: who then knows nothing does not
    /// enter.
    pub async fn wait_until_known(&self) {
        if self.initial_latch.get().is_some() {
            return;
        }
        let mut standing = self.status.subscribe();
        let now = Instant::now();
        let known = |s: &Option<AccountStatus>| {
            let latched_or_known = |s: &AccountStatus| s.report.latch.is_some() || s.is_known(now);
            s.as_ref().is_some_and(latched_or_known)
        };
        if timeout(FIRST_REPORT_TIMEOUT, standing.wait_for(known))
            .await
            .is_err()
        {
            tracing::warn!("nothing is known of the account yet: no entries until it is");
        }
    }
}

/// Follows the keeper's reports until `shutdown`, or until the account is latched and nothing is open here.
///
/// # Errors
/// Exit 21 after a latch.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component("account-monitor");
    component.set_deadline(POLL_INTERVAL * 30);
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut latched: Option<Instant> = None;
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(why) = poll(&ctx).await {
            // The bus is away: what we know grows old by itself.
            tracing::debug!(why, "account's report not read");
        }
        component.record_iteration();
        if let Some(latch) = ctx.account_monitor.latch() {
            let since = *latched.get_or_insert_with(Instant::now);
            let closed = is_closed(&ctx) && no_orphaned_books(&ctx).await;
            if may_end(closed, ctx.execution_client.is_some(), since.elapsed()) {
                return Err(latched_exit(&ctx, &latch));
            }
        }
    }
    Ok(())
}

/// Whether a process of a latched account has nothing more to do.
fn may_end(closed: bool, on_an_exchange: bool, waited: Duration) -> bool {
    closed || (!on_an_exchange && waited > PAPER_CLOSE_TIMEOUT)
}

/// No other process of this account that died, or is about to, left a book open that comes to us once its lease has
/// expired. While the bus does not tell, one may have.
async fn no_orphaned_books(ctx: &Context) -> bool {
    let open = latch_check::open_books(&ctx.bus, &ctx.account).await;
    let ours = |symbol: &String| {
        ctx.symbol_filters
            .keys()
            .any(|known| known.as_str() == symbol)
    };
    open.is_ok_and(|open| !open.iter().any(ours))
}

/// Nothing is open here, and no book is still on its way to us.
fn is_closed(ctx: &Context) -> bool {
    ctx.process_status.phase() != ProcessPhase::Starting && ctx.book_registry.has_nothing_open()
}

/// One look at the operators' last word, and then at the keeper's report. In this order: no report is
/// trusted before it is known which word it must have heard.
async fn poll(ctx: &Context) -> Result<(), String> {
    let commands_subject = Subject::AccountCommandJournal(ctx.account.clone()).to_string();
    let word = ctx
        .bus
        .latest_message(streams::JOURNAL, &commands_subject)
        .await?;
    let word = word.map_or(0, |newest| newest.seq);
    ctx.account_monitor.note_command_seq(word);
    let reports = Subject::AccountReport(ctx.account.clone()).to_string();
    let Some(newest) = ctx.bus.latest_message(streams::REPORTS, &reports).await? else {
        return Ok(());
    };
    match serde_json::from_slice(&newest.payload) {
        Ok(report) => accept_report(ctx, newest.seq, report, word).await,
        Err(error) => ctx
            .process_status
            .record_error("account-monitor", format!("report: {error}")),
    }
    Ok(())
}

/// A latch that an operator has ended counts no more, though the keeper may not have said so yet.
async fn accept_report(ctx: &Context, seq: u64, report: AccountReport, command_seq: u64) {
    if let Some(latch) = &report.latch
        && account_commands::is_latch_ended(ctx, &latch.latch_id).await
    {
        return;
    }
    ctx.account_monitor.update_report(seq, report, command_seq);
}

fn latched_exit(ctx: &Context, latch: &str) -> ExitError {
    let rest = if ctx.book_registry.has_nothing_open() {
        "everything is closed"
    } else {
        "some positions could not be closed"
    };
    ExitError::new(
        ExitCode::AccountLatched,
        format!(
            "account {} is latched ({latch}), {rest}; when it is understood: trader unlatch --latch \
             {latch} --reason TEXT",
            ctx.account
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::report::LatchReport;
    use protocol::time::UtcMs;
    use rust_decimal::Decimal;

    fn report() -> AccountReport {
        AccountReport {
            v: 1,
            at: clock::now(),
            instance: "trader-paper-1".parse().unwrap(),
            seq: 9,
            equity: Decimal::ONE,
            peak: Decimal::ONE,
            day_peak: Decimal::ONE,
            latch: None,
            unvalued_books: Vec::new(),
            command_seq: 5,
            pauses: Vec::new(),
        }
    }

    fn symbol(name: &str) -> SubjectToken {
        name.parse().unwrap()
    }

    #[test]
    fn entry_permission_needs_a_fresh_report_without_latch() {
        let now = Instant::now();
        let standing = |report| AccountStatus {
            seq: 1,
            report,
            received_at: now,
            last_command_seq: 5,
        };
        let good = standing(report());
        assert_eq!(
            good.entry_permission(&symbol("BTCUSDT"), now + MAX_REPORT_AGE),
            EntryPermission::Allowed { seq: 9 }
        );
        let late = now + MAX_REPORT_AGE + Duration::from_millis(1);
        assert_eq!(
            good.entry_permission(&symbol("BTCUSDT"), late),
            EntryPermission::Unknown
        );
        let unknown = standing(AccountReport {
            unvalued_books: vec!["BTCUSDT".parse().unwrap()],
            ..report()
        });
        assert_eq!(
            unknown.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::Unknown
        );
        let latched = standing(AccountReport {
            latch: Some(LatchReport {
                latch_id: "drawdown-1".to_owned(),
                trigger: "drawdown".to_owned(),
                at: UtcMs(1),
            }),
            ..report()
        });
        assert_eq!(
            latched.entry_permission(&symbol("BTCUSDT"), late),
            EntryPermission::Latched,
            "however old"
        );
        let unheard = standing(AccountReport {
            command_seq: 4,
            ..report()
        });
        assert_eq!(
            unheard.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::Unknown
        );
        let paused = standing(AccountReport {
            pauses: vec![PauseReport {
                symbol: Some(symbol("BTCUSDT")),
                by: "operator".to_owned(),
                reason: "a test".to_owned(),
            }],
            ..report()
        });
        assert_eq!(
            paused.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::Paused
        );
        let other = paused.entry_permission(&symbol("ETHUSDT"), now);
        assert_eq!(other, EntryPermission::Allowed { seq: 9 });
        assert_eq!(
            AccountMonitor::default().entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Unknown
        );
    }

    #[tokio::test]
    async fn monitor_started_with_a_latch_denies_entries_despite_later_reports() {
        let watch = AccountMonitor::default();
        watch.start_with_latch("operator-1");
        watch.update_report(4, report(), 5);
        assert_eq!(
            watch.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Latched
        );
        assert_eq!(watch.latch().as_deref(), Some("operator-1"));
        timeout(Duration::from_secs(1), watch.wait_until_latched())
            .await
            .unwrap();
    }

    #[test]
    fn live_process_does_not_end_before_everything_is_closed() {
        let day = Duration::from_hours(24);
        assert!(may_end(true, true, Duration::ZERO));
        assert!(!may_end(false, true, day));
        assert!(!may_end(false, false, PAPER_CLOSE_TIMEOUT));
        assert!(may_end(false, false, day));
    }

    #[test]
    fn report_that_is_read_twice_is_no_fresher() {
        let watch = AccountMonitor::default();
        let old = AccountReport {
            at: UtcMs(0),
            ..report()
        };
        watch.update_report(4, old.clone(), 5);
        assert_eq!(
            watch.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Unknown,
            "who knows whether its keeper lives"
        );
        watch.update_report(5, old, 5);
        assert_eq!(
            watch.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Allowed { seq: 9 },
            "it does"
        );
        let watch = AccountMonitor::default();
        watch.update_report(5, report(), 5);
        assert_eq!(
            watch.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Allowed { seq: 9 }
        );
        let first = watch.status().unwrap().received_at;
        watch.update_report(5, report(), 5);
        assert_eq!(watch.status().unwrap().received_at, first);
        watch.update_report(6, report(), 5);
        assert!(watch.status().unwrap().received_at >= first);
        assert_eq!(watch.status().unwrap().seq, 6);
    }
}
