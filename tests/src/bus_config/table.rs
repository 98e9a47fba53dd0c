//! The table: each role and its rights.

use protocol::ids::Mode;
use runtime::streams::{EQUITY, EVENTS, HEARTBEATS, JOURNAL, LEASES, REPORTS, SNAPSHOTS};

use super::rights::{RoleRights, STREAM_NAMES};

/// Every role but `bus-init`, which alone may create and update streams.
pub fn roles() -> Vec<RoleRights> {
    vec![
        trader(Mode::Paper),
        trader(Mode::Live),
        watchdog(),
        notifier(),
        operator(),
    ]
}

fn texts<const N: usize>(subjects: [&str; N]) -> Vec<String> {
    subjects.map(str::to_owned).to_vec()
}

fn filters<const N: usize>(list: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    list.map(|(stream, filter)| (stream, filter.to_owned()))
        .to_vec()
}

/// Replaces `@` by the mode.
fn of_mode(mode: Mode, subject: &str) -> String {
    subject.replace('@', mode.as_str())
}

fn trader(mode: Mode) -> RoleRights {
    let (user, account, presence) = match mode {
        Mode::Paper => ("trader-paper", "TRADER_PAPER", "presence.v1.trader.paper.>"),
        Mode::Live => ("trader-live", "TRADER_LIVE", "presence.v1.trader.live.>"),
    };
    let stores = [
        "heartbeat.v1.trader.@.>",
        "event.v1.trader.@.>",
        "report.v1.book.@.>",
        "report.v1.equity.@.>",
        "report.v1.account.@.>",
        "trade.v1.@.>",
        "journal.v1.book.@.>",
        "journal.v1.account.@.>",
        "journal.v1.account_command.@.>",
        "snapshot.v1.book.@.>",
        "lease.v1.book.@.>",
        "lease.v1.account.@.>",
        "lease.v1.member.@.>",
    ];
    let reads = [
        (JOURNAL, "journal.v1.book.@.>"),
        (JOURNAL, "journal.v1.account.@.>"),
        (JOURNAL, "journal.v1.account_command.@.>"),
        (REPORTS, "report.v1.book.@.>"),
        (REPORTS, "report.v1.account.@.>"),
        (SNAPSHOTS, "snapshot.v1.book.@.>"),
        (LEASES, "lease.v1.book.@.>"),
        (LEASES, "lease.v1.account.@.>"),
        (LEASES, "lease.v1.member.@.>"),
        (HEARTBEATS, "heartbeat.v1.trader.@.>"),
        (HEARTBEATS, "heartbeat.v1.notifier.>"),
    ];
    let replays = [
        (JOURNAL, "journal.v1.book.@.>"),
        (JOURNAL, "journal.v1.account.@.>"),
        (JOURNAL, "journal.v1.account_command.@.>"),
        (REPORTS, "report.v1.book.@.>"),
        (REPORTS, "report.v1.account.@.>"),
        (SNAPSHOTS, "snapshot.v1.book.@.>"),
        (LEASES, "lease.v1.book.@.>"),
        (LEASES, "lease.v1.member.@.>"),
    ];
    let with_mode = |(stream, filter): (&'static str, &str)| (stream, of_mode(mode, filter));
    RoleRights {
        user,
        account,
        purpose: "A trader of one mode: it writes and reads what belongs to its mode.",
        stores: stores.map(|subject| of_mode(mode, subject)).to_vec(),
        reads: reads.map(with_mode).to_vec(),
        replays: replays.map(with_mode).to_vec(),
        durable: None,
        requests: Vec::new(),
        answers: Vec::new(),
        receives: Vec::new(),
        // Traders answer each other, so that a second one under a name ends.
        own: vec![presence],
        inspects_streams: false,
        max_connections: 256,
    }
}

fn watchdog() -> RoleRights {
    RoleRights {
        user: "watchdog",
        account: "WATCHDOG",
        purpose: "The watchdogs: they receive the heartbeats of traders and answer unit commands, each once.",
        stores: texts([
            "heartbeat.v1.watchdog.>",
            "event.v1.watchdog.>",
            "journal.v1.watchdog.>",
            "lease.v1.watchdog.>",
        ]),
        reads: filters([
            (JOURNAL, "journal.v1.watchdog.>"),
            (JOURNAL, "journal.v1.account_command.>"),
            (HEARTBEATS, "heartbeat.v1.trader.>"),
            (REPORTS, "report.v1.account.>"),
            (LEASES, "lease.v1.watchdog.>"),
        ]),
        replays: filters([
            (JOURNAL, "journal.v1.watchdog.>"),
            (JOURNAL, "journal.v1.account_command.>"),
            (REPORTS, "report.v1.account.>"),
        ]),
        durable: None,
        requests: Vec::new(),
        answers: vec!["command.v1.watchdog.>"],
        // What came in by a service import does not leave by a stream export: from the accounts that publish.
        receives: vec![
            ("TRADER_PAPER", "heartbeat.v1.trader.paper.>"),
            ("TRADER_LIVE", "heartbeat.v1.trader.live.>"),
        ],
        // Its own inbox shows whether the bus delivers.
        own: vec!["heartbeat.v1.watchdog.>", "_INBOX_watchdog.>"],
        inspects_streams: false,
        max_connections: 64,
    }
}

fn notifier() -> RoleRights {
    RoleRights {
        user: "notifier",
        account: "NOTIFIER",
        purpose: "The notifier: it receives all events and forwards the operator's commands.",
        stores: texts([
            "heartbeat.v1.notifier.>",
            "event.v1.notifier.>",
            "journal.v1.account_command.*.*.*",
            "journal.v1.notifier.>",
            "lease.v1.notifier.>",
        ]),
        reads: filters([
            (JOURNAL, "journal.v1.notifier.>"),
            (JOURNAL, "journal.v1.account_command.>"),
            (REPORTS, "report.v1.book.>"),
            (REPORTS, "report.v1.account.>"),
            (EQUITY, "report.v1.equity.>"),
            (LEASES, "lease.v1.notifier.>"),
            (HEARTBEATS, "heartbeat.v1.trader.>"),
            (HEARTBEATS, "heartbeat.v1.watchdog.>"),
        ]),
        replays: filters([
            (JOURNAL, "journal.v1.notifier.>"),
            (JOURNAL, "journal.v1.account_command.>"),
            (EQUITY, "report.v1.equity.>"),
        ]),
        durable: Some((EVENTS, "notifier", "event.v1.>")),
        requests: vec![("WATCHDOG", "command.v1.watchdog.*.*.*")],
        answers: vec!["command.v1.notifier.resend"],
        receives: Vec::new(),
        own: Vec::new(),
        inspects_streams: false,
        max_connections: 64,
    }
}

fn operator() -> RoleRights {
    let whole = |stream| (stream, ">".to_owned());
    RoleRights {
        user: "operator",
        account: "OPERATOR",
        purpose: "Commands that only read, such as `trader status`.",
        stores: Vec::new(),
        reads: STREAM_NAMES.map(whole).to_vec(),
        // Not of EVENTS: a consumer there could take events from the notifier.
        replays: STREAM_NAMES
            .into_iter()
            .filter(|stream| *stream != EVENTS)
            .map(whole)
            .collect(),
        durable: None,
        requests: Vec::new(),
        answers: Vec::new(),
        receives: Vec::new(),
        own: Vec::new(),
        inspects_streams: true,
        max_connections: 64,
    }
}
