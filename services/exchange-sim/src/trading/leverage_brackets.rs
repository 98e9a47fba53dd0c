//! Leverage brackets: largest position value by leverage, and maintenance margin. One table for all contracts,
//! modeled on Binance's for its largest ones.

use rust_decimal::{Decimal, dec};

/// One bracket of position values in USDT.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    /// Highest leverage that is allowed in the bracket.
    pub leverage: u32,
    /// Lower bound of the value, exclusive.
    pub notional_floor: i64,
    /// Upper bound of the value, inclusive.
    pub notional_cap: i64,
    /// Maintenance margin as a fraction of the value.
    pub maintenance_rate: Decimal,
    /// Deduction that makes the maintenance margin continuous over the brackets, in USDT.
    pub deduction: Decimal,
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
        notional_floor: floor,
        notional_cap: cap,
        maintenance_rate: rate,
        deduction: deducted,
    }
}

/// The bracket of a position value.
pub fn for_notional(value: Decimal) -> Bracket {
    let [.., last] = BRACKETS;
    let within = |b: &&Bracket| value <= Decimal::from(b.notional_cap);
    BRACKETS.iter().find(within).copied().unwrap_or(last)
}

/// Maintenance margin of a position value, in USDT.
pub fn maintenance_margin(value: Decimal) -> Decimal {
    let bracket = for_notional(value);
    value * bracket.maintenance_rate - bracket.deduction
}

/// Largest position value at a leverage, in USDT.
pub fn max_notional(leverage: u32) -> Decimal {
    let allowed = BRACKETS.iter().filter(|b| b.leverage >= leverage);
    Decimal::from(allowed.map(|b| b.notional_cap).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_continuous_and_brackets_join() {
        for pair in BRACKETS.windows(2) {
            assert_eq!(pair[0].notional_cap, pair[1].notional_floor);
            let edge = Decimal::from(pair[0].notional_cap);
            let above = edge * pair[1].maintenance_rate - pair[1].deduction;
            assert_eq!(maintenance_margin(edge), above, "at {edge}");
        }
        assert_eq!(max_notional(20), dec!(70000000));
        assert_eq!(max_notional(125), dec!(50000));
    }
}
