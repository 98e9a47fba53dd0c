//! Conversion of the exchange's list of symbols to listings, with the symbol filters of the trader core.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use exchange::{ExchangeError, ListingObstacle, SymbolListing};
use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use trader_core::fixed_point::{NotRepresentable, Price, Qty};
use trader_core::symbol_filters::SymbolFilters;

use crate::QUOTE;
use crate::client::one_line;
use crate::error::retry;
use crate::wire::market::{ContractType, Filter, Listed, Lot, SymbolRules, SymbolStatus};

/// The name of the call in errors.
pub(super) const WHAT: &str = "symbol filters";

/// Number of symbols that an error proposes.
const EXAMPLES: usize = 5;

/// What is listed about each of `symbols`.
///
/// # Errors
/// [`ExchangeError::Retry`] for a list without an entry.
pub(super) fn listings_of(
    listed: &[Listed],
    symbols: &[SubjectToken],
) -> Result<BTreeMap<SubjectToken, SymbolListing>, ExchangeError> {
    if listed.is_empty() {
        return Err(retry(WHAT, "the answer lists no symbol"));
    }
    let listings = symbols.iter().map(|symbol| {
        let listing = listing_of(listed, symbol);
        (symbol.clone(), listing)
    });
    Ok(listings.collect())
}

fn listing_of(listed: &[Listed], symbol: &SubjectToken) -> SymbolListing {
    let without_filters = |obstacle| SymbolListing {
        filters: None,
        obstacle: Some(obstacle),
    };
    let unreadable = |reason: &str| ListingObstacle::Unreadable {
        symbol: symbol.to_string(),
        reason: one_line(reason),
    };
    let Some(found) = listed.iter().find(|l| l.symbol == symbol.as_str()) else {
        return without_filters(ListingObstacle::NotListed {
            symbol: symbol.to_string(),
            examples: examples(listed, symbol.as_str()),
        });
    };
    let rules = match &found.rules {
        Ok(rules) => rules,
        Err(reason) => return without_filters(unreadable(reason)),
    };
    let obstacle = obstacle(rules).map(|reason| ListingObstacle::NotTradable {
        symbol: symbol.to_string(),
        reason,
    });
    match read_filters(symbol, &rules.filters) {
        Ok(filters) => SymbolListing {
            filters: Some(filters),
            obstacle,
        },
        Err(reason) => without_filters(obstacle.unwrap_or_else(|| unreadable(&reason))),
    }
}

/// Why a listed symbol cannot be traded; `None` if it can.
fn obstacle(rules: &SymbolRules) -> Option<String> {
    let wrong = |what: &str, is: &str, expected: &str| {
        (is != expected).then(|| format!("{what} {is} (expected {expected})"))
    };
    let perpetual = ContractType::Perpetual;
    wrong(
        "contract type",
        rules.contract_type.as_str(),
        perpetual.as_str(),
    )
    .or_else(|| wrong("quote asset", &rules.quote_asset, QUOTE))
    .or_else(|| {
        let trading = SymbolStatus::Trading;
        wrong("status", rules.status.as_str(), trading.as_str())
    })
}

/// Tradable symbols, the ones that begin like `wanted` first.
fn examples(listed: &[Listed], wanted: &str) -> String {
    let alike = |symbol: &str| {
        let pairs = symbol.bytes().zip(wanted.bytes());
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    };
    let is_tradable = |l: &&Listed| {
        let rules = l.rules.as_ref();
        rules.is_ok_and(|rules| obstacle(rules).is_none())
    };
    let mut names: Vec<&str> = listed
        .iter()
        .filter(is_tradable)
        .map(|l| l.symbol.as_str())
        .collect();
    names.sort_by_key(|name| Reverse(alike(name)));
    names.truncate(EXAMPLES);
    names.join(", ")
}

/// Entries are market orders, so the stricter of `LOT_SIZE` and `MARKET_LOT_SIZE` holds.
fn read_filters(symbol: &SubjectToken, filters: &[Filter]) -> Result<SymbolFilters, String> {
    let tick = find("PRICE_FILTER", filters, |f| match f {
        Filter::Price { tick_size } => Some(*tick_size),
        _ => None,
    })?;
    let lot = find("LOT_SIZE", filters, |f| match f {
        Filter::Lot(lot) => Some(*lot),
        _ => None,
    })?;
    let market_lot = filters.iter().find_map(|f| match f {
        Filter::MarketLot(lot) => Some(*lot),
        _ => None,
    });
    let min_notional = find("MIN_NOTIONAL", filters, |f| match f {
        Filter::MinNotional { notional } => Some(*notional),
        _ => None,
    })?;
    let stricter = market_lot.map_or(lot, |market| Lot {
        step_size: lot.step_size.max(market.step_size),
        min_qty: lot.min_qty.max(market.min_qty),
        max_qty: lot.max_qty.min(market.max_qty),
    });
    Ok(SymbolFilters {
        symbol: symbol.clone(),
        tick: positive("tickSize", tick, Price::from_decimal)?,
        lot: positive("stepSize", stricter.step_size, Qty::from_decimal)?,
        min_qty: Qty::from_decimal(stricter.min_qty).map_err(|error| format!("minQty: {error}"))?,
        max_qty: positive("maxQty", stricter.max_qty, Qty::from_decimal)?,
        min_notional,
    })
}

fn find<T>(
    name: &str,
    filters: &[Filter],
    read: impl Fn(&Filter) -> Option<T>,
) -> Result<T, String> {
    let found = filters.iter().find_map(read);
    found.ok_or_else(|| format!("no {name}"))
}

fn positive<T>(
    name: &str,
    value: Decimal,
    convert: fn(Decimal) -> Result<T, NotRepresentable>,
) -> Result<T, String> {
    if value <= Decimal::ZERO {
        return Err(format!("{name} is not above 0"));
    }
    convert(value).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn listed(symbol: &str, change: fn(&mut SymbolRules)) -> Listed {
        let lot = |most: &str| Lot {
            step_size: decimal("0.001"),
            min_qty: decimal("0.001"),
            max_qty: decimal(most),
        };
        let mut rules = SymbolRules {
            contract_type: ContractType::Perpetual,
            quote_asset: "USDT".to_owned(),
            status: SymbolStatus::Trading,
            filters: vec![
                Filter::Price {
                    tick_size: decimal("0.10"),
                },
                Filter::Lot(lot("1000")),
                Filter::MarketLot(lot("120")),
                Filter::MinNotional {
                    notional: decimal("100"),
                },
                Filter::Other,
            ],
        };
        change(&mut rules);
        Listed {
            symbol: symbol.to_owned(),
            rules: Ok(rules),
        }
    }

    fn tradable(symbol: &str) -> Listed {
        listed(symbol, |_| {})
    }

    fn token(name: &str) -> SubjectToken {
        name.parse().unwrap()
    }

    fn listing(all: &[Listed], symbol: &str) -> SymbolListing {
        let symbol = token(symbol);
        let mut listings = listings_of(all, std::slice::from_ref(&symbol)).unwrap();
        listings.remove(&symbol).unwrap()
    }

    fn obstacle_in(listing: &SymbolListing) -> String {
        listing.obstacle.as_ref().unwrap().to_string()
    }

    #[test]
    fn stricter_lot_holds_and_trailing_zeros_do_not_matter() {
        let listing = listing(&[tradable("BTCUSDT")], "BTCUSDT");
        assert_eq!(listing.obstacle, None);
        let btc = listing.filters.unwrap();
        assert_eq!(btc.tick.to_string(), "0.1");
        assert_eq!(btc.max_qty.to_string(), "120");
        assert_eq!(btc.min_notional, Decimal::from(100));
    }

    #[test]
    fn unlisted_symbol_is_answered_with_those_most_alike() {
        let names = [
            "ETHUSDT", "BNBUSDT", "BTCUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT",
        ];
        let mut all: Vec<Listed> = names.into_iter().map(tradable).collect();
        all.push(listed("BTCSTUSDT", |rules| {
            rules.status = SymbolStatus::Other("SETTLING".to_owned());
        }));
        let unlisted = listing(&all, "BTCUST");
        assert_eq!(unlisted.filters, None);
        let line = obstacle_in(&unlisted);
        let start = "SYMBOLS=\"BTCUST\": expected listed symbols such as BTCUSDT, BNBUSDT, ";
        assert!(line.starts_with(start), "{line}");
        assert!(!line.contains("BTCSTUSDT"), "{line}");
        assert_eq!(listing(&all, "ETHUSDT").obstacle, None, "the others trade");
    }

    #[test]
    fn listed_symbol_that_cannot_be_traded_says_why_and_keeps_its_filters() {
        let settling = listed("LUNAUSDT", |rules| {
            rules.status = SymbolStatus::Other("SETTLING".to_owned());
        });
        let undocumented = listed("NEWUSDT", |rules| {
            rules.status = SymbolStatus::Other("A_NEW_STATUS".to_owned());
        });
        let dated = listed("BTCUSDT_261225", |rules| {
            rules.contract_type = ContractType::Other("CURRENT_QUARTER".to_owned());
        });
        let coin = listed("BTCUSDC", |rules| rules.quote_asset = "USDC".to_owned());
        for (bad, reason) in [
            (settling, "SETTLING"),
            (undocumented, "A_NEW_STATUS"),
            (dated, "CURRENT_QUARTER"),
            (coin, "USDC"),
        ] {
            let wanted = bad.symbol.clone();
            let listing = listing(&[bad, tradable("BTCUSDT")], &wanted);
            assert!(obstacle_in(&listing).contains(reason), "{listing:?}");
            assert!(listing.filters.is_some(), "its position is closed by them");
        }
    }

    #[test]
    fn unreadable_filters_are_not_guessed() {
        let broken = |change: fn(&mut SymbolRules)| {
            let listing = listing(&[listed("BTCUSDT", change)], "BTCUSDT");
            assert_eq!(listing.filters, None);
            obstacle_in(&listing)
        };
        let no_tick = broken(|rules| {
            rules.filters.remove(0);
        });
        assert!(no_tick.contains("no PRICE_FILTER"), "{no_tick}");
        let no_notional = broken(|rules| {
            rules.filters.remove(3);
        });
        assert!(no_notional.contains("no MIN_NOTIONAL"), "{no_notional}");
        let zero = broken(|rules| {
            rules.filters[0] = Filter::Price {
                tick_size: Decimal::ZERO,
            };
        });
        assert!(zero.contains("tickSize is not above 0"), "{zero}");
        let unreadable = Listed {
            symbol: "BTCUSDT".to_owned(),
            rules: Err("missing field `tickSize`".to_owned()),
        };
        let line = obstacle_in(&listing(&[unreadable], "BTCUSDT"));
        assert!(line.contains("tickSize"), "{line}");
    }

    #[test]
    fn list_without_an_entry_says_nothing_about_a_symbol() {
        let error = listings_of(&[], &[token("BTCUSDT")]).unwrap_err();
        assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
    }

    #[test]
    fn unreadable_entry_does_not_harm_the_others() {
        let unreadable = Listed {
            symbol: String::new(),
            rules: Err("expected an object".to_owned()),
        };
        let all = [unreadable, tradable("BTCUSDT")];
        assert_eq!(listing(&all, "BTCUSDT").obstacle, None);
    }
}
