//! `trader --dry-run`: makes the checks of a start, prints them as a table, and ends with the exit code of the worst.
//! Nothing is traded; one lease is written to a name of its own, to check that the bus accepts writes.

mod bus;
mod evaluation;
mod exchange;

use protocol::exit_code::ExitCode;
use protocol::trader_args::TraderArgs;
use runtime::exit_error::ExitError;
use runtime::stdout::OutputArgs;
use serde::Serialize;
use trader_core::book::BookConfig;

use self::evaluation::Evaluation;
use crate::app::checks::{Check, CheckResult, account, pass, warn};
use crate::app::exchange_clients::ExchangeClients;
use crate::app::patience::Patience;
use crate::app::startup;
use crate::settings::Settings;

/// Result of the checks, as `--json` prints it.
#[derive(Debug, Serialize)]
struct DryRun {
    exit_code: u8,
    checks: Vec<Check>,
}

/// Runs every check and prints the table.
///
/// # Errors
/// Exit 64 or 78 if the command line or the settings are invalid.
pub async fn run(args: TraderArgs, output: OutputArgs) -> Result<ExitCode, ExitError> {
    startup::check_mode(&args)?;
    let settings = Settings::from_env()?;
    let config = startup::book_config(&settings)?;
    let clients = ExchangeClients::new(&settings, args.mode(), None)?;
    let account = match &clients.execution {
        None => Some(settings.paper_account().await?),
        // Without an answer of the exchange the account is unknown; the checks of the exchange say why.
        Some(_) => startup::configured_account(&settings, Patience::none())
            .await
            .ok(),
    };
    let exchange = exchange::checks(&*clients.data, &settings, args.mode()).await;
    let on_bus = match &account {
        Some(account) => bus::checks(&settings, account, &*clients.data).await,
        None => bus::BusChecks::default(),
    };
    let market = exchange.market.as_ref();
    let evaluation = Evaluation {
        client: &*clients.data,
        settings: &settings,
        config: &config,
        exchange: market.map(|(now, filters)| (*now, filters)),
        account: account.as_ref(),
        bus: on_bus.bus.as_ref(),
    };
    let mut checks = evaluation.checks().await;
    checks.push(protections(&config));
    checks.extend(exchange.checks);
    if let Some(client) = &clients.execution {
        let installation = on_bus.installation_id.as_ref();
        checks.extend(account::checks(&**client, &settings, installation).await);
    }
    checks.extend(on_bus.checks);
    let code = exit_code(&checks);
    let result = DryRun {
        exit_code: code.number(),
        checks,
    };
    output.print(&result, || describe(&result.checks, code))?;
    Ok(code)
}

fn protections(config: &BookConfig) -> Check {
    match config.protections.to_string().as_str() {
        "none" => warn(
            "protections",
            "none",
            "set PROTECTIONS, or remove it from .env for the default ones",
        ),
        active => pass("protections", active.to_owned()),
    }
}

fn exit_code(checks: &[Check]) -> ExitCode {
    let has = |result| checks.iter().any(|check| check.result == result);
    if has(CheckResult::Fail) {
        ExitCode::Config
    } else if has(CheckResult::Missing) {
        ExitCode::Unavailable
    } else {
        ExitCode::Success
    }
}

fn describe(checks: &[Check], code: ExitCode) -> String {
    let mut lines = Vec::new();
    for check in checks {
        let result = match check.result {
            CheckResult::Pass => "pass",
            CheckResult::Warn => "warn",
            CheckResult::Missing | CheckResult::Fail => "FAIL",
        };
        lines.push(format!("{result}  {:<12} {}", check.name, check.finding));
        if !check.advice.is_empty() {
            lines.push(format!("{:>18} -> {}", "", check.advice));
        }
    }
    let next = match code {
        ExitCode::Success => "ready to start",
        ExitCode::Unavailable => "not ready: start what is unavailable, then try again",
        _ => "not ready: correct what failed, then try again",
    };
    lines.push(format!("{next} (exit {})", code.number()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::checks::check;

    fn checks(results: &[CheckResult]) -> Vec<Check> {
        results.iter().map(|r| check(*r, "x", "", "")).collect()
    }

    #[test]
    fn exit_code_is_of_the_worst_check_and_a_warning_changes_nothing() {
        let code = |results: &[CheckResult]| exit_code(&checks(results)).number();
        assert_eq!(code(&[CheckResult::Pass, CheckResult::Warn]), 0);
        assert_eq!(
            code(&[CheckResult::Pass, CheckResult::Missing, CheckResult::Warn]),
            69
        );
        assert_eq!(code(&[CheckResult::Missing, CheckResult::Fail]), 78);
    }

    #[test]
    fn dry_run_as_json_has_the_checks_and_the_exit_code() {
        let result = DryRun {
            exit_code: 69,
            checks: checks(&[CheckResult::Missing]),
        };
        assert_eq!(
            serde_json::to_string(&result).unwrap(),
            r#"{"exit_code":69,"checks":[{"name":"x","result":"missing","finding":""}]}"#
        );
    }
}
