//! Publishes the reports and equity points of this process's books. The account leader reads the reports; status
//! commands and the notifier do too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::VERSION;
use protocol::report::{BookReport, EquityPoint};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::exit_error::ExitError;
use runtime::report_publisher::{Retention, publish};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::app::context::Context;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between two reports of a book. The account leader distrusts a report that is older than a minute.
const MAX_REPORT_INTERVAL: Duration = Duration::from_secs(20);
/// Time between two equity points of a book without a trade.
const EQUITY_POINT_INTERVAL: Duration = Duration::from_mins(5);

/// Publishes reports until `shutdown`.
///
/// # Errors
/// Never.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component("report-publisher");
    component.set_deadline(POLL_INTERVAL * 30);
    let mut published = BTreeMap::new();
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        for (symbol, report) in ctx.book_registry.reports() {
            let last = published.remove(&symbol);
            if let Some(now) = publish_if_due(&ctx, report, last).await {
                published.insert(symbol, now);
            }
        }
        component.record_iteration();
    }
    Ok(())
}

/// The last published report of a book, and when it was published.
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
        Some(last) => (
            differs_beyond_time(&last.report, &report)
                || since(last.published_at) >= MAX_REPORT_INTERVAL,
            last.report.trades != report.trades
                || since(last.equity_published_at) >= EQUITY_POINT_INTERVAL,
        ),
    };
    if !renew {
        return last;
    }
    let subject = Subject::BookReport(report.book.clone());
    if let Err(error) = publish(&ctx.bus, &subject, &report, Retention::Newest).await {
        tracing::debug!(error, "book report not published");
        return last;
    }
    let mut published = PublishedReport {
        published_at: now,
        equity_published_at: last.map_or(now, |last| last.equity_published_at),
        report,
    };
    if point && let Some(at) = published.report.candle_close {
        let subject = Subject::BookEquity(published.report.book.clone());
        let equity = EquityPoint {
            v: VERSION,
            at,
            equity: published.report.equity,
        };
        match publish(&ctx.bus, &subject, &equity, Retention::All).await {
            Ok(_) => published.equity_published_at = now,
            Err(error) => tracing::debug!(error, "equity point not published"),
        }
    }
    Some(published)
}

/// Whether two reports differ in more than their time.
fn differs_beyond_time(last: &BookReport, now: &BookReport) -> bool {
    let without_time = |report: &BookReport| BookReport {
        at: UtcMs(0),
        ..report.clone()
    };
    without_time(last) != without_time(now)
}
