//! A trader's life, from outside: it starts, trades, dies at any moment and comes back, outlives bus
//! and exchange, ends when it is told to. Every trade is audited against the exchange's candles.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use bearish_tests::audit;
use bearish_tests::bus_reader;
use bearish_tests::exchange::{Candle, MINUTE_MS};
use bearish_tests::journals;
use bearish_tests::nats::Role;
use bearish_tests::system::System;
use bearish_tests::trader::{Trader, TraderSetup};
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use futures_util::StreamExt;
use protocol::event::{EventBody, PositionSide};
use protocol::heartbeat;
use protocol::ids::{BookKey, SubjectToken};
use tokio::time::{Instant, sleep, timeout};
use trader_core::book::{BookPhase, BookRecord, Position};

/// Market time fast enough for many trades, slow enough that entries are made in time.
const FAST_MARKET: (&str, &str) = ("SIM_SPEED", "300");
/// A trader that was told to end has ended by then.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn trader_trades_within_a_minute_of_its_start_and_publishes_it() {
    let system = System::start(&[]).await;
    let setup = system.trader_setup("first");
    // Heard as it comes: the bus keeps only the newest, and the next one is not long after.
    let ear = system.nats.raw_client(Role::Watchdog).await;
    let subject = format!("heartbeat.v1.trader.{}", setup.instance());
    let mut beats = ear.client.subscribe(subject).await.unwrap();
    ear.client.flush().await.unwrap();
    let trader = setup.start();
    let first = timeout(DEFAULT_TIMEOUT, beats.next())
        .await
        .unwrap()
        .unwrap();
    let starting: heartbeat::Heartbeat = serde_json::from_slice(&first.payload).unwrap();
    trader.wait_until_running().await;
    system.wait_for_trades(1, DEFAULT_TIMEOUT).await;
    let later =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    assert_eq!(starting.phase, heartbeat::ProcessPhase::Starting);
    assert_eq!(later.boot, starting.boot);
    assert!(later.seq > starting.seq && later.uptime_ms > starting.uptime_ms);
    assert_eq!(later.books.len(), 3);
    for part in ["feed", "fleet", "BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        let before = starting.components.get(part).map_or(0, |p| p.iterations);
        let turns = later
            .components
            .get(part)
            .unwrap_or_else(|| panic!("no {part}"));
        assert!(turns.iterations > before, "{part} stood still: {turns:?}");
    }
    assert!(system.audit(&trader).await >= 1);
    let told = bus_reader::stored_events(system.operator_bus()).await;
    let kinds = |kind: &str| told.iter().filter(|t| t.event.body.kind() == kind).count();
    assert_eq!(kinds("trader_started"), 1);
    assert_eq!(kinds("book_acquired"), 3);
    assert!(kinds("position_opened") >= 1 && kinds("position_closed") >= 1);
    let id = format!("{}:started", later.boot);
    assert!(told.iter().any(|t| t.event.id == id), "no event {id}");
}

#[tokio::test]
async fn kill_9_of_the_trader_loses_nothing_and_doubles_nothing() {
    const KILLS: usize = 20;
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader_setup("mortal");
    let mut dice = SeededRandom::new();
    for kill in 0..KILLS {
        let mut trader = setup.start();
        // Half of them anywhere, start-up included; half right behind a decision.
        if kill % 2 == 0 {
            sleep(dice.duration_ms(50..4_000)).await;
        } else {
            let moment = dice.choose(&["entry decided", "position opened", "position closed"]);
            wait_for_log_if_any(&trader, moment, seconds(8)).await;
            sleep(dice.duration_ms(0..20)).await;
        }
        trader.kill();
    }
    let survivor = setup.start();
    survivor.wait_until_running().await;
    let closed = system.audit(&survivor).await;
    let boots = count_writer_boots(&system).await;
    eprintln!("{KILLS} kills, {boots} boots reached a book, {closed} trades");
    assert!(closed >= 3, "only {closed} trades: the kills met nothing");
    assert!(boots > KILLS / 2, "only {boots} boots reached a book");
}

/// Dead for hours of the market's, it finds the candle in which its stop or target was touched.
#[tokio::test]
async fn exit_missed_while_the_trader_was_down_is_found_after_restart() {
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader_setup("absent");
    let (key, position) = kill_with_open_position(&system, &setup).await;
    let symbol = key.symbol.as_str();
    let missed = eventually("stop or target is touched", seconds(120), async || {
        // A look costs 11 of the 2,400 that the exchange allows an address in a minute: the trader that
        // comes back needs some of them.
        sleep(seconds(1)).await;
        let candles = system.exchange.candles(symbol, position.at).await;
        let touch = candles
            .iter()
            .find(|(_, candle)| is_touched(&position, candle));
        // Further back than the bar that is running when it comes back.
        let over = system.exchange.now().await.0 - 60 * MINUTE_MS;
        touch.map(|(at, _)| *at).filter(|at| *at < over)
    })
    .await;
    let returned = setup.start();
    returned.wait_until_running().await;
    system.audit(&returned).await;
    let closed = system.wait_for_record("the position is closed", DEFAULT_TIMEOUT, |record| {
        matches!(record, BookRecord::PositionClosed(trade) if trade.entry_price == position.entry_price)
    });
    match closed.await {
        BookRecord::PositionClosed(trade) => assert_eq!(trade.at.0, missed),
        other => panic!("{other:?}"),
    }
}

/// Kills traders until one leaves a position behind.
async fn kill_with_open_position(system: &System, setup: &TraderSetup) -> (BookKey, Position) {
    for _ in 0..5 {
        let mut trader = setup.start();
        let opened = |record: &BookRecord| matches!(record, BookRecord::PositionOpened(_));
        system
            .wait_for_record("a position", seconds(90), opened)
            .await;
        trader.kill();
        for (key, entries) in system.journals().await {
            if let BookPhase::Open(position) = journals::fold_book(&entries).phase {
                return (key, position);
            }
        }
    }
    panic!("each position was closed before its trader was dead");
}

fn is_touched(position: &Position, candle: &Candle) -> bool {
    let (stop, target) = (
        position.stop_price.to_decimal(),
        position.target_price.to_decimal(),
    );
    match position.side {
        PositionSide::Long => candle.low <= stop || candle.high >= target,
        PositionSide::Short => candle.high >= stop || candle.low <= target,
    }
}

/// Events are sent behind the journal's back: the stream takes none while two boots live and die.
#[tokio::test]
async fn unpublished_events_are_published_after_a_restart() {
    let system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("muted");
    let mut first = setup.start();
    first.wait_until_running().await;
    system.set_events_full(true).await;
    system.wait_for_trades(1, seconds(90)).await;
    first.kill();
    let mut second = setup.start();
    second.wait_until_running().await;
    second.kill();
    let journals = system.journals().await;
    let owed = audit::missing_events(
        &journals,
        &bus_reader::stored_events(system.operator_bus()).await,
    );
    assert!(owed.len() >= 5, "two fills and three owners: {owed:?}");
    system.set_events_full(false).await;
    let third = setup.start();
    third.wait_until_running().await;
    system.audit(&third).await;
}

/// Waits for a log line that may not come.
async fn wait_for_log_if_any(trader: &Trader, text: &str, within: Duration) {
    let deadline = Instant::now() + within;
    while trader.count_logs(text) == 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Boots that took over at least one book.
async fn count_writer_boots(system: &System) -> usize {
    let journals = system.journals().await;
    let boots = journals::records(journals.values()).filter_map(|record| match record {
        BookRecord::WriterChanged { boot, .. } => Some(boot),
        _ => None,
    });
    boots.collect::<BTreeSet<&SubjectToken>>().len()
}

/// Market time stands while nobody is subscribed, so a dead trader misses nothing: the trades must be
/// those of a trader that was never killed.
#[tokio::test]
async fn trades_are_the_same_with_and_without_kills() {
    const KILLS: usize = 12;
    // 0.6 s of wall time are a minute of the market's: an entry is in time on a busy machine.
    let market = [
        ("SIM_SPEED", "100"),
        ("SIM_CLOCK_PAUSE", "without-subscribers"),
        ("SIM_SYMBOLS", "BTCUSDT"),
        ("SIM_SEED", "4"),
    ];
    let (calm, rough) = (System::start(&market).await, System::start(&market).await);
    // Quick trades, and no locks on entries: many decisions for the kills to meet.
    let alone = |system: &System, name: &str| {
        let setup = system.trader_setup(name).env("SYMBOLS", "BTCUSDT");
        let setup = setup.env("STRATEGIES", "oversold-bounce,short-the-rip");
        setup.env("PROTECTIONS", "none")
    };
    let unharmed = alone(&calm, "unharmed").start();
    let setup = alone(&rough, "harmed");
    let mut dice = SeededRandom::new();
    for _ in 0..KILLS {
        let mut trader = setup.start();
        trader.wait_until_running().await;
        sleep(dice.duration_ms(500..5_000)).await;
        trader.kill();
    }
    let mut survivor = setup.start();
    rough.wait_for_trades(2, seconds(120)).await;
    let until = rough.exchange.now().await;
    survivor.kill();
    eventually("the other market gets as far", seconds(120), async || {
        (calm.exchange.now().await >= until).then_some(())
    })
    .await;
    rough.audit_until(0).await;
    let (harmed, unharmed_trades) = (trade_records(&rough).await, trade_records(&calm).await);
    assert!(harmed.len() >= 4, "{harmed:#?}");
    assert_eq!(harmed, unharmed_trades[..harmed.len()]);
    drop(unharmed);
}

/// What was bought and sold, in words without boots and sequences.
async fn trade_records(system: &System) -> Vec<String> {
    let journals = system.journals().await;
    let mut trades = Vec::new();
    for record in journals::records(journals.values()) {
        match record {
            BookRecord::PositionOpened(_)
            | BookRecord::EntryDropped { .. }
            | BookRecord::PositionClosed(_) => trades.push(format!("{record:?}")),
            _ => {}
        }
    }
    trades
}

#[tokio::test]
async fn trader_survives_a_bus_restart() {
    let mut system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("patient");
    let mut trader = setup.start();
    system.wait_for_trades(1, seconds(90)).await;
    let before =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    for away in [0, 4] {
        system.nats.kill();
        sleep(seconds(away)).await;
        system.nats.restart().await;
        wait_until_caught_up(&system, &setup).await;
    }
    let after =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    assert_eq!(after.boot, before.boot, "it was restarted");
    let had = system.audit(&trader).await;
    system.wait_for_trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert_eq!(trader.count_logs("book lost"), 0);
    assert!(trader.is_running());
}

#[tokio::test]
async fn trader_survives_a_bus_that_does_not_answer_for_a_while() {
    let system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("patient");
    let mut trader = setup.start();
    system.wait_for_trades(1, seconds(90)).await;
    let before =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    system.nats.freeze();
    sleep(seconds(8)).await;
    system.nats.thaw();
    wait_until_caught_up(&system, &setup).await;
    let after =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    assert_eq!(after.boot, before.boot, "it was restarted");
    let had = system.audit(&trader).await;
    system.wait_for_trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert_eq!(trader.count_logs("book lost"), 0);
    assert!(trader.is_running());
}

async fn wait_until_caught_up(system: &System, setup: &TraderSetup) {
    bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
        .await;
}

#[tokio::test]
async fn trader_survives_an_exchange_restart_and_fills_the_gap() {
    let mut system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("patient");
    let mut trader = setup.start();
    system.wait_for_trades(1, seconds(90)).await;
    let before =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    system.exchange.kill();
    // 15 minutes of the market's.
    sleep(seconds(3)).await;
    system.exchange.restart().await;
    wait_until_caught_up(&system, &setup).await;
    let after =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    assert_eq!(after.boot, before.boot, "it was restarted");
    // An exit in the gap is found by the audit: no candle may be missing.
    let had = system.audit(&trader).await;
    system.wait_for_trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert!(trader.is_running());
}

#[tokio::test]
async fn paper_trades_survive_the_kill_of_everything_at_once() {
    let mut system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("mortal");
    let mut trader = setup.start();
    system.wait_for_trades(1, seconds(90)).await;
    let known = trade_records(&system).await;
    system.nats.kill();
    trader.kill();
    system.exchange.kill();
    system.nats.restart().await;
    system.exchange.restart().await;
    let kept = trade_records(&system).await;
    assert!(kept.len() >= known.len(), "{known:#?}\n{kept:#?}");
    assert_eq!(known, kept[..known.len()]);
    let trader = setup.start();
    trader.wait_until_running().await;
    system.audit(&trader).await;
}

#[tokio::test]
async fn signal_shuts_the_trader_down() {
    let system = System::start(&[]).await;
    for signal in ["TERM", "INT"] {
        let setup = system.trader_setup(&format!("told-{}", signal.to_lowercase()));
        let mut trader = setup.start();
        trader.wait_until_running().await;
        trader.signal(signal);
        assert_eq!(trader.exit_within(SHUTDOWN_TIMEOUT).await, 0, "SIG{signal}");
        let bus = system.operator_bus();
        let last = bus_reader::latest_heartbeat(bus, setup.instance())
            .await
            .unwrap();
        assert_eq!(last.phase, heartbeat::ProcessPhase::Stopped, "SIG{signal}");
        let id = format!("{}:stopped", last.boot);
        let told = bus_reader::stored_events(bus).await;
        let goodbye = told.into_iter().find(|t| t.event.id == id).unwrap();
        match goodbye.event.body {
            EventBody::TraderStopped {
                exit_code, reason, ..
            } => {
                assert_eq!((exit_code, reason.as_str()), (0, "stop requested"));
            }
            other => panic!("{other:?}"),
        }
        assert!(trader.err().is_empty(), "{:?}", trader.err());
    }
}

#[tokio::test]
async fn signal_shuts_the_trader_down_in_time_while_the_bus_is_frozen() {
    let system = System::start(&[]).await;
    let mut trader = system.trader_setup("stuck").start();
    trader.wait_until_running().await;
    system.nats.freeze();
    trader.signal("TERM");
    assert_eq!(trader.exit_within(SHUTDOWN_TIMEOUT).await, 0);
}

#[tokio::test]
async fn second_signal_ends_the_trader_at_once() {
    let system = System::start(&[]).await;
    let mut trader = system.trader_setup("hurried").start();
    trader.wait_until_running().await;
    system.nats.freeze();
    trader.signal("TERM");
    trader
        .wait_for_log("stop requested; again to end at once")
        .await;
    assert!(trader.is_running());
    trader.signal("INT");
    assert_eq!(trader.exit_within(Duration::from_millis(1_500)).await, 0);
}

#[tokio::test]
async fn signal_ends_a_trader_that_waits_for_its_dependencies() {
    let mut system = System::start(&[]).await;
    system.nats.kill();
    let mut trader = system.trader_setup("waiting").start();
    trader.wait_for_log("waiting for the bus").await;
    trader.signal("TERM");
    assert_eq!(trader.exit_within(SHUTDOWN_TIMEOUT).await, 0);
    system.nats.restart().await;
    system.exchange.kill();
    let mut trader = system.trader_setup("waiting").start();
    trader.wait_for_log("waiting for the exchange").await;
    trader.signal("TERM");
    assert_eq!(trader.exit_within(SHUTDOWN_TIMEOUT).await, 0);
}

#[tokio::test]
async fn trader_runs_as_long_as_its_flags_say() {
    // Flags, and how it ends by itself if it does.
    const TABLE: [(&str, Option<i32>); 6] = [
        ("--paper --duration 2", Some(0)),
        ("--paper --duration 2 --auto-restart", Some(20)),
        ("--paper --infinite --duration 2 --auto-restart", Some(20)),
        ("--paper --infinite --duration 2", None),
        ("--paper --infinite", None),
        ("--paper", None),
    ];
    let system = System::start(&[]).await;
    let setup = |index: usize| system.trader_setup(&format!("flags-{index}"));
    let started = TABLE.iter().enumerate();
    let started: Vec<(Trader, &str, Option<i32>)> = started
        .map(|(index, (flags, end))| (setup(index).flags(flags).start(), *flags, *end))
        .collect();
    for (mut trader, flags, end) in started {
        if let Some(code) = end {
            assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, code, "{flags}");
        } else {
            trader.wait_until_running().await;
            // Longer than the --duration that it ignores.
            sleep(seconds(4)).await;
            assert!(trader.is_running(), "{flags}");
        }
    }
}
