//! One sample event of every kind, for tests and for `notifier preview`.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::event::{Event, EventBody, OpenPosition, PositionSide};
use crate::ids::{AccountKey, BookKey, InvalidSubjectToken, Mode, SubjectToken};
use crate::time::UtcMs;
use crate::unit_remedy::UnitRemedy;

/// Time of all samples.
pub const AT: UtcMs = UtcMs(1_764_000_000_123);

/// Defines the list of samples. A kind without a sample does not compile.
macro_rules! one_of_every_kind {
    ($($kind:ident { $($fields:tt)* })*) => {
        fn bodies() -> Result<Vec<EventBody>, InvalidSubjectToken> {
            Ok(vec![$(EventBody::$kind { $($fields)* }),*])
        }

        /// Does not compile if a kind has no sample.
        const _: fn(&EventBody) = |body| match body {
            $(EventBody::$kind { .. })|* => {}
        };
    };
}

/// One event of every kind.
///
/// # Errors
/// None in practice: a test parses every name in this file.
pub fn events() -> Result<Vec<Event>, InvalidSubjectToken> {
    let event = |body: EventBody| Event::new(format!("a1b2c3:{}", body.kind()), AT, body);
    Ok(bodies()?.into_iter().map(event).collect())
}

one_of_every_kind! {
    TraderStarted {
        mode: Mode::Paper,
        symbols: vec!["BTCUSDT".parse()?, "ETHUSDT".parse()?],
        flags: ["--paper", "--infinite", "--auto-restart"].map(text).to_vec(),
        version: text("0.1.0"),
        missed_signals: vec!["ETHUSDT".parse()?],
    }
    TraderStopped {
        reason: text("stop requested"),
        exit_code: 0,
        uptime_ms: 3_600_000,
    }
    BookAcquired {
        book: book()?,
        instance: Some(unit()?),
        previous: Some("trader-paper-2".parse()?),
        config_changes: vec![text("leverage: 1 -> 2")],
    }
    BookLost {
        book: book()?,
        reason: text("another instance holds the lease"),
    }
    BookHalted {
        book: book()?,
        reason: text("journal sequence 7: unreadable"),
    }
    BookUnhalted {
        book: book()?,
        by: text("operator"),
        reason: text("the extra position was my own trade and is closed"),
    }
    EntryDropped {
        book: book()?,
        reason: text("the exchange did not accept the order"),
        code: Some(-2019),
        text: Some(text("Margin is insufficient.")),
    }
    PositionOpened {
        book: book()?,
        strategy: "oversold-bounce".parse()?,
        side: PositionSide::Long,
        quantity: Decimal::new(250, 3),
        entry_price: Decimal::new(400_080, 1),
        stop_price: Decimal::new(396_000, 1),
        target_price: Decimal::new(406_000, 1),
    }
    PositionClosed {
        book: book()?,
        strategy: "short-the-rip".parse()?,
        side: PositionSide::Short,
        quantity: Decimal::new(250, 3),
        entry_price: Decimal::new(400_080, 1),
        exit_price: Decimal::new(404_001, 1),
        reason: text("stop"),
        pnl: Decimal::new(-11_008, 2),
        equity: Decimal::new(322_325, 2),
    }
    BreakerTripped {
        scope: book()?.to_string(),
        breaker: text("position_loss"),
        reason: text("the position lost more than 3 % of the book's equity"),
    }
    BreakerReset {
        scope: book()?.to_string(),
        breaker: text("volatility"),
    }
    EntriesLocked {
        book: book()?,
        lock: text("StoplossGuard"),
        reason: text("4 stops within 24h"),
        until: UtcMs(AT.0 + 14_400_000),
    }
    OrderOutcomeUnknown {
        book: book()?,
        leg: text("entry"),
        client_order_id: text("ba-q7x2ab-57kto0gwqguoe0000"),
        error: text("new order: no response within 5 s"),
    }
    OrderRejected {
        book: book()?,
        leg: text("stop"),
        client_order_id: text("ba-q7x2ab-57kto0gwqguos0000"),
        code: -2021,
        reason: text("Order would immediately trigger."),
    }
    PositionUnprotected {
        book: book()?,
        quantity: Decimal::new(25, 2),
        unprotected_ms: 3_200,
    }
    PositionProtected {
        book: book()?,
        unprotected_ms: 7_400,
    }
    AccountLatched {
        account: account()?,
        latch_id: text("daily_loss-1764000000000"),
        trigger: text("daily_loss"),
        equity: Decimal::new(949_999, 2),
        peak: Decimal::new(10_000, 0),
        positions: open_positions()?,
        by: None,
        reason: None,
    }
    AccountFlattened {
        account: account()?,
        latch_id: text("daily_loss-1764000000000"),
        trades: 2,
        pnl: Decimal::new(-12_345, 2),
        equity: Decimal::new(949_123, 2),
    }
    AccountStillOpen {
        account: account()?,
        latch_id: text("daily_loss-1764000000000"),
        reminder: 1,
        after_ms: 60_000,
        positions: open_positions()?,
    }
    BalanceDiffers {
        account: live_account()?,
        difference_id: text("balance-1764000000000"),
        balance: Decimal::new(998_770, 2),
        amount: Decimal::new(-1_230, 2),
        unbooked: BTreeMap::from([(text("BTCUSDT"), Decimal::new(-1_230, 2))]),
    }
    BalanceExplained {
        account: live_account()?,
        difference_id: text("balance-1764000000000"),
        balance: Decimal::new(998_770, 2),
    }
    DifferenceAccepted {
        account: live_account()?,
        difference_id: text("balance-1764000000000"),
        amount: Decimal::new(-1_230, 2),
        by: text("operator"),
        reason: text("a fee that the exchange does not list"),
    }
    FundsTransferred {
        account: live_account()?,
        amount: Decimal::new(-2_000, 0),
        name: text("TRANSFER"),
        balance: Decimal::new(8_000, 0),
        equity: Some(Decimal::new(10_000, 0)),
    }
    EntriesPaused {
        account: account()?,
        symbol: Some("BTCUSDT".parse()?),
        by: text("operator"),
        reason: text("central bank decision at noon"),
    }
    EntriesResumed {
        account: account()?,
        symbol: None,
        by: text("operator"),
        reason: text("the decision is published"),
    }
    AccountUnlatched {
        account: account()?,
        latch_id: text("daily_loss-1764000000000"),
        by: text("operator"),
        reason: text("price spike; the stops were right"),
    }
    HealthChanged {
        from: text("healthy"),
        to: text("degraded"),
        reason: text("11 errors in the last hour"),
    }
    ComponentFailed {
        component: text("feed"),
        error: text("klines: no response within 5 s"),
    }
    ComponentRecovered {
        component: text("feed"),
        after_ms: 2_500,
    }
    ServiceRestartScheduled {
        service: text("nats-1"),
        error: text("hung: its health check fails (exit 1); the watchdog restarts it"),
    }
    ServiceRecovered {
        service: text("nats-1"),
        after_ms: 12_400,
    }
    ServiceStarted {
        service: text("nats-1"),
        started_by: text("started by an operator, or with the Docker daemon"),
    }
    ServiceQuarantined {
        service: text("nats-1"),
        reason: text("hung: the health check failed (exit 1)"),
        restarts: 6,
    }
    WatchdogStarted {
        project: "bearish-alpha".parse()?,
        host: "local".parse()?,
        version: text("0.1.0"),
    }
    WatchdogBlindnessEnded {
        for_ms: 185_000,
        missed: vec![text("trader-paper-1 has ended (exit 137)")],
    }
    WatchdogClockStepped {
        host: "local".parse()?,
        by_ms: -3_600_000,
    }
    UnitRestartScheduled {
        unit: unit()?,
        attempt: 3,
        max_restarts: 1_000,
        reason: text("crashed"),
        consecutive_failures: 2,
        uptime_ms: 90_000,
        delay_ms: 60_000,
        exit_code: Some(70),
        last_error: Some(text("trader: bug: panicked")),
    }
    UnitCycleFinished {
        unit: unit()?,
        attempt: 4,
        max_restarts: 1_000,
        uptime_ms: 3_600_000,
        delay_ms: 30_000,
    }
    UnitRecovered {
        unit: unit()?,
        after_ms: 31_250,
    }
    UnitQuarantined {
        unit: unit()?,
        reason: text("11 failures in a row; check the log, then release the unit"),
        restarts: 11,
        consecutive_failures: 11,
        exit_code: Some(137),
        remedy: UnitRemedy::Release { reset_restarts: false },
    }
    UnitStopped {
        unit: unit()?,
        reason: text("stopped by operator"),
    }
    UnitRestartSkipped {
        unit: unit()?,
        reason: text("exited with 70 and has no --auto-restart"),
        remedy: UnitRemedy::Start,
    }
    UnitHealthCritical {
        unit: unit()?,
        for_ms: 900_000,
        reason: text("the market feed is down or the candles are stale"),
    }
    UnitWarning {
        unit: unit()?,
        reason: text("not supervised: Docker's restart policy is always; expected no"),
    }
    UnitStopFailed {
        unit: unit()?,
        error: text("no answer within 3s"),
    }
    UnitCommandExecuted {
        unit: unit()?,
        command: text("hold"),
        by: text("operator"),
        reason: Some(text("the exchange is in maintenance")),
    }
    OperatorCommandExecuted {
        by: text("Telegram user 700000001"),
        command: text("/stop trader-paper-1"),
        result: text("done: the unit is being stopped"),
    }
    UnauthorizedCommand {
        by: text("Telegram user 700000002"),
        command: text("/flatten"),
    }
}

fn text(sample: &str) -> String {
    sample.to_owned()
}

fn unit() -> Result<SubjectToken, InvalidSubjectToken> {
    "trader-paper-1".parse()
}

fn live_account() -> Result<AccountKey, InvalidSubjectToken> {
    Ok(AccountKey {
        mode: Mode::Live,
        ..account()?
    })
}

fn account() -> Result<AccountKey, InvalidSubjectToken> {
    Ok(AccountKey {
        mode: Mode::Paper,
        venue: "binance-usdm".parse()?,
        account: "exchange-sim-8080".parse()?,
    })
}

fn book() -> Result<BookKey, InvalidSubjectToken> {
    Ok(account()?.book("BTCUSDT".parse()?))
}

fn open_positions() -> Result<Vec<OpenPosition>, InvalidSubjectToken> {
    Ok(vec![
        OpenPosition {
            symbol: "BTCUSDT".parse()?,
            quantity: Decimal::new(250, 3),
            stop_price: Some(Decimal::new(396_000, 1)),
            note: None,
        },
        OpenPosition {
            symbol: "ETHUSDT".parse()?,
            quantity: Decimal::new(-15, 1),
            stop_price: None,
            note: Some(text("the book is halted")),
        },
    ])
}
