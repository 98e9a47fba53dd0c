//! The balance check: what explains the balance on the exchange, when a difference stops entries, and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use bearish_trader_core::account::{
    AccountEvent, AccountRecord, AccountState, BalanceBaseline, BalanceSample, BookAccounting,
    BookBalance, CashFlow, CashFlowKind, decide, needs_cash_flows,
};
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::dec;

const GRACE: Duration = Duration::from_mins(3);

/// An account that began with 10,000, and a clock that moves by 30 s with each sample.
struct Account {
    state: AccountState,
    now: UtcMs,
    elapsed: Duration,
    balance: Decimal,
    books: BTreeMap<&'static str, BookBalance>,
    cash_flows: Vec<CashFlow>,
    journal: Vec<AccountRecord>,
}

impl Account {
    fn new() -> Self {
        let mut account = Self {
            state: AccountState::default(),
            now: UtcMs(1_000_000),
            elapsed: Duration::ZERO,
            balance: dec("10000"),
            books: BTreeMap::new(),
            cash_flows: Vec::new(),
            journal: Vec::new(),
        };
        account.book("BTCUSDT", "0", BookAccounting::Complete);
        account.apply(vec![AccountRecord::BalanceBaselined(BalanceBaseline {
            at: account.now,
            balance: account.balance,
            books: BTreeMap::new(),
            explained: BTreeMap::new(),
        })]);
        account
    }

    fn apply(&mut self, records: Vec<AccountRecord>) {
        for record in records {
            let json = serde_json::to_string(&record).unwrap();
            let read: AccountRecord = serde_json::from_str(&json).unwrap();
            assert_eq!(read, record, "{json}");
            self.state.apply(&read);
            self.journal.push(read);
        }
    }

    fn book(&mut self, symbol: &'static str, change: &str, accounting: BookAccounting) {
        let change = dec(change);
        self.books
            .insert(symbol, BookBalance { change, accounting });
    }

    /// The balance changes, and the exchange lists why.
    fn flow(&mut self, kind: CashFlowKind, name: &str, symbol: Option<&str>, amount: &str) {
        self.balance += dec(amount);
        self.list(kind, name, symbol, amount);
    }

    /// The exchange lists a change of the balance.
    fn list(&mut self, kind: CashFlowKind, name: &str, symbol: Option<&str>, amount: &str) {
        self.now = UtcMs(self.now.0 + 1_000);
        self.cash_flows.push(CashFlow {
            id: format!("{name}-{}", self.cash_flows.len()),
            kind,
            name: name.to_owned(),
            symbol: symbol.map(str::to_owned),
            amount: dec(amount),
            at: self.now,
        });
    }

    /// Kinds of the records of one sample.
    fn sample(&mut self) -> Vec<&'static str> {
        self.now = UtcMs(self.now.0 + 30_000);
        self.elapsed += Duration::from_secs(30);
        let named = |(symbol, book): (&&str, &BookBalance)| (symbol.parse().unwrap(), *book);
        let event = AccountEvent::BalanceSampled(BalanceSample {
            at: self.now,
            elapsed: self.elapsed,
            grace: GRACE,
            balance: self.balance,
            books: self.books.iter().map(named).collect(),
            cash_flows: self.cash_flows.clone(),
        });
        let records = decide(&self.state, event.clone());
        let kinds = records.iter().map(kind).collect();
        self.apply(records);
        self.state.observe(&event);
        kinds
    }

    /// Kinds of the records within minutes.
    fn wait(&mut self, minutes: usize) -> Vec<&'static str> {
        (0..2 * minutes).flat_map(|_| self.sample()).collect()
    }

    fn difference(&self) -> Option<Decimal> {
        let difference = self.state.balance.difference.as_ref();
        difference.map(|difference| difference.amount)
    }

    fn accept(&mut self, difference_id: &str) -> usize {
        let command = AccountCommandRecord {
            command: AccountCommand::Accept {
                difference_id: difference_id.to_owned(),
            },
            by: "operator".to_owned(),
            reason: "found".to_owned(),
        };
        let (at, seq) = (self.now, self.state.last_command_seq + 1);
        let records = decide(
            &self.state,
            AccountEvent::CommandReceived { at, seq, command },
        );
        let count = records.len();
        self.apply(records);
        count
    }
}

fn kind(record: &AccountRecord) -> &'static str {
    match record {
        AccountRecord::BalanceBaselined(_) => "baselined",
        AccountRecord::FundsTransferred(_) => "transferred",
        AccountRecord::BalanceDiffers(_) => "differs",
        AccountRecord::BalanceExplained { .. } => "explained",
        AccountRecord::DifferenceAccepted(_) => "accepted",
        _ => "other",
    }
}

#[test]
fn what_a_book_journals_explains_the_balance_and_becomes_the_baseline() {
    let mut account = Account::new();
    account.flow(CashFlowKind::Trading, "COMMISSION", Some("BTCUSDT"), "-4");
    account.book("BTCUSDT", "-4", BookAccounting::Pending);
    assert_eq!(account.wait(4), Vec::<&str>::new());
    account.flow(
        CashFlowKind::Trading,
        "REALIZED_PNL",
        Some("BTCUSDT"),
        "150",
    );
    account.book("BTCUSDT", "146", BookAccounting::Complete);
    assert_eq!(account.wait(20), ["baselined"]);
    let baseline = account.state.balance.baseline.clone().unwrap();
    assert_eq!(baseline.balance, dec("10146"));
    assert!(baseline.explained.is_empty());
}

#[test]
fn unexplained_change_stops_entries_after_the_grace_once_and_closes_nothing() {
    let mut account = Account::new();
    account.balance -= dec("12.30");
    for _ in 0..6 {
        assert_eq!(account.sample(), Vec::<&str>::new());
    }
    assert_eq!(account.sample(), ["differs"]);
    assert_eq!(account.difference(), Some(dec("-12.30")));
    assert!(account.state.latch.is_none());
    assert_eq!(account.wait(60), Vec::<&str>::new(), "it is reported once");
    // A change that comes on top is another difference.
    account.balance -= dec("1");
    assert_eq!(account.wait(10), ["differs"]);
    assert_eq!(account.difference(), Some(dec("-13.30")));
}

#[test]
fn difference_survives_its_leader_and_is_explained_by_a_late_transfer() {
    let mut account = Account::new();
    account.balance -= dec("500");
    assert_eq!(account.wait(4), ["differs"]);
    // Another process folds the journal.
    let mut state = AccountState::default();
    account
        .journal
        .iter()
        .for_each(|record| state.apply(record));
    account.state = state;
    account.elapsed = Duration::ZERO;
    assert_eq!(account.difference(), Some(dec("-500")));
    assert_eq!(account.wait(1), Vec::<&str>::new());
    account.list(CashFlowKind::Transfer, "TRANSFER", None, "-500");
    assert_eq!(account.wait(5), ["transferred", "explained", "baselined"]);
    assert_eq!(account.difference(), None);
    assert_eq!(account.wait(5), Vec::<&str>::new(), "booked once");
}

#[test]
fn accepted_difference_is_the_new_baseline_and_another_id_changes_nothing() {
    let mut account = Account::new();
    account.balance += dec("7");
    account.wait(4);
    assert_eq!(account.accept("balance-1"), 0);
    let id = account.state.balance.difference.clone().unwrap();
    assert_eq!(account.accept(&id.difference_id), 1);
    assert_eq!(account.accept(&id.difference_id), 0, "once");
    assert_eq!(account.wait(20), Vec::<&str>::new());
    // A row that the exchange lists late is older than the baseline.
    account.list(CashFlowKind::Transfer, "TRANSFER", None, "7");
    account.cash_flows[0].at = UtcMs(1_000_500);
    assert_eq!(account.wait(20), Vec::<&str>::new());
    assert_eq!(account.difference(), None);
}

#[test]
fn transfers_are_no_profit_and_move_no_peak() {
    let mut account = Account::new();
    let valued = |account: &mut Account| {
        let event = AccountEvent::Valued {
            at: account.now,
            capital: dec("10000"),
            equity: dec("9600"),
        };
        let records = decide(&account.state, event.clone());
        account.apply(records);
        account.state.observe(&event);
    };
    valued(&mut account);
    account.flow(CashFlowKind::Transfer, "TRANSFER", None, "-4000");
    assert_eq!(account.wait(2), ["transferred", "baselined"]);
    valued(&mut account);
    assert!(account.state.latch.is_none(), "a withdrawal is no drawdown");
    account.flow(CashFlowKind::Transfer, "INTERNAL_TRANSFER", None, "9000");
    assert_eq!(account.wait(2), ["transferred", "baselined"]);
    valued(&mut account);
    let value = account.state.value.unwrap();
    assert_eq!(
        (value.equity, value.peak, value.day_peak),
        (dec("9600"), dec("9600"), dec("9600")),
        "a deposit hides no loss"
    );
}

#[test]
fn rebates_and_trades_of_the_operator_are_explained_by_the_exchanges_list() {
    let mut account = Account::new();
    account.flow(CashFlowKind::Other, "COMMISSION_REBATE", None, "0.75");
    account.flow(
        CashFlowKind::Trading,
        "COMMISSION",
        Some("DOGEUSDT"),
        "-0.2",
    );
    account.flow(
        CashFlowKind::Trading,
        "REALIZED_PNL",
        Some("DOGEUSDT"),
        "-31",
    );
    // The book of this symbol has not traded.
    account.flow(CashFlowKind::Trading, "COMMISSION", Some("BTCUSDT"), "-4");
    assert_eq!(account.wait(2), ["baselined"]);
    let baseline = account.state.balance.baseline.clone().unwrap();
    assert_eq!(baseline.balance, account.balance);
    assert_eq!(baseline.explained["REALIZED_PNL DOGEUSDT"], dec("-31"));
    assert_eq!(baseline.explained.len(), 4);
    assert_eq!(account.wait(20), Vec::<&str>::new());
}

#[test]
fn trade_that_the_journal_of_a_book_lacks_is_named() {
    let mut account = Account::new();
    account.flow(
        CashFlowKind::Trading,
        "REALIZED_PNL",
        Some("BTCUSDT"),
        "100",
    );
    account.book("BTCUSDT", "90", BookAccounting::Complete);
    assert_eq!(account.wait(4), ["differs"]);
    let difference = account.state.balance.difference.clone().unwrap();
    assert_eq!(difference.amount, dec("10"));
    assert_eq!(difference.unbooked["BTCUSDT"], dec("10"));
}

#[test]
fn funding_of_an_open_position_has_more_time_and_that_of_a_halted_book_no_limit() {
    for (accounting, records) in [
        (BookAccounting::Pending, vec!["differs"]),
        (BookAccounting::Suspended, vec![]),
    ] {
        let mut account = Account::new();
        account.flow(CashFlowKind::Trading, "COMMISSION", Some("BTCUSDT"), "-4");
        account.book("BTCUSDT", "-4", accounting);
        account.wait(1);
        account.flow(CashFlowKind::Trading, "FUNDING_FEE", Some("BTCUSDT"), "-1");
        assert_eq!(account.wait(14), Vec::<&str>::new());
        assert_eq!(account.wait(10), records);
    }
}

#[test]
fn late_list_of_a_books_own_trades_is_no_difference() {
    let mut account = Account::new();
    account.balance -= dec("4");
    account.book("BTCUSDT", "-4", BookAccounting::Pending);
    assert_eq!(account.wait(30), ["baselined"]);
    assert_eq!(account.difference(), None);
}

#[test]
fn difference_that_keeps_changing_is_reported_as_well() {
    let mut account = Account::new();
    let mut records = Vec::new();
    for _ in 0..40 {
        account.balance -= dec("1");
        records.extend(account.sample());
    }
    assert_eq!(records, ["differs"]);
}

#[test]
fn roundings_are_tolerated_but_add_up() {
    let mut account = Account::new();
    for last in ["baselined", "baselined", "differs"] {
        account.balance -= dec("0.004");
        account.flow(CashFlowKind::Transfer, "TRANSFER", None, "1");
        assert_eq!(account.wait(5), ["transferred", last]);
    }
    assert_eq!(account.difference(), Some(dec("-0.012")));
}

#[test]
fn account_without_a_baseline_gets_one_when_nothing_moves() {
    let mut account = Account::new();
    account.state = AccountState::default();
    account.book("BTCUSDT", "-4", BookAccounting::Complete);
    assert_eq!(account.sample(), Vec::<&str>::new());
    assert_eq!(account.sample(), ["baselined"]);
    // With an open position all that it has paid must be journaled first.
    account.state = AccountState::default();
    account.book("BTCUSDT", "-8", BookAccounting::Pending);
    assert_eq!(account.wait(6), Vec::<&str>::new());
    assert_eq!(account.wait(1), ["baselined"]);
}

#[test]
fn list_of_cash_flows_is_needed_only_for_what_books_do_not_explain() {
    let mut account = Account::new();
    let needed = |account: &Account| {
        let named = |(symbol, book): (&&str, &BookBalance)| (symbol.parse().unwrap(), *book);
        let books = account.books.iter().map(named).collect();
        needs_cash_flows(&account.state.balance, account.balance, &books)
    };
    assert!(!needed(&account));
    account.balance -= dec("4");
    assert!(needed(&account));
    account.book("BTCUSDT", "-4", BookAccounting::Pending);
    assert!(!needed(&account));
}
