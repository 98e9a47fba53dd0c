//! Leverage brackets: largest position value by leverage, and maintenance margin. One table, modeled on Binance's for
//! its largest contracts; a contract with a lower highest leverage has only a part.

use rust_decimal::{Decimal, dec};

/// One bracket of position values in USDT.
#[derive(Debug, Clone, Copy)]
pub struct Bracket {
    /// Highest leverage that is allowed in the bracket.
    pub leverage: u32,
    /// Lower bound of the value, exclusive.
    pub notional_floor: Decimal,
    /// Upper bound of the value, inclusive.
    pub notional_cap: Decimal,
    /// Maintenance margin as a fraction of the value.
    pub maintenance_rate: Decimal,
    /// Deduction that makes the maintenance margin continuous over the brackets, in USDT.
    pub deduction: Decimal,
}

/// The brackets of the largest contracts, smallest first.
const BRACKETS: [Bracket; 6] = [
    bracket(125, dec!(50000), dec!(0.004)),
    bracket(100, dec!(600000), dec!(0.005)),
    bracket(75, dec!(3000000), dec!(0.0065)),
    bracket(50, dec!(12000000), dec!(0.01)),
    bracket(25, dec!(70000000), dec!(0.02)),
    bracket(10, dec!(1000000000), dec!(0.05)),
];

const fn bracket(leverage: u32, cap: Decimal, rate: Decimal) -> Bracket {
    Bracket {
        leverage,
        notional_floor: Decimal::ZERO,
        notional_cap: cap,
        maintenance_rate: rate,
        deduction: Decimal::ZERO,
    }
}

/// Brackets of a contract with this highest leverage, smallest first, with bounds scaled by `scale`.
pub fn brackets(max_leverage: u32, scale: Decimal) -> Vec<Bracket> {
    let allowed = BRACKETS.iter().filter(|b| b.leverage <= max_leverage);
    let mut all: Vec<Bracket> = allowed.copied().collect();
    // The first bracket of a contract begins at zero, without a deduction.
    let (mut floor, mut rate, mut deduction) = (Decimal::ZERO, None, Decimal::ZERO);
    for bracket in &mut all {
        let before = rate.replace(bracket.maintenance_rate);
        deduction += before.map_or(Decimal::ZERO, |rate| {
            floor * (bracket.maintenance_rate - rate)
        });
        bracket.notional_floor = floor;
        bracket.notional_cap *= scale;
        bracket.deduction = deduction;
        floor = bracket.notional_cap;
    }
    all
}

/// The bracket of a position value; the largest one above all bounds. `None` without brackets.
pub fn for_notional(brackets: &[Bracket], value: Decimal) -> Option<Bracket> {
    let within = |b: &&Bracket| value <= b.notional_cap;
    brackets.iter().find(within).or(brackets.last()).copied()
}

/// Maintenance margin of a position value, in USDT.
pub fn maintenance_margin(brackets: &[Bracket], value: Decimal) -> Decimal {
    for_notional(brackets, value).map_or(Decimal::ZERO, |bracket| {
        value * bracket.maintenance_rate - bracket.deduction
    })
}

/// Largest position value at a leverage, in USDT.
pub fn max_notional(brackets: &[Bracket], leverage: u32) -> Decimal {
    let allowed = brackets.iter().filter(|b| b.leverage >= leverage);
    allowed.map(|b| b.notional_cap).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_continuous_and_brackets_join() {
        for (leverage, scale) in [
            (125, dec!(1)),
            (50, dec!(1)),
            (125, dec!(0.01)),
            (20, dec!(2)),
        ] {
            let all = brackets(leverage, scale);
            assert_eq!(all[0].notional_floor, dec!(0));
            for pair in all.windows(2) {
                assert_eq!(pair[0].notional_cap, pair[1].notional_floor);
                let edge = pair[0].notional_cap;
                let above = edge * pair[1].maintenance_rate - pair[1].deduction;
                assert_eq!(maintenance_margin(&all, edge), above, "at {edge}");
            }
        }
        let all = brackets(125, Decimal::ONE);
        assert_eq!(max_notional(&all, 20), dec!(70000000));
        assert_eq!(max_notional(&all, 125), dec!(50000));
        assert_eq!(all[5].deduction, dec!(2231450), "as Binance publishes it");
        assert_eq!(max_notional(&brackets(125, dec!(0.01)), 20), dec!(700000));
        assert_eq!(max_notional(&brackets(50, Decimal::ONE), 75), dec!(0));
    }
}
