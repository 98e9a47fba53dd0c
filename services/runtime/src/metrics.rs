//! Metrics for Prometheus: `/metrics` over HTTP, if `METRICS_ADDR` is set; otherwise nothing is bound or kept. The metrics of
//! every process are read at each scrape; a service adds its own with the macros of the crate `metrics`, which do nothing
//! without an address.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use protocol::heartbeat::{ComponentState, Health};
use protocol::ids::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::components::ProcessStatus;
use crate::exit_error::ExitError;
use crate::identity::Identity;

const BUILD_INFO: &str = "bearish_build_info";
const UPTIME: &str = "bearish_uptime_seconds";
const BUS_CONNECTED: &str = "bearish_bus_connected";
const ERRORS: &str = "bearish_errors_total";
const ENTRIES_DECIDED: &str = "bearish_entries_decided_total";
const ERRORS_LAST_HOUR: &str = "bearish_errors_last_hour";
const HEALTH_GRADE: &str = "bearish_health_grade";
const COMPONENT_UP: &str = "bearish_component_up";
const COMPONENT_ITERATIONS: &str = "bearish_component_iterations_total";
const COMPONENT_ERRORS: &str = "bearish_component_errors_total";

/// Deadline of one connection.
const DEADLINE: Duration = Duration::from_secs(5);
/// Largest number of connections; more wait in the queue of the kernel.
const MAX_CONNECTIONS: usize = 8;
/// Interval of the upkeep of histograms, which keep every value until then.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics settings of every service.
#[derive(Debug, Clone, Args)]
pub struct MetricsSettings {
    /// Address to serve the Prometheus metrics at; not served without one
    #[arg(long, env = "METRICS_ADDR", value_name = "METRICS_ADDR", value_parser = address)]
    pub metrics_addr: Option<SocketAddr>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let parsed = text.parse();
    parsed.map_err(|_| "expected ADDRESS:PORT, e.g. 0.0.0.0:9464 or [::1]:9464".to_owned())
}

/// What the metrics of every process are read from, at each scrape.
pub struct ProcessInfo {
    /// Program of the process.
    pub service: Service,
    /// Identity of the process.
    pub identity: Identity,
    /// Version of the program.
    pub version: &'static str,
    /// Components, errors and health grade.
    pub status: Arc<ProcessStatus>,
    /// Whether the bus is connected.
    pub is_connected: Box<dyn Fn() -> bool + Send + Sync>,
}

/// A bound metrics address.
pub struct Metrics {
    listener: TcpListener,
    state: Arc<ScrapeState>,
}

/// What a scrape reads.
struct ScrapeState {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    process: ProcessInfo,
    service_metrics: Box<dyn Fn() + Send + Sync>,
    /// Every component that was ever shown, so that a removed one is shown as down.
    known_components: Mutex<BTreeSet<String>>,
}

impl Metrics {
    /// Binds the address, if one is set; from then on the macros of the crate `metrics` count. `own` is called at each scrape
    /// to set what the service reads rather than counts; it must be quick.
    ///
    /// # Errors
    /// Exit 78 if the address cannot be bound, 70 if this process serves metrics already.
    pub async fn bind(
        settings: &MetricsSettings,
        facts: ProcessInfo,
        service_metrics: impl Fn() + Send + Sync + 'static,
    ) -> Result<Option<Self>, ExitError> {
        let Some(address) = settings.metrics_addr else {
            return Ok(None);
        };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            ExitError::config(format!(
                "METRICS_ADDR=\"{address}\": expected a free port at an address of this machine: {error}"
            ))
        })?;
        let recorder = Arc::new(PrometheusBuilder::new().build_recorder());
        ::metrics::set_global_recorder(Arc::clone(&recorder))
            .map_err(|error| ExitError::internal(format!("bug: {error}")))?;
        ::metrics::with_local_recorder(&recorder, describe);
        tracing::info!(%address, "metrics served");
        let shown = ScrapeState {
            handle: recorder.handle(),
            recorder,
            process: facts,
            service_metrics: Box::new(service_metrics),
            known_components: Mutex::default(),
        };
        Ok(Some(Self {
            listener,
            state: Arc::new(shown),
        }))
    }

    /// Answers scrapes of the metrics until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut callers = JoinSet::new();
        let mut ticks = interval(UPKEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {
                    self.state.handle.run_upkeep();
                    continue;
                }
                Some(_) = callers.join_next() => continue,
                accepted = self.listener.accept(), if callers.len() < MAX_CONNECTIONS => accepted,
            };
            match accepted {
                Ok((stream, _)) => drop(callers.spawn(serve(stream, Arc::clone(&self.state)))),
                Err(error) => {
                    tracing::debug!(%error, "metrics connection not accepted");
                    // Out of file descriptors, most likely: the next accept would fail at once, too.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Serves one request; Prometheus may open a connection for each scrape.
async fn serve(stream: TcpStream, shown: Arc<ScrapeState>) {
    let service = service_fn(|request| {
        let response = shown.handle_request(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(DEADLINE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics query aborted"),
        Err(_) => tracing::debug!("metrics query timed out"),
    }
}

impl ScrapeState {
    fn handle_request<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/metrics" {
            return respond(StatusCode::NOT_FOUND, "only /metrics is here\n");
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        ::metrics::with_local_recorder(&self.recorder, || self.set_process_metrics());
        // A recorder of its own: a series that the service does not set again, such as a book that moved to another
        // instance, is not served any more.
        let scraped = PrometheusBuilder::new().build_recorder();
        ::metrics::with_local_recorder(&scraped, || (self.service_metrics)());
        let text = self.handle.render() + &scraped.handle().render();
        respond(StatusCode::OK, text)
    }

    fn set_process_metrics(&self) {
        let ProcessInfo {
            service,
            identity,
            version,
            status: progress,
            is_connected: connected,
        } = &self.process;
        let labels = [
            ("service", service.to_string()),
            ("instance", identity.instance.to_string()),
            ("project", identity.host.project.to_string()),
            ("host", identity.host.host.to_string()),
            ("version", (*version).to_owned()),
        ];
        gauge!(BUILD_INFO, &labels).set(1);
        gauge!(UPTIME).set(progress.uptime().as_secs_f64());
        gauge!(BUS_CONNECTED).set(flag(connected()));
        counter!(ERRORS).absolute(progress.errors());
        counter!(ENTRIES_DECIDED).absolute(progress.entries_decided());
        let condition = progress.health_grade();
        gauge!(ERRORS_LAST_HOUR).set(number(condition.errors_last_hour));
        gauge!(HEALTH_GRADE).set(match condition.health {
            Health::Healthy => 0,
            Health::Degraded => 1,
            Health::Critical => 2,
        });
        self.set_component_metrics();
    }

    fn set_component_metrics(&self) {
        let parts = self.process.status.components();
        let mut known = self
            .known_components
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for gone in known.iter().filter(|name| !parts.contains_key(*name)) {
            gauge!(COMPONENT_UP, "component" => gone.clone()).set(0);
        }
        for (name, part) in parts {
            let label = [("component", name.clone())];
            gauge!(COMPONENT_UP, &label).set(flag(part.state == ComponentState::Ok));
            counter!(COMPONENT_ITERATIONS, &label).absolute(part.iterations);
            counter!(COMPONENT_ERRORS, &label).absolute(part.errors);
            known.insert(name);
        }
    }
}

/// Describes the metrics of every process to the recorder.
pub fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; its labels name the process");
    describe_gauge!(UPTIME, Unit::Seconds, "Uptime of the process");
    describe_gauge!(BUS_CONNECTED, "1 while the bus is connected");
    describe_counter!(ERRORS, "Errors of all components since boot");
    describe_counter!(ENTRIES_DECIDED, "Entries decided since boot");
    describe_gauge!(
        ERRORS_LAST_HOUR,
        "Errors of all components in the last hour"
    );
    describe_gauge!(
        HEALTH_GRADE,
        "How well the process is: 0 healthy, 1 degraded, 2 critical"
    );
    describe_gauge!(
        COMPONENT_UP,
        "1 while the component is ok, 0 while it retries, has stopped or was removed"
    );
    describe_counter!(
        COMPONENT_ITERATIONS,
        "Iterations of the component's loop since boot"
    );
    describe_counter!(COMPONENT_ERRORS, "Errors of the component since boot");
}

fn respond(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let text = HeaderValue::from_static(TEXT_FORMAT);
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers; exact up to 2^53"
)]
const fn number(count: u64) -> f64 {
    count as f64
}
