//! `bus-init`: creates the streams, once, and ends. The only one with the right to.
//! `bus-init ping` asks whether a NATS server answers: the health check of its container.

use std::process::ExitCode as Status;
use std::time::Duration;

use bearish_runtime::bus::{Bus, BusSettings};
use bearish_runtime::process::{self, Stop};
use bearish_runtime::telemetry::{self, TelemetrySettings};
use bearish_runtime::{settings, shutdown::Shutdown, streams};
use clap::{Parser, Subcommand};
use protocol::exit::ExitCode;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);
const PING_DEADLINE: Duration = Duration::from_secs(3);

/// Creates the bus's streams
#[derive(Parser)]
#[command(name = "bus-init", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Exit 0 if a NATS server answers at the address, 70 if none does
    Ping {
        /// host:port
        #[arg(default_value = "127.0.0.1:4222")]
        address: String,
    },
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    bus: BusSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

fn main() -> Status {
    let code = match process::parse::<Cli>() {
        Ok(cli) => match cli.command {
            Some(Command::Ping { address }) => process::run(ping(address)),
            None => process::run(init()),
        },
        Err(code) => code,
    };
    code.into()
}

async fn init() -> Result<ExitCode, Stop> {
    let settings: Settings = settings::from_env()?;
    telemetry::init(&settings.telemetry, &[])?;
    let shutdown = Shutdown::listen().map_err(|error| Stop::internal(error.to_string()))?;
    let mut reason = String::from("no answer");
    let connecting = Bus::connect(&settings.bus, shutdown.token(), |why| {
        why.clone_into(&mut reason);
    });
    let Ok(bus) = timeout(PATIENCE, connecting).await else {
        let line = format!("gave up after {PATIENCE:?}: {reason}");
        return Err(Stop::new(ExitCode::Unavailable, line));
    };
    let bus = bus?;
    for config in streams::catalogue() {
        let name = config.name.clone();
        bus.jetstream()
            .create_or_update_stream(config)
            .await
            .map_err(|error| Stop::config(format!("stream {name}: {error}")))?;
        tracing::info!(stream = name, "ready");
    }
    Ok(ExitCode::Done)
}

/// A NATS server greets every connection with a line that begins with INFO.
async fn ping(address: String) -> Result<ExitCode, Stop> {
    // Not 69: as the health check of the server's container it speaks of that, and of nobody else.
    let silent = |why: String| Stop::internal(format!("{address}: {why}"));
    let greeting = async {
        let stream = TcpStream::connect(&address).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        std::io::Result::Ok(line)
    };
    match timeout(PING_DEADLINE, greeting).await {
        Ok(Ok(line)) if line.starts_with("INFO ") => Ok(ExitCode::Done),
        Ok(Ok(_)) => Err(silent("this is no NATS server".to_owned())),
        Ok(Err(error)) => Err(silent(error.to_string())),
        Err(_) => Err(silent(format!("no answer within {PING_DEADLINE:?}"))),
    }
}
