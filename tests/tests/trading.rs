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
use bearish_tests::exchange::{Candle, MINUTE_MS};
use bearish_tests::journals;
use bearish_tests::nats::Role;
use bearish_tests::patience::{Dice, SOON, eventually};
use bearish_tests::system::System;
use bearish_tests::told;
use bearish_tests::trader::{Setup, Trader};
use engine::book::{BookRecord, Phase, Position};
use futures_util::StreamExt;
use protocol::event::{EventBody, Side};
use protocol::heartbeat;
use protocol::ids::{BookKey, Token};
use tokio::time::{Instant, sleep, timeout};

/// Market time fast enough for many trades, slow enough that entries are made in time.
const LIVELY: (&str, &str) = ("SIM_SPEED", "300");
/// A trader that was told to end has ended by then.
const DRAINED: Duration = Duration::from_secs(8);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn it_trades_within_a_minute_of_its_start_and_tells_of_it() {
    let system = System::start(&[]).await;
    let setup = system.trader("first");
    // Heard as it comes: the bus keeps only the newest, and the next one is not long after.
    let ear = system.nats.client(Role::Watchdog).await;
    let subject = format!("heartbeat.v1.trader.{}", setup.instance());
    let mut beats = ear.client.subscribe(subject).await.unwrap();
    ear.client.flush().await.unwrap();
    let trader = setup.start();
    let first = timeout(SOON, beats.next()).await.unwrap().unwrap();
    let starting: heartbeat::Heartbeat = serde_json::from_slice(&first.payload).unwrap();
    trader.works().await;
    system.trades(1, SOON).await;
    let later = told::caught_up(system.operator(), setup.instance(), SOON).await;
    assert_eq!(starting.phase, heartbeat::Phase::Starting);
    assert_eq!(later.boot, starting.boot);
    assert!(later.seq > starting.seq && later.uptime_ms > starting.uptime_ms);
    assert_eq!(later.books.len(), 3);
    for part in ["feed", "fleet", "BTCUSDT", "ETHUSDT", "SOLUSDT"] {
        let before = starting.parts.get(part).map_or(0, |p| p.turns);
        let turns = later.parts.get(part).unwrap_or_else(|| panic!("no {part}"));
        assert!(turns.turns > before, "{part} stood still: {turns:?}");
    }
    assert!(system.audit(&trader).await >= 1);
    let told = told::events(system.operator()).await;
    let kinds = |kind: &str| told.iter().filter(|t| t.event.body.kind() == kind).count();
    assert_eq!(kinds("trader_started"), 1);
    assert_eq!(kinds("book_claimed"), 3);
    assert!(kinds("position_opened") >= 1 && kinds("position_closed") >= 1);
    let id = format!("{}:started", later.boot);
    assert!(told.iter().any(|t| t.event.id == id), "no event {id}");
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_nothing_and_doubles_nothing() {
    const KILLS: usize = 20;
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader("mortal");
    let mut dice = Dice::new();
    for kill in 0..KILLS {
        let mut trader = setup.start();
        // Half of them anywhere, start-up included; half right behind a decision.
        if kill % 2 == 0 {
            sleep(dice.millis(50..4_000)).await;
        } else {
            let moment = dice.one_of(&["entry decided", "position opened", "position closed"]);
            something_or_nothing(&trader, moment, seconds(8)).await;
            sleep(dice.millis(0..20)).await;
        }
        trader.kill();
    }
    let survivor = setup.start();
    survivor.works().await;
    let closed = system.audit(&survivor).await;
    let boots = takeovers(&system).await;
    eprintln!("{KILLS} kills, {boots} boots reached a book, {closed} trades");
    assert!(closed >= 3, "only {closed} trades: the kills met nothing");
    assert!(boots > KILLS / 2, "only {boots} boots reached a book");
}

/// Dead for hours of the market's, it finds the candle in which its stop or target was touched.
#[tokio::test]
async fn an_exit_that_it_was_dead_for_is_found_when_it_comes_back() {
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader("absent");
    let (key, position) = dead_with_a_position(&system, &setup).await;
    let symbol = key.symbol.as_str();
    let missed = eventually("stop or target is touched", seconds(120), async || {
        // A look costs 11 of the 2,400 that the exchange allows an address in a minute: the trader that
        // comes back needs some of them.
        sleep(seconds(1)).await;
        let candles = system.exchange.candles(symbol, position.at).await;
        let touch = candles
            .iter()
            .find(|(_, candle)| touches(&position, candle));
        // Further back than the bar that is running when it comes back.
        let over = system.exchange.now().await.0 - 60 * MINUTE_MS;
        touch.map(|(at, _)| *at).filter(|at| *at < over)
    })
    .await;
    let returned = setup.start();
    returned.works().await;
    system.audit(&returned).await;
    let closed = system.record("the position is closed", SOON, |record| {
        matches!(record, BookRecord::PositionClosed(trade) if trade.entry == position.price)
    });
    match closed.await {
        BookRecord::PositionClosed(trade) => assert_eq!(trade.at.0, missed),
        other => panic!("{other:?}"),
    }
}

/// Kills traders until one leaves a position behind.
async fn dead_with_a_position(system: &System, setup: &Setup) -> (BookKey, Position) {
    for _ in 0..5 {
        let mut trader = setup.start();
        let opened = |record: &BookRecord| matches!(record, BookRecord::PositionOpened(_));
        system.record("a position", seconds(90), opened).await;
        trader.kill();
        for (key, entries) in system.journals().await {
            if let Phase::Open(position) = journals::fold(&entries).phase {
                return (key, position);
            }
        }
    }
    panic!("each position was closed before its trader was dead");
}

fn touches(position: &Position, candle: &Candle) -> bool {
    let (stop, target) = (position.stop.to_decimal(), position.target.to_decimal());
    match position.side {
        Side::Long => candle.low <= stop || candle.high >= target,
        Side::Short => candle.high >= stop || candle.low <= target,
    }
}

/// Events are sent behind the journal's back: the stream takes none while two boots live and die.
#[tokio::test]
async fn what_the_owner_could_not_be_told_is_told_after_a_restart() {
    let system = System::start(&[LIVELY]).await;
    let setup = system.trader("muted");
    let mut first = setup.start();
    first.works().await;
    system.events_take_no_more(true).await;
    system.trades(1, seconds(90)).await;
    first.kill();
    let mut second = setup.start();
    second.works().await;
    second.kill();
    let journals = system.journals().await;
    let owed = audit::owed(&journals, &told::events(system.operator()).await);
    assert!(owed.len() >= 5, "two fills and three owners: {owed:?}");
    system.events_take_no_more(false).await;
    let third = setup.start();
    third.works().await;
    system.audit(&third).await;
}

/// Waits for a log line that may not come.
async fn something_or_nothing(trader: &Trader, text: &str, within: Duration) {
    let deadline = Instant::now() + within;
    while trader.said(text) == 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Boots that took over at least one book.
async fn takeovers(system: &System) -> usize {
    let journals = system.journals().await;
    let boots = journals::records(journals.values()).filter_map(|record| match record {
        BookRecord::OwnerTookOver { boot, .. } => Some(boot),
        _ => None,
    });
    boots.collect::<BTreeSet<&Token>>().len()
}

/// Market time stands while nobody is subscribed, so a dead trader misses nothing: the trades must be
/// those of a trader that was never killed.
#[tokio::test]
async fn killed_or_not_the_trades_are_the_same() {
    const KILLS: usize = 12;
    // 0.6 s of wall time are a minute of the market's: an entry is in time on a busy machine.
    let market = [
        ("SIM_SPEED", "100"),
        ("SIM_HOLD", "no-subscribers"),
        ("SIM_SYMBOLS", "BTCUSDT"),
        ("SIM_SEED", "4"),
    ];
    let (calm, rough) = (System::start(&market).await, System::start(&market).await);
    // Quick trades, and no locks on entries: many decisions for the kills to meet.
    let alone = |system: &System, name: &str| {
        let setup = system.trader(name).env("SYMBOLS", "BTCUSDT");
        let setup = setup.env("STRATEGIES", "oversold-bounce,short-the-rip");
        setup.env("PROTECTIONS", "none")
    };
    let unharmed = alone(&calm, "unharmed").start();
    let setup = alone(&rough, "harmed");
    let mut dice = Dice::new();
    for _ in 0..KILLS {
        let mut trader = setup.start();
        trader.works().await;
        sleep(dice.millis(500..5_000)).await;
        trader.kill();
    }
    let mut survivor = setup.start();
    rough.trades(2, seconds(120)).await;
    let until = rough.exchange.now().await;
    survivor.kill();
    eventually("the other market gets as far", seconds(120), async || {
        (calm.exchange.now().await >= until).then_some(())
    })
    .await;
    rough.audit_until(0).await;
    let (harmed, unharmed_trades) = (trades(&rough).await, trades(&calm).await);
    assert!(harmed.len() >= 4, "{harmed:#?}");
    assert_eq!(harmed, unharmed_trades[..harmed.len()]);
    drop(unharmed);
}

/// What was bought and sold, in words without boots and sequences.
async fn trades(system: &System) -> Vec<String> {
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
async fn it_outlives_the_death_of_the_bus() {
    let mut system = System::start(&[LIVELY]).await;
    let setup = system.trader("patient");
    let mut trader = setup.start();
    system.trades(1, seconds(90)).await;
    let before = told::caught_up(system.operator(), setup.instance(), SOON).await;
    for away in [0, 4] {
        system.nats.kill();
        sleep(seconds(away)).await;
        system.nats.restart().await;
        trader_goes_on(&system, &setup).await;
    }
    let after = told::caught_up(system.operator(), setup.instance(), SOON).await;
    assert_eq!(after.boot, before.boot, "it was restarted");
    let had = system.audit(&trader).await;
    system.trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert_eq!(trader.said("book lost"), 0);
    assert!(trader.runs());
}

#[tokio::test]
async fn it_outlives_a_bus_that_answers_nothing_for_a_while() {
    let system = System::start(&[LIVELY]).await;
    let setup = system.trader("patient");
    let mut trader = setup.start();
    system.trades(1, seconds(90)).await;
    let before = told::caught_up(system.operator(), setup.instance(), SOON).await;
    system.nats.freeze();
    sleep(seconds(8)).await;
    system.nats.thaw();
    trader_goes_on(&system, &setup).await;
    let after = told::caught_up(system.operator(), setup.instance(), SOON).await;
    assert_eq!(after.boot, before.boot, "it was restarted");
    let had = system.audit(&trader).await;
    system.trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert_eq!(trader.said("book lost"), 0);
    assert!(trader.runs());
}

async fn trader_goes_on(system: &System, setup: &Setup) {
    told::caught_up(system.operator(), setup.instance(), SOON).await;
}

#[tokio::test]
async fn it_outlives_the_death_of_the_exchange_and_fills_the_gap() {
    let mut system = System::start(&[LIVELY]).await;
    let setup = system.trader("patient");
    let mut trader = setup.start();
    system.trades(1, seconds(90)).await;
    let before = told::caught_up(system.operator(), setup.instance(), SOON).await;
    system.exchange.kill();
    // 15 minutes of the market's.
    sleep(seconds(3)).await;
    system.exchange.restart().await;
    trader_goes_on(&system, &setup).await;
    let after = told::caught_up(system.operator(), setup.instance(), SOON).await;
    assert_eq!(after.boot, before.boot, "it was restarted");
    // An exit in the gap is found by the audit: no candle may be missing.
    let had = system.audit(&trader).await;
    system.trades(had + 1, seconds(120)).await;
    system.audit(&trader).await;
    assert!(trader.runs());
}

#[tokio::test]
async fn paper_money_survives_the_death_of_everything_at_once() {
    let mut system = System::start(&[LIVELY]).await;
    let setup = system.trader("mortal");
    let mut trader = setup.start();
    system.trades(1, seconds(90)).await;
    let known = trades(&system).await;
    system.nats.kill();
    trader.kill();
    system.exchange.kill();
    system.nats.restart().await;
    system.exchange.restart().await;
    let kept = trades(&system).await;
    assert!(kept.len() >= known.len(), "{known:#?}\n{kept:#?}");
    assert_eq!(known, kept[..known.len()]);
    let trader = setup.start();
    trader.works().await;
    system.audit(&trader).await;
}

#[tokio::test]
async fn a_signal_ends_it_in_order() {
    let system = System::start(&[]).await;
    for signal in ["TERM", "INT"] {
        let setup = system.trader(&format!("told-{}", signal.to_lowercase()));
        let mut trader = setup.start();
        trader.works().await;
        trader.signal(signal);
        assert_eq!(trader.exit_within(DRAINED).await, 0, "SIG{signal}");
        let bus = system.operator();
        let last = told::heartbeat(bus, setup.instance()).await.unwrap();
        assert_eq!(last.phase, heartbeat::Phase::Stopped, "SIG{signal}");
        let id = format!("{}:stopped", last.boot);
        let told = told::events(bus).await;
        let goodbye = told.into_iter().find(|t| t.event.id == id).unwrap();
        match goodbye.event.body {
            EventBody::TraderStopped { exit, reason, .. } => {
                assert_eq!((exit, reason.as_str()), (0, "stop requested"));
            }
            other => panic!("{other:?}"),
        }
        assert!(trader.err().is_empty(), "{:?}", trader.err());
    }
}

#[tokio::test]
async fn a_signal_ends_it_in_time_also_while_the_bus_answers_nothing() {
    let system = System::start(&[]).await;
    let mut trader = system.trader("stuck").start();
    trader.works().await;
    system.nats.freeze();
    trader.signal("TERM");
    assert_eq!(trader.exit_within(DRAINED).await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_whatever_hangs() {
    let system = System::start(&[]).await;
    let mut trader = system.trader("hurried").start();
    trader.works().await;
    system.nats.freeze();
    trader.signal("TERM");
    trader.says("stop requested; again to end at once").await;
    assert!(trader.runs());
    trader.signal("INT");
    assert_eq!(trader.exit_within(Duration::from_millis(1_500)).await, 0);
}

#[tokio::test]
async fn a_signal_ends_it_also_while_it_waits_for_its_dependencies() {
    let mut system = System::start(&[]).await;
    system.nats.kill();
    let mut trader = system.trader("waiting").start();
    trader.says("waiting for the bus").await;
    trader.signal("TERM");
    assert_eq!(trader.exit_within(DRAINED).await, 0);
    system.nats.restart().await;
    system.exchange.kill();
    let mut trader = system.trader("waiting").start();
    trader.says("waiting for the exchange").await;
    trader.signal("TERM");
    assert_eq!(trader.exit_within(DRAINED).await, 0);
}

#[tokio::test]
async fn how_long_it_runs_is_what_its_flags_say() {
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
    let setup = |index: usize| system.trader(&format!("flags-{index}"));
    let started = TABLE.iter().enumerate();
    let started: Vec<(Trader, &str, Option<i32>)> = started
        .map(|(index, (flags, end))| (setup(index).flags(flags).start(), *flags, *end))
        .collect();
    for (mut trader, flags, end) in started {
        if let Some(code) = end {
            assert_eq!(trader.exit_within(SOON).await, code, "{flags}");
        } else {
            trader.works().await;
            // Longer than the --duration that it ignores.
            sleep(seconds(4)).await;
            assert!(trader.runs(), "{flags}");
        }
    }
}
