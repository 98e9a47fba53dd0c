//! Conversion of the exchange's list of symbols to the symbol filters of the trader core.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use trader_core::fixed_point::{NotRepresentable, Price, Qty};
use trader_core::symbol_filters::SymbolFilters;

use crate::QUOTE;
use crate::error::retry;
use crate::wire::market::{ContractType, Filter, Listed, Lot, SymbolRules, SymbolStatus};

/// The name of the call in errors.
pub(super) const WHAT: &str = "symbol filters";

/// Number of symbols that an error proposes.
const EXAMPLES: usize = 5;

/// The symbol filters of each of `symbols`.
///
/// # Errors
/// [`ExchangeError::UnknownSymbol`] for the first that cannot be traded, [`ExchangeError::Retry`] for filters that
/// cannot be read.
pub(super) fn filters_of(
    listed: &[Listed],
    symbols: &[SubjectToken],
) -> Result<BTreeMap<SubjectToken, SymbolFilters>, ExchangeError> {
    if listed.is_empty() {
        return Err(retry(WHAT, "the answer lists no symbol"));
    }
    symbols
        .iter()
        .map(|symbol| Ok((symbol.clone(), filters_of_one(listed, symbol)?)))
        .collect()
}

fn filters_of_one(
    listed: &[Listed],
    symbol: &SubjectToken,
) -> Result<SymbolFilters, ExchangeError> {
    let unknown = |reason: String| ExchangeError::UnknownSymbol {
        symbol: symbol.clone(),
        reason,
        examples: examples(listed, symbol.as_str()),
    };
    let unreadable = |reason: &str| retry(WHAT, format!("{symbol}: {reason}"));
    let found = listed
        .iter()
        .find(|l| l.symbol == symbol.as_str())
        .ok_or_else(|| unknown("not listed on this exchange".to_owned()))?;
    let rules = found.rules.as_ref().map_err(|reason| unreadable(reason))?;
    if let Some(reason) = obstacle(rules) {
        return Err(unknown(reason));
    }
    read_filters(symbol, &rules.filters).map_err(|reason| unreadable(&reason))
}

/// Why a listed symbol cannot be traded; `None` if it can.
fn obstacle(rules: &SymbolRules) -> Option<String> {
    let wrong = |what: &str, is: &str, expected: &str| {
        (is != expected).then(|| format!("listed with {what} {is} (expected {expected})"))
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

    #[test]
    fn stricter_lot_holds_and_trailing_zeros_do_not_matter() {
        let filters = filters_of(&[tradable("BTCUSDT")], &[token("BTCUSDT")]).unwrap();
        let btc = &filters[&token("BTCUSDT")];
        assert_eq!(btc.tick.to_string(), "0.1");
        assert_eq!(btc.max_qty.to_string(), "120");
        assert_eq!(btc.min_notional, Decimal::from(100));
    }

    #[test]
    fn unknown_symbol_is_answered_with_those_most_alike() {
        let names = [
            "ETHUSDT", "BNBUSDT", "BTCUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT",
        ];
        let mut all: Vec<Listed> = names.into_iter().map(tradable).collect();
        all.push(listed("BTCSTUSDT", |rules| {
            rules.status = SymbolStatus::Other("SETTLING".to_owned());
        }));
        let error = filters_of(&all, &[token("ETHUSDT"), token("BTCUST")]).unwrap_err();
        let line = error.to_string();
        let start = "SYMBOLS=\"BTCUST\": expected listed symbols such as BTCUSDT, BNBUSDT, ";
        assert!(line.starts_with(start), "{line}");
        assert!(!line.contains("BTCSTUSDT"), "{line}");
    }

    #[test]
    fn listed_symbol_that_cannot_be_traded_says_why() {
        let settling = listed("LUNAUSDT", |rules| {
            rules.status = SymbolStatus::Other("SETTLING".to_owned());
        });
        let dated = listed("BTCUSDT_261225", |rules| {
            rules.contract_type = ContractType::Other("CURRENT_QUARTER".to_owned());
        });
        let coin = listed("BTCUSDC", |rules| rules.quote_asset = "USDC".to_owned());
        for (bad, reason) in [
            (settling, "SETTLING"),
            (dated, "CURRENT_QUARTER"),
            (coin, "USDC"),
        ] {
            let wanted = token(&bad.symbol);
            let error = filters_of(&[bad, tradable("BTCUSDT")], &[wanted]).unwrap_err();
            assert!(
                matches!(error, ExchangeError::UnknownSymbol { .. }),
                "{error}"
            );
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn unreadable_filters_are_not_guessed() {
        let broken = |change: fn(&mut SymbolRules)| {
            let one = listed("BTCUSDT", change);
            let error = filters_of(&[one], &[token("BTCUSDT")]).unwrap_err();
            assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
            error.to_string()
        };
        assert!(
            broken(|rules| {
                rules.filters.remove(0);
            })
            .contains("no PRICE_FILTER")
        );
        assert!(
            broken(|rules| {
                rules.filters.remove(3);
            })
            .contains("no MIN_NOTIONAL")
        );
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
        let error = filters_of(&[unreadable], &[token("BTCUSDT")]).unwrap_err();
        assert!(error.to_string().contains("tickSize"), "{error}");
        assert!(filters_of(&[], &[token("BTCUSDT")]).is_err());
    }

    #[test]
    fn unreadable_entry_does_not_harm_the_others() {
        let unreadable = Listed {
            symbol: String::new(),
            rules: Err("expected an object".to_owned()),
        };
        let all = [unreadable, tradable("BTCUSDT")];
        assert!(filters_of(&all, &[token("BTCUSDT")]).is_ok());
    }
}
