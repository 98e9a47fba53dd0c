//! An audit of a book's journal that shares no rule with the engine: prices, reasons, fees, sizes and
//! equity are computed anew from the exchange's candles; and of the events that the owner got.

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

/// An open position's stop and target are checked up to this long before now: the candles of the last
/// moments may be on their way.
pub const SLACK_MS: i64 = 30 * MINUTE_MS;
const BAR_MS: i64 = 30 * MINUTE_MS;
const FUNDING_MS: i64 = 8 * 60 * MINUTE_MS;

/// What the exchange says of one symbol.
pub struct MarketData {
    candles: Candles,
    grid: Grid,
}

impl MarketData {
    /// From the exchange, as far back as this journal needs.
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

/// What a book is, by the audit's own reckoning.
#[derive(Debug, Clone)]
enum ExpectedPhase {
    Unopened,
    Flat,
    Pending(Entry),
    Open(Position),
    /// Nothing happens to what it was.
    Halted(Box<ExpectedPhase>),
}

struct Auditor<'a> {
    market: &'a MarketData,
    phase: ExpectedPhase,
    capital: Decimal,
    equity: Decimal,
    last_bar: i64,
    /// No entry on a bar that closes before.
    locked_until: i64,
    /// Trading costs, as the newest owner recorded them.
    slippage: Decimal,
    fee_rate: Decimal,
    funding_rate: Decimal,
    leverage: Decimal,
}

/// Holds a whole journal against the market. Panics at the first thing that is not so.
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
            let passed = auditor.audit_record(record);
            passed.unwrap_or_else(|why| panic!("{key}, sequence {seq}: {why}: {record:?}"));
        }
    }
    if let ExpectedPhase::Open(position) = &auditor.phase {
        let missed = auditor.first_exit(position);
        let missed = missed.filter(|(at, ..)| *at < managed_until_ms);
        assert!(missed.is_none(), "{key}: {missed:?} missed by {position:?}");
    }
}

/// One writer after another, each begins by taking over, and each one's ids count up, also if it gave
/// the book away and got it back.
fn audit_writers(key: &BookKey, entries: &Batches) {
    let mut ids: BTreeMap<&SubjectToken, u64> = BTreeMap::new();
    let mut current: Option<&SubjectToken> = None;
    for StoredBatch { seq, batch: entry } in entries {
        let place = format!("{key}, sequence {seq}");
        if current != Some(&entry.writer) {
            let takes_over = match &entry.records[0] {
                BookRecord::WriterChanged { boot, .. } => *boot == entry.writer,
                BookRecord::BookUnhalted { .. } => true,
                _ => false,
            };
            assert!(
                takes_over,
                "{place}: written by one that had not taken over"
            );
        }
        let earlier = ids.insert(&entry.writer, entry.batch_id).unwrap_or(0);
        assert!(
            entry.batch_id > earlier,
            "{place}: a record id is there twice"
        );
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
            (ExpectedPhase::Unopened, BookRecord::SignalRejected { .. }) => {
                Err("refused before it was opened".to_owned())
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
            (holding, _) => Err(format!("out of place after {holding:?}")),
        }
    }

    fn audit_entry_decision(&mut self, entry: &Entry) -> AuditResult {
        let close = entry.bar_close.0;
        expect_equal("bar", &(close % BAR_MS), &0)?;
        if close <= self.last_bar {
            return Err("this bar was entered before".to_owned());
        }
        self.last_bar = close;
        if close < self.locked_until {
            return Err("entries were locked".to_owned());
        }
        expect_equal("account's leave", &(entry.account_seq > 0), &true)?;
        expect_equal("entry candle", &entry.enter_at.0, &close)?;
        let last = self.candle(close - MINUTE_MS)?;
        expect_equal(
            "reference",
            &entry.reference_price.to_decimal(),
            &last.close,
        )?;
        let bracket = fills::expected_bracket(entry, self.equity, self.leverage, self.market.grid);
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

    /// All that fell due after the entry's candle, up to that of the exit.
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

    /// Time, price and reason of the first exit that the market allows.
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

fn expect_equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, right: &T) -> AuditResult {
    if found == right {
        return Ok(());
    }
    Err(format!("{what} is {found:?}, must be {right:?}"))
}

/// Ids of the events that these journals owe and that were not told.
pub fn missing_events(
    journals: &BTreeMap<BookKey, Batches>,
    stored: &[StoredEvent],
) -> Vec<String> {
    let told: BTreeSet<&str> = stored.iter().map(|t| t.event.id.as_str()).collect();
    let debts = expected_events(journals).into_keys();
    debts.filter(|id| !told.contains(id.as_str())).collect()
}

/// Each told event is one that its journal owes, in its words, once; its headers name it.
pub fn audit_events(journals: &BTreeMap<BookKey, Batches>, stored: &[StoredEvent]) {
    let debts = expected_events(journals);
    let mut ids = BTreeSet::new();
    for told in stored {
        let (id, event) = (&told.event.id, &told.event);
        assert!(ids.insert(id.as_str()), "event {id} is there twice");
        for header in ["Nats-Msg-Id", "ce-id"] {
            assert_eq!(told.header(header), id, "header {header}");
        }
        assert_eq!(told.header("ce-type"), event.body.kind(), "{id}");
        let (severity, kind) = (event.severity, event.body.kind());
        let end = format!(".{severity}.{kind}");
        assert!(told.subject.ends_with(&end), "{id} on {}", told.subject);
        if id.contains('.') && !id.starts_with("account.") {
            // Ids of journaled events begin with the book (or are the account's, whose journal is not
            // audited here); a boot id has no dot.
            let owed = debts
                .get(id)
                .unwrap_or_else(|| panic!("{id} is in no journal"));
            assert_eq!(&event.body, owed, "{id}");
        }
    }
}

fn expected_events(
    journals: &BTreeMap<BookKey, Batches>,
) -> BTreeMap<String, protocol::event::EventBody> {
    let mut debts = BTreeMap::new();
    for (key, entries) in journals {
        for StoredBatch { seq, batch: entry } in entries {
            for (index, record) in entry.records.iter().enumerate() {
                if let Some(body) = operator_event(key, record) {
                    debts.insert(format!("{key}:{seq}:{index}"), body);
                }
            }
        }
    }
    debts
}
