//! What a live start would meet on the account: the key's rights, how the account is set, what is open. A
//! start makes the same checks.

use engine::orders::{ClientId, Deployment};

use super::exchange::{failed, within};
use super::{Check, Grade, check, pass, warn};
use crate::settings::Settings;
use crate::venue::{Resting, Rights, Venue, Wallet};

/// Which exchange an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Production,
    Testnet,
    Other,
}

impl Place {
    pub(super) fn of(url: &str) -> Self {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        match host.split([':', '/']).next().unwrap_or_default() {
            "fapi.binance.com" => Self::Production,
            "testnet.binancefuture.com" | "demo-fapi.binance.com" => Self::Testnet,
            _ => Self::Other,
        }
    }

    const fn in_capitals(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION: real money",
            Self::Testnet => "TESTNET: no real money",
            Self::Other => "SIMULATOR: neither Binance's production nor its testnet",
        }
    }
}

/// Every check of the account. With our installation's id also whether another one is at work on it.
pub(crate) async fn checks(
    venue: &Venue,
    settings: &Settings,
    ours: Option<&Deployment>,
) -> Vec<Check> {
    let place = Place::of(&settings.rest_url);
    let mut checks = vec![pass("venue", place.in_capitals())];
    match within(venue.wallet()).await {
        Ok(wallet) => checks.push(balance(settings, &wallet)),
        // Nothing else will be answered either.
        Err(error) => return vec![failed("key", "BINANCE_API_KEY", &error)],
    }
    match within(venue.permissions()).await {
        Ok(rights) => checks.extend([key(place, rights), margin(rights)]),
        Err(error) => checks.push(failed("key", "BINANCE_API_KEY", &error)),
    }
    match within(venue.hedge_mode()).await {
        Ok(hedge) => checks.push(mode(hedge)),
        Err(error) => checks.push(failed("mode", "position mode", &error)),
    }
    let open = async { Ok((venue.all_positions().await?, venue.all_open().await?)) };
    match within(open).await {
        Ok((held, orders)) => checks.push(what_is_open(held.len(), &orders, ours)),
        Err(error) => checks.push(failed("open", "positions and orders", &error)),
    }
    checks
}

fn balance(settings: &Settings, Wallet { balance, .. }: &Wallet) -> Check {
    let finding = format!("{balance} USDT; CAPITAL_USDT={}", settings.capital);
    if *balance < settings.capital {
        let todo = "lower CAPITAL_USDT or bring money in: orders may be refused for want of margin";
        return warn("balance", finding, todo);
    }
    pass("balance", finding)
}

/// Binance's futures API tells of the account, not of the key, whether it may move money out.
fn key(place: Place, rights: Rights) -> Check {
    let name = "key";
    if !rights.trade {
        let todo = "give the key the right to trade futures";
        return check(Grade::Fail, name, "may not trade", todo);
    }
    match (rights.withdraw, place) {
        (false, _) => pass(name, "may trade, may not withdraw"),
        (true, Place::Other) => check(
            Grade::Fail,
            name,
            "may withdraw",
            "make one that may trade futures and nothing else",
        ),
        (true, Place::Production | Place::Testnet) => warn(
            name,
            "may trade; the account may move money out, and this API does not tell whether the key may",
            "see on Binance's page that the key may not withdraw",
        ),
    }
}

fn margin(rights: Rights) -> Check {
    if rights.multi_assets {
        let todo = "switch the account to single-asset mode: isolated margin needs it";
        return check(Grade::Fail, "margin", "multi-assets mode", todo);
    }
    pass(
        "margin",
        "single-asset mode; isolated, set for each symbol at its start",
    )
}

fn mode(hedge: bool) -> Check {
    if hedge {
        let todo = "switch the account to one-way mode, with nothing open";
        return check(Grade::Fail, "mode", "hedge mode", todo);
    }
    pass("mode", "one-way")
}

fn what_is_open(held: usize, orders: &[Resting], ours: Option<&Deployment>) -> Check {
    let deployments = orders
        .iter()
        .map(|o| ClientId::deployment_in(&o.order.client_id));
    let known: Vec<Deployment> = deployments.flatten().collect();
    let finding = format!(
        "{held} positions, {} orders, {} of them by this program",
        orders.len(),
        known.len()
    );
    if let Some(ours) = ours
        && let Some(foreign) = known.iter().find(|d| *d != ours)
    {
        return check(
            Grade::Fail,
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
    use engine::orders::OpenOrder;

    #[test]
    fn the_place_is_named_by_its_host() {
        for (url, place) in [
            ("https://fapi.binance.com", Place::Production),
            ("https://testnet.binancefuture.com", Place::Testnet),
            ("http://exchange-sim:8080", Place::Other),
            ("https://fapi.binance.com.example.org", Place::Other),
        ] {
            assert_eq!(Place::of(url), place, "{url}");
        }
    }

    #[test]
    fn a_key_that_may_withdraw_is_refused_where_that_can_be_told() {
        let rights = |trade, withdraw| Rights {
            trade,
            withdraw,
            multi_assets: false,
        };
        for (rights, place, grade) in [
            (rights(true, false), Place::Production, Grade::Pass),
            (rights(true, true), Place::Production, Grade::Warn),
            (rights(true, true), Place::Other, Grade::Fail),
            (rights(false, false), Place::Other, Grade::Fail),
        ] {
            assert_eq!(key(place, rights).grade, grade, "{rights:?}");
        }
    }

    #[test]
    fn another_installation_on_the_account_is_refused() {
        let order = |client_id: &str| Resting {
            symbol: "BTCUSDT".to_owned(),
            order: OpenOrder {
                client_id: client_id.to_owned(),
                id: 1,
                conditional: true,
            },
        };
        let ours = "q7x2ab".parse().unwrap();
        let (own, foreign) = (order("ba-q7x2ab-1"), order("ba-zzzzzz-1"));
        let grade = |orders: &[Resting]| what_is_open(1, orders, Some(&ours)).grade;
        assert_eq!(grade(std::slice::from_ref(&own)), Grade::Pass);
        assert_eq!(grade(&[own, order("web_1")]), Grade::Warn);
        assert_eq!(grade(&[foreign]), Grade::Fail);
    }
}
