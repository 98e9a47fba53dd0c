//! Orders of persons over the bus, as request and reply, on the side of the watchdog that holds the lease.
//! What only asks is answered here from the journal; what changes something goes to the supervisor.

use async_nats::{Message, Subject as Address};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest};
use protocol::ids::{HostKey, SubjectToken};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::clock;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::read_model::ReadModel;

/// Orders that may wait; a person gives one at a time.
pub const QUEUE: usize = 8;

/// An order with the way back to who gave it.
#[derive(Debug)]
pub struct ReceivedCommand {
    request: UnitCommandRequest,
    reply: Option<Address>,
}

impl ReceivedCommand {
    /// What is to be done.
    pub const fn command(&self) -> &UnitCommand {
        &self.request.command
    }

    /// Who wants it.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Says that it was obeyed, or why not. Nobody waits for it any longer than for the record.
    pub async fn reply_result(&self, bus: &Bus, result: Result<(), String>) {
        let (order, by) = (self.command(), self.by());
        tracing::info!(
            verb = order.verb(),
            unit = order.unit().map(SubjectToken::as_str),
            by,
            ?result,
            "order"
        );
        let done = result.is_ok();
        let text = result
            .err()
            .unwrap_or_else(|| success_text(order).to_owned());
        let data = None;
        let v = VERSION;
        let answer = CommandReply {
            v,
            ok: done,
            text,
            data,
        };
        self.reply(bus, &answer).await;
    }

    async fn reply(&self, bus: &Bus, answer: &CommandReply) {
        let (Some(reply), Ok(payload)) = (self.reply.clone(), serde_json::to_vec(answer)) else {
            return;
        };
        let sent = bus.client().publish(reply, payload.into());
        if !matches!(timeout(runtime::bus::DEADLINE, sent).await, Ok(Ok(()))) {
            tracing::warn!(verb = self.command().verb(), "answer not sent");
        }
    }
}

/// What is journaled by now and follows.
const fn success_text(order: &UnitCommand) -> &'static str {
    match order {
        UnitCommand::Stop { .. } => "it is being stopped and stays down until it is started",
        UnitCommand::Start { .. } => "it is being started",
        UnitCommand::Restart { .. } => "it is being restarted",
        UnitCommand::Hold { .. } => "held: it is only watched until it is released",
        UnitCommand::Release { .. } => "released",
        UnitCommand::Status | UnitCommand::Explain { .. } | UnitCommand::History { .. } => "",
    }
}

/// Takes orders until `shutdown`, or until nobody carries them out.
pub async fn serve(
    bus: Bus,
    host: HostKey,
    commands: mpsc::Sender<ReceivedCommand>,
    shutdown: CancellationToken,
) {
    let serve = async {
        loop {
            match bus.client().subscribe(filter::watchdog_commands(&host)).await {
                Ok(mut subscription) => {
                    while let Some(message) = subscription.next().await {
                        let Some(order) = parse_command(message) else {
                            continue;
                        };
                        if order.command().is_read_only() {
                            order
                                .reply(&bus, &answer_query(&bus, &host, order.command()).await)
                                .await;
                        } else if commands.send(order).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "orders not heard"),
            }
            tokio::time::sleep(runtime::bus::DEADLINE).await;
        }
    };
    shutdown.run_until_cancelled(serve).await;
}

async fn answer_query(bus: &Bus, host: &HostKey, order: &UnitCommand) -> CommandReply {
    match timeout(runtime::bus::DEADLINE, ReadModel::read(bus, host)).await {
        Ok(Ok(view)) => view.answer(order, clock::now()),
        Ok(Err(stop)) => read_failed(stop.message),
        Err(_) => read_failed("the journal was not read in time".to_owned()),
    }
}

const fn read_failed(text: String) -> CommandReply {
    CommandReply {
        v: VERSION,
        ok: false,
        text,
        data: None,
    }
}

/// The subject is what the bus allows or forbids: a message that says another verb is none of ours.
fn parse_command(message: Message) -> Option<ReceivedCommand> {
    let request: UnitCommandRequest = match serde_json::from_slice(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "an order that cannot be read");
            return None;
        }
    };
    if request.v > VERSION {
        tracing::warn!(version = request.v, "an order of a newer version");
        return None;
    }
    let verb = request.command.verb();
    let addressed = match Subject::parse(&message.subject) {
        Some(Subject::WatchdogCommand { verb, .. }) => Some(verb),
        _ => None,
    };
    if addressed.as_deref() != Some(verb) {
        tracing::warn!(verb, subject = %message.subject, "an order on another verb's subject");
        return None;
    }
    let reply = message.reply;
    Some(ReceivedCommand { request, reply })
}
