//! The market as trading sees it: the price at any time, and the turning points of its path.

use rust_decimal::Decimal;

use super::enums::WorkingType;

/// Source of the prices at which orders fill.
pub trait Prices {
    /// Last price of a contract at a time; `None` if it is no longer known.
    fn price_at(&self, symbol: &str, ms: i64) -> Option<Decimal>;

    /// Mark price of a contract at a time; `None` if it is no longer known.
    fn mark_at(&self, symbol: &str, ms: i64) -> Option<Decimal> {
        self.price_at(symbol, ms)
    }

    /// Times after `from` up to and including `to`, ascending, between which last price and mark price are monotonic.
    fn turning_points(&self, symbol: &str, from: i64, to: i64) -> Vec<i64>;
}

/// A time with its prices.
#[derive(Clone, Copy)]
pub struct Now<'a> {
    /// Exchange time, UTC ms.
    pub ms: i64,
    /// Prices of all contracts.
    pub prices: &'a dyn Prices,
}

impl Now<'_> {
    /// Last price; zero if it is unknown.
    pub fn last_price(&self, symbol: &str) -> Decimal {
        self.prices.price_at(symbol, self.ms).unwrap_or_default()
    }

    /// Mark price; zero if it is unknown.
    pub fn mark_price(&self, symbol: &str) -> Decimal {
        self.prices.mark_at(symbol, self.ms).unwrap_or_default()
    }

    /// Price that triggers conditional orders with a working type; zero if it is unknown.
    pub fn working_price(&self, symbol: &str, working_type: WorkingType) -> Decimal {
        match working_type {
            WorkingType::Contract => self.last_price(symbol),
            WorkingType::Mark => self.mark_price(symbol),
        }
    }
}

/// One of the two prices of a contract over time.
#[derive(Clone, Copy)]
pub struct PriceLine<'a> {
    prices: &'a dyn Prices,
    symbol: &'a str,
    working_type: WorkingType,
}

impl<'a> PriceLine<'a> {
    /// The line of the price that a working type names.
    pub const fn new(prices: &'a dyn Prices, symbol: &'a str, working_type: WorkingType) -> Self {
        Self {
            prices,
            symbol,
            working_type,
        }
    }

    fn at(&self, ms: i64) -> Option<Decimal> {
        match self.working_type {
            WorkingType::Contract => self.prices.price_at(self.symbol, ms),
            WorkingType::Mark => self.prices.mark_at(self.symbol, ms),
        }
    }
}

/// Best bid and ask around a price: one tick away on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Best bid, in USDT.
    pub bid: Decimal,
    /// Best ask, in USDT.
    pub ask: Decimal,
}

impl Quote {
    /// The quote around a price.
    pub fn around(price: Decimal, tick: Decimal) -> Self {
        Self {
            bid: price - tick,
            ask: price + tick,
        }
    }
}

/// First time from `from` to the last of the turning points at which a price satisfies `crossed`; `None` if there is
/// none.
pub fn first_crossing(
    line: PriceLine<'_>,
    from: i64,
    turns: &[i64],
    crossed: impl Fn(Decimal) -> bool,
) -> Option<i64> {
    let at = |ms| line.at(ms).is_some_and(&crossed);
    if turns.last().is_none_or(|last| *last < from) {
        return None;
    }
    if at(from) {
        return Some(from);
    }
    let mut before = from;
    for turn in turns.iter().copied().filter(|turn| *turn > from) {
        if at(turn) {
            return Some(first_true(before, turn, at));
        }
        before = turn;
    }
    None
}

/// First time at which the price satisfies `hit`, between `before`, when it does not, and `then`, when it does.
fn first_true(mut before: i64, mut then: i64, so: impl Fn(i64) -> bool) -> i64 {
    while then - before > 1 {
        let middle = before + (then - before) / 2;
        if so(middle) {
            then = middle;
        } else {
            before = middle;
        }
    }
    then
}
