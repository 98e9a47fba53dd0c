//! What REPORTS holds: accounts, books, and what they were worth. Read when somebody asks; answered with
//! every trader dead.

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
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// Reading all points takes no longer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Points of all books together; 90 days of ten books.
const MAX_POINTS: usize = 300_000;
/// Fewer make no curve.
const MIN_POINTS: usize = 2;

/// Every account that ever had a keeper within 90 days.
///
/// # Errors
/// Why the bus did not answer, in one line.
pub async fn accounts(bus: &Bus) -> Result<Vec<LatestAccountReport>, String> {
    let found = read_newest(bus, filter::ACCOUNT_REPORTS).await?;
    let named = found
        .into_iter()
        .filter_map(|(subject, report)| match Subject::parse(&subject)? {
            Subject::AccountReport(key) => Some((key, report)),
            _ => None,
        });
    Ok(named.collect())
}

/// Every book that reported within 90 days.
///
/// # Errors
/// Why the bus did not answer, in one line.
pub async fn books(bus: &Bus) -> Result<Vec<BookReport>, String> {
    let found = read_newest(bus, filter::BOOK_REPORTS).await?;
    Ok(found.into_iter().map(|(_, report)| report).collect())
}

async fn read_newest<R: DeserializeOwned>(
    bus: &Bus,
    filter: &str,
) -> Result<Vec<(String, R)>, String> {
    let mut subjects = bus.subjects(streams::REPORTS, filter).await?;
    subjects.sort();
    let mut reports = Vec::new();
    for subject in subjects {
        let Some(newest) = bus.latest_message(streams::REPORTS, &subject).await? else {
            continue;
        };
        match serde_json::from_slice(&newest.payload) {
            Ok(report) => reports.push((subject, report)),
            Err(error) => tracing::warn!(subject, %error, "a report that cannot be read"),
        }
    }
    Ok(reports)
}

/// Whether any book has a point.
pub async fn has_equity_points(bus: &Bus) -> bool {
    let found = bus.subjects(streams::REPORTS, filter::EQUITY_REPORTS).await;
    found.is_ok_and(|subjects| !subjects.is_empty())
}

/// The equity's curve as a PNG: of real money where there is any, else of paper. None, with the reason in the
/// log, if there is nothing to draw or it does not work.
pub async fn equity_chart(bus: &Bus) -> Option<Vec<u8>> {
    let points = match timeout(DEADLINE, read_equity_points(bus)).await {
        Ok(Ok(points)) => points,
        Ok(Err(error)) => {
            tracing::warn!(%error, "no picture: points not read");
            return None;
        }
        Err(_) => {
            tracing::warn!("no picture: points not read within {DEADLINE:?}");
            return None;
        }
    };
    let (mode, curve) = points;
    if curve.len() < MIN_POINTS {
        tracing::debug!("no picture: too few points");
        return None;
    }
    let title = format!("Equity of all books ({mode}), USDT");
    let drawn = tokio::task::spawn_blocking(move || chart::equity_curve(&title, &curve, &[]));
    match drawn.await {
        Ok(Ok(png)) => Some(png),
        Ok(Err(error)) => {
            tracing::warn!(%error, "no picture");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "no picture");
            None
        }
    }
}

async fn read_equity_points(bus: &Bus) -> Result<(Mode, Vec<(UtcMs, f64)>), async_nats::Error> {
    let stream = bus.jetstream().get_stream_no_info(streams::REPORTS).await?;
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
            let book = match Subject::parse(&message.subject) {
                Some(Subject::BookEquity(book)) => book,
                _ => continue,
            };
            if let Ok(point) = serde_json::from_slice(&message.payload) {
                books.entry(book).or_default().push(point);
            }
        }
    }
    // Forgotten by itself in half a minute where this fails.
    let _ = stream.delete_consumer(&name).await;
    let is_live = |book: &BookKey| book.account.mode == Mode::Live;
    let live = books.keys().any(is_live);
    let chosen = books.into_iter().filter(|(book, _)| is_live(book) == live);
    let chosen: Vec<Vec<EquityPoint>> = chosen.map(|(_, points)| points).collect();
    let mode = if live { Mode::Live } else { Mode::Paper };
    Ok((mode, equity_curve(&chosen)))
}
