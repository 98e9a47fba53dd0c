//! Logs of a process: `tracing` to standard output, for people or as JSON, and to a rotated file if `LOG_DIR` is set.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use protocol::redact::redact;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::exit_error::ExitError;
use crate::log_file::LogFile;
use crate::settings::invalid_setting;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Log settings of every service.
#[derive(Debug, Clone, Args)]
pub struct LoggingSettings {
    /// human: one line each, coloured on a terminal; json: one object a line
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "LOG_FORMAT",
        default_value = "human"
    )]
    pub log_format: LogFormat,

    /// error, warn, info, debug, trace, or a list of such levels and TARGET=LEVEL
    #[arg(long, env = "LOG_LEVEL", value_name = "LOG_LEVEL", default_value = "info",
          value_parser = parse_filter)]
    pub log_level: String,

    /// Directory for log files beside standard output; no files without it
    #[arg(long, env = "LOG_DIR", value_name = "LOG_DIR")]
    pub log_dir: Option<PathBuf>,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The installed log of a process.
#[derive(Debug, Clone, Default)]
pub struct Logging {
    file: Option<LogFile>,
    dir: Option<PathBuf>,
}

impl Logging {
    /// Opens the log file `<name>.log` in `LOG_DIR`, with the lines logged so far. Does nothing without `LOG_DIR`.
    ///
    /// # Errors
    /// Exit 78 if the file cannot be written.
    pub fn open_file(&self, name: &str) -> Result<(), ExitError> {
        let (Some(file), Some(dir)) = (&self.file, &self.dir) else {
            return Ok(());
        };
        file.open(dir, name).map_err(|error| {
            let expected = format!("expected a directory that this process may write: {error}");
            invalid_setting("LOG_DIR", &dir.display().to_string(), &expected)
        })
    }
}

/// Installs the log of this process. `quiet` are filter directives for dependencies that log too much at the chosen
/// level; the directives of `LOG_LEVEL` take precedence.
///
/// # Errors
/// Exit 78 for an invalid filter, 70 if a log is installed already.
pub fn init(settings: &LoggingSettings, quiet: &[&str]) -> Result<Logging, ExitError> {
    // The NATS client repeats what `bus` logs.
    let mut directives = vec!["async_nats=off"];
    directives.extend(quiet);
    directives.push(&settings.log_level);
    let filter = EnvFilter::try_new(directives.join(","))
        .map_err(|error| invalid_setting("LOG_LEVEL", &settings.log_level, &error.to_string()))?;
    let file = settings.log_dir.is_some().then(LogFile::default);
    let is_terminal = std::io::stdout().is_terminal();
    let has_colors = has_colors(is_terminal, |name| std::env::var(name).ok());
    let stdout = layer(settings.log_format, has_colors, std::io::stdout);
    let to_file = file.clone();
    let to_file = to_file.map(|file| layer(settings.log_format, false, file));
    tracing_subscriber::registry()
        .with(stdout.and_then(to_file).with_filter(filter))
        .try_init()
        .map_err(|error| ExitError::internal(format!("cannot start the log: {error}")))?;
    Ok(Logging {
        file,
        dir: settings.log_dir.clone(),
    })
}

/// Whether log lines are coloured: on a terminal, unless `NO_COLOR` is set; anywhere if `CLICOLOR_FORCE` is set, as for
/// `docker compose logs`, whose containers have no terminal. <https://no-color.org>, <https://bixense.com/clicolors>
fn has_colors(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !matches!(&*value, "" | "0"));
    !is_set("NO_COLOR") && (is_terminal || is_set("CLICOLOR_FORCE"))
}

fn layer<W>(format: LogFormat, ansi: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = fmt::layer()
        .with_target(false)
        .with_writer(RedactingWriter(writer));
    match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Human => layer.with_ansi(ansi).with_timer(UtcSeconds).boxed(),
    }
}

/// Writes each event without its secrets.
struct RedactingWriter<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for RedactingWriter<W> {
    type Writer = RedactingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        RedactingWriter(self.0.make_writer_for(meta))
    }
}

impl<W: Write> Write for RedactingWriter<W> {
    /// `event` is a whole event: the layer writes each at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = redact(&String::from_utf8_lossy(event));
        self.0.write_all(text.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Log time in UTC, to the second.
struct UtcSeconds;

impl FormatTime for UtcSeconds {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let mut full = String::with_capacity(32);
        SystemTime.format_time(&mut tracing_subscriber::fmt::format::Writer::new(&mut full))?;
        w.write_str(full.get(..19).unwrap_or(&full))?;
        w.write_char('Z')
    }
}

/// Accepts levels and `TARGET=LEVEL`, separated by commas. `EnvFilter` would take any other text for a target,
/// and would log nothing.
fn parse_filter(text: &str) -> Result<String, String> {
    let is_level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text));
    let is_directive = |directive: &str| match directive.rsplit_once('=') {
        Some((target, level)) => {
            !target.is_empty() && !target.contains('=') && level.parse::<LevelFilter>().is_ok()
        }
        None => is_level(directive),
    };
    if text
        .split(',')
        .all(|directive| is_directive(directive.trim()))
        && EnvFilter::try_new(text).is_ok()
    {
        Ok(text.to_owned())
    } else {
        Err(format!("expected {}", LEVELS.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_coloured_on_a_terminal_and_where_colours_are_forced() {
        let colors = |is_terminal, set: &[(&str, &str)]| {
            has_colors(is_terminal, |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(colors(true, &[]) && !colors(false, &[]));
        assert!(!colors(true, &[("NO_COLOR", "1")]) && colors(true, &[("NO_COLOR", "")]));
        assert!(colors(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!colors(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!colors(
            false,
            &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
        ));
    }

    /// A place for what was written, which the test keeps.
    #[derive(Clone, Default)]
    struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, event: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(event);
            Ok(event.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn log_has_no_secret_in_any_format() {
        for (format, ansi) in [
            (LogFormat::Human, false),
            (LogFormat::Human, true),
            (LogFormat::Json, false),
        ] {
            let written = Written::default();
            let to = written.clone();
            let layer = layer(format, ansi, move || to.clone());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::error!(
                    error = "GET nats://u:s3cret-a@h: password=s3cret-b",
                    token = "s3cret-c",
                    "listenKey={}",
                    "s3cret-d"
                );
            });
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("s3cret") && text.contains("***"), "{text}");
            if matches!(format, LogFormat::Json) {
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["level"], "ERROR");
            }
        }
    }

    #[test]
    fn log_level_is_one_of_the_levels_or_a_level_for_a_target() {
        for text in [
            "error",
            "INFO",
            "info,hyper=debug",
            "bearish_trader=trace,warn",
        ] {
            assert_eq!(parse_filter(text).as_deref(), Ok(text));
        }
        for text in [
            "warning",
            "information",
            "debug2",
            "hyper",
            "",
            "a=b=c",
            "hyper=loud",
            "3",
        ] {
            assert_eq!(
                parse_filter(text).unwrap_err(),
                "expected error, warn, info, debug, trace",
                "{text}"
            );
        }
    }
}
