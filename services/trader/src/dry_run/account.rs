//! What a live start would meet on the account: the key's rights, how the account is set, what is open. A
//! start makes the same checks.

use trader_core::orders::{ClientOrderId, InstallationId};

use super::exchange::{failed_check, with_deadline};
use super::{Check, CheckResult, check, pass, warn};
use crate::settings::Settings;
use crate::venue::{ApiPermissions, BinanceExecutionClient, RestingOrder, WalletBalance};

/// Which exchange an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Environment {
    Production,
    Testnet,
    Simulated,
}

impl Environment {
    pub(super) fn from_url(url: &str) -> Self {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        match host.split([':', '/']).next().unwrap_or_default() {
            "fapi.binance.com" => Self::Production,
            "testnet.binancefuture.com" | "demo-fapi.binance.com" => Self::Testnet,
            _ => Self::Simulated,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION: real money",
            Self::Testnet => "TESTNET: no real money",
            Self::Simulated => "SIMULATOR: neither Binance's production nor its testnet",
        }
    }
}

/// Every check of the account. With our installation's id also whether another one is at work on it.
pub(crate) async fn checks(
    venue: &BinanceExecutionClient,
    settings: &Settings,
    ours: Option<&InstallationId>,
) -> Vec<Check> {
    let place = Environment::from_url(&settings.rest_url);
    let mut checks = vec![pass("venue", place.describe())];
    match with_deadline(venue.wallet_balance()).await {
        Ok(wallet) => checks.push(balance_check(settings, &wallet)),
        // Nothing else will be answered either.
        Err(error) => return vec![failed_check("key", "BINANCE_API_KEY", &error)],
    }
    match with_deadline(venue.permissions()).await {
        Ok(rights) => checks.extend([key_check(place, rights), margin_check(rights)]),
        Err(error) => checks.push(failed_check("key", "BINANCE_API_KEY", &error)),
    }
    match with_deadline(venue.hedge_mode()).await {
        Ok(hedge) => checks.push(position_mode_check(hedge)),
        Err(error) => checks.push(failed_check("mode", "position mode", &error)),
    }
    let open = async { Ok((venue.all_positions().await?, venue.all_open_orders().await?)) };
    match with_deadline(open).await {
        Ok((held, orders)) => checks.push(open_check(held.len(), &orders, ours)),
        Err(error) => checks.push(failed_check("open", "positions and orders", &error)),
    }
    checks
}

fn balance_check(settings: &Settings, WalletBalance { balance, .. }: &WalletBalance) -> Check {
    let finding = format!("{balance} USDT; CAPITAL_USDT={}", settings.capital);
    if *balance < settings.capital {
        let todo = "lower CAPITAL_USDT or bring money in: orders may be refused for want of margin";
        return warn("balance", finding, todo);
    }
    pass("balance", finding)
}

/// Binance's futures API tells of the account, not of the key, whether it may move money out.
fn key_check(place: Environment, rights: ApiPermissions) -> Check {
    let name = "key";
    if !rights.trade {
        let todo = "give the key the right to trade futures";
        return check(CheckResult::Fail, name, "may not trade", todo);
    }
    match (rights.withdraw, place) {
        (false, _) => pass(name, "may trade, may not withdraw"),
        (true, Environment::Simulated) => check(
            CheckResult::Fail,
            name,
            "may withdraw",
            "make one that may trade futures and nothing else",
        ),
        (true, Environment::Production | Environment::Testnet) => warn(
            name,
            "may trade; the account may move money out, and this API does not tell whether the key may",
            "see on Binance's page that the key may not withdraw",
        ),
    }
}

fn margin_check(rights: ApiPermissions) -> Check {
    if rights.multi_assets {
        let todo = "switch the account to single-asset mode: isolated margin needs it";
        return check(CheckResult::Fail, "margin", "multi-assets mode", todo);
    }
    pass(
        "margin",
        "single-asset mode; isolated, set for each symbol at its start",
    )
}

fn position_mode_check(hedge: bool) -> Check {
    if hedge {
        let todo = "switch the account to one-way mode, with nothing open";
        return check(CheckResult::Fail, "mode", "hedge mode", todo);
    }
    pass("mode", "one-way")
}

fn open_check(held: usize, orders: &[RestingOrder], ours: Option<&InstallationId>) -> Check {
    let deployments = orders
        .iter()
        .map(|o| ClientOrderId::installation_in(&o.order.client_order_id));
    let known: Vec<InstallationId> = deployments.flatten().collect();
    let finding = format!(
        "{held} positions, {} orders, {} of them by this program",
        orders.len(),
        known.len()
    );
    if let Some(ours) = ours
        && let Some(foreign) = known.iter().find(|d| *d != ours)
    {
        return check(
            CheckResult::Fail,
            "open",
            format!("{finding}; installation {foreign} is not this one ({ours})"),
            "one account, one installation: stop the other one and cancel its orders",
        );
    }
    let strange = orders.len() > known.len();
    if strange {
        return warn("open", finding, "orders that are not ours are left alone");
    }
    pass("open", finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trader_core::orders::OpenOrder;

    #[test]
    fn environment_is_recognized_by_the_host() {
        for (url, place) in [
            ("https://fapi.binance.com", Environment::Production),
            ("https://testnet.binancefuture.com", Environment::Testnet),
            ("http://exchange-sim:8080", Environment::Simulated),
            (
                "https://fapi.binance.com.example.org",
                Environment::Simulated,
            ),
        ] {
            assert_eq!(Environment::from_url(url), place, "{url}");
        }
    }

    #[test]
    fn key_that_may_withdraw_fails_where_the_api_reports_it() {
        let rights = |trade, withdraw| ApiPermissions {
            trade,
            withdraw,
            multi_assets: false,
        };
        for (rights, place, grade) in [
            (
                rights(true, false),
                Environment::Production,
                CheckResult::Pass,
            ),
            (
                rights(true, true),
                Environment::Production,
                CheckResult::Warn,
            ),
            (
                rights(true, true),
                Environment::Simulated,
                CheckResult::Fail,
            ),
            (
                rights(false, false),
                Environment::Simulated,
                CheckResult::Fail,
            ),
        ] {
            assert_eq!(key_check(place, rights).result, grade, "{rights:?}");
        }
    }

    #[test]
    fn orders_of_another_installation_on_the_account_fail() {
        let order = |client_id: &str| RestingOrder {
            symbol: "BTCUSDT".to_owned(),
            order: OpenOrder {
                client_order_id: client_id.to_owned(),
                exchange_order_id: 1,
                is_conditional: true,
            },
        };
        let ours = "q7x2ab".parse().unwrap();
        let (own, foreign) = (order("ba-q7x2ab-1"), order("ba-zzzzzz-1"));
        let grade = |orders: &[RestingOrder]| open_check(1, orders, Some(&ours)).result;
        assert_eq!(grade(std::slice::from_ref(&own)), CheckResult::Pass);
        assert_eq!(grade(&[own, order("web_1")]), CheckResult::Warn);
        assert_eq!(grade(&[foreign]), CheckResult::Fail);
    }
}
