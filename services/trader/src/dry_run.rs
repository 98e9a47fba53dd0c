//! `--dry-run`: every check that a start would make, as a table, and the exit code that it would
//! earn. Nothing is traded or claimed; one free lease is written, to see that the bus takes writes.

mod account;
mod bus;
mod exchange;

use engine::breaker::Breaker;
use engine::orders::Deployment;
use protocol::exit::ExitCode;
use protocol::trader_args::TraderArgs;
use runtime::process::Stop;

use crate::settings::Settings;
use crate::start;
use crate::venue::Venue;

/// How a check went, by the exit code it earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Pass,
    Warn,
    /// A dependency is missing: 69.
    Missing,
    /// Cannot heal by itself: 78.
    Fail,
}

struct Check {
    name: &'static str,
    grade: Grade,
    finding: String,
    /// What a person should do; empty where nothing is to be done.
    todo: String,
}

/// The checks of the account that a live start makes too.
///
/// # Errors
/// Exit 78 for the first that cannot heal by itself, 69 for one that may.
pub(crate) async fn check_account(
    venue: &Venue,
    settings: &Settings,
    ours: &Deployment,
) -> Result<(), Stop> {
    let checks = account::checks(venue, settings, Some(ours)).await;
    for Check {
        name,
        grade,
        finding,
        todo,
    } in checks
    {
        let line = format!("{name}: {finding}");
        match grade {
            Grade::Pass => tracing::info!(check = name, "{finding}"),
            Grade::Warn => tracing::warn!(check = name, todo, "{finding}"),
            Grade::Missing => return Err(Stop::new(ExitCode::Unavailable, line)),
            Grade::Fail => return Err(Stop::config(format!("{line}: {todo}"))),
        }
    }
    Ok(())
}

/// Runs every check and prints the table.
///
/// # Errors
/// Exit 64 or 78 when the command line or the settings are refused before any check.
pub async fn run(args: TraderArgs) -> Result<ExitCode, Stop> {
    start::check_mode(&args)?;
    let settings = Settings::from_env()?;
    let config = start::book_config(&settings)?;
    let market = start::market(&settings)?;
    let venue = start::venue(&settings, &market, args.mode())?;
    let account = match &venue {
        None => Some(settings.paper_account()?),
        // Without an answer of the exchange's nobody knows its name; the checks say what is amiss.
        Some(_) => start::own_account(&settings).await.ok(),
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
    Ok(verdict(&checks))
}

fn verdict(checks: &[Check]) -> ExitCode {
    let has = |grade| checks.iter().any(|check| check.grade == grade);
    if has(Grade::Fail) {
        ExitCode::Config
    } else if has(Grade::Missing) {
        ExitCode::Unavailable
    } else {
        ExitCode::Done
    }
}

fn check(
    grade: Grade,
    name: &'static str,
    finding: impl Into<String>,
    todo: impl Into<String>,
) -> Check {
    Check {
        name,
        grade,
        finding: finding.into(),
        todo: todo.into(),
    }
}

fn pass(name: &'static str, finding: impl Into<String>) -> Check {
    check(Grade::Pass, name, finding, "")
}

fn warn(name: &'static str, finding: impl Into<String>, todo: impl Into<String>) -> Check {
    check(Grade::Warn, name, finding, todo)
}

#[allow(clippy::print_stdout, reason = "the table is this command's answer")]
fn print(checks: &[Check]) {
    for check in checks {
        let grade = match check.grade {
            Grade::Pass => "pass",
            Grade::Warn => "warn",
            Grade::Missing | Grade::Fail => "FAIL",
        };
        println!("{grade}  {:<12} {}", check.name, check.finding);
        if !check.todo.is_empty() {
            println!("{:>18} -> {}", "", check.todo);
        }
    }
    let code = verdict(checks);
    let next = match code {
        ExitCode::Done => "ready to start",
        ExitCode::Unavailable => "start what is missing, then try again",
        _ => "mend what failed, then try again",
    };
    println!("{next} (exit {})", code.number());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_decides_and_a_warning_does_not() {
        let table = |grades: &[Grade]| {
            let checks: Vec<Check> = grades.iter().map(|g| check(*g, "x", "", "")).collect();
            verdict(&checks).number()
        };
        assert_eq!(table(&[Grade::Pass, Grade::Warn]), 0);
        assert_eq!(table(&[Grade::Pass, Grade::Missing, Grade::Warn]), 69);
        assert_eq!(table(&[Grade::Missing, Grade::Fail]), 78);
    }
}
