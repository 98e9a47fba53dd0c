//! Tests of a paper trader as a process: start, trades, kills at random moments, outages of bus and exchange, and
//! shutdown. Every trade is audited against the exchange's candles.

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
use protocol::heartbeat::{self, Heartbeat};
use protocol::ids::{BookKey, SubjectToken};
use tokio::time::{Instant, sleep, timeout};
use trader_core::book::{BookPhase, BookRecord, Position};

/// Speed of the market: fast enough for many trades, slow enough that entries are made in time.
const FAST_MARKET: (&str, &str) = ("SIM_SPEED", "300");
/// Time within which a trader exits after SIGTERM or SIGINT.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn trader_trades_within_a_minute_of_its_start_and_publishes_it() {
    let system = System::start(&[]).await;
    let setup = system.trader_setup("first");
    // A subscription, because the bus stores only the newest heartbeat.
    let client = system.nats.raw_client(Role::Watchdog).await;
    let subject = format!("heartbeat.v1.trader.paper.*.*.{}", setup.instance());
    let mut heartbeats = client.client.subscribe(subject).await.unwrap();
    client.client.flush().await.unwrap();
    let trader = setup.start();
    let first = timeout(DEFAULT_TIMEOUT, heartbeats.next())
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
    for component in ["feed", "book-manager", "BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        let before = starting
            .components
            .get(component)
            .map_or(0, |p| p.iterations);
        let status = later
            .components
            .get(component)
            .unwrap_or_else(|| panic!("no {component}"));
        assert!(
            status.iterations > before,
            "{component} made no progress: {status:?}"
        );
    }
    assert!(system.audit(&trader).await >= 1);
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let kinds = |kind: &str| {
        events
            .iter()
            .filter(|t| t.event.body.kind() == kind)
            .count()
    };
    assert_eq!(kinds("trader_started"), 1);
    // The start has its own event, which names the symbols.
    assert_eq!(kinds("book_acquired"), 0);
    assert!(kinds("position_opened") >= 1 && kinds("position_closed") >= 1);
    let id = format!("{}:started", later.boot);
    assert!(events.iter().any(|e| e.event.id == id), "no event {id}");
}

#[tokio::test]
async fn kill_9_of_the_trader_loses_nothing_and_doubles_nothing() {
    const KILLS: usize = 20;
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader_setup("killed");
    let mut random = SeededRandom::new();
    for kill in 0..KILLS {
        let mut trader = setup.start();
        // Half of the kills at any time, including the start; half right after a decision.
        if kill % 2 == 0 {
            sleep(random.duration_ms(50..4_000)).await;
        } else {
            let moment = random.choose(&["entry decided", "position opened", "position closed"]);
            wait_for_log_if_any(&trader, moment, seconds(8)).await;
            sleep(random.duration_ms(0..20)).await;
        }
        trader.kill();
    }
    let survivor = setup.start();
    survivor.wait_until_running().await;
    let closed = system.audit(&survivor).await;
    let boots = count_writer_boots(&system).await;
    eprintln!("{KILLS} kills, {boots} boots reached a book, {closed} trades");
    assert!(closed >= 3, "only {closed} trades: too few for the kills");
    assert!(boots > KILLS / 2, "only {boots} boots reached a book");
}

/// After hours of market time without a trader, the restarted one finds the candle that touched stop or target.
#[tokio::test]
async fn exit_missed_while_the_trader_was_down_is_found_after_restart() {
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader_setup("absent");
    let (key, position) = kill_with_open_position(&system, &setup).await;
    let symbol = key.symbol.as_str();
    let missed = eventually("stop or target is touched", seconds(120), async || {
        // A query costs 11 of the 2,400 request weights that the exchange permits per minute and address. The
        // restarted trader needs some of them.
        sleep(seconds(1)).await;
        let candles = system.exchange.candles(symbol, position.at).await;
        let touch = candles
            .iter()
            .find(|(_, candle)| is_touched(&position, candle));
        // Earlier than the bar that is open when the trader is restarted.
        let latest = system.exchange.now().await.0 - 60 * MINUTE_MS;
        touch.map(|(at, _)| *at).filter(|at| *at < latest)
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

/// Kills traders until one leaves an open position; returns its book and the position.
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
    panic!("every position was closed before its trader was killed");
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

/// The stream of events rejects messages during two boots; the third boot publishes the missing events.
#[tokio::test]
async fn unpublished_events_are_published_after_a_restart() {
    let system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("muted");
    let mut first = setup.start();
    first.wait_until_running().await;
    system.set_events_full(true).await;
    system.wait_for_trades(1, seconds(90)).await;
    first.kill();
    // A book that another trader acquires is an event; it does so when the lease of the first has expired.
    let mut second = system.trader_setup("muted-too").start();
    eventually("three more writer changes", seconds(90), async || {
        (count_writer_changes(&system).await == 6).then_some(())
    })
    .await;
    second.kill();
    let journals = system.journals().await;
    let missing = audit::missing_events(
        &journals,
        &bus_reader::stored_events(system.operator_bus()).await,
    );
    assert!(
        missing.len() >= 5,
        "expected two fills and three writer changes: {missing:?}"
    );
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

/// Counts the writer changes of all books.
async fn count_writer_changes(system: &System) -> usize {
    let journals = system.journals().await;
    let is_change = |record: &&BookRecord| matches!(record, BookRecord::WriterChanged { .. });
    journals::records(journals.values())
        .filter(is_change)
        .count()
}

/// Counts the boots that became the writer of at least one book.
async fn count_writer_boots(system: &System) -> usize {
    let journals = system.journals().await;
    let boots = journals::records(journals.values()).filter_map(|record| match record {
        BookRecord::WriterChanged { boot, .. } => Some(boot),
        _ => None,
    });
    boots.collect::<BTreeSet<&SubjectToken>>().len()
}

/// Market time is paused without subscribers, so a killed trader misses nothing: the trades must equal those of a
/// trader that was never killed.
#[tokio::test]
async fn trades_are_the_same_with_and_without_kills() {
    const KILLS: usize = 12;
    // A market minute lasts 0.6 s, so that entries are in time on a busy machine.
    let market = [
        ("SIM_SPEED", "100"),
        ("SIM_CLOCK_PAUSE", "without-subscribers"),
        ("SIM_SYMBOLS", "BTCUSDT"),
        ("SIM_SEED", "4"),
    ];
    let (without_kills, with_kills) = (System::start(&market).await, System::start(&market).await);
    // Strategies with short trades and no entry locks: many decisions.
    let single_book = |system: &System, name: &str| {
        let setup = system.trader_setup(name).env("SYMBOLS", "BTCUSDT");
        let setup = setup.env("STRATEGIES", "oversold-bounce,short-the-rip");
        setup.env("PROTECTIONS", "none")
    };
    let undisturbed = single_book(&without_kills, "undisturbed").start();
    let setup = single_book(&with_kills, "killed");
    let mut random = SeededRandom::new();
    for _ in 0..KILLS {
        let mut trader = setup.start();
        trader.wait_until_running().await;
        sleep(random.duration_ms(500..5_000)).await;
        trader.kill();
    }
    let mut survivor = setup.start();
    with_kills.wait_for_trades(2, seconds(120)).await;
    let until = with_kills.exchange.now().await;
    survivor.kill();
    eventually(
        "the other market reaches the same time",
        seconds(120),
        async || (without_kills.exchange.now().await >= until).then_some(()),
    )
    .await;
    with_kills.audit_until(0).await;
    let (killed, undisturbed_trades) = (
        trade_records(&with_kills).await,
        trade_records(&without_kills).await,
    );
    assert!(killed.len() >= 4, "{killed:#?}");
    assert_eq!(killed, undisturbed_trades[..killed.len()]);
    drop(undisturbed);
}

/// Texts of the records of entries and exits, which contain no boots and sequences.
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
async fn counters_of_an_instance_survive_a_kill() {
    let system = System::start(&[("SIM_SPEED", "60"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("counted").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    trader.wait_until_running().await;
    let (bus, instance) = (system.operator_bus(), setup.instance());
    let has_counted = |h: &Heartbeat| h.lifetime.is_some_and(|l| l.iterations > 50);
    let what = "some iterations";
    bus_reader::wait_for_heartbeat(bus, instance, what, DEFAULT_TIMEOUT, has_counted).await;
    trader.kill();
    let last = bus_reader::latest_heartbeat(bus, instance).await.unwrap();
    let before = last.lifetime.unwrap();
    assert_eq!(before.boots, 1);
    let _again = setup.start();
    let is_next = |h: &Heartbeat| h.boot != last.boot;
    let what = "the next boot";
    let next = bus_reader::wait_for_heartbeat(bus, instance, what, DEFAULT_TIMEOUT, is_next).await;
    let after = next.lifetime.unwrap();
    assert_eq!(after.boots, 2);
    assert!(after.iterations >= before.iterations, "{after:?}");
    assert!(after.uptime_ms >= before.uptime_ms, "{after:?}");
    assert!(next.uptime_ms < before.uptime_ms, "a boot of its own");
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
    for outage in [0, 4] {
        system.nats.kill();
        sleep(seconds(outage)).await;
        system.nats.restart().await;
        wait_until_caught_up(&system, &setup).await;
    }
    let after =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    assert_eq!(after.boot, before.boot, "the trader was restarted");
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
    assert_eq!(after.boot, before.boot, "the trader was restarted");
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
    // 15 minutes of market time.
    sleep(seconds(3)).await;
    system.exchange.restart().await;
    wait_until_caught_up(&system, &setup).await;
    let after =
        bus_reader::wait_until_caught_up(system.operator_bus(), setup.instance(), DEFAULT_TIMEOUT)
            .await;
    assert_eq!(after.boot, before.boot, "the trader was restarted");
    // The audit finds an exit in the gap: no candle may be missing.
    let had = system.audit(&trader).await;
    system.wait_for_trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert!(trader.is_running());
}

#[tokio::test]
async fn paper_trades_survive_the_kill_of_everything_at_once() {
    let mut system = System::start(&[FAST_MARKET]).await;
    let setup = system.trader_setup("killed");
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
        let setup = system.trader_setup(&format!("signal-{}", signal.to_lowercase()));
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
        let events = bus_reader::stored_events(bus).await;
        let stopped = events.into_iter().find(|e| e.event.id == id).unwrap();
        match stopped.event.body {
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
    let mut trader = system.trader_setup("frozen-bus").start();
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
        .wait_for_log("shutdown requested; a second signal ends the process at once")
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
    trader.wait_for_log("bus unavailable").await;
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
    // Flags, and the exit code. `None` if the trader does not exit by itself.
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
            // Longer than the ignored --duration.
            sleep(seconds(4)).await;
            assert!(trader.is_running(), "{flags}");
        }
    }
}
