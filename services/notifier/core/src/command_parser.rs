//! What the owner may order, and how a line of text becomes an order or a complaint. Who may order it, and
//! when it has to be confirmed, is `hear`'s.

use protocol::account_command::AccountCommand;
use protocol::command::UnitCommand;
use protocol::ids::{AccountKey, SubjectToken};

/// Longest reason that is taken, in characters.
const MAX_REASON_CHARS: usize = 200;
const MINUTE_MS: u64 = 60_000;
/// Longest silence: a week.
const MAX_SILENCE_MS: u64 = 7 * 24 * 60 * MINUTE_MS;

/// Every verb with its arguments and what it does, as `/help` shows them.
pub const VERBS: [(&str, &str, &str); 20] = [
    ("status", "", "units and accounts"),
    ("health", "", "how well every process is"),
    ("positions", "", "what is open"),
    (
        "performance",
        "",
        "results of every book, and the equity's curve",
    ),
    ("logs", "", "the last messages"),
    (
        "pause",
        "[SYMBOL] [ACCOUNT]",
        "no new entries; positions are managed",
    ),
    ("resume", "[SYMBOL] [ACCOUNT]", "ends a pause"),
    (
        "flatten",
        "[ACCOUNT]",
        "closes everything and latches (asks first)",
    ),
    ("unlatch", "LATCH [ACCOUNT]", "ends that latch (asks first)"),
    ("stop", "NAME", "stops a unit and leaves it so (asks first)"),
    ("start", "NAME", "starts what was stopped"),
    ("restart", "NAME", "stops and starts it now (asks first)"),
    ("hold", "NAME REASON", "watch it, do nothing about it"),
    (
        "release",
        "NAME [reset-restarts]",
        "ends a hold or quarantine; reset-restarts: its restarts count from 0 (asks first)",
    ),
    ("explain", "NAME", "why a unit is as it is"),
    ("history", "NAME", "what was done about a unit"),
    (
        "silence",
        "2h [NAME]",
        "only criticals for so long, of all or of NAME",
    ),
    ("silence", "off", "ends every silence"),
    ("silence", "", "which silences there are"),
    ("help", "", "this"),
];

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TelegramCommand {
    /// What there is to order.
    Help {
        /// Somebody opened the chat.
        is_greeting: bool,
    },
    /// Units and accounts.
    Status,
    /// How well every process is.
    Health,
    /// What is open.
    Positions,
    /// How every book has done.
    Performance,
    /// The last messages.
    Logs,
    /// Only criticals for a while.
    Silence(SilenceArgs),
    /// For the keeper of an account.
    Account {
        /// What.
        command: AccountCommand,
        /// Whose; needed where there are several.
        account: Option<AccountKey>,
    },
    /// For the watchdog.
    Unit(UnitCommand),
}

/// What `/silence` can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SilenceArgs {
    /// For so long.
    Start {
        /// Milliseconds.
        duration_ms: u64,
        /// Of this unit or instance alone.
        unit: Option<SubjectToken>,
    },
    /// Not any more.
    Off,
    /// Which there are.
    Show,
}

/// What a text turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedText {
    /// No command at all.
    NoCommand,
    /// A command for another bot of the group.
    ForAnotherBot,
    /// An order.
    Command(TelegramCommand),
    /// Nearly one: one line that says what is allowed.
    Invalid(String),
}

impl TelegramCommand {
    /// What is asked before it is carried out; none where nothing can be lost.
    pub fn confirmation_question(&self) -> Option<String> {
        match self {
            Self::Account {
                command: order,
                account,
            } => {
                let of = account.as_ref().map_or_else(
                    || "the account".to_owned(),
                    |account| format!("account {account}"),
                );
                match order {
                    AccountCommand::Flatten => Some(format!(
                        "Close everything of {of} at the market and latch it?"
                    )),
                    AccountCommand::Unlatch { latch_id: latch } => Some(format!(
                        "End latch {latch} of {of}, so that it may enter again?"
                    )),
                    AccountCommand::Pause { .. } | AccountCommand::Resume { .. } => None,
                }
            }
            Self::Unit(UnitCommand::Stop { unit }) => {
                Some(format!("Stop {unit} and leave it stopped?"))
            }
            Self::Unit(UnitCommand::Restart { unit }) => {
                Some(format!("Stop {unit} and start it now?"))
            }
            Self::Unit(UnitCommand::Release {
                unit,
                reset_restarts: true,
            }) => Some(format!(
                "Release {unit} and count all of its restarts from zero?"
            )),
            _ => None,
        }
    }
}

/// What this text orders. `bot_name`: our name, without @, if it is known.
pub fn parse(text: &str, bot: Option<&str>) -> ParsedText {
    let mut words = text.split_whitespace();
    let Some(command) = words.next().and_then(|word| word.strip_prefix('/')) else {
        return ParsedText::NoCommand;
    };
    let (verb, addressee) = command.split_once('@').unwrap_or((command, ""));
    if let Some(bot) = bot
        && !addressee.is_empty()
        && !addressee.eq_ignore_ascii_case(bot)
    {
        return ParsedText::ForAnotherBot;
    }
    let words: Vec<&str> = words.collect();
    match parse_command(&verb.to_ascii_lowercase(), &words) {
        Ok(order) => ParsedText::Command(order),
        Err(why) => ParsedText::Invalid(why),
    }
}

fn parse_command(verb: &str, words: &[&str]) -> Result<TelegramCommand, String> {
    match verb {
        "help" => Ok(TelegramCommand::Help { is_greeting: false }),
        "start" if words.is_empty() => Ok(TelegramCommand::Help { is_greeting: true }),
        "status" => without_arguments(verb, words, TelegramCommand::Status),
        "health" => without_arguments(verb, words, TelegramCommand::Health),
        "positions" => without_arguments(verb, words, TelegramCommand::Positions),
        "performance" => without_arguments(verb, words, TelegramCommand::Performance),
        "logs" => without_arguments(verb, words, TelegramCommand::Logs),
        "silence" => parse_silence(words).map(TelegramCommand::Silence),
        "pause" | "resume" | "flatten" | "unlatch" => parse_account_command(verb, words),
        "stop" | "start" | "restart" | "hold" | "release" | "explain" | "history" => {
            parse_unit_command(verb, words).map(TelegramCommand::Unit)
        }
        _ => Err(format!("There is no /{}: see /help", shorten(verb))),
    }
}

/// What a stranger to us typed is not repeated at length.
fn shorten(word: &str) -> String {
    word.chars().take(32).collect()
}

/// What is allowed, from the one table.
fn usage(verb: &str) -> String {
    let ways = VERBS.iter().filter(|(name, ..)| *name == verb);
    let ways: Vec<String> = ways
        .map(|(name, arguments, _)| format!("/{name} {arguments}").trim_end().to_owned())
        .collect();
    format!("Allowed is {}", ways.join(", "))
}

fn without_arguments(
    verb: &str,
    words: &[&str],
    order: TelegramCommand,
) -> Result<TelegramCommand, String> {
    match words {
        [] => Ok(order),
        _ => Err(usage(verb)),
    }
}

fn parse_name(word: &str) -> Result<SubjectToken, String> {
    word.parse().map_err(|_| {
        format!(
            "{:?} is no name: allowed are 1 to 64 of A-Z a-z 0-9 _ -",
            shorten(word)
        )
    })
}

/// A symbol has no dot, an account has two.
fn parse_account_command(verb: &str, words: &[&str]) -> Result<TelegramCommand, String> {
    let (accounts, words): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.contains('.'));
    let account = match accounts.as_slice() {
        [] => None,
        [account] => Some(account.parse().map_err(|_| {
            format!(
                "{:?} is no account: allowed is MODE.VENUE.NAME as /status shows it",
                shorten(account)
            )
        })?),
        _ => return Err(usage(verb)),
    };
    let symbol = |word: &&str| parse_name(&word.to_ascii_uppercase());
    let order = match (verb, words.as_slice()) {
        ("pause", [] | [_]) => AccountCommand::Pause {
            symbol: words.first().map(symbol).transpose()?,
        },
        ("resume", [] | [_]) => AccountCommand::Resume {
            symbol: words.first().map(symbol).transpose()?,
        },
        ("flatten", []) => AccountCommand::Flatten,
        ("unlatch", [latch]) => AccountCommand::Unlatch {
            latch_id: parse_name(latch)?.to_string(),
        },
        _ => return Err(usage(verb)),
    };
    Ok(TelegramCommand::Account {
        command: order,
        account,
    })
}

fn parse_unit_command(verb: &str, words: &[&str]) -> Result<UnitCommand, String> {
    let [first, rest @ ..] = words else {
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
            let why: String = rest.join(" ").chars().take(MAX_REASON_CHARS).collect();
            Ok(UnitCommand::Hold { unit, reason: why })
        }
        _ => Err(usage(verb)),
    }
}

fn parse_silence(words: &[&str]) -> Result<SilenceArgs, String> {
    match words {
        [] => Ok(SilenceArgs::Show),
        ["off"] => Ok(SilenceArgs::Off),
        [time] => Ok(SilenceArgs::Start {
            duration_ms: parse_duration(time)?,
            unit: None,
        }),
        [time, of] => Ok(SilenceArgs::Start {
            duration_ms: parse_duration(time)?,
            unit: Some(parse_name(of)?),
        }),
        _ => Err(usage("silence")),
    }
}

/// `30m`, `2h`, `1d`.
fn parse_duration(word: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{:?} is no time: allowed are 1m to 7d, as 30m, 2h, 1d",
            shorten(word)
        )
    };
    let unit = word.chars().last().ok_or_else(wrong)?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        _ => return Err(wrong()),
    };
    let count: u64 = word[..word.len() - 1].parse().map_err(|_| wrong())?;
    let ms = count
        .checked_mul(minutes * MINUTE_MS)
        .filter(|ms| (MINUTE_MS..=MAX_SILENCE_MS).contains(ms));
    ms.ok_or_else(wrong)
}
