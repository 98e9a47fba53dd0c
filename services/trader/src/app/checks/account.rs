//! The checks of a live account: the key's permissions, the account's settings, open positions and orders.

use exchange::{ApiPermissions, ExecutionClient, RestingOrder, WalletBalance};
use trader_core::orders::{ClientOrderId, InstallationId};

use super::{Check, CheckResult, check, failed_check, pass, warn, with_deadline};
use crate::app::start_calls::Unready;
use crate::settings::{Environment, Settings};

impl Environment {
    const fn describe(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION: real money",
            Self::Testnet => "TESTNET: no real money",
            Self::Simulated => "SIMULATOR: neither Binance's production nor its testnet",
        }
    }
}

/// Runs the checks of a live start.
///
/// # Errors
/// The first check that fails: the call's error, or what the exchange's answer says.
pub(crate) async fn check_account(
    client: &dyn ExecutionClient,
    settings: &Settings,
    installation: &InstallationId,
) -> Result<(), Unready> {
    for check in checks(client, settings, Some(installation)).await {
        let Check {
            name,
            result,
            finding,
            advice,
            error,
        } = check;
        match (result, error) {
            (CheckResult::Pass, _) => {
                tracing::info!(check = name, finding, "account check passed");
            }
            (CheckResult::Warn, _) => {
                tracing::warn!(
                    check = name,
                    finding,
                    advice,
                    "account check passed with a warning"
                );
            }
            (CheckResult::Missing | CheckResult::Fail, Some(error)) => return Err(error.into()),
            (CheckResult::Missing | CheckResult::Fail, None) => {
                return Err(Unready::Found(format!("{name}: {finding}; {advice}")));
            }
        }
    }
    Ok(())
}

/// All checks of the account. With the id of this installation also whether another installation has orders there.
pub(crate) async fn checks(
    client: &dyn ExecutionClient,
    settings: &Settings,
    ours: Option<&InstallationId>,
) -> Vec<Check> {
    let environment = Environment::from_url(&settings.rest_url);
    let mut checks = vec![pass("venue", environment.describe())];
    match with_deadline(client.wallet_balance()).await {
        Ok(wallet) => checks.push(balance_check(settings, &wallet)),
        // The other queries would fail too.
        Err(error) => return vec![failed_check("key", "BINANCE_API_KEY", &error)],
    }
    match with_deadline(client.permissions()).await {
        Ok(permissions) => {
            checks.extend([
                key_check(environment, permissions),
                margin_check(permissions),
            ]);
        }
        Err(error) => checks.push(failed_check("key", "BINANCE_API_KEY", &error)),
    }
    match with_deadline(client.is_hedge_mode()).await {
        Ok(hedge) => checks.push(position_mode_check(hedge)),
        Err(error) => checks.push(failed_check("mode", "position mode", &error)),
    }
    match with_deadline(client.pays_fees_in_other_asset()).await {
        Ok(in_other) => checks.push(pass("fees", fee_finding(in_other))),
        Err(error) => checks.push(failed_check("fees", "fee asset", &error)),
    }
    let open = async { Ok((client.positions().await?, client.open_orders().await?)) };
    match with_deadline(open).await {
        Ok((held, orders)) => checks.push(open_check(held.len(), &orders, ours)),
        Err(error) => checks.push(failed_check("open", "positions and orders", &error)),
    }
    checks
}

fn balance_check(settings: &Settings, WalletBalance { balance, .. }: &WalletBalance) -> Check {
    let finding = format!("{balance} USDT; CAPITAL_USDT={}", settings.capital);
    if *balance < settings.capital {
        let advice =
            "lower CAPITAL_USDT or deposit more; the exchange may reject orders for lack of margin";
        return warn("balance", finding, advice);
    }
    pass("balance", finding)
}

/// Checks the permissions. Binance's futures API reports whether the account may withdraw, but not whether the key may.
fn key_check(environment: Environment, permissions: ApiPermissions) -> Check {
    let name = "key";
    if !permissions.trade {
        let advice = "give the key the permission to trade futures";
        return check(CheckResult::Fail, name, "may not trade", advice);
    }
    match (permissions.withdraw, environment) {
        (false, _) => pass(name, "may trade, may not withdraw"),
        (true, Environment::Simulated) => check(
            CheckResult::Fail,
            name,
            "may withdraw",
            "create a key that may trade futures and nothing else",
        ),
        (true, Environment::Production | Environment::Testnet) => warn(
            name,
            "may trade; the account may withdraw, and the API does not show whether the key may",
            "check on Binance's page that the key may not withdraw",
        ),
    }
}

fn margin_check(permissions: ApiPermissions) -> Check {
    if permissions.multi_assets {
        let advice = "switch the account to single-asset mode, which isolated margin requires";
        return check(CheckResult::Fail, "margin", "multi-assets mode", advice);
    }
    pass(
        "margin",
        "single-asset mode; isolated margin is set for each symbol when its book starts",
    )
}

fn position_mode_check(hedge: bool) -> Check {
    if hedge {
        let advice = "close everything, then switch the account to one-way mode";
        return check(CheckResult::Fail, "mode", "hedge mode", advice);
    }
    pass("mode", "one-way")
}

const fn fee_finding(in_other_asset: bool) -> &'static str {
    if in_other_asset {
        "paid in BNB while it lasts; booked in USDT at its price when the trade was made"
    } else {
        "paid in USDT"
    }
}

fn open_check(held: usize, orders: &[RestingOrder], ours: Option<&InstallationId>) -> Check {
    let installations = orders
        .iter()
        .map(|o| ClientOrderId::installation_in(&o.order.client_order_id));
    let known: Vec<InstallationId> = installations.flatten().collect();
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
            "stop the other installation and cancel its orders; an account may have one installation only",
        );
    }
    if orders.len() > known.len() {
        return warn("open", finding, "external orders are ignored");
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
                stop: None,
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
