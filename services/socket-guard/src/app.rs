//! One run of the proxy: connect to Docker, find the project, serve until shutdown. Also the health query.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;
use runtime::components::ProcessStatus;
use runtime::health::check::HealthAnswer;
use runtime::process::ExitError;
use runtime::shutdown::Shutdown;
use runtime::stdout::OutputArgs;
use runtime::{hang_detector, logging};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::filters::PROJECT_LABEL;
use crate::proxy::ProxyHandler;
use crate::settings::Settings;
use crate::upstream::{Upstream, UpstreamError};
use crate::{audit, server};

const PING_DEADLINE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// Runs the proxy until a shutdown signal.
///
/// # Errors
/// The error with its exit code.
pub async fn run() -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let logging = logging::init(&settings.logging, &[audit::DIRECTIVE])?;
    logging.open_file("socket-guard")?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    let stop_requested = shutdown.token().clone();
    let upstream = Upstream::new(settings.docker_socket.clone());
    let found = stop_requested.run_until_cancelled(find_project(&upstream, &settings));
    let Some(project) = found.await.transpose()? else {
        return Ok(ExitCode::Success);
    };
    serve(upstream, project, &settings, stop_requested).await?;
    Ok(ExitCode::Success)
}

async fn serve(
    upstream: Upstream,
    project: SubjectToken,
    settings: &Settings,
    shutdown: CancellationToken,
) -> Result<(), ExitError> {
    let listener = server::bind(&settings.listen_socket)?;
    tracing::info!(%project, socket = %settings.listen_socket.display(),
        version = env!("CARGO_PKG_VERSION"), "socket-guard started");
    let guard = ProxyHandler::new(upstream, project, shutdown.clone());
    // A loop that is stuck ends the process, so that Docker restarts it: nothing else may.
    let component = ProcessStatus::default().component("server");
    hang_detector::exit_when_hung(&component)?;
    server::run(listener, Arc::new(guard), &component, shutdown).await;
    Ok(())
}

/// `socket-guard health`: pings Docker through the running proxy.
///
/// # Errors
/// Exit 78 for an invalid setting.
pub async fn health(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let response = Upstream::new(settings.listen_socket)
        .request("GET", "/_ping", PING_DEADLINE)
        .await;
    let answer = match response {
        Ok(whole) if whole.status == StatusCode::OK => HealthAnswer::healthy("Docker responds"),
        Ok(whole) => {
            let body = String::from_utf8_lossy(&whole.body);
            let status = whole.status.as_u16();
            HealthAnswer::waiting(format!("socket-guard responded {status}: {body}"))
        }
        Err(lost) => HealthAnswer::hung(format!("not running: {lost}")),
    };
    Ok(answer.print(output))
}

/// `BEARISH_PROJECT`, else the project of the own container. Waits for Docker as long as it takes.
async fn find_project(upstream: &Upstream, settings: &Settings) -> Result<SubjectToken, ExitError> {
    loop {
        let why = match read_project(upstream, settings).await? {
            Ok(project) => return Ok(project),
            Err(lost) if lost.is_permission_denied() => {
                return Err(ExitError::config(format!(
                    "DOCKER_HOST=unix://{}: permission denied; run as root or in the socket's group",
                    settings.docker_socket.display()
                )));
            }
            Err(lost) => lost.to_string(),
        };
        tracing::warn!(error = why, "docker unavailable");
        tokio::time::sleep(RETRY).await;
    }
}

async fn read_project(
    upstream: &Upstream,
    settings: &Settings,
) -> Result<Result<SubjectToken, UpstreamError>, ExitError> {
    let unknown = || {
        ExitError::config(
            "BEARISH_PROJECT is not set, and this process is in no container of a project",
        )
    };
    if let Some(project) = &settings.project {
        let answered = upstream.request("GET", "/_ping", PING_DEADLINE).await;
        return Ok(answered.map(|_| project.clone()));
    }
    let hostname: Option<SubjectToken> = settings.hostname.as_deref().and_then(|h| h.parse().ok());
    let path = format!("/containers/{}/json", hostname.ok_or_else(unknown)?);
    let whole = match upstream.request("GET", &path, PING_DEADLINE).await {
        Err(lost) => return Ok(Err(lost)),
        Ok(whole) if whole.status.is_server_error() => {
            let why = format!("Docker responded {}", whole.status);
            return Ok(Err(UpstreamError::InvalidResponse(why)));
        }
        Ok(whole) => whole,
    };
    let found: Value = serde_json::from_slice(&whole.body).unwrap_or_default();
    let project = found["Config"]["Labels"][PROJECT_LABEL].as_str();
    let project = project.and_then(|name| name.parse().ok());
    Ok(Ok(project.ok_or_else(unknown)?))
}
