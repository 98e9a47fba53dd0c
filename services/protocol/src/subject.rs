//! Subjects of the bus. [`Subject`] is the only place that writes and parses one.
//!
//! Grammar: kind, version, role or key space, then the key. Permissions in `docker/nats.conf` are prefixes of subjects.

use std::borrow::Cow;
use std::fmt;

use crate::event::Severity;
use crate::ids::{AccountKey, BookKey, HostKey, Mode, ProcessKey, SubjectToken};

/// A subject of one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `heartbeat.v1.<process>`: newest heartbeat of a process.
    Heartbeat(ProcessKey),
    /// `event.v1.<process>.<severity>.<kind>`: one event of a process.
    Event {
        /// Process that publishes the event.
        process: ProcessKey,
        /// Severity of the kind.
        severity: Severity,
        /// Kind of the event, which may be one of a newer program.
        kind: Cow<'static, str>,
    },
    /// `journal.v1.book.<book>`: records of a book.
    BookJournal(BookKey),
    /// `lease.v1.book.<book>`: instance that trades the book.
    BookLease(BookKey),
    /// `snapshot.v1.book.<book>`: folded state of a book, which shortens recovery.
    BookSnapshot(BookKey),
    /// `report.v1.book.<book>`: newest report of a book.
    BookReport(BookKey),
    /// `report.v1.equity.<book>`: equity points of a book.
    BookEquity(BookKey),
    /// `trade.v1.<book>`: closed trades of a book.
    ClosedTrade(BookKey),
    /// `journal.v1.account.<account>`: peaks, pauses and latch of an account.
    AccountJournal(AccountKey),
    /// `journal.v1.account_command.<account>`: operator commands for an account.
    AccountCommandJournal(AccountKey),
    /// `lease.v1.account.<account>`: instance that is the account leader.
    AccountLease(AccountKey),
    /// `report.v1.account.<account>`: newest report of the account leader.
    AccountReport(AccountKey),
    /// `lease.v1.member.<account>.<project>.<host>.<instance>`: a trader that shares the books of an account.
    MemberLease {
        /// Account whose books are shared.
        account: AccountKey,
        /// Project and host of the trader.
        host: HostKey,
        /// Instance of the trader.
        instance: SubjectToken,
    },
    /// `presence.v1.trader.<mode>.<project>.<host>.<instance>`: a trader that runs under this name.
    TraderPresence {
        /// Mode of the trader.
        mode: Mode,
        /// Project and host of the trader.
        host: HostKey,
        /// Instance of the trader.
        instance: SubjectToken,
    },
    /// `journal.v1.watchdog.<project>.<host>`: records of the watchdog of a project on a host.
    WatchdogJournal(HostKey),
    /// `lease.v1.watchdog.<project>.<host>`: watchdog that acts.
    WatchdogLease(HostKey),
    /// `command.v1.watchdog.<project>.<host>.<verb>`: unit command, as request and reply.
    WatchdogCommand {
        /// Project and host of the watchdog.
        host: HostKey,
        /// Verb of the command.
        verb: Cow<'static, str>,
    },
    /// `command.v1.notifier.resend`: request and reply.
    NotifierResend,
    /// `journal.v1.notifier.operator`: records of the notifier. A bus has one operator.
    NotifierJournal,
    /// `lease.v1.notifier.operator`: notifier that sends.
    NotifierLease,
}

impl Subject {
    /// Parses a subject; `None` if it is not one of this grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(".v1.")?;
        if kind == "heartbeat" {
            return rest.parse().ok().map(Self::Heartbeat);
        }
        if kind == "trade" {
            return rest.parse().ok().map(Self::ClosedTrade);
        }
        if kind == "event" {
            return parse_event(rest);
        }
        let (space, key) = rest.split_once('.')?;
        match (kind, space) {
            ("journal", "book") => key.parse().ok().map(Self::BookJournal),
            ("lease", "book") => key.parse().ok().map(Self::BookLease),
            ("snapshot", "book") => key.parse().ok().map(Self::BookSnapshot),
            ("report", "book") => key.parse().ok().map(Self::BookReport),
            ("report", "equity") => key.parse().ok().map(Self::BookEquity),
            ("journal", "account") => key.parse().ok().map(Self::AccountJournal),
            ("journal", "account_command") => key.parse().ok().map(Self::AccountCommandJournal),
            ("lease", "account") => key.parse().ok().map(Self::AccountLease),
            ("report", "account") => key.parse().ok().map(Self::AccountReport),
            ("lease", "member") => parse_member(key),
            ("presence", "trader") => parse_presence(key),
            ("journal", "watchdog") => key.parse().ok().map(Self::WatchdogJournal),
            ("lease", "watchdog") => key.parse().ok().map(Self::WatchdogLease),
            ("command", "watchdog") => {
                let (host, verb) = key.rsplit_once('.')?;
                Some(Self::WatchdogCommand {
                    host: host.parse().ok()?,
                    verb: parse_token(verb)?,
                })
            }
            ("command", "notifier") => (key == "resend").then_some(Self::NotifierResend),
            ("journal", "notifier") => (key == "operator").then_some(Self::NotifierJournal),
            ("lease", "notifier") => (key == "operator").then_some(Self::NotifierLease),
            _ => None,
        }
    }
}

/// Parses `<process>.<severity>.<kind>`; `None` if the text has another form.
fn parse_event(text: &str) -> Option<Subject> {
    let (rest, kind) = text.rsplit_once('.')?;
    let (process, severity) = rest.rsplit_once('.')?;
    Some(Subject::Event {
        process: process.parse().ok()?,
        severity: Severity::ALL.into_iter().find(|s| s.as_str() == severity)?,
        kind: parse_token(kind)?,
    })
}

/// Parses `<account>.<project>.<host>.<instance>`; `None` if the text has another form.
fn parse_member(text: &str) -> Option<Subject> {
    let (rest, instance) = text.rsplit_once('.')?;
    let (rest, host) = rest.rsplit_once('.')?;
    let (account, project) = rest.rsplit_once('.')?;
    Some(Subject::MemberLease {
        account: account.parse().ok()?,
        host: HostKey {
            project: project.parse().ok()?,
            host: host.parse().ok()?,
        },
        instance: instance.parse().ok()?,
    })
}

/// Parses `<mode>.<project>.<host>.<instance>`; `None` if the text has another form.
fn parse_presence(text: &str) -> Option<Subject> {
    let (mode, rest) = text.split_once('.')?;
    let (host, instance) = rest.rsplit_once('.')?;
    Some(Subject::TraderPresence {
        mode: Mode::ALL.into_iter().find(|known| known.as_str() == mode)?,
        host: host.parse().ok()?,
        instance: instance.parse().ok()?,
    })
}

fn parse_token(text: &str) -> Option<Cow<'static, str>> {
    let token: SubjectToken = text.parse().ok()?;
    Some(Cow::Owned(token.into()))
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat(process) => write!(f, "heartbeat.v1.{process}"),
            Self::Event {
                process,
                severity,
                kind,
            } => write!(f, "event.v1.{process}.{severity}.{kind}"),
            Self::BookJournal(book) => write!(f, "journal.v1.book.{book}"),
            Self::BookLease(book) => write!(f, "lease.v1.book.{book}"),
            Self::BookSnapshot(book) => write!(f, "snapshot.v1.book.{book}"),
            Self::BookReport(book) => write!(f, "report.v1.book.{book}"),
            Self::BookEquity(book) => write!(f, "report.v1.equity.{book}"),
            Self::ClosedTrade(book) => write!(f, "trade.v1.{book}"),
            Self::AccountJournal(account) => write!(f, "journal.v1.account.{account}"),
            Self::AccountCommandJournal(account) => {
                write!(f, "journal.v1.account_command.{account}")
            }
            Self::AccountLease(account) => write!(f, "lease.v1.account.{account}"),
            Self::AccountReport(account) => write!(f, "report.v1.account.{account}"),
            Self::MemberLease {
                account,
                host,
                instance,
            } => write!(f, "lease.v1.member.{account}.{host}.{instance}"),
            Self::TraderPresence {
                mode,
                host,
                instance,
            } => write!(f, "presence.v1.trader.{mode}.{host}.{instance}"),
            Self::WatchdogJournal(host) => write!(f, "journal.v1.watchdog.{host}"),
            Self::WatchdogLease(host) => write!(f, "lease.v1.watchdog.{host}"),
            Self::WatchdogCommand { host, verb } => write!(f, "command.v1.watchdog.{host}.{verb}"),
            Self::NotifierResend => f.write_str("command.v1.notifier.resend"),
            Self::NotifierJournal => f.write_str("journal.v1.notifier.operator"),
            Self::NotifierLease => f.write_str("lease.v1.notifier.operator"),
        }
    }
}

/// Filters that match several subjects.
pub mod filter {
    use crate::ids::{AccountKey, HostKey, Mode};

    /// Journals of all books of an account.
    pub fn account_book_journals(account: &AccountKey) -> String {
        format!("journal.v1.book.{account}.*")
    }

    /// Leases of all traders that share the books of an account.
    pub fn member_leases(account: &AccountKey) -> String {
        format!("lease.v1.member.{account}.*.*.*")
    }

    /// Heartbeats of all traders.
    pub const TRADER_HEARTBEATS: &str = "heartbeat.v1.trader.>";

    /// Heartbeats of the traders of one mode of one project on one host. No filter for both modes: the bus imports
    /// each from its account, and a filter must lie within one import.
    pub fn host_trader_heartbeats(mode: Mode, host: &HostKey) -> String {
        format!("heartbeat.v1.trader.{mode}.{host}.*")
    }

    /// Events of all processes.
    pub const EVENTS: &str = "event.v1.>";

    /// Heartbeats of all notifiers.
    pub const NOTIFIER_HEARTBEATS: &str = "heartbeat.v1.notifier.>";

    /// Heartbeats of all watchdogs.
    pub const WATCHDOG_HEARTBEATS: &str = "heartbeat.v1.watchdog.>";

    /// Journals of all watchdogs.
    pub const WATCHDOG_JOURNALS: &str = "journal.v1.watchdog.*.*";

    /// Unit commands of every verb to the watchdog of one project on one host.
    pub fn watchdog_commands(host: &HostKey) -> String {
        format!("command.v1.watchdog.{host}.*")
    }

    /// Journals of all accounts of a mode.
    pub fn account_journals(mode: Mode) -> String {
        format!("journal.v1.account.{mode}.>")
    }

    /// Newest reports of all books of a mode.
    pub fn book_reports(mode: Mode) -> String {
        format!("report.v1.book.{mode}.>")
    }

    /// Newest reports of all books of an account.
    pub fn account_book_reports(account: &AccountKey) -> String {
        format!("report.v1.book.{account}.*")
    }

    /// Command journals of all accounts.
    pub const ACCOUNT_COMMAND_JOURNALS: &str = "journal.v1.account_command.>";

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
    use crate::ids::{Mode, ProcessRole};

    fn account() -> AccountKey {
        AccountKey {
            mode: Mode::Paper,
            venue: "binance-usdm".parse().unwrap(),
            account: "a1b2".parse().unwrap(),
        }
    }

    fn book() -> BookKey {
        account().book("BTCUSDT".parse().unwrap())
    }

    fn host() -> HostKey {
        "bearish-alpha.local".parse().unwrap()
    }

    /// Every variant with its text. A new variant does not compile without an arm in [`assert_listed`].
    fn subjects() -> Vec<(Subject, &'static str)> {
        let mut subjects = process_subjects();
        subjects.extend(book_and_account_subjects());
        for (subject, _) in &subjects {
            assert_listed(subject);
        }
        subjects
    }

    fn process_subjects() -> Vec<(Subject, &'static str)> {
        let instance: SubjectToken = "trader-paper-1".parse().unwrap();
        let process = host().process(ProcessRole::Trader(Mode::Paper), instance.clone());
        vec![
            (
                Subject::Heartbeat(process.clone()),
                "heartbeat.v1.trader.paper.bearish-alpha.local.trader-paper-1",
            ),
            (
                Subject::Event {
                    process,
                    severity: Severity::Info,
                    kind: "trader_started".into(),
                },
                "event.v1.trader.paper.bearish-alpha.local.trader-paper-1.info.trader_started",
            ),
            (
                Subject::MemberLease {
                    account: account(),
                    host: host(),
                    instance: instance.clone(),
                },
                "lease.v1.member.paper.binance-usdm.a1b2.bearish-alpha.local.trader-paper-1",
            ),
            (
                Subject::TraderPresence {
                    mode: Mode::Paper,
                    host: host(),
                    instance,
                },
                "presence.v1.trader.paper.bearish-alpha.local.trader-paper-1",
            ),
            (
                Subject::WatchdogJournal(host()),
                "journal.v1.watchdog.bearish-alpha.local",
            ),
            (
                Subject::WatchdogLease(host()),
                "lease.v1.watchdog.bearish-alpha.local",
            ),
            (
                Subject::WatchdogCommand {
                    host: host(),
                    verb: "release".into(),
                },
                "command.v1.watchdog.bearish-alpha.local.release",
            ),
            (Subject::NotifierResend, "command.v1.notifier.resend"),
            (Subject::NotifierJournal, "journal.v1.notifier.operator"),
            (Subject::NotifierLease, "lease.v1.notifier.operator"),
        ]
    }

    fn book_and_account_subjects() -> Vec<(Subject, &'static str)> {
        vec![
            (
                Subject::BookJournal(book()),
                "journal.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookLease(book()),
                "lease.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookSnapshot(book()),
                "snapshot.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookReport(book()),
                "report.v1.book.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::BookEquity(book()),
                "report.v1.equity.paper.binance-usdm.a1b2.BTCUSDT",
            ),
            (
                Subject::ClosedTrade(book()),
                "trade.v1.paper.binance-usdm.a1b2.BTCUSDT",
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
        ]
    }

    const fn assert_listed(subject: &Subject) {
        match subject {
            Subject::Heartbeat(_)
            | Subject::TraderPresence { .. }
            | Subject::Event { .. }
            | Subject::BookJournal(_)
            | Subject::BookLease(_)
            | Subject::BookSnapshot(_)
            | Subject::BookReport(_)
            | Subject::BookEquity(_)
            | Subject::ClosedTrade(_)
            | Subject::AccountJournal(_)
            | Subject::AccountCommandJournal(_)
            | Subject::AccountLease(_)
            | Subject::AccountReport(_)
            | Subject::MemberLease { .. }
            | Subject::WatchdogJournal(_)
            | Subject::WatchdogLease(_)
            | Subject::WatchdogCommand { .. }
            | Subject::NotifierResend
            | Subject::NotifierJournal
            | Subject::NotifierLease => {}
        }
    }

    #[test]
    fn subjects_are_written_as_documented_and_parsed_back() {
        for (subject, text) in subjects() {
            assert_eq!(subject.to_string(), text);
            assert_eq!(Subject::parse(text), Some(subject), "{text}");
        }
    }

    #[test]
    fn subject_outside_the_grammar_is_not_parsed() {
        for (_, text) in subjects() {
            let (shortened, _) = text.rsplit_once('.').unwrap();
            assert_eq!(Subject::parse(shortened), None, "{shortened}");
            let extended = format!("{text}.x");
            assert_eq!(Subject::parse(&extended), None, "{extended}");
        }
        for text in [
            "",
            "heartbeat.v2.trader.paper.p.h.i",
            "heartbeat.v1.trader.p.h.i",
            "heartbeat.v1.broker.p.h.i",
            "event.v1.trader.paper.p.h.i.loud.trader_started",
            "journal.v1.book.demo.v.a.S",
        ] {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
    }
}
