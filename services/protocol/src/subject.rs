//! Every subject on the bus, as one enum: nobody else spells one out.

use std::fmt;

use crate::event::Severity;
use crate::ids::{AccountKey, BookKey, Service, SubjectToken};

/// A subject that one message goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `heartbeat.v1.<service>.<instance>`
    Heartbeat {
        /// Who.
        service: Service,
        /// Which one.
        instance: SubjectToken,
    },
    /// `event.v1.<service>.<instance>.<severity>.<kind>`
    Event {
        /// Who.
        service: Service,
        /// Which one.
        instance: SubjectToken,
        /// How much it matters.
        severity: Severity,
        /// What happened.
        kind: &'static str,
    },
    /// `journal.v1.book.<book>`
    BookJournal(BookKey),
    /// `lease.v1.book.<book>`
    BookLease(BookKey),
    /// `snapshot.v1.book.<book>`: its folded state, to shorten a replay.
    BookSnapshot(BookKey),
    /// `report.v1.book.<book>`: how it is now.
    BookReport(BookKey),
    /// `report.v1.equity.<book>`: what it was worth, point by point.
    BookEquity(BookKey),
    /// `journal.v1.account.<account>`: peaks and latch of an account.
    AccountJournal(AccountKey),
    /// `journal.v1.account_command.<account>`: what a person decided about it.
    AccountCommandJournal(AccountKey),
    /// `lease.v1.account.<account>`: which instance keeps it.
    AccountLease(AccountKey),
    /// `report.v1.account.<account>`: how it is now, renewed by its keeper.
    AccountReport(AccountKey),
    /// `lease.v1.member.<account>.<instance>`: who takes part in sharing out the books.
    MemberLease {
        /// The group.
        account: AccountKey,
        /// The member.
        instance: SubjectToken,
    },
    /// `journal.v1.watchdog.<project>`
    WatchdogJournal(SubjectToken),
    /// `lease.v1.watchdog.<project>`: which of a project's watchdogs acts.
    WatchdogLease(SubjectToken),
    /// `command.v1.watchdog.<verb>`: request and reply.
    WatchdogCommand(&'static str),
    /// `command.v1.notifier.resend`: request and reply.
    NotifierResend,
    /// `journal.v1.notifier.operator`: what the owner was told. A bus has one owner.
    NotifierJournal,
    /// `lease.v1.notifier.operator`: which notifier tells him.
    NotifierLease,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat { service, instance } => {
                write!(f, "heartbeat.v1.{service}.{instance}")
            }
            Self::Event {
                service,
                instance,
                severity,
                kind,
            } => write!(f, "event.v1.{service}.{instance}.{severity}.{kind}"),
            Self::BookJournal(book) => write!(f, "journal.v1.book.{book}"),
            Self::BookLease(book) => write!(f, "lease.v1.book.{book}"),
            Self::BookSnapshot(book) => write!(f, "snapshot.v1.book.{book}"),
            Self::BookReport(book) => write!(f, "report.v1.book.{book}"),
            Self::BookEquity(book) => write!(f, "report.v1.equity.{book}"),
            Self::AccountJournal(account) => write!(f, "journal.v1.account.{account}"),
            Self::AccountCommandJournal(account) => {
                write!(f, "journal.v1.account_command.{account}")
            }
            Self::AccountLease(account) => write!(f, "lease.v1.account.{account}"),
            Self::AccountReport(account) => write!(f, "report.v1.account.{account}"),
            Self::MemberLease { account, instance } => {
                write!(f, "lease.v1.member.{account}.{instance}")
            }
            Self::WatchdogJournal(project) => write!(f, "journal.v1.watchdog.{project}"),
            Self::WatchdogLease(project) => write!(f, "lease.v1.watchdog.{project}"),
            Self::WatchdogCommand(verb) => write!(f, "command.v1.watchdog.{verb}"),
            Self::NotifierResend => f.write_str("command.v1.notifier.resend"),
            Self::NotifierJournal => f.write_str("journal.v1.notifier.operator"),
            Self::NotifierLease => f.write_str("lease.v1.notifier.operator"),
        }
    }
}

/// Filters over several subjects.
pub mod filter {
    use crate::ids::{AccountKey, Mode};

    /// Journals of all books of an account.
    pub fn account_book_journals(account: &AccountKey) -> String {
        format!("journal.v1.book.{account}.*")
    }

    /// Leases of all instances that trade for an account.
    pub fn member_leases(account: &AccountKey) -> String {
        format!("lease.v1.member.{account}.*")
    }

    /// Heartbeats of all traders.
    pub const TRADER_HEARTBEATS: &str = "heartbeat.v1.trader.*";

    /// Every event of everybody.
    pub const EVENTS: &str = "event.v1.>";

    /// Heartbeats of all notifiers.
    pub const NOTIFIER_HEARTBEATS: &str = "heartbeat.v1.notifier.*";

    /// Heartbeats of all watchdogs.
    pub const WATCHDOG_HEARTBEATS: &str = "heartbeat.v1.watchdog.*";

    /// Journals of all watchdogs, one for each project.
    pub const WATCHDOG_JOURNALS: &str = "journal.v1.watchdog.*";

    /// Orders to a watchdog, whatever the verb.
    pub const WATCHDOG_COMMANDS: &str = "command.v1.watchdog.*";

    /// Journals of all accounts of a mode.
    pub fn account_journals(mode: Mode) -> String {
        format!("journal.v1.account.{mode}.>")
    }

    /// Newest reports of all books of a mode.
    pub fn book_reports(mode: Mode) -> String {
        format!("report.v1.book.{mode}.>")
    }

    /// Newest reports of all accounts.
    pub const ACCOUNT_REPORTS: &str = "report.v1.account.>";

    /// Newest reports of all books of every mode.
    pub const BOOK_REPORTS: &str = "report.v1.book.>";

    /// Equity points of all books of every mode.
    pub const EQUITY_REPORTS: &str = "report.v1.equity.>";

    /// Journals of all books of a mode.
    pub fn book_journals(mode: Mode) -> String {
        format!("journal.v1.book.{mode}.>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Mode;

    fn account() -> AccountKey {
        AccountKey {
            mode: Mode::Paper,
            venue: "binance-usdm".parse().unwrap(),
            account: "a1b2".parse().unwrap(),
        }
    }

    #[test]
    fn subjects_are_spelled_as_documented() {
        let instance: SubjectToken = "trader-paper-1".parse().unwrap();
        let book = account().book("BTCUSDT".parse().unwrap());
        let cases = [
            (
                Subject::Heartbeat {
                    service: Service::Trader,
                    instance: instance.clone(),
                },
                "heartbeat.v1.trader.trader-paper-1",
            ),
            (
                Subject::Event {
                    service: Service::Trader,
                    instance: instance.clone(),
                    severity: Severity::Info,
                    kind: "trader_started",
                },
                "event.v1.trader.trader-paper-1.info.trader_started",
            ),
            (
                Subject::BookJournal(book.clone()),
                "journal.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookLease(book),
                "lease.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::MemberLease {
                    account: account(),
                    instance,
                },
                "lease.v1.member.paper.binance-usdm.a1b2.trader-paper-1",
            ),
            (
                Subject::WatchdogJournal("bearish-alpha".parse().unwrap()),
                "journal.v1.watchdog.bearish-alpha",
            ),
            (
                Subject::WatchdogLease("bearish-alpha".parse().unwrap()),
                "lease.v1.watchdog.bearish-alpha",
            ),
            (
                Subject::WatchdogCommand("release"),
                "command.v1.watchdog.release",
            ),
            (Subject::NotifierResend, "command.v1.notifier.resend"),
            (Subject::NotifierJournal, "journal.v1.notifier.operator"),
            (Subject::NotifierLease, "lease.v1.notifier.operator"),
        ];
        for (subject, text) in cases {
            assert_eq!(subject.to_string(), text);
        }
    }
    #[test]
    fn subjects_of_reports_and_accounts_are_spelled_as_documented() {
        let cases = [
            (
                Subject::BookSnapshot(account().book("BTCUSDT".parse().unwrap())),
                "snapshot.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookReport(account().book("BTCUSDT".parse().unwrap())),
                "report.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookEquity(account().book("BTCUSDT".parse().unwrap())),
                "report.v1.equity.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::AccountJournal(account()),
                "journal.v1.account.paper.binance-usdm.a1b2",
            ),
            (
                Subject::AccountCommandJournal(account()),
                "journal.v1.account_command.paper.binance-usdm.a1b2",
            ),
            (
                Subject::AccountLease(account()),
                "lease.v1.account.paper.binance-usdm.a1b2",
            ),
            (
                Subject::AccountReport(account()),
                "report.v1.account.paper.binance-usdm.a1b2",
            ),
        ];
        for (subject, text) in cases {
            assert_eq!(subject.to_string(), text);
        }
    }
}
