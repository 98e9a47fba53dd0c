//! Listens on the bus: heartbeats of traders, and an echo of our own that shows whether the bus
//! carries anything at all. Reports what it hears, judges nothing.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::heartbeat::Heartbeat;
use protocol::ids::{HostKey, ProcessKey};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use watchdog_core::liveness::HeartbeatSample;
use watchdog_core::observed_state::SupervisionEvent;

/// We call to ourselves when nothing was heard for so long.
const ECHO_INTERVAL: Duration = Duration::from_secs(1);
const SEND_DEADLINE: Duration = Duration::from_secs(1);
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Listens until `shutdown`, or until nobody reads the reports.
pub async fn listen(
    bus: Bus,
    host: HostKey,
    events: mpsc::Sender<SupervisionEvent>,
    shutdown: CancellationToken,
) {
    loop {
        let Some(result) = shutdown.run_until_cancelled(subscribe(&bus, &host)).await else {
            return;
        };
        match result {
            Ok(subscribed) => {
                let ended = shutdown
                    .run_until_cancelled(forward_events(&bus, subscribed, &events))
                    .await;
                if ended.is_none() || events.is_closed() {
                    return;
                }
                tracing::warn!("the bus ended a subscription; subscribing again");
            }
            Err(error) => tracing::warn!(error, "cannot listen on the bus"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

struct HeartbeatSubscription {
    heartbeats: Subscriber,
    echoes: Subscriber,
    /// A subject only we listen to.
    inbox: String,
}

async fn subscribe(bus: &Bus, host: &HostKey) -> Result<HeartbeatSubscription, String> {
    let inbox = bus.client().new_inbox();
    let subscribe = async {
        let beats = bus.client().subscribe(filter::host_trader_heartbeats(host)).await?;
        let echoes = bus.client().subscribe(inbox.clone()).await?;
        Ok::<_, async_nats::SubscribeError>((beats, echoes))
    };
    match timeout(runtime::bus::DEADLINE, subscribe).await {
        Ok(Ok((beats, echoes))) => Ok(HeartbeatSubscription {
            heartbeats: beats,
            echoes,
            inbox,
        }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Until a subscription or the reader of our reports is gone.
async fn forward_events(
    bus: &Bus,
    mut subscription: HeartbeatSubscription,
    events: &mpsc::Sender<SupervisionEvent>,
) {
    let mut calls = interval(ECHO_INTERVAL);
    calls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            beat = subscription.heartbeats.next() => match beat {
                Some(message) => {
                    // It shows as well as an echo that the bus carries.
                    calls.reset();
                    read_heartbeat(&message)
                }
                None => return,
            },
            echo = subscription.echoes.next() => match echo {
                Some(_) => Some(SupervisionEvent::BusEchoed),
                None => return,
            },
            _ = calls.tick() => {
                send_echo(bus, &subscription.inbox).await;
                None
            }
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

/// Nothing is left in the client's buffer for later: a late echo would tell of a bus that was away.
async fn send_echo(bus: &Bus, inbox: &str) {
    if bus.is_connected() {
        let call = bus.client().publish(inbox.to_owned(), Vec::new().into());
        if !matches!(timeout(SEND_DEADLINE, call).await, Ok(Ok(()))) {
            tracing::debug!("the bus takes nothing");
        }
    }
}

fn read_heartbeat(message: &Message) -> Option<SupervisionEvent> {
    let Subject::Heartbeat(ProcessKey { instance: unit, .. }) = Subject::parse(&message.subject)?
    else {
        return None;
    };
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
    let beat = HeartbeatSample::from(&heartbeat);
    Some(SupervisionEvent::HeartbeatReceived {
        unit,
        heartbeat: beat,
    })
}
