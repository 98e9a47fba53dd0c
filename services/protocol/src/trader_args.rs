//! Command line of the trader: the flags, their defaults, and their meaning together. The watchdog parses the same type
//! from the arguments of a container.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser};

use crate::exit_code::ExitCode;
use crate::ids::Mode;

/// Flags of a trader. They have no variables, so that `docker inspect` shows them.
#[derive(Debug, Clone, PartialEq, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "flags of the specification, each on or off, each independent"
)]
pub struct TraderArgs {
    /// Simulate fills; no orders, no keys
    #[arg(long)]
    pub paper: bool,

    /// Never exit: retry after every error, ignore --duration
    #[arg(long)]
    pub infinite: bool,

    /// Let the watchdog restart this trader when it ends
    #[arg(long)]
    pub auto_restart: bool,

    /// Restarts after which the watchdog quarantines the trader
    #[arg(long, value_name = "N", default_value_t = 1000, allow_negative_numbers = true,
          value_parser = max_restarts)]
    pub max_restarts: u32,

    /// Base delay between restarts; doubles with each failure in a row, up to an hour
    #[arg(long, value_name = "SECS", default_value_t = 30, allow_negative_numbers = true,
          value_parser = restart_delay)]
    pub restart_delay: u64,

    /// Exit after this time; with --auto-restart, finish a cycle
    #[arg(long, value_name = "SECS", allow_negative_numbers = true, value_parser = duration)]
    pub duration: Option<f64>,

    /// Run all checks, trade nothing, exit
    #[arg(long)]
    pub dry_run: bool,

    /// Confirm that the trader may use real money (required without --paper)
    #[arg(long)]
    pub confirm_live: bool,

    /// Restart at once after the first crash of a long healthy run
    #[arg(long)]
    pub fast_first: bool,

    /// Make each restart delay up to a fifth longer, at random
    #[arg(long)]
    pub jitter: bool,
}

#[derive(Parser)]
#[command(name = "trader", no_binary_name = true)]
struct TraderCommandLine {
    #[command(flatten)]
    args: TraderArgs,
}

impl TraderArgs {
    /// Parses the arguments of a container, without the program name.
    ///
    /// # Errors
    /// Clap's error, if a flag is unknown or a value is invalid.
    pub fn from_arguments<W>(arguments: impl IntoIterator<Item = W>) -> Result<Self, clap::Error>
    where
        W: Into<OsString> + Clone,
    {
        TraderCommandLine::try_parse_from(arguments).map(|w| w.args)
    }

    /// Mode of the trader.
    pub const fn mode(&self) -> Mode {
        if self.paper { Mode::Paper } else { Mode::Live }
    }

    /// Time after which the run ends by itself, and its exit code; `None` if it does not.
    ///
    /// `--infinite` alone ignores `--duration`; with `--auto-restart` each cycle ends after `--duration`.
    pub fn ends_after(&self) -> Option<(Duration, ExitCode)> {
        if self.infinite && !self.auto_restart {
            return None;
        }
        let code = if self.auto_restart {
            ExitCode::CycleFinished
        } else {
            ExitCode::Success
        };
        self.duration
            .map(|secs| (Duration::from_secs_f64(secs), code))
    }
}

fn max_restarts(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(restarts @ 1..=1_000_000) => Ok(restarts),
        _ => Err("expected a whole number from 1 to 1000000".to_owned()),
    }
}

fn restart_delay(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(secs @ 0..=3600) => Ok(secs),
        _ => Err("expected whole seconds from 0 to 3600".to_owned()),
    }
}

/// Value parser for seconds: above 0, at most ten years.
fn duration(text: &str) -> Result<f64, String> {
    const TEN_YEARS: f64 = 315_360_000.0;
    match text.parse::<f64>() {
        Ok(secs) if secs > 0.0 && secs <= TEN_YEARS => Ok(secs),
        _ => Err(format!(
            "expected seconds above 0, up to {TEN_YEARS}, e.g. 3600 or 0.5"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<TraderArgs, clap::Error> {
        TraderArgs::from_arguments(line.split_whitespace())
    }

    #[test]
    fn trader_args_defaults_are_those_of_the_specification() {
        let args = parse("").unwrap();
        assert_eq!((args.max_restarts, args.restart_delay), (1000, 30));
        assert_eq!(args.duration, None);
        assert!(!args.paper && !args.infinite && !args.auto_restart && !args.dry_run);
        assert_eq!(args.mode(), Mode::Live);
    }

    #[test]
    fn duration_ends_a_run_or_a_cycle_depending_on_the_other_flags() {
        let hour = Duration::from_hours(1);
        let cases = [
            ("--duration 3600", Some((hour, ExitCode::Success))),
            (
                "--duration 3600 --auto-restart",
                Some((hour, ExitCode::CycleFinished)),
            ),
            ("--infinite --duration 3600", None),
            (
                "--infinite --auto-restart --duration 3600",
                Some((hour, ExitCode::CycleFinished)),
            ),
            ("--infinite", None),
            ("--auto-restart", None),
            ("", None),
        ];
        for (line, end) in cases {
            assert_eq!(parse(line).unwrap().ends_after(), end, "{line}");
        }
    }

    #[test]
    fn rejected_argument_is_named_with_its_value() {
        for (line, value) in [
            ("--restart-delay -1", "-1"),
            ("--restart-delay 3601", "3601"),
            ("--max-restarts 0", "0"),
            ("--max-restarts -5", "-5"),
            ("--duration 0", "0"),
            ("--duration NaN", "NaN"),
            ("--duration -2.5", "-2.5"),
            ("--duration inf", "inf"),
        ] {
            let flag = line.split(' ').next().unwrap();
            let text = parse(line).unwrap_err().to_string();
            assert!(text.contains(flag), "{text}");
            assert!(text.contains(&format!("'{value}'")), "{text}");
            assert!(text.contains("expected "), "{text}");
        }
        let text = parse("--forever").unwrap_err().to_string();
        assert!(text.contains("--forever"), "{text}");
    }

    #[test]
    fn every_command_line_of_the_specification_parses() {
        for line in [
            "--infinite",
            "--auto-restart",
            "--infinite --auto-restart",
            "--infinite --auto-restart --max-restarts 500 --restart-delay 60",
            "--paper --infinite --auto-restart",
            "--infinite --auto-restart --duration 3600",
            "--infinite --auto-restart --max-restarts 1000 --restart-delay 30",
            "--paper --infinite --auto-restart --max-restarts 100",
            "--duration 3600 --auto-restart --max-restarts 24",
            "--dry-run",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }
}
