//! What is open on a latched account, from the journals of its books and, in live mode, from the exchange. The
//! account leader decides by it when the account is flat.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use exchange::{ExchangePosition, ExecutionClient, RestingOrder};
use protocol::event::OpenPosition;
use protocol::ids::{BookKey, SubjectToken};
use protocol::report::BookReport;
use protocol::subject::{Subject, filter};
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::identity::boot_id;
use runtime::journal::{Journal, ReplayError, StoredBatch};
use runtime::subscription::Subscription;
use runtime::{clock, streams};
use rust_decimal::Decimal;
use tokio::time::timeout;
use trader_core::account::{AccountRecord, AccountState, ClosingCheck, reminder_interval};
use trader_core::book::{BookPhase, BookRecord, BookState, Position};
use trader_core::orders::{Leg, OrderStatus, OrderType, TrackedOrder, WorkingStop};

use crate::app::context::Context;
use crate::books::book_journal::{account_books, read_book_state};

/// How long the open positions may be read from the journals before the account is latched. After it, the newest
/// reports of the books count: a latch must not wait.
const POSITIONS_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest time between two queries of the exchange's positions.
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(2);

/// Follows the books of a latched account.
pub(super) struct ClosingAccount {
    /// Changes of the journals of all books. They only show that a journal must be read.
    changes: Subscription,
    is_read_due: bool,
    /// Sequence in JOURNAL of the latch. A trade behind it was closed since.
    latch_seq: u64,
    latched_at: Instant,
    /// When the operator was last notified what is open.
    notified_at: Instant,
    books: BTreeMap<BookKey, ClosingBook>,
    exchange_queried_at: Option<Instant>,
}

/// When an account was latched and when the operator was last notified what is open, as its journal has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LatchTimes {
    /// Sequence in JOURNAL of the latch.
    pub(super) seq: u64,
    /// Time of the latch, wall clock of its leader.
    pub(super) at: UtcMs,
    /// Time of the last reminder; that of the latch before the first.
    pub(super) notified_at: UtcMs,
}

impl LatchTimes {
    /// The times of the latch that is active behind these batches; `None` without one.
    pub(super) fn of_journal(batches: &[StoredBatch<AccountRecord>]) -> Option<Self> {
        let mut times = None;
        for stored in batches {
            let (seq, at) = (stored.seq, stored.batch.at);
            for record in &stored.batch.records {
                match record {
                    AccountRecord::Latched(_) => {
                        let notified_at = at;
                        times = Some(Self {
                            seq,
                            at,
                            notified_at,
                        });
                    }
                    AccountRecord::StillOpen(_) => {
                        times = times.map(|latch| Self {
                            notified_at: at,
                            ..latch
                        });
                    }
                    AccountRecord::Unlatched(_) => times = None,
                    AccountRecord::AccountOpened { .. }
                    | AccountRecord::WriterChanged { .. }
                    | AccountRecord::ValueRecorded(_)
                    | AccountRecord::Flattened(_)
                    | AccountRecord::EntriesPaused(_)
                    | AccountRecord::EntriesResumed(_)
                    | AccountRecord::BalanceBaselined(_)
                    | AccountRecord::FundsTransferred(_)
                    | AccountRecord::BalanceDiffers(_)
                    | AccountRecord::BalanceExplained { .. }
                    | AccountRecord::DifferenceAccepted(_) => {}
                }
            }
        }
        times
    }
}

/// A book, folded as far as its journal was read.
#[derive(Default)]
struct ClosingBook {
    state: BookState,
    seq: u64,
    trades: u64,
    pnl: Decimal,
    /// Why the journal cannot be folded, if so.
    error: Option<String>,
}

impl ClosingAccount {
    /// Begins to follow the books of an account that is latched.
    pub(super) fn start(ctx: &Context, latch: LatchTimes) -> Self {
        let journals = filter::account_book_journals(&ctx.account);
        let (now, wall) = (Instant::now(), clock::now());
        // The leader that latched the account may be dead: its wall clock shows how long ago that was.
        let instant_of = |at: UtcMs| now.checked_sub(wall.since(at)).unwrap_or(now);
        Self {
            changes: Subscription::start(&ctx.bus, streams::JOURNAL, journals),
            is_read_due: true,
            latch_seq: latch.seq,
            latched_at: instant_of(latch.at),
            notified_at: instant_of(latch.notified_at),
            books: BTreeMap::new(),
            exchange_queried_at: None,
        }
    }

    /// Waits for a change of a book's journal. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        self.changes.next().await;
        self.is_read_due = true;
    }

    /// Notes that the operator has been notified what is open.
    pub(super) fn mark_notified(&mut self) {
        self.notified_at = Instant::now();
    }

    /// Checks what is open; `None` if it is too early to ask the exchange again.
    ///
    /// # Errors
    /// One line, if the bus does not answer.
    pub(super) async fn check(
        &mut self,
        ctx: &Context,
        state: &AccountState,
    ) -> Result<Option<ClosingCheck>, String> {
        if self.is_read_due {
            self.read_journals(ctx).await?;
            self.is_read_due = false;
        }
        let is_reminder_due =
            self.notified_at.elapsed() >= reminder_interval(state.closing.reminders);
        let mut positions = self.open_in_journals(ctx);
        if let Some(client) = &ctx.execution_client
            && (positions.is_empty() || is_reminder_due)
        {
            let is_early = |at: Instant| at.elapsed() < EXCHANGE_INTERVAL;
            if !is_reminder_due && self.exchange_queried_at.is_some_and(is_early) {
                return Ok(None);
            }
            self.exchange_queried_at = Some(Instant::now());
            self.compare_with_exchange(&**client, ctx, &mut positions)
                .await;
        }
        let books = self.books.values();
        Ok(Some(ClosingCheck {
            positions,
            trades: books.clone().map(|book| book.trades).sum(),
            pnl: books.clone().map(|book| book.pnl).sum(),
            equity: books.map(|book| book.state.equity).sum(),
            since_latch: self.latched_at.elapsed(),
            since_report: self.notified_at.elapsed(),
        }))
    }

    /// Folds what the journals of the books have got since the last call.
    async fn read_journals(&mut self, ctx: &Context) -> Result<(), String> {
        for key in account_books(&ctx.bus, &ctx.account).await? {
            let latch_seq = self.latch_seq;
            let book = self.books.entry(key.clone()).or_default();
            book.read(&ctx.bus, &key, latch_seq).await?;
        }
        Ok(())
    }

    /// The positions and pending entries of the journals.
    fn open_in_journals(&self, ctx: &Context) -> Vec<OpenPosition> {
        let is_live = ctx.execution_client.is_some();
        let open = |(key, book): (&BookKey, &ClosingBook)| {
            if let Some(error) = &book.error {
                return Some(OpenPosition {
                    symbol: key.symbol.clone(),
                    quantity: Decimal::ZERO,
                    stop_price: None,
                    note: Some(format!("unknown, the journal cannot be read: {error}")),
                });
            }
            let mut open = open_position(&key.symbol, &book.state, is_live)?;
            if !ctx.is_managed(&key.symbol) {
                open.note = Some("SYMBOLS does not have it: no trader manages it".to_owned());
                if !is_live {
                    open.stop_price = None;
                }
            }
            Some(open)
        };
        self.books.iter().filter_map(open).collect()
    }

    /// Adds what only the exchange has, and corrects what protects each position by the exchange's open orders.
    async fn compare_with_exchange(
        &self,
        client: &dyn ExecutionClient,
        ctx: &Context,
        open: &mut Vec<OpenPosition>,
    ) {
        let held = match client.positions().await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(%error, "positions of the exchange not read");
                return self.mark_unanswered(ctx, open);
            }
        };
        let ours: BTreeSet<&SubjectToken> = self
            .books
            .keys()
            .map(|key| &key.symbol)
            .chain(ctx.managed_symbols())
            .collect();
        for symbol in ours {
            add_exchange_position(symbol, &held, open);
        }
        if open.is_empty() {
            return;
        }
        match client.open_orders().await {
            Ok(orders) => {
                for position in open {
                    set_working_stop(position, &orders);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "open orders of the exchange not read");
                self.mark_unanswered(ctx, open);
            }
        }
    }

    /// The exchange does not answer: an account that is flat by its journals is not known to be flat.
    fn mark_unanswered(&self, ctx: &Context, open: &mut Vec<OpenPosition>) {
        const NOTE: &str = "by the journal; the exchange does not answer";
        if open.is_empty() {
            let has_closed = |book: &ClosingBook| book.trades > 0;
            let is_any_closed = self.books.values().any(has_closed);
            let uncertain = self.books.iter().filter(|(key, book)| {
                ctx.is_managed(&key.symbol) && (has_closed(book) || !is_any_closed)
            });
            open.extend(uncertain.map(|(key, _)| OpenPosition {
                symbol: key.symbol.clone(),
                quantity: Decimal::ZERO,
                stop_price: None,
                note: Some("closed by the journal; the exchange does not answer".to_owned()),
            }));
        }
        for position in open {
            position.note.get_or_insert_with(|| NOTE.to_owned());
        }
    }
}

impl ClosingBook {
    async fn read(&mut self, bus: &Bus, key: &BookKey, latch_seq: u64) -> Result<(), String> {
        if self.error.is_some() {
            return Ok(());
        }
        let subject = Subject::BookJournal(key.clone());
        let from = self.seq.saturating_add(1);
        let replayed = Journal::replay_from::<BookRecord>(bus, &subject, boot_id(), from).await;
        let (_, batches) = match replayed {
            Ok(replayed) => replayed,
            Err(error @ ReplayError::Unavailable { .. }) => return Err(error.to_string()),
            Err(error @ ReplayError::Unreadable { .. }) => {
                self.error = Some(error.to_string());
                return Ok(());
            }
        };
        for stored in batches {
            if let Err(error) = self.state.fold(&stored.batch) {
                self.error = Some(error.to_string());
                return Ok(());
            }
            self.seq = stored.seq;
            for record in &stored.batch.records {
                if let BookRecord::PositionClosed(trade) = record
                    && stored.seq > latch_seq
                {
                    self.trades += 1;
                    self.pnl = self.pnl.saturating_add(trade.pnl);
                }
            }
        }
        Ok(())
    }
}

/// The positions that are open when the account is latched: from the journals if they are read in time, else from the
/// books' newest reports.
pub(super) async fn positions_at_latch<'a>(
    ctx: &Context,
    reports: impl Iterator<Item = &'a BookReport>,
) -> Vec<OpenPosition> {
    let is_live = ctx.execution_client.is_some();
    let read = async {
        let mut open = Vec::new();
        for key in account_books(&ctx.bus, &ctx.account).await? {
            let state = read_book_state(&ctx.bus, &key).await?;
            open.extend(open_position(&key.symbol, &state, is_live));
        }
        Ok::<_, String>(open)
    };
    if let Ok(Ok(open)) = timeout(POSITIONS_TIMEOUT, read).await {
        return open;
    }
    tracing::warn!("open positions not read from the journals; the newest reports count");
    reports.filter_map(reported_position).collect()
}

/// The position or pending entry of a book; `None` if it has none.
fn open_position(symbol: &SubjectToken, state: &BookState, is_live: bool) -> Option<OpenPosition> {
    let (entry, note) = match &state.phase {
        BookPhase::EntryPending(_) => (true, Some("an entry is pending".to_owned())),
        BookPhase::Halted { entry, reason, .. } => (
            entry.is_some(),
            Some(format!("{}: {reason}", OpenPosition::HALTED)),
        ),
        BookPhase::Unopened | BookPhase::Flat | BookPhase::Open(_) => (false, None),
    };
    let position = state.position();
    if position.is_none() && !entry {
        return None;
    }
    let is_halted = matches!(state.phase, BookPhase::Halted { .. });
    let stop_price = if is_live {
        let mut newest_first = state.orders.iter().rev();
        newest_first.find_map(|o| stop_price(o).filter(|_| o.status == OrderStatus::Accepted))
    } else {
        // A paper position is closed by its trader alone.
        let managed = position.filter(|_| !is_halted);
        managed.map(|position| position.stop_price.to_decimal())
    };
    Some(OpenPosition {
        symbol: symbol.clone(),
        quantity: position.map_or(Decimal::ZERO, Position::signed_quantity),
        stop_price,
        note,
    })
}

/// Trigger price of a stop order; `None` for an order of another kind.
fn stop_price(tracked: &TrackedOrder) -> Option<Decimal> {
    match (tracked.order.leg, tracked.order.order_type) {
        (Leg::Stop, OrderType::Trigger { price }) => Some(price.to_decimal()),
        _ => None,
    }
}

fn reported_position(report: &BookReport) -> Option<OpenPosition> {
    let position = report.position.as_ref()?;
    Some(OpenPosition {
        symbol: report.book.symbol.clone(),
        quantity: position.signed_quantity(),
        stop_price: Some(position.stop_price),
        note: report.halt_reason.clone(),
    })
}

/// Sets the stop that closes the position by the orders that work on the exchange, of any client.
fn set_working_stop(position: &mut OpenPosition, orders: &[RestingOrder]) {
    let of_symbol = orders
        .iter()
        .filter(|o| o.symbol == position.symbol.as_str());
    let stops = of_symbol.filter_map(|o| o.order.stop);
    let quantity = position.quantity;
    position.stop_price = WorkingStop::price_of_close(stops.clone(), quantity);
    if position.stop_price.is_some() || quantity.is_zero() || stops.clone().next().is_none() {
        return;
    }
    let stops_note = if WorkingStop::protect(stops, quantity) {
        "a stop whose price the exchange moves closes it"
    } else {
        "the stops on the exchange close a part only"
    };
    position.note = Some(match position.note.take() {
        Some(note) => format!("{note}; {stops_note}"),
        None => stops_note.to_owned(),
    });
}

/// Sets the exchange's quantity of a symbol, which may differ from that of the journal.
fn add_exchange_position(
    symbol: &SubjectToken,
    held: &[ExchangePosition],
    open: &mut Vec<OpenPosition>,
) {
    let of_symbol = held.iter().filter(|held| held.symbol == symbol.as_str());
    let quantity: Decimal = of_symbol.map(|held| held.quantity).sum();
    match open.iter_mut().find(|position| position.symbol == *symbol) {
        Some(position) if position.quantity != quantity => {
            let note = format!("the journal has {}", position.quantity.normalize());
            position.quantity = quantity;
            position.note.get_or_insert(note);
        }
        None if !quantity.is_zero() => open.push(OpenPosition {
            symbol: symbol.clone(),
            quantity,
            stop_price: None,
            note: Some("only on the exchange; the journal is flat".to_owned()),
        }),
        Some(_) | None => {}
    }
}
