//! The second way to the owner: one POST, and what its end means. When to use it is not decided here.

use std::fmt;

use notifier_core::decide::Outcome;
use notifier_core::fallback::FallbackMessage;
use protocol::event::Severity;
use protocol::time::UtcMs;
use reqwest::{Client, RequestBuilder, StatusCode};
use runtime::process::ExitError;
use serde::Serialize;

use crate::secret_url::{RequestError, SecretUrl, build_client};

/// What is understood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackFormat {
    /// JSON for anything that takes a webhook.
    Webhook,
    /// ntfy's headers and text: <https://docs.ntfy.sh/publish/>.
    Ntfy,
}

impl fmt::Display for FallbackFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Webhook => "webhook",
            Self::Ntfy => "ntfy",
        })
    }
}

/// Where criticals go that Telegram does not take.
#[derive(Debug, Clone)]
pub struct FallbackSender {
    client: Client,
    url: SecretUrl,
    format: FallbackFormat,
}

#[derive(Serialize)]
struct WebhookBody<'a> {
    id: &'a str,
    at: UtcMs,
    severity: Severity,
    title: &'a str,
    message: &'a str,
}

impl FallbackSender {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Exit 70 if there is no TLS.
    pub fn new(address: SecretUrl, format: FallbackFormat) -> Result<Self, ExitError> {
        Ok(Self {
            client: build_client()?,
            url: address,
            format,
        })
    }

    /// Sends one critical, once.
    pub async fn send(&self, parcel: &FallbackMessage) -> Outcome {
        match self.url.send(self.request(parcel)).await {
            Ok(status) => classify_status(status),
            Err(RequestError {
                was_not_sent: true,
                error: why,
            }) => Outcome::Retryable {
                error: why,
                wait_ms: None,
            },
            Err(RequestError { error: why, .. }) => Outcome::Unknown { error: why },
        }
    }

    fn request(&self, parcel: &FallbackMessage) -> RequestBuilder {
        let post = self.client.post(self.url.expose());
        match self.format {
            FallbackFormat::Webhook => post.json(&WebhookBody {
                id: &parcel.id,
                at: parcel.at,
                severity: parcel.severity,
                title: &parcel.title,
                message: &parcel.message,
            }),
            FallbackFormat::Ntfy => post
                .header("Title", parcel.ascii_title())
                .header("Priority", ntfy_priority(parcel.severity))
                .header("Tags", "rotating_light")
                .body(parcel.truncated_message()),
        }
    }
}

const fn ntfy_priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "5",
        Severity::Warning => "4",
        Severity::Info => "3",
    }
}

/// Its words may be anybody's: the status alone is read.
fn classify_status(status: StatusCode) -> Outcome {
    let why = format!("the fallback answers {}", status.as_u16());
    match status {
        _ if status.is_success() => Outcome::Delivered { message_id: None },
        StatusCode::TOO_MANY_REQUESTS => Outcome::Retryable {
            error: why,
            wait_ms: None,
        },
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Outcome::MessageRejected { error: why },
        _ if status.is_client_error() || status.is_redirection() => {
            Outcome::ChannelRejected { error: why }
        }
        _ => Outcome::Unknown { error: why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_status_of_the_fallback_decides_the_outcome() {
        assert_eq!(
            classify_status(StatusCode::ACCEPTED),
            Outcome::Delivered { message_id: None }
        );
        assert!(matches!(
            classify_status(StatusCode::FORBIDDEN),
            Outcome::ChannelRejected { .. }
        ));
        assert!(matches!(
            classify_status(StatusCode::FOUND),
            Outcome::ChannelRejected { .. }
        ));
        assert!(matches!(
            classify_status(StatusCode::PAYLOAD_TOO_LARGE),
            Outcome::MessageRejected { .. }
        ));
        assert!(matches!(
            classify_status(StatusCode::TOO_MANY_REQUESTS),
            Outcome::Retryable { .. }
        ));
        assert!(matches!(
            classify_status(StatusCode::BAD_GATEWAY),
            Outcome::Unknown { .. }
        ));
    }
}
