//! One event of every kind with likely values: what tests hold against committed files, and what the
//! owner is shown before anything happens.

use rust_decimal::Decimal;

use crate::event::{Event, EventBody, Side};
use crate::ids::{AccountKey, BadToken, BookKey, Mode, Token};
use crate::time::UtcMs;

/// When all of them happened.
pub const AT: UtcMs = UtcMs(1_764_000_000_123);

/// A list of samples that is complete, or does not compile.
macro_rules! one_of_every_kind {
    ($($kind:ident { $($fields:tt)* })*) => {
        fn bodies() -> Result<Vec<EventBody>, BadToken> {
            Ok(vec![$(EventBody::$kind { $($fields)* }),*])
        }

        /// A kind without a sample is missing here.
        const _: fn(&EventBody) = |body| match body {
            $(EventBody::$kind { .. })|* => {}
        };
    };
}

/// One of every kind.
///
/// # Errors
/// None as long as the names in this file are names, which a test sees to.
pub fn events() -> Result<Vec<Event>, BadToken> {
    let event = |body: EventBody| Event::new(format!("a1b2c3:{}", body.kind()), AT, body);
    Ok(bodies()?.into_iter().map(event).collect())
}

one_of_every_kind! {
    TraderStarted {
        mode: Mode::Paper,
        symbols: vec!["BTCUSDT".parse()?, "ETHUSDT".parse()?],
        flags: ["--paper", "--infinite", "--auto-restart"].map(said).to_vec(),
        version: said("0.1.0"),
    }
    TraderStopped {
        reason: said("stop requested"),
        exit: 0,
        uptime_ms: 3_600_000,
    }
    BookClaimed {
        book: book()?,
        by: Some(unit()?),
        changes: vec![said("leverage: 1 -> 2")],
    }
    BookLost {
        book: book()?,
        reason: said("another instance holds its lease"),
    }
    BookHalted {
        book: book()?,
        reason: said("journal sequence 7: unreadable"),
    }
    BookReleased {
        book: book()?,
        who: said("operator"),
        why: said("the surplus was a trade of mine, closed now"),
    }
    EntryDropped {
        book: book()?,
        reason: said("the candle to enter on is missing"),
    }
    PositionOpened {
        book: book()?,
        strategy: "oversold-bounce".parse()?,
        side: Side::Long,
        quantity: Decimal::new(250, 3),
        price: Decimal::new(400_080, 1),
        stop: Decimal::new(396_000, 1),
        target: Decimal::new(406_000, 1),
    }
    PositionClosed {
        book: book()?,
        strategy: "short-the-rip".parse()?,
        side: Side::Short,
        quantity: Decimal::new(250, 3),
        entry: Decimal::new(400_080, 1),
        exit: Decimal::new(404_001, 1),
        reason: said("stop"),
        pnl: Decimal::new(-11_008, 2),
        equity: Decimal::new(322_325, 2),
    }
    BreakerTripped {
        scope: book()?.to_string(),
        breaker: said("position_loss"),
        reason: said("the position lost more than 3 % of the slice's equity"),
    }
    BreakerRecovered {
        scope: book()?.to_string(),
        breaker: said("volatility"),
    }
    EntriesLocked {
        book: book()?,
        by: said("StoplossGuard"),
        reason: said("4 stops within 24h"),
        until: UtcMs(AT.0 + 14_400_000),
    }
    OrderUnclear {
        book: book()?,
        leg: said("entry"),
        order: said("ba-q7x2ab-57kto0gwqguoe0000"),
        why: said("new order: no answer within 5 s"),
    }
    OrderRefused {
        book: book()?,
        leg: said("stop"),
        order: said("ba-q7x2ab-57kto0gwqguos0000"),
        code: -2021,
        why: said("Order would immediately trigger."),
    }
    AccountLatched {
        account: account()?,
        latch: said("daily_loss-1764000000000"),
        breaker: said("daily_loss"),
        equity: Decimal::new(949_999, 2),
        peak: Decimal::new(10_000, 0),
        said: None,
    }
    EntriesPaused {
        account: account()?,
        symbol: Some("BTCUSDT".parse()?),
        who: said("operator"),
        why: said("a vote of the central bank at noon"),
    }
    EntriesResumed {
        account: account()?,
        symbol: None,
        who: said("operator"),
        why: said("it is over"),
    }
    AccountUnlatched {
        account: account()?,
        latch: said("daily_loss-1764000000000"),
        who: said("operator"),
        why: said("a wick; stops were right"),
    }
    HealthChanged {
        from: said("healthy"),
        to: said("degraded"),
        reason: said("11 errors in the last hour"),
    }
    PartFailed {
        part: said("feed"),
        error: said("klines: no answer within 5 s"),
    }
    PartRecovered {
        part: said("feed"),
        after_ms: 2_500,
    }
    PartStarted {
        part: said("nats-1"),
        how: said("started by a person, or with the Docker engine"),
    }
    WatchdogStarted {
        project: "bearish-alpha".parse()?,
        version: said("0.1.0"),
    }
    RestartTriggered {
        unit: unit()?,
        attempt: 3,
        max: 1_000,
        reason: said("crashed"),
        consecutive: 2,
        uptime_ms: 90_000,
        delay_ms: 60_000,
        exit: Some(70),
        evidence: Some(said("trader: bug: panicked")),
    }
    CycleFinished {
        unit: unit()?,
        attempt: 4,
        max: 1_000,
        uptime_ms: 3_600_000,
        delay_ms: 30_000,
    }
    UnitRecovered {
        unit: unit()?,
        after_ms: 31_250,
    }
    GivenUp {
        unit: unit()?,
        reason: said("11 failures in a row; look at its log, then release it"),
        restarts: 11,
        consecutive: 11,
        exit: Some(137),
    }
    UnitStopped {
        unit: unit()?,
        reason: said("a person stopped it"),
    }
    UnitObservedOnly {
        unit: unit()?,
        reason: said("it ended with 70 and has no --auto-restart"),
    }
    UnitCritical {
        unit: unit()?,
        for_ms: 900_000,
        reason: said("the market feed is down or its candles are stale"),
    }
    UnitOrdered {
        unit: unit()?,
        verb: said("hold"),
        by: said("operator"),
        why: Some(said("the exchange is in maintenance")),
    }
    OwnerCommand {
        who: said("Telegram user 700000001"),
        command: said("/stop trader-paper-1"),
        outcome: said("done: it is being stopped"),
    }
    StrangerIgnored {
        who: said("Telegram user 700000002"),
        command: said("/flatten"),
    }
}

fn said(words: &str) -> String {
    words.to_owned()
}

fn unit() -> Result<Token, BadToken> {
    "trader-paper-1".parse()
}

fn account() -> Result<AccountKey, BadToken> {
    Ok(AccountKey {
        mode: Mode::Paper,
        venue: "binance-usdm".parse()?,
        account: "exchange-sim-8080".parse()?,
    })
}

fn book() -> Result<BookKey, BadToken> {
    Ok(account()?.book("BTCUSDT".parse()?))
}
