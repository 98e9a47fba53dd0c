//! The contracts: a catalogue with grids, limits and precisions as Binance publishes them, and generated ones.

mod catalogue;
mod contract;
mod generated;

pub use catalogue::{CATALOGUE, catalogue_names};
pub use contract::{Contract, NEVER_DELIVERED_MS};
pub use generated::MAX_CONTRACTS;

impl Contract {
    /// The contract of this symbol in upper case; `None` if there is none.
    pub fn find(symbol: &str) -> Option<&'static Self> {
        let all = CATALOGUE.iter().chain(generated::contracts());
        all.into_iter().find(|c| c.symbol == symbol)
    }

    /// These contracts without repeats, and then others until there are `count`: those of the catalogue first.
    pub fn listed(chosen: &[&'static Self], count: usize) -> Vec<&'static Self> {
        let mut listed: Vec<&'static Self> = Vec::new();
        let others = CATALOGUE.iter().chain(generated::contracts());
        let wanted = chosen.iter().copied().map(|c| (c, true));
        for (contract, is_chosen) in wanted.chain(others.map(|c| (c, false))) {
            let is_needed = is_chosen || listed.len() < count;
            if is_needed && !listed.iter().any(|c| c.symbol == contract.symbol) {
                listed.push(contract);
            }
        }
        // The history of generated contracts begins later.
        listed.sort_by_key(|c| c.is_generated);
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candle::{AMOUNT_DECIMALS, PRICE_DECIMALS};
    use rust_decimal::Decimal;

    #[test]
    fn computed_grid_equals_the_published_one() {
        for contract in CATALOGUE.iter().chain(generated::contracts()) {
            let tick: Decimal = contract.price[2].parse().unwrap();
            let step: Decimal = contract.lot[2].parse().unwrap();
            assert_eq!(tick, Decimal::new(contract.tick, PRICE_DECIMALS));
            assert_eq!(step, Decimal::new(contract.step, AMOUNT_DECIMALS));
            assert!(tick.normalize().scale() <= contract.price_precision);
            assert!(step.normalize().scale() <= contract.quantity_precision);
        }
    }
}
