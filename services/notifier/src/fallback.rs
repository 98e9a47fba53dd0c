//! The second way to the owner: one POST, and what its end means. When to use it is not decided here.

use std::fmt;

use delivery::decide::Outcome;
use delivery::fallback::Parcel;
use protocol::event::Severity;
use protocol::time::UtcMs;
use reqwest::{Client, RequestBuilder, StatusCode};
use runtime::process::Stop;
use serde::Serialize;

use crate::address::{NoAnswer, SecretAddress, client};

/// What is understood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON for anything that takes a webhook.
    Webhook,
    /// ntfy's headers and text: <https://docs.ntfy.sh/publish/>.
    Ntfy,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Webhook => "webhook",
            Self::Ntfy => "ntfy",
        })
    }
}

/// Where criticals go that Telegram does not take.
#[derive(Debug, Clone)]
pub struct Fallback {
    client: Client,
    address: SecretAddress,
    format: Format,
}

#[derive(Serialize)]
struct Webhook<'a> {
    id: &'a str,
    at: UtcMs,
    severity: Severity,
    title: &'a str,
    message: &'a str,
}

impl Fallback {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Exit 70 if there is no TLS.
    pub fn new(address: SecretAddress, format: Format) -> Result<Self, Stop> {
        Ok(Self {
            client: client()?,
            address,
            format,
        })
    }

    /// Sends one critical, once.
    pub async fn send(&self, parcel: &Parcel) -> Outcome {
        match self.address.call(self.request(parcel)).await {
            Ok(status) => judge(status),
            Err(NoAnswer {
                surely_not_sent: true,
                why,
            }) => Outcome::Returned { why, wait_ms: None },
            Err(NoAnswer { why, .. }) => Outcome::Unknown { why },
        }
    }

    fn request(&self, parcel: &Parcel) -> RequestBuilder {
        let post = self.client.post(self.address.expose());
        match self.format {
            Format::Webhook => post.json(&Webhook {
                id: &parcel.id,
                at: parcel.at,
                severity: parcel.severity,
                title: &parcel.title,
                message: &parcel.message,
            }),
            Format::Ntfy => post
                .header("Title", parcel.plain_title())
                .header("Priority", priority(parcel.severity))
                .header("Tags", "rotating_light")
                .body(parcel.short_message()),
        }
    }
}

const fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "5",
        Severity::Warning => "4",
        Severity::Info => "3",
    }
}

/// Its words may be anybody's: the status alone is read.
fn judge(status: StatusCode) -> Outcome {
    let why = format!("the fallback answers {}", status.as_u16());
    match status {
        _ if status.is_success() => Outcome::Sent { message: None },
        StatusCode::TOO_MANY_REQUESTS => Outcome::Returned { why, wait_ms: None },
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Outcome::Refused { why },
        _ if status.is_client_error() || status.is_redirection() => Outcome::Closed { why },
        _ => Outcome::Unknown { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        assert_eq!(judge(StatusCode::ACCEPTED), Outcome::Sent { message: None });
        assert!(matches!(
            judge(StatusCode::FORBIDDEN),
            Outcome::Closed { .. }
        ));
        assert!(matches!(judge(StatusCode::FOUND), Outcome::Closed { .. }));
        assert!(matches!(
            judge(StatusCode::PAYLOAD_TOO_LARGE),
            Outcome::Refused { .. }
        ));
        assert!(matches!(
            judge(StatusCode::TOO_MANY_REQUESTS),
            Outcome::Returned { .. }
        ));
        assert!(matches!(
            judge(StatusCode::BAD_GATEWAY),
            Outcome::Unknown { .. }
        ));
    }
}
