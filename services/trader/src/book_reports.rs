//! Publishes how this instance's books are: REPORTS holds the newest of each for whoever asks, the account's
//! keeper first of all, and what each was worth over time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::VERSION;
use protocol::report::{BookReport, EquityPoint};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::process::ExitError;
use runtime::report_publisher::{Retention, publish};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A book that does not change is reported at least so often: the keeper waits a minute for it.
const MAX_REPORT_INTERVAL: Duration = Duration::from_secs(20);
/// Between two points of a book's equity, if it makes no trade meanwhile.
const EQUITY_POINT_INTERVAL: Duration = Duration::from_mins(5);

/// Reports until `shutdown`.
///
/// # Errors
/// None; it ends when told to.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component("report-publisher");
    component.set_deadline(POLL_INTERVAL * 30);
    let mut published = BTreeMap::new();
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        for (symbol, report) in ctx.book_registry.reports() {
            let last = published.remove(&symbol);
            if let Some(told_now) = publish_if_due(&ctx, report, last).await {
                published.insert(symbol, told_now);
            }
        }
        component.record_iteration();
    }
    Ok(())
}

/// What was told of a book, and when.
struct PublishedReport {
    report: BookReport,
    published_at: Instant,
    equity_published_at: Instant,
}

async fn publish_if_due(
    ctx: &Context,
    report: BookReport,
    last: Option<PublishedReport>,
) -> Option<PublishedReport> {
    let now = Instant::now();
    let since = |at: Instant| now.duration_since(at);
    let (renew, point) = match &last {
        None => (true, true),
        Some(told) => (
            differs_beyond_time(&told.report, &report)
                || since(told.published_at) >= MAX_REPORT_INTERVAL,
            told.report.trades != report.trades
                || since(told.equity_published_at) >= EQUITY_POINT_INTERVAL,
        ),
    };
    if !renew {
        return last;
    }
    let subject = Subject::BookReport(report.book.clone());
    if let Err(why) = publish(&ctx.bus, &subject, &report, Retention::Newest).await {
        tracing::debug!(why, "book not reported");
        return last;
    }
    let mut told = PublishedReport {
        published_at: now,
        equity_published_at: last.map_or(now, |told| told.equity_published_at),
        report,
    };
    if point && let Some(at) = told.report.candle_close {
        let subject = Subject::BookEquity(told.report.book.clone());
        let equity = EquityPoint {
            v: VERSION,
            at,
            equity: told.report.equity,
        };
        match publish(&ctx.bus, &subject, &equity, Retention::All).await {
            Ok(_) => told.equity_published_at = now,
            Err(why) => tracing::debug!(why, "equity not reported"),
        }
    }
    Some(told)
}

/// Whether more than the time differs.
fn differs_beyond_time(last: &BookReport, now: &BookReport) -> bool {
    let without_time = |report: &BookReport| BookReport {
        at: UtcMs(0),
        ..report.clone()
    };
    without_time(last) != without_time(now)
}
