//! The audit log: one line for each call that changes something or is refused, whoever asked and however
//! it ended; reads at debug. Its target `audit` is logged at any `LOG_LEVEL`.

use hyper::StatusCode;

/// The directive that keeps the audit log on.
pub const DIRECTIVE: &str = "audit=info";
/// Longest path that is logged.
const LONGEST: usize = 256;

/// One call on its way. Dropped without an end, the caller hung up or we go down before the engine
/// answered: it may have been done.
pub struct Line {
    peer: String,
    method: String,
    path: String,
    changes: bool,
    container: Option<String>,
    ended: bool,
}

impl Line {
    /// A call that came in, without its query: a refused one may hold anything.
    pub fn new(peer: &str, method: &str, path: &str) -> Self {
        let method = method.chars().take(LONGEST).collect();
        Self {
            peer: peer.to_owned(),
            method,
            path: path.chars().take(LONGEST).collect(),
            changes: false,
            container: None,
            ended: false,
        }
    }

    /// It would change something.
    pub fn changes(&mut self) {
        self.changes = true;
    }

    /// It is about this container.
    pub fn about(&mut self, container: &str) {
        self.container = Some(container.to_owned());
    }

    /// It went to the engine, which answered so.
    pub fn passed(mut self, status: StatusCode) {
        self.ended = true;
        let status = status.as_u16();
        if self.changes {
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

    /// It went no further, or the engine did not answer.
    pub fn failed(mut self, status: StatusCode, why: &str) {
        self.ended = true;
        let verdict = match status {
            StatusCode::FORBIDDEN => "refused",
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
            tracing::warn!(target: "audit", peer, method, path, container, verdict, status, why, "call");
        }
    }

    fn container(&self) -> &str {
        self.container.as_deref().unwrap_or("-")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.ended && self.changes {
            self.write(
                "unknown",
                0,
                "the caller hung up before the engine answered",
            );
        }
    }
}
