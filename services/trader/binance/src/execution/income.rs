//! Cash flows of the account: what positions paid beside their trades, and what moved the balance besides.

use std::collections::BTreeSet;

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::account::{CashFlow, CashFlowKind};
use trader_core::orders::FundingPayment;

use super::client::BinanceExecutionClient;
use super::order_query::{PAGE, SPAN_MS};
use super::signed_call::list;
use crate::QUOTE;
use crate::error::retry;
use crate::wire::account::IncomeAnswer;

const WHAT: &str = "payments";

/// Kinds of income that are in no trade's fee or profit.
const BESIDE_TRADES: [&str; 2] = ["FUNDING_FEE", "INSURANCE_CLEAR"];
/// Kinds of income that are in a trade's fee or profit.
const OF_TRADES: [&str; 3] = ["REALIZED_PNL", "COMMISSION", "DELIVERED_SETTELMENT"];
/// Kinds of income that move money between the account and another one, beside those that are called a transfer.
const TRANSFERS: [&str; 2] = ["COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW"];

impl BinanceExecutionClient {
    /// Queries what this symbol paid in `from..until` beside its trades, in order: funding, and what a liquidation
    /// cost.
    pub(super) async fn funding_payments(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
        until: UtcMs,
    ) -> Result<Vec<FundingPayment>, ExchangeError> {
        let mut payments = Vec::new();
        for income in self.income(Some(symbol), from, until).await? {
            if !BESIDE_TRADES.contains(&income.income_type.as_str()) {
                continue;
            }
            let at = income.time;
            let value = self.value_in_quote(&income.asset, income.income, at);
            let amount = -value.await?;
            payments.push(FundingPayment { at, amount });
        }
        Ok(payments)
    }

    /// Queries the cash flows in the quote currency in `from..until`, in order.
    pub(super) async fn cash_flows(
        &self,
        from: UtcMs,
        until: UtcMs,
    ) -> Result<Vec<CashFlow>, ExchangeError> {
        let all = self.income(None, from, until).await?;
        let in_quote = all.into_iter().filter(|income| income.asset == QUOTE);
        Ok(in_quote.map(cash_flow).collect())
    }

    /// The list of cash flows in `from..until`, of one symbol or of the account, by time. A list may have a row twice.
    async fn income(
        &self,
        symbol: Option<&SubjectToken>,
        from: UtcMs,
        until: UtcMs,
    ) -> Result<Vec<IncomeAnswer>, ExchangeError> {
        let mut all: Vec<IncomeAnswer> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = from.0;
        while next < until.0 {
            let end = (until.0 - 1).min(next.saturating_add(SPAN_MS - 1));
            let call = list(WHAT, "/fapi/v1/income")
                .optional("symbol", symbol)
                .param("startTime", next)
                .param("endTime", end)
                .param("limit", PAGE)
                .weight(30);
            let page: Vec<IncomeAnswer> = self.query(call).await?;
            let (full, before) = (page.len() >= PAGE, seen.len());
            let mut last = next;
            for income in page {
                last = last.max(income.time.0);
                if seen.insert((income.income_type.clone(), income.tran_id, income.time)) {
                    all.push(income);
                }
            }
            next = match full {
                // The next page begins where this one ended, within the same millisecond.
                true if seen.len() > before => last,
                true => return Err(retry(WHAT, "the list does not end")),
                false => end + 1,
            };
        }
        all.sort_by_key(|income| income.time);
        Ok(all)
    }
}

fn cash_flow(income: IncomeAnswer) -> CashFlow {
    let name = income.income_type;
    let is_of = |kinds: &[&str]| kinds.contains(&name.as_str());
    let kind = if is_of(&BESIDE_TRADES) || is_of(&OF_TRADES) {
        CashFlowKind::Trading
    } else if name.ends_with("TRANSFER") || is_of(&TRANSFERS) {
        CashFlowKind::Transfer
    } else {
        CashFlowKind::Other
    };
    CashFlow {
        id: format!("{name}-{}-{}", income.tran_id, income.time.0),
        kind,
        name,
        symbol: income.symbol.filter(|symbol| !symbol.is_empty()),
        amount: income.income,
        at: income.time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cash_flows_are_distinguished_by_the_exchanges_names() {
        let kind = |name: &str| {
            let row = format!(
                r#"{{"symbol":"","incomeType":"{name}","income":"-1.5","asset":"USDT","tranId":7,"time":9}}"#
            );
            cash_flow(serde_json::from_str(&row).unwrap()).kind
        };
        for name in [
            "COMMISSION",
            "REALIZED_PNL",
            "FUNDING_FEE",
            "INSURANCE_CLEAR",
        ] {
            assert_eq!(kind(name), CashFlowKind::Trading, "{name}");
        }
        for name in [
            "TRANSFER",
            "INTERNAL_TRANSFER",
            "CROSS_COLLATERAL_TRANSFER",
            "STRATEGY_UMFUTURES_TRANSFER",
            "COIN_SWAP_WITHDRAW",
        ] {
            assert_eq!(kind(name), CashFlowKind::Transfer, "{name}");
        }
        for name in ["COMMISSION_REBATE", "API_REBATE", "A_NEW_KIND"] {
            assert_eq!(kind(name), CashFlowKind::Other, "{name}");
        }
    }

    #[test]
    fn cash_flow_without_a_symbol_concerns_none() {
        let row = r#"{"incomeType":"TRANSFER","income":1,"asset":"USDT","tranId":"7","time":9}"#;
        let flow = cash_flow(serde_json::from_str(row).unwrap());
        assert_eq!((flow.symbol, flow.id.as_str()), (None, "TRANSFER-7-9"));
    }
}
