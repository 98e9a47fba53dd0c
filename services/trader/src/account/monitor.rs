//! The last known state of the account, and how old it is. Books ask [`AccountMonitor::entry_permission`]
//! before they enter; a latch makes them close what is open.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::report::{AccountReport, PauseReport};
use runtime::clock;
use tokio::sync::watch;
use tokio::time::timeout;
use trader_core::book::EntryPermission;

/// A report older than this permits no entry.
const MAX_REPORT_AGE: Duration = Duration::from_mins(1);
/// How long a starting book waits for the first report.
const FIRST_REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The newest report of the account leader, and when it arrived here. Wall clocks of two hosts are never
/// compared, except for the first report.
#[derive(Debug, Clone)]
pub struct AccountStatus {
    /// Sequence of the report in the stream REPORTS.
    seq: u64,
    /// Content of the report.
    pub report: AccountReport,
    received_at: Instant,
    /// Sequence of the newest command that this process knows of.
    last_command_seq: u64,
}

impl AccountStatus {
    fn entry_permission(&self, symbol: &SubjectToken, now: Instant) -> EntryPermission {
        if self.report.latch.is_some() {
            return EntryPermission::Latched;
        }
        if !self.is_known(now) {
            return EntryPermission::Unknown;
        }
        let pauses = |pause: &PauseReport| pause.symbol.as_ref().is_none_or(|s| s == symbol);
        if self.report.pauses.iter().any(pauses) {
            return EntryPermission::Paused;
        }
        if self.report.difference_id.is_some() {
            return EntryPermission::BalanceDiffers;
        }
        EntryPermission::Allowed {
            seq: self.report.seq,
        }
    }

    fn is_known(&self, now: Instant) -> bool {
        self.report.unvalued_books.is_empty()
            && self.report.command_seq >= self.last_command_seq
            && now.duration_since(self.received_at) <= MAX_REPORT_AGE
    }
}

/// Answers whether a book may enter. Shared by all tasks of the process.
#[derive(Debug)]
pub struct AccountMonitor {
    status: watch::Sender<Option<AccountStatus>>,
    /// The latch with which this process started, only to close what is open.
    initial_latch: OnceLock<String>,
}

impl Default for AccountMonitor {
    fn default() -> Self {
        Self {
            status: watch::Sender::new(None),
            initial_latch: OnceLock::new(),
        }
    }
}

impl AccountMonitor {
    /// Makes this process close positions only, whatever later reports say.
    pub fn start_with_latch(&self, latch: &str) {
        let _ = self.initial_latch.set(latch.to_owned());
    }

    /// Whether this symbol's book may enter now.
    pub fn entry_permission(&self, symbol: &SubjectToken) -> EntryPermission {
        if self.initial_latch.get().is_some() {
            return EntryPermission::Latched;
        }
        let status = self.status.borrow();
        let now = Instant::now();
        status.as_ref().map_or(EntryPermission::Unknown, |s| {
            s.entry_permission(symbol, now)
        })
    }

    /// Id of the account's latch, as far as this process knows.
    pub(super) fn latch(&self) -> Option<String> {
        let reported = self.status().and_then(|s| s.report.latch);
        reported
            .map(|l| l.latch_id)
            .or_else(|| self.initial_latch.get().cloned())
    }

    /// Whether the newest report has a latch whose positions are all closed.
    pub(super) fn is_latched_and_flat(&self) -> bool {
        let latch = self.status().and_then(|status| status.report.latch);
        latch.is_some_and(|latch| latch.is_flat)
    }

    /// The newest report; `None` before the first.
    pub fn status(&self) -> Option<AccountStatus> {
        self.status.borrow().clone()
    }

    /// Whether the account is latched, as far as this process knows.
    pub fn is_latched(&self) -> bool {
        self.latch().is_some()
    }

    /// Waits until the account is latched.
    pub async fn wait_until_latched(&self) {
        if self.initial_latch.get().is_some() {
            return;
        }
        let mut status = self.status.subscribe();
        let latched =
            |s: &Option<AccountStatus>| s.as_ref().is_some_and(|s| s.report.latch.is_some());
        if status.wait_for(latched).await.is_err() {
            // Unreachable: `self` owns the sender.
            std::future::pending::<()>().await;
        }
    }

    /// Stores a report. Reading the same report again does not make it fresher. The age of the first report
    /// is taken from the wall clock, because its leader may have died long ago. `command_seq` is the sequence
    /// of the newest command that this process knows of.
    pub(super) fn update_report(&self, seq: u64, report: AccountReport, command_seq: u64) {
        self.status.send_if_modified(|status| {
            let known = status.as_ref().map(|s| s.seq);
            let command_seq = status
                .as_ref()
                .map_or(command_seq, |s| s.last_command_seq.max(command_seq));
            if known.is_some_and(|known| known >= seq) {
                return false;
            }
            let now = Instant::now();
            let age = clock::now().since(report.at);
            let received_at = match known {
                None => now.checked_sub(age).unwrap_or(now),
                Some(_) => now,
            };
            *status = Some(AccountStatus {
                seq,
                report,
                received_at,
                last_command_seq: command_seq,
            });
            true
        });
    }

    /// Notes that a command of this sequence exists. A report made before that command permits no entry,
    /// because the command may be a pause or a flatten.
    pub(super) fn note_command_seq(&self, command_seq: u64) {
        self.status.send_if_modified(|status| {
            let outdated = status.as_mut().filter(|s| s.last_command_seq < command_seq);
            outdated
                .map(|status| status.last_command_seq = command_seq)
                .is_some()
        });
    }

    /// Waits up to 5 s for a usable report. Without one, entries stay blocked.
    pub async fn wait_until_known(&self) {
        if self.initial_latch.get().is_some() {
            return;
        }
        let mut status = self.status.subscribe();
        let now = Instant::now();
        let known = |s: &Option<AccountStatus>| {
            let latched_or_known = |s: &AccountStatus| s.report.latch.is_some() || s.is_known(now);
            s.as_ref().is_some_and(latched_or_known)
        };
        if timeout(FIRST_REPORT_TIMEOUT, status.wait_for(known))
            .await
            .is_err()
        {
            tracing::warn!("no account report yet; entries are blocked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::report::LatchReport;
    use protocol::time::UtcMs;
    use rust_decimal::Decimal;

    fn report() -> AccountReport {
        AccountReport {
            v: 1,
            at: clock::now(),
            instance: "trader-paper-1".parse().unwrap(),
            seq: 9,
            equity: Decimal::ONE,
            peak: Decimal::ONE,
            day_peak: Decimal::ONE,
            latch: None,
            unvalued_books: Vec::new(),
            command_seq: 5,
            pauses: Vec::new(),
            balance: None,
            difference_id: None,
        }
    }

    fn symbol(name: &str) -> SubjectToken {
        name.parse().unwrap()
    }

    #[test]
    fn entry_permission_needs_a_fresh_report_without_latch() {
        let now = Instant::now();
        let status = |report| AccountStatus {
            seq: 1,
            report,
            received_at: now,
            last_command_seq: 5,
        };
        let good = status(report());
        assert_eq!(
            good.entry_permission(&symbol("BTCUSDT"), now + MAX_REPORT_AGE),
            EntryPermission::Allowed { seq: 9 }
        );
        let late = now + MAX_REPORT_AGE + Duration::from_millis(1);
        assert_eq!(
            good.entry_permission(&symbol("BTCUSDT"), late),
            EntryPermission::Unknown
        );
        let unknown = status(AccountReport {
            unvalued_books: vec!["BTCUSDT".parse().unwrap()],
            ..report()
        });
        assert_eq!(
            unknown.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::Unknown
        );
        let latched = status(AccountReport {
            latch: Some(LatchReport {
                latch_id: "drawdown-1".to_owned(),
                trigger: "drawdown".to_owned(),
                at: UtcMs(1),
                is_flat: false,
            }),
            ..report()
        });
        assert_eq!(
            latched.entry_permission(&symbol("BTCUSDT"), late),
            EntryPermission::Latched,
            "however old"
        );
        let outdated = status(AccountReport {
            command_seq: 4,
            ..report()
        });
        assert_eq!(
            outdated.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::Unknown
        );
        let paused = status(AccountReport {
            pauses: vec![PauseReport {
                symbol: Some(symbol("BTCUSDT")),
                by: "operator".to_owned(),
                reason: "a test".to_owned(),
            }],
            ..report()
        });
        assert_eq!(
            paused.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::Paused
        );
        let differing = status(AccountReport {
            difference_id: Some("balance-1".to_owned()),
            ..report()
        });
        assert_eq!(
            differing.entry_permission(&symbol("BTCUSDT"), now),
            EntryPermission::BalanceDiffers
        );
        let other = paused.entry_permission(&symbol("ETHUSDT"), now);
        assert_eq!(other, EntryPermission::Allowed { seq: 9 });
        assert_eq!(
            AccountMonitor::default().entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Unknown
        );
    }

    #[tokio::test]
    async fn monitor_started_with_a_latch_denies_entries_despite_later_reports() {
        let monitor = AccountMonitor::default();
        monitor.start_with_latch("operator-1");
        monitor.update_report(4, report(), 5);
        assert_eq!(
            monitor.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Latched
        );
        assert_eq!(monitor.latch().as_deref(), Some("operator-1"));
        timeout(Duration::from_secs(1), monitor.wait_until_latched())
            .await
            .unwrap();
    }

    #[test]
    fn report_that_is_read_twice_is_no_fresher() {
        let monitor = AccountMonitor::default();
        let old = AccountReport {
            at: UtcMs(0),
            ..report()
        };
        monitor.update_report(4, old.clone(), 5);
        assert_eq!(
            monitor.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Unknown,
            "its leader may be dead"
        );
        monitor.update_report(5, old, 5);
        assert_eq!(
            monitor.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Allowed { seq: 9 },
            "a second report proves that the leader is alive"
        );
        let monitor = AccountMonitor::default();
        monitor.update_report(5, report(), 5);
        assert_eq!(
            monitor.entry_permission(&symbol("BTCUSDT")),
            EntryPermission::Allowed { seq: 9 }
        );
        let first = monitor.status().unwrap().received_at;
        monitor.update_report(5, report(), 5);
        assert_eq!(monitor.status().unwrap().received_at, first);
        monitor.update_report(6, report(), 5);
        assert!(monitor.status().unwrap().received_at >= first);
        assert_eq!(monitor.status().unwrap().seq, 6);
    }
}
