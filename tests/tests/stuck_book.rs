//! A book whose brain does not return holds a thread of its trader. It is halted alone, and everything else goes
//! on; until a person releases it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use bearish_tests::journals;
use bearish_tests::patience::SOON;
use bearish_tests::system::System;
use bearish_tests::told;
use engine::book::{BookRecord, Phase};
use protocol::event::EventBody;
use protocol::exit::ExitCode;

const STUCK: &str = "ETHUSDT";
/// The limit is ten seconds; then the halt is stored.
const FOUND: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_brain_that_does_not_return_halts_its_book_and_no_other_and_the_next_start_trades_on() {
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    // Armed for good: asked again, the brain would not return again.
    let setup = system.trader("spinning").env("FAILPOINT_SPIN", STUCK);
    let mut first = setup.start_with_failpoints();
    let exit = first.exit_within(FOUND).await;
    assert_eq!(exit, i32::from(ExitCode::Internal.number()));
    assert_eq!(first.said("does not return: halting"), 1);

    let before = journals::trades(system.journals().await.values());
    let next = setup.start_with_failpoints();
    next.works().await;
    system.trades(before + 1, SOON).await;
    system.audit(&next).await;
    for (key, entries) in system.journals().await {
        let halted = matches!(journals::fold(&entries).phase, Phase::Halted { .. });
        assert_eq!(halted, key.symbol.as_str() == STUCK, "{key}");
        let halts = journals::records([&entries]);
        let halts = halts.filter(|record| matches!(record, BookRecord::BookHalted { .. }));
        assert_eq!(halts.count(), usize::from(halted), "{key}");
    }
    let heartbeat = told::caught_up(system.operator(), next.instance(), SOON).await;
    let halted = heartbeat.books.iter().filter(|book| book.halted.is_some());
    assert_eq!(halted.count(), 1);
    let told = told::events(system.operator()).await;
    let halts = told.iter().filter_map(|told| match &told.event.body {
        EventBody::BookHalted { book, reason } => Some((book.symbol.as_str(), reason.as_str())),
        _ => None,
    });
    let why = "bug: a call to its brain did not return within 10 s";
    assert_eq!(halts.collect::<Vec<_>>(), [(STUCK, why)]);

    drop(next);
    released(&system).await;
}

/// The next version has the brain mended; the book stays halted until a person says that it may go on.
async fn released(system: &System) {
    let trader = system.trader("spinning").start();
    trader.works().await;
    trader.says("book halted").await;
    let (code, said) = release(system, "BTCUSDT").await;
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("--symbol=BTCUSDT") && said.contains("not halted"),
        "{said}"
    );
    let (code, said) = release(system, "ETHUSDT --closed-at 40000").await;
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("--closed-at=40000: not allowed, a paper book"),
        "{said}"
    );
    let (code, said) = release(system, STUCK).await;
    assert_eq!(code, 0, "{said}");
    trader.says("the book is released").await;
    told::heartbeat_with(
        system.operator(),
        trader.instance(),
        "no book halted",
        SOON,
        |h| !h.books.is_empty() && h.books.iter().all(|book| book.halted.is_none()),
    )
    .await;
    system.audit(&trader).await;
    let told = told::events(system.operator()).await;
    let told = told.iter().filter(|told| {
        matches!(&told.event.body, EventBody::BookReleased { book, .. } if book.symbol.as_str() == STUCK)
    });
    assert_eq!(told.count(), 1);
}

async fn release(system: &System, symbol: &str) -> (i32, String) {
    let words = format!("release --why mended --symbol {symbol}");
    let mut asked = system.trader("word").flags(&words).start().into_process();
    let code = asked.exit_within(SOON).await;
    (code, [asked.out(), asked.err()].concat().join("\n"))
}
