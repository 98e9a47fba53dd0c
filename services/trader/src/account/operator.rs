//! What a person decides about an account, on a journal of its own: `trader unlatch` writes it, the
//! keeper and a starting trader read it.

use clap::Args;
use engine::account::{AccountRecord, AccountState, Unlatch};
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, Mode};
use protocol::subject::Subject;
use runtime::bus::{Bus, Refusal};
use runtime::identity::boot_id;
use runtime::journal::{AppendError, Journal};
use runtime::process::Stop;

use crate::context::Context;
use crate::settings::Settings;

/// Ends the latch that a critical breaker closed the account with
#[derive(Debug, Clone, Args)]
pub struct UnlatchArgs {
    /// Which latch: its id is in the message, in the log, and in `trader status`
    #[arg(long, value_name = "ID")]
    pub latch: String,

    /// Why it is safe to go on
    #[arg(long, value_name = "REASON", value_parser = a_reason)]
    pub why: String,

    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "operator", value_parser = a_reason)]
    pub who: String,
}

fn a_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if (1..=200).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err("allowed are 1 to 200 characters".to_owned())
    }
}

/// `trader unlatch`.
///
/// # Errors
/// Exit 78 if the account has no such latch, 69 if the bus does not answer.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
pub async fn unlatch(args: UnlatchArgs) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let account = settings.account(Mode::Paper)?;
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let word = Unlatch {
        latch: args.latch,
        who: args.who,
        why: args.why,
    };
    let state = read(&bus, &account).await.map_err(unavailable)?;
    if !state.is_ended_by(&word) {
        let there = state.latch.map_or_else(
            || "is not latched".to_owned(),
            |latch| format!("is latched by {}", latch.id),
        );
        return Err(Stop::config(format!(
            "--latch={}: not allowed, account {account} {there}",
            word.latch
        )));
    }
    let subject = Subject::OperatorJournal(account.clone());
    let (mut journal, _) = Journal::replay::<Unlatch>(&bus, &subject, boot_id())
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let words = [word];
    let appended = journal.append(&words, 0, |why| tracing::warn!(why, "not stored yet"));
    appended.await.map_err(|error| match error {
        AppendError::Lost { .. } => unavailable(format!("{error}; try again")),
        AppendError::Refused { .. } => Stop::internal(error.to_string()),
    })?;
    println!(
        "account {account} may trade again; start what was stopped (watchdog release NAME, or docker \
         compose up -d)"
    );
    Ok(ExitCode::Done)
}

/// An account's state as its journal has it.
///
/// # Errors
/// One line.
pub(crate) async fn read(bus: &Bus, account: &AccountKey) -> Result<AccountState, String> {
    let subject = Subject::AccountJournal(account.clone());
    let (_, entries) = Journal::replay::<AccountRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let mut state = AccountState::default();
    for stored in &entries {
        state
            .fold(&stored.entry)
            .map_err(|error| error.to_string())?;
    }
    Ok(state)
}

/// What an operator said about this latch, if anything.
pub(super) async fn word_on(ctx: &Context, latch: &str) -> Option<Unlatch> {
    match words(&ctx.bus, &ctx.account).await {
        Ok(words) => words.into_iter().find(|word| word.latch == latch),
        Err(why) => {
            tracing::debug!(why, "operator's journal not read");
            None
        }
    }
}

/// Everything that operators said about this account.
///
/// # Errors
/// One line.
pub(super) async fn words(bus: &Bus, account: &AccountKey) -> Result<Vec<Unlatch>, String> {
    let subject = Subject::OperatorJournal(account.clone());
    let (_, entries) = Journal::replay::<Unlatch>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let words = entries.into_iter().flat_map(|stored| stored.entry.records);
    Ok(words.collect())
}

fn unavailable(why: String) -> Stop {
    Stop::new(ExitCode::Unavailable, why)
}
