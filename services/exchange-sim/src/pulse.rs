//! What makes the streams speak: wakes at each candle's close and four times a second, sees what is
//! due, publishes it. Not here: who is subscribed and what an event looks like (`ws/`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::desk::Desk;
use crate::exchange::{Exchange, Moment};
use crate::ws::event;
use crate::ws::hub::{Frame, StreamKey};
use protocol::time::UtcMs;

/// Wall time between two updates of a running candle.
const UPDATE_EVERY: Duration = Duration::from_millis(250);
/// At high speeds candles close faster than waking for each would be worth; they come in batches.
const WAKE_AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Runs until `shutdown`.
pub(crate) async fn run(exchange: Arc<Exchange>, desk: Arc<Desk>, shutdown: CancellationToken) {
    let mut clock_moves = exchange.clock_moves();
    let mut next_update = Instant::now() + UPDATE_EVERY;
    let mut told_the_end = false;
    loop {
        if !wait(&exchange, next_update, &mut clock_moves, &shutdown).await {
            return;
        }
        let update = Instant::now() >= next_update;
        if update {
            next_update = Instant::now() + UPDATE_EVERY;
        }
        beat(&exchange, update);
        // What the price has reached since: without this, users would hear of it when they ask.
        if !desk.keys().is_empty() && desk.run(|_, _| Ok(())).await.is_err() {
            debug!("trading has ended");
        }
        if !told_the_end && exchange.ended() {
            told_the_end = true;
            let now = UtcMs(exchange.now_ms());
            info!(exchange_time = %now, "the recording is over: exchange time stands still from here on");
        }
    }
}

/// Waits for the next close or update; false when the process ends.
async fn wait(
    exchange: &Exchange,
    next_update: Instant,
    clock_moves: &mut watch::Receiver<u64>,
    shutdown: &CancellationToken,
) -> bool {
    let now = Instant::now();
    let close = exchange
        .until_next_close()
        .map_or(next_update, |wait| now + wait.max(WAKE_AT_MOST_EVERY));
    tokio::select! {
        () = shutdown.cancelled() => false,
        // A clock that just started has its next close elsewhere.
        Ok(()) = clock_moves.changed() => true,
        () = sleep_until(close.min(next_update)) => true,
    }
}

/// Publishes what is due.
fn beat(exchange: &Exchange, update: bool) {
    let streams = exchange.hub().told();
    let (now_ms, due) = exchange.at_once(|moment| {
        let due: Vec<_> = streams
            .into_iter()
            .map(|(key, told_ms)| (key, frames(&moment, key, told_ms, update)))
            .collect();
        (moment.now_ms, due)
    });
    let mut hub = exchange.hub();
    for (key, frames) in due {
        hub.publish(key, &frames, now_ms);
    }
}

/// The events of one stream: each candle closed since `told_ms`, then the running one.
fn frames(moment: &Moment<'_>, key: StreamKey, told_ms: i64, update: bool) -> Vec<Frame> {
    let Some(contract) = moment.market.listed().get(key.position) else {
        return Vec::new();
    };
    let closed = moment
        .market
        .closed_after(key.position, key.interval, told_ms);
    let running = (update && moment.runs)
        .then(|| {
            moment
                .market
                .running(key.position, key.interval, moment.now_ms)
        })
        .flatten();
    let closed = closed.iter().map(|candle| (candle, true));
    let running = running.iter().map(|candle| (candle, false));
    closed
        .chain(running)
        .filter_map(|(candle, is_closed)| {
            event::kline(contract, key.interval, candle, is_closed, moment.now_ms)
                .inspect_err(|e| error!(error = %e, "an event could not be written"))
                .ok()
        })
        .collect()
}
