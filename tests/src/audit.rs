//! An audit of a book's journal that shares no rule with the engine: prices, reasons, fees, sizes and
//! equity are computed anew from the exchange's candles; and of the events that the owner got.

mod fills;

use std::collections::{BTreeMap, BTreeSet};

use engine::book::{BookRecord, Entry, ExitReason, Position, Trade};
use engine::events::owner_event;
use protocol::event::Side;
use protocol::ids::{BookKey, Token};
use protocol::time::UtcMs;
use runtime::journal::Stored;
use rust_decimal::Decimal;

use crate::exchange::{Candles, Exchange, Grid, MINUTE_MS};
use crate::journals::Entries;
use crate::told::Told;

/// An open position's stop and target are checked up to this long before now: the candles of the last
/// moments may be on their way.
pub const SLACK_MS: i64 = 30 * MINUTE_MS;
const BAR_MS: i64 = 30 * MINUTE_MS;
const FUNDING_MS: i64 = 8 * 60 * MINUTE_MS;

/// What the exchange says of one symbol.
pub struct Market {
    candles: Candles,
    grid: Grid,
}

impl Market {
    /// From the exchange, as far back as this journal needs.
    pub async fn fetch(exchange: &Exchange, symbol: &str, entries: &Entries) -> Self {
        let first = entries.iter().flat_map(|s| &s.entry.records);
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
enum Holding {
    Unopened,
    Flat,
    Pending(Entry),
    Open(Position),
    /// Nothing happens to what it was.
    Halted(Box<Holding>),
}

struct Auditor<'a> {
    market: &'a Market,
    holding: Holding,
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
pub fn journal(key: &BookKey, entries: &Entries, market: &Market, managed_until_ms: i64) {
    writers(key, entries);
    let mut auditor = Auditor {
        market,
        holding: Holding::Unopened,
        capital: Decimal::ZERO,
        equity: Decimal::ZERO,
        last_bar: 0,
        locked_until: 0,
        slippage: Decimal::ZERO,
        fee_rate: Decimal::ZERO,
        funding_rate: Decimal::ZERO,
        leverage: Decimal::ONE,
    };
    for Stored { seq, entry } in entries {
        for record in &entry.records {
            let passed = auditor.record(record);
            passed.unwrap_or_else(|why| panic!("{key}, sequence {seq}: {why}: {record:?}"));
        }
    }
    if let Holding::Open(position) = &auditor.holding {
        let missed = auditor.first_exit(position);
        let missed = missed.filter(|(at, ..)| *at < managed_until_ms);
        assert!(missed.is_none(), "{key}: {missed:?} missed by {position:?}");
    }
}

/// One writer after another, each begins by taking over, and each one's ids count up, also if it gave
/// the book away and got it back.
fn writers(key: &BookKey, entries: &Entries) {
    let mut ids: BTreeMap<&Token, u64> = BTreeMap::new();
    let mut current: Option<&Token> = None;
    for Stored { seq, entry } in entries {
        let place = format!("{key}, sequence {seq}");
        if current != Some(&entry.writer) {
            let takes_over = match &entry.records[0] {
                BookRecord::OwnerTookOver { boot, .. } => *boot == entry.writer,
                BookRecord::BookReleased { .. } => true,
                _ => false,
            };
            assert!(
                takes_over,
                "{place}: written by one that had not taken over"
            );
        }
        let earlier = ids.insert(&entry.writer, entry.id).unwrap_or(0);
        assert!(entry.id > earlier, "{place}: a record id is there twice");
        current = Some(&entry.writer);
    }
}

type Verdict = Result<(), String>;

impl Auditor<'_> {
    fn record(&mut self, record: &BookRecord) -> Verdict {
        match (&self.holding, record) {
            (_, BookRecord::OwnerTookOver { config, .. }) => {
                self.slippage = config.slippage;
                self.fee_rate = config.fee_rate;
                self.funding_rate = config.funding_rate;
                self.leverage = config.leverage;
                Ok(())
            }
            (Holding::Unopened, BookRecord::BookOpened { capital, .. }) => {
                self.capital = *capital;
                self.equity = *capital;
                self.holding = Holding::Flat;
                Ok(())
            }
            (Holding::Flat, BookRecord::CapitalChanged { capital }) => {
                self.equity += *capital - self.capital;
                self.capital = *capital;
                Ok(())
            }
            (Holding::Flat, BookRecord::EntryDecided(entry)) => {
                self.decided(entry)?;
                self.holding = Holding::Pending(*entry);
                Ok(())
            }
            (Holding::Pending(entry), BookRecord::EntryDropped { at, .. }) => {
                same("candle", &(at.0 >= entry.enter_at.0), &true)?;
                self.holding = Holding::Flat;
                Ok(())
            }
            (Holding::Pending(entry), BookRecord::PositionOpened(position)) => {
                self.opened(entry, position)?;
                self.holding = Holding::Open(*position);
                Ok(())
            }
            (Holding::Open(position), BookRecord::FundingPaid { at, amount }) => {
                let (mut position, at, amount) = (*position, *at, *amount);
                same("time of funding", &(at.0 % FUNDING_MS), &0)?;
                let due = fills::funding(&position, self.candle(at.0)?.open, self.funding_rate);
                same("funding", &amount, &due)?;
                position.funding += amount;
                self.holding = Holding::Open(position);
                Ok(())
            }
            (Holding::Flat, BookRecord::EntriesLocked { until, .. }) => {
                self.locked_until = self.locked_until.max(until.0);
                Ok(())
            }
            (Holding::Unopened, BookRecord::EntryRefused { .. }) => {
                Err("refused before it was opened".to_owned())
            }
            (_, BookRecord::EntryRefused { bar_close, .. }) => {
                same("bar", &(bar_close.0 % BAR_MS), &0)
            }
            (Holding::Open(position), BookRecord::PositionClosed(trade)) => {
                self.equity = self.closed(position, trade)?;
                self.holding = Holding::Flat;
                Ok(())
            }
            (_, BookRecord::BookHalted { .. }) => {
                let before = std::mem::replace(&mut self.holding, Holding::Unopened);
                self.holding = Holding::Halted(Box::new(before));
                Ok(())
            }
            (Holding::Halted(before), BookRecord::BookReleased { .. }) => {
                self.holding = Holding::clone(before);
                Ok(())
            }
            (holding, _) => Err(format!("out of place after {holding:?}")),
        }
    }

    fn decided(&mut self, entry: &Entry) -> Verdict {
        let close = entry.bar_close.0;
        same("bar", &(close % BAR_MS), &0)?;
        if close <= self.last_bar {
            return Err("this bar was entered before".to_owned());
        }
        self.last_bar = close;
        if close < self.locked_until {
            return Err("entries were locked".to_owned());
        }
        same("account's leave", &(entry.account_seq > 0), &true)?;
        same("entry candle", &entry.enter_at.0, &close)?;
        let last = self.candle(close - MINUTE_MS)?;
        same("reference", &entry.reference.to_decimal(), &last.close)?;
        let bracket = fills::bracket(entry, self.equity, self.leverage, self.market.grid);
        same("stop", &entry.stop.to_decimal(), &bracket.stop)?;
        same("target", &entry.target.to_decimal(), &bracket.target)?;
        same("quantity", &entry.quantity.to_decimal(), &bracket.quantity)
    }

    fn opened(&self, entry: &Entry, position: &Position) -> Verdict {
        same("candle", &position.at, &entry.enter_at)?;
        same("side", &position.side, &entry.side)?;
        same("quantity", &position.quantity, &entry.quantity)?;
        same("stop", &position.stop, &entry.stop)?;
        same("target", &position.target, &entry.target)?;
        let open = self.candle(position.at.0)?.open;
        let buys = position.side == Side::Long;
        let price = fills::market(open, buys, self.slippage, self.market.grid.tick);
        same("price", &position.price.to_decimal(), &price)?;
        let fee = fills::fee(price, position.quantity.to_decimal(), self.fee_rate);
        same("fee", &position.fee, &fee)
    }

    fn closed(&self, position: &Position, trade: &Trade) -> Result<Decimal, String> {
        let Some((at, price, reason)) = self.first_exit(position) else {
            return Err("no candle touches stop or target".to_owned());
        };
        same("candle", &trade.at.0, &at)?;
        same("reason", &trade.reason, &reason)?;
        same("price", &trade.price.to_decimal(), &price)?;
        same("entry", &trade.entry, &position.price)?;
        same("quantity", &trade.quantity, &position.quantity)?;
        let (quantity, entry) = (trade.quantity.to_decimal(), trade.entry.to_decimal());
        let fee = fills::fee(price, quantity, self.fee_rate);
        same("fee", &trade.fee, &fee)?;
        let move_ = match trade.side {
            Side::Long => price - entry,
            Side::Short => entry - price,
        };
        let funding = self.funding(position, at)?;
        same("funding", &trade.funding, &funding)?;
        let pnl = move_ * quantity - position.fee - fee - funding;
        same("pnl", &trade.pnl, &pnl)?;
        same("equity", &trade.equity, &(self.equity + trade.pnl))?;
        Ok(trade.equity)
    }

    /// All that fell due after the entry's candle, up to that of the exit.
    fn funding(&self, position: &Position, until: i64) -> Result<Decimal, String> {
        let first = (position.at.0 / FUNDING_MS + 1) * FUNDING_MS;
        let mut sum = Decimal::ZERO;
        let mut at = first;
        while at <= until {
            sum += fills::funding(position, self.candle(at)?.open, self.funding_rate);
            at += FUNDING_MS;
        }
        Ok(sum)
    }

    /// Time, price and reason of the first exit that the market allows.
    fn first_exit(&self, position: &Position) -> Option<(i64, Decimal, ExitReason)> {
        let mut candles = self.market.candles.range(position.at.0..);
        candles.find_map(|(at, candle)| {
            let exit = fills::exit(position, candle, self.slippage, self.market.grid.tick);
            exit.map(|(price, reason)| (*at, price, reason))
        })
    }

    fn candle(&self, at: i64) -> Result<crate::exchange::Candle, String> {
        let candle = self.market.candles.get(&at).copied();
        candle.ok_or_else(|| format!("the exchange has no candle {}", UtcMs(at)))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, right: &T) -> Verdict {
    if found == right {
        return Ok(());
    }
    Err(format!("{what} is {found:?}, must be {right:?}"))
}

/// Ids of the events that these journals owe and that were not told.
pub fn owed(journals: &BTreeMap<BookKey, Entries>, told: &[Told]) -> Vec<String> {
    let told: BTreeSet<&str> = told.iter().map(|t| t.event.id.as_str()).collect();
    let debts = debts(journals).into_keys();
    debts.filter(|id| !told.contains(id.as_str())).collect()
}

/// Each told event is one that its journal owes, in its words, once; its headers name it.
pub fn events(journals: &BTreeMap<BookKey, Entries>, told: &[Told]) {
    let debts = debts(journals);
    let mut ids = BTreeSet::new();
    for told in told {
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

fn debts(journals: &BTreeMap<BookKey, Entries>) -> BTreeMap<String, protocol::event::EventBody> {
    let mut debts = BTreeMap::new();
    for (key, entries) in journals {
        for Stored { seq, entry } in entries {
            for (index, record) in entry.records.iter().enumerate() {
                if let Some(body) = owner_event(key, record) {
                    debts.insert(format!("{key}:{seq}:{index}"), body);
                }
            }
        }
    }
    debts
}
