//! Carries out one order of the owner's: asks the bus, or stores his word where its keeper reads it. Whether
//! it may be carried out is decided before; nothing here is ever repeated.

use std::time::Duration;

use delivery::answers::{self, Account, Beat};
use delivery::command::Order;
use delivery::hear::Carried;
use protocol::VERSION;
use protocol::command::{Answer, Request, UnitOrder};
use protocol::ids::{AccountKey, Service, Token};
use protocol::operator::{AccountOrder, Word};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::clock;
use runtime::journal::{AppendError, Journal};
use tokio::time::timeout;

use crate::{fleet, reports};

/// A watchdog that does not answer within this time is none.
const WATCHDOG_DEADLINE: Duration = Duration::from_secs(5);
/// Storing a word takes no longer, or nobody knows.
const STORE_DEADLINE: Duration = Duration::from_secs(10);

/// Who carries out, and for whom.
pub struct Clerk {
    /// The bus.
    pub bus: Bus,
    /// This run of the process: writes into operators' journals.
    pub boot: Token,
    /// Whose order it is.
    pub who: String,
    /// How delivery is, in one line.
    pub queue: String,
}

impl Clerk {
    /// What came of the order. Those that only read the journal's fold are not for here.
    pub async fn carry_out(self, order: Order) -> Carried {
        match order {
            Order::Help { greeting } => read(Ok(answers::help(greeting))),
            Order::Status => read(self.status().await),
            Order::Health => read(self.health().await),
            Order::Positions => read(self.positions().await),
            Order::Performance => self.performance().await,
            Order::Account { order, account } => self.store(order, account).await,
            Order::Unit(order) => self.ask(order).await,
            Order::Logs | Order::Silence(_) => not_done("bug: not an order for the bus"),
        }
    }

    async fn status(&self) -> Result<String, String> {
        let watchdog = match self.request(UnitOrder::Status).await {
            Ok(answer) if answer.done => Ok(answer.text),
            Ok(answer) => Err(format!("The watchdog says: {}", answer.text)),
            Err(NoAnswer { why, .. }) => Err(why),
        };
        let beats = self.beats().await?;
        let accounts = reports::accounts(&self.bus).await?;
        Ok(answers::status(&watchdog, &beats, &accounts, clock::now()))
    }

    async fn health(&self) -> Result<String, String> {
        let beats = self.beats().await?;
        Ok(answers::health(&beats, self.queue.clone(), clock::now()))
    }

    async fn beats(&self) -> Result<Vec<Beat>, String> {
        let of = |service: Service| move |(name, beat)| (service, name, beat);
        let traders = fleet::traders(&self.bus).await?;
        let watchdogs = fleet::watchdogs(&self.bus).await?;
        let traders = traders.into_iter().map(of(Service::Trader));
        Ok(traders
            .chain(watchdogs.into_iter().map(of(Service::Watchdog)))
            .collect())
    }

    async fn positions(&self) -> Result<String, String> {
        let books = reports::books(&self.bus).await?;
        Ok(answers::positions(&books, clock::now()))
    }

    async fn performance(&self) -> Carried {
        let told = async {
            let books = reports::books(&self.bus).await?;
            let accounts = reports::accounts(&self.bus).await?;
            Ok(answers::performance(&books, &accounts, clock::now()))
        };
        let told = told.await;
        let picture = told.is_ok() && reports::has_points(&self.bus).await;
        Carried {
            picture,
            ..read(told)
        }
    }

    /// Appends the word to the account's operator journal, once.
    async fn store(&self, order: AccountOrder, account: Option<AccountKey>) -> Carried {
        let known = match reports::accounts(&self.bus).await {
            Ok(known) => known,
            Err(why) => return not_done(&format!("The accounts are not known: {why}")),
        };
        let account = match choose(&known, account.as_ref(), &order) {
            Ok(account) => account,
            Err(why) => return not_done(&why),
        };
        if let Err(why) = self.holds(&account, &order).await {
            return not_done(&why);
        }
        let word = Word {
            order,
            who: self.who.clone(),
            why: "by command".to_owned(),
        };
        match timeout(STORE_DEADLINE, self.append(&account, &word)).await {
            Ok(Ok(())) => Carried {
                done: Some(true),
                outcome: format!("stored for account {account}"),
                body: format!(
                    "Stored for account {account}: {}. Its keeper carries it out, and tells when it has; \
                     without a keeper it waits",
                    meaning(&word.order)
                ),
                picture: false,
            },
            Ok(Err(why)) => not_done(&why),
            Err(_) => unknown(&format!(
                "The bus did not answer within {STORE_DEADLINE:?}: it may be stored or not. Look: /status"
            )),
        }
    }

    /// A symbol that no book of the account has is a slip of the finger.
    async fn holds(&self, account: &AccountKey, order: &AccountOrder) -> Result<(), String> {
        let (AccountOrder::Pause { symbol } | AccountOrder::Resume { symbol }) = order else {
            return Ok(());
        };
        let Some(symbol) = symbol else {
            return Ok(());
        };
        let books = reports::books(&self.bus).await?;
        let of_account = books.iter().filter(|book| book.book.account == *account);
        let symbols: Vec<&Token> = of_account.map(|book| &book.book.symbol).collect();
        if symbols.contains(&symbol) {
            return Ok(());
        }
        let names: Vec<&str> = symbols.iter().map(|symbol| symbol.as_str()).collect();
        Err(format!(
            "Account {account} has no book of {symbol}: allowed are {}",
            names.join(", ")
        ))
    }

    async fn append(&self, account: &AccountKey, word: &Word) -> Result<(), String> {
        let subject = Subject::OperatorJournal(account.clone());
        // What others said there is not our business.
        let replayed =
            Journal::replay::<serde_json::Value>(&self.bus, &subject, self.boot.clone()).await;
        let (mut journal, _) = replayed.map_err(|error| format!("Not stored: {error}"))?;
        let appended = journal.append(std::slice::from_ref(word), 0, |why| {
            tracing::warn!(why, "the owner's word is not stored yet");
        });
        match appended.await {
            Ok(_) => Ok(()),
            Err(error @ AppendError::Lost { .. }) => {
                Err(format!("Not stored: {error}. Give the order again"))
            }
            Err(error @ AppendError::Refused { .. }) => Err(format!("Not stored: {error}")),
        }
    }

    /// Request and reply.
    async fn ask(&self, order: UnitOrder) -> Carried {
        let asks_only = order.only_asks();
        match self.request(order).await {
            Ok(answer) => Carried {
                done: Some(answer.done),
                outcome: first_line(&answer),
                body: answer.text,
                picture: false,
            },
            Err(NoAnswer { why, heard: true }) if !asks_only => {
                unknown(&format!("{why}: it may be done or not. Look: /status"))
            }
            Err(NoAnswer { why, .. }) => not_done(&why),
        }
    }

    async fn request(&self, order: UnitOrder) -> Result<Answer, NoAnswer> {
        let subject = Subject::WatchdogCommand(order.verb()).to_string();
        let request = Request {
            v: VERSION,
            by: self.who.clone(),
            order,
        };
        let unheard = |why: String| NoAnswer { why, heard: false };
        let payload = serde_json::to_vec(&request).map_err(|error| unheard(error.to_string()))?;
        let asked = self.bus.client().request(subject, payload.into());
        let message = match timeout(WATCHDOG_DEADLINE, asked).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
                return Err(unheard("No watchdog answers: none is at work".to_owned()));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "no watchdog answers");
                return Err(NoAnswer {
                    why: format!("No watchdog answers ({error})"),
                    heard: true,
                });
            }
            Err(_) => {
                return Err(NoAnswer {
                    why: format!("No watchdog answers within {WATCHDOG_DEADLINE:?}"),
                    heard: true,
                });
            }
        };
        serde_json::from_slice(&message.payload).map_err(|error| NoAnswer {
            why: format!("The watchdog's answer cannot be read ({error})"),
            heard: true,
        })
    }
}

/// Why a watchdog did not answer.
struct NoAnswer {
    why: String,
    /// It may have heard the order all the same.
    heard: bool,
}

/// Which account is meant: the named one, the one with that latch, the only one.
fn choose(
    known: &[Account],
    wanted: Option<&AccountKey>,
    order: &AccountOrder,
) -> Result<AccountKey, String> {
    let names = || {
        let names: Vec<String> = known.iter().map(|(key, _)| key.to_string()).collect();
        names.join(", ")
    };
    let candidates: Vec<&Account> = match (wanted, order) {
        (Some(wanted), _) => known.iter().filter(|(key, _)| key == wanted).collect(),
        (None, AccountOrder::Unlatch { latch }) => known
            .iter()
            .filter(|(_, report)| report.latch.as_ref().is_some_and(|held| held.id == *latch))
            .collect(),
        (None, _) => known.iter().collect(),
    };
    match (candidates.as_slice(), order) {
        _ if known.is_empty() => {
            Err("No account has reported yet: there is nobody to order".to_owned())
        }
        ([(key, report)], AccountOrder::Unlatch { latch }) => match &report.latch {
            Some(held) if held.id == *latch => Ok(key.clone()),
            Some(held) => Err(format!("Account {key} is latched by {}", held.id)),
            None => Err(format!("Account {key} is not latched")),
        },
        ([(key, _)], _) => Ok(key.clone()),
        ([], AccountOrder::Unlatch { latch }) if wanted.is_none() => {
            Err(format!("No account is latched by {latch}"))
        }
        ([], _) => Err(format!("There is no such account: allowed are {}", names())),
        _ => Err(format!("Name the account, there are several: {}", names())),
    }
}

fn meaning(order: &AccountOrder) -> String {
    let of = |symbol: &Option<Token>| {
        symbol
            .as_ref()
            .map_or_else(|| "all books".to_owned(), Token::to_string)
    };
    match order {
        AccountOrder::Pause { symbol } => format!("no entries of {}", of(symbol)),
        AccountOrder::Resume { symbol } => format!("the pause of {} ends", of(symbol)),
        AccountOrder::Flatten => "close everything and latch".to_owned(),
        AccountOrder::Unlatch { latch } => format!("latch {latch} ends"),
    }
}

fn first_line(answer: &Answer) -> String {
    let line = answer.text.lines().next().unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let done = if answer.done { "done" } else { "not done" };
    format!("{done}: {line}")
}

fn read(text: Result<String, String>) -> Carried {
    match text {
        Ok(body) => Carried {
            done: Some(true),
            outcome: "answered".to_owned(),
            body,
            picture: false,
        },
        Err(why) => not_done(&format!("The bus does not answer: {why}")),
    }
}

fn not_done(why: &str) -> Carried {
    Carried {
        done: Some(false),
        outcome: format!("not done: {why}"),
        body: why.to_owned(),
        picture: false,
    }
}

fn unknown(why: &str) -> Carried {
    Carried {
        done: None,
        outcome: format!("unknown: {why}"),
        body: why.to_owned(),
        picture: false,
    }
}

#[cfg(test)]
mod tests {
    use protocol::report::AccountReport;

    use super::*;

    fn account(name: &str, latch: bool) -> Account {
        let golden = include_str!("../../protocol/tests/golden/report_account.json");
        let mut report: AccountReport = serde_json::from_str(golden).unwrap();
        report.latch = report.latch.filter(|_| latch);
        (
            format!("paper.binance-usdm.{name}").parse().unwrap(),
            report,
        )
    }

    #[test]
    fn the_account_is_the_named_one_the_latched_one_or_the_only_one() {
        let two = [account("a", false), account("b", true)];
        let unlatch = |latch: &str| AccountOrder::Unlatch {
            latch: latch.to_owned(),
        };
        let latch = "daily_loss-1764000000000";
        let name = |name: &str| Some(account(name, false).0);
        let table = [
            (&two[..1], None, AccountOrder::Flatten, Ok("a")),
            (
                &two[..],
                None,
                AccountOrder::Flatten,
                Err("there are several"),
            ),
            (&two[..], name("b"), AccountOrder::Flatten, Ok("b")),
            (
                &two[..],
                name("c"),
                AccountOrder::Flatten,
                Err("no such account"),
            ),
            (&two[..], None, unlatch(latch), Ok("b")),
            (
                &two[..],
                None,
                unlatch("other-1"),
                Err("No account is latched by other-1"),
            ),
            (&two[..], name("a"), unlatch(latch), Err("is not latched")),
            (
                &two[..],
                name("b"),
                unlatch("other-1"),
                Err("is latched by daily_loss"),
            ),
            (
                &two[..0],
                None,
                AccountOrder::Flatten,
                Err("nobody to order"),
            ),
        ];
        for (known, wanted, order, expected) in table {
            let found = choose(known, wanted.as_ref(), &order);
            match expected {
                Ok(account) => assert_eq!(found.unwrap().account.as_str(), account),
                Err(words) => assert!(found.unwrap_err().contains(words), "{words}"),
            }
        }
    }
}
