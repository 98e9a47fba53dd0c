//! Publishes how this instance's books are: REPORTS holds the newest of each for whoever asks, the account's
//! keeper first of all, and what each was worth over time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::VERSION;
use protocol::report::{BookReport, EquityPoint};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::process::Stop;
use runtime::reports::{Keep, publish};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

const LOOK: Duration = Duration::from_secs(1);
/// A book that does not change is reported at least so often: the keeper waits a minute for it.
const RENEW: Duration = Duration::from_secs(20);
/// Between two points of a book's equity, if it makes no trade meanwhile.
const POINTS: Duration = Duration::from_mins(5);

/// Reports until `stop`.
///
/// # Errors
/// None; it ends when told to.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) -> Result<(), Stop> {
    let part = ctx.progress.part("reports");
    part.turns_within(LOOK * 30);
    let mut told = BTreeMap::new();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for (symbol, report) in ctx.board.reports() {
            let last = told.remove(&symbol);
            if let Some(told_now) = tell(&ctx, report, last).await {
                told.insert(symbol, told_now);
            }
        }
        part.turn();
    }
    Ok(())
}

/// What was told of a book, and when.
struct Told {
    report: BookReport,
    at: Instant,
    point: Instant,
}

async fn tell(ctx: &Context, report: BookReport, last: Option<Told>) -> Option<Told> {
    let now = Instant::now();
    let since = |at: Instant| now.duration_since(at);
    let (renew, point) = match &last {
        None => (true, true),
        Some(told) => (
            is_news(&told.report, &report) || since(told.at) >= RENEW,
            told.report.trades != report.trades || since(told.point) >= POINTS,
        ),
    };
    if !renew {
        return last;
    }
    let subject = Subject::BookReport(report.book.clone());
    if let Err(why) = publish(&ctx.bus, &subject, &report, Keep::Newest).await {
        tracing::debug!(why, "book not reported");
        return last;
    }
    let mut told = Told {
        at: now,
        point: last.map_or(now, |told| told.point),
        report,
    };
    if point && let Some(at) = told.report.candle_close {
        let subject = Subject::BookEquity(told.report.book.clone());
        let equity = EquityPoint {
            v: VERSION,
            at,
            equity: told.report.equity,
        };
        match publish(&ctx.bus, &subject, &equity, Keep::All).await {
            Ok(_) => told.point = now,
            Err(why) => tracing::debug!(why, "equity not reported"),
        }
    }
    Some(told)
}

/// Whether more than the time differs.
fn is_news(last: &BookReport, now: &BookReport) -> bool {
    let without_time = |report: &BookReport| BookReport {
        at: UtcMs(0),
        ..report.clone()
    };
    without_time(last) != without_time(now)
}
