//! Audits a book's journal without any rule of the trader core: prices, reasons, fees, sizes and equity are
//! recomputed from the exchange's candles. Also compares the published events with the journals.
//! Entry points: [`audit_journal`] and [`audit_events`].

mod fills;

use std::collections::{BTreeMap, BTreeSet};

use protocol::event::PositionSide;
use protocol::ids::{BookKey, SubjectToken};
use protocol::time::UtcMs;
use runtime::journal::StoredBatch;
use rust_decimal::Decimal;
use trader_core::book::{BookRecord, Entry, ExitReason, Position, Trade};
use trader_core::event_mapping::operator_event;

use crate::bus_reader::StoredEvent;
use crate::exchange::{Candles, Exchange, Grid, MINUTE_MS};
use crate::journals::Batches;

/// Milliseconds before now up to which an open position's stop and target are checked. The newest candles
/// may not have reached the trader yet.
pub const SLACK_MS: i64 = 30 * MINUTE_MS;
const BAR_MS: i64 = 30 * MINUTE_MS;
const FUNDING_MS: i64 = 8 * 60 * MINUTE_MS;

/// Candles and price grid of one symbol, as the exchange serves them.
pub struct MarketData {
    candles: Candles,
    grid: Grid,
}

impl MarketData {
    /// Fetches candles from one minute before the first entry of this journal.
    pub async fn fetch(exchange: &Exchange, symbol: &str, entries: &Batches) -> Self {
        let first = entries.iter().flat_map(|s| &s.batch.records);
        let first = first.filter_map(|record| match record {
            BookRecord::EntryDecided(entry) => Some(entry.bar_close.0 - MINUTE_MS),
            _ => None,
        });
        let now = exchange.now().await.0;
        let from = first.min().unwrap_or(now - MINUTE_MS);
        Self {
            candles: exchange.candles(symbol, UtcMs(from)).await,
            grid: exchange.grid(symbol).await,
        }
    }
}

/// The phase of a book, as the audit derives it from the records.
#[derive(Debug, Clone)]
enum ExpectedPhase {
    Unopened,
    Flat,
    Pending(Entry),
    Open(Position),
    /// Halted; holds the phase that is restored by an unhalt.
    Halted(Box<ExpectedPhase>),
}

struct Auditor<'a> {
    market: &'a MarketData,
    phase: ExpectedPhase,
    capital: Decimal,
    equity: Decimal,
    last_bar: i64,
    /// Entries are locked on bars that close before this time in milliseconds.
    locked_until: i64,
    /// Trading costs, as the newest writer recorded them.
    slippage: Decimal,
    fee_rate: Decimal,
    funding_rate: Decimal,
    leverage: Decimal,
}

/// Compares a whole journal with the market. Panics at the first record that the market does not allow.
pub fn audit_journal(key: &BookKey, entries: &Batches, market: &MarketData, managed_until_ms: i64) {
    audit_writers(key, entries);
    let mut auditor = Auditor {
        market,
        phase: ExpectedPhase::Unopened,
        capital: Decimal::ZERO,
        equity: Decimal::ZERO,
        last_bar: 0,
        locked_until: 0,
        slippage: Decimal::ZERO,
        fee_rate: Decimal::ZERO,
        funding_rate: Decimal::ZERO,
        leverage: Decimal::ONE,
    };
    for StoredBatch { seq, batch: entry } in entries {
        for record in &entry.records {
            let audited = auditor.audit_record(record);
            audited.unwrap_or_else(|error| panic!("{key}, sequence {seq}: {error}: {record:?}"));
        }
    }
    if let ExpectedPhase::Open(position) = &auditor.phase {
        let missed = auditor.first_exit(position);
        let missed = missed.filter(|(at, ..)| *at < managed_until_ms);
        assert!(missed.is_none(), "{key}: {missed:?} missed by {position:?}");
    }
}

/// Each writer begins with a `WriterChanged` or `BookUnhalted` record, and its batch ids increase, also if it
/// relinquished the book and acquired it again.
fn audit_writers(key: &BookKey, entries: &Batches) {
    let mut ids: BTreeMap<&SubjectToken, u64> = BTreeMap::new();
    let mut current: Option<&SubjectToken> = None;
    for StoredBatch { seq, batch: entry } in entries {
        let place = format!("{key}, sequence {seq}");
        if current != Some(&entry.writer) {
            let starts_as_writer = match &entry.records[0] {
                BookRecord::WriterChanged { boot, .. } => *boot == entry.writer,
                BookRecord::BookUnhalted { .. } => true,
                _ => false,
            };
            assert!(
                starts_as_writer,
                "{place}: the writer did not begin with a writer change"
            );
        }
        let earlier = ids.insert(&entry.writer, entry.batch_id).unwrap_or(0);
        assert!(entry.batch_id > earlier, "{place}: duplicate batch id");
        current = Some(&entry.writer);
    }
}

type AuditResult = Result<(), String>;

impl Auditor<'_> {
    fn audit_record(&mut self, record: &BookRecord) -> AuditResult {
        match (&self.phase, record) {
            (_, BookRecord::WriterChanged { config, .. }) => {
                self.slippage = config.slippage_rate;
                self.fee_rate = config.fee_rate;
                self.funding_rate = config.funding_rate;
                self.leverage = config.leverage;
                Ok(())
            }
            (ExpectedPhase::Unopened, BookRecord::BookOpened { capital, .. }) => {
                self.capital = *capital;
                self.equity = *capital;
                self.phase = ExpectedPhase::Flat;
                Ok(())
            }
            (ExpectedPhase::Flat, BookRecord::CapitalChanged { capital }) => {
                self.equity += *capital - self.capital;
                self.capital = *capital;
                Ok(())
            }
            (ExpectedPhase::Flat, BookRecord::EntryDecided(entry)) => {
                self.audit_entry_decision(entry)?;
                self.phase = ExpectedPhase::Pending(*entry);
                Ok(())
            }
            (ExpectedPhase::Pending(entry), BookRecord::EntryDropped { at, .. }) => {
                expect_equal("candle", &(at.0 >= entry.enter_at.0), &true)?;
                self.phase = ExpectedPhase::Flat;
                Ok(())
            }
            (ExpectedPhase::Pending(entry), BookRecord::PositionOpened(position)) => {
                self.audit_opening(entry, position)?;
                self.phase = ExpectedPhase::Open(*position);
                Ok(())
            }
            (ExpectedPhase::Open(position), BookRecord::FundingPaid { at, amount }) => {
                let (mut position, at, amount) = (*position, *at, *amount);
                expect_equal("time of funding", &(at.0 % FUNDING_MS), &0)?;
                let due =
                    fills::funding_payment(&position, self.candle(at.0)?.open, self.funding_rate);
                expect_equal("funding", &amount, &due)?;
                position.funding += amount;
                self.phase = ExpectedPhase::Open(position);
                Ok(())
            }
            (ExpectedPhase::Flat, BookRecord::EntriesLocked { until, .. }) => {
                self.locked_until = self.locked_until.max(until.0);
                Ok(())
            }
            (
                ExpectedPhase::Flat | ExpectedPhase::Pending(_) | ExpectedPhase::Open(_),
                BookRecord::BreakerTripped { .. } | BookRecord::BreakerReset { .. },
            ) => Ok(()),
            (ExpectedPhase::Unopened, BookRecord::SignalRejected { .. }) => {
                Err("signal rejected before the book was opened".to_owned())
            }
            (_, BookRecord::SignalRejected { bar_close, .. }) => {
                expect_equal("bar", &(bar_close.0 % BAR_MS), &0)
            }
            (ExpectedPhase::Open(position), BookRecord::PositionClosed(trade)) => {
                self.equity = self.audit_closing(position, trade)?;
                self.phase = ExpectedPhase::Flat;
                Ok(())
            }
            (_, BookRecord::BookHalted { .. }) => {
                let before = std::mem::replace(&mut self.phase, ExpectedPhase::Unopened);
                self.phase = ExpectedPhase::Halted(Box::new(before));
                Ok(())
            }
            (ExpectedPhase::Halted(before), BookRecord::BookUnhalted { .. }) => {
                self.phase = ExpectedPhase::clone(before);
                Ok(())
            }
            (phase, _) => Err(format!("unexpected in phase {phase:?}")),
        }
    }

    fn audit_entry_decision(&mut self, entry: &Entry) -> AuditResult {
        let close = entry.bar_close.0;
        expect_equal("bar", &(close % BAR_MS), &0)?;
        if close <= self.last_bar {
            return Err("an entry on this bar exists already".to_owned());
        }
        self.last_bar = close;
        if close < self.locked_until {
            return Err("entries were locked".to_owned());
        }
        expect_equal(
            "account sequence is positive",
            &(entry.account_seq > 0),
            &true,
        )?;
        expect_equal("entry candle", &entry.enter_at.0, &close)?;
        let last = self.candle(close - MINUTE_MS)?;
        expect_equal(
            "reference",
            &entry.reference_price.to_decimal(),
            &last.close,
        )?;
        let bracket = fills::expected_bracket(
            entry,
            self.equity,
            self.leverage,
            self.fee_rate,
            self.market.grid,
        );
        expect_equal("stop", &entry.stop_price.to_decimal(), &bracket.stop)?;
        expect_equal("target", &entry.target_price.to_decimal(), &bracket.target)?;
        expect_equal("quantity", &entry.quantity.to_decimal(), &bracket.quantity)
    }

    fn audit_opening(&self, entry: &Entry, position: &Position) -> AuditResult {
        expect_equal("candle", &position.at, &entry.enter_at)?;
        expect_equal("side", &position.side, &entry.side)?;
        expect_equal("quantity", &position.quantity, &entry.quantity)?;
        expect_equal("stop", &position.stop_price, &entry.stop_price)?;
        expect_equal("target", &position.target_price, &entry.target_price)?;
        let open = self.candle(position.at.0)?.open;
        let buys = position.side == PositionSide::Long;
        let price = fills::market_fill_price(open, buys, self.slippage, self.market.grid.tick);
        expect_equal("price", &position.entry_price.to_decimal(), &price)?;
        let fee = fills::fee(price, position.quantity.to_decimal(), self.fee_rate);
        expect_equal("fee", &position.fee, &fee)
    }

    fn audit_closing(&self, position: &Position, trade: &Trade) -> Result<Decimal, String> {
        let Some((at, price, reason)) = self.first_exit(position) else {
            return Err("no candle touches stop or target".to_owned());
        };
        expect_equal("candle", &trade.at.0, &at)?;
        expect_equal("reason", &trade.reason, &reason)?;
        expect_equal("price", &trade.exit_price.to_decimal(), &price)?;
        expect_equal("entry", &trade.entry_price, &position.entry_price)?;
        expect_equal("quantity", &trade.quantity, &position.quantity)?;
        let (quantity, entry) = (trade.quantity.to_decimal(), trade.entry_price.to_decimal());
        let fee = fills::fee(price, quantity, self.fee_rate);
        expect_equal("fee", &trade.fee, &fee)?;
        let move_ = match trade.side {
            PositionSide::Long => price - entry,
            PositionSide::Short => entry - price,
        };
        let funding = self.funding_due(position, at)?;
        expect_equal("funding", &trade.funding, &funding)?;
        let pnl = move_ * quantity - position.fee - fee - funding;
        expect_equal("pnl", &trade.pnl, &pnl)?;
        expect_equal("equity", &trade.equity, &(self.equity + trade.pnl))?;
        Ok(trade.equity)
    }

    /// Sum of the funding due after the entry's candle, up to and including the exit's candle.
    fn funding_due(&self, position: &Position, until: i64) -> Result<Decimal, String> {
        let first = (position.at.0 / FUNDING_MS + 1) * FUNDING_MS;
        let mut sum = Decimal::ZERO;
        let mut at = first;
        while at <= until {
            sum += fills::funding_payment(position, self.candle(at)?.open, self.funding_rate);
            at += FUNDING_MS;
        }
        Ok(sum)
    }

    /// Time, price and reason of the first exit that the candles trigger. `None` if no candle triggers one.
    fn first_exit(&self, position: &Position) -> Option<(i64, Decimal, ExitReason)> {
        let mut candles = self.market.candles.range(position.at.0..);
        candles.find_map(|(at, candle)| {
            let exit =
                fills::exit_in_candle(position, candle, self.slippage, self.market.grid.tick);
            exit.map(|(price, reason)| (*at, price, reason))
        })
    }

    fn candle(&self, at: i64) -> Result<crate::exchange::Candle, String> {
        let candle = self.market.candles.get(&at).copied();
        candle.ok_or_else(|| format!("the exchange has no candle {}", UtcMs(at)))
    }
}

fn expect_equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> AuditResult {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is {found:?}, expected {expected:?}"))
}

/// Ids of the events that these journals require and that are not stored.
pub fn missing_events(
    journals: &BTreeMap<BookKey, Batches>,
    stored: &[StoredEvent],
) -> Vec<String> {
    let published: BTreeSet<&str> = stored.iter().map(|s| s.event.id.as_str()).collect();
    let expected = expected_events(journals).into_keys();
    expected
        .filter(|id| !published.contains(id.as_str()))
        .collect()
}

/// Checks every stored event: a journal requires it, its body equals the expected one, its id is unique, and
/// subject and headers match.
pub fn audit_events(journals: &BTreeMap<BookKey, Batches>, stored: &[StoredEvent]) {
    let expected = expected_events(journals);
    let mut ids = BTreeSet::new();
    for stored_event in stored {
        let (id, event) = (&stored_event.event.id, &stored_event.event);
        assert!(ids.insert(id.as_str()), "event {id} is stored twice");
        for header in ["Nats-Msg-Id", "ce-id"] {
            assert_eq!(stored_event.header(header), id, "header {header}");
        }
        assert_eq!(stored_event.header("ce-type"), event.body.kind(), "{id}");
        let (severity, kind) = (event.severity, event.body.kind());
        let end = format!(".{severity}.{kind}");
        assert!(
            stored_event.subject.ends_with(&end),
            "{id} on {}",
            stored_event.subject
        );
        if id.contains('.') && !id.starts_with("account.") {
            // Ids of journaled events begin with the book's key. Account events are not audited here. Other
            // ids begin with a boot id, which has no dot.
            let body = expected
                .get(id)
                .unwrap_or_else(|| panic!("{id} is in no journal"));
            assert_eq!(&event.body, body, "{id}");
        }
    }
}

fn expected_events(
    journals: &BTreeMap<BookKey, Batches>,
) -> BTreeMap<String, protocol::event::EventBody> {
    let mut events = BTreeMap::new();
    for (key, entries) in journals {
        for StoredBatch { seq, batch: entry } in entries {
            for (index, record) in entry.records.iter().enumerate() {
                if let Some(body) = operator_event(key, record) {
                    events.insert(format!("{key}:{seq}:{index}"), body);
                }
            }
        }
    }
    events
}
