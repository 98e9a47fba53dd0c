//! Runs a small system and writes what it shows to a directory: the material of the pictures in `docs/pictures`.
//! `scripts/pictures` starts it and draws the pictures.
//!
//! The system: a real bus, a seeded exchange, a real trader in a container that a real watchdog supervises, and a
//! real notifier that writes to the fake Telegram.
//!
//! Usage: `pictures DIRECTORY`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how this program reports a failure"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::candle_file;
use bearish_tests::exchange::Exchange;
use bearish_tests::journals;
use bearish_tests::nats::Role;
use bearish_tests::notifier::NotifierSetup;
use bearish_tests::process::{Process, binary};
use bearish_tests::telegram::{ShownMessage, Telegram};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
/// Flags of the default system, with a delay that is short for a market of this speed.
const FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 2";
/// Exchange time per wall time: a half-hour bar in three seconds.
const SPEED: &str = "600";
/// Trades after which the pictures are taken.
const TRADES: usize = 8;
const TRADING_TIMEOUT: Duration = Duration::from_mins(5);
/// Minutes of the generated market of the backtest: 120 days.
const BACKTEST_MINUTES: i64 = 120 * 24 * 60;

#[tokio::main]
async fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap());
    let dir = std::path::absolute(dir).unwrap();
    run_backtest(&dir).await;
    let mut rig = PictureRig::start().await;
    rig.wait_for_trades().await;
    let since = Instant::now();
    println!("killing the trader and waiting for its restart");
    rig.kill_trader().await;
    rig.give_command("/positions", "/positions").await;
    rig.give_command("/pause ETHUSDT", "ENTRIES PAUSED").await;
    rig.give_command("/performance", "All PAPER books").await;
    rig.write_terminals(&dir).await;
    rig.write_conversation(&dir, since);
}

/// A running system and what its operator has sent to the bot.
struct PictureRig {
    watchdog: WatchdogRig,
    unit: Unit,
    telegram: Telegram,
    setup: NotifierSetup,
    sent: Vec<(Instant, &'static str)>,
    _notifier: Process,
    exchange: Exchange,
}

impl PictureRig {
    async fn start() -> Self {
        let watchdog = WatchdogRig::start().await;
        let exchange = Exchange::start(&[("SIM_SPEED", SPEED), ("SIM_SYMBOLS", SYMBOLS)]).await;
        let telegram = Telegram::start().await;
        let setup = NotifierSetup::new(&watchdog.nats)
            .with_telegram(&telegram)
            .env("BEARISH_PROJECT", &watchdog.project)
            .env("INSTANCE", "notifier-1")
            .env(
                "TELEGRAM_ALLOWED_USERS",
                &telegram.private_chat().to_string(),
            );
        let notifier = setup.start();
        notifier
            .wait_for_log("became leader; sending notifications")
            .await;
        let unit = start_trader(&watchdog, &exchange);
        watchdog.wait_until_healthy(&unit).await;
        Self {
            watchdog,
            unit,
            telegram,
            setup,
            sent: Vec::new(),
            _notifier: notifier,
            exchange,
        }
    }

    async fn wait_for_trades(&self) {
        eventually("trades", TRADING_TIMEOUT, async || {
            let journals = journals::read_paper(&self.watchdog.operator).await;
            (journals::count_trades(journals.values()) >= TRADES).then_some(())
        })
        .await;
    }

    async fn kill_trader(&self) {
        self.unit.signal("KILL");
        self.wait_until_shown("TRADER RECOVERED").await;
    }

    /// Sends a command to the bot and waits for an answer that contains this text.
    async fn give_command(&mut self, command: &'static str, answer: &str) {
        let since = Instant::now();
        self.sent.push((since, command));
        let operator = self.telegram.private_chat();
        self.telegram.send_text(operator, operator, command);
        eventually(
            &format!("answer to {command}"),
            DEFAULT_TIMEOUT,
            async || {
                let mut shown = self.telegram.shown().into_iter();
                shown.find(|shown| shown.shown_at > since && shown.text.contains(answer))
            },
        )
        .await;
    }

    async fn wait_until_shown(&self, text: &str) {
        eventually(&format!("{text:?} is shown"), TRADING_TIMEOUT, async || {
            let mut shown = self.telegram.shown().into_iter();
            shown.find(|shown| shown.text.contains(text))
        })
        .await;
    }

    async fn write_terminals(&self, dir: &Path) {
        let mut books = Command::new(binary("trader"));
        books
            .arg("status")
            .env_clear()
            .env("BEARISH_PROJECT", &self.watchdog.project)
            .envs(self.watchdog.nats.env(Role::Operator));
        let books = self.with_default_names(&output("trader", books).await);
        let (units, _) = self.watchdog.run_command(&["status"]).await;
        let messages = output("notifier", self.setup.command(&["status"])).await;
        write_terminal(
            dir,
            "status",
            "scripts/bearish status",
            &[books, units, messages].join("\n\n"),
        );
        let (text, _) = self
            .watchdog
            .run_command(&["explain", &self.unit.name])
            .await;
        let title = format!("scripts/bearish explain {}", self.unit.name);
        write_terminal(dir, "explain", &title, &text);
    }

    /// The text with the names that the default system has instead of the random ones of this run.
    fn with_default_names(&self, text: &str) -> String {
        let port = self.exchange.address().port();
        text.replace(&self.watchdog.project, "bearish-alpha")
            .replace(&format!("127-0-0-1-{port}"), "simulator")
    }

    /// Writes the conversation since this time as JSON, and the newest picture in it.
    fn write_conversation(&self, dir: &Path, since: Instant) {
        let mut entries: Vec<(Instant, Value)> = self
            .sent
            .iter()
            .map(|(at, text)| (*at, json!({ "by": "operator", "text": text })))
            .collect();
        let shown = self.telegram.shown();
        entries.extend(shown.iter().map(|shown| (shown.shown_at, to_json(shown))));
        entries.retain(|(at, _)| *at > since);
        entries.sort_by_key(|(at, _)| *at);
        let entries: Vec<Value> = entries.into_iter().map(|(_, entry)| entry).collect();
        let text = serde_json::to_string_pretty(&entries).unwrap();
        std::fs::write(dir.join("telegram.json"), self.with_default_names(&text)).unwrap();
        let photo = shown.iter().rev().find_map(|shown| shown.photo.as_ref());
        std::fs::write(dir.join("performance.png"), photo.unwrap()).unwrap();
    }
}

/// Starts the real trader in the container of the unit `trader-paper-1`.
fn start_trader(watchdog: &WatchdogRig, exchange: &Exchange) -> Unit {
    let address = exchange.address();
    let mut setup = watchdog
        .unit_setup(1, FLAGS)
        .with_option(
            "--volume",
            &format!("{}:/trader:ro", binary("trader").display()),
        )
        .with_option("--entrypoint", "/trader");
    let own = [
        ("INSTANCE", "trader-paper-1".to_owned()),
        ("BEARISH_PROJECT", watchdog.project.clone()),
        ("HEARTBEAT_SECS", "1".to_owned()),
        ("SYMBOLS", SYMBOLS.to_owned()),
        ("BINANCE_REST_URL", format!("http://{address}")),
        ("BINANCE_WS_URL", format!("ws://{address}")),
    ];
    for (name, value) in own.into_iter().chain(watchdog.nats.env(Role::TraderPaper)) {
        setup = setup.env(&format!("{name}={value}"));
    }
    setup.start()
}

fn to_json(shown: &ShownMessage) -> Value {
    let units: Vec<u16> = shown.text.encode_utf16().collect();
    let bold = shown.entities.iter().filter(|entity| entity.kind == "bold");
    let bold = bold.map(|entity| String::from_utf16_lossy(&units[entity.offset..entity.end()]));
    let buttons = shown.buttons.iter().flatten().map(|button| &button.text);
    json!({
        "by": "bot",
        "text": shown.text,
        "bold": bold.collect::<Vec<_>>(),
        "buttons": buttons.collect::<Vec<_>>(),
        "photo": shown.photo.is_some(),
    })
}

/// Runs a backtest of a random walk; writes its summary and its chart.
async fn run_backtest(dir: &Path) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut last: i64 = 400_000;
    let csv = candle_file::csv((0..BACKTEST_MINUTES).map(|_| {
        let open = last;
        last += open * random.random_range(-1_200..=1_200) / 1_000_000;
        let beyond = open / 4_000;
        let high = open.max(last) + random.random_range(0..beyond);
        let low = open.min(last) - random.random_range(0..beyond);
        [open, high, low, last]
    }));
    std::fs::write(dir.join("candles.csv"), csv).unwrap();
    let mut command = Command::new(binary("trader"));
    let arguments =
        "backtest --symbol BTCUSDT --candles candles.csv --continue-after-halt --plot backtest.png";
    command
        .env_clear()
        .current_dir(dir)
        .args(arguments.split(' '));
    let text = output("backtest", command).await;
    let title = "scripts/bearish backtest candles.csv --symbol BTCUSDT --continue-after-halt --plot backtest.png";
    write_terminal(dir, "backtest", title, &text);
}

/// Standard output of a command that succeeds.
async fn output(name: &str, command: Command) -> String {
    let mut process = Process::start(name, command);
    let code = process.exit_within(DEFAULT_TIMEOUT).await;
    assert_eq!(code, 0, "{name}: {:?}", process.err());
    process.out().join("\n")
}

fn write_terminal(dir: &Path, name: &str, command: &str, text: &str) {
    std::fs::write(
        dir.join(name).with_extension("txt"),
        format!("{command}\n{text}\n"),
    )
    .unwrap();
}
