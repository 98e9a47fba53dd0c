//! Receives the heartbeats of traders, and an echo of the watchdog's own messages, which shows whether the bus carries
//! anything.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::heartbeat::Heartbeat;
use protocol::ids::{HostKey, Mode};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use watchdog_core::liveness::HeartbeatSample;
use watchdog_core::observed_state::SupervisionEvent;

/// Time without a message after which the watchdog sends an echo.
const ECHO_INTERVAL: Duration = Duration::from_secs(1);
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// Size limit of a heartbeat. That of a trader with 500 books has 100 KB.
const MAX_HEARTBEAT_BYTES: usize = 256 * 1024;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Listens until `shutdown`, or until the event channel is closed.
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
            Ok(subscription) => {
                let ended = shutdown
                    .run_until_cancelled(forward_events(&bus, subscription, &events))
                    .await;
                if ended.is_none() || events.is_closed() {
                    return;
                }
                tracing::warn!("heartbeat subscription ended; subscribing again");
            }
            Err(error) => tracing::warn!(error, "heartbeat subscription failed"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

struct HeartbeatSubscription {
    /// Of paper and of live traders.
    heartbeats: [Subscriber; 2],
    echoes: Subscriber,
    /// Subject that only this process subscribes to.
    inbox: String,
}

async fn subscribe(bus: &Bus, host: &HostKey) -> Result<HeartbeatSubscription, String> {
    let inbox = bus.client().new_inbox();
    let subscribe = async {
        let of_mode = |mode| {
            let subject = filter::host_trader_heartbeats(mode, host);
            bus.client().subscribe(subject)
        };
        let heartbeats = [of_mode(Mode::Paper).await?, of_mode(Mode::Live).await?];
        let echoes = bus.client().subscribe(inbox.clone()).await?;
        Ok::<_, async_nats::SubscribeError>((heartbeats, echoes))
    };
    match timeout(runtime::bus::DEADLINE, subscribe).await {
        Ok(Ok((heartbeats, echoes))) => Ok(HeartbeatSubscription {
            heartbeats,
            echoes,
            inbox,
        }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Forwards messages until a subscription ends or the event channel is closed.
async fn forward_events(
    bus: &Bus,
    mut subscription: HeartbeatSubscription,
    events: &mpsc::Sender<SupervisionEvent>,
) {
    let [paper, live] = &mut subscription.heartbeats;
    let mut echo_ticks = interval(ECHO_INTERVAL);
    echo_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            message_or_end = next_of(paper, live) => match message_or_end {
                Some(message) => {
                    // A heartbeat proves as much as an echo.
                    echo_ticks.reset();
                    read_heartbeat(&message)
                }
                None => return,
            },
            echo = subscription.echoes.next() => match echo {
                Some(_) => Some(SupervisionEvent::BusEchoed),
                None => return,
            },
            _ = echo_ticks.tick() => {
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

/// The next heartbeat of either mode. `None` if one of the subscriptions ended. Cancel-safe.
async fn next_of(paper: &mut Subscriber, live: &mut Subscriber) -> Option<Message> {
    tokio::select! {
        message = paper.next() => message,
        message = live.next() => message,
    }
}

/// Sends an echo. Nothing may stay in the client's buffer: an echo sent late would hide a bus outage.
async fn send_echo(bus: &Bus, inbox: &str) {
    if bus.is_connected() {
        let publish = bus.client().publish(inbox.to_owned(), Vec::new().into());
        if !matches!(timeout(SEND_DEADLINE, publish).await, Ok(Ok(()))) {
            tracing::debug!("echo publish timed out");
        }
    }
}

fn read_heartbeat(message: &Message) -> Option<SupervisionEvent> {
    let Subject::Heartbeat(process) = Subject::parse(&message.subject)? else {
        return None;
    };
    let (unit, mode) = (process.instance, process.role.mode()?);
    if message.payload.len() > MAX_HEARTBEAT_BYTES {
        tracing::warn!(%unit, bytes = message.payload.len(), "heartbeat too large; ignored");
        return None;
    }
    let heartbeat: Heartbeat = match serde_json::from_slice(&message.payload) {
        Ok(heartbeat) => heartbeat,
        Err(error) => {
            tracing::warn!(%unit, %error, "invalid heartbeat");
            return None;
        }
    };
    if heartbeat.v > VERSION {
        tracing::warn!(%unit, version = heartbeat.v, "heartbeat has a newer version");
    }
    let message_or_end = HeartbeatSample::new(mode, &heartbeat);
    Some(SupervisionEvent::HeartbeatReceived {
        unit,
        heartbeat: message_or_end,
    })
}
