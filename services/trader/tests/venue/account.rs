//! The account as a whole.

use bearish_trader::market::MarketError;
use engine::orders::{Leg, Way};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::rig::{Rig, bitcoin, filled};

#[tokio::test]
async fn what_it_has_and_what_its_key_may_do() {
    let rig = Rig::quiet().await;
    let wallet = rig.venue.wallet().await.unwrap();
    assert_eq!(wallet.alias, rig.venue.alias().await.unwrap());
    assert_eq!(wallet.balance, Decimal::from(10_000));
    assert_eq!(wallet.available, Decimal::from(10_000));
    for (key, trade, withdraw) in [
        ("trader", true, false),
        ("reader", false, false),
        ("owner", true, true),
    ] {
        let rights = rig.with_key(key, "secret").permissions().await.unwrap();
        assert_eq!((rights.trade, rights.withdraw), (trade, withdraw), "{key}");
        assert!(!rights.multi_assets);
    }
    assert!(!rig.venue.hedge_mode().await.unwrap());
    let refused = rig
        .with_key("stranger", "secret")
        .wallet()
        .await
        .unwrap_err();
    assert!(matches!(refused, MarketError::Refused { .. }), "{refused}");
    rig.end().await;
}

#[tokio::test]
async fn margin_and_leverage_are_set_once_and_read_back() {
    let mut rig = Rig::quiet().await;
    assert!(!rig.venue.is_prepared(&bitcoin(), 3).await.unwrap());
    for leverage in [3, 3, 2] {
        rig.venue.prepare(&bitcoin(), leverage).await.unwrap();
        assert!(rig.venue.is_prepared(&bitcoin(), leverage).await.unwrap());
    }
    rig.bought().await;
    rig.venue.prepare(&bitcoin(), 2).await.unwrap();
    let refused = rig.venue.prepare(&bitcoin(), 1).await.unwrap_err();
    assert!(matches!(refused, MarketError::Refused { .. }), "{refused}");
    rig.end().await;
}

#[tokio::test]
async fn positions_and_what_rests_are_seen_whosever_they_are() {
    let mut rig = Rig::quiet().await;
    assert!(rig.venue.all_positions().await.unwrap().is_empty());
    rig.bought().await;
    let stop = rig.trigger(Leg::Stop, "39000");
    rig.place(&stop).await;
    let held = rig.venue.all_positions().await.unwrap();
    assert_eq!(
        (held[0].symbol.as_str(), held[0].amount.to_string()),
        ("BTCUSDT", "0.01".to_owned())
    );
    let open = rig.venue.all_open().await.unwrap();
    assert_eq!((open.len(), open[0].symbol.as_str()), (1, "BTCUSDT"));
    assert!(open[0].order.conditional && open[0].order.client_id == stop.id.as_str());
    rig.end().await;
}

#[tokio::test]
async fn trades_are_seen_with_their_orders_and_what_they_cost() {
    let mut rig = Rig::quiet().await;
    let before = rig.now();
    let bought = rig.bought().await;
    let exit = rig.market(Leg::Exit, "0.01");
    let sold = filled(&rig.place(&exit).await);
    for from in [before, UtcMs(before.0 - 30 * 24 * 3_600_000)] {
        let trades = rig.venue.trades_since(&bitcoin(), from).await.unwrap();
        let ways: Vec<Way> = trades.iter().map(|t| t.way).collect();
        assert_eq!(ways, [Way::Buy, Way::Sell]);
        assert!(trades[0].order_id < trades[1].order_id);
        for (trade, fill) in trades.iter().zip([bought, sold]) {
            let costs = fill.costs.unwrap();
            assert_eq!(
                (trade.fee, trade.realised),
                (Some(costs.fee), costs.realised)
            );
            assert_eq!((trade.price, trade.at), (fill.price.to_decimal(), fill.at));
        }
    }
    let later = UtcMs(rig.now().0 + 1);
    assert!(
        rig.venue
            .trades_since(&bitcoin(), later)
            .await
            .unwrap()
            .is_empty()
    );
    rig.end().await;
}

#[tokio::test]
async fn funding_is_what_the_wallet_paid() {
    let mut rig = Rig::start(&[[40_000; 4]; 2], 500).await;
    rig.bought().await;
    let (from, before) = (rig.now(), rig.balance().await);
    rig.pass(482).await;
    let until = UtcMs(rig.now().0 + 1);
    let payments = rig.venue.payments(&bitcoin(), from, until).await.unwrap();
    assert_eq!(payments.len(), 1);
    assert!(payments[0].amount > Decimal::ZERO, "a long position pays");
    assert_eq!(before - rig.balance().await, payments[0].amount);
    let at = payments[0].at;
    for (from, until, count) in [(at, at, 0), (at, UtcMs(at.0 + 1), 1), (from, at, 0)] {
        let payments = rig.venue.payments(&bitcoin(), from, until).await.unwrap();
        assert_eq!(payments.len(), count, "{from} {until}");
    }
    rig.end().await;
}
