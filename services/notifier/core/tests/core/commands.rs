//! What the owner says: which text is which order, who may say it, what is asked first, and what is left when
//! the notifier is killed in between.

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
/// Where the buttons are.
const BUTTON_MESSAGE: (i64, i64) = (5, 42);
const UNAUTHORIZED: i64 = 8;
const GROUP: i64 = -5;

fn parse_valid(text: &str) -> TelegramCommand {
    match parse(text, Some("bear_bot")) {
        ParsedText::Command(order) => order,
        other => panic!("{text}: {other:?}"),
    }
}

fn unit() -> protocol::ids::SubjectToken {
    "trader-1".parse().unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table with one row an order")]
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
            "/{verb} is offered and not tried here"
        );
    }
}

#[test]
fn invalid_command_is_answered_with_its_usage() {
    for (text, why) in [
        ("/fly", "There is no /fly: see /help"),
        ("/stop", "Allowed is /stop NAME"),
        ("/stop a b", "Allowed is /stop NAME"),
        ("/stop a.b", "\"a.b\" is no name"),
        ("/hold trader-1", "Allowed is /hold NAME REASON"),
        (
            "/release trader-1 all",
            "Allowed is /release NAME [reset-restarts]",
        ),
        ("/status now", "Allowed is /status"),
        ("/unlatch", "Allowed is /unlatch LATCH [ACCOUNT]"),
        ("/flatten BTCUSDT", "Allowed is /flatten [ACCOUNT]"),
        ("/flatten paper.x", "\"paper.x\" is no account"),
        ("/silence 2", "\"2\" is no time"),
        ("/silence 2ü", "\"2ü\" is no time"),
        ("/silence 8d", "\"8d\" is no time"),
        ("/silence 99999999999999999999d", "is no time"),
        (
            "/silence 2h a b",
            "Allowed is /silence 2h [NAME], /silence off, /silence",
        ),
    ] {
        let ParsedText::Invalid(said) = parse(text, None) else {
            panic!("{text} is taken");
        };
        assert!(said.contains(why), "{text}: {said}");
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

    fn process(&mut self, said: UpdateKind) -> IntakeDecision {
        self.update += 1;
        let update = Update {
            id: self.update,
            kind: said,
        };
        let heard =
            self.intake
                .process_update(&self.world.state, &update, &self.rules, self.world.now());
        self.world.commit(heard.records.clone());
        heard
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

    /// What goes out next, with the data of its first button.
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

fn results(heard: &IntakeDecision) -> Vec<String> {
    let bodies = heard.records.iter().filter_map(DeliveryRecord::event_body);
    let told = bodies.map(|body| match body {
        EventBody::OperatorCommandExecuted {
            result: outcome, ..
        } => outcome,
        other => format!("{other:?}"),
    });
    told.collect()
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
    let strangers = |bench: &TestIntake| {
        let told = bench.world.journal.iter();
        told.filter(|(_, record)| matches!(record, DeliveryRecord::UnauthorizedCommand { .. }))
            .count()
    };
    assert_eq!(strangers(&bench), 1);
    bench.world.advance(3_600_000);
    bench.send_text(UNAUTHORIZED, GROUP, "/flatten");
    assert_eq!(strangers(&bench), 2);
    assert!(
        bench.world.state.queued.is_empty(),
        "a stranger gets no answer"
    );
    bench.send_text(OPERATOR, GROUP, "how are you?");
    assert!(
        bench.world.state.queued.is_empty(),
        "people may talk in a group"
    );
    bench.send_text(OPERATOR, OPERATOR, "how are you?");
    assert!(bench.next_message().0.contains("see /help"));
}

#[test]
fn command_older_than_a_minute_is_answered_but_not_executed() {
    let mut bench = TestIntake::new();
    let at = UtcMs(bench.world.now().utc.0 - 61_000);
    let text = "/pause".to_owned();
    let heard = bench.process(UpdateKind::Text {
        user: OPERATOR,
        chat: OPERATOR,
        is_private: true,
        sent_at: at,
        text,
    });
    assert_eq!(
        (heard.command.clone(), results(&heard)),
        (None, vec!["too old, not executed".to_owned()])
    );
    assert!(bench.next_message().0.contains("Too old, not executed"));
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
    let heard = bench.press(UNAUTHORIZED, &yes);
    let press = heard.callback_reply.unwrap();
    assert_eq!(press.text, "Only who gave the order can confirm it");
    assert_eq!(
        press.expired_message, None,
        "its buttons stay for the owner"
    );
    let heard = bench.press(OPERATOR, &yes);
    assert_eq!(
        heard.callback_reply.unwrap().expired_message,
        Some(BUTTON_MESSAGE)
    );
    let flatten = TelegramCommand::Account {
        command: AccountCommand::Flatten,
        account: None,
    };
    assert_eq!(heard.command, Some(flatten));
    let heard = bench.press(OPERATOR, &yes);
    assert_eq!(
        (heard.command, heard.callback_reply.unwrap().text),
        (None, "This button is spent: give the order again")
    );

    let yes = bench.ask_to_confirm();
    bench.world.advance(60_001);
    let heard = bench.press(OPERATOR, &yes);
    let press = heard.callback_reply.unwrap();
    assert_eq!(
        (heard.command, press.text, press.expired_message),
        (None, "Too late: give the order again", Some(BUTTON_MESSAGE))
    );

    let no = bench.ask_to_confirm().replace("confirm", "cancel");
    let heard = bench.press(OPERATOR, &no);
    assert_eq!(
        (heard.command, heard.callback_reply.unwrap().text),
        (None, "Nothing was done")
    );
    assert_eq!(
        bench
            .press(OPERATOR, &no.replace("cancel", "confirm"))
            .command,
        None,
        "it was refused"
    );
    assert_eq!(
        bench.press(OPERATOR, "buy:1").callback_reply.unwrap().text,
        "That is no button of this bot's"
    );

    let yes = bench.ask_to_confirm();
    bench.intake = CommandIntake::default();
    assert_eq!(
        bench.press(OPERATOR, &yes).command,
        None,
        "a restart forgets what was asked"
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
    assert_eq!(bench.world.send(), None, "it is told once");
}

#[test]
fn reply_goes_to_its_chat_after_criticals_and_before_groups() {
    let mut bench = TestIntake::new();
    bench.world.receive("a", info_event(1));
    bench.send_text(OPERATOR, OPERATOR, "/start trader-1");
    let begun = bench.world.state.running_command.clone().unwrap();
    let carried = CommandResult {
        is_done: Some(true),
        result: "done".to_owned(),
        body: "it is being started".to_owned(),
        has_picture: false,
    };
    bench
        .world
        .commit(finished_records(&begun, carried, bench.world.now().utc));
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
    let (who, outcome) = ("Telegram user 7".to_owned(), "answered".to_owned());
    world.receive(
        "a",
        EventBody::OperatorCommandExecuted {
            by: who,
            command,
            result: outcome,
        },
    );
    assert_eq!(world.send(), None);
    let (who, command) = ("Telegram user 8".to_owned(), "/flatten".to_owned());
    world.receive("b", EventBody::UnauthorizedCommand { by: who, command });
    assert!(world.send().unwrap().text.contains("STRANGER"));
}
