//! The market as trading sees it: the price at any time, and the turning points of its path.

use rust_decimal::Decimal;

/// Source of the prices at which orders fill.
pub trait Prices {
    /// Last price of a contract at a time; `None` if it is no longer known.
    fn price_at(&self, symbol: &str, ms: i64) -> Option<Decimal>;

    /// Times after `from` up to and including `to`, ascending, between which the price is monotonic.
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
    /// Last price, which is also the mark price; zero if it is unknown.
    pub fn mark_price(&self, symbol: &str) -> Decimal {
        self.prices.price_at(symbol, self.ms).unwrap_or_default()
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

/// First time from `from` to the last turning point at which the price satisfies `hit`; `None` if there is none.
pub fn first_crossing(
    prices: &dyn Prices,
    symbol: &str,
    from: i64,
    turns: &[(i64, Decimal)],
    crossed: impl Fn(Decimal) -> bool,
) -> Option<i64> {
    let at = |ms| prices.price_at(symbol, ms).is_some_and(&crossed);
    if turns.last().is_none_or(|(last, _)| *last < from) {
        return None;
    }
    if at(from) {
        return Some(from);
    }
    let mut before = from;
    for (turn, price) in turns.iter().filter(|(turn, _)| *turn > from) {
        if crossed(*price) {
            return Some(first_true(before, *turn, at));
        }
        before = *turn;
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
