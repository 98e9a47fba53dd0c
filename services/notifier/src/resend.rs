//! Dead letters sent again: the command `notifier resend`, and the requests that the leading notifier receives. The
//! dispatcher journals the result before it replies.

use async_nats::{Message, RequestErrorKind, Subject as Address};
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::command::{CommandReply, DeadLetterSelection, ResendRequest};
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError, DEADLINE};
use runtime::process::ExitError;
use runtime::stdout::OutputArgs;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Requests that may be queued.
pub const QUEUE_CAPACITY: usize = 4;

/// A request with its reply address.
pub struct PendingResend {
    request: ResendRequest,
    reply: Option<Address>,
}

impl PendingResend {
    /// Dead letters that are requested.
    pub const fn selection(&self) -> DeadLetterSelection {
        self.request.selection
    }

    /// Operator who made the request.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Replies to the request.
    pub async fn respond(self, bus: &Bus, result: Result<String, String>) {
        let response = CommandReply {
            v: VERSION,
            ok: result.is_ok(),
            text: result.unwrap_or_else(|error| error),
            data: None,
        };
        let (Some(reply), Ok(payload)) = (self.reply, serde_json::to_vec(&response)) else {
            return;
        };
        let sent = bus.client().publish(reply, payload.into());
        if !matches!(timeout(DEADLINE, sent).await, Ok(Ok(()))) {
            tracing::warn!("reply to a resend request failed");
        }
    }
}

/// Receives requests until `shutdown`, or until the receiver is dropped.
pub async fn receive_requests(
    bus: Bus,
    requests: mpsc::Sender<PendingResend>,
    shutdown: CancellationToken,
) {
    let receive = async {
        loop {
            match bus
                .client()
                .subscribe(Subject::NotifierResend.to_string())
                .await
            {
                Ok(mut subscription) => {
                    while let Some(message) = subscription.next().await {
                        if let Some(request) = parse_request(message)
                            && requests.send(request).await.is_err()
                        {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "resend subscription failed"),
            }
            tokio::time::sleep(DEADLINE).await;
        }
    };
    shutdown.run_until_cancelled(receive).await;
}

fn parse_request(message: Message) -> Option<PendingResend> {
    let request: ResendRequest = match serde_json::from_slice(&message.payload) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "invalid resend request");
            return None;
        }
    };
    if request.v > VERSION {
        tracing::warn!(version = request.v, "resend request of a newer version");
        return None;
    }
    let reply = message.reply;
    Some(PendingResend { request, reply })
}

/// `notifier resend`: sends a request to the leading notifier.
///
/// # Errors
/// Exit 78 for invalid settings, 69 if the bus or the notifier does not answer, 64 if there is no such dead letter.
pub async fn run(
    selection: DeadLetterSelection,
    output: OutputArgs,
) -> Result<ExitCode, ExitError> {
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
        selection,
    };
    let reply = send_request(&bus, &request).await?;
    if !reply.ok {
        return Err(ExitError::new(ExitCode::Usage, reply.text));
    }
    output.print(&json!({ "ok": reply.ok, "text": reply.text }), || {
        reply.text.clone()
    })?;
    Ok(ExitCode::Success)
}

async fn send_request(bus: &Bus, request: &ResendRequest) -> Result<CommandReply, ExitError> {
    let unavailable = |error: String| ExitError::new(ExitCode::Unavailable, error);
    let payload = serde_json::to_vec(request).map_err(|error| unavailable(error.to_string()))?;
    let subject = Subject::NotifierResend.to_string();
    let call = bus.client().request(subject, payload.into());
    let message = match timeout(2 * DEADLINE, call).await {
        Ok(Ok(message)) => message,
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            return Err(unavailable(
                "no notifier is running; start it with scripts/up".to_owned(),
            ));
        }
        // A second request is harmless: a dead letter that was sent again is no longer one.
        Ok(Err(error)) => {
            return Err(unavailable(format!(
                "no reply from the notifier: {error}; the request may have been executed; run the command again"
            )));
        }
        Err(_) => {
            return Err(unavailable(
                "no reply from the notifier in time; the request may have been executed; run the command again".to_owned(),
            ));
        }
    };
    serde_json::from_slice(&message.payload).map_err(|error| unavailable(error.to_string()))
}
