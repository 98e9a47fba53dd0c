//! Funding: what open positions pay or receive every eight hours.

use rust_decimal::Decimal;

use super::enums::IncomeType;
use super::exchange_state::{ExchangeState, FUNDING_INTERVAL_MS, FUNDING_RATE};
use super::execute::USDT;
use super::position::{MONEY_DECIMALS, Position};
use super::prices::Now;
use super::record::Record;

/// Time of the first funding after `now_ms`.
pub(crate) const fn next_funding_ms(now_ms: i64) -> i64 {
    (now_ms.div_euclid(FUNDING_INTERVAL_MS) + 1) * FUNDING_INTERVAL_MS
}

impl ExchangeState {
    /// Time at which the next funding is booked, UTC ms; a fault may shift it.
    pub(super) fn next_booking_ms(&self) -> i64 {
        (self.funding_paid + 1) * FUNDING_INTERVAL_MS + self.funding_fault().shift_ms.0
    }

    /// Skips the funding of intervals in which no account had a position.
    pub(super) fn skip_funding_until(&mut self, now_ms: i64) {
        let due = (now_ms - self.funding_fault().shift_ms.0).div_euclid(FUNDING_INTERVAL_MS);
        if due > self.funding_paid {
            self.record("", Record::FundingPaid(due));
        }
    }

    /// Pays or receives the funding of every open position.
    pub(super) fn pay_funding(&mut self, now: &Now<'_>) {
        self.record("", Record::FundingPaid(self.funding_paid + 1));
        for name in self.account_names() {
            let held = self
                .accounts
                .get(&name)
                .map(|a| a.open_positions().cloned());
            let held: Vec<Position> = held.into_iter().flatten().collect();
            for mut position in held {
                let value = position.notional(now.mark_price(&position.symbol));
                let amount = -(value * FUNDING_RATE).round_dp(MONEY_DECIMALS);
                let symbol = position.symbol.clone();
                self.change_wallet(&name, &symbol, IncomeType::Funding, amount, now);
                if !position.isolated_margin.is_zero() {
                    position.isolated_margin += amount;
                    self.record(&name, Record::Position(position.clone()));
                }
                let balances = self.balances(&name, USDT, amount);
                self.notify_account(&name, "FUNDING_FEE", balances, &[position], now);
            }
        }
    }

    pub(super) fn change_wallet(
        &mut self,
        account: &str,
        symbol: &str,
        kind: IncomeType,
        sum: Decimal,
        now: &Now<'_>,
    ) {
        let Some(state) = self.accounts.get(account) else {
            return;
        };
        let wallet = state.wallet_balance + sum;
        self.record(account, Record::Wallet(wallet));
        self.record_income(account, symbol, kind, (USDT, sum), None, now.ms);
    }
}
