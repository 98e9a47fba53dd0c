//! What the owner may order, and how a line of text becomes an order or a complaint. Who may order it, and
//! when it has to be confirmed, is `hear`'s.

use protocol::command::UnitOrder;
use protocol::ids::{AccountKey, Token};
use protocol::operator::AccountOrder;

/// Longest reason that is taken, in characters.
const LONGEST_WHY: usize = 200;
const MINUTE_MS: u64 = 60_000;
/// Longest silence: a week.
const LONGEST_SILENCE_MS: u64 = 7 * 24 * 60 * MINUTE_MS;

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
    ("hold", "NAME WHY", "watch it, do nothing about it"),
    (
        "release",
        "NAME [total]",
        "ends a hold or quarantine; total: its restarts count from 0 (asks first)",
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
pub enum Order {
    /// What there is to order.
    Help {
        /// Somebody opened the chat.
        greeting: bool,
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
    Silence(Hush),
    /// For the keeper of an account.
    Account {
        /// What.
        order: AccountOrder,
        /// Whose; needed where there are several.
        account: Option<AccountKey>,
    },
    /// For the watchdog.
    Unit(UnitOrder),
}

/// What `/silence` can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hush {
    /// For so long.
    For {
        /// Milliseconds.
        ms: u64,
        /// Of this unit or instance alone.
        name: Option<Token>,
    },
    /// Not any more.
    Off,
    /// Which there are.
    Show,
}

/// What a text turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// No command at all.
    Talk,
    /// A command for another bot of the group.
    Anothers,
    /// An order.
    Order(Order),
    /// Nearly one: one line that says what is allowed.
    Wrong(String),
}

impl Order {
    /// What is asked before it is carried out; none where nothing can be lost.
    pub fn question(&self) -> Option<String> {
        match self {
            Self::Account { order, account } => {
                let of = account.as_ref().map_or_else(
                    || "the account".to_owned(),
                    |account| format!("account {account}"),
                );
                match order {
                    AccountOrder::Flatten => Some(format!(
                        "Close everything of {of} at the market and latch it?"
                    )),
                    AccountOrder::Unlatch { latch } => Some(format!(
                        "End latch {latch} of {of}, so that it may enter again?"
                    )),
                    AccountOrder::Pause { .. } | AccountOrder::Resume { .. } => None,
                }
            }
            Self::Unit(UnitOrder::Stop { unit }) => {
                Some(format!("Stop {unit} and leave it stopped?"))
            }
            Self::Unit(UnitOrder::Restart { unit }) => {
                Some(format!("Stop {unit} and start it now?"))
            }
            Self::Unit(UnitOrder::Release { unit, total: true }) => Some(format!(
                "Release {unit} and count all of its restarts from zero?"
            )),
            _ => None,
        }
    }
}

/// What this text orders. `bot`: our name, without @, if it is known.
pub fn parse(text: &str, bot: Option<&str>) -> Parsed {
    let mut words = text.split_whitespace();
    let Some(command) = words.next().and_then(|word| word.strip_prefix('/')) else {
        return Parsed::Talk;
    };
    let (verb, addressee) = command.split_once('@').unwrap_or((command, ""));
    if let Some(bot) = bot
        && !addressee.is_empty()
        && !addressee.eq_ignore_ascii_case(bot)
    {
        return Parsed::Anothers;
    }
    let words: Vec<&str> = words.collect();
    match order(&verb.to_ascii_lowercase(), &words) {
        Ok(order) => Parsed::Order(order),
        Err(why) => Parsed::Wrong(why),
    }
}

fn order(verb: &str, words: &[&str]) -> Result<Order, String> {
    match verb {
        "help" => Ok(Order::Help { greeting: false }),
        "start" if words.is_empty() => Ok(Order::Help { greeting: true }),
        "status" => alone(verb, words, Order::Status),
        "health" => alone(verb, words, Order::Health),
        "positions" => alone(verb, words, Order::Positions),
        "performance" => alone(verb, words, Order::Performance),
        "logs" => alone(verb, words, Order::Logs),
        "silence" => silence(words).map(Order::Silence),
        "pause" | "resume" | "flatten" | "unlatch" => for_an_account(verb, words),
        "stop" | "start" | "restart" | "hold" | "release" | "explain" | "history" => {
            for_a_unit(verb, words).map(Order::Unit)
        }
        _ => Err(format!("There is no /{}: see /help", shortened(verb))),
    }
}

/// What a stranger to us typed is not repeated at length.
fn shortened(word: &str) -> String {
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

fn alone(verb: &str, words: &[&str], order: Order) -> Result<Order, String> {
    match words {
        [] => Ok(order),
        _ => Err(usage(verb)),
    }
}

fn name(word: &str) -> Result<Token, String> {
    word.parse().map_err(|_| {
        format!(
            "{:?} is no name: allowed are 1 to 64 of A-Z a-z 0-9 _ -",
            shortened(word)
        )
    })
}

/// A symbol has no dot, an account has two.
fn for_an_account(verb: &str, words: &[&str]) -> Result<Order, String> {
    let (accounts, words): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| word.contains('.'));
    let account = match accounts.as_slice() {
        [] => None,
        [account] => Some(account.parse().map_err(|_| {
            format!(
                "{:?} is no account: allowed is MODE.VENUE.NAME as /status shows it",
                shortened(account)
            )
        })?),
        _ => return Err(usage(verb)),
    };
    let symbol = |word: &&str| name(&word.to_ascii_uppercase());
    let order = match (verb, words.as_slice()) {
        ("pause", [] | [_]) => AccountOrder::Pause {
            symbol: words.first().map(symbol).transpose()?,
        },
        ("resume", [] | [_]) => AccountOrder::Resume {
            symbol: words.first().map(symbol).transpose()?,
        },
        ("flatten", []) => AccountOrder::Flatten,
        ("unlatch", [latch]) => AccountOrder::Unlatch {
            latch: name(latch)?.to_string(),
        },
        _ => return Err(usage(verb)),
    };
    Ok(Order::Account { order, account })
}

fn for_a_unit(verb: &str, words: &[&str]) -> Result<UnitOrder, String> {
    let [first, rest @ ..] = words else {
        return Err(usage(verb));
    };
    let unit = name(first)?;
    match (verb, rest) {
        ("stop", []) => Ok(UnitOrder::Stop { unit }),
        ("start", []) => Ok(UnitOrder::Start { unit }),
        ("restart", []) => Ok(UnitOrder::Restart { unit }),
        ("explain", []) => Ok(UnitOrder::Explain { unit }),
        ("history", []) => Ok(UnitOrder::History { unit }),
        ("release", []) => Ok(UnitOrder::Release { unit, total: false }),
        ("release", ["total" | "--total"]) => Ok(UnitOrder::Release { unit, total: true }),
        ("hold", [_, ..]) => {
            let why: String = rest.join(" ").chars().take(LONGEST_WHY).collect();
            Ok(UnitOrder::Hold { unit, why })
        }
        _ => Err(usage(verb)),
    }
}

fn silence(words: &[&str]) -> Result<Hush, String> {
    match words {
        [] => Ok(Hush::Show),
        ["off"] => Ok(Hush::Off),
        [time] => Ok(Hush::For {
            ms: span(time)?,
            name: None,
        }),
        [time, of] => Ok(Hush::For {
            ms: span(time)?,
            name: Some(name(of)?),
        }),
        _ => Err(usage("silence")),
    }
}

/// `30m`, `2h`, `1d`.
fn span(word: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{:?} is no time: allowed are 1m to 7d, as 30m, 2h, 1d",
            shortened(word)
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
        .filter(|ms| (MINUTE_MS..=LONGEST_SILENCE_MS).contains(ms));
    ms.ok_or_else(wrong)
}
