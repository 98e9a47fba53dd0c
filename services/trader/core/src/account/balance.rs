//! The balance check: the account's balance on the exchange, held against what the books journaled and what the exchange
//! lists besides.
//!
//! From a baseline on, the balance changes by the orders and funding of the books, which are in their journals, and by cash
//! flows that are no book's: transfers, rebates, and trades of the operator. What is left is the unexplained difference.
//! A difference is judged only after it has been seen for a while: trades, balance and list do not appear at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::record::{AccountRecord, BalanceBaseline, BalanceDifference, FundsTransfer};
use crate::book::{BookPhase, BookState, required_stop};

/// Largest difference that is none, in the quote currency: the sum of a million roundings to 1e-8.
pub const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 2);
/// How many times longer a difference is checked while open books explain it, or while it keeps changing.
const PATIENCE_FACTOR: u32 = 5;
/// Exchange time in milliseconds between two baselines of a balance that the books alone explain.
const BASELINE_AGE_MS: i64 = 300_000;
/// How long nothing may change before the first baseline of an account with open books: longer than the interval in
/// which each of them reads its funding.
const FIRST_QUIET: Duration = Duration::from_mins(6);

/// Kind of a cash flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CashFlowKind {
    /// Profit, fee, funding or liquidation cost of a position: a book journals those of its symbol.
    Trading,
    /// Money that was moved into or out of the account.
    Transfer,
    /// Anything else, such as a rebate.
    Other,
}

/// An entry of the exchange's list of cash flows, in the quote currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CashFlow {
    /// Id, unique within the account.
    pub id: String,
    /// Kind of the cash flow.
    pub kind: CashFlowKind,
    /// The exchange's name for the kind.
    pub name: String,
    /// Symbol as the exchange writes it; `None` if the cash flow concerns none.
    pub symbol: Option<String>,
    /// Amount: positive received, negative paid.
    pub amount: Decimal,
    /// Exchange time.
    pub at: UtcMs,
}

/// Whether a book's journal has all that its symbol has changed on the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookAccounting {
    /// Nothing is open.
    Complete,
    /// A position or an entry is open: fees and funding are journaled when the exchange lists them.
    Pending,
    /// The book is halted with a position or an entry: nothing is journaled before it is unhalted.
    Suspended,
}

/// What a book has changed on the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookBalance {
    /// Sum over all orders and funding payments so far, in the quote currency.
    pub change: Decimal,
    /// Whether the sum is complete.
    pub accounting: BookAccounting,
}

impl BookBalance {
    /// The sum in a book's state. An entry that was believed lost may still appear.
    pub fn of(state: &BookState, now: UtcMs) -> Self {
        let accounting = match &state.phase {
            BookPhase::Halted {
                position: None,
                entry: None,
                ..
            } => BookAccounting::Complete,
            BookPhase::Halted { .. } => BookAccounting::Suspended,
            BookPhase::EntryPending(_) | BookPhase::Open(_) => BookAccounting::Pending,
            BookPhase::Unopened | BookPhase::Flat if required_stop(state, now).is_some() => {
                BookAccounting::Pending
            }
            BookPhase::Unopened | BookPhase::Flat => BookAccounting::Complete,
        };
        Self {
            change: state.balance_change,
            accounting,
        }
    }
}

/// One reading of the balance and of all that may explain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceSample {
    /// Exchange time of the reading.
    pub at: UtcMs,
    /// Time since the first reading of this process, on a clock that is never set.
    pub elapsed: Duration,
    /// How long a difference must last before it is judged.
    pub grace: Duration,
    /// Balance on the exchange without unrealized profit and loss.
    pub balance: Decimal,
    /// Every book that has a journal.
    pub books: BTreeMap<SubjectToken, BookBalance>,
    /// Cash flows behind the baseline; may be empty if balance and books agree without them.
    pub cash_flows: Vec<CashFlow>,
}

/// The balance check of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalanceState {
    /// State from which the check counts; `None` before the first.
    pub baseline: Option<BalanceBaseline>,
    /// The unexplained difference that stops entries; `None` if there is none.
    pub difference: Option<BalanceDifference>,
    /// Ids of the transfers behind the baseline that are journaled.
    transfers: BTreeSet<String>,
    /// What the newest samples have in common; not in the journal.
    pub observed: Option<Observation>,
}

/// The newest sample, and since when it has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Exchange time of the newest sample.
    at: UtcMs,
    elapsed: Duration,
    /// Balance on the exchange.
    pub balance: Decimal,
    booked: Decimal,
    /// Exchange time and elapsed time since which balance and books are the same.
    unchanged_since: (UtcMs, Duration),
    /// Balance less what is expected; zero without a baseline.
    pub difference: Decimal,
    /// Elapsed time since which there is a difference, and since which it is this one.
    differs_since: Option<(Duration, Duration)>,
}

impl Observation {
    /// A time at which nothing happened; `None` if the last two samples differ.
    fn quiet_at(&self) -> Option<UtcMs> {
        let (since, elapsed) = self.unchanged_since;
        let middle = UtcMs(since.0 + (self.at.0 - since.0) / 2);
        (self.elapsed > elapsed).then_some(middle)
    }

    fn quiet_for(&self) -> Duration {
        self.elapsed.saturating_sub(self.unchanged_since.1)
    }
}

/// How balance, books and cash flows compare.
#[derive(Debug, Default)]
struct Comparison {
    /// Balance less what is expected.
    difference: Decimal,
    /// Cash flows that are no book's, by kind, or by kind and symbol.
    explained: BTreeMap<String, Decimal>,
    /// What the exchange lists and the journals of open books do not have yet.
    pending: Decimal,
    /// The same of halted books.
    suspended: Decimal,
    /// The same of all books, by symbol.
    unbooked: BTreeMap<String, Decimal>,
}

impl Comparison {
    fn of(baseline: &BalanceBaseline, sample: &BalanceSample) -> Self {
        let mut comparison = Self::default();
        let mut listed: BTreeMap<SubjectToken, Vec<&CashFlow>> = BTreeMap::new();
        for flow in sample.cash_flows.iter().filter(|f| f.at > baseline.at) {
            let symbol = flow.symbol.as_ref().and_then(|symbol| symbol.parse().ok());
            match symbol.filter(|symbol| sample.books.contains_key(symbol)) {
                Some(symbol) if flow.kind == CashFlowKind::Trading => {
                    listed.entry(symbol).or_default().push(flow);
                }
                _ => comparison.explain(flow),
            }
        }
        let mut booked = Decimal::ZERO;
        for (symbol, book) in &sample.books {
            let before = baseline.books.get(symbol).copied().unwrap_or_default();
            let change = book.change.saturating_sub(before);
            booked = booked.saturating_add(change);
            let flows = listed.remove(symbol).unwrap_or_default();
            if change.is_zero() && book.accounting == BookAccounting::Complete {
                // The book has not traded: the operator has.
                for flow in flows {
                    comparison.explain(flow);
                }
                continue;
            }
            let listed = flows.iter().map(|flow| flow.amount).sum::<Decimal>();
            comparison.note_unbooked(symbol, book.accounting, listed.saturating_sub(change));
        }
        let explained = comparison.explained.values().sum::<Decimal>();
        comparison.difference = (sample.balance - baseline.balance) - booked - explained;
        comparison
    }

    fn explain(&mut self, flow: &CashFlow) {
        let name = match &flow.symbol {
            Some(symbol) => format!("{} {symbol}", flow.name),
            None => flow.name.clone(),
        };
        *self.explained.entry(name).or_default() += flow.amount;
    }

    fn note_unbooked(
        &mut self,
        symbol: &SubjectToken,
        accounting: BookAccounting,
        amount: Decimal,
    ) {
        if amount.is_zero() {
            return;
        }
        match accounting {
            BookAccounting::Complete => {}
            BookAccounting::Pending => self.pending += amount,
            BookAccounting::Suspended => self.suspended += amount,
        }
        self.unbooked.insert(symbol.to_string(), amount);
    }

    fn is_explained(&self) -> bool {
        self.difference.abs() <= TOLERANCE
    }

    /// How long the difference is checked before it is judged; `None` while a halted book explains it.
    fn patience(&self, grace: Duration) -> Option<Duration> {
        let left = self.difference - self.pending - self.suspended;
        match left.abs() <= TOLERANCE {
            true if !self.suspended.is_zero() => None,
            true => Some(grace * PATIENCE_FACTOR),
            false => Some(grace),
        }
    }
}

/// Whether the exchange's list of cash flows is needed to explain the balance.
pub fn needs_cash_flows(
    state: &BalanceState,
    balance: Decimal,
    books: &BTreeMap<SubjectToken, BookBalance>,
) -> bool {
    let Some(baseline) = &state.baseline else {
        return false;
    };
    let before = baseline.books.values().sum::<Decimal>();
    let booked = books.values().map(|book| book.change).sum::<Decimal>() - before;
    state.difference.is_some() || balance - baseline.balance != booked
}

/// The records of a sample. `equity` is that of all books, as far as it is known.
pub(super) fn balance_sampled(
    check: &BalanceState,
    equity: Option<Decimal>,
    sample: &BalanceSample,
) -> Vec<AccountRecord> {
    let seen = check.observe(sample);
    let Some(baseline) = &check.baseline else {
        return first_baseline(&seen, sample).into_iter().collect();
    };
    let comparison = Comparison::of(baseline, sample);
    let mut records = new_transfers(check, baseline, sample, equity);
    if comparison.is_explained() {
        records.extend(
            check
                .difference
                .as_ref()
                .map(|known| AccountRecord::BalanceExplained {
                    difference_id: known.difference_id.clone(),
                    balance: sample.balance,
                }),
        );
        records.extend(next_baseline(baseline, &seen, sample, comparison));
    } else {
        records.extend(judged_difference(check, &seen, sample, comparison));
    }
    records
}

/// The first baseline. While a book is open, nothing may have changed for so long that all it has paid is journaled.
fn first_baseline(seen: &Observation, sample: &BalanceSample) -> Option<AccountRecord> {
    let mut books = sample.books.values();
    let is_complete = books.all(|book| book.accounting == BookAccounting::Complete);
    let is_quiet = is_complete || seen.quiet_for() >= FIRST_QUIET;
    let at = seen.quiet_at().filter(|_| is_quiet)?;
    let baseline = sample.baseline(at, sample.balance, BTreeMap::new());
    Some(AccountRecord::BalanceBaselined(baseline))
}

fn new_transfers(
    check: &BalanceState,
    baseline: &BalanceBaseline,
    sample: &BalanceSample,
    equity: Option<Decimal>,
) -> Vec<AccountRecord> {
    let is_new = |flow: &&CashFlow| {
        flow.kind == CashFlowKind::Transfer
            && flow.at > baseline.at
            && !check.transfers.contains(&flow.id)
    };
    let new = sample.cash_flows.iter().filter(is_new);
    new.map(|flow| {
        AccountRecord::FundsTransferred(FundsTransfer {
            id: flow.id.clone(),
            at: flow.at,
            amount: flow.amount,
            name: flow.name.clone(),
            balance: sample.balance,
            equity,
        })
    })
    .collect()
}

/// The baseline that follows an explained balance once nothing moves; `None` if it is not worth a record.
fn next_baseline(
    baseline: &BalanceBaseline,
    seen: &Observation,
    sample: &BalanceSample,
    comparison: Comparison,
) -> Option<AccountRecord> {
    let at = sample.behind_flows(seen.quiet_at()?);
    let is_old = at.0.saturating_sub(baseline.at.0) >= BASELINE_AGE_MS;
    let has_traded = sample.changes() != baseline.books;
    let is_due = !comparison.explained.is_empty() || has_traded && is_old;
    // A difference below the tolerance is carried on: many of them would add up to one.
    let expected = sample.balance - comparison.difference;
    let next = sample.baseline(at, expected, comparison.explained);
    is_due.then_some(AccountRecord::BalanceBaselined(next))
}

/// The record of a difference that has lasted; `None` for one that may still explain itself, or is known.
fn judged_difference(
    check: &BalanceState,
    seen: &Observation,
    sample: &BalanceSample,
    comparison: Comparison,
) -> Option<AccountRecord> {
    let (since, steady_since) = seen.differs_since?;
    let patience = comparison.patience(sample.grace)?;
    let is_steady = sample.elapsed.saturating_sub(steady_since) >= patience;
    let is_lasting = sample.elapsed.saturating_sub(since) >= sample.grace * PATIENCE_FACTOR;
    if !is_steady && !is_lasting {
        return None;
    }
    let amount = comparison.difference;
    let is_known = |known: &BalanceDifference| (known.amount - amount).abs() <= TOLERANCE;
    // One that keeps changing is reported once.
    let is_restless = check.difference.is_some() && !is_steady;
    if check.difference.as_ref().is_some_and(is_known) || is_restless {
        return None;
    }
    let at = sample.behind_flows(seen.quiet_at().unwrap_or(sample.at));
    Some(AccountRecord::BalanceDiffers(BalanceDifference {
        difference_id: format!("balance-{}", sample.at.0),
        amount,
        accepted_as: sample.baseline(at, sample.balance, comparison.explained),
        unbooked: comparison.unbooked,
    }))
}

impl BalanceSample {
    /// This time, or that of the newest cash flow if it is later: what was counted once is not counted again.
    fn behind_flows(&self, at: UtcMs) -> UtcMs {
        let flows = self.cash_flows.iter().map(|flow| flow.at);
        flows.max().map_or(at, |newest| newest.max(at))
    }

    fn changes(&self) -> BTreeMap<SubjectToken, Decimal> {
        let books = self.books.iter();
        let changed = books.filter(|(_, book)| !book.change.is_zero());
        changed
            .map(|(symbol, book)| (symbol.clone(), book.change))
            .collect()
    }

    fn baseline(
        &self,
        at: UtcMs,
        balance: Decimal,
        explained: BTreeMap<String, Decimal>,
    ) -> BalanceBaseline {
        BalanceBaseline {
            at,
            balance,
            books: self.changes(),
            explained,
        }
    }
}

impl BalanceState {
    /// Begins to count from another baseline.
    pub(super) fn rebase(&mut self, baseline: BalanceBaseline) {
        self.baseline = Some(baseline);
        self.transfers.clear();
    }

    /// Ends the unexplained difference because the operator has accepted it.
    pub(super) fn accept(&mut self, difference_id: &str) {
        let is_accepted = |known: &BalanceDifference| known.difference_id == difference_id;
        if let Some(known) = self.difference.take_if(|known| is_accepted(known)) {
            self.rebase(known.accepted_as);
            self.observed = None;
        }
    }

    /// Notes that a transfer is journaled.
    pub(super) fn note_transfer(&mut self, transfer: &FundsTransfer) {
        self.transfers.insert(transfer.id.clone());
    }

    /// What the newest samples have in common, with this one.
    pub(super) fn observe(&self, sample: &BalanceSample) -> Observation {
        let booked = sample
            .books
            .values()
            .map(|book| book.change)
            .sum::<Decimal>();
        let comparison = self
            .baseline
            .as_ref()
            .map(|baseline| Comparison::of(baseline, sample));
        let difference = comparison.map_or(Decimal::ZERO, |comparison| comparison.difference);
        let last = self.observed.as_ref();
        let is_same = |last: &&Observation| (last.balance, last.booked) == (sample.balance, booked);
        let unchanged_since = last
            .filter(is_same)
            .map_or((sample.at, sample.elapsed), |last| last.unchanged_since);
        let now = sample.elapsed;
        let differs_since = (difference.abs() > TOLERANCE).then(|| {
            let known = last.and_then(|last| Some((last, last.differs_since?)));
            known.map_or((now, now), |(last, (since, steady_since))| {
                let is_steady = (last.difference - difference).abs() <= TOLERANCE;
                (since, if is_steady { steady_since } else { now })
            })
        });
        Observation {
            at: sample.at,
            elapsed: now,
            balance: sample.balance,
            booked,
            unchanged_since,
            difference,
            differs_since,
        }
    }
}
