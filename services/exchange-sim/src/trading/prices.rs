//! What trading must know of the market: the price at any moment and where it may turn. Not here:
//! where prices come from (`market/`).

use rust_decimal::Decimal;

/// The market's prices.
pub trait Prices {
    /// The last price of a contract at a moment; `None` if it is not known any more.
    fn price_at(&self, symbol: &str, ms: i64) -> Option<Decimal>;

    /// Moments after `from_seq` up to `to`, ascending and ending with it, between which the price never
    /// turns.
    fn turning_points(&self, symbol: &str, from: i64, to: i64) -> Vec<i64>;
}

/// A moment and the prices then.
#[derive(Clone, Copy)]
pub struct Now<'a> {
    /// Exchange time, UTC ms.
    pub ms: i64,
    /// The market.
    pub prices: &'a dyn Prices,
}

impl Now<'_> {
    /// The last price, which is also the mark price; zero if it is not known.
    pub fn mark_price(&self, symbol: &str) -> Decimal {
        self.prices.price_at(symbol, self.ms).unwrap_or_default()
    }
}

/// Lowest ask and highest bid around a price: one tick away from it on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// What a seller gets.
    pub bid: Decimal,
    /// What a buyer pays.
    pub ask: Decimal,
}

impl Quote {
    /// The quote around `price_range`.
    pub fn around(price: Decimal, tick: Decimal) -> Self {
        Self {
            bid: price - tick,
            ask: price + tick,
        }
    }
}

/// The first moment from `from_seq` to the last of `turns` at which the price has crossed.
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

/// The first moment after `before`, at which it is not so, up to `then`, at which it is.
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
