//! Reads the streams REPORTS and EQUITY: accounts, books and equity points. Works without any trader running.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use notifier_core::replies::{LatestAccountReport, equity_curve};
use protocol::ids::{BookKey, Mode};
use protocol::report::{BookReport, EquityPoint};
use protocol::subject::{Subject, filter};
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::{chart, clock, streams};
use tokio::time::timeout;

/// Deadline for reading all equity points.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most points of all books together; 90 days of ten books.
const MAX_POINTS: usize = 300_000;
/// Fewest points of a curve.
const MIN_POINTS: usize = 2;

/// Newest report of every account that an account leader reported within 90 days.
///
/// # Errors
/// One line if the bus does not answer.
pub async fn accounts(bus: &Bus) -> Result<Vec<LatestAccountReport>, String> {
    let found = bus.newest_json_of_each(streams::REPORTS, filter::ACCOUNT_REPORTS);
    let found = found.await?;
    let named = found
        .into_iter()
        .filter_map(|(subject, report)| match Subject::parse(&subject)? {
            Subject::AccountReport(key) => Some((key, report)),
            _ => None,
        });
    Ok(named.collect())
}

/// Newest report of every book that was reported within 90 days.
///
/// # Errors
/// One line if the bus does not answer.
pub async fn books(bus: &Bus) -> Result<Vec<BookReport>, String> {
    let found = bus.newest_json_of_each(streams::REPORTS, filter::BOOK_REPORTS);
    let found = found.await?;
    Ok(found.into_iter().map(|(_, report)| report).collect())
}

/// Whether any book has an equity point.
pub async fn has_equity_points(bus: &Bus) -> bool {
    let found = bus.subjects(streams::EQUITY, filter::EQUITY_REPORTS).await;
    found.is_ok_and(|subjects| !subjects.is_empty())
}

/// Equity curve of all books as a PNG: of live books if there are any, else of paper books. `None`, with the reason in
/// the log, if there are too few points or drawing fails.
pub async fn equity_chart(bus: &Bus) -> Option<Vec<u8>> {
    let points = match timeout(DEADLINE, read_equity_points(bus)).await {
        Ok(Ok(points)) => points,
        Ok(Err(error)) => {
            tracing::warn!(%error, "equity chart: points unavailable");
            return None;
        }
        Err(_) => {
            tracing::warn!("equity chart: points not read within {DEADLINE:?}");
            return None;
        }
    };
    let (mode, curve) = points;
    if curve.len() < MIN_POINTS {
        tracing::debug!("equity chart: too few points");
        return None;
    }
    let title = format!("Equity of all books ({mode}), USDT");
    let chart = tokio::task::spawn_blocking(move || chart::equity_curve(&title, &curve, &[]));
    match chart.await {
        Ok(Ok(png)) => Some(png),
        Ok(Err(error)) => {
            tracing::warn!(%error, "equity chart: drawing failed");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "equity chart: drawing failed");
            None
        }
    }
}

async fn read_equity_points(bus: &Bus) -> Result<(Mode, Vec<(UtcMs, f64)>), async_nats::Error> {
    let stream = bus.jetstream().get_stream_no_info(streams::EQUITY).await?;
    let name = format!("notifier-curve-{}", clock::now().0);
    let consumer = stream
        .create_consumer(pull::Config {
            // A name and one filter put both into the API subject, where permissions can see them.
            name: Some(name.clone()),
            filter_subject: filter::EQUITY_REPORTS.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        })
        .await?;
    let pending = usize::try_from(consumer.cached_info().num_pending).unwrap_or(0);
    let mut books: BTreeMap<BookKey, Vec<EquityPoint>> = BTreeMap::new();
    if pending > 0 {
        let messages = consumer.stream().max_messages_per_batch(1_000).messages();
        let mut messages = messages.await?.take(pending.min(MAX_POINTS));
        while let Some(message) = messages.next().await {
            let message = message?;
            let Some(Subject::BookEquity(book)) = Subject::parse(&message.subject) else {
                continue;
            };
            if let Ok(point) = serde_json::from_slice(&message.payload) {
                books.entry(book).or_default().push(point);
            }
        }
    }
    // If this fails, the bus deletes the consumer after its inactive threshold.
    let _ = stream.delete_consumer(&name).await;
    let is_live = |book: &BookKey| book.account.mode == Mode::Live;
    let live = books.keys().any(is_live);
    let chosen = books.into_iter().filter(|(book, _)| is_live(book) == live);
    let chosen: Vec<Vec<EquityPoint>> = chosen.map(|(_, points)| points).collect();
    let mode = if live { Mode::Live } else { Mode::Paper };
    Ok((mode, equity_curve(&chosen)))
}
