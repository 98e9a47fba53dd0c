//! Conversion of the exchange's list of symbols to the symbol filters of the trader core.

use std::collections::BTreeMap;
use std::str::FromStr;

use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    ExchangeInformationResponseSymbolsInner as Listed,
    ExchangeInformationResponseSymbolsInnerFiltersInner as Filter,
};
use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};
use trader_core::symbol_filters::SymbolFilters;

use crate::error::retry;

/// The name of the call in errors.
pub(crate) const WHAT: &str = "symbol filters";

/// Number of symbols that an error proposes.
const EXAMPLES: usize = 5;

/// The symbol filters of each of `symbols`.
///
/// # Errors
/// [`ExchangeError::UnknownSymbol`] for the first that cannot be traded, [`ExchangeError::Retry`] for
/// filters that cannot be read.
pub(crate) fn filters_of(
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
    let found = listed
        .iter()
        .find(|l| l.symbol.as_deref() == Some(symbol.as_str()))
        .ok_or_else(|| unknown("not listed on this exchange".to_owned()))?;
    if let Some(reason) = obstacle(found) {
        return Err(unknown(reason));
    }
    read_filters(symbol, found.filters.as_deref().unwrap_or_default())
        .map_err(|reason| retry(WHAT, format!("{symbol}: {reason}")))
}

/// Why a listed symbol cannot be traded; `None` if it can.
fn obstacle(listed: &Listed) -> Option<String> {
    let (contract, status) = (listed.contract_type.as_deref(), listed.status.as_deref());
    let wrong = |what: &str, is: Option<&str>, allowed: &str| {
        (is != Some(allowed)).then(|| {
            let is = is.unwrap_or("unknown");
            format!("listed with {what} {is} (expected {allowed})")
        })
    };
    wrong("contract type", contract, "PERPETUAL")
        .or_else(|| wrong("quote asset", listed.quote_asset.as_deref(), "USDT"))
        .or_else(|| wrong("status", status, "TRADING"))
}

/// Tradable symbols, the ones that begin like `wanted` first.
fn examples(listed: &[Listed], wanted: &str) -> String {
    let alike = |symbol: &str| {
        let pairs = symbol.bytes().zip(wanted.bytes());
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
    };
    let mut names: Vec<&str> = listed
        .iter()
        .filter(|l| obstacle(l).is_none())
        .filter_map(|l| l.symbol.as_deref())
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    names.truncate(EXAMPLES);
    names.join(", ")
}

/// Entries are market orders, so the stricter of `LOT_SIZE` and `MARKET_LOT_SIZE` holds.
fn read_filters(symbol: &SubjectToken, filters: &[Filter]) -> Result<SymbolFilters, String> {
    let price = filter(filters, "PRICE_FILTER")?;
    let lot = filter(filters, "LOT_SIZE")?;
    let market_lot = filter(filters, "MARKET_LOT_SIZE").unwrap_or(lot);
    let notional = filter(filters, "MIN_NOTIONAL")?;
    let quantity = |name: &str, of: fn(&Filter) -> Option<&str>| {
        let (lot, market_lot) = (of(lot), of(market_lot));
        Ok::<[Qty; 2], String>([number(name, lot)?, number(name, market_lot)?])
    };
    let [step, market_step] = quantity("stepSize", |f| f.step_size.as_deref())?;
    let [least, market_least] = quantity("minQty", |f| f.min_qty.as_deref())?;
    let [most, market_most] = quantity("maxQty", |f| f.max_qty.as_deref())?;
    let tick: Price = number("tickSize", price.tick_size.as_deref())?;
    let min_notional: Decimal = number("notional", notional.notional.as_deref())?;
    Ok(SymbolFilters {
        symbol: symbol.clone(),
        tick: positive("tickSize", tick)?,
        lot: positive("stepSize", step.max(market_step))?,
        min_qty: least.max(market_least),
        max_qty: positive("maxQty", most.min(market_most))?,
        min_notional,
    })
}

fn filter<'a>(filters: &'a [Filter], name: &str) -> Result<&'a Filter, String> {
    filters
        .iter()
        .find(|f| f.filter_type.as_deref() == Some(name))
        .ok_or_else(|| format!("no {name}"))
}

fn number<T: FromStr>(name: &str, text: Option<&str>) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("no {name}"))?;
    let parsed = text.parse();
    parsed.map_err(|_| format!("{name}={text:?}: expected a decimal of at most 8 places"))
}

fn positive<T: Default + PartialOrd>(name: &str, value: T) -> Result<T, String> {
    if value > T::default() {
        Ok(value)
    } else {
        Err(format!("{name} is not above 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(
        clippy::unnecessary_wraps,
        reason = "every field of the exchange's answer is optional"
    )]
    fn text(t: &str) -> Option<String> {
        Some(t.to_owned())
    }

    fn listed(symbol: &str) -> Listed {
        let kind = |name: &str| Filter {
            filter_type: text(name),
            ..Filter::default()
        };
        let lot = |name: &str, most: &str| Filter {
            min_qty: text("0.001"),
            max_qty: text(most),
            step_size: text("0.001"),
            ..kind(name)
        };
        let price = Filter {
            tick_size: text("0.10"),
            ..kind("PRICE_FILTER")
        };
        let notional = Filter {
            notional: text("100"),
            ..kind("MIN_NOTIONAL")
        };
        Listed {
            symbol: text(symbol),
            contract_type: text("PERPETUAL"),
            quote_asset: text("USDT"),
            status: text("TRADING"),
            filters: Some(vec![
                price,
                lot("LOT_SIZE", "1000"),
                lot("MARKET_LOT_SIZE", "120"),
                notional,
            ]),
            ..Listed::default()
        }
    }

    fn token(name: &str) -> SubjectToken {
        name.parse().unwrap()
    }

    #[test]
    fn the_stricter_lot_holds_and_trailing_zeros_do_not_matter() {
        let filters = filters_of(&[listed("BTCUSDT")], &[token("BTCUSDT")]).unwrap();
        let btc = &filters[&token("BTCUSDT")];
        assert_eq!(btc.tick.to_string(), "0.1");
        assert_eq!(btc.max_qty.to_string(), "120");
        assert_eq!(btc.min_notional, Decimal::from(100));
    }

    #[test]
    fn an_unknown_symbol_is_answered_with_those_most_alike() {
        let names = [
            "ETHUSDT", "BNBUSDT", "BTCUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT",
        ];
        let mut all: Vec<Listed> = names.into_iter().map(listed).collect();
        all.push(Listed {
            status: text("SETTLING"),
            ..listed("BTCSTUSDT")
        });
        let error = filters_of(&all, &[token("ETHUSDT"), token("BTCUST")]).unwrap_err();
        let line = error.to_string();
        let start = "SYMBOLS=\"BTCUST\": expected listed symbols such as BTCUSDT, BNBUSDT, ";
        assert!(line.starts_with(start), "{line}");
        assert!(!line.contains("BTCSTUSDT"), "{line}");
    }

    #[test]
    fn a_listed_symbol_that_cannot_be_traded_says_why() {
        let mut settling = listed("LUNAUSDT");
        settling.status = text("SETTLING");
        let mut dated = listed("BTCUSDT_261225");
        dated.contract_type = text("CURRENT_QUARTER");
        let mut coin = listed("BTCUSDC");
        coin.quote_asset = text("USDC");
        for (bad, reason) in [
            (settling, "SETTLING"),
            (dated, "CURRENT_QUARTER"),
            (coin, "USDC"),
        ] {
            let wanted = token(bad.symbol.as_deref().unwrap());
            let error = filters_of(&[bad, listed("BTCUSDT")], &[wanted]).unwrap_err();
            assert!(
                matches!(error, ExchangeError::UnknownSymbol { .. }),
                "{error}"
            );
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn unreadable_filters_are_not_guessed() {
        let broken = |change: fn(&mut Vec<Filter>)| {
            let mut one = listed("BTCUSDT");
            change(one.filters.as_mut().unwrap());
            filters_of(&[one], &[token("BTCUSDT")])
                .unwrap_err()
                .to_string()
        };
        assert!(broken(|f| drop(f.remove(0))).contains("no PRICE_FILTER"));
        assert!(broken(|f| f[0].tick_size = None).contains("no tickSize"));
        assert!(broken(|f| f[0].tick_size = text("0")).contains("tickSize is not above 0"));
        assert!(broken(|f| f[1].step_size = text("x")).contains("stepSize=\"x\""));
        assert!(filters_of(&[], &[token("BTCUSDT")]).is_err());
    }
}
