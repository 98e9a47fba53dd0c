//! Listens on the bus: heartbeats of traders, and an echo of our own that shows whether the bus
//! carries anything at all. Reports what it hears, judges nothing.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::heartbeat::Heartbeat;
use protocol::ids::Token;
use protocol::subject::filter;
use runtime::bus::Bus;
use supervision::pulse::Beat;
use supervision::watch::Event;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// We call to ourselves when nothing was heard for so long.
const ECHO: Duration = Duration::from_secs(1);
const SEND: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(1);

/// Listens until `stop`, or until nobody reads the reports.
pub async fn listen(bus: Bus, reports: mpsc::Sender<Event>, stop: CancellationToken) {
    loop {
        let Some(result) = stop.run_until_cancelled(subscribe(&bus)).await else {
            return;
        };
        match result {
            Ok(subscribed) => {
                let ended = stop
                    .run_until_cancelled(hear(&bus, subscribed, &reports))
                    .await;
                if ended.is_none() || reports.is_closed() {
                    return;
                }
                tracing::warn!("the bus ended a subscription; subscribing again");
            }
            Err(error) => tracing::warn!(error, "cannot listen on the bus"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

struct Subscribed {
    beats: Subscriber,
    echoes: Subscriber,
    /// A subject only we listen to.
    inbox: String,
}

async fn subscribe(bus: &Bus) -> Result<Subscribed, String> {
    let inbox = bus.client().new_inbox();
    let subscribe = async {
        let beats = bus.client().subscribe(filter::TRADER_HEARTBEATS).await?;
        let echoes = bus.client().subscribe(inbox.clone()).await?;
        Ok::<_, async_nats::SubscribeError>((beats, echoes))
    };
    match timeout(runtime::bus::DEADLINE, subscribe).await {
        Ok(Ok((beats, echoes))) => Ok(Subscribed {
            beats,
            echoes,
            inbox,
        }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Until a subscription or the reader of our reports is gone.
async fn hear(bus: &Bus, mut on: Subscribed, reports: &mpsc::Sender<Event>) {
    let mut calls = interval(ECHO);
    calls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            beat = on.beats.next() => match beat {
                Some(message) => {
                    // It shows as well as an echo that the bus carries.
                    calls.reset();
                    read(&message)
                }
                None => return,
            },
            echo = on.echoes.next() => match echo {
                Some(_) => Some(Event::Echoed),
                None => return,
            },
            _ = calls.tick() => {
                call(bus, &on.inbox).await;
                None
            }
        };
        if let Some(event) = event
            && reports.send(event).await.is_err()
        {
            return;
        }
    }
}

/// Nothing is left in the client's buffer for later: a late echo would tell of a bus that was away.
async fn call(bus: &Bus, inbox: &str) {
    if bus.is_connected() {
        let call = bus.client().publish(inbox.to_owned(), Vec::new().into());
        if !matches!(timeout(SEND, call).await, Ok(Ok(()))) {
            tracing::debug!("the bus takes nothing");
        }
    }
}

fn read(message: &Message) -> Option<Event> {
    let unit: Token = message.subject.rsplit('.').next()?.parse().ok()?;
    let heartbeat: Heartbeat = match serde_json::from_slice(&message.payload) {
        Ok(heartbeat) => heartbeat,
        Err(error) => {
            tracing::warn!(%unit, %error, "a heartbeat that cannot be read");
            return None;
        }
    };
    if heartbeat.v > VERSION {
        tracing::warn!(%unit, version = heartbeat.v, "a heartbeat of a newer version");
    }
    let beat = Beat::from(&heartbeat);
    Some(Event::Beat { unit, beat })
}
