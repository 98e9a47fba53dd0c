//! The owner's orders: the real notifier between a real nats-server and a strict Telegram. The first test has
//! the real watchdog and the real trader at the other end; in the others what a watchdog says comes from a
//! responder that speaks `protocol::command`, and accounts from reports that the test publishes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bearish_tests::exchange::Exchange;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::Setup;
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::process::Process;
use bearish_tests::telegram::{Shown, Telegram, Trouble};
use bearish_tests::told;
use bearish_tests::trader::Setup as TraderSetup;
use bearish_tests::watchdog::Kennel;
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::command::{Answer, Request, UnitOrder};
use protocol::event::EventBody;
use protocol::ids::AccountKey;
use protocol::operator::{AccountOrder, Word};
use protocol::report::{AccountReport, EquityPoint};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::reports::{Keep, publish};
use tokio::task::JoinSet;

const STRANGER: i64 = 8;
const LATCH: &str = "daily_loss-1764000000000";

/// A bus, a Telegram, and a notifier that takes orders of the person of its chat.
struct House {
    nats: Option<NatsServer>,
    telegram: Telegram,
    setup: Setup,
    notifier: Process,
}

impl House {
    async fn new() -> Self {
        let nats = NatsServer::with_streams().await;
        let mut house = Self::beside(&nats).await;
        house.nats = Some(nats);
        house
    }

    /// On a bus of somebody else's.
    async fn beside(nats: &NatsServer) -> Self {
        let telegram = Telegram::start().await;
        let owner = telegram.chat().to_string();
        let setup = Setup::new(nats).with(&telegram);
        let setup = setup
            .env("TELEGRAM_ALLOWED_USERS", &owner)
            .env("TELEGRAM_GAP_MS", "0");
        let notifier = setup.start();
        notifier.says("telling the owner").await;
        Self {
            nats: None,
            telegram,
            setup,
            notifier,
        }
    }

    fn nats(&self) -> &NatsServer {
        self.nats.as_ref().unwrap()
    }

    fn order(&self, text: &str) {
        let owner = self.telegram.chat();
        self.telegram.say(owner, owner, text);
    }

    async fn shows(&self, text: &str) -> Shown {
        eventually(&format!("{text:?} is shown"), SOON, async || {
            let mut shown = self.telegram.shown().into_iter();
            shown.find(|shown| shown.text.contains(text))
        })
        .await
    }

    /// Confirms what was asked last.
    async fn confirm(&self, question: &str) -> String {
        let asked = self.shows(question).await;
        let yes = asked.buttons[0][0].data.clone();
        self.telegram.press(self.telegram.chat(), &yes);
        yes
    }

    async fn audited(&self, command: &str, outcome: &str) {
        let bus = self.nats().bus(Role::Operator).await;
        eventually(&format!("{command} is audited"), SOON, async || {
            let mut told = told::events(&bus).await.into_iter();
            told.find(|told| {
                matches!(&told.event.body, EventBody::OwnerCommand { command: was, outcome: came, .. }
                if was == command && came.starts_with(outcome))
            })
        })
        .await;
    }

    fn says_no_secret(&self) {
        let secret = self.telegram.token().split_once(':').unwrap().1;
        for line in self.notifier.out().iter().chain(&self.notifier.err()) {
            assert!(!line.contains(secret), "the token is in {line:?}");
        }
    }
}

/// Answers as a watchdog would, and keeps what it was asked.
async fn watchdog(bus: Bus) -> (Arc<Mutex<Vec<Request>>>, JoinSet<()>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let mut orders = bus
        .client()
        .subscribe("command.v1.watchdog.*")
        .await
        .unwrap();
    bus.client().flush().await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Some(message) = orders.next().await {
            let request: Request = serde_json::from_slice(&message.payload).unwrap();
            let verb = request.order.verb();
            assert!(message.subject.ends_with(&format!(".{verb}")));
            let answer = Answer {
                v: VERSION,
                done: true,
                text: format!("the watchdog of this test heard {verb}"),
                data: None,
            };
            kept.lock().unwrap().push(request);
            let payload = serde_json::to_vec(&answer).unwrap().into();
            bus.client()
                .publish(message.reply.unwrap(), payload)
                .await
                .unwrap();
        }
    });
    (asked, task)
}

fn account() -> AccountKey {
    "paper.binance-usdm.sim".parse().unwrap()
}

async fn latched_account(bus: &Bus) {
    let golden = include_str!("../../services/protocol/tests/golden/report_account.json");
    let report: AccountReport = serde_json::from_str(golden).unwrap();
    let subject = Subject::AccountReport(account());
    publish(bus, &subject, &report, Keep::Newest).await.unwrap();
}

async fn words(nats: &NatsServer) -> Vec<Word> {
    let bus = nats.bus(Role::TraderPaper).await;
    let subject = Subject::OperatorJournal(account());
    let reader = "reader".parse().unwrap();
    let (_, entries) = Journal::replay::<Word>(&bus, &subject, reader)
        .await
        .unwrap();
    entries
        .into_iter()
        .flat_map(|stored| stored.entry.records)
        .collect()
}

#[tokio::test]
async fn an_order_reaches_the_real_watchdog_and_the_real_keeper_and_their_word_the_owner() {
    let kennel = Kennel::open().await;
    let flags = "--paper --infinite --auto-restart";
    let unit = kennel.unit(1, flags).start();
    kennel.healthy(&unit).await;
    let exchange = Exchange::start(&[("SIM_SYMBOLS", "BTCUSDT")]).await;
    let trader = TraderSetup::new("ordered", &kennel.nats, &exchange).env("SYMBOLS", "BTCUSDT");
    let trader = trader.start();
    trader.works().await;
    let house = House::beside(&kennel.nats).await;

    house.order("/stop trader-paper-1");
    house
        .confirm("Stop trader-paper-1 and leave it stopped?")
        .await;
    house.shows("it is being stopped and stays down").await;
    eventually("it is down", SOON, async || (!unit.runs()).then_some(())).await;
    house.order("/explain trader-paper-1");
    house.shows("trader-paper-1 is stopped since").await;
    house.order("/start trader-paper-1");
    house.shows("it is being started").await;
    eventually("it runs", SOON, async || unit.runs().then_some(())).await;

    house.order("/pause BTCUSDT");
    house.shows("⏸ ENTRIES PAUSED").await;
    house.order("/status");
    house.shows("⏸ no entries of BTCUSDT").await;
    house.order("/resume");
    house.shows("ENTRIES RESUMED").await;
    let shown = house.telegram.shown();
    assert!(
        !shown.iter().any(|shown| shown.text.contains("👤 ORDERED")),
        "the answer said so: {shown:?}"
    );
    house.says_no_secret();
}

#[tokio::test]
async fn orders_to_the_watchdog_are_answered_in_its_words_and_dangerous_ones_are_confirmed_once() {
    let house = House::new().await;
    house.order("/explain trader-1");
    house.shows("No watchdog answers").await;
    let (asked, _task) = watchdog(house.nats().bus(Role::Watchdog).await).await;
    house.order("/status");
    house.shows("the watchdog of this test heard status").await;
    house.order("/hold trader-1 a bad day");
    house.shows("heard hold").await;

    house.order("/stop trader-1");
    let yes = house.confirm("Stop trader-1 and leave it stopped?").await;
    house.shows("heard stop").await;
    eventually("the buttons are gone", SOON, async || {
        let asked = house.shows("Stop trader-1 and leave").await;
        asked.buttons.is_empty().then_some(())
    })
    .await;
    house.telegram.press(house.telegram.chat(), &yes);
    eventually("the second press is answered", SOON, async || {
        let answers = house.telegram.press_answers();
        answers
            .iter()
            .any(|said| said.contains("spent"))
            .then_some(())
    })
    .await;
    let asked: Vec<UnitOrder> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|r| r.order.clone())
        .collect();
    let unit: protocol::ids::Token = "trader-1".parse().unwrap();
    let why = "a bad day".to_owned();
    assert_eq!(
        asked,
        [
            UnitOrder::Status,
            UnitOrder::Hold {
                unit: unit.clone(),
                why
            },
            UnitOrder::Stop { unit },
        ]
    );
    house
        .audited("/stop trader-1 (confirmed)", "done: the watchdog")
        .await;
    house
        .audited("/explain trader-1", "not done: No watchdog")
        .await;
    let shown = house.telegram.shown();
    assert!(
        !shown.iter().any(|shown| shown.text.contains("🗣 ORDER")),
        "{shown:?}"
    );
    house.says_no_secret();
}

#[tokio::test]
async fn orders_to_an_account_are_stored_with_every_trader_dead() {
    let house = House::new().await;
    house.order("/pause");
    house.shows("No account has reported yet").await;
    let bus = house.nats().bus(Role::TraderPaper).await;
    latched_account(&bus).await;
    house.order("/pause");
    house.shows("no entries of all books").await;
    house.order("/pause DOGEUSDT");
    house.shows("has no book of DOGEUSDT").await;
    house.order(&format!("/unlatch {LATCH}"));
    house.confirm("End latch").await;
    house.shows(&format!("latch {LATCH} ends")).await;
    house.order("/flatten");
    house.confirm("Close everything").await;
    house.shows("close everything and latch").await;
    let said = words(house.nats()).await;
    let orders: Vec<&AccountOrder> = said.iter().map(|word| &word.order).collect();
    let latch = LATCH.to_owned();
    assert_eq!(
        orders,
        [
            &AccountOrder::Pause { symbol: None },
            &AccountOrder::Unlatch { latch },
            &AccountOrder::Flatten
        ]
    );
    let who = format!("Telegram user {}", house.telegram.chat());
    assert!(said.iter().all(|word| word.who == who), "{said:?}");
    house.order("/status");
    house
        .shows("paper.binance-usdm.sim: 9499.99 USDT, 🚨 LATCHED")
        .await;
    house
        .audited("/flatten (confirmed)", "stored for account")
        .await;
}

#[tokio::test]
async fn a_stranger_is_ignored_and_told_of_once_and_what_is_old_or_wrong_is_answered() {
    let house = House::new().await;
    let owner = house.telegram.chat();
    for chat in [STRANGER, owner] {
        house.telegram.say(STRANGER, chat, "/flatten");
    }
    house.telegram.said(owner, owner, "/pause", 120);
    house.order("/fly");
    house.order("/help@bearish_alpha_bot");
    house.shows("Too old, not executed").await;
    house.shows("There is no /fly: see /help").await;
    house.shows("/performance: results of every book").await;
    house.shows("A STRANGER WAS IGNORED").await;
    let heads = house.telegram.shown().into_iter();
    let strangers = heads.filter(|shown| shown.text.contains("STRANGER"));
    assert_eq!(strangers.count(), 1);
    assert!(words(house.nats()).await.is_empty());
    eventually("everything said is confirmed", SOON, async || {
        (house.telegram.unconfirmed() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_9_in_an_order_executes_it_at_most_once_and_says_what_is_not_known() {
    let mut house = House::new().await;
    // A watchdog that hears and never answers: the order is under way for five seconds.
    let bus = house.nats().bus(Role::Watchdog).await;
    let mut orders = bus
        .client()
        .subscribe("command.v1.watchdog.*")
        .await
        .unwrap();
    bus.client().flush().await.unwrap();
    house.order("/start trader-1");
    orders.next().await.unwrap();
    house.notifier.kill();
    house.notifier = house.setup.start();
    let shown = house.shows("OUTCOME UNKNOWN: /start trader-1").await;
    assert!(shown.text.contains("It is not repeated"), "{}", shown.text);
    house.order("/silence");
    house.shows("There is no silence").await;
    let again = tokio::time::timeout(Duration::from_millis(500), orders.next()).await;
    assert!(again.is_err(), "{again:?}");
    house.audited("/start trader-1", "unknown: ").await;
}

#[tokio::test]
async fn performance_comes_with_the_curve_or_alone_where_the_picture_is_not_taken() {
    let house = House::new().await;
    let bus = house.nats().bus(Role::TraderPaper).await;
    let golden = include_str!("../../services/protocol/tests/golden/report_book.json");
    let report: protocol::report::BookReport = serde_json::from_str(golden).unwrap();
    let book = report.book.clone();
    publish(
        &bus,
        &Subject::BookReport(book.clone()),
        &report,
        Keep::Newest,
    )
    .await
    .unwrap();
    house.order("/performance");
    let alone = house.shows("BTCUSDT: 3340.10 USDT").await;
    assert_eq!(alone.photo, None, "there are no points yet");
    for number in 0_i64..20 {
        let point = EquityPoint {
            v: VERSION,
            at: UtcMs(1_764_000_000_000 + number * 300_000),
            equity: (3_300 + number * number % 7).into(),
        };
        let subject = Subject::BookEquity(book.clone());
        publish(&bus, &subject, &point, Keep::All).await.unwrap();
    }
    house.order("/performance");
    let pictured = eventually("a picture", SOON, async || {
        house
            .telegram
            .shown()
            .into_iter()
            .find(|shown| shown.photo.is_some())
    })
    .await;
    assert_eq!(pictured.size, Some((800, 400)));
    assert!(
        pictured.text.contains("Together (paper): 3340.10 USDT"),
        "{}",
        pictured.text
    );
    house.telegram.next(Trouble::NoRights);
    house.order("/performance");
    let texts = eventually("the text alone", SOON, async || {
        let shown = house.telegram.shown();
        let texts = shown
            .into_iter()
            .filter(|shown| shown.text.contains("Together"));
        let texts: Vec<Shown> = texts.collect();
        (texts.len() == 3).then_some(texts)
    })
    .await;
    assert_eq!(texts[2].photo, None);
    house.order("/positions");
    house.shows("BTCUSDT long 0.25 at 40008").await;
    house.order("/health");
    house.shows("letters wait").await;
}

#[tokio::test]
async fn a_silence_keeps_quiet_and_of_two_systems_with_one_bot_the_owner_is_warned_in_the_log() {
    let house = House::new().await;
    house.order("/silence 2h");
    house.shows("everybody: 2h more").await;
    house.order("/silence off");
    house.shows("Every silence is over").await;
    house.order("/logs");
    house.shows("Nothing was told yet").await;
    let rival = NatsServer::with_streams().await;
    let owner = house.telegram.chat().to_string();
    let setup = Setup::new(&rival).with(&house.telegram);
    let rival = setup.env("TELEGRAM_ALLOWED_USERS", &owner).start();
    rival.says("telling the owner").await;
    eventually("one of them notices", SOON, async || {
        let warning = "somebody else hears this bot";
        (house.notifier.said(warning) + rival.said(warning) > 0).then_some(())
    })
    .await;
}
