//! Handler of one request: parses the request by [`crate::allowlist`], finds its container, sends the proxy's own
//! request to Docker and filters the response by [`crate::response_filter`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode};
use protocol::ids::SubjectToken;
use protocol::redact::redact;
use runtime::failpoint;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::allowlist::{self, AllowedRequest, Endpoint};
use crate::audit::AuditLine;
use crate::filters::PROJECT_LABEL;
use crate::response_filter::{self, EventFilter};
use crate::upstream::{FullResponse, ResponseStream, Upstream, UpstreamError};

/// Deadline of a read.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Deadline for the body of a request, which is read although it is ignored, so that the sender gets its response.
const BODY_DEADLINE: Duration = Duration::from_secs(5);
const MAX_BODY_BYTES: usize = 64 << 10;
/// Deadline of a start, which takes long on a loaded host.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Time that a stop may take beyond the grace period of the container.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Largest number of streams; the watchdog needs one.
const MAX_STREAMS: usize = 16;
/// Labels whose containers may be started and stopped, and whose logs may be read.
const CONTROL_LABELS: [&str; 2] = ["bearish-alpha.supervise", "bearish-alpha.heal"];
/// Name of the proxy among the components of Docker.
const COMPONENT: &str = "socket-guard";
/// Headers of Docker that are passed on.
const FORWARDED_HEADERS: [HeaderName; 5] = [
    CONTENT_TYPE,
    HeaderName::from_static("api-version"),
    HeaderName::from_static("docker-experimental"),
    HeaderName::from_static("ostype"),
    HeaderName::from_static("server"),
];

/// Response to the caller.
pub type ProxyResponse = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Handler of requests for the containers of one project.
pub struct ProxyHandler {
    upstream: Upstream,
    project: SubjectToken,
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Why a call was denied or failed.
struct Denial(StatusCode, String);

/// A container of the project.
struct LabeledContainer {
    id: String,
    name: String,
    has_control_label: bool,
    /// The container's own grace period in seconds.
    grace: Option<u64>,
    details: Value,
}

impl ProxyHandler {
    /// Handler for the containers of one project; streams end with `shutdown`.
    pub fn new(upstream: Upstream, project: SubjectToken, shutdown: CancellationToken) -> Self {
        Self {
            upstream,
            project,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            shutdown,
        }
    }

    /// Authorizes one request, forwards it to Docker and writes its audit line.
    pub async fn handle(&self, peer: &str, request: Request<Incoming>) -> ProxyResponse {
        let (head, body) = request.into_parts();
        failpoint::spin(head.uri.path());
        let mut line = AuditLine::new(peer, head.method.as_str(), head.uri.path());
        let is_empty = is_body_empty(body).await;
        match self.authorize_and_forward(&head, is_empty, &mut line).await {
            Ok(answer) => {
                line.log_allowed(answer.status());
                answer
            }
            Err(Denial(status, message)) => {
                line.log_failed(status, &message);
                error_response(status, &message)
            }
        }
    }

    async fn authorize_and_forward(
        &self,
        head: &Parts,
        is_empty: bool,
        line: &mut AuditLine,
    ) -> Result<ProxyResponse, Denial> {
        let call = self.parse_request(head)?;
        if call.endpoint.is_mutating() {
            line.set_mutating();
        }
        // Calls on the list need none; Docker's command and the watchdog's client send none.
        if !is_empty || head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(denied("this call has no body"));
        }
        let Some(named) = &call.container else {
            return self.forward(&call, None).await;
        };
        let target = self
            .find_container(named, call.version_prefix(), line)
            .await?;
        if call.endpoint.needs_control_label() && !target.has_control_label {
            let marks = CONTROL_LABELS
                .map(|mark| format!("{mark}=true"))
                .join(" nor ");
            return Err(denied(format!(
                "container {} carries neither {marks}",
                target.name
            )));
        }
        self.forward(&call, Some(target)).await
    }

    /// Parses the request; only a request that is understood completely passes.
    fn parse_request(&self, head: &Parts) -> Result<AllowedRequest, Denial> {
        let uri = &head.uri;
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(denied("only paths are answered"));
        }
        if head.headers.contains_key(UPGRADE) {
            return Err(denied("no connection is handed over"));
        }
        allowlist::match_request(
            head.method.as_str(),
            uri.path(),
            uri.query(),
            self.project.as_str(),
        )
        .map_err(denied)
    }

    /// Queries the container of a call. The call uses the id found here, because the name may belong to another
    /// container later.
    async fn find_container(
        &self,
        named: &str,
        version: &str,
        line: &mut AuditLine,
    ) -> Result<LabeledContainer, Denial> {
        let path = format!("{version}/containers/{named}/json");
        let whole = self.upstream.request("GET", &path, READ_DEADLINE).await?;
        if whole.status != StatusCode::OK {
            return Err(Denial(whole.status, error_message(&whole)));
        }
        let found = parse_json(&whole)?;
        let name = found["Name"].as_str().unwrap_or_default();
        let name = name.trim_start_matches('/').to_owned();
        line.set_container(&name);
        let labels = &found["Config"]["Labels"];
        if !self.is_own_project(labels) {
            let project = &self.project;
            let message = format!("container {named} is not of project {project}");
            return Err(denied(message));
        }
        let id = found["Id"].as_str().filter(|id| is_full_id(id));
        let id = id.ok_or_else(|| invalid_response("a container has no full id"))?;
        Ok(LabeledContainer {
            id: id.to_owned(),
            name,
            has_control_label: CONTROL_LABELS.iter().any(|mark| labels[*mark] == "true"),
            grace: found["Config"]["StopTimeout"].as_u64(),
            details: found,
        })
    }

    fn is_own_project(&self, labels: &Value) -> bool {
        labels[PROJECT_LABEL] == self.project.as_str()
    }

    async fn forward(
        &self,
        call: &AllowedRequest,
        target: Option<LabeledContainer>,
    ) -> Result<ProxyResponse, Denial> {
        let (id, grace) = target
            .as_ref()
            .map_or(("", None), |target| (target.id.as_str(), target.grace));
        let path = call.request_target(id);
        if call.endpoint.is_streaming() {
            return self.forward_stream(call, &path).await;
        }
        let deadline = match call.endpoint {
            Endpoint::Start => START_DEADLINE,
            Endpoint::Stop => STOP_MARGIN + Duration::from_secs(call.grace(grace)),
            Endpoint::Restart => START_DEADLINE + Duration::from_secs(call.grace(grace)),
            _ => READ_DEADLINE,
        };
        let whole = self.upstream.request(call.method, &path, deadline).await?;
        if whole.status.is_client_error() || whole.status.is_server_error() {
            return Err(Denial(whole.status, error_message(&whole)));
        }
        let shown = match call.endpoint {
            Endpoint::List => {
                response_filter::list(parse_json(&whole)?, |labels| self.is_own_project(labels))
            }
            Endpoint::Info => response_filter::info(parse_json(&whole)?),
            Endpoint::Version => add_own_component(parse_json(&whole)?),
            Endpoint::Inspect => {
                // Queried by name before, by id now: both responses describe one container unless Docker errs.
                let found = parse_json(&whole)?;
                let same = target.is_some_and(|target| target.details["Id"] == found["Id"]);
                if !same || !self.is_own_project(&found["Config"]["Labels"]) {
                    return Err(invalid_response("another container than the one asked for"));
                }
                response_filter::inspect(found)
            }
            _ => return Ok(build_response(whole.status, &whole.headers, whole.body)),
        };
        let text = shown.to_string().into();
        Ok(build_response(whole.status, &whole.headers, text))
    }

    async fn forward_stream(
        &self,
        call: &AllowedRequest,
        path: &str,
    ) -> Result<ProxyResponse, Denial> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let message = format!("there are {MAX_STREAMS} streams already");
            Denial(StatusCode::SERVICE_UNAVAILABLE, message)
        })?;
        let reply = self
            .upstream
            .open_stream(call.method, path, READ_DEADLINE)
            .await?;
        if reply.status.is_client_error() || reply.status.is_server_error() {
            // An error is no stream: Docker's text is passed on as for every call.
            let whole = timeout(READ_DEADLINE, reply.read_body()).await;
            let whole = whole.unwrap_or(Err(UpstreamError::Timeout(READ_DEADLINE)))?;
            return Err(Denial(whole.status, error_message(&whole)));
        }
        let body = ForwardedStream {
            events: (call.endpoint == Endpoint::Events).then(EventFilter::default),
            response: reply.body,
            shutdown: Box::pin(self.shutdown.clone().cancelled_owned()),
            _permit: permit,
        };
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = reply.status;
        *response.headers_mut() = filter_headers(&reply.headers);
        Ok(response)
    }
}

/// Versions of Docker with the proxy among its components, so that a client can distinguish an unreachable proxy
/// from an unreachable Docker.
fn add_own_component(mut found: Value) -> Value {
    let ours = json!({ "Name": COMPONENT, "Version": env!("CARGO_PKG_VERSION") });
    match found.get_mut("Components") {
        Some(Value::Array(components)) => components.push(ours),
        _ => found = json!({ "Components": [ours] }),
    }
    found
}

/// Reads a body and drops it. The connection of a body that is too long or too slow is closed.
async fn is_body_empty(body: Incoming) -> bool {
    let read = timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    read.is_ok_and(|read| read.is_ok_and(|read| read.to_bytes().is_empty()))
}

/// Passes a stream on until Docker, the caller or the proxy ends it.
struct ForwardedStream {
    /// Reduces each event to what supervision needs. `None` for a log.
    events: Option<EventFilter>,
    response: ResponseStream,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Body for ForwardedStream {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.shutdown.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        loop {
            let frame = std::task::ready!(Pin::new(&mut this.response).poll_frame(context));
            let (Some(events), Some(Ok(frame))) = (&mut this.events, &frame) else {
                return Poll::Ready(frame);
            };
            let shown = frame.data_ref().map(|data| events.push(data));
            match shown {
                // A part of an event: the rest follows.
                Some(shown) if shown.is_empty() => {}
                Some(shown) => return Poll::Ready(Some(Ok(Frame::data(shown.into())))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl From<UpstreamError> for Denial {
    fn from(lost: UpstreamError) -> Self {
        let status = match lost {
            UpstreamError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self(status, format!("Docker is unreachable: {lost}"))
    }
}

fn denied(why: impl Into<String>) -> Denial {
    let why = why.into();
    Denial(StatusCode::FORBIDDEN, format!("socket-guard: {why}"))
}

fn invalid_response(what: &str) -> Denial {
    Denial::from(UpstreamError::InvalidResponse(what.to_owned()))
}

fn parse_json(whole: &FullResponse) -> Result<Value, Denial> {
    serde_json::from_slice(&whole.body).map_err(|error| invalid_response(&error.to_string()))
}

/// Docker's own text for a call that it rejected, without its secrets.
fn error_message(whole: &FullResponse) -> String {
    let said: Option<Value> = serde_json::from_slice(&whole.body).ok();
    let said = said.and_then(|said| said["message"].as_str().map(str::to_owned));
    let said = said.map(|said| redact(&said));
    said.unwrap_or_else(|| format!("Docker responded {}", whole.status))
}

fn is_full_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn filter_headers(headers: &HeaderMap) -> HeaderMap {
    let shown = FORWARDED_HEADERS
        .into_iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    shown.collect()
}

fn build_response(status: StatusCode, headers: &HeaderMap, text: Bytes) -> ProxyResponse {
    let mut response = Response::new(full_body(text));
    *response.status_mut() = status;
    *response.headers_mut() = filter_headers(headers);
    response
}

/// An error in Docker's own form.
fn error_response(status: StatusCode, message: &str) -> ProxyResponse {
    let text = json!({ "message": message }).to_string();
    let mut response = Response::new(full_body(text.into()));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn full_body(text: Bytes) -> UnsyncBoxBody<Bytes, hyper::Error> {
    Full::new(text)
        .map_err(|never| match never {})
        .boxed_unsync()
}
