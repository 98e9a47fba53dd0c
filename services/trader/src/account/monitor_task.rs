//! The task that feeds the [`AccountMonitor`](super::monitor::AccountMonitor) with the account leader's
//! reports, and ends the process after a latch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::report::AccountReport;
use protocol::subject::Subject;
use runtime::exit_error::ExitError;
use runtime::streams;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::command_journal::AccountCommands;
use crate::app::context::Context;
use crate::books::book_journal::open_books;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
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
    component.set_deadline(POLL_INTERVAL * 30);
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut latched_since: Option<Instant> = None;
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = poll(&ctx).await {
            // Without the bus the last report becomes too old, and entries are blocked.
            tracing::debug!(error, "account report not read");
        }
        component.record_iteration();
        if let Some(latch) = ctx.account_monitor.latch() {
            let since = *latched_since.get_or_insert_with(Instant::now);
            let closed = is_closed(&ctx) && has_no_orphaned_books(&ctx).await;
            if may_end(closed, ctx.execution_client.is_some(), since.elapsed()) {
                return Err(latched_exit(&ctx, &latch));
            }
        }
    }
    Ok(())
}

/// Whether a process of a latched account may end.
fn may_end(closed: bool, is_live: bool, waited: Duration) -> bool {
    closed || (!is_live && waited > PAPER_CLOSE_TIMEOUT)
}

/// True if no book of the account is open in any journal. A book of a crashed process may still be assigned to
/// this one, once its lease has expired. False if the bus cannot be read.
async fn has_no_orphaned_books(ctx: &Context) -> bool {
    let is_traded = |symbol: &String| {
        ctx.symbol_filters
            .keys()
            .any(|known| known.as_str() == symbol)
    };
    open_books(&ctx.bus, &ctx.account)
        .await
        .is_ok_and(|open| !open.iter().any(is_traded))
}

/// Whether this process holds nothing open and is not still acquiring books.
fn is_closed(ctx: &Context) -> bool {
    ctx.process_status.phase() != ProcessPhase::Starting && ctx.book_registry.has_nothing_open()
}

/// Reads the newest command's sequence, then the newest report. The order matters: a report is trusted only
/// if it includes the newest command.
async fn poll(ctx: &Context) -> Result<(), String> {
    let commands = Subject::AccountCommandJournal(ctx.account.clone()).to_string();
    let newest_command = ctx.bus.latest_message(streams::JOURNAL, &commands).await?;
    let command_seq = newest_command.map_or(0, |newest| newest.seq);
    ctx.account_monitor.note_command_seq(command_seq);
    let reports = Subject::AccountReport(ctx.account.clone()).to_string();
    let Some(newest) = ctx.bus.latest_message(streams::REPORTS, &reports).await? else {
        return Ok(());
    };
    match serde_json::from_slice(&newest.payload) {
        Ok(report) => accept_report(ctx, newest.seq, report, command_seq).await,
        Err(error) => ctx
            .process_status
            .record_error("account-monitor", format!("account report: {error}")),
    }
    Ok(())
}

/// Ignores a report whose latch an operator has ended already; the account leader's next report is without it.
async fn accept_report(ctx: &Context, seq: u64, report: AccountReport, command_seq: u64) {
    if let Some(latch) = &report.latch {
        match AccountCommands::read(&ctx.bus, &ctx.account).await {
            Ok(commands) if commands.ends_latch(&latch.latch_id) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(error, "account commands not read"),
        }
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
