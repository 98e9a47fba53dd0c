//! The task that feeds the [`AccountMonitor`](super::monitor::AccountMonitor) with the account leader's
//! reports, and ends the process after a latch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::report::AccountReport;
use protocol::subject::{Subject, filter};
use runtime::bus::LatestMessage;
use runtime::components::ComponentHandle;
use runtime::exit_error::ExitError;
use runtime::streams;
use runtime::subscription::Subscription;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::command_journal::AccountCommands;
use crate::app::context::Context;
use crate::books::book_journal::open_books;

/// Interval of the checks whether the process may end, and of repeating what failed.
const TICK: Duration = Duration::from_secs(1);
/// How long paper books may take to close everything after a latch. A live process waits until everything is
/// closed, because no other process would close it.
const PAPER_CLOSE_TIMEOUT: Duration = Duration::from_mins(1);

/// Follows the account leader's reports until `shutdown`, or until the account is latched and this process has
/// nothing open.
///
/// # Errors
/// Exit 21 after a latch.
pub(crate) async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component("account-monitor");
    component.set_deadline(TICK * 30);
    let task = MonitorTask {
        ctx: &ctx,
        unaccepted: None,
        checked_latch: None,
        closing: None,
    };
    let ended = shutdown.run_until_cancelled(task.run(&component)).await;
    ended.map_or(Ok(()), Err)
}

struct MonitorTask<'a> {
    ctx: &'a Context,
    /// The newest report, if it could not be accepted yet.
    unaccepted: Option<LatestMessage>,
    checked_latch: Option<CheckedLatch>,
    /// Set while the account is latched.
    closing: Option<ClosingAccount>,
}

/// Whether an operator has ended a latch, up to one command.
struct CheckedLatch {
    latch_id: String,
    command_seq: u64,
    has_ended: bool,
}

/// A latched account whose positions are being closed.
struct ClosingAccount {
    latched_since: Instant,
    /// Journals of all books of the account.
    journals: Subscription,
    /// Whether the journals must be read: first, after each change, and after a failure.
    is_read_due: bool,
}

impl MonitorTask<'_> {
    /// Runs until the process must end because of a latch.
    async fn run(mut self, component: &ComponentHandle) -> ExitError {
        let Context { bus, account, .. } = self.ctx;
        let commands = Subject::AccountCommandJournal(account.clone()).to_string();
        let mut commands = Subscription::start(bus, streams::JOURNAL, commands);
        let reports = Subject::AccountReport(account.clone()).to_string();
        let mut reports = Subscription::start(bus, streams::REPORTS, reports);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = commands.next() => {
                    self.ctx.account_monitor.note_command_seq(command.seq);
                }
                _ = ticks.tick() => {
                    self.accept_newest_report().await;
                    if let Some(exit) = self.exit_after_latch().await {
                        return exit;
                    }
                }
                report = reports.next() => {
                    self.unaccepted = Some(report);
                    self.accept_newest_report().await;
                }
                () = journal_changed(&mut self.closing) => {}
            }
            component.record_iteration();
        }
    }

    /// Accepts the newest report, if it is not accepted yet; a failure is repeated at the next tick.
    async fn accept_newest_report(&mut self) {
        if let Some(message) = self.unaccepted.take()
            && let Err(error) = self.accept(&message).await
        {
            // Without the bus the last report becomes too old, and entries are blocked.
            tracing::debug!(error, "account report not accepted");
            self.unaccepted = Some(message);
        }
    }

    /// Reads the newest command's sequence and accepts a report. A report is trusted only if it includes the newest
    /// command, so a pushed sequence is not enough.
    async fn accept(&mut self, message: &LatestMessage) -> Result<(), String> {
        let ctx = self.ctx;
        let commands = Subject::AccountCommandJournal(ctx.account.clone()).to_string();
        let newest = ctx.bus.latest_message(streams::JOURNAL, &commands).await?;
        let command_seq = newest.map_or(0, |newest| newest.seq);
        ctx.account_monitor.note_command_seq(command_seq);
        let Some(report) = message.json::<AccountReport>() else {
            let error = "account report not readable";
            ctx.process_status.record_error("account-monitor", error);
            return Ok(());
        };
        // The account leader's next report is without a latch that an operator has ended.
        if let Some(latch) = &report.latch
            && self.has_ended(&latch.latch_id, command_seq).await
        {
            return Ok(());
        }
        ctx.account_monitor
            .update_report(message.seq, report, command_seq);
        Ok(())
    }

    /// Whether an operator has ended a latch. Reads the commands once for each latch and newest command.
    async fn has_ended(&mut self, latch_id: &str, command_seq: u64) -> bool {
        if let Some(checked) = &self.checked_latch
            && (checked.latch_id.as_str(), checked.command_seq) == (latch_id, command_seq)
        {
            return checked.has_ended;
        }
        match AccountCommands::read(&self.ctx.bus, &self.ctx.account).await {
            Ok(commands) => {
                let has_ended = commands.ends_latch(latch_id);
                self.checked_latch = Some(CheckedLatch {
                    latch_id: latch_id.to_owned(),
                    command_seq,
                    has_ended,
                });
                has_ended
            }
            Err(error) => {
                tracing::debug!(error, "account commands not read");
                false
            }
        }
    }

    /// The exit of a process whose account is latched; `None` without a latch, or while something must be closed.
    async fn exit_after_latch(&mut self) -> Option<ExitError> {
        let ctx = self.ctx;
        let Some(latch) = ctx.account_monitor.latch() else {
            self.closing = None;
            return None;
        };
        let closing = self.closing.get_or_insert_with(|| {
            let journals = filter::account_book_journals(&ctx.account);
            ClosingAccount {
                latched_since: Instant::now(),
                journals: Subscription::start(&ctx.bus, streams::JOURNAL, journals),
                is_read_due: true,
            }
        });
        let closed = is_closed(ctx) && closing.has_no_orphaned_books(ctx).await;
        let waited = closing.latched_since.elapsed();
        may_end(closed, ctx.execution_client.is_some(), waited).then(|| latched_exit(ctx, &latch))
    }
}

/// Waits for a change of a book's journal while the account is latched.
async fn journal_changed(closing: &mut Option<ClosingAccount>) {
    match closing {
        Some(closing) => {
            closing.journals.next().await;
            closing.is_read_due = true;
        }
        None => std::future::pending().await,
    }
}

impl ClosingAccount {
    /// True if no book of the account is open in any journal. A book of a crashed process may still be assigned to
    /// this one, once its lease has expired. False if the bus cannot be read, and while no journal has changed.
    async fn has_no_orphaned_books(&mut self, ctx: &Context) -> bool {
        if !self.is_read_due {
            return false;
        }
        let is_traded = |symbol: &String| {
            let mut known = ctx.managed_symbols();
            known.any(|known| known.as_str() == symbol)
        };
        match open_books(&ctx.bus, &ctx.account).await {
            Ok(open) => {
                self.is_read_due = false;
                !open.iter().any(is_traded)
            }
            Err(error) => {
                tracing::debug!(error, "journals of the books not read");
                false
            }
        }
    }
}

/// Whether a process of a latched account may end.
fn may_end(closed: bool, is_live: bool, waited: Duration) -> bool {
    closed || (!is_live && waited > PAPER_CLOSE_TIMEOUT)
}

/// Whether this process holds nothing open and is not still acquiring books.
fn is_closed(ctx: &Context) -> bool {
    ctx.process_status.phase() != ProcessPhase::Starting && ctx.book_registry.has_nothing_open()
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
            "account {} is latched ({latch}), {rest}; after finding the cause: scripts/bearish unlatch \
             --latch {latch} --reason TEXT",
            ctx.account
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_process_does_not_end_before_everything_is_closed() {
        let day = Duration::from_hours(24);
        assert!(may_end(true, true, Duration::ZERO));
        assert!(!may_end(false, true, day));
        assert!(!may_end(false, false, PAPER_CLOSE_TIMEOUT));
        assert!(may_end(false, false, day));
    }
}
