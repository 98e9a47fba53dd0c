//! What a person decides about an account, on a journal of its own: the commands write it, the keeper
//! carries it out, a starting trader reads it. Here are the commands and the reading.

use std::time::Duration;

use clap::Args;
use engine::account::{AccountRecord, AccountState};
use protocol::exit::ExitCode;
use protocol::ids::{AccountKey, Token};
use protocol::operator::{AccountOrder, Word};
use protocol::subject::Subject;
use runtime::bus::{Bus, Refusal};
use runtime::clock;
use runtime::identity::boot_id;
use runtime::journal::{AppendError, Journal, Stored};
use runtime::process::Stop;
use serde::Serialize;
use tokio::time::timeout;

use super::flatten as on_the_exchange;
use crate::context::Context;
use crate::settings::Settings;
use crate::start;

/// A keeper that lives has carried a word out within this.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(4);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A bus that lives has stored a word within this.
const LATCHED_WITHIN: Duration = Duration::from_secs(15);

/// Who says it, and why
#[derive(Debug, Clone, Args)]
pub(crate) struct SaidArgs {
    /// Why; the owner reads it
    #[arg(long, value_name = "REASON", value_parser = a_reason)]
    pub why: String,

    /// Who says so
    #[arg(long, value_name = "NAME", default_value = "operator", value_parser = a_reason)]
    pub who: String,
}

/// Whose entries
#[derive(Debug, Clone, Args)]
pub struct EntriesArgs {
    /// Only this symbol's book; every book without
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Option<Token>,

    #[command(flatten)]
    said: SaidArgs,
}

/// Close everything and latch the account
#[derive(Debug, Clone, Args)]
pub struct FlattenArgs {
    /// Yes: every position is closed at the market, every trader of the account ends with 21
    #[arg(long, required = true)]
    pub confirm: bool,

    /// Close it on the exchange from here, whether the bus and the traders live or not (live only)
    #[arg(long)]
    pub exchange: bool,

    #[command(flatten)]
    said: SaidArgs,
}

/// Ends the latch that closed the account
#[derive(Debug, Clone, Args)]
pub struct UnlatchArgs {
    /// Which latch: its id is in the message, in the log, and in `trader status`
    #[arg(long, value_name = "ID")]
    pub latch: String,

    #[command(flatten)]
    said: SaidArgs,
}

fn a_reason(text: &str) -> Result<String, String> {
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
pub async fn pause(EntriesArgs { symbol, said }: EntriesArgs) -> Result<ExitCode, Stop> {
    say_word(AccountOrder::Pause { symbol }, said).await
}

/// `trader resume`.
///
/// # Errors
/// Exit 78 if nothing of that is paused, 69 if the bus does not answer.
pub async fn resume(EntriesArgs { symbol, said }: EntriesArgs) -> Result<ExitCode, Stop> {
    say_word(AccountOrder::Resume { symbol }, said).await
}

/// `trader flatten`.
///
/// # Errors
/// Exit 78 if the account is latched already, 69 if the bus does not answer; with `--exchange` 69 if something
/// is still open.
pub async fn flatten(args: FlattenArgs) -> Result<ExitCode, Stop> {
    if args.exchange {
        return flatten_there(args.said).await;
    }
    say_word(AccountOrder::Flatten, args.said).await
}

/// First the money, then the word: the bus may be what is broken.
#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
async fn flatten_there(said: SaidArgs) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    for line in on_the_exchange::run(&settings).await? {
        println!("{line}");
    }
    match timeout(LATCHED_WITHIN, say_word(AccountOrder::Flatten, said)).await {
        Ok(Ok(_)) => {}
        Ok(Err(stop)) => println!("not latched by this: {}", stop.message),
        Err(_) => println!(
            "not latched by this: the bus does not answer; traders that live may enter again"
        ),
    }
    Ok(ExitCode::Done)
}

/// `trader unlatch`.
///
/// # Errors
/// Exit 78 if the account has no such latch, 69 if the bus does not answer.
pub async fn unlatch(UnlatchArgs { latch, said }: UnlatchArgs) -> Result<ExitCode, Stop> {
    say_word(AccountOrder::Unlatch { latch }, said).await
}

#[allow(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
async fn say_word(order: AccountOrder, SaidArgs { who, why }: SaidArgs) -> Result<ExitCode, Stop> {
    let settings = Settings::from_env()?;
    let account = start::own_account(&settings).await?;
    if let AccountOrder::Pause {
        symbol: Some(symbol),
    } = &order
    {
        known(&settings, symbol)?;
    }
    let bus = Bus::try_connect(&settings.bus)
        .await
        .map_err(Refusal::into_stop)?;
    let word = Word { order, who, why };
    let state = read(&bus, &account).await.map_err(unavailable)?;
    if state.obey(clock::now(), u64::MAX, &word).is_none() {
        return Err(Stop::config(changes_nothing(&account, &state, &word.order)));
    }
    let order = word.order.clone();
    let seq = append(&bus, &account, word).await?;
    println!("{}", outcome(&bus, &account, seq, &order).await);
    Ok(ExitCode::Done)
}

fn known(settings: &Settings, symbol: &Token) -> Result<(), Stop> {
    if settings.symbols.contains(symbol) {
        return Ok(());
    }
    let symbols: Vec<&str> = settings.symbols.iter().map(Token::as_str).collect();
    Err(Stop::config(format!(
        "--symbol={symbol}: allowed are the symbols traded: {}",
        symbols.join(", ")
    )))
}

fn changes_nothing(account: &AccountKey, state: &AccountState, order: &AccountOrder) -> String {
    let latched = state.latch.as_ref().map_or_else(
        || "is not latched".to_owned(),
        |latch| format!("is latched by {}", latch.id),
    );
    match order {
        AccountOrder::Unlatch { latch } => {
            format!("--latch={latch}: not allowed, account {account} {latched}")
        }
        AccountOrder::Flatten => format!("flatten: not needed, account {account} {latched}"),
        AccountOrder::Pause { symbol } => format!(
            "pause: not needed, entries {} are paused already",
            of(symbol.as_ref(), account)
        ),
        AccountOrder::Resume { symbol } => format!(
            "resume: not possible, entries {} are not paused{}",
            of(symbol.as_ref(), account),
            if state.pauses.is_empty() {
                ""
            } else {
                " by themselves: trader status lists the pauses"
            }
        ),
    }
}

fn of(symbol: Option<&Token>, account: &AccountKey) -> String {
    symbol.map_or_else(
        || format!("of account {account}"),
        |symbol| format!("of {symbol}"),
    )
}

/// Stores a word; its sequence.
async fn append(bus: &Bus, account: &AccountKey, word: Word) -> Result<u64, Stop> {
    let subject = Subject::OperatorJournal(account.clone());
    let (mut journal, _) = Journal::replay::<Word>(bus, &subject, boot_id())
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    store(&mut journal, &[word], "try again").await?;
    Ok(journal.last_seq())
}

/// Stores what a person said; `then` is what to do if another wrote first.
///
/// # Errors
/// Exit 69 if another wrote first, 70 if it cannot be stored as it is.
pub(crate) async fn store<R: Serialize>(
    journal: &mut Journal,
    records: &[R],
    then: &str,
) -> Result<(), Stop> {
    let appended = journal.append(records, 0, |why| tracing::warn!(why, "not stored yet"));
    appended.await.map_err(|error| match error {
        AppendError::Lost { .. } => unavailable(format!("{error}; {then}")),
        AppendError::Refused { .. } => Stop::internal(error.to_string()),
    })?;
    Ok(())
}

/// What came of a stored word. It does not wait for long: nobody may be there to carry it out.
async fn outcome(bus: &Bus, account: &AccountKey, seq: u64, order: &AccountOrder) -> String {
    if let AccountOrder::Unlatch { .. } = order {
        // A trader that starts reads the word itself.
        return format!(
            "account {account} may trade again; start what was stopped (watchdog release NAME, or \
             docker compose up -d)"
        );
    }
    let carried_out = async {
        while !matches!(read(bus, account).await, Ok(state) if state.carried_out >= seq) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let verb = order.as_str();
    if tokio::time::timeout(CARRIED_OUT_WITHIN, carried_out)
        .await
        .is_err()
    {
        return format!(
            "{verb}: stored, but no trader keeps account {account} now; carried out before any book \
             of it trades again"
        );
    }
    match order {
        AccountOrder::Flatten => format!(
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

/// Whether an operator said that this latch is ended.
pub(super) async fn ends(ctx: &Context, latch: &str) -> bool {
    match words(&ctx.bus, &ctx.account).await {
        Ok(words) => is_ended(&words, latch),
        Err(why) => {
            tracing::debug!(why, "operators' journal not read");
            false
        }
    }
}

/// Whether one of these words ends this latch.
pub(super) fn is_ended(words: &[(u64, Word)], latch: &str) -> bool {
    words.iter().any(
        |(_, word)| matches!(&word.order, AccountOrder::Unlatch { latch: named } if named == latch),
    )
}

/// Everything that operators said about this account, oldest first, each with its sequence.
///
/// # Errors
/// One line.
pub(super) async fn words(bus: &Bus, account: &AccountKey) -> Result<Vec<(u64, Word)>, String> {
    let subject = Subject::OperatorJournal(account.clone());
    let (_, entries) = Journal::replay::<Word>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let of = |stored: Stored<Word>| {
        let seq = stored.seq;
        stored
            .entry
            .records
            .into_iter()
            .map(move |word| (seq, word))
    };
    Ok(entries.into_iter().flat_map(of).collect())
}

fn unavailable(why: String) -> Stop {
    Stop::new(ExitCode::Unavailable, why)
}
