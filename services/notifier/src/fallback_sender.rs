//! Sends a critical notification to the fallback by one POST and classifies the outcome.

use notifier_core::fallback::FallbackMessage;
use notifier_core::model::Outcome;
use protocol::event::Severity;
use protocol::time::UtcMs;
use reqwest::{Client, RequestBuilder, StatusCode};
use runtime::process::ExitError;
use serde::Serialize;

use crate::config::{FallbackConfig, FallbackFormat};
use crate::secret_url::{RequestError, build_client};

/// Client of the fallback.
#[derive(Debug, Clone)]
pub struct FallbackSender {
    client: Client,
    config: FallbackConfig,
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
    /// Makes a client that is not connected yet.
    ///
    /// # Errors
    /// Exit 70 if TLS cannot be initialized.
    pub fn new(config: FallbackConfig) -> Result<Self, ExitError> {
        Ok(Self {
            client: build_client()?,
            config,
        })
    }

    /// Sends one notification once.
    pub async fn send(&self, message: &FallbackMessage) -> Outcome {
        match self.config.url.send(self.request(message)).await {
            Ok(status) => classify_status(status),
            Err(RequestError {
                was_not_sent: true,
                error,
            }) => Outcome::Retryable {
                error,
                wait_ms: None,
            },
            Err(RequestError { error, .. }) => Outcome::Unknown { error },
        }
    }

    fn request(&self, message: &FallbackMessage) -> RequestBuilder {
        let post = self.client.post(self.config.url.expose());
        match self.config.format {
            FallbackFormat::Webhook => post.json(&WebhookBody {
                id: &message.id,
                at: message.at,
                severity: message.severity,
                title: &message.title,
                message: &message.message,
            }),
            FallbackFormat::Ntfy => post
                .header("Title", message.ascii_title())
                .header("Priority", ntfy_priority(message.severity))
                .header("Tags", "rotating_light")
                .body(message.truncated_message()),
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

/// Classifies a response by its status alone.
fn classify_status(status: StatusCode) -> Outcome {
    let error = format!("fallback: HTTP status {}", status.as_u16());
    match status {
        _ if status.is_success() => Outcome::Delivered { message_id: None },
        StatusCode::TOO_MANY_REQUESTS => Outcome::Retryable {
            error,
            wait_ms: None,
        },
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Outcome::MessageRejected { error },
        _ if status.is_client_error() || status.is_redirection() => {
            Outcome::ChannelRejected { error }
        }
        _ => Outcome::Unknown { error },
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
