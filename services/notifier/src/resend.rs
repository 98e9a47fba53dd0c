//! Dead letters sent again: the command that asks for it, and the side of the notifier at work that hears it.
//! Whether there is such a letter is the brain's business; the courier journals the answer before it is given.

use async_nats::{Message, RequestErrorKind, Subject as Address};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::command::{CommandReply, DeadLetterSelection, ResendRequest};
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError, DEADLINE};
use runtime::process::ExitError;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Wishes that may wait; a person has one at a time.
pub const QUEUE_CAPACITY: usize = 4;

/// A wish with the way back to who has it.
pub struct PendingResend {
    request: ResendRequest,
    reply: Option<Address>,
}

impl PendingResend {
    /// Which letters.
    pub const fn selection(&self) -> DeadLetterSelection {
        self.request.selection
    }

    /// Whose it is.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Says what came of it. Nobody waits for that any longer than for the record.
    pub async fn respond(self, bus: &Bus, result: Result<String, String>) {
        let answer = CommandReply {
            v: VERSION,
            ok: result.is_ok(),
            text: result.unwrap_or_else(|why| why),
            data: None,
        };
        let (Some(reply), Ok(payload)) = (self.reply, serde_json::to_vec(&answer)) else {
            return;
        };
        let sent = bus.client().publish(reply, payload.into());
        if !matches!(timeout(DEADLINE, sent).await, Ok(Ok(()))) {
            tracing::warn!("answer not sent");
        }
    }
}

/// Hands on wishes until `stop`, or until nobody takes them.
pub async fn receive_requests(
    bus: Bus,
    requests: mpsc::Sender<PendingResend>,
    shutdown: CancellationToken,
) {
    let hear = async {
        loop {
            match bus
                .client()
                .subscribe(Subject::NotifierResend.to_string())
                .await
            {
                Ok(mut subscription) => {
                    while let Some(message) = subscription.next().await {
                        if let Some(wish) = parse_request(message)
                            && requests.send(wish).await.is_err()
                        {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "wishes not heard"),
            }
            tokio::time::sleep(DEADLINE).await;
        }
    };
    shutdown.run_until_cancelled(hear).await;
}

fn parse_request(message: Message) -> Option<PendingResend> {
    let request: ResendRequest = match serde_json::from_slice(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "a wish that cannot be read");
            return None;
        }
    };
    if request.v > VERSION {
        tracing::warn!(version = request.v, "a wish of a newer version");
        return None;
    }
    let reply = message.reply;
    Some(PendingResend { request, reply })
}

/// `notifier resend`: asks the notifier at work.
///
/// # Errors
/// Exit 78 for settings, 69 if the bus or the notifier does not answer, 64 if there is no such letter.
pub async fn run(letters: DeadLetterSelection) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let user = settings.bus.nats_user.as_ref();
    let request = ResendRequest {
        v: VERSION,
        by: format!(
            "{} (command line)",
            user.map_or("operator", SubjectToken::as_str)
        ),
        selection: letters,
    };
    let answer = send_request(&bus, &request).await?;
    if !answer.ok {
        return Err(ExitError::new(ExitCode::Usage, answer.text));
    }
    runtime::stdout::print_line(&answer.text)?;
    Ok(ExitCode::Success)
}

async fn send_request(bus: &Bus, request: &ResendRequest) -> Result<CommandReply, ExitError> {
    let unavailable = |why: String| ExitError::new(ExitCode::Unavailable, why);
    let payload = serde_json::to_vec(request).map_err(|error| unavailable(error.to_string()))?;
    let subject = Subject::NotifierResend.to_string();
    let asked = bus.client().request(subject, payload.into());
    let message = match timeout(2 * DEADLINE, asked).await {
        Ok(Ok(message)) => message,
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            return Err(unavailable(
                "no notifier answers: none is at work".to_owned(),
            ));
        }
        // To ask again is harmless: what was sent again is dead no more.
        Ok(Err(error)) => {
            return Err(unavailable(format!(
                "the notifier does not answer ({error}): it may be done or not; ask again"
            )));
        }
        Err(_) => {
            return Err(unavailable(
                "the notifier does not answer in time: it may be done or not; ask again".to_owned(),
            ));
        }
    };
    serde_json::from_slice(&message.payload).map_err(|error| unavailable(error.to_string()))
}
