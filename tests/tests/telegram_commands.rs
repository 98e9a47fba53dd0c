//! Telegram commands: the real notifier between a real nats-server and a strict Telegram. The first test has the real
//! watchdog and the real trader; in the others, a responder that speaks `protocol::command` replies for the watchdog, and
//! the tests publish account reports.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::exchange::Exchange;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::NotifierSetup;
use bearish_tests::process::Process;
use bearish_tests::telegram::{ShownMessage, Telegram, TelegramFault};
use bearish_tests::trader::TraderSetup;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::WatchdogRig;
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest, UnitStatus, UnitStatuses};
use protocol::event::EventBody;
use protocol::ids::AccountKey;
use protocol::report::{AccountReport, EquityPoint};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::report_publisher::{Retention, publish};
use serde_json::json;
use tokio::task::JoinSet;

const UNAUTHORIZED_USER: i64 = 8;
const LATCH: &str = "daily_loss-1764000000000";

/// A bus, a Telegram, and a notifier that accepts commands of the user of its chat.
struct NotifierRig {
    nats: Option<NatsServer>,
    telegram: Telegram,
    setup: NotifierSetup,
    notifier: Process,
}

impl NotifierRig {
    async fn start() -> Self {
        let nats = NatsServer::with_streams().await;
        let mut notifier_rig = Self::start_beside(&nats).await;
        notifier_rig.nats = Some(nats);
        notifier_rig
    }

    /// Starts on a bus that the test shares with other programs.
    async fn start_beside(nats: &NatsServer) -> Self {
        let telegram = Telegram::start().await;
        let operator = telegram.private_chat().to_string();
        let setup = NotifierSetup::new(nats).with_telegram(&telegram);
        let setup = setup
            .env("TELEGRAM_ALLOWED_USERS", &operator)
            .env("TELEGRAM_MIN_INTERVAL_MS", "0");
        let notifier = setup.start();
        notifier
            .wait_for_log("became leader; sending notifications")
            .await;
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

    fn send_command(&self, text: &str) {
        let operator = self.telegram.private_chat();
        self.telegram.send_text(operator, operator, text);
    }

    async fn wait_until_shown(&self, text: &str) -> ShownMessage {
        eventually(&format!("{text:?} is shown"), DEFAULT_TIMEOUT, async || {
            let mut shown = self.telegram.shown().into_iter();
            shown.find(|shown| shown.text.contains(text))
        })
        .await
    }

    /// Confirms what was asked last.
    async fn confirm(&self, question: &str) -> String {
        let asked = self.wait_until_shown(question).await;
        let yes = asked.buttons[0][0].data.clone();
        self.telegram
            .press_button(self.telegram.private_chat(), &yes);
        yes
    }

    async fn wait_for_command_event(&self, command: &str, result: &str) {
        let bus = self.nats().bus(Role::Operator).await;
        eventually(&format!("{command} is audited"), DEFAULT_TIMEOUT, async || {
            let mut stored = bus_reader::stored_events(&bus).await.into_iter();
            stored.find(|stored| {
                matches!(&stored.event.body, EventBody::OperatorCommandExecuted { command: was, result: found, .. }
                if was == command && found.starts_with(result))
            })
        })
        .await;
    }

    fn assert_no_secret_logged(&self) {
        let secret = self.telegram.token().split_once(':').unwrap().1;
        for line in self.notifier.out().iter().chain(&self.notifier.err()) {
            assert!(!line.contains(secret), "the token is in {line:?}");
        }
    }
}

/// Answers as a watchdog would, and keeps what it was asked.
async fn start_fake_watchdog(bus: Bus) -> (Arc<Mutex<Vec<UnitCommandRequest>>>, JoinSet<()>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let mut commands = bus
        .client()
        .subscribe("command.v1.watchdog.>")
        .await
        .unwrap();
    bus.client().flush().await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Some(message) = commands.next().await {
            let request: UnitCommandRequest = serde_json::from_slice(&message.payload).unwrap();
            let verb = request.command.verb();
            assert!(message.subject.ends_with(&format!(".{verb}")));
            let answer = CommandReply {
                v: VERSION,
                ok: true,
                text: format!("the watchdog of this test received {verb}"),
                data: (verb == "status").then(|| {
                    json!(UnitStatuses {
                        units: units(),
                        blindness: None,
                        services: Vec::new(),
                        clock_step: None,
                    })
                }),
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

/// Units with names and phases of different lengths.
fn units() -> Vec<UnitStatus> {
    let unit = |name: &str, phase: &str| UnitStatus {
        unit: name.parse().unwrap(),
        phase: phase.to_owned(),
        hold: None,
        since: UtcMs(1_764_000_000_000),
        restarts: 3,
        max_restarts: 1000,
        consecutive_failures: 0,
        next_start_ms: None,
        last_reason: None,
    };
    vec![
        unit("trader-1", "running"),
        unit("trader-22", "quarantined"),
    ]
}

fn account() -> AccountKey {
    "paper.binance-usdm.sim".parse().unwrap()
}

async fn publish_latched_report(bus: &Bus) {
    let golden = include_str!("../../services/protocol/tests/golden/report_account.json");
    let report: AccountReport = serde_json::from_str(golden).unwrap();
    let subject = Subject::AccountReport(account());
    publish(bus, &subject, &report, Retention::Newest)
        .await
        .unwrap();
}

async fn read_account_commands(nats: &NatsServer) -> Vec<AccountCommandRecord> {
    let bus = nats.bus(Role::TraderPaper).await;
    let subject = Subject::AccountCommandJournal(account());
    let reader = "reader".parse().unwrap();
    let (_, entries) = Journal::replay::<AccountCommandRecord>(&bus, &subject, reader)
        .await
        .unwrap();
    entries
        .into_iter()
        .flat_map(|stored| stored.batch.records)
        .collect()
}

#[tokio::test]
async fn commands_reach_the_watchdog_and_account_leader_and_are_answered() {
    let rig = WatchdogRig::start().await;
    let flags = "--paper --infinite --auto-restart";
    let unit = rig.unit_setup(1, flags).start();
    rig.wait_until_healthy(&unit).await;
    let exchange = Exchange::start(&[("SIM_SYMBOLS", "BTCUSDT")]).await;
    let trader = TraderSetup::new("ordered", &rig.nats, &exchange).env("SYMBOLS", "BTCUSDT");
    let trader = trader.start();
    trader.wait_until_running().await;
    let notifier_rig = NotifierRig::start_beside(&rig.nats).await;

    notifier_rig.send_command("/stop trader-paper-1");
    notifier_rig
        .confirm("Stop trader-paper-1? It stays stopped.")
        .await;
    notifier_rig
        .wait_until_shown("stopping; the unit stays stopped")
        .await;
    eventually("it is down", DEFAULT_TIMEOUT, async || {
        (!unit.is_running()).then_some(())
    })
    .await;
    notifier_rig.send_command("/explain trader-paper-1");
    notifier_rig
        .wait_until_shown("trader-paper-1 is stopped since")
        .await;
    notifier_rig.send_command("/start trader-paper-1");
    notifier_rig
        .wait_until_shown("/start trader-paper-1\nstarting")
        .await;
    eventually("it runs", DEFAULT_TIMEOUT, async || {
        unit.is_running().then_some(())
    })
    .await;

    notifier_rig.send_command("/pause BTCUSDT");
    notifier_rig.wait_until_shown("⏸️ ENTRIES PAUSED").await;
    notifier_rig.send_command("/status");
    notifier_rig
        .wait_until_shown("⏸️ entries paused: BTCUSDT")
        .await;
    notifier_rig.send_command("/resume");
    notifier_rig.wait_until_shown("ENTRIES RESUMED").await;
    let shown = notifier_rig.telegram.shown();
    assert!(
        !shown
            .iter()
            .any(|shown| shown.text.contains("👤 COMMAND EXECUTED")),
        "the reply is enough: {shown:?}"
    );
    notifier_rig.assert_no_secret_logged();
}

#[tokio::test]
async fn watchdog_commands_are_answered_and_dangerous_ones_confirmed_once() {
    let notifier_rig = NotifierRig::start().await;
    notifier_rig.send_command("/explain trader-1");
    notifier_rig
        .wait_until_shown("No watchdog is running")
        .await;
    let (asked, _task) = start_fake_watchdog(notifier_rig.nats().bus(Role::Watchdog).await).await;
    notifier_rig.send_command("/status");
    let status = notifier_rig
        .wait_until_shown("trader-1  running     3/1000")
        .await;
    // A phone aligns the columns of nothing but a `pre`.
    let utf16: Vec<u16> = status.text.encode_utf16().collect();
    let table = status.entities.iter().find(|entity| entity.kind == "pre");
    let table = table.unwrap_or_else(|| panic!("no table: {status:?}"));
    let table = String::from_utf16(&utf16[table.offset..][..table.length]).unwrap();
    assert_eq!(
        table,
        "UNIT      STATE       RESTARTS\ntrader-1  running     3/1000\ntrader-22 quarantined 3/1000"
    );
    notifier_rig.send_command("/hold trader-1 a bad day");
    notifier_rig.wait_until_shown("received hold").await;

    notifier_rig.send_command("/stop trader-1");
    let yes = notifier_rig
        .confirm("Stop trader-1? It stays stopped.")
        .await;
    notifier_rig.wait_until_shown("received stop").await;
    eventually("the buttons are gone", DEFAULT_TIMEOUT, async || {
        let asked = notifier_rig
            .wait_until_shown("Stop trader-1? It stays")
            .await;
        asked.buttons.is_empty().then_some(())
    })
    .await;
    notifier_rig
        .telegram
        .press_button(notifier_rig.telegram.private_chat(), &yes);
    eventually(
        "the second press is answered",
        DEFAULT_TIMEOUT,
        async || {
            let answers = notifier_rig.telegram.callback_answers();
            answers
                .iter()
                .any(|said| said.contains("expired"))
                .then_some(())
        },
    )
    .await;
    let asked: Vec<UnitCommand> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|r| r.command.clone())
        .collect();
    let unit: protocol::ids::SubjectToken = "trader-1".parse().unwrap();
    let reason = "a bad day".to_owned();
    assert_eq!(
        asked,
        [
            UnitCommand::Status,
            UnitCommand::Hold {
                unit: unit.clone(),
                reason
            },
            UnitCommand::Stop { unit },
        ]
    );
    notifier_rig
        .wait_for_command_event("/stop trader-1 (confirmed)", "done: the watchdog")
        .await;
    notifier_rig
        .wait_for_command_event("/explain trader-1", "not done: No watchdog")
        .await;
    let shown = notifier_rig.telegram.shown();
    assert!(
        !shown
            .iter()
            .any(|shown| shown.text.contains("👤 COMMAND EXECUTED")),
        "{shown:?}"
    );
    notifier_rig.assert_no_secret_logged();
}

#[tokio::test]
async fn account_commands_are_stored_with_every_trader_down() {
    let notifier_rig = NotifierRig::start().await;
    notifier_rig.send_command("/pause");
    notifier_rig
        .wait_until_shown("No account report received yet")
        .await;
    let bus = notifier_rig.nats().bus(Role::TraderPaper).await;
    publish_latched_report(&bus).await;
    notifier_rig.send_command("/pause");
    notifier_rig
        .wait_until_shown("pause entries of all symbols")
        .await;
    notifier_rig.send_command("/pause DOGEUSDT");
    notifier_rig
        .wait_until_shown("has no book of DOGEUSDT")
        .await;
    notifier_rig.send_command(&format!("/unlatch {LATCH}"));
    notifier_rig.confirm("End latch").await;
    notifier_rig
        .wait_until_shown(&format!("end latch {LATCH}"))
        .await;
    notifier_rig.send_command("/flatten");
    notifier_rig.confirm("Close all positions").await;
    notifier_rig
        .wait_until_shown("close all positions and latch")
        .await;
    let records = read_account_commands(notifier_rig.nats()).await;
    let commands: Vec<&AccountCommand> = records.iter().map(|record| &record.command).collect();
    let latch = LATCH.to_owned();
    assert_eq!(
        commands,
        [
            &AccountCommand::Pause { symbol: None },
            &AccountCommand::Unlatch { latch_id: latch },
            &AccountCommand::Flatten
        ]
    );
    let by = format!("Telegram user {}", notifier_rig.telegram.private_chat());
    assert!(records.iter().all(|record| record.by == by), "{records:?}");
    notifier_rig.send_command("/status");
    notifier_rig
        .wait_until_shown("paper.binance-usdm.sim: 9499.99 USDT, 🛑 LATCHED")
        .await;
    notifier_rig
        .wait_for_command_event("/flatten (confirmed)", "stored for account")
        .await;
}

#[tokio::test]
async fn unauthorized_user_is_reported_once_and_bad_commands_are_answered() {
    let notifier_rig = NotifierRig::start().await;
    let operator = notifier_rig.telegram.private_chat();
    for chat in [UNAUTHORIZED_USER, operator] {
        notifier_rig
            .telegram
            .send_text(UNAUTHORIZED_USER, chat, "/flatten");
    }
    notifier_rig
        .telegram
        .send_old_text(operator, operator, "/pause", 120);
    notifier_rig.send_command("/fly");
    notifier_rig.send_command("/help@bearish_alpha_bot");
    notifier_rig.wait_until_shown("Command expired").await;
    notifier_rig
        .wait_until_shown("Unknown command /fly; /help lists the commands")
        .await;
    notifier_rig
        .wait_until_shown("/performance: result of every book")
        .await;
    notifier_rig
        .wait_until_shown("UNAUTHORIZED COMMAND IGNORED")
        .await;
    let shown = notifier_rig.telegram.shown().into_iter();
    let reports = shown.filter(|shown| shown.text.contains("UNAUTHORIZED COMMAND"));
    assert_eq!(reports.count(), 1);
    assert!(read_account_commands(notifier_rig.nats()).await.is_empty());
    eventually(
        "everything said is confirmed",
        DEFAULT_TIMEOUT,
        async || (notifier_rig.telegram.unconfirmed_updates() == 0).then_some(()),
    )
    .await;
}

#[tokio::test]
async fn command_is_executed_at_most_once_across_kill_9() {
    let mut notifier_rig = NotifierRig::start().await;
    // A watchdog that receives the command and never replies: the command runs for five seconds.
    let bus = notifier_rig.nats().bus(Role::Watchdog).await;
    let mut commands = bus
        .client()
        .subscribe("command.v1.watchdog.>")
        .await
        .unwrap();
    bus.client().flush().await.unwrap();
    notifier_rig.send_command("/start trader-1");
    commands.next().await.unwrap();
    notifier_rig.notifier.kill();
    notifier_rig.notifier = notifier_rig.setup.start();
    let shown = notifier_rig
        .wait_until_shown("OUTCOME UNKNOWN: /start trader-1")
        .await;
    assert!(shown.text.contains("It is not repeated"), "{}", shown.text);
    notifier_rig.send_command("/silence");
    notifier_rig.wait_until_shown("No silence is active").await;
    let again = tokio::time::timeout(Duration::from_millis(500), commands.next()).await;
    assert!(again.is_err(), "{again:?}");
    notifier_rig
        .wait_for_command_event("/start trader-1", "unknown: ")
        .await;
}

#[tokio::test]
async fn performance_reply_has_a_chart_or_comes_as_text_alone() {
    let notifier_rig = NotifierRig::start().await;
    let bus = notifier_rig.nats().bus(Role::TraderPaper).await;
    let golden = include_str!("../../services/protocol/tests/golden/report_book.json");
    let report: protocol::report::BookReport = serde_json::from_str(golden).unwrap();
    let book = report.book.clone();
    publish(
        &bus,
        &Subject::BookReport(book.clone()),
        &report,
        Retention::Newest,
    )
    .await
    .unwrap();
    notifier_rig.send_command("/performance");
    let alone = notifier_rig
        .wait_until_shown("BTCUSDT: equity 3340.10 USDT")
        .await;
    assert_eq!(alone.photo, None, "there are no points yet");
    for number in 0_i64..20 {
        let point = EquityPoint {
            v: VERSION,
            at: UtcMs(1_764_000_000_000 + number * 300_000),
            equity: (3_300 + number * number % 7).into(),
        };
        let subject = Subject::BookEquity(book.clone());
        publish(&bus, &subject, &point, Retention::All)
            .await
            .unwrap();
    }
    notifier_rig.send_command("/performance");
    let pictured = eventually("a picture", DEFAULT_TIMEOUT, async || {
        notifier_rig
            .telegram
            .shown()
            .into_iter()
            .find(|shown| shown.photo.is_some())
    })
    .await;
    assert_eq!(pictured.size, Some((800, 400)));
    assert!(
        pictured
            .text
            .contains("All PAPER books: equity 3340.10 USDT"),
        "{}",
        pictured.text
    );
    notifier_rig.telegram.prepare_fault(TelegramFault::NoRights);
    notifier_rig.send_command("/performance");
    let texts = eventually("the text alone", DEFAULT_TIMEOUT, async || {
        let shown = notifier_rig.telegram.shown();
        let texts = shown
            .into_iter()
            .filter(|shown| shown.text.contains("All PAPER books"));
        let texts: Vec<ShownMessage> = texts.collect();
        (texts.len() == 3).then_some(texts)
    })
    .await;
    assert_eq!(texts[2].photo, None);
    notifier_rig.send_command("/positions");
    notifier_rig
        .wait_until_shown("BTCUSDT long 0.25 at 40008")
        .await;
    notifier_rig.send_command("/health");
    notifier_rig.wait_until_shown("notifications queued").await;
}

#[tokio::test]
async fn silence_mutes_and_a_second_poller_of_the_bot_is_logged() {
    let notifier_rig = NotifierRig::start().await;
    notifier_rig.send_command("/silence 2h");
    notifier_rig.wait_until_shown("all: 2h left").await;
    notifier_rig.send_command("/silence off");
    notifier_rig.wait_until_shown("All silences ended").await;
    notifier_rig.send_command("/logs");
    notifier_rig.wait_until_shown("No notifications yet").await;
    let rival = NatsServer::with_streams().await;
    let operator = notifier_rig.telegram.private_chat().to_string();
    let setup = NotifierSetup::new(&rival).with_telegram(&notifier_rig.telegram);
    let rival = setup.env("TELEGRAM_ALLOWED_USERS", &operator).start();
    rival
        .wait_for_log("became leader; sending notifications")
        .await;
    eventually("one of them notices", DEFAULT_TIMEOUT, async || {
        let warning = "another client polls this bot";
        (notifier_rig.notifier.count_logs(warning) + rival.count_logs(warning) > 0).then_some(())
    })
    .await;
}
