//! What a person decides about an account, on a journal of its own: the commands write it, the keeper
//! carries it out, a starting trader reads it. Here are the commands and the reading.

use std::time::Duration;

use clap::Args;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::exit_code::ExitCode;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::{Bus, BusError};
use runtime::clock;
use runtime::identity::boot_id;
use runtime::journal::{AppendError, Journal, StoredBatch};
use runtime::process::ExitError;
use serde::Serialize;
use tokio::time::timeout;
use trader_core::account::{AccountRecord, AccountState};

use super::emergency_flatten as on_the_exchange;
use crate::context::Context;
use crate::settings::Settings;
use crate::startup;

/// A keeper that lives has carried a word out within this.
const EXECUTION_TIMEOUT: Duration = Duration::from_secs(4);
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// A bus that lives has stored a word within this.
const LATCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Who says it, and why
#[derive(Debug, Clone, Args)]
pub(crate) struct AttributionArgs {
    /// Why; the owner reads it
    #[arg(long, value_name = "TEXT", value_parser = parse_short_text)]
    pub reason: String,

    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "operator", value_parser = parse_short_text)]
    pub by: String,
}

/// Whose entries
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// Only this symbol's book; every book without
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Option<SubjectToken>,

    #[command(flatten)]
    attribution: AttributionArgs,
}

/// Close everything and latch the account
#[derive(Debug, Clone, Args)]
pub struct FlattenArgs {
    /// Yes: every position is closed at the market, every trader of the account ends with 21
    #[arg(long, required = true)]
    pub confirm: bool,

    /// Close it on the exchange from here, whether the bus and the traders live or not (live only)
    #[arg(long)]
    pub direct: bool,

    #[command(flatten)]
    attribution: AttributionArgs,
}

/// Ends the latch that closed the account
#[derive(Debug, Clone, Args)]
pub struct UnlatchArgs {
    /// Which latch: its id is in the message, in the log, and in `trader status`
    #[arg(long, value_name = "ID")]
    pub latch: String,

    #[command(flatten)]
    attribution: AttributionArgs,
}

fn parse_short_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=200).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err("allowed are 1 to 200 characters".to_owned())
    }
}

/// `trader pause`.
///
/// # Errors
/// Exit 78 if that is so already, 69 if the bus does not answer.
pub async fn pause(
    PauseArgs {
        symbol,
        attribution: said,
    }: PauseArgs,
) -> Result<ExitCode, ExitError> {
    send_command(AccountCommand::Pause { symbol }, said).await
}

/// `trader resume`.
///
/// # Errors
/// Exit 78 if nothing of that is paused, 69 if the bus does not answer.
pub async fn resume(
    PauseArgs {
        symbol,
        attribution: said,
    }: PauseArgs,
) -> Result<ExitCode, ExitError> {
    send_command(AccountCommand::Resume { symbol }, said).await
}

/// `trader flatten`.
///
/// # Errors
/// Exit 78 if the account is latched already, 69 if the bus does not answer; with `--direct` 69 if something
/// is still open.
pub async fn flatten(args: FlattenArgs) -> Result<ExitCode, ExitError> {
    if args.direct {
        return flatten_directly(args.attribution).await;
    }
    send_command(AccountCommand::Flatten, args.attribution).await
}

/// First the money, then the word: the bus may be what is broken.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
async fn flatten_directly(said: AttributionArgs) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    for line in on_the_exchange::run(&settings).await? {
        println!("{line}");
    }
    match timeout(LATCH_TIMEOUT, send_command(AccountCommand::Flatten, said)).await {
        Ok(Ok(_)) => {}
        Ok(Err(stop)) => println!("not latched by this: {}", stop.message),
        Err(_) => println!(
            "not latched by this: the bus does not answer; traders that live may enter again"
        ),
    }
    Ok(ExitCode::Success)
}

/// `trader unlatch`.
///
/// # Errors
/// Exit 78 if the account has no such latch, 69 if the bus does not answer.
pub async fn unlatch(
    UnlatchArgs {
        latch,
        attribution: said,
    }: UnlatchArgs,
) -> Result<ExitCode, ExitError> {
    send_command(AccountCommand::Unlatch { latch_id: latch }, said).await
}

#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
async fn send_command(
    order: AccountCommand,
    AttributionArgs {
        by: who,
        reason: why,
    }: AttributionArgs,
) -> Result<ExitCode, ExitError> {
    let settings = Settings::from_env()?;
    let account = startup::configured_account(&settings).await?;
    if let AccountCommand::Pause {
        symbol: Some(symbol),
    } = &order
    {
        check_symbol(&settings, symbol)?;
    }
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(BusError::into_exit_error)?;
    let word = AccountCommandRecord {
        command: order,
        by: who,
        reason: why,
    };
    let state = read_account_state(&bus, &account)
        .await
        .map_err(unavailable)?;
    if state
        .decide_command(clock::now(), u64::MAX, &word)
        .is_none()
    {
        return Err(ExitError::config(describe_no_effect(
            &account,
            &state,
            &word.command,
        )));
    }
    let order = word.command.clone();
    let seq = append_command(&bus, &account, word).await?;
    println!("{}", describe_outcome(&bus, &account, seq, &order).await);
    Ok(ExitCode::Success)
}

fn check_symbol(settings: &Settings, symbol: &SubjectToken) -> Result<(), ExitError> {
    if settings.symbols.contains(symbol) {
        return Ok(());
    }
    let symbols: Vec<&str> = settings.symbols.iter().map(SubjectToken::as_str).collect();
    Err(ExitError::config(format!(
        "--symbol={symbol}: allowed are the symbols traded: {}",
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
        AccountCommand::Unlatch { latch_id: latch } => {
            format!("--latch={latch}: not allowed, account {account} {latched}")
        }
        AccountCommand::Flatten => format!("flatten: not needed, account {account} {latched}"),
        AccountCommand::Pause { symbol } => format!(
            "pause: not needed, entries {} are paused already",
            describe_scope(symbol.as_ref(), account)
        ),
        AccountCommand::Resume { symbol } => format!(
            "resume: not possible, entries {} are not paused{}",
            describe_scope(symbol.as_ref(), account),
            if state.pauses.is_empty() {
                ""
            } else {
                " by themselves: trader status lists the pauses"
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

/// Stores a word; its sequence.
async fn append_command(
    bus: &Bus,
    account: &AccountKey,
    record: AccountCommandRecord,
) -> Result<u64, ExitError> {
    let subject = Subject::AccountCommandJournal(account.clone());
    let (mut journal, _) = Journal::replay::<AccountCommandRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    append_records(&mut journal, &[record], "try again").await?;
    Ok(journal.last_seq())
}

/// Stores what a person said; `then` is what to do if another wrote first.
///
/// # Errors
/// Exit 69 if another wrote first, 70 if it cannot be stored as it is.
pub(crate) async fn append_records<R: Serialize>(
    journal: &mut Journal,
    records: &[R],
    advice: &str,
) -> Result<(), ExitError> {
    let appended = journal.append(records, 0, |why| tracing::warn!(why, "not stored yet"));
    appended.await.map_err(|error| match error {
        AppendError::Fenced { .. } => unavailable(format!("{error}; {advice}")),
        AppendError::Rejected { .. } => ExitError::internal(error.to_string()),
    })?;
    Ok(())
}

/// What came of a stored word. It does not wait for long: nobody may be there to carry it out.
async fn describe_outcome(
    bus: &Bus,
    account: &AccountKey,
    seq: u64,
    command: &AccountCommand,
) -> String {
    if let AccountCommand::Unlatch { .. } = command {
        // A trader that starts reads the word itself.
        return format!(
            "account {account} may trade again; start what was stopped (watchdog release NAME, or \
             docker compose up -d)"
        );
    }
    let carried_out = async {
        while !matches!(read_account_state(bus, account).await, Ok(state) if state.last_command_seq >= seq)
        {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let verb = command.as_str();
    if tokio::time::timeout(EXECUTION_TIMEOUT, carried_out)
        .await
        .is_err()
    {
        return format!(
            "{verb}: stored, but no trader keeps account {account} now; carried out before any book \
             of it trades again"
        );
    }
    match command {
        AccountCommand::Flatten => format!(
            "{verb}: account {account} is latched, its traders close what is open and end with 21; the \
             way back is trader unlatch, trader status names the latch"
        ),
        _ => format!("{verb}: done for account {account}; positions are managed as before"),
    }
}

/// An account's state as its journal has it.
///
/// # Errors
/// One line.
pub(crate) async fn read_account_state(
    bus: &Bus,
    account: &AccountKey,
) -> Result<AccountState, String> {
    let subject = Subject::AccountJournal(account.clone());
    let (_, entries) = Journal::replay::<AccountRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let mut state = AccountState::default();
    for stored in &entries {
        state
            .fold(&stored.batch)
            .map_err(|error| error.to_string())?;
    }
    Ok(state)
}

/// Whether an operator said that this latch is ended.
pub(super) async fn is_latch_ended(ctx: &Context, latch: &str) -> bool {
    match read_commands(&ctx.bus, &ctx.account).await {
        Ok(words) => contains_unlatch(&words, latch),
        Err(why) => {
            tracing::debug!(why, "operators' journal not read");
            false
        }
    }
}

/// Whether one of these words ends this latch.
pub(super) fn contains_unlatch(commands: &[(u64, AccountCommandRecord)], latch: &str) -> bool {
    commands.iter().any(
        |(_, word)| matches!(&word.command, AccountCommand::Unlatch { latch_id: named } if named == latch),
    )
}

/// Everything that operators said about this account, oldest first, each with its sequence.
///
/// # Errors
/// One line.
pub(super) async fn read_commands(
    bus: &Bus,
    account: &AccountKey,
) -> Result<Vec<(u64, AccountCommandRecord)>, String> {
    let subject = Subject::AccountCommandJournal(account.clone());
    let (_, entries) = Journal::replay::<AccountCommandRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let of = |stored: StoredBatch<AccountCommandRecord>| {
        let seq = stored.seq;
        stored
            .batch
            .records
            .into_iter()
            .map(move |word| (seq, word))
    };
    Ok(entries.into_iter().flat_map(of).collect())
}

fn unavailable(why: String) -> ExitError {
    ExitError::new(ExitCode::Unavailable, why)
}
