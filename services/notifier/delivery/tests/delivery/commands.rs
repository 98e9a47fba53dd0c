//! What the owner says: which text is which order, who may say it, what is asked first, and what is left when
//! the notifier is killed in between.

use bearish_delivery::command::{Hush, Order, Parsed, VERBS, parse};
use bearish_delivery::hear::{Carried, Ear, Heard, Rules, Said, Update, ended};
use bearish_delivery::pace::Limits;
use bearish_delivery::record::Record;
use protocol::command::UnitOrder;
use protocol::event::EventBody;
use protocol::operator::AccountOrder;
use protocol::time::UtcMs;

use crate::support::{World, critical, info};

const OWNER: i64 = 7;
/// Where the buttons are.
const BELOW: (i64, i64) = (5, 42);
const STRANGER: i64 = 8;
const GROUP: i64 = -5;

fn order(text: &str) -> Order {
    match parse(text, Some("bear_bot")) {
        Parsed::Order(order) => order,
        other => panic!("{text}: {other:?}"),
    }
}

fn unit() -> protocol::ids::Token {
    "trader-1".parse().unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table with one row an order")]
fn every_verb_is_understood() {
    let account = "paper.binance-usdm.sim".parse().unwrap();
    let symbol = Some("BTCUSDT".parse().unwrap());
    let plain = |order| Order::Account {
        order,
        account: None,
    };
    let table = [
        ("/help", Order::Help { greeting: false }),
        ("/start", Order::Help { greeting: true }),
        ("  /STATUS@Bear_Bot ", Order::Status),
        ("/health", Order::Health),
        ("/positions", Order::Positions),
        ("/performance", Order::Performance),
        ("/logs", Order::Logs),
        ("/silence", Order::Silence(Hush::Show)),
        ("/silence off", Order::Silence(Hush::Off)),
        (
            "/silence 2h",
            Order::Silence(Hush::For {
                ms: 7_200_000,
                name: None,
            }),
        ),
        (
            "/silence 30m trader-1",
            Order::Silence(Hush::For {
                ms: 1_800_000,
                name: Some(unit()),
            }),
        ),
        ("/pause", plain(AccountOrder::Pause { symbol: None })),
        (
            "/pause btcusdt",
            plain(AccountOrder::Pause {
                symbol: symbol.clone(),
            }),
        ),
        ("/resume BTCUSDT", plain(AccountOrder::Resume { symbol })),
        (
            "/flatten paper.binance-usdm.sim",
            Order::Account {
                order: AccountOrder::Flatten,
                account: Some(account),
            },
        ),
        (
            "/unlatch daily_loss-1",
            plain(AccountOrder::Unlatch {
                latch: "daily_loss-1".to_owned(),
            }),
        ),
        (
            "/stop trader-1",
            Order::Unit(UnitOrder::Stop { unit: unit() }),
        ),
        (
            "/start trader-1",
            Order::Unit(UnitOrder::Start { unit: unit() }),
        ),
        (
            "/restart trader-1",
            Order::Unit(UnitOrder::Restart { unit: unit() }),
        ),
        (
            "/explain trader-1",
            Order::Unit(UnitOrder::Explain { unit: unit() }),
        ),
        (
            "/history trader-1",
            Order::Unit(UnitOrder::History { unit: unit() }),
        ),
        (
            "/hold trader-1 a bad\nday",
            Order::Unit(UnitOrder::Hold {
                unit: unit(),
                why: "a bad day".to_owned(),
            }),
        ),
        (
            "/release trader-1",
            Order::Unit(UnitOrder::Release {
                unit: unit(),
                total: false,
            }),
        ),
        (
            "/release trader-1 total",
            Order::Unit(UnitOrder::Release {
                unit: unit(),
                total: true,
            }),
        ),
    ];
    for (text, expected) in &table {
        assert_eq!(order(text), *expected, "{text}");
    }
    for (verb, ..) in VERBS {
        let known = |(text, _): &(&str, Order)| text.to_lowercase().contains(&format!("/{verb}"));
        assert!(
            table.iter().any(known),
            "/{verb} is offered and not tried here"
        );
    }
}

#[test]
fn what_is_not_quite_an_order_is_told_what_is_allowed() {
    for (text, why) in [
        ("/fly", "There is no /fly: see /help"),
        ("/stop", "Allowed is /stop NAME"),
        ("/stop a b", "Allowed is /stop NAME"),
        ("/stop a.b", "\"a.b\" is no name"),
        ("/hold trader-1", "Allowed is /hold NAME WHY"),
        ("/release trader-1 all", "Allowed is /release NAME [total]"),
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
        let Parsed::Wrong(said) = parse(text, None) else {
            panic!("{text} is taken");
        };
        assert!(said.contains(why), "{text}: {said}");
    }
    assert_eq!(parse("hello", None), Parsed::Talk);
    assert_eq!(
        parse("/status@other_bot", Some("bear_bot")),
        Parsed::Anothers
    );
}

struct Bench {
    world: World,
    ear: Ear,
    rules: Rules,
    update: i64,
}

impl Bench {
    fn new() -> Self {
        Self {
            world: World::new(Limits::NONE),
            ear: Ear::default(),
            rules: Rules {
                allowed: [OWNER].into(),
                chat: GROUP,
                bot: Some("bear_bot".to_owned()),
            },
            update: 100,
        }
    }

    fn hear(&mut self, said: Said) -> Heard {
        self.update += 1;
        let update = Update {
            id: self.update,
            said,
        };
        let heard = self
            .ear
            .hear(&self.world.state, &update, &self.rules, self.world.now());
        self.world.commit(heard.records.clone());
        heard
    }

    fn say(&mut self, user: i64, chat: i64, text: &str) -> Heard {
        let at = self.world.now().utc;
        let text = text.to_owned();
        self.hear(Said::Text {
            user,
            chat,
            private: chat > 0,
            at,
            text,
        })
    }

    fn press(&mut self, user: i64, data: &str) -> Heard {
        self.hear(Said::Press {
            user,
            call: "c".to_owned(),
            data: data.to_owned(),
            below: Some(BELOW),
        })
    }

    /// What goes out next, with the data of its first button.
    fn told(&mut self) -> (String, Option<String>) {
        let message = self.world.send().unwrap();
        self.world.end(&crate::support::SENT);
        (
            message.text,
            message.buttons.first().map(|button| button.data.clone()),
        )
    }

    fn asked(&mut self) -> String {
        self.say(OWNER, GROUP, "/flatten");
        self.told().1.unwrap()
    }
}

fn outcomes(heard: &Heard) -> Vec<String> {
    let bodies = heard.records.iter().filter_map(Record::event);
    let told = bodies.map(|body| match body {
        EventBody::OwnerCommand { outcome, .. } => outcome,
        other => format!("{other:?}"),
    });
    told.collect()
}

#[test]
fn only_who_is_listed_is_heard_and_a_stranger_is_told_of_once_an_hour() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.say(OWNER, GROUP, "/status").order,
        Some(Order::Status)
    );
    assert_eq!(
        bench.say(OWNER, OWNER, "/status").order,
        Some(Order::Status)
    );
    assert_eq!(bench.say(OWNER, -6, "/status").order, None, "another group");
    for chat in [GROUP, STRANGER] {
        assert_eq!(bench.say(STRANGER, chat, "/flatten").order, None);
    }
    let strangers = |bench: &Bench| {
        let told = bench.world.journal.iter();
        told.filter(|(_, record)| matches!(record, Record::StrangerIgnored { .. }))
            .count()
    };
    assert_eq!(strangers(&bench), 1);
    bench.world.pass(3_600_000);
    bench.say(STRANGER, GROUP, "/flatten");
    assert_eq!(strangers(&bench), 2);
    assert!(
        bench.world.state.waiting.is_empty(),
        "a stranger gets no answer"
    );
    bench.say(OWNER, GROUP, "how are you?");
    assert!(
        bench.world.state.waiting.is_empty(),
        "people may talk in a group"
    );
    bench.say(OWNER, OWNER, "how are you?");
    assert!(bench.told().0.contains("see /help"));
}

#[test]
fn what_is_older_than_a_minute_is_not_executed_and_that_is_said() {
    let mut bench = Bench::new();
    let at = UtcMs(bench.world.now().utc.0 - 61_000);
    let text = "/pause".to_owned();
    let heard = bench.hear(Said::Text {
        user: OWNER,
        chat: OWNER,
        private: true,
        at,
        text,
    });
    assert_eq!(
        (heard.order.clone(), outcomes(&heard)),
        (None, vec!["too old, not executed".to_owned()])
    );
    assert!(bench.told().0.contains("Too old, not executed"));
}

#[test]
fn an_update_is_looked_at_once_also_after_a_restart() {
    let mut bench = Bench::new();
    assert!(bench.say(OWNER, GROUP, "/pause").order.is_some());
    for _ in 0..2 {
        bench.update -= 1;
        assert_eq!(bench.say(OWNER, GROUP, "/pause"), Heard::default());
        bench.world.restart();
    }
    assert_eq!(bench.world.state.last_update(), Some(101));
}

#[test]
fn what_is_dangerous_is_asked_and_its_button_works_once_for_the_same_user_within_a_minute() {
    let mut bench = Bench::new();
    let yes = bench.asked();
    assert!(yes.len() <= 64, "{yes}");
    let heard = bench.press(STRANGER, &yes);
    let press = heard.press.unwrap();
    assert_eq!(press.said, "Only who gave the order can confirm it");
    assert_eq!(press.spent, None, "its buttons stay for the owner");
    let heard = bench.press(OWNER, &yes);
    assert_eq!(heard.press.unwrap().spent, Some(BELOW));
    let flatten = Order::Account {
        order: AccountOrder::Flatten,
        account: None,
    };
    assert_eq!(heard.order, Some(flatten));
    let heard = bench.press(OWNER, &yes);
    assert_eq!(
        (heard.order, heard.press.unwrap().said),
        (None, "This button is spent: give the order again")
    );

    let yes = bench.asked();
    bench.world.pass(60_001);
    let heard = bench.press(OWNER, &yes);
    let press = heard.press.unwrap();
    assert_eq!(
        (heard.order, press.said, press.spent),
        (None, "Too late: give the order again", Some(BELOW))
    );

    let no = bench.asked().replace("yes", "no");
    let heard = bench.press(OWNER, &no);
    assert_eq!(
        (heard.order, heard.press.unwrap().said),
        (None, "Nothing was done")
    );
    assert_eq!(
        bench.press(OWNER, &no.replace("no", "yes")).order,
        None,
        "it was refused"
    );
    assert_eq!(
        bench.press(OWNER, "buy:1").press.unwrap().said,
        "That is no button of this bot's"
    );

    let yes = bench.asked();
    bench.ear = Ear::default();
    assert_eq!(
        bench.press(OWNER, &yes).order,
        None,
        "a restart forgets what was asked"
    );
}

#[test]
fn an_order_that_the_process_died_in_is_told_and_not_repeated() {
    let mut bench = Bench::new();
    bench.say(OWNER, GROUP, "/start trader-1");
    assert!(bench.world.state.under_way.is_some());
    bench.world.restart();
    assert_eq!(bench.world.state.under_way, None);
    let (text, _) = bench.told();
    assert!(
        text.starts_with("⚠️ OUTCOME UNKNOWN: /start trader-1\n"),
        "{text}"
    );
    bench.world.restart();
    assert_eq!(bench.world.send(), None, "it is told once");
}

#[test]
fn an_answer_goes_before_what_waits_for_company_and_after_criticals_to_where_the_order_came_from() {
    let mut bench = Bench::new();
    bench.world.hear("a", info(1));
    bench.say(OWNER, OWNER, "/start trader-1");
    let begun = bench.world.state.under_way.clone().unwrap();
    let carried = Carried {
        done: Some(true),
        outcome: "done".to_owned(),
        body: "it is being started".to_owned(),
        picture: false,
    };
    bench
        .world
        .commit(ended(&begun, carried, bench.world.now().utc));
    bench.world.hear("b", critical(2));
    assert!(bench.told().0.contains("reason-2-"));
    let message = bench.world.send().unwrap();
    assert_eq!(message.text, "✅ /start trader-1\nit is being started");
    assert_eq!((message.chat, message.picture), (Some(OWNER), false));
    assert_eq!(bench.world.state.under_way, None);
}

#[test]
fn the_record_of_an_order_is_no_second_message() {
    let mut world = World::new(Limits::NONE);
    let command = "/status".to_owned();
    let (who, outcome) = ("Telegram user 7".to_owned(), "answered".to_owned());
    world.hear(
        "a",
        EventBody::OwnerCommand {
            who,
            command,
            outcome,
        },
    );
    assert_eq!(world.send(), None);
    let (who, command) = ("Telegram user 8".to_owned(), "/flatten".to_owned());
    world.hear("b", EventBody::StrangerIgnored { who, command });
    assert!(world.send().unwrap().text.contains("STRANGER"));
}
