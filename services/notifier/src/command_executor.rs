//! Carries out one order of the owner's: asks the bus, or stores his word where its keeper reads it. Whether
//! it may be carried out is decided before; nothing here is ever repeated.

use std::time::Duration;

use notifier_core::command_intake::CommandResult;
use notifier_core::command_parser::TelegramCommand;
use notifier_core::replies::{self, LatestAccountReport, LatestHeartbeat};
use protocol::VERSION;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest};
use protocol::ids::{AccountKey, HostKey, Service, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::clock;
use runtime::journal::{AppendError, Journal};
use tokio::time::timeout;

use crate::{heartbeats, report_reader};

/// A watchdog that does not answer within this time is none.
const WATCHDOG_DEADLINE: Duration = Duration::from_secs(5);
/// Storing a word takes no longer, or nobody knows.
const STORE_DEADLINE: Duration = Duration::from_secs(10);

/// Who carries out, and for whom.
pub struct CommandExecutor {
    /// The bus.
    pub bus: Bus,
    /// This run of the process: writes into operators' journals.
    pub boot: SubjectToken,
    /// Project and host of the notifier: whose watchdog gets a command that fits several.
    pub host: HostKey,
    /// Whose order it is.
    pub by: String,
    /// How delivery is, in one line.
    pub queue_status: String,
}

impl CommandExecutor {
    /// What came of the order. Those that only read the journal's fold are not for here.
    pub async fn execute(self, order: TelegramCommand) -> CommandResult {
        match order {
            TelegramCommand::Help {
                is_greeting: greeting,
            } => read_result(Ok(replies::help(greeting))),
            TelegramCommand::Status => read_result(self.status().await),
            TelegramCommand::Health => read_result(self.health().await),
            TelegramCommand::Positions => read_result(self.positions().await),
            TelegramCommand::Performance => self.performance().await,
            TelegramCommand::Account {
                command: order,
                account,
            } => self.store_account_command(order, account).await,
            TelegramCommand::Unit(order) => self.execute_unit_command(order).await,
            TelegramCommand::Logs | TelegramCommand::Silence(_) => {
                failed_result("bug: not an order for the bus")
            }
        }
    }

    async fn status(&self) -> Result<String, String> {
        let watchdog = match self.request_watchdog(UnitCommand::Status).await {
            Ok(answer) if answer.ok => Ok(answer.text),
            Ok(answer) => Err(format!("The watchdog says: {}", answer.text)),
            Err(WatchdogUnreachable { error: why, .. }) => Err(why),
        };
        let beats = self.heartbeats().await?;
        let accounts = report_reader::accounts(&self.bus).await?;
        Ok(replies::status(&watchdog, &beats, &accounts, clock::now()))
    }

    async fn health(&self) -> Result<String, String> {
        let beats = self.heartbeats().await?;
        Ok(replies::health(
            &beats,
            self.queue_status.clone(),
            clock::now(),
        ))
    }

    async fn heartbeats(&self) -> Result<Vec<LatestHeartbeat>, String> {
        let of = |service: Service| move |(name, beat)| (service, name, beat);
        let traders = heartbeats::trader_heartbeats(&self.bus).await?;
        let watchdogs = heartbeats::watchdog_heartbeats(&self.bus).await?;
        let traders = traders.into_iter().map(of(Service::Trader));
        Ok(traders
            .chain(watchdogs.into_iter().map(of(Service::Watchdog)))
            .collect())
    }

    async fn positions(&self) -> Result<String, String> {
        let books = report_reader::books(&self.bus).await?;
        Ok(replies::positions(&books, clock::now()))
    }

    async fn performance(&self) -> CommandResult {
        let told = async {
            let books = report_reader::books(&self.bus).await?;
            let accounts = report_reader::accounts(&self.bus).await?;
            Ok(replies::performance(&books, &accounts, clock::now()))
        };
        let told = told.await;
        let picture = told.is_ok() && report_reader::has_equity_points(&self.bus).await;
        CommandResult {
            has_picture: picture,
            ..read_result(told)
        }
    }

    /// Appends the word to the account's operator journal, once.
    async fn store_account_command(
        &self,
        order: AccountCommand,
        account: Option<AccountKey>,
    ) -> CommandResult {
        let known = match report_reader::accounts(&self.bus).await {
            Ok(known) => known,
            Err(why) => return failed_result(&format!("The accounts are not known: {why}")),
        };
        let account = match choose_account(&known, account.as_ref(), &order) {
            Ok(account) => account,
            Err(why) => return failed_result(&why),
        };
        if let Err(why) = self.check_symbol(&account, &order).await {
            return failed_result(&why);
        }
        let word = AccountCommandRecord {
            command: order,
            by: self.by.clone(),
            reason: "by command".to_owned(),
        };
        match timeout(STORE_DEADLINE, self.append_command(&account, &word)).await {
            Ok(Ok(())) => CommandResult {
                is_done: Some(true),
                result: format!("stored for account {account}"),
                body: format!(
                    "Stored for account {account}: {}. Its keeper carries it out, and tells when it has; \
                     without a keeper it waits",
                    describe_command(&word.command)
                ),
                has_picture: false,
            },
            Ok(Err(why)) => failed_result(&why),
            Err(_) => unknown_result(&format!(
                "The bus did not answer within {STORE_DEADLINE:?}: it may be stored or not. Look: /status"
            )),
        }
    }

    /// A symbol that no book of the account has is a slip of the finger.
    async fn check_symbol(
        &self,
        account: &AccountKey,
        order: &AccountCommand,
    ) -> Result<(), String> {
        let (AccountCommand::Pause { symbol } | AccountCommand::Resume { symbol }) = order else {
            return Ok(());
        };
        let Some(symbol) = symbol else {
            return Ok(());
        };
        let books = report_reader::books(&self.bus).await?;
        let of_account = books.iter().filter(|book| book.book.account == *account);
        let symbols: Vec<&SubjectToken> = of_account.map(|book| &book.book.symbol).collect();
        if symbols.contains(&symbol) {
            return Ok(());
        }
        let names: Vec<&str> = symbols.iter().map(|symbol| symbol.as_str()).collect();
        Err(format!(
            "Account {account} has no book of {symbol}: allowed are {}",
            names.join(", ")
        ))
    }

    async fn append_command(
        &self,
        account: &AccountKey,
        command: &AccountCommandRecord,
    ) -> Result<(), String> {
        let subject = Subject::AccountCommandJournal(account.clone());
        // What others said there is not our business.
        let replayed =
            Journal::replay::<serde_json::Value>(&self.bus, &subject, self.boot.clone()).await;
        let (mut journal, _) = replayed.map_err(|error| format!("Not stored: {error}"))?;
        let appended = journal.append(std::slice::from_ref(command), 0, |why| {
            tracing::warn!(why, "the owner's word is not stored yet");
        });
        match appended.await {
            Ok(_) => Ok(()),
            Err(error @ AppendError::Fenced { .. }) => {
                Err(format!("Not stored: {error}. Give the order again"))
            }
            Err(error @ AppendError::Rejected { .. }) => Err(format!("Not stored: {error}")),
        }
    }

    /// Request and reply.
    async fn execute_unit_command(&self, order: UnitCommand) -> CommandResult {
        let asks_only = order.is_read_only();
        match self.request_watchdog(order).await {
            Ok(answer) => CommandResult {
                is_done: Some(answer.ok),
                result: result_line(&answer),
                body: answer.text,
                has_picture: false,
            },
            Err(WatchdogUnreachable {
                error: why,
                may_have_arrived: true,
            }) if !asks_only => {
                unknown_result(&format!("{why}: it may be done or not. Look: /status"))
            }
            Err(WatchdogUnreachable { error: why, .. }) => failed_result(&why),
        }
    }

    /// Project and host of the watchdog that supervises the unit: the only one that publishes heartbeats, the one
    /// whose host the unit's heartbeats name, or that of the notifier's own host.
    async fn watchdog_host(&self, unit: Option<&SubjectToken>) -> Result<HostKey, String> {
        let mut hosts = heartbeats::watchdog_hosts(&self.bus).await?;
        if let (Some(unit), true) = (unit, hosts.len() > 1) {
            let trading = heartbeats::hosts_of_trader(&self.bus, unit).await?;
            hosts.retain(|host| trading.contains(host));
        }
        match hosts.as_slice() {
            [only] => Ok(only.clone()),
            _ => Ok(self.host.clone()),
        }
    }

    async fn request_watchdog(
        &self,
        order: UnitCommand,
    ) -> Result<CommandReply, WatchdogUnreachable> {
        let host = match self.watchdog_host(order.unit()).await {
            Ok(host) => host,
            Err(error) => {
                return Err(WatchdogUnreachable {
                    error,
                    may_have_arrived: false,
                });
            }
        };
        let subject = Subject::WatchdogCommand {
            host,
            verb: order.verb().into(),
        };
        let subject = subject.to_string();
        let request = UnitCommandRequest {
            v: VERSION,
            by: self.by.clone(),
            command: order,
        };
        let unheard = |why: String| WatchdogUnreachable {
            error: why,
            may_have_arrived: false,
        };
        let payload = serde_json::to_vec(&request).map_err(|error| unheard(error.to_string()))?;
        let asked = self.bus.client().request(subject, payload.into());
        let message = match timeout(WATCHDOG_DEADLINE, asked).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
                return Err(unheard("No watchdog answers: none is at work".to_owned()));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "no watchdog answers");
                return Err(WatchdogUnreachable {
                    error: format!("No watchdog answers ({error})"),
                    may_have_arrived: true,
                });
            }
            Err(_) => {
                return Err(WatchdogUnreachable {
                    error: format!("No watchdog answers within {WATCHDOG_DEADLINE:?}"),
                    may_have_arrived: true,
                });
            }
        };
        serde_json::from_slice(&message.payload).map_err(|error| WatchdogUnreachable {
            error: format!("The watchdog's answer cannot be read ({error})"),
            may_have_arrived: true,
        })
    }
}

/// Why a watchdog did not answer.
struct WatchdogUnreachable {
    error: String,
    /// It may have heard the order all the same.
    may_have_arrived: bool,
}

/// Which account is meant: the named one, the one with that latch, the only one.
fn choose_account(
    known: &[LatestAccountReport],
    named: Option<&AccountKey>,
    order: &AccountCommand,
) -> Result<AccountKey, String> {
    let names = || {
        let names: Vec<String> = known.iter().map(|(key, _)| key.to_string()).collect();
        names.join(", ")
    };
    let candidates: Vec<&LatestAccountReport> = match (named, order) {
        (Some(wanted), _) => known.iter().filter(|(key, _)| key == wanted).collect(),
        (None, AccountCommand::Unlatch { latch_id: latch }) => known
            .iter()
            .filter(|(_, report)| {
                report
                    .latch
                    .as_ref()
                    .is_some_and(|held| held.latch_id == *latch)
            })
            .collect(),
        (None, _) => known.iter().collect(),
    };
    match (candidates.as_slice(), order) {
        _ if known.is_empty() => {
            Err("No account has reported yet: there is nobody to order".to_owned())
        }
        ([(key, report)], AccountCommand::Unlatch { latch_id: latch }) => match &report.latch {
            Some(held) if held.latch_id == *latch => Ok(key.clone()),
            Some(held) => Err(format!("Account {key} is latched by {}", held.latch_id)),
            None => Err(format!("Account {key} is not latched")),
        },
        ([(key, _)], _) => Ok(key.clone()),
        ([], AccountCommand::Unlatch { latch_id: latch }) if named.is_none() => {
            Err(format!("No account is latched by {latch}"))
        }
        ([], _) => Err(format!("There is no such account: allowed are {}", names())),
        _ => Err(format!("Name the account, there are several: {}", names())),
    }
}

fn describe_command(order: &AccountCommand) -> String {
    let of = |symbol: &Option<SubjectToken>| {
        symbol
            .as_ref()
            .map_or_else(|| "all books".to_owned(), SubjectToken::to_string)
    };
    match order {
        AccountCommand::Pause { symbol } => format!("no entries of {}", of(symbol)),
        AccountCommand::Resume { symbol } => format!("the pause of {} ends", of(symbol)),
        AccountCommand::Flatten => "close everything and latch".to_owned(),
        AccountCommand::Unlatch { latch_id: latch } => format!("latch {latch} ends"),
    }
}

fn result_line(answer: &CommandReply) -> String {
    let line = answer.text.lines().next().unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let done = if answer.ok { "done" } else { "not done" };
    format!("{done}: {line}")
}

fn read_result(text: Result<String, String>) -> CommandResult {
    match text {
        Ok(body) => CommandResult {
            is_done: Some(true),
            result: "answered".to_owned(),
            body,
            has_picture: false,
        },
        Err(why) => failed_result(&format!("The bus does not answer: {why}")),
    }
}

fn failed_result(why: &str) -> CommandResult {
    CommandResult {
        is_done: Some(false),
        result: format!("not done: {why}"),
        body: why.to_owned(),
        has_picture: false,
    }
}

fn unknown_result(why: &str) -> CommandResult {
    CommandResult {
        is_done: None,
        result: format!("unknown: {why}"),
        body: why.to_owned(),
        has_picture: false,
    }
}

#[cfg(test)]
mod tests {
    use protocol::report::AccountReport;

    use super::*;

    fn account(name: &str, latch: bool) -> LatestAccountReport {
        let golden = include_str!("../../protocol/tests/golden/report_account.json");
        let mut report: AccountReport = serde_json::from_str(golden).unwrap();
        report.latch = report.latch.filter(|_| latch);
        (
            format!("paper.binance-usdm.{name}").parse().unwrap(),
            report,
        )
    }

    #[test]
    fn account_of_a_command_is_the_named_the_latched_or_the_only_one() {
        let two = [account("a", false), account("b", true)];
        let unlatch = |latch: &str| AccountCommand::Unlatch {
            latch_id: latch.to_owned(),
        };
        let latch = "daily_loss-1764000000000";
        let name = |name: &str| Some(account(name, false).0);
        let table = [
            (&two[..1], None, AccountCommand::Flatten, Ok("a")),
            (
                &two[..],
                None,
                AccountCommand::Flatten,
                Err("there are several"),
            ),
            (&two[..], name("b"), AccountCommand::Flatten, Ok("b")),
            (
                &two[..],
                name("c"),
                AccountCommand::Flatten,
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
                AccountCommand::Flatten,
                Err("nobody to order"),
            ),
        ];
        for (known, wanted, order, expected) in table {
            let found = choose_account(known, wanted.as_ref(), &order);
            match expected {
                Ok(account) => assert_eq!(found.unwrap().account.as_str(), account),
                Err(words) => assert!(found.unwrap_err().contains(words), "{words}"),
            }
        }
    }
}
