//! `trader pause`, `resume`, `flatten`, `accept` and `unlatch`. A command is stored in the account's command journal; the
//! account leader executes it, now or as soon as there is one.

use std::time::Duration;

use clap::Args;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::exit_code::ExitCode;
use protocol::host_command;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::clock;
use runtime::exit_error::ExitError;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::stdout::{OutputArgs, print_line};
use runtime::streams;
use runtime::subscription::Subscription;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use trader_core::account::AccountState;

use super::bus_access::{append_records, ask_bus, connect};
use super::emergency_flatten;
use super::output::as_text;
use crate::account::command_journal::{read_account_state, read_commanded_state};
use crate::app::patience::Patience;
use crate::app::startup;
use crate::settings::Settings;

/// How long the command waits for the account leader.
const EXECUTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Wait before the account's journal is read again after a failure.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// How long `flatten --direct` waits for the bus to store the latch.
const LATCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Origin of a command
#[derive(Debug, Clone, Args)]
pub(super) struct AttributionArgs {
    /// Reason for the command; shown to the operator
    #[arg(long, value_name = "TEXT", value_parser = parse_short_text)]
    pub(super) reason: String,

    /// Who gives the command
    #[arg(long, value_name = "NAME", default_value = "operator", value_parser = parse_short_text)]
    pub(super) by: String,
}

/// Flags of `trader pause` and `trader resume`
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// Symbol whose entries are meant [default: all symbols]
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Option<SubjectToken>,

    #[command(flatten)]
    attribution: AttributionArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `trader flatten`
#[derive(Debug, Clone, Args)]
pub struct FlattenArgs {
    /// Confirms that all positions are closed at the market and all traders of the account end with 21
    #[arg(long, required = true)]
    pub confirm: bool,

    /// Close directly on the exchange, even without the bus and without a trader (live only)
    #[arg(long)]
    pub direct: bool,

    #[command(flatten)]
    attribution: AttributionArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `trader accept`
#[derive(Debug, Clone, Args)]
pub struct AcceptArgs {
    /// Id of the difference, as in the message, the log and `trader status`
    #[arg(long, value_name = "ID")]
    pub difference: String,

    #[command(flatten)]
    attribution: AttributionArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Flags of `trader unlatch`
#[derive(Debug, Clone, Args)]
pub struct UnlatchArgs {
    /// Id of the latch, as in the message, the log and `trader status`
    #[arg(long, value_name = "ID")]
    pub latch: String,

    #[command(flatten)]
    attribution: AttributionArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Result of a command as JSON.
#[derive(Debug, Serialize)]
struct CommandResult {
    #[serde(serialize_with = "as_text")]
    account: AccountKey,
    command: &'static str,
    /// Sequence of the command in JOURNAL.
    seq: u64,
    /// Whether the account leader has executed the command within the timeout.
    executed: bool,
    /// Id of the account's latch, if there is one.
    latch_id: Option<String>,
}

fn parse_short_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=200).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 200 characters".to_owned())
    }
}

/// `trader pause`: stops entries.
///
/// # Errors
/// Exit 78 if the entries are paused already, 69 if the bus does not answer.
pub async fn pause(args: PauseArgs) -> Result<ExitCode, ExitError> {
    let command = AccountCommand::Pause {
        symbol: args.symbol,
    };
    send_command(command, args.attribution, args.output).await
}

/// `trader resume`: ends pauses.
///
/// # Errors
/// Exit 78 if nothing is paused, 69 if the bus does not answer.
pub async fn resume(args: PauseArgs) -> Result<ExitCode, ExitError> {
    let command = AccountCommand::Resume {
        symbol: args.symbol,
    };
    send_command(command, args.attribution, args.output).await
}

/// `trader flatten`: closes all positions and latches the account.
///
/// # Errors
/// Exit 78 if the account is latched already, 69 if the bus does not answer; with `--direct` 69 if something
/// is still open.
pub async fn flatten(args: FlattenArgs) -> Result<ExitCode, ExitError> {
    if args.direct {
        return flatten_directly(args.attribution, args.output).await;
    }
    send_command(AccountCommand::Flatten, args.attribution, args.output).await
}

/// Closes the positions first and stores the latch afterwards, because the bus may be unavailable.
async fn flatten_directly(
    attribution: AttributionArgs,
    output: OutputArgs,
) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let flattened = emergency_flatten::run(&settings).await?;
    output.print(&flattened, || emergency_flatten::describe(&flattened))?;
    let not_latched = |error: &str| {
        print_line(&format!(
            "account not latched: {error}; traders that run may enter again"
        ))
    };
    let latch = send_command(AccountCommand::Flatten, attribution, output);
    match timeout(LATCH_TIMEOUT, latch).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if output.json => {
            tracing::warn!(error = error.message, "account not latched");
        }
        Ok(Err(error)) => not_latched(&error.message)?,
        Err(_) if output.json => tracing::warn!("account not latched: no answer from the bus"),
        Err(_) => not_latched("no answer from the bus")?,
    }
    Ok(ExitCode::Success)
}

/// `trader unlatch`: ends a latch.
///
/// # Errors
/// Exit 78 if the account has no such latch, 69 if the bus does not answer.
pub async fn unlatch(args: UnlatchArgs) -> Result<ExitCode, ExitError> {
    let command = AccountCommand::Unlatch {
        latch_id: args.latch,
    };
    send_command(command, args.attribution, args.output).await
}

/// `trader accept`: accepts an unexplained difference of the balance.
///
/// # Errors
/// Exit 78 if the account has no such difference, 69 if the bus does not answer.
pub async fn accept(args: AcceptArgs) -> Result<ExitCode, ExitError> {
    let command = AccountCommand::Accept {
        difference_id: args.difference,
    };
    send_command(command, args.attribution, args.output).await
}

async fn send_command(
    command: AccountCommand,
    AttributionArgs { by, reason }: AttributionArgs,
    output: OutputArgs,
) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let patience = Patience::start();
    let account = startup::configured_account(&settings, patience).await?;
    if let AccountCommand::Pause {
        symbol: Some(symbol),
    } = &command
    {
        check_symbol(&settings, symbol)?;
    }
    let bus = connect(&settings, patience).await?;
    let record = AccountCommandRecord {
        command,
        by,
        reason,
    };
    let state = ask_bus(patience, async || {
        read_commanded_state(&bus, &account).await
    })
    .await?;
    if state
        .decide_command(clock::now(), u64::MAX, &record)
        .is_none()
    {
        let text = describe_no_effect(&account, &state, &record.command);
        return Err(ExitError::config(text));
    }
    let command = record.command.clone();
    let seq = append_command(&bus, &account, record, patience).await?;
    let result = wait_for_execution(&bus, account, seq, &command).await;
    output.print(&result, || describe_result(&result, &command))?;
    Ok(ExitCode::Success)
}

fn check_symbol(settings: &Settings, symbol: &SubjectToken) -> Result<(), ExitError> {
    if settings.symbols.contains(symbol) {
        return Ok(());
    }
    let symbols: Vec<&str> = settings.symbols.iter().map(SubjectToken::as_str).collect();
    Err(ExitError::config(format!(
        "--symbol=\"{symbol}\": expected one of the traded symbols: {}",
        symbols.join(", ")
    )))
}

fn describe_no_effect(
    account: &AccountKey,
    state: &AccountState,
    command: &AccountCommand,
) -> String {
    let latched = state.latch.as_ref().map_or_else(
        || "is not latched".to_owned(),
        |latch| format!("is latched by {}", latch.latch_id),
    );
    match command {
        AccountCommand::Unlatch { latch_id } => {
            format!(
                "--latch=\"{latch_id}\": expected the account's latch; account {account} {latched}"
            )
        }
        AccountCommand::Accept { difference_id } => {
            let known = state.balance.difference.as_ref();
            let known = known.map_or_else(
                || "no balance that differs".to_owned(),
                |known| format!("{}, {} USDT", known.difference_id, known.amount.normalize()),
            );
            format!(
                "--difference=\"{difference_id}\": expected the account's difference; account {account} has {known}"
            )
        }
        AccountCommand::Flatten => format!("flatten: no effect, account {account} {latched}"),
        AccountCommand::Pause { symbol } => format!(
            "pause: no effect, entries {} are already paused",
            describe_scope(symbol.as_ref(), account)
        ),
        AccountCommand::Resume { symbol } => format!(
            "resume: no effect, entries {} are not paused{}",
            describe_scope(symbol.as_ref(), account),
            if state.pauses.is_empty() {
                ""
            } else {
                " on their own; scripts/bearish status lists the pauses"
            }
        ),
    }
}

fn describe_scope(symbol: Option<&SubjectToken>, account: &AccountKey) -> String {
    symbol.map_or_else(
        || format!("of account {account}"),
        |symbol| format!("of {symbol}"),
    )
}

/// Stores a command and returns its sequence.
async fn append_command(
    bus: &Bus,
    account: &AccountKey,
    record: AccountCommandRecord,
    patience: Patience,
) -> Result<u64, ExitError> {
    let subject = Subject::AccountCommandJournal(account.clone());
    let opened = ask_bus(patience, async || {
        Journal::open_at_end(bus, &subject, boot_id()).await
    });
    let mut journal = opened.await?;
    append_records(&mut journal, &[record], "try again").await?;
    Ok(journal.last_seq())
}

/// Waits a few seconds until the account leader has executed a command; there may be no leader.
async fn wait_for_execution(
    bus: &Bus,
    account: AccountKey,
    seq: u64,
    command: &AccountCommand,
) -> CommandResult {
    let mut result = CommandResult {
        command: command.as_str(),
        seq,
        executed: false,
        latch_id: None,
        account,
    };
    if let AccountCommand::Unlatch { .. } = command {
        // A starting trader reads the command journal itself.
        return result;
    }
    let subject = Subject::AccountJournal(result.account.clone()).to_string();
    let executed = async {
        let mut journal = Subscription::start(bus, streams::JOURNAL, subject);
        loop {
            match read_account_state(bus, &result.account).await {
                Ok(state) if state.last_command_seq >= seq => return state,
                Ok(_) => {
                    journal.next().await;
                }
                Err(_) => sleep(RETRY_DELAY).await,
            }
        }
    };
    if let Ok(state) = timeout(EXECUTION_TIMEOUT, executed).await {
        result.executed = true;
        result.latch_id = state.latch.map(|latch| latch.latch_id);
    }
    result
}

fn describe_result(result: &CommandResult, command: &AccountCommand) -> String {
    let CommandResult {
        account,
        command: verb,
        executed,
        latch_id,
        ..
    } = result;
    match command {
        AccountCommand::Unlatch { .. } => format!(
            "account {account} is unlatched. The watchdog starts the traders that the latch stopped. Without a \
             watchdog, start them: scripts/up (keeps the flags it was given)"
        ),
        _ if !executed => format!(
            "{verb}: stored, but no trader leads account {account} now. The command is executed before any book of \
             the account trades again"
        ),
        AccountCommand::Flatten => format!(
            "{verb}: account {account} is latched; its traders close all positions and end with exit code 21. To \
             trade again: {}",
            host_command::unlatch(account.mode, latch_id.as_deref().unwrap_or("ID"))
        ),
        AccountCommand::Accept { .. } => format!(
            "{verb}: the balance of account {account} is accepted as it is; entries are allowed again"
        ),
        _ => format!("{verb}: done for account {account}; open positions are still managed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(executed: bool, latch_id: Option<&str>) -> CommandResult {
        CommandResult {
            account: "paper.binance-usdm.x".parse().unwrap(),
            command: "flatten",
            seq: 7,
            executed,
            latch_id: latch_id.map(str::to_owned),
        }
    }

    #[test]
    fn unlatch_names_the_way_back_that_keeps_the_flags() {
        let unlatch = AccountCommand::Unlatch {
            latch_id: "operator-7".to_owned(),
        };
        let text = describe_result(&result(false, None), &unlatch);
        assert!(text.contains("scripts/up (keeps the flags"), "{text}");
        assert!(
            !text.contains("release") && !text.contains("compose"),
            "{text}"
        );
    }

    #[test]
    fn flatten_names_the_command_that_ends_its_latch() {
        let text = describe_result(&result(true, Some("operator-7")), &AccountCommand::Flatten);
        let way_back = "scripts/bearish unlatch --latch operator-7 --reason TEXT --paper";
        assert!(text.ends_with(way_back), "{text}");
        let stored = describe_result(&result(false, None), &AccountCommand::Flatten);
        assert!(stored.contains("no trader leads account"), "{stored}");
    }
}
