//! `trader health`: the health check of the container.

use protocol::exit_code::ExitCode;
use protocol::ids::Service;
use runtime::exit_error::ExitError;
use runtime::health::check as health;
use runtime::stdout::OutputArgs;

use crate::settings::Settings;

/// Asks the trader of this instance for its health: exit 0 healthy, 69 waiting for a dependency, 70 hung.
///
/// # Errors
/// Exit 78 for invalid settings.
pub async fn run(output: OutputArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let identity = settings.instance.identify().await?;
    Ok(health::query(Service::Trader, identity.instance.as_str(), output).await)
}
