//! The notification of every kind of event, compared with a committed text.

use bearish_notifier_core::command_hints::CommandHints;
use bearish_notifier_core::command_parser::{ParsedText, parse};
use bearish_notifier_core::event_intake::IncomingEvent;
use bearish_notifier_core::notification::{MESSAGE_LIMIT, utf16_length};
use bearish_notifier_core::preview;
use protocol::event::{Event, EventBody, Severity};
use protocol::event_samples;
use protocol::ids::Service;
use protocol::unit_remedy::UnitRemedy;

use crate::support::{AUDIENCE, BEGIN};

#[test]
fn message_text_of_every_kind_matches_the_golden_catalogue() {
    let found = preview::catalogue().unwrap();
    let expected = include_str!("golden/catalogue.txt");
    assert_eq!(found, expected, "--- found:\n{found}");
}

fn restart(attempt: u32) -> String {
    let body = EventBody::UnitRestartScheduled {
        unit: "trader-paper-1".parse().unwrap(),
        attempt,
        max_restarts: 1000,
        reason: "Connection timeout".to_owned(),
        consecutive_failures: 2,
        uptime_ms: 9_000_000,
        delay_ms: 60_000,
        exit_code: Some(70),
        last_error: None,
    };
    preview::render_event(Event::new("x", BEGIN, body)).unwrap()
}

#[test]
fn restart_message_has_the_specified_fields() {
    let text = restart(3);
    let specified = "🔄 AUTO-RESTART TRIGGERED: PAPER trader-paper-1\nAttempt: 3/1000\n\
                     Reason: Connection timeout\nConsecutive Failures: 2\nUptime: 2.5h\nNext restart in: 60s\n";
    let text = text.strip_prefix("warning: ").unwrap();
    assert!(text.starts_with(specified), "{text}");
    let uncounted = restart(0);
    assert!(
        uncounted.contains("\nAttempt: not counted\n"),
        "{uncounted}"
    );
}

#[test]
fn book_acquired_message_names_the_instance_also_if_another_reports_it() {
    let acquired = |by: Option<&str>| {
        let body = EventBody::BookAcquired {
            book: "paper.binance-usdm.exchange-sim-8080.BTCUSDT"
                .parse()
                .unwrap(),
            instance: by.map(|by| by.parse().unwrap()),
            previous: None,
            config_changes: Vec::new(),
        };
        preview::render_event(Event::new("x", BEGIN, body)).unwrap()
    };
    assert!(acquired(Some("trader-paper-2")).contains("\nTrader: trader-paper-2\n"));
    assert!(acquired(None).contains("\nTrader: trader-paper-1\n"));
}

/// Every remedy, and the action that the message names.
fn remedies() -> [(UnitRemedy, &'static str); 7] {
    let latch = "daily_loss-7".to_owned();
    let account = "live.binance-usdm.a1b2".parse().unwrap();
    [
        (
            UnitRemedy::Start,
            "send /start trader-live-1 or run: scripts/bearish start trader-live-1",
        ),
        (
            UnitRemedy::Restart,
            "send /restart trader-live-1 or run: scripts/bearish restart trader-live-1",
        ),
        (
            UnitRemedy::Release {
                reset_restarts: false,
            },
            "send /release trader-live-1 or run: scripts/bearish release trader-live-1",
        ),
        (
            UnitRemedy::Release {
                reset_restarts: true,
            },
            "send /release trader-live-1 reset-restarts or run: scripts/bearish release trader-live-1 --reset-restarts",
        ),
        (
            UnitRemedy::Unlatch { account, latch },
            "send /unlatch daily_loss-7 or run: scripts/bearish unlatch --latch daily_loss-7 --reason TEXT --live; the \
             watchdog then starts the trader",
        ),
        (
            UnitRemedy::FindLatch,
            "end the latch of its account; /status or: scripts/bearish status names it; the watchdog then starts the \
             trader",
        ),
        (
            UnitRemedy::Reconfigure,
            "correct the setting that the reason names in .env, then run: scripts/up",
        ),
    ]
}

#[test]
fn message_of_a_unit_that_stays_down_names_the_command_that_brings_it_back() {
    for (remedy, action) in remedies() {
        let quarantined = EventBody::UnitQuarantined {
            unit: "trader-live-1".parse().unwrap(),
            reason: "all 24 restarts are used".to_owned(),
            restarts: 24,
            consecutive_failures: 0,
            exit_code: Some(70),
            remedy: remedy.clone(),
        };
        let skipped = EventBody::UnitRestartSkipped {
            unit: "trader-live-1".parse().unwrap(),
            reason: "exit 70".to_owned(),
            remedy,
        };
        for body in [quarantined, skipped] {
            let text = preview::render_event(Event::new("x", BEGIN, body)).unwrap();
            let last = text.lines().last().unwrap();
            assert!(
                last.starts_with("Action: ") && last.ends_with(action),
                "{text}"
            );
        }
    }
}

#[test]
fn telegram_command_in_a_message_is_parsed_as_a_command() {
    let mut texts: Vec<String> = preview::samples()
        .unwrap()
        .into_iter()
        .flatten()
        .map(|notification| notification.body)
        .collect();
    texts.extend(remedies().map(|(_, action)| action.to_owned()));
    let mut commands = 0;
    for text in &texts {
        for verb in ["send /", "with /", "then /", "; /"] {
            for rest in text.split(verb).skip(1) {
                let command = format!("/{}", rest.split(" or").next().unwrap());
                let parsed = parse(&command, None);
                assert!(
                    matches!(parsed, ParsedText::Command(_)),
                    "{command}: {parsed:?}"
                );
                commands += 1;
            }
        }
    }
    assert!(commands > 15, "{commands}");
}

#[test]
fn unknown_event_is_sent_as_received_and_split_if_long() {
    let incoming = IncomingEvent::Unknown {
        id: "e9".to_owned(),
        at: BEGIN,
        severity: Severity::Critical,
        subject: "event.v1.trader.trader-paper-1.critical.moon_landed".to_owned(),
        payload: "{}\n".repeat(5_000),
    };
    let parts = incoming.notifications(AUDIENCE.hints);
    assert!(parts.len() > 1);
    for part in &parts {
        assert_eq!(part.severity, Severity::Critical);
        assert!(utf16_length(&part.title) + utf16_length(&part.body) < MESSAGE_LIMIT);
    }
    assert!(parts[0].body.contains("moon_landed"));
}

#[test]
fn notification_of_every_kind_has_a_text_and_names_only_allowed_commands() {
    for event in event_samples::events().unwrap() {
        let kind = event.body.kind();
        let incoming = IncomingEvent::Known {
            service: Service::Trader,
            instance: "trader-live-1".parse().unwrap(),
            event,
        };
        let [with, without] = [true, false].map(|telegram| {
            let hints = CommandHints { telegram };
            incoming.notifications(hints).swap_remove(0)
        });
        assert_ne!(with.title, kind, "no text");
        for body in [&with.body, &without.body] {
            assert!(!body.contains("(`"), "{kind}: {body}");
        }
        let commands = ["send /", "with /"];
        let names_telegram = commands.iter().any(|text| without.body.contains(text));
        assert!(!names_telegram, "{kind}: {}", without.body);
        assert!(
            with.title.contains("LIVE")
                || with.title.contains("PAPER")
                || kind.starts_with("service_")
                || kind.starts_with("watchdog_")
                || kind.starts_with("operator_")
                || kind.starts_with("unauthorized_"),
            "{kind}: {}",
            with.title
        );
    }
}

#[test]
fn emergency_stop_claims_nothing_that_has_not_happened() {
    let latched = |by: Option<&str>| {
        let body = EventBody::AccountLatched {
            account: "live.binance-usdm.a1b2".parse().unwrap(),
            latch_id: "daily_loss-1".to_owned(),
            trigger: "daily_loss".to_owned(),
            equity: 9_500.into(),
            peak: 10_000.into(),
            positions: Vec::new(),
            by: by.map(str::to_owned),
            reason: by.map(|_| "news".to_owned()),
        };
        preview::render_event(Event::new("x", BEGIN, body)).unwrap()
    };
    let text = latched(None);
    assert!(
        text.starts_with("critical: 🛑 EMERGENCY STOP: LIVE\n"),
        "{text}"
    );
    assert!(text.contains("\nOpen positions: no position is open\n"));
    assert!(text.contains(
        "send /unlatch daily_loss-1 or run: scripts/bearish unlatch --latch daily_loss-1"
    ));
    assert!(
        !text.contains("closed;") && text.contains("(-5.0 %)"),
        "{text}"
    );
    assert!(
        latched(Some("operator"))
            .starts_with("critical: 🛑 FLATTEN: LIVE\nBy: operator\nReason: news\n")
    );
}
