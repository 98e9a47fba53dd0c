//! Calls over HTTP: [`HttpClient`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::{ApiCredentials, CallStats};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Request, Response, Url};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::call::{Auth, Call};
use super::error::{CallError, Failure, with_causes};
use super::limits::Limits;
use super::sign::sign;
use super::{body, tls};

/// Header that names the API key.
const KEY_HEADER: &str = "x-mbx-apikey";
/// Deadline of a connection with its TLS handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// A connection is closed after this idle time. A router may forget an idle connection, and a call on it would get no
/// answer.
const IDLE: Duration = Duration::from_secs(30);
/// Time until the operating system asks whether a silent peer still exists.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Connections that wait for the next call.
const IDLE_CONNECTIONS: usize = 8;
/// Largest body of an error, in bytes.
const ERROR_BYTES: usize = 64 * 1024;

/// Client of the exchange's REST API. Cheap to clone; clones share connections and limits, so that a process needs
/// one.
#[derive(Debug, Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
    credentials: Option<ApiCredentials>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    base: String,
    limits: Limits,
    calls: Arc<CallStats>,
}

impl HttpClient {
    /// Prepares calls to this base address, e.g. `https://fapi.binance.com`; connects to nothing yet.
    ///
    /// # Errors
    /// One line, if the address is no HTTP address or TLS cannot be set up.
    pub fn new(base_url: &str) -> Result<Self, String> {
        let base = base_url.trim_end_matches('/');
        let url = Url::parse(base).map_err(|error| format!("{base}: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            return Err(format!(
                "{base}: expected an address with http or https and without a query"
            ));
        }
        let tls = tls::config().ok_or("TLS cannot be set up")?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .http1_only()
            .connect_timeout(CONNECT_DEADLINE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_nodelay(true)
            // A redirected call would reach another host with its signature.
            .redirect(Policy::none())
            // Streams know no proxy: calls take the same way.
            .no_proxy()
            // Repeats belong to the caller: an order that is sent twice may fill twice.
            .retry(reqwest::retry::never())
            .user_agent(concat!("bearish-alpha/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| with_causes(&error.without_url()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                http,
                base: base.to_owned(),
                limits: Limits::default(),
                calls: Arc::default(),
            }),
            credentials: None,
        })
    }

    /// The same client for calls of an account.
    #[must_use]
    pub fn with_credentials(&self, credentials: ApiCredentials) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            credentials: Some(credentials),
        }
    }

    /// The limits that all clones share.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Outcomes of the calls of all clones.
    pub fn call_stats(&self) -> &Arc<CallStats> {
        &self.shared.calls
    }

    /// Makes one call, once, and decodes its answer.
    ///
    /// The answer is lost with the future: a caller that drops it does not know the outcome.
    ///
    /// # Errors
    /// [`CallError`] with the failure: not sent, refused, limited, outcome unknown, or an unreadable answer.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallError> {
        let what = call.what;
        let outcome = self.make(call).await;
        let (calls, now) = (&self.shared.calls, Instant::now());
        match &outcome {
            Ok(_) => calls.record_success(now),
            Err(failure) if failure.is_of_exchange() => {
                calls.record_failure(format!("{what}: {failure}"), now);
            }
            Err(_) => {}
        }
        outcome.map_err(|failure| CallError { what, failure })
    }

    async fn make<T: DeserializeOwned>(&self, call: Call) -> Result<T, Failure> {
        let limits = &self.shared.limits;
        let in_flight = limits.begin(call.priority, call.weight, Instant::now());
        let _in_flight = in_flight.map_err(|left| Failure::NotSent {
            reason: format!(
                "paused for {} s for the exchange's limits",
                left.as_secs() + 1
            ),
            after: Some(left),
        })?;
        let request = self.request(&call)?;
        let Ok(answer) = timeout(call.deadline.total, self.exchange(request, &call)).await else {
            let seconds = call.deadline.total.as_secs_f32();
            return Err(Failure::unknown(&format!(
                "no whole answer within {seconds} s"
            )));
        };
        let (status, headers, body) = answer?;
        let outcome = decode(status, &headers, &body);
        let failure = outcome.as_ref().err();
        limits.judged(call.priority, failure, Instant::now());
        outcome
    }

    fn request(&self, call: &Call) -> Result<Request, Failure> {
        let missing = |reason: &str| Failure::NotSent {
            reason: reason.to_owned(),
            after: None,
        };
        let mut query = call.unsigned_query();
        let mut key = None;
        if call.auth != Auth::None {
            let credentials = self.credentials.as_ref();
            let credentials = credentials.ok_or_else(|| missing("no API key is set"))?;
            let mut value = HeaderValue::from_str(credentials.key.expose_secret())
                .map_err(|_| missing("the API key has characters that no header can have"))?;
            value.set_sensitive(true);
            key = Some(value);
            if let Auth::Signed { .. } = call.auth {
                query = sign(credentials, &query);
            }
        }
        let joint = if query.is_empty() { "" } else { "?" };
        let address = format!("{}{}{joint}{query}", self.shared.base, call.path);
        // The error of the parser has no part of the address.
        let url = Url::parse(&address).map_err(|error| missing(&error.to_string()))?;
        let mut request = Request::new(call.method.clone(), url);
        if let Some(key) = key {
            request.headers_mut().insert(KEY_HEADER, key);
        }
        Ok(request)
    }

    /// Sends the request and reads its answer: status, headers, and the body or why it could not be read.
    async fn exchange(&self, request: Request, call: &Call) -> Result<Answer, Failure> {
        let between = call.deadline.between;
        let sent = timeout(between, self.shared.http.execute(request)).await;
        let response: Response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::unknown(&with_causes(&error.without_url()))),
            Err(_) => {
                let seconds = between.as_secs_f32();
                return Err(Failure::unknown(&format!("no answer within {seconds} s")));
            }
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        self.shared.limits.answered(&headers, Instant::now());
        let most = if is_success(status) {
            call.most_bytes
        } else {
            ERROR_BYTES
        };
        let body = body::read(response, most, between).await;
        Ok((status, headers, body))
    }
}

/// Status, headers, and the body or why it could not be read.
type Answer = (u16, HeaderMap, Result<Vec<u8>, String>);

const fn is_success(status: u16) -> bool {
    matches!(status, 200..300)
}

fn decode<T: DeserializeOwned>(
    status: u16,
    headers: &HeaderMap,
    body: &Result<Vec<u8>, String>,
) -> Result<T, Failure> {
    let body = match body {
        Ok(body) if is_success(status) => body,
        Err(reason) if is_success(status) => return Err(Failure::unknown(reason)),
        _ => return Err(Failure::of_answer(status, headers, body)),
    };
    if let Some(failure) = Failure::of_success(body) {
        return Err(failure);
    }
    serde_json::from_slice(body).map_err(|error| Failure::not_the_answer(body, &error))
}
