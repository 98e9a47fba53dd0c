//! `--dry-run`: every check that a start would make, as a table, and the exit code that it would
//! earn. Nothing is traded or claimed; one free lease is written, to see that the bus takes writes.

mod account;
mod bus;
mod exchange;

use protocol::exit_code::ExitCode;
use protocol::trader_args::TraderArgs;
use runtime::process::ExitError;
use trader_core::circuit_breaker::Breaker;
use trader_core::orders::InstallationId;

use crate::settings::Settings;
use crate::startup;
use crate::venue::BinanceExecutionClient;

/// How a check went, by the exit code it earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckResult {
    Pass,
    Warn,
    /// A dependency is missing: 69.
    Missing,
    /// Cannot heal by itself: 78.
    Fail,
}

struct Check {
    name: &'static str,
    result: CheckResult,
    finding: String,
    /// What a person should do; empty where nothing is to be done.
    advice: String,
}

/// The checks of the account that a live start makes too.
///
/// # Errors
/// Exit 78 for the first that cannot heal by itself, 69 for one that may.
pub(crate) async fn check_account(
    venue: &BinanceExecutionClient,
    settings: &Settings,
    ours: &InstallationId,
) -> Result<(), ExitError> {
    let checks = account::checks(venue, settings, Some(ours)).await;
    for Check {
        name,
        result: grade,
        finding,
        advice: todo,
    } in checks
    {
        let line = format!("{name}: {finding}");
        match grade {
            CheckResult::Pass => tracing::info!(check = name, "{finding}"),
            CheckResult::Warn => tracing::warn!(check = name, todo, "{finding}"),
            CheckResult::Missing => return Err(ExitError::new(ExitCode::Unavailable, line)),
            CheckResult::Fail => return Err(ExitError::config(format!("{line}: {todo}"))),
        }
    }
    Ok(())
}

/// Runs every check and prints the table.
///
/// # Errors
/// Exit 64 or 78 when the command line or the settings are refused before any check.
pub async fn run(args: TraderArgs) -> Result<ExitCode, ExitError> {
    startup::check_mode(&args)?;
    let settings = Settings::from_env()?;
    let config = startup::book_config(&settings)?;
    let market = startup::data_client(&settings)?;
    let venue = startup::execution_client(&settings, &market, args.mode())?;
    let account = match &venue {
        None => Some(settings.paper_account()?),
        // Without an answer of the exchange's nobody knows its name; the checks say what is amiss.
        Some(_) => startup::configured_account(&settings).await.ok(),
    };
    let names = |list: &[&str]| list.join(", ");
    let strategies: Vec<&str> = config.strategies.iter().map(|s| s.as_str()).collect();
    let mut checks = vec![
        pass(
            "settings",
            format!(
                "{}, {} symbols, slice {} USDT, leverage {}",
                account
                    .as_ref()
                    .map_or_else(|| "an unknown account".to_owned(), ToString::to_string),
                settings.symbols.len(),
                settings.slice(),
                config.leverage
            ),
        ),
        pass("strategies", names(&strategies)),
        pass(
            "breakers",
            format!("armed: {}", names(&Breaker::ALL.map(Breaker::as_str))),
        ),
        match config.protections.to_string().as_str() {
            "none" => warn(
                "protections",
                "none",
                "set PROTECTIONS, or leave it out for the usual ones",
            ),
            on => pass("protections", on.to_owned()),
        },
    ];
    checks.extend(exchange::checks(&market, &settings, args.mode()).await);
    if let Some(venue) = &venue {
        checks.extend(account::checks(venue, &settings, None).await);
    }
    if let Some(account) = &account {
        checks.extend(bus::checks(&settings, account).await);
    }
    print(&checks);
    Ok(exit_code(&checks))
}

fn exit_code(checks: &[Check]) -> ExitCode {
    let has = |grade| checks.iter().any(|check| check.result == grade);
    if has(CheckResult::Fail) {
        ExitCode::Config
    } else if has(CheckResult::Missing) {
        ExitCode::Unavailable
    } else {
        ExitCode::Success
    }
}

fn check(
    grade: CheckResult,
    name: &'static str,
    finding: impl Into<String>,
    todo: impl Into<String>,
) -> Check {
    Check {
        name,
        result: grade,
        finding: finding.into(),
        advice: todo.into(),
    }
}

fn pass(name: &'static str, finding: impl Into<String>) -> Check {
    check(CheckResult::Pass, name, finding, "")
}

fn warn(name: &'static str, finding: impl Into<String>, todo: impl Into<String>) -> Check {
    check(CheckResult::Warn, name, finding, todo)
}

#[allow(clippy::print_stdout, reason = "the table is this command's answer")]
fn print(checks: &[Check]) {
    for check in checks {
        let grade = match check.result {
            CheckResult::Pass => "pass",
            CheckResult::Warn => "warn",
            CheckResult::Missing | CheckResult::Fail => "FAIL",
        };
        println!("{grade}  {:<12} {}", check.name, check.finding);
        if !check.advice.is_empty() {
            println!("{:>18} -> {}", "", check.advice);
        }
    }
    let code = exit_code(checks);
    let next = match code {
        ExitCode::Success => "ready to start",
        ExitCode::Unavailable => "start what is missing, then try again",
        _ => "mend what failed, then try again",
    };
    println!("{next} (exit {})", code.number());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_is_of_the_worst_check_and_a_warning_changes_nothing() {
        let table = |grades: &[CheckResult]| {
            let checks: Vec<Check> = grades.iter().map(|g| check(*g, "x", "", "")).collect();
            exit_code(&checks).number()
        };
        assert_eq!(table(&[CheckResult::Pass, CheckResult::Warn]), 0);
        assert_eq!(
            table(&[CheckResult::Pass, CheckResult::Missing, CheckResult::Warn]),
            69
        );
        assert_eq!(table(&[CheckResult::Missing, CheckResult::Fail]), 78);
    }
}
