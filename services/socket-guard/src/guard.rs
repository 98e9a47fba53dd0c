//! One request: looked up in the allow table, its container looked up at the engine, then asked of the
//! engine in words of our own. What is on the list is said in `rules`, what is shown in `mask`.

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
use protocol::ids::Token;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::audit::Line;
use crate::engine::{Engine, Lost, Rest, Whole};
use crate::filters::PROJECT;
use crate::mask;
use crate::rules::{self, Call, What};

/// Reads.
const READ: Duration = Duration::from_secs(10);
/// A body arrives within this time; what it says is refused anyway, but its sender must hear that.
const BODY: Duration = Duration::from_secs(5);
const LARGEST_BODY: usize = 64 << 10;
/// A start: an engine under load takes its time.
const START: Duration = Duration::from_mins(1);
/// What a stop may take beyond the grace that the container has.
const MARGIN: Duration = Duration::from_secs(10);
/// Streams at once; the watchdog needs one.
const STREAMS: usize = 16;
/// Whoever carries one of these may be started and stopped.
const MARKS: [&str; 2] = ["bearish-alpha.supervise", "bearish-alpha.heal"];
/// Our name among the engine's components.
const COMPONENT: &str = "socket-guard";
/// Headers of the engine's that a client reads.
const SHOWN: [HeaderName; 5] = [
    CONTENT_TYPE,
    HeaderName::from_static("api-version"),
    HeaderName::from_static("docker-experimental"),
    HeaderName::from_static("ostype"),
    HeaderName::from_static("server"),
];

/// What goes back to the caller.
pub type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// The judge at the door; knows one project.
pub struct Guard {
    engine: Engine,
    project: Token,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Why nothing came of a call.
struct Refusal(StatusCode, String);

/// A container of our project.
struct Target {
    id: String,
    name: String,
    marked: bool,
    /// Its own grace, in seconds.
    grace: Option<u64>,
    found: Value,
}

impl Guard {
    /// For one project's containers; streams end with `stop`.
    pub fn new(engine: Engine, project: Token, stop: CancellationToken) -> Self {
        Self {
            engine,
            project,
            streams: Arc::new(Semaphore::new(STREAMS)),
            stop,
        }
    }

    /// Answers one request.
    pub async fn answer(&self, peer: &str, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let mut line = Line::new(peer, head.method.as_str(), head.uri.path());
        let is_empty = is_empty(body).await;
        match self.pass(&head, is_empty, &mut line).await {
            Ok(answer) => {
                line.passed(answer.status());
                answer
            }
            Err(Refusal(status, message)) => {
                line.failed(status, &message);
                complaint(status, &message)
            }
        }
    }

    async fn pass(&self, head: &Parts, is_empty: bool, line: &mut Line) -> Result<Answer, Refusal> {
        let call = self.understand(head)?;
        if call.what.changes() {
            line.changes();
        }
        // Calls on the list need none; Docker's command and the watchdog's client send none.
        if !is_empty || head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(forbidden("this call has no body"));
        }
        let Some(named) = &call.named else {
            return self.forward(&call, None).await;
        };
        let target = self.look_up(named, line).await?;
        if call.what.changes() && !target.marked {
            let marks = MARKS.map(|mark| format!("{mark}=true")).join(" nor ");
            return Err(forbidden(format!(
                "container {} carries neither {marks}",
                target.name
            )));
        }
        self.forward(&call, Some(target)).await
    }

    /// Only what is wholly understood.
    fn understand(&self, head: &Parts) -> Result<Call, Refusal> {
        let uri = &head.uri;
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(forbidden("only paths are answered"));
        }
        if head.headers.contains_key(UPGRADE) {
            return Err(forbidden("no connection is handed over"));
        }
        rules::read(
            head.method.as_str(),
            uri.path(),
            uri.query(),
            self.project.as_str(),
        )
        .map_err(forbidden)
    }

    /// What is done later is done to the id found here: a name may be another container's by then.
    async fn look_up(&self, named: &str, line: &mut Line) -> Result<Target, Refusal> {
        let path = format!("/containers/{named}/json");
        let whole = self.engine.ask("GET", &path, READ).await?;
        if whole.status != StatusCode::OK {
            return Err(Refusal(whole.status, message(&whole)));
        }
        let found = json(&whole)?;
        let name = found["Name"].as_str().unwrap_or_default();
        let name = name.trim_start_matches('/').to_owned();
        line.about(&name);
        let labels = &found["Config"]["Labels"];
        if !self.is_ours(labels) {
            let project = &self.project;
            let message = format!("container {named} is not of project {project}");
            return Err(forbidden(message));
        }
        let id = found["Id"].as_str().filter(|id| is_full_id(id));
        let id = id.ok_or_else(|| odd("a container has no full id"))?;
        Ok(Target {
            id: id.to_owned(),
            name,
            marked: MARKS.iter().any(|mark| labels[*mark] == "true"),
            grace: found["Config"]["StopTimeout"].as_u64(),
            found,
        })
    }

    fn is_ours(&self, labels: &Value) -> bool {
        labels[PROJECT] == self.project.as_str()
    }

    async fn forward(&self, call: &Call, target: Option<Target>) -> Result<Answer, Refusal> {
        let (id, grace) = target
            .as_ref()
            .map_or(("", None), |target| (target.id.as_str(), target.grace));
        let path = call.target(id);
        if call.what.streams() {
            return self.stream(call, &path).await;
        }
        let patience = match call.what {
            What::Start => START,
            What::Stop => MARGIN + Duration::from_secs(call.grace(grace)),
            What::Restart => START + Duration::from_secs(call.grace(grace)),
            _ => READ,
        };
        let whole = self.engine.ask(call.method, &path, patience).await?;
        if whole.status.is_client_error() || whole.status.is_server_error() {
            return Err(Refusal(whole.status, message(&whole)));
        }
        let shown = match call.what {
            What::List => mask::list(json(&whole)?, |labels| self.is_ours(labels)),
            What::Info => mask::info(json(&whole)?),
            What::Version => introduced(json(&whole)?),
            What::Inspect => {
                // Looked up by name before, by its id now: the same, unless an engine errs.
                let found = json(&whole)?;
                let same = target.is_some_and(|target| target.found["Id"] == found["Id"]);
                if !same || !self.is_ours(&found["Config"]["Labels"]) {
                    return Err(odd("another container than the one asked for"));
                }
                mask::inspect(found)
            }
            _ => return Ok(answer(whole.status, &whole.headers, whole.text)),
        };
        let text = shown.to_string().into();
        Ok(answer(whole.status, &whole.headers, text))
    }

    async fn stream(&self, call: &Call, path: &str) -> Result<Answer, Refusal> {
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let message = format!("there are {STREAMS} streams already");
            Refusal(StatusCode::SERVICE_UNAVAILABLE, message)
        })?;
        let reply = self.engine.open(call.method, path, READ).await?;
        let body = Stream {
            rest: reply.body,
            stop: Box::pin(self.stop.clone().cancelled_owned()),
            _permit: permit,
        };
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = reply.status;
        *response.headers_mut() = only_shown(&reply.headers);
        Ok(response)
    }
}

/// The versions of the engine with ours among them: so a client knows that we are in between, and that
/// an engine is not away when we are.
fn introduced(mut found: Value) -> Value {
    let ours = json!({ "Name": COMPONENT, "Version": env!("CARGO_PKG_VERSION") });
    match found.get_mut("Components") {
        Some(Value::Array(components)) => components.push(ours),
        _ => found = json!({ "Components": [ours] }),
    }
    found
}

/// Reads a body away. One that is too long or too slow is left, and with it the connection.
async fn is_empty(body: Incoming) -> bool {
    let read = timeout(BODY, Limited::new(body, LARGEST_BODY).collect()).await;
    read.is_ok_and(|read| read.is_ok_and(|read| read.to_bytes().is_empty()))
}

/// Passed on piece by piece until the engine, the caller or the guard ends it.
struct Stream {
    rest: Rest,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        let status = match lost {
            Lost::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self(status, format!("the engine is away: {lost}"))
    }
}

fn forbidden(why: impl Into<String>) -> Refusal {
    let why = why.into();
    Refusal(StatusCode::FORBIDDEN, format!("socket-guard: {why}"))
}

fn odd(what: &str) -> Refusal {
    Refusal::from(Lost::Odd(what.to_owned()))
}

fn json(whole: &Whole) -> Result<Value, Refusal> {
    serde_json::from_slice(&whole.text).map_err(|error| odd(&error.to_string()))
}

/// The engine's own words for what it refused.
fn message(whole: &Whole) -> String {
    let said: Option<Value> = serde_json::from_slice(&whole.text).ok();
    let said = said.and_then(|said| said["message"].as_str().map(str::to_owned));
    said.unwrap_or_else(|| format!("the engine answers {}", whole.status))
}

fn is_full_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn only_shown(headers: &HeaderMap) -> HeaderMap {
    let shown = SHOWN
        .into_iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    shown.collect()
}

fn answer(status: StatusCode, headers: &HeaderMap, text: Bytes) -> Answer {
    let mut response = Response::new(whole_body(text));
    *response.status_mut() = status;
    *response.headers_mut() = only_shown(headers);
    response
}

/// As Docker itself complains.
fn complaint(status: StatusCode, message: &str) -> Answer {
    let text = json!({ "message": message }).to_string();
    let mut response = Response::new(whole_body(text.into()));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn whole_body(text: Bytes) -> UnsyncBoxBody<Bytes, hyper::Error> {
    Full::new(text)
        .map_err(|never| match never {})
        .boxed_unsync()
}
