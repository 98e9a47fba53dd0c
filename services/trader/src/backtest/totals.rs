//! Sums over closed trades, and their groups.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::backtest::ClosedTrade;
use trader_core::strategy::Strategy;

/// Sums over closed trades. Amounts in the quote currency.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TradeTotals {
    pub(super) count: u64,
    /// Number of trades with a profit after fees.
    pub(super) wins: u64,
    /// Sum of the profits.
    pub(super) gross_profit: Decimal,
    /// Sum of the losses, positive.
    pub(super) gross_loss: Decimal,
    /// Sum of the fees, without funding.
    pub(super) fees: Decimal,
    /// Sum of the funding paid; negative if more was received.
    pub(super) funding: Decimal,
    /// Sum of the holding times, in milliseconds.
    pub(super) held_ms: u64,
    /// Sum of the values of all fills, entries and exits.
    pub(super) turnover: Decimal,
}

impl TradeTotals {
    fn add(&mut self, trade: &ClosedTrade) {
        self.count += 1;
        self.wins += u64::from(trade.pnl > Decimal::ZERO);
        if trade.pnl > Decimal::ZERO {
            self.gross_profit = self.gross_profit.saturating_add(trade.pnl);
        } else {
            self.gross_loss = self.gross_loss.saturating_sub(trade.pnl);
        }
        let fees = trade.fees.saturating_sub(trade.funding);
        self.fees = self.fees.saturating_add(fees);
        self.funding = self.funding.saturating_add(trade.funding);
        let held = trade.exit_at.millis_since(trade.entry_at);
        self.held_ms = self.held_ms.saturating_add(held);
        let prices = trade.entry_price.saturating_add(trade.exit_price);
        let turnover = prices.saturating_mul(trade.quantity);
        self.turnover = self.turnover.saturating_add(turnover);
    }

    /// Profit after fees and funding.
    pub(super) fn pnl(&self) -> Decimal {
        self.gross_profit.saturating_sub(self.gross_loss)
    }

    /// Share of the trades with a profit; `None` without trades.
    pub(super) fn win_rate(&self) -> Option<Decimal> {
        Decimal::from(self.wins).checked_div(Decimal::from(self.count))
    }

    /// Sum of the profits by the sum of the losses; `None` without a loss.
    pub(super) fn profit_factor(&self) -> Option<Decimal> {
        self.gross_profit.checked_div(self.gross_loss)
    }

    /// Mean profit of a trade; `None` without trades.
    pub(super) fn expectancy(&self) -> Option<Decimal> {
        self.pnl().checked_div(Decimal::from(self.count))
    }

    /// Mean profit of a trade with a profit; `None` without one.
    pub(super) fn average_win(&self) -> Option<Decimal> {
        self.gross_profit.checked_div(Decimal::from(self.wins))
    }

    /// Mean loss of a trade without a profit, positive; `None` without one.
    pub(super) fn average_loss(&self) -> Option<Decimal> {
        self.gross_loss
            .checked_div(Decimal::from(self.count - self.wins))
    }
}

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month of a time; the first of all months outside the calendar.
    pub(super) fn of(at: UtcMs) -> Self {
        let date = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = TimeZone::UTC.to_datetime(date);
        let (year, month) = (date.year(), date.month());
        Self { year, month }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Totals of all trades, and of their groups.
#[derive(Debug, Default)]
pub(super) struct GroupedTotals {
    pub(super) all: TradeTotals,
    pub(super) by_strategy: BTreeMap<Strategy, TradeTotals>,
    /// By side: long, then short.
    pub(super) by_side: [TradeTotals; 2],
    /// By the name of the exit reason.
    pub(super) by_reason: BTreeMap<String, TradeTotals>,
    /// By the index of the book.
    pub(super) by_book: BTreeMap<usize, TradeTotals>,
    /// By the month of the exit.
    pub(super) by_month: BTreeMap<Month, TradeTotals>,
}

impl GroupedTotals {
    /// Takes in a trade of a book.
    pub(super) fn add(&mut self, book: usize, trade: &ClosedTrade) {
        let side = usize::from(trade.side == PositionSide::Short);
        let reason = trade.reason.to_string();
        let month = Month::of(trade.exit_at);
        for totals in [
            &mut self.all,
            self.by_strategy.entry(trade.strategy).or_default(),
            &mut self.by_side[side],
            self.by_reason.entry(reason).or_default(),
            self.by_book.entry(book).or_default(),
            self.by_month.entry(month).or_default(),
        ] {
            totals.add(trade);
        }
    }
}
