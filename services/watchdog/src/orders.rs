//! Orders of a person over the bus: request and reply. `watchdog release` sends one; the watchdog that
//! holds the lease obeys or says why not.

use async_nats::{Client, Message, Subject as Address};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::command::{Answer, Release};
use protocol::exit::ExitCode;
use protocol::ids::Token;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::{Bus, Refusal};
use runtime::process::Stop;
use supervision::operator;
use supervision::record::Record;
use supervision::state::State;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Orders that may wait; a person gives one at a time.
pub const QUEUE: usize = 8;
const VERB: &str = "release";

/// An order with the way back to who gave it.
#[derive(Debug)]
pub struct Order {
    release: Release,
    reply: Option<Address>,
}

impl Order {
    /// Whom it is about.
    pub const fn unit(&self) -> &Token {
        &self.release.unit
    }

    /// The record it asks for, or why it is turned down.
    ///
    /// # Errors
    /// One line for who gave it.
    pub fn decide(&self, state: &State, at: UtcMs) -> Result<Record, String> {
        let Release {
            unit, by, total, ..
        } = &self.release;
        let fact = operator::release(state.units.get(unit), by, *total)?;
        Ok(Record::Unit {
            unit: unit.clone(),
            at,
            fact,
        })
    }

    /// Says what came of it. Nobody waits for it any longer than for the record.
    pub async fn answer(&self, bus: &Bus, result: Result<&str, &str>) {
        let unit = &self.release.unit;
        tracing::info!(%unit, by = self.release.by, ?result, "order: release");
        let Some(reply) = self.reply.clone() else {
            return;
        };
        let answer = Answer {
            v: VERSION,
            done: result.is_ok(),
            text: result.unwrap_or_else(|why| why).to_owned(),
            data: None,
        };
        let Ok(payload) = serde_json::to_vec(&answer) else {
            return;
        };
        let sent = bus.client().publish(reply, payload.into());
        if !matches!(timeout(runtime::bus::DEADLINE, sent).await, Ok(Ok(()))) {
            tracing::warn!(%unit, "answer not sent");
        }
    }
}

/// Takes orders until `stop`, or until nobody carries them out.
pub async fn serve(bus: Bus, orders: mpsc::Sender<Order>, stop: CancellationToken) {
    let serve = async {
        loop {
            let subject = Subject::WatchdogCommand(VERB).to_string();
            match bus.client().subscribe(subject).await {
                Ok(mut subscription) => {
                    while let Some(message) = subscription.next().await {
                        if let Some(order) = read(message)
                            && orders.send(order).await.is_err()
                        {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "orders not heard"),
            }
            tokio::time::sleep(runtime::bus::DEADLINE).await;
        }
    };
    stop.run_until_cancelled(serve).await;
}

fn read(message: Message) -> Option<Order> {
    match serde_json::from_slice::<Release>(&message.payload) {
        Ok(release) if release.v <= VERSION => Some(Order {
            release,
            reply: message.reply,
        }),
        Ok(release) => {
            tracing::warn!(version = release.v, "an order of a newer version");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "an order that cannot be read");
            None
        }
    }
}

/// `watchdog release`.
///
/// # Errors
/// Exit 78 for settings, 69 if nobody answers, 64 with the watchdog's own words if it refuses.
pub async fn release(unit: Token, total: bool) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let user = settings.bus.nats_user.as_ref();
    let release = Release {
        v: VERSION,
        unit: unit.clone(),
        by: user.map_or("operator", Token::as_str).to_owned(),
        total,
    };
    let answer = ask(bus.client(), &release).await?;
    let line = format!("{unit}: {}", answer.text);
    if answer.done {
        say(&line);
        Ok(ExitCode::Done)
    } else {
        Err(Stop::new(ExitCode::Usage, line))
    }
}

async fn ask(client: &Client, release: &Release) -> Result<Answer, Stop> {
    let unavailable =
        |why: String| Stop::new(ExitCode::Unavailable, format!("no watchdog answers: {why}"));
    let payload = serde_json::to_vec(release).map_err(|error| unavailable(error.to_string()))?;
    let subject = Subject::WatchdogCommand(VERB).to_string();
    let message = client
        .request(subject, payload.into())
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    serde_json::from_slice(&message.payload).map_err(|error| unavailable(error.to_string()))
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn say(line: &str) {
    println!("{line}");
}
