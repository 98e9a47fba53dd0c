//! One run of the guard: reach the engine, find out whose containers are ours, answer until told to
//! stop. And the question how it is.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use protocol::exit::ExitCode;
use protocol::ids::Token;
use runtime::process::Stop;
use runtime::shutdown::Shutdown;
use runtime::telemetry;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Lost};
use crate::filters::PROJECT;
use crate::guard::Guard;
use crate::settings::Settings;
use crate::{audit, server};

const QUICK: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// Guards until something ends it.
///
/// # Errors
/// The reason with its exit code.
pub async fn run() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    telemetry::init(&settings.telemetry, &[audit::DIRECTIVE])?;
    let shutdown = Shutdown::listen().map_err(|error| Stop::internal(error.to_string()))?;
    let asked = shutdown.token().clone();
    let engine = Engine::at(settings.engine.clone());
    let found = asked.run_until_cancelled(find_project(&engine, &settings));
    let Some(project) = found.await.transpose()? else {
        return Ok(ExitCode::Done);
    };
    guard(engine, project, &settings, asked).await?;
    Ok(ExitCode::Done)
}

async fn guard(
    engine: Engine,
    project: Token,
    settings: &Settings,
    asked: CancellationToken,
) -> Result<(), Stop> {
    let listener = server::bind(&settings.own)?;
    tracing::info!(%project, socket = %settings.own.display(),
        version = env!("CARGO_PKG_VERSION"), "guarding");
    let guard = Guard::new(engine, project, asked.clone());
    server::run(listener, Arc::new(guard), asked).await;
    Ok(())
}

/// `socket-guard health`: a question that goes all the way, through the guard to the engine.
///
/// # Errors
/// Exit 78 for a setting that is wrong.
pub async fn health() -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let asked = Engine::at(settings.own).ask("GET", "/_ping", QUICK).await;
    let (line, code) = match asked {
        Ok(whole) if whole.status == StatusCode::OK => {
            ("the engine answers".to_owned(), ExitCode::Done)
        }
        Ok(whole) => {
            let said = String::from_utf8_lossy(&whole.text);
            let line = format!("the guard answers {}: {said}", whole.status.as_u16());
            (line, ExitCode::Unavailable)
        }
        Err(lost) => (format!("not running: {lost}"), ExitCode::Internal),
    };
    // If nobody reads the line, the exit code still says it.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(code)
}

/// The one that is set, else that of our own container. Waits for the engine as long as it takes.
async fn find_project(engine: &Engine, settings: &Settings) -> Result<Token, Stop> {
    loop {
        let why = match look(engine, settings).await? {
            Ok(project) => return Ok(project),
            Err(lost) if lost.is_forbidden() => {
                return Err(Stop::config(format!(
                    "DOCKER_HOST=unix://{}: permission denied; run as root or in the socket's group",
                    settings.engine.display()
                )));
            }
            Err(lost) => lost.to_string(),
        };
        tracing::warn!(why, "waiting for the engine");
        tokio::time::sleep(RETRY).await;
    }
}

async fn look(engine: &Engine, settings: &Settings) -> Result<Result<Token, Lost>, Stop> {
    let unknown = || {
        Stop::config("COMPOSE_PROJECT is not set, and this process is in no container of a project")
    };
    if let Some(project) = &settings.project {
        let answered = engine.ask("GET", "/_ping", QUICK).await;
        return Ok(answered.map(|_| project.clone()));
    }
    let hostname: Option<Token> = settings.hostname.as_deref().and_then(|h| h.parse().ok());
    let path = format!("/containers/{}/json", hostname.ok_or_else(unknown)?);
    let whole = match engine.ask("GET", &path, QUICK).await {
        Err(lost) => return Ok(Err(lost)),
        Ok(whole) if whole.status.is_server_error() => {
            let why = format!("the engine answers {}", whole.status);
            return Ok(Err(Lost::Odd(why)));
        }
        Ok(whole) => whole,
    };
    let found: Value = serde_json::from_slice(&whole.text).unwrap_or_default();
    let project = found["Config"]["Labels"][PROJECT].as_str();
    let project = project.and_then(|name| name.parse().ok());
    Ok(Ok(project.ok_or_else(unknown)?))
}
