//! Telegram commands: parsing, permission, confirmation, expiry, and a crash during a command.

use std::collections::BTreeSet;

use bearish_notifier_core::command_intake::{
    CommandIntake, CommandResult, CommandRules, IntakeDecision, Update, UpdateKind,
    finished_records,
};
use bearish_notifier_core::command_parser::{
    ParsedText, SilenceArgs, TelegramCommand, VERBS, parse,
};
use bearish_notifier_core::record::DeliveryRecord;
use bearish_notifier_core::send_limiter::SendLimits;
use protocol::account_command::AccountCommand;
use protocol::command::UnitCommand;
use protocol::event::EventBody;
use protocol::time::UtcMs;

use crate::support::{World, critical_event, info_event};

const OPERATOR: i64 = 7;
/// Chat and number of the message with the buttons.
const BUTTON_MESSAGE: (i64, i64) = (5, 42);
const UNAUTHORIZED: i64 = 8;
const GROUP: i64 = -5;

fn parse_valid(text: &str) -> TelegramCommand {
    match parse(text, Some("bear_bot")) {
        ParsedText::Command(command) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn unit() -> protocol::ids::SubjectToken {
    "trader-1".parse().unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table with one row a command")]
fn every_verb_is_parsed() {
    let account = "paper.binance-usdm.sim".parse().unwrap();
    let symbol = Some("BTCUSDT".parse().unwrap());
    let plain = |order| TelegramCommand::Account {
        command: order,
        account: None,
    };
    let table = [
        ("/help", TelegramCommand::Help { is_greeting: false }),
        ("/start", TelegramCommand::Help { is_greeting: true }),
        ("  /STATUS@Bear_Bot ", TelegramCommand::Status),
        ("/health", TelegramCommand::Health),
        ("/positions", TelegramCommand::Positions),
        ("/performance", TelegramCommand::Performance),
        ("/logs", TelegramCommand::Logs),
        ("/silence", TelegramCommand::Silence(SilenceArgs::Show)),
        ("/silence off", TelegramCommand::Silence(SilenceArgs::Off)),
        (
            "/silence 2h",
            TelegramCommand::Silence(SilenceArgs::Start {
                duration_ms: 7_200_000,
                unit: None,
            }),
        ),
        (
            "/silence 30m trader-1",
            TelegramCommand::Silence(SilenceArgs::Start {
                duration_ms: 1_800_000,
                unit: Some(unit()),
            }),
        ),
        ("/pause", plain(AccountCommand::Pause { symbol: None })),
        (
            "/pause btcusdt",
            plain(AccountCommand::Pause {
                symbol: symbol.clone(),
            }),
        ),
        ("/resume BTCUSDT", plain(AccountCommand::Resume { symbol })),
        (
            "/flatten paper.binance-usdm.sim",
            TelegramCommand::Account {
                command: AccountCommand::Flatten,
                account: Some(account),
            },
        ),
        (
            "/unlatch daily_loss-1",
            plain(AccountCommand::Unlatch {
                latch_id: "daily_loss-1".to_owned(),
            }),
        ),
        (
            "/stop trader-1",
            TelegramCommand::Unit(UnitCommand::Stop { unit: unit() }),
        ),
        (
            "/start trader-1",
            TelegramCommand::Unit(UnitCommand::Start { unit: unit() }),
        ),
        (
            "/restart trader-1",
            TelegramCommand::Unit(UnitCommand::Restart { unit: unit() }),
        ),
        (
            "/explain trader-1",
            TelegramCommand::Unit(UnitCommand::Explain { unit: unit() }),
        ),
        (
            "/history trader-1",
            TelegramCommand::Unit(UnitCommand::History { unit: unit() }),
        ),
        (
            "/hold trader-1 a bad\nday",
            TelegramCommand::Unit(UnitCommand::Hold {
                unit: unit(),
                reason: "a bad day".to_owned(),
            }),
        ),
        (
            "/release trader-1",
            TelegramCommand::Unit(UnitCommand::Release {
                unit: unit(),
                reset_restarts: false,
            }),
        ),
        (
            "/release trader-1 reset-restarts",
            TelegramCommand::Unit(UnitCommand::Release {
                unit: unit(),
                reset_restarts: true,
            }),
        ),
    ];
    for (text, expected) in &table {
        assert_eq!(parse_valid(text), *expected, "{text}");
    }
    for (verb, ..) in VERBS {
        let known =
            |(text, _): &(&str, TelegramCommand)| text.to_lowercase().contains(&format!("/{verb}"));
        assert!(
            table.iter().any(known),
            "/{verb} is offered and not tested here"
        );
    }
}

#[test]
fn invalid_command_is_answered_with_its_usage() {
    for (text, expected) in [
        ("/fly", "Unknown command /fly; /help lists the commands"),
        ("/stop", "Expected /stop NAME"),
        ("/stop a b", "Expected /stop NAME"),
        ("/stop a.b", "\"a.b\" is not a name"),
        ("/hold trader-1", "Expected /hold NAME REASON"),
        (
            "/release trader-1 all",
            "Expected /release NAME [reset-restarts]",
        ),
        ("/status now", "Expected /status"),
        ("/unlatch", "Expected /unlatch LATCH [ACCOUNT]"),
        ("/flatten BTCUSDT", "Expected /flatten [ACCOUNT]"),
        ("/flatten paper.x", "\"paper.x\" is not an account"),
        ("/silence 2", "\"2\": expected a duration from 1m to 7d"),
        ("/silence 2ü", "\"2ü\": expected a duration from 1m to 7d"),
        ("/silence 8d", "\"8d\": expected a duration from 1m to 7d"),
        (
            "/silence 99999999999999999999d",
            "expected a duration from 1m to 7d",
        ),
        (
            "/silence 2h a b",
            "Expected /silence 2h [NAME] or /silence off or /silence",
        ),
    ] {
        let ParsedText::Invalid(error) = parse(text, None) else {
            panic!("{text} is accepted");
        };
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(parse("hello", None), ParsedText::NoCommand);
    assert_eq!(
        parse("/status@other_bot", Some("bear_bot")),
        ParsedText::ForAnotherBot
    );
}

struct TestIntake {
    world: World,
    intake: CommandIntake,
    rules: CommandRules,
    update: i64,
}

impl TestIntake {
    fn new() -> Self {
        Self {
            world: World::new(SendLimits::NONE),
            intake: CommandIntake::default(),
            rules: CommandRules {
                allowed_users: [OPERATOR].into(),
                chat: GROUP,
                bot_name: Some("bear_bot".to_owned()),
            },
            update: 100,
        }
    }

    fn process(&mut self, kind: UpdateKind) -> IntakeDecision {
        self.update += 1;
        let update = Update {
            id: self.update,
            kind,
        };
        let decision =
            self.intake
                .process_update(&self.world.state, &update, &self.rules, self.world.now());
        self.world.commit(decision.records.clone());
        decision
    }

    fn send_text(&mut self, user: i64, chat: i64, text: &str) -> IntakeDecision {
        let at = self.world.now().utc;
        let text = text.to_owned();
        self.process(UpdateKind::Text {
            user,
            chat,
            is_private: chat > 0,
            sent_at: at,
            text,
        })
    }

    fn press(&mut self, user: i64, data: &str) -> IntakeDecision {
        self.process(UpdateKind::ButtonPress {
            user,
            callback_id: "c".to_owned(),
            data: data.to_owned(),
            message: Some(BUTTON_MESSAGE),
        })
    }

    /// Sends the next message; its text and the data of its first button.
    fn next_message(&mut self) -> (String, Option<String>) {
        let message = self.world.send().unwrap();
        self.world.end_message(&crate::support::SENT);
        (
            message.text,
            message.buttons.first().map(|button| button.data.clone()),
        )
    }

    fn ask_to_confirm(&mut self) -> String {
        self.send_text(OPERATOR, GROUP, "/flatten");
        self.next_message().1.unwrap()
    }
}

fn results(decision: &IntakeDecision) -> Vec<String> {
    let bodies = decision.records.iter();
    let bodies = bodies.filter_map(DeliveryRecord::event_body);
    let results = bodies.map(|body| match body {
        EventBody::OperatorCommandExecuted { result, .. } => result,
        other => format!("{other:?}"),
    });
    results.collect()
}

#[test]
fn only_allowed_users_command_and_others_are_recorded_once_an_hour() {
    let mut bench = TestIntake::new();
    assert_eq!(
        bench.send_text(OPERATOR, GROUP, "/status").command,
        Some(TelegramCommand::Status)
    );
    assert_eq!(
        bench.send_text(OPERATOR, OPERATOR, "/status").command,
        Some(TelegramCommand::Status)
    );
    assert_eq!(
        bench.send_text(OPERATOR, -6, "/status").command,
        None,
        "another group"
    );
    for chat in [GROUP, UNAUTHORIZED] {
        assert_eq!(
            bench.send_text(UNAUTHORIZED, chat, "/flatten").command,
            None
        );
    }
    let reports = |bench: &TestIntake| {
        let records = bench.world.journal.iter();
        records
            .filter(|(_, record)| matches!(record, DeliveryRecord::UnauthorizedCommand { .. }))
            .count()
    };
    assert_eq!(reports(&bench), 1);
    bench.world.advance(3_600_000);
    bench.send_text(UNAUTHORIZED, GROUP, "/flatten");
    assert_eq!(reports(&bench), 2);
    assert!(
        bench.world.state.queued.is_empty(),
        "an unauthorized user gets no reply"
    );
    bench.send_text(OPERATOR, GROUP, "how are you?");
    assert!(
        bench.world.state.queued.is_empty(),
        "a group may have other messages"
    );
    bench.send_text(OPERATOR, OPERATOR, "how are you?");
    assert!(bench.next_message().0.contains("/help lists the commands"));
}

#[test]
fn command_older_than_a_minute_is_answered_but_not_executed() {
    let mut bench = TestIntake::new();
    let at = UtcMs(bench.world.now().utc.0 - 61_000);
    let text = "/pause".to_owned();
    let decision = bench.process(UpdateKind::Text {
        user: OPERATOR,
        chat: OPERATOR,
        is_private: true,
        sent_at: at,
        text,
    });
    assert_eq!(
        (decision.command.clone(), results(&decision)),
        (None, vec!["expired, not executed".to_owned()])
    );
    assert!(bench.next_message().0.contains("Command expired"));
}

#[test]
fn update_is_processed_once_across_restarts() {
    let mut bench = TestIntake::new();
    assert!(bench.send_text(OPERATOR, GROUP, "/pause").command.is_some());
    for _ in 0..2 {
        bench.update -= 1;
        assert_eq!(
            bench.send_text(OPERATOR, GROUP, "/pause"),
            IntakeDecision::default()
        );
        bench.world.restart();
    }
    assert_eq!(bench.world.state.last_update(), Some(101));
}

#[test]
fn confirm_button_works_once_for_the_same_user_within_a_minute() {
    let mut bench = TestIntake::new();
    let yes = bench.ask_to_confirm();
    assert!(yes.len() <= 64, "{yes}");
    let decision = bench.press(UNAUTHORIZED, &yes);
    let press = decision.callback_reply.unwrap();
    assert_eq!(
        press.text,
        "Only the user who gave the command can confirm it"
    );
    assert_eq!(
        press.expired_message, None,
        "the buttons stay for the operator"
    );
    let decision = bench.press(OPERATOR, &yes);
    assert_eq!(
        decision.callback_reply.unwrap().expired_message,
        Some(BUTTON_MESSAGE)
    );
    let flatten = TelegramCommand::Account {
        command: AccountCommand::Flatten,
        account: None,
    };
    assert_eq!(decision.command, Some(flatten));
    let decision = bench.press(OPERATOR, &yes);
    assert_eq!(
        (decision.command, decision.callback_reply.unwrap().text),
        (None, "This button has expired. Send the command again.")
    );

    let yes = bench.ask_to_confirm();
    bench.world.advance(60_001);
    let decision = bench.press(OPERATOR, &yes);
    let press = decision.callback_reply.unwrap();
    assert_eq!(
        (decision.command, press.text, press.expired_message),
        (
            None,
            "Confirmation expired. Send the command again.",
            Some(BUTTON_MESSAGE)
        )
    );

    let no = bench.ask_to_confirm().replace("confirm", "cancel");
    let decision = bench.press(OPERATOR, &no);
    assert_eq!(
        (decision.command, decision.callback_reply.unwrap().text),
        (None, "Canceled; nothing was changed")
    );
    assert_eq!(
        bench
            .press(OPERATOR, &no.replace("cancel", "confirm"))
            .command,
        None,
        "it was canceled"
    );
    assert_eq!(
        bench.press(OPERATOR, "buy:1").callback_reply.unwrap().text,
        "Unknown button"
    );

    let yes = bench.ask_to_confirm();
    bench.intake = CommandIntake::default();
    assert_eq!(
        bench.press(OPERATOR, &yes).command,
        None,
        "a restart drops pending confirmations"
    );
}

#[test]
fn command_interrupted_by_a_crash_is_reported_and_not_repeated() {
    let mut bench = TestIntake::new();
    bench.send_text(OPERATOR, GROUP, "/start trader-1");
    assert!(bench.world.state.running_command.is_some());
    bench.world.restart();
    assert_eq!(bench.world.state.running_command, None);
    let (text, _) = bench.next_message();
    assert!(
        text.starts_with("⚠️ OUTCOME UNKNOWN: /start trader-1\n"),
        "{text}"
    );
    bench.world.restart();
    assert_eq!(bench.world.send(), None, "it is reported once");
}

#[test]
fn reply_goes_to_its_chat_after_critical_ones_and_before_groups() {
    let mut bench = TestIntake::new();
    bench.world.receive("a", info_event(1));
    bench.send_text(OPERATOR, OPERATOR, "/start trader-1");
    let running = bench.world.state.running_command.clone().unwrap();
    let result = CommandResult {
        is_done: Some(true),
        result: "done".to_owned(),
        body: "it is being started".to_owned(),
        has_picture: false,
        table_lines: 0,
    };
    bench
        .world
        .commit(finished_records(&running, result, bench.world.now().utc));
    bench.world.receive("b", critical_event(2));
    assert!(bench.next_message().0.contains("reason-2-"));
    let message = bench.world.send().unwrap();
    assert_eq!(message.text, "✅ /start trader-1\nit is being started");
    assert_eq!((message.chat, message.has_picture), (Some(OPERATOR), false));
    assert_eq!(bench.world.state.running_command, None);
}

#[test]
fn command_event_of_the_notifier_makes_no_second_message() {
    let mut world = World::new(SendLimits::NONE);
    let command = "/status".to_owned();
    let (by, result) = ("Telegram user 7".to_owned(), "answered".to_owned());
    world.receive(
        "a",
        EventBody::OperatorCommandExecuted {
            by,
            command,
            result,
        },
    );
    assert_eq!(world.send(), None);
    let (by, command) = ("Telegram user 8".to_owned(), "/flatten".to_owned());
    world.receive("b", EventBody::UnauthorizedCommand { by, command });
    assert!(world.send().unwrap().text.contains("UNAUTHORIZED COMMAND"));
}

#[test]
fn documentation_lists_exactly_the_commands_of_the_parser() {
    let page = include_str!("../../../../../docs/operations/commands.md");
    let table = page.split("## Telegram").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let documented: BTreeSet<&str> = table
        .split("`/")
        .skip(1)
        .map(|text| text.split([' ', '`']).next().unwrap())
        .collect();
    let known: BTreeSet<&str> = VERBS.iter().map(|(verb, ..)| *verb).collect();
    assert_eq!(documented, known);
}
