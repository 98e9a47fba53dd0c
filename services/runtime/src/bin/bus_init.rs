//! `bus-init`: creates the streams and exits. No other role may create streams.
//! `bus-init health` checks whether a NATS server answers: the health check of its container.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use bearish_runtime::bus::{Bus, BusSettings};
use bearish_runtime::health::check::HealthAnswer;
use bearish_runtime::logging::{self, LoggingSettings};
use bearish_runtime::process::{self, ExitError};
use bearish_runtime::stdout::OutputArgs;
use bearish_runtime::{settings, shutdown::Shutdown, streams};
use clap::{Parser, Subcommand};
use protocol::exit_code::ExitCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_DEADLINE: Duration = Duration::from_mins(1);
const HEALTH_DEADLINE: Duration = Duration::from_secs(3);
/// Limit of the first line that a server sends.
const MAX_GREETING_BYTES: u64 = 64 * 1024;

/// Creates the streams of the bus
#[derive(Parser)]
#[command(name = "bus-init", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check whether a NATS server answers at the address: exit 0 if it does, 70 if not
    Health {
        /// Address of the NATS server, as host:port
        #[arg(default_value = "127.0.0.1:4222")]
        address: String,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    bus: BusSettings,
    #[command(flatten)]
    logging: LoggingSettings,
}

fn main() -> std::process::ExitCode {
    let code = match process::parse::<Cli>() {
        Ok(cli) => match cli.command {
            Some(Command::Health { address, output }) => {
                process::run(async move { Ok(check_health(&address).await.print(output)) })
            }
            None => process::run(init()),
        },
        Err(code) => code,
    };
    code.into()
}

async fn init() -> Result<ExitCode, ExitError> {
    let settings: Settings = settings::from_env()?;
    logging::init(&settings.logging, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| ExitError::internal(error.to_string()))?;
    // The stream of events is in an account of its own, with a user of its own and the same password.
    let (events, others): (Vec<_>, Vec<_>) = streams::stream_configs()
        .into_iter()
        .partition(|config| config.name == streams::EVENTS);
    create_streams(&settings.bus, others, &shutdown).await?;
    create_streams(&events_user(&settings.bus)?, events, &shutdown).await?;
    Ok(ExitCode::Success)
}

/// Settings of the user in the account of events; without a user the bus has no accounts.
fn events_user(settings: &BusSettings) -> Result<BusSettings, ExitError> {
    let user = settings.nats_user.as_ref().map(|user| {
        let name = format!("{user}{}", streams::EVENTS_USER_SUFFIX);
        let invalid = |error| ExitError::config(format!("NATS_USER={user}: {error}"));
        name.parse().map_err(invalid)
    });
    Ok(BusSettings {
        nats_user: user.transpose()?,
        ..settings.clone()
    })
}

async fn create_streams(
    settings: &BusSettings,
    configs: Vec<Config>,
    shutdown: &Shutdown,
) -> Result<(), ExitError> {
    let mut reason = String::from("no answer");
    let connecting = Bus::connect(settings, shutdown.token(), |why| {
        why.clone_into(&mut reason);
    });
    let Ok(bus) = timeout(CONNECT_DEADLINE, connecting).await else {
        let line = format!("bus unavailable for {CONNECT_DEADLINE:?}: {reason}");
        return Err(ExitError::new(ExitCode::Unavailable, line));
    };
    let bus = bus?;
    for config in configs {
        let name = config.name.clone();
        bus.jetstream()
            .create_or_update_stream(config)
            .await
            .map_err(|error| ExitError::config(format!("stream {name}: {error}")))?;
        tracing::info!(stream = name, "stream ready");
    }
    Ok(())
}

/// A NATS server sends a line that begins with INFO to every connection.
async fn check_health(address: &str) -> HealthAnswer {
    // Not 69: this is the health check of the server itself.
    let unhealthy = |error: String| HealthAnswer::hung(format!("{address}: {error}"));
    let greeting = async {
        let stream = TcpStream::connect(address).await?;
        let mut line = String::new();
        BufReader::new(stream)
            .take(MAX_GREETING_BYTES)
            .read_line(&mut line)
            .await?;
        std::io::Result::Ok(line)
    };
    match timeout(HEALTH_DEADLINE, greeting).await {
        Ok(Ok(line)) if line.starts_with("INFO ") => {
            HealthAnswer::healthy(format!("healthy: {address} answers"))
        }
        Ok(Ok(_)) => unhealthy("not a NATS server".to_owned()),
        Ok(Err(error)) => unhealthy(error.to_string()),
        Err(_) => unhealthy(format!("no answer within {HEALTH_DEADLINE:?}")),
    }
}
