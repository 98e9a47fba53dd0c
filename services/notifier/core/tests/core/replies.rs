//! Text of replies to commands.

use bearish_notifier_core::command_parser::VERBS;
use bearish_notifier_core::notification::Notification;
use bearish_notifier_core::replies::{
    accounts, equity_curve, help, logs, performance, positions, status,
};
use bearish_notifier_core::send_limiter::SendLimits;
use protocol::command::{UnitHold, UnitStatus};
use protocol::event::Severity;
use protocol::report::{AccountReport, BookReport, EquityPoint};
use protocol::time::UtcMs;

use crate::support::{World, info_event};

const NOW: UtcMs = UtcMs(1_764_000_000_123);

fn book() -> BookReport {
    serde_json::from_str(include_str!(
        "../../../../protocol/tests/golden/report_book.json"
    ))
    .unwrap()
}

fn account() -> (protocol::ids::AccountKey, AccountReport) {
    let golden = include_str!("../../../../protocol/tests/golden/report_account.json");
    (
        "paper.binance-usdm.sim".parse().unwrap(),
        serde_json::from_str(golden).unwrap(),
    )
}

#[test]
fn replies_list_books_and_accounts_one_per_line() {
    assert_eq!(
        positions(&[book()], NOW),
        "PAPER BTCUSDT long 0.25 at 40008, now 40025.1: +4.27 USDT, stop 39600, target 40600, oversold-bounce"
    );
    let text = performance(&[book()], &[account()], UtcMs(NOW.0 + 3_600_000));
    assert_eq!(
        text,
        "PAPER BTCUSDT: equity 3340.10 USDT, profit +6.77 USDT, 4 trades, 3 won, profit factor 1.8, Sharpe 1.1, \
         max drawdown 1.20 %, 🚨 HALTED: journal sequence 7: unreadable (as of 1h ago)\n\
         All PAPER books: equity 3340.10 USDT, capital 3333.33 USDT, profit +6.77 USDT (+0.2 %), 4 trades\n\
         PAPER paper.binance-usdm.sim: 9499.99 USDT, 🛑 LATCHED by daily_loss: no entries until /unlatch \
         daily_loss-1764000000000, ⏸️ entries paused: BTCUSDT, no value for ETHUSDT (as of 1h ago)"
    );
    for nothing in [
        positions(&[], NOW),
        performance(&[], &[], NOW),
        accounts(&[], NOW),
    ] {
        assert!(nothing.contains("report received yet"), "{nothing}");
    }
}

#[test]
fn status_reply_uses_heartbeats_if_no_watchdog_answers() {
    let (text, table_lines) = status(
        &Err("No watchdog answers".to_owned()),
        &[],
        &[account()],
        NOW,
    );
    assert!(
        text.starts_with("No watchdog answers; by the newest heartbeats:\n"),
        "{text}"
    );
    assert_eq!(table_lines, 0);
    assert_eq!(
        status(&Ok(Vec::new()), &[], &[], NOW),
        (
            "The watchdog knows no unit yet\nNo account report received yet".to_owned(),
            0
        )
    );
}

#[test]
fn status_reply_has_a_table_of_units_that_fits_a_phone_and_remarks_below() {
    let unit = |name: &str, phase: &str| UnitStatus {
        unit: name.parse().unwrap(),
        phase: phase.to_owned(),
        hold: None,
        since: NOW,
        restarts: 0,
        max_restarts: 1000,
        consecutive_failures: 0,
        next_start_ms: None,
        last_reason: None,
    };
    let failed = UnitStatus {
        restarts: 12,
        consecutive_failures: 2,
        next_start_ms: Some(58_100),
        last_reason: Some("killed by SIGKILL (exit 137)".to_owned()),
        ..unit("trader-paper-10", "restart_pending")
    };
    let held = UnitStatus {
        hold: Some(UnitHold {
            by: "root".to_owned(),
            reason: "upgrade".to_owned(),
        }),
        ..unit("trader-paper-2", "running")
    };
    // The reason of a failure that is over is no news.
    let recovered = UnitStatus {
        restarts: 1,
        last_reason: failed.last_reason.clone(),
        ..unit("trader-live-1", "running")
    };
    let (text, table_lines) = status(&Ok(vec![recovered, failed, held]), &[], &[], NOW);
    assert_eq!(
        text,
        "\
UNIT            STATE           RESTARTS
trader-live-1   running         1/1000
trader-paper-10 restart pending 12/1000
trader-paper-2  running         0/1000
PAPER trader-paper-10: next start in 58.1s, 2 failures in a row, last reason: killed by SIGKILL (exit 137)
PAPER trader-paper-2: on hold by root: upgrade
No account report received yet"
    );
    assert_eq!(table_lines, 4);
    let table = text.lines().take(table_lines);
    assert!(table.map(|line| line.chars().count()).max() <= Some(40));
}

#[test]
fn logs_reply_lists_recent_titles_and_help_lists_every_verb() {
    let mut world = World::new(SendLimits::NONE);
    assert_eq!(logs(&world.state), "No notifications yet");
    for number in 0..40 {
        world.receive(&format!("e{number}"), info_event(number));
    }
    let text = logs(&world.state);
    assert_eq!(text.lines().count(), 31, "{text}");
    assert!(
        text.ends_with(
            "2026-11-24 03:00:00 UTC ✅ COMPONENT RECOVERED: PAPER trader-paper-1 part-39-"
        ),
        "{text}"
    );
    for (verb, ..) in VERBS {
        assert!(help(true).contains(&format!("/{verb}")), "{verb}");
    }
}

fn points(points: &[(i64, i64)]) -> Vec<EquityPoint> {
    let point = |(at, equity): &(i64, i64)| EquityPoint {
        v: 1,
        at: UtcMs(*at),
        equity: (*equity).into(),
    };
    points.iter().map(point).collect()
}

#[test]
fn equity_curve_has_no_step_where_a_book_was_added() {
    let books = [
        points(&[(1, 100), (3, 110), (5, 90)]),
        Vec::new(),
        points(&[(4, 50), (5, 60)]),
    ];
    let found: Vec<(i64, String)> = equity_curve(&books)
        .iter()
        .map(|(at, sum)| (at.0, sum.to_string()))
        .collect();
    let expected = [(1, "150"), (3, "160"), (4, "160"), (5, "150")];
    assert_eq!(found, expected.map(|(at, sum)| (at, sum.to_owned())));
    assert!(equity_curve(&[]).is_empty());
}

#[test]
fn picture_carries_a_short_text_and_follows_a_long_one() {
    let notification = |body: String| Notification {
        at: NOW,
        severity: Severity::Info,
        kind: "summary".to_owned(),
        title: "💓 HEARTBEAT".to_owned(),
        body,
        has_picture: false,
        table_lines: 0,
    };
    let short = notification("all is well".to_owned()).with_picture();
    assert!(short.len() == 1 && short[0].has_picture);
    let long = notification("line\n".repeat(400)).with_picture();
    let pictures: Vec<bool> = long.iter().map(|part| part.has_picture).collect();
    assert_eq!(pictures, [false, true]);
    assert_eq!(long[1].title, "📈 EQUITY");
}
