//! Audit log: one line for each call that changes something or is denied, with the caller and the result; reads are logged
//! at debug. Its target `audit` is logged at every `LOG_LEVEL`.

use hyper::StatusCode;

/// Filter directive that keeps the audit log on.
pub const DIRECTIVE: &str = "audit=info";
/// Longest path that is logged.
const MAX_LOGGED_CHARS: usize = 256;

/// Audit line of one call. If it is dropped without a result, the caller disconnected or the proxy ended before Docker
/// responded: the call may have been executed.
pub struct AuditLine {
    peer: String,
    method: String,
    path: String,
    is_mutating: bool,
    container: Option<String>,
    is_finished: bool,
}

impl AuditLine {
    /// Line of a call, without its query: that of a denied call may hold anything.
    pub fn new(peer: &str, method: &str, path: &str) -> Self {
        let method = method.chars().take(MAX_LOGGED_CHARS).collect();
        Self {
            peer: peer.to_owned(),
            method,
            path: path.chars().take(MAX_LOGGED_CHARS).collect(),
            is_mutating: false,
            container: None,
            is_finished: false,
        }
    }

    /// Marks the call as one that changes something.
    pub fn set_mutating(&mut self) {
        self.is_mutating = true;
    }

    /// Sets the container of the call.
    pub fn set_container(&mut self, container: &str) {
        self.container = Some(container.to_owned());
    }

    /// Logs that the call was passed to Docker, with the status of the response.
    pub fn log_allowed(mut self, status: StatusCode) {
        self.is_finished = true;
        let status = status.as_u16();
        if self.is_mutating {
            self.write("allowed", status, "");
        } else {
            tracing::debug!(
                peer = self.peer,
                method = self.method,
                path = self.path,
                container = self.container(),
                verdict = "allowed",
                status,
                "read"
            );
        }
    }

    /// Logs that the call was denied, or that Docker did not respond.
    pub fn log_failed(mut self, status: StatusCode, why: &str) {
        self.is_finished = true;
        let verdict = match status {
            StatusCode::FORBIDDEN => "denied",
            _ => "failed",
        };
        self.write(verdict, status.as_u16(), why);
    }

    fn write(&self, verdict: &str, status: u16, why: &str) {
        let (peer, method, path, container) =
            (&self.peer, &self.method, &self.path, self.container());
        if verdict == "allowed" {
            tracing::info!(target: "audit", peer, method, path, container, verdict, status, "call");
        } else {
            tracing::warn!(target: "audit", peer, method, path, container, verdict, status, reason = why, "call");
        }
    }

    fn container(&self) -> &str {
        self.container.as_deref().unwrap_or("-")
    }
}

impl Drop for AuditLine {
    fn drop(&mut self) {
        if !self.is_finished && self.is_mutating {
            self.write(
                "unknown",
                0,
                "the caller disconnected before Docker responded",
            );
        }
    }
}
