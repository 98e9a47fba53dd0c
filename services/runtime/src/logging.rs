//! Logs: `tracing` to standard output, for people or as JSON.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::process::ExitError;

/// How logs look. Part of every service's settings.
#[derive(Debug, Clone, Args)]
pub struct LoggingSettings {
    /// human: one coloured line each on a terminal; json: one object a line
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "LOG_FORMAT",
        default_value = "human"
    )]
    pub log_format: LogFormat,

    /// error, warn, info, debug, trace, or tracing's filter language
    #[arg(long, env = "LOG_LEVEL", value_name = "LOG_LEVEL", default_value = "info",
          value_parser = filter_text)]
    pub log_level: String,
}

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A person.
    Human,
    /// A machine.
    Json,
}

/// Installs the subscriber for this process. `quiet` are filter directives for dependencies that
/// talk too much at the chosen level; the settings' own directives win over them.
///
/// # Errors
/// Exit 78 for a filter that does not parse, 70 if a subscriber is installed already.
pub fn init(settings: &LoggingSettings, quiet: &[&str]) -> Result<(), ExitError> {
    // The bus's client repeats what its event callback and its errors already tell us.
    let mut directives = vec!["async_nats=off"];
    directives.extend(quiet);
    directives.push(&settings.log_level);
    let text = directives.join(",");
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        ExitError::config(format!("LOG_LEVEL={:?}: {error}", settings.log_level))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    let installed = match settings.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder
            .with_ansi(std::io::stdout().is_terminal())
            .with_timer(UtcSeconds)
            .try_init(),
    };
    installed.map_err(|error| ExitError::internal(format!("cannot start the log: {error}")))
}

/// UTC to the second: Docker and the reader need no nanoseconds.
struct UtcSeconds;

impl FormatTime for UtcSeconds {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let mut full = String::with_capacity(32);
        SystemTime.format_time(&mut tracing_subscriber::fmt::format::Writer::new(&mut full))?;
        w.write_str(full.get(..19).unwrap_or(&full))?;
        w.write_char('Z')
    }
}

fn filter_text(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; allowed are error, warn, info, debug, trace or target=level,…"
        )),
    }
}
