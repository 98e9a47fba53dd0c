//! Leverage brackets: how much a position may be worth at some leverage and what margin it must keep.
//! One table for every contract, in the manner of Binance's for its largest.

use rust_decimal::{Decimal, dec};

/// One bracket of position values in USDT.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    /// Highest leverage.
    pub leverage: u32,
    /// Values from here.
    pub floor: i64,
    /// Up to here.
    pub cap: i64,
    /// Maintenance margin per value.
    pub rate: Decimal,
    /// What is deducted from it, so that it is continuous over the brackets.
    pub deducted: Decimal,
}

/// All brackets, smallest first.
pub const BRACKETS: [Bracket; 6] = [
    bracket(125, 0, 50_000, dec!(0.004), dec!(0)),
    bracket(100, 50_000, 600_000, dec!(0.005), dec!(50)),
    bracket(75, 600_000, 3_000_000, dec!(0.0065), dec!(950)),
    bracket(50, 3_000_000, 12_000_000, dec!(0.01), dec!(11450)),
    bracket(25, 12_000_000, 70_000_000, dec!(0.02), dec!(131450)),
    bracket(10, 70_000_000, 1_000_000_000, dec!(0.05), dec!(2231450)),
];

const fn bracket(leverage: u32, floor: i64, cap: i64, rate: Decimal, deducted: Decimal) -> Bracket {
    Bracket {
        leverage,
        floor,
        cap,
        rate,
        deducted,
    }
}

/// The bracket of a position worth `value`.
pub fn of(value: Decimal) -> Bracket {
    let [.., last] = BRACKETS;
    let within = |b: &&Bracket| value <= Decimal::from(b.cap);
    BRACKETS.iter().find(within).copied().unwrap_or(last)
}

/// Margin that a position worth `value` must keep.
pub fn maintenance(value: Decimal) -> Decimal {
    let bracket = of(value);
    value * bracket.rate - bracket.deducted
}

/// Most a position may be worth at `leverage`.
pub fn most(leverage: u32) -> Decimal {
    let allowed = BRACKETS.iter().filter(|b| b.leverage >= leverage);
    Decimal::from(allowed.map(|b| b.cap).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_continuous_and_brackets_join() {
        for pair in BRACKETS.windows(2) {
            assert_eq!(pair[0].cap, pair[1].floor);
            let edge = Decimal::from(pair[0].cap);
            let above = edge * pair[1].rate - pair[1].deducted;
            assert_eq!(maintenance(edge), above, "at {edge}");
        }
        assert_eq!(most(20), dec!(70000000));
        assert_eq!(most(125), dec!(50000));
    }
}
