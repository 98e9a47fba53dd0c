//! The task that feeds the [`AccountMonitor`](super::monitor::AccountMonitor) with the account leader's
//! reports, and ends the process after a latch.

use std::sync::Arc;
use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::host_command;
use protocol::report::AccountReport;
use protocol::subject::Subject;
use runtime::bus::LatestMessage;
use runtime::components::ComponentHandle;
use runtime::exit_error::ExitError;
use runtime::streams;
use runtime::subscription::Subscription;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::command_journal::AccountCommands;
use crate::app::context::Context;

/// Interval of the checks whether the process may end, and of repeating what failed.
const TICK: Duration = Duration::from_secs(1);
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
    };
    let ended = shutdown.run_until_cancelled(task.run(&component)).await;
    ended.map_or(Ok(()), Err)
}

struct MonitorTask<'a> {
    ctx: &'a Context,
    /// The newest report, if it could not be accepted yet.
    unaccepted: Option<LatestMessage>,
    checked_latch: Option<CheckedLatch>,
}

/// Whether an operator has ended a latch, up to one command.
struct CheckedLatch {
    latch_id: String,
    command_seq: u64,
    has_ended: bool,
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
                    if let Some(exit) = self.exit_after_latch() {
                        return exit;
                    }
                }
                report = reports.next() => {
                    self.unaccepted = Some(report);
                    self.accept_newest_report().await;
                }
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

    /// The exit of a process whose account is latched; `None` without a latch, and until the account leader has
    /// recorded that everything is closed.
    fn exit_after_latch(&self) -> Option<ExitError> {
        let latch = self.ctx.account_monitor.latch()?;
        let is_over = self.ctx.account_monitor.is_latched_and_flat() && is_closed(self.ctx);
        is_over.then(|| latched_exit(self.ctx, &latch))
    }
}

/// Whether this process holds nothing open and is not still acquiring books.
fn is_closed(ctx: &Context) -> bool {
    ctx.process_status.phase() != ProcessPhase::Starting && ctx.book_registry.has_nothing_open()
}

fn latched_exit(ctx: &Context, latch: &str) -> ExitError {
    ExitError::new(
        ExitCode::AccountLatched,
        format!(
            "account {} is latched ({latch}), everything is closed; after finding the cause: {}",
            ctx.account,
            host_command::unlatch(ctx.account.mode, latch)
        ),
    )
}
