//! Parses Telegram commands. [`VERBS`] lists all of them.

use std::time::Duration;

use protocol::account_command::AccountCommand;
use protocol::command::UnitCommand;
use protocol::duration::parse_duration;
use protocol::ids::{AccountKey, SubjectToken};

/// Longest reason, in characters; the rest is dropped.
const MAX_REASON_CHARS: usize = 200;
/// Longest silence, in milliseconds: one week.
const MAX_SILENCE: Duration = Duration::from_hours(7 * 24);

/// Every verb with its arguments and its effect, as `/help` shows them.
pub const VERBS: [(&str, &str, &str); 20] = [
    ("status", "", "state of all units and accounts"),
    ("health", "", "health of every process"),
    ("positions", "", "open positions"),
    (
        "performance",
        "",
        "result of every book, with the equity curve",
    ),
    ("logs", "", "headings of the last notifications"),
    (
        "pause",
        "[SYMBOL] [ACCOUNT]",
        "no new entries; open positions are managed",
    ),
    ("resume", "[SYMBOL] [ACCOUNT]", "allow entries again"),
    (
        "flatten",
        "[ACCOUNT]",
        "close all positions and latch the account (asks first)",
    ),
    (
        "unlatch",
        "LATCH [ACCOUNT]",
        "end a latch, so that entries are allowed again (asks first)",
    ),
    ("stop", "NAME", "stop a unit; it stays stopped (asks first)"),
    ("start", "NAME", "start a stopped unit"),
    ("restart", "NAME", "stop and start a unit (asks first)"),
    (
        "hold",
        "NAME REASON",
        "only watch a unit, do not restart it",
    ),
    (
        "release",
        "NAME [reset-restarts]",
        "end a hold or quarantine; reset-restarts also sets its restart count to 0 (asks first)",
    ),
    (
        "explain",
        "NAME",
        "reason of a unit's state, and what to do",
    ),
    ("history", "NAME", "last events of a unit"),
    (
        "silence",
        "2h [NAME]",
        "send only critical notifications for this time, about all or about NAME",
    ),
    ("silence", "off", "end all silences"),
    ("silence", "", "list silences"),
    ("help", "", "list commands"),
];

/// A command of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TelegramCommand {
    /// `/help`, or `/start` without a unit: the list of commands.
    Help {
        /// Whether the command is Telegram's `/start` when a user opens the chat.
        is_greeting: bool,
    },
    /// State of units and accounts.
    Status,
    /// Health of every process.
    Health,
    /// Open positions of all accounts.
    Positions,
    /// Result of every book.
    Performance,
    /// Headings of the last notifications.
    Logs,
    /// Starts, ends or lists silences.
    Silence(SilenceArgs),
    /// A command for the account leader.
    Account {
        /// Command as the account leader will execute it.
        command: AccountCommand,
        /// Account; `None` if there is only one, or the latch names it.
        account: Option<AccountKey>,
    },
    /// A command for the watchdog.
    Unit(UnitCommand),
}

/// What `/silence` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SilenceArgs {
    /// Mutes all but critical notifications for a time.
    Start {
        /// Length of the silence, in milliseconds.
        duration_ms: u64,
        /// Unit, instance or service; `None` silences everything.
        unit: Option<SubjectToken>,
    },
    /// Ends every active silence at once.
    Off,
    /// Lists the active silences with their ends.
    Show,
}

/// Result of parsing a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedText {
    /// The text is not a command.
    NoCommand,
    /// The command is addressed to another bot of the group.
    ForAnotherBot,
    /// A command of the operator.
    Command(TelegramCommand),
    /// An invalid command, with one line that names what is expected.
    Invalid(String),
}

impl TelegramCommand {
    /// Question that the operator must confirm; `None` if the command is executed at once.
    pub fn confirmation_question(&self) -> Option<String> {
        match self {
            Self::Account { command, account } => {
                let account = account.as_ref().map_or_else(
                    || "the account".to_owned(),
                    |account| format!("account {account}"),
                );
                match command {
                    AccountCommand::Flatten => Some(format!(
                        "Close all positions of {account} at market price and latch it?"
                    )),
                    AccountCommand::Unlatch { latch_id } => Some(format!(
                        "End latch {latch_id} of {account}, so that entries are allowed again?"
                    )),
                    AccountCommand::Accept { difference_id } => Some(format!(
                        "Accept difference {difference_id} of {account}, so that entries are allowed again?"
                    )),
                    AccountCommand::Pause { .. } | AccountCommand::Resume { .. } => None,
                }
            }
            Self::Unit(UnitCommand::Stop { unit }) => {
                Some(format!("Stop {unit}? It stays stopped."))
            }
            Self::Unit(UnitCommand::Restart { unit }) => {
                Some(format!("Stop {unit} and start it again?"))
            }
            Self::Unit(UnitCommand::Release {
                unit,
                reset_restarts: true,
            }) => Some(format!("Release {unit} and set its restart count to 0?")),
            _ => None,
        }
    }
}

/// Parses a text. `bot` is the name of this bot without @; `None` if it is not known yet.
pub fn parse(text: &str, bot: Option<&str>) -> ParsedText {
    let mut parts = text.split_whitespace();
    let Some(command) = parts.next().and_then(|first| first.strip_prefix('/')) else {
        return ParsedText::NoCommand;
    };
    let (verb, addressee) = command.split_once('@').unwrap_or((command, ""));
    if let Some(bot) = bot
        && !addressee.is_empty()
        && !addressee.eq_ignore_ascii_case(bot)
    {
        return ParsedText::ForAnotherBot;
    }
    let arguments: Vec<&str> = parts.collect();
    match parse_command(&verb.to_ascii_lowercase(), &arguments) {
        Ok(command) => ParsedText::Command(command),
        Err(error) => ParsedText::Invalid(error),
    }
}

fn parse_command(verb: &str, arguments: &[&str]) -> Result<TelegramCommand, String> {
    match verb {
        "help" => Ok(TelegramCommand::Help { is_greeting: false }),
        "start" if arguments.is_empty() => Ok(TelegramCommand::Help { is_greeting: true }),
        "status" => without_arguments(verb, arguments, TelegramCommand::Status),
        "health" => without_arguments(verb, arguments, TelegramCommand::Health),
        "positions" => without_arguments(verb, arguments, TelegramCommand::Positions),
        "performance" => without_arguments(verb, arguments, TelegramCommand::Performance),
        "logs" => without_arguments(verb, arguments, TelegramCommand::Logs),
        "silence" => parse_silence(arguments).map(TelegramCommand::Silence),
        "pause" | "resume" | "flatten" | "unlatch" => parse_account_command(verb, arguments),
        "stop" | "start" | "restart" | "hold" | "release" | "explain" | "history" => {
            parse_unit_command(verb, arguments).map(TelegramCommand::Unit)
        }
        _ => Err(format!(
            "Unknown command /{}; /help lists the commands",
            shorten(verb)
        )),
    }
}

/// Beginning of an invalid argument, for an error text.
fn shorten(argument: &str) -> String {
    argument.chars().take(32).collect()
}

/// Expected forms of a command, from [`VERBS`].
fn usage(verb: &str) -> String {
    let forms = VERBS.iter().filter(|(name, ..)| *name == verb);
    let forms: Vec<String> = forms
        .map(|(name, arguments, _)| format!("/{name} {arguments}").trim_end().to_owned())
        .collect();
    format!("Expected {}", forms.join(" or "))
}

fn without_arguments(
    verb: &str,
    arguments: &[&str],
    command: TelegramCommand,
) -> Result<TelegramCommand, String> {
    match arguments {
        [] => Ok(command),
        _ => Err(usage(verb)),
    }
}

fn parse_name(argument: &str) -> Result<SubjectToken, String> {
    argument.parse().map_err(|_| {
        format!(
            "{:?} is not a name: expected 1 to 64 of A-Z a-z 0-9 _ -",
            shorten(argument)
        )
    })
}

/// An account contains dots; a symbol or a latch id does not.
fn parse_account_command(verb: &str, arguments: &[&str]) -> Result<TelegramCommand, String> {
    let (accounts, arguments): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .partition(|argument| argument.contains('.'));
    let account = match accounts.as_slice() {
        [] => None,
        [account] => Some(account.parse().map_err(|_| {
            format!(
                "{:?} is not an account: expected MODE.VENUE.NAME as /status shows it",
                shorten(account)
            )
        })?),
        _ => return Err(usage(verb)),
    };
    let symbol = |argument: &&str| parse_name(&argument.to_ascii_uppercase());
    let command = match (verb, arguments.as_slice()) {
        ("pause", [] | [_]) => AccountCommand::Pause {
            symbol: arguments.first().map(symbol).transpose()?,
        },
        ("resume", [] | [_]) => AccountCommand::Resume {
            symbol: arguments.first().map(symbol).transpose()?,
        },
        ("flatten", []) => AccountCommand::Flatten,
        ("unlatch", [latch]) => AccountCommand::Unlatch {
            latch_id: parse_name(latch)?.to_string(),
        },
        _ => return Err(usage(verb)),
    };
    Ok(TelegramCommand::Account { command, account })
}

fn parse_unit_command(verb: &str, arguments: &[&str]) -> Result<UnitCommand, String> {
    let [first, rest @ ..] = arguments else {
        return Err(usage(verb));
    };
    let unit = parse_name(first)?;
    match (verb, rest) {
        ("stop", []) => Ok(UnitCommand::Stop { unit }),
        ("start", []) => Ok(UnitCommand::Start { unit }),
        ("restart", []) => Ok(UnitCommand::Restart { unit }),
        ("explain", []) => Ok(UnitCommand::Explain { unit }),
        ("history", []) => Ok(UnitCommand::History { unit }),
        ("release", []) => Ok(UnitCommand::Release {
            unit,
            reset_restarts: false,
        }),
        ("release", ["reset-restarts" | "--reset-restarts"]) => Ok(UnitCommand::Release {
            unit,
            reset_restarts: true,
        }),
        ("hold", [_, ..]) => {
            let reason: String = rest.join(" ").chars().take(MAX_REASON_CHARS).collect();
            Ok(UnitCommand::Hold { unit, reason })
        }
        _ => Err(usage(verb)),
    }
}

fn parse_silence(arguments: &[&str]) -> Result<SilenceArgs, String> {
    match arguments {
        [] => Ok(SilenceArgs::Show),
        ["off"] => Ok(SilenceArgs::Off),
        [duration] => Ok(SilenceArgs::Start {
            duration_ms: parse_silence_length(duration)?,
            unit: None,
        }),
        [duration, unit] => Ok(SilenceArgs::Start {
            duration_ms: parse_silence_length(duration)?,
            unit: Some(parse_name(unit)?),
        }),
        _ => Err(usage("silence")),
    }
}

/// The length of a silence in milliseconds.
fn parse_silence_length(argument: &str) -> Result<u64, String> {
    let range = Duration::from_mins(1)..=MAX_SILENCE;
    let length = parse_duration(argument, range)
        .map_err(|error| format!("{:?}: {error}", shorten(argument)))?;
    Ok(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}
