//! Executes one command of the operator: reads the bus, sends a request to the watchdog, or stores an account command
//! for the account leader. Nothing is retried.

use std::time::Duration;

use notifier_core::command_intake::CommandResult;
use notifier_core::command_parser::TelegramCommand;
use notifier_core::replies::{self, LatestAccountReport, LatestHeartbeat};
use protocol::VERSION;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest, UnitStatus, UnitStatuses};
use protocol::ids::{AccountKey, HostKey, Service, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::clock;
use runtime::journal::{AppendError, Journal};
use tokio::time::timeout;

use crate::{heartbeats, report_reader};

/// Deadline for a reply of the watchdog.
const WATCHDOG_DEADLINE: Duration = Duration::from_secs(5);
/// Deadline for storing an account command; after it, the outcome is unknown.
const STORE_DEADLINE: Duration = Duration::from_secs(10);

/// Executor of one command.
pub struct CommandExecutor {
    /// Connection to the bus.
    pub bus: Bus,
    /// Boot id of the process, as the writer of account commands.
    pub boot: SubjectToken,
    /// Project and host of the notifier: whose watchdog gets a command that fits several.
    pub host: HostKey,
    /// Operator who gave the command.
    pub by: String,
    /// State of the notifier's queue in one line.
    pub queue_status: String,
}

impl CommandExecutor {
    /// Executes a command that the dispatcher's state does not answer.
    pub async fn execute(self, command: TelegramCommand) -> CommandResult {
        match command {
            TelegramCommand::Help { is_greeting } => read_result(Ok(replies::help(is_greeting))),
            TelegramCommand::Status => self.status().await,
            TelegramCommand::Health => read_result(self.health().await),
            TelegramCommand::Positions => read_result(self.positions().await),
            TelegramCommand::Performance => self.performance().await,
            TelegramCommand::Account { command, account } => {
                self.store_account_command(command, account).await
            }
            TelegramCommand::Unit(command) => self.execute_unit_command(command).await,
            TelegramCommand::Logs | TelegramCommand::Silence(_) => {
                failed_result("internal error: the dispatcher answers this command")
            }
        }
    }

    async fn status(&self) -> CommandResult {
        let watchdog = match self.request_watchdog(UnitCommand::Status).await {
            Ok(reply) if reply.ok => read_units(reply),
            Ok(reply) => Err(format!("Watchdog: {}", reply.text)),
            Err(WatchdogUnreachable { error, .. }) => Err(error),
        };
        let read = async {
            let heartbeats = self.heartbeats().await?;
            let accounts = report_reader::accounts(&self.bus).await?;
            Ok(replies::status(
                &watchdog,
                &heartbeats,
                &accounts,
                clock::now(),
            ))
        };
        match read.await {
            Ok((text, table_lines)) => CommandResult {
                table_lines,
                ..read_result(Ok(text))
            },
            Err(error) => read_result(Err(error)),
        }
    }

    async fn health(&self) -> Result<String, String> {
        let heartbeats = self.heartbeats().await?;
        Ok(replies::health(
            &heartbeats,
            self.queue_status.clone(),
            clock::now(),
        ))
    }

    async fn heartbeats(&self) -> Result<Vec<LatestHeartbeat>, String> {
        let with = |service: Service| move |(name, heartbeat)| (service, name, heartbeat);
        let traders = heartbeats::trader_heartbeats(&self.bus).await?;
        let watchdogs = heartbeats::watchdog_heartbeats(&self.bus).await?;
        let traders = traders.into_iter().map(with(Service::Trader));
        Ok(traders
            .chain(watchdogs.into_iter().map(with(Service::Watchdog)))
            .collect())
    }

    async fn positions(&self) -> Result<String, String> {
        let books = report_reader::books(&self.bus).await?;
        Ok(replies::positions(&books, clock::now()))
    }

    async fn performance(&self) -> CommandResult {
        let read = async {
            let books = report_reader::books(&self.bus).await?;
            let accounts = report_reader::accounts(&self.bus).await?;
            Ok(replies::performance(&books, &accounts, clock::now()))
        };
        let text = read.await;
        let has_picture = text.is_ok() && report_reader::has_equity_points(&self.bus).await;
        CommandResult {
            has_picture,
            ..read_result(text)
        }
    }

    /// Appends the command to the account's command journal once.
    async fn store_account_command(
        &self,
        command: AccountCommand,
        account: Option<AccountKey>,
    ) -> CommandResult {
        let known = match report_reader::accounts(&self.bus).await {
            Ok(known) => known,
            Err(error) => return failed_result(&format!("Accounts unavailable: {error}")),
        };
        let account = match choose_account(&known, account.as_ref(), &command) {
            Ok(account) => account,
            Err(error) => return failed_result(&error),
        };
        if let Err(error) = self.check_symbol(&account, &command).await {
            return failed_result(&error);
        }
        let record = AccountCommandRecord {
            command,
            by: self.by.clone(),
            reason: "Telegram command".to_owned(),
        };
        match timeout(STORE_DEADLINE, self.append_command(&account, &record)).await {
            Ok(Ok(())) => CommandResult {
                is_done: Some(true),
                result: format!("stored for account {account}"),
                body: format!(
                    "Stored for account {account}: {}\nNext: the account leader executes the command and a \
                     notification follows; without a running trader, the command waits",
                    describe_command(&record.command)
                ),
                has_picture: false,
                table_lines: 0,
            },
            Ok(Err(error)) => failed_result(&error),
            Err(_) => unknown_result(&format!(
                "No response from the bus within {STORE_DEADLINE:?}: the command may be stored or not. Check with /status"
            )),
        }
    }

    /// Rejects a symbol that no book of the account has.
    async fn check_symbol(
        &self,
        account: &AccountKey,
        command: &AccountCommand,
    ) -> Result<(), String> {
        let (AccountCommand::Pause { symbol } | AccountCommand::Resume { symbol }) = command else {
            return Ok(());
        };
        let Some(symbol) = symbol else {
            return Ok(());
        };
        let books = report_reader::books(&self.bus).await?;
        let own = books.iter().filter(|book| book.book.account == *account);
        let symbols: Vec<&SubjectToken> = own.map(|book| &book.book.symbol).collect();
        if symbols.contains(&symbol) {
            return Ok(());
        }
        let names: Vec<&str> = symbols.iter().map(|symbol| symbol.as_str()).collect();
        Err(format!(
            "Account {account} has no book of {symbol}: expected one of {}",
            names.join(", ")
        ))
    }

    async fn append_command(
        &self,
        account: &AccountKey,
        command: &AccountCommandRecord,
    ) -> Result<(), String> {
        let subject = Subject::AccountCommandJournal(account.clone());
        let opened = Journal::open_at_end(&self.bus, &subject, self.boot.clone()).await;
        let mut journal = opened.map_err(|error| format!("Not stored: {error}"))?;
        let appended = journal.append(std::slice::from_ref(command), 0, |error| {
            tracing::warn!(error, "journal unavailable; account command not stored yet");
        });
        match appended.await {
            Ok(_) => Ok(()),
            Err(error @ AppendError::Fenced { .. }) => {
                Err(format!("Not stored: {error}. Send the command again"))
            }
            Err(error @ AppendError::Rejected { .. }) => Err(format!("Not stored: {error}")),
        }
    }

    /// Sends a unit command to the watchdog and returns its reply.
    async fn execute_unit_command(&self, command: UnitCommand) -> CommandResult {
        let is_read_only = command.is_read_only();
        match self.request_watchdog(command).await {
            Ok(reply) => CommandResult {
                is_done: Some(reply.ok),
                result: result_line(&reply),
                body: reply.text,
                has_picture: false,
                table_lines: 0,
            },
            Err(WatchdogUnreachable {
                error,
                may_have_arrived: true,
            }) if !is_read_only => unknown_result(&format!(
                "{error}; the command may have been executed. Check with /status"
            )),
            Err(WatchdogUnreachable { error, .. }) => failed_result(&error),
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
        command: UnitCommand,
    ) -> Result<CommandReply, WatchdogUnreachable> {
        let host = match self.watchdog_host(command.unit()).await {
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
            verb: command.verb().into(),
        };
        let subject = subject.to_string();
        let request = UnitCommandRequest {
            v: VERSION,
            by: self.by.clone(),
            command,
        };
        let not_sent = |error: String| WatchdogUnreachable {
            error,
            may_have_arrived: false,
        };
        let payload = serde_json::to_vec(&request).map_err(|error| not_sent(error.to_string()))?;
        let request = self.bus.client().request(subject, payload.into());
        let message = match timeout(WATCHDOG_DEADLINE, request).await {
            Ok(Ok(message)) => message,
            Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
                return Err(not_sent("No watchdog is running".to_owned()));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "no reply from the watchdog");
                return Err(WatchdogUnreachable {
                    error: format!("No reply from the watchdog ({error})"),
                    may_have_arrived: true,
                });
            }
            Err(_) => {
                return Err(WatchdogUnreachable {
                    error: format!("No reply from the watchdog within {WATCHDOG_DEADLINE:?}"),
                    may_have_arrived: true,
                });
            }
        };
        serde_json::from_slice(&message.payload).map_err(|error| WatchdogUnreachable {
            error: format!("Invalid reply from the watchdog ({error})"),
            may_have_arrived: true,
        })
    }
}

/// No reply from a watchdog.
struct WatchdogUnreachable {
    error: String,
    /// Whether the command may have arrived nevertheless.
    may_have_arrived: bool,
}

/// Units in a reply to `status`.
fn read_units(reply: CommandReply) -> Result<Vec<UnitStatus>, String> {
    let data = reply.data.unwrap_or_default();
    match serde_json::from_value::<UnitStatuses>(data) {
        Ok(status) => Ok(status.units),
        Err(error) => Err(format!("Invalid reply from the watchdog ({error})")),
    }
}

/// Account of a command: the named one, the one with that latch, or the only one.
fn choose_account(
    known: &[LatestAccountReport],
    named: Option<&AccountKey>,
    command: &AccountCommand,
) -> Result<AccountKey, String> {
    let listed = || {
        let accounts: Vec<String> = known.iter().map(|(key, _)| key.to_string()).collect();
        accounts.join(", ")
    };
    let candidates: Vec<&LatestAccountReport> = match (named, command) {
        (Some(named), _) => known.iter().filter(|(key, _)| key == named).collect(),
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
    match (candidates.as_slice(), command) {
        _ if known.is_empty() => Err("No account report received yet".to_owned()),
        ([(key, report)], AccountCommand::Unlatch { latch_id: latch }) => match &report.latch {
            Some(held) if held.latch_id == *latch => Ok(key.clone()),
            Some(held) => Err(format!("Account {key} is latched by {}", held.latch_id)),
            None => Err(format!("Account {key} is not latched")),
        },
        ([(key, _)], _) => Ok(key.clone()),
        ([], AccountCommand::Unlatch { latch_id: latch }) if named.is_none() => {
            Err(format!("No account is latched by {latch}"))
        }
        ([], _) => Err(format!("Unknown account: expected one of {}", listed())),
        _ => Err(format!(
            "There are several accounts, name one of: {}",
            listed()
        )),
    }
}

fn describe_command(command: &AccountCommand) -> String {
    let scope = |symbol: &Option<SubjectToken>| {
        symbol
            .as_ref()
            .map_or_else(|| "all symbols".to_owned(), SubjectToken::to_string)
    };
    match command {
        AccountCommand::Pause { symbol } => format!("pause entries of {}", scope(symbol)),
        AccountCommand::Resume { symbol } => format!("resume entries of {}", scope(symbol)),
        AccountCommand::Flatten => "close all positions and latch the account".to_owned(),
        AccountCommand::Accept { difference_id } => format!("accept difference {difference_id}"),
        AccountCommand::Unlatch { latch_id: latch } => format!("end latch {latch}"),
    }
}

fn result_line(reply: &CommandReply) -> String {
    let line = reply.text.lines().next().unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let done = if reply.ok { "done" } else { "not done" };
    format!("{done}: {line}")
}

fn read_result(text: Result<String, String>) -> CommandResult {
    match text {
        Ok(body) => CommandResult {
            is_done: Some(true),
            result: "answered".to_owned(),
            body,
            has_picture: false,
            table_lines: 0,
        },
        Err(error) => failed_result(&format!("Bus unavailable: {error}")),
    }
}

fn failed_result(error: &str) -> CommandResult {
    CommandResult {
        is_done: Some(false),
        result: format!("not done: {error}"),
        body: error.to_owned(),
        has_picture: false,
        table_lines: 0,
    }
}

fn unknown_result(error: &str) -> CommandResult {
    CommandResult {
        is_done: None,
        result: format!("unknown: {error}"),
        body: error.to_owned(),
        has_picture: false,
        table_lines: 0,
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
                Err("There are several accounts"),
            ),
            (&two[..], name("b"), AccountCommand::Flatten, Ok("b")),
            (
                &two[..],
                name("c"),
                AccountCommand::Flatten,
                Err("Unknown account"),
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
                Err("No account report received yet"),
            ),
        ];
        for (known, named, command, expected) in table {
            let found = choose_account(known, named.as_ref(), &command);
            match expected {
                Ok(account) => assert_eq!(found.unwrap().account.as_str(), account),
                Err(text) => assert!(found.unwrap_err().contains(text), "{text}"),
            }
        }
    }
}
