//! One call to the exchange: [`Call`].

use std::time::Duration;

use form_urlencoded::Serializer;
use protocol::time::UtcMs;
use reqwest::Method;

use super::limits::Priority;

/// Largest body of an answer without a limit of its own, in bytes.
const DEFAULT_BYTES: usize = 256 * 1024;

/// Authentication of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Public.
    None,
    /// Names the API key, without a signature.
    ApiKey,
    /// Names the API key and is signed.
    Signed {
        /// The time that the call is signed with.
        timestamp: UtcMs,
        /// Time in milliseconds after `timestamp` in which the exchange accepts the call.
        recv_window_ms: u32,
    },
}

/// Time that a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Whole call: connection, headers and body.
    pub total: Duration,
    /// Longest wait for the headers, and then for each next part of the body.
    pub between: Duration,
}

impl Default for Deadline {
    /// Shorter than a book's time to shut down: the book must still query an order whose call had no answer.
    fn default() -> Self {
        Self {
            total: Duration::from_secs(3),
            between: Duration::from_secs(3),
        }
    }
}

/// One call. Parameters go into the query in the order in which they were added, also of `POST`.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) what: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) auth: Auth,
    pub(super) priority: Priority,
    pub(super) weight: u32,
    pub(super) deadline: Deadline,
    pub(super) most_bytes: usize,
    query: String,
}

impl Call {
    /// A public call of ordinary priority. `what` names the call in errors.
    pub const fn new(what: &'static str, method: Method, path: &'static str) -> Self {
        Self {
            what,
            method,
            path,
            auth: Auth::None,
            priority: Priority::Ordinary,
            weight: 1,
            deadline: Deadline {
                total: Duration::from_secs(3),
                between: Duration::from_secs(3),
            },
            most_bytes: DEFAULT_BYTES,
            query: String::new(),
        }
    }

    /// A public `GET` of ordinary priority.
    pub const fn get(what: &'static str, path: &'static str) -> Self {
        Self::new(what, Method::GET, path)
    }

    /// Adds a parameter.
    #[must_use]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers pass numbers and texts alike"
    )]
    pub fn param(mut self, name: &str, value: impl ToString) -> Self {
        self.query = Serializer::new(self.query)
            .append_pair(name, &value.to_string())
            .finish();
        self
    }

    /// Adds a parameter if it has a value.
    #[must_use]
    pub fn optional(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.param(name, value),
            None => self,
        }
    }

    /// Sets the authentication.
    #[must_use]
    pub const fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Sets the priority within the limits.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the request weight, by which the exchange counts the call; 1 if not set.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the time that the call may take.
    #[must_use]
    pub const fn within(mut self, deadline: Deadline) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the largest body of the answer, in bytes after decompression.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// The query without a signature: the parameters, and for a signed call its window and time.
    pub(super) fn unsigned_query(&self) -> String {
        match self.auth {
            Auth::None | Auth::ApiKey => self.query.clone(),
            Auth::Signed {
                timestamp,
                recv_window_ms,
            } => Serializer::new(self.query.clone())
                .append_pair("recvWindow", &recv_window_ms.to_string())
                .append_pair("timestamp", &timestamp.0.to_string())
                .finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_has_the_parameters_in_their_order_and_encoded() {
        let call = Call::get("x", "/x")
            .param("symbol", "币安USDT")
            .optional("limit", None::<u32>)
            .optional("orderId", Some(-5))
            .auth(Auth::Signed {
                timestamp: UtcMs(7),
                recv_window_ms: 5_000,
            });
        assert_eq!(
            call.unsigned_query(),
            "symbol=%E5%B8%81%E5%AE%89USDT&orderId=-5&recvWindow=5000&timestamp=7"
        );
        assert_eq!(
            call.auth(Auth::ApiKey).unsigned_query(),
            "symbol=%E5%B8%81%E5%AE%89USDT&orderId=-5"
        );
    }
}
