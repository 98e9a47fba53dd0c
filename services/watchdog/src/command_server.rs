//! Request/reply server of the leading watchdog. Queries are answered from the journal; commands go to the supervisor.

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

/// Commands that may wait.
pub const QUEUE: usize = 8;

/// A command with its reply subject.
#[derive(Debug)]
pub struct ReceivedCommand {
    request: UnitCommandRequest,
    reply: Option<Address>,
}

impl ReceivedCommand {
    /// Command that waits for its reply.
    pub const fn command(&self) -> &UnitCommand {
        &self.request.command
    }

    /// The author of the command.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Logs the result and replies with it: the text of an accepted command, or the rejection.
    pub async fn reply_result(&self, bus: &Bus, result: Result<&str, String>) {
        let (command, by) = (self.command(), self.by());
        let unit = command.unit().map(SubjectToken::as_str);
        let (name, error) = (command.verb(), result.as_ref().err());
        match error {
            None => tracing::info!(command = name, unit, by, "unit command executed"),
            Some(error) => tracing::info!(command = name, unit, by, error, "unit command rejected"),
        }
        let reply = CommandReply {
            v: VERSION,
            ok: result.is_ok(),
            text: result.map_or_else(|error| error, str::to_owned),
            data: None,
        };
        self.reply(bus, &reply).await;
    }

    async fn reply(&self, bus: &Bus, reply_message: &CommandReply) {
        let (Some(reply), Ok(payload)) = (self.reply.clone(), serde_json::to_vec(reply_message))
        else {
            return;
        };
        let sent = bus.client().publish(reply, payload.into());
        if !matches!(timeout(runtime::bus::DEADLINE, sent).await, Ok(Ok(()))) {
            tracing::warn!(command = self.command().verb(), "command reply not sent");
        }
    }
}

/// Serves commands until `shutdown`, or until the supervisor is gone.
pub async fn serve(
    bus: Bus,
    host: HostKey,
    commands: mpsc::Sender<ReceivedCommand>,
    shutdown: CancellationToken,
) {
    let serve = async {
        loop {
            match bus
                .client()
                .subscribe(filter::watchdog_commands(&host))
                .await
            {
                Ok(mut subscription) => {
                    while let Some(message) = subscription.next().await {
                        let Some(command) = parse_command(message) else {
                            continue;
                        };
                        if command.command().is_read_only() {
                            command
                                .reply(&bus, &answer_query(&bus, &host, command.command()).await)
                                .await;
                        } else if commands.send(command).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "command subscription failed"),
            }
            tokio::time::sleep(runtime::bus::DEADLINE).await;
        }
    };
    shutdown.run_until_cancelled(serve).await;
}

async fn answer_query(bus: &Bus, host: &HostKey, command: &UnitCommand) -> CommandReply {
    match timeout(runtime::bus::DEADLINE, ReadModel::read(bus, host)).await {
        Ok(Ok(model)) => model.answer(command, clock::now()),
        Ok(Err(error)) => read_failed(error.message),
        Err(_) => read_failed("journal not read in time; repeat the command".to_owned()),
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

/// The command of a message. `None` if it is invalid, or does not match the subject, which the bus permissions check.
fn parse_command(message: Message) -> Option<ReceivedCommand> {
    let request: UnitCommandRequest = match serde_json::from_slice(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "invalid unit command");
            return None;
        }
    };
    if request.v > VERSION {
        tracing::warn!(
            version = request.v,
            "unit command has an unsupported version"
        );
        return None;
    }
    let verb = request.command.verb();
    let addressed = match Subject::parse(&message.subject) {
        Some(Subject::WatchdogCommand { verb, .. }) => Some(verb),
        _ => None,
    };
    if addressed.as_deref() != Some(verb) {
        tracing::warn!(command = verb, subject = %message.subject, "unit command does not match its subject");
        return None;
    }
    let reply = message.reply;
    Some(ReceivedCommand { request, reply })
}
