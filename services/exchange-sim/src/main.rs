//! The process of exchange-sim: parses the command line, serves or checks, and returns the exit code.

use exchange_sim::exchange::Limits;
use exchange_sim::health;
use exchange_sim::server::Server;
use exchange_sim::settings::{Cli, Command, Settings};
use protocol::exit_code::ExitCode;
use runtime::logging;
use runtime::process::{self, ExitError};
use runtime::shutdown::Shutdown;
use runtime::stdout::OutputArgs;
use serde_json::json;

fn main() -> std::process::ExitCode {
    let cli: Cli = match process::parse() {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    if let Some(Command::Health(output)) = cli.command {
        return check(&cli.settings, output);
    }
    process::run(serve(cli)).into()
}

async fn serve(cli: Cli) -> Result<ExitCode, ExitError> {
    logging::init(&cli.telemetry, &[])?.open_file("exchange-sim")?;
    let shutdown = Shutdown::listen().map_err(|e| ExitError::internal(format!("signals: {e}")))?;
    let server = Server::bind(cli.settings, Limits::default()).await?;
    server.run(shutdown.token().clone()).await?;
    Ok(ExitCode::Success)
}

/// Runs the health check: prints one line, and exits with 0 or 1 for Docker.
fn check(settings: &Settings, output: OutputArgs) -> std::process::ExitCode {
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("unhealthy: {e}"))
        .and_then(|runtime| runtime.block_on(health::check(settings.listen)));
    let (text, status, code) = match asked {
        Ok(text) => (text, "healthy", 0_u8),
        Err(text) => (text, "unhealthy", 1),
    };
    let answer = json!({ "status": status, "text": text, "exit_code": code });
    // If standard output is closed, the exit code still has the result.
    let _ = output.print(&answer, || text);
    code.into()
}
