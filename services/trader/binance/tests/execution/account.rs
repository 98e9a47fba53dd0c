//! Balance, rights, positions, funding and leverage of the account.

use std::time::{Duration, Instant};

use exchange::{DataClient, ExchangeError, ExecutionClient};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde_json::json;
use trader_core::account::CashFlowKind;
use trader_core::orders::{Fill, Leg, OrderSide};

use crate::test_exchange::{TestExchange, bitcoin, filled};

#[tokio::test]
async fn account_reports_balance_and_key_permissions() {
    let rig = TestExchange::at_constant_price().await;
    let wallet = rig.client.wallet_balance().await.unwrap();
    let again = rig.with_key("reader", "secret").wallet_balance().await;
    assert_eq!(wallet.alias, again.unwrap().alias, "the same for every key");
    assert_eq!(wallet.balance, Decimal::from(10_000));
    assert_eq!(wallet.available, Decimal::from(10_000));
    for (key, trade, withdraw) in [
        ("trader", true, false),
        ("reader", false, false),
        ("withdrawer", true, true),
    ] {
        let rights = rig.with_key(key, "secret").permissions().await.unwrap();
        assert_eq!((rights.trade, rights.withdraw), (trade, withdraw), "{key}");
        assert!(!rights.multi_assets);
    }
    assert!(!rig.client.is_hedge_mode().await.unwrap());
    let refused = rig
        .with_key("unknown", "secret")
        .wallet_balance()
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ExchangeError::Rejected { .. }),
        "{refused}"
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn margin_and_leverage_are_set_once_and_read_back() {
    let mut rig = TestExchange::at_constant_price().await;
    assert!(!rig.client.is_prepared(&bitcoin(), 3).await.unwrap());
    for leverage in [3, 3, 2] {
        rig.client
            .prepare_symbol(&bitcoin(), leverage)
            .await
            .unwrap();
        assert!(rig.client.is_prepared(&bitcoin(), leverage).await.unwrap());
    }
    rig.buy().await;
    rig.client.prepare_symbol(&bitcoin(), 2).await.unwrap();
    let refused = rig.client.prepare_symbol(&bitcoin(), 1).await.unwrap_err();
    assert!(
        matches!(refused, ExchangeError::Rejected { .. }),
        "{refused}"
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn positions_and_resting_orders_are_read_including_external_ones() {
    let mut rig = TestExchange::at_constant_price().await;
    assert!(rig.client.positions().await.unwrap().is_empty());
    rig.buy().await;
    let stop = rig.trigger(Leg::Stop, "39000");
    rig.place(&stop).await;
    let held = rig.client.positions().await.unwrap();
    assert_eq!(
        (held[0].symbol.as_str(), held[0].quantity.to_string()),
        ("BTCUSDT", "0.01".to_owned())
    );
    let open = rig.client.open_orders().await.unwrap();
    assert_eq!((open.len(), open[0].symbol.as_str()), (1, "BTCUSDT"));
    assert!(
        open[0].order.is_conditional
            && open[0].order.client_order_id == stop.client_order_id.as_str()
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn fills_are_read_with_their_orders_and_costs() {
    let mut rig = TestExchange::at_constant_price().await;
    let before = rig.now();
    let entry = rig.market(Leg::Entry, "0.01");
    let bought = rig.place(&entry).await;
    let exit = rig.market(Leg::Exit, "0.01");
    let sold = rig.place(&exit).await;
    for from in [before, UtcMs(before.0 - 30 * 24 * 3_600_000)] {
        let trades = rig.client.fills_since(&bitcoin(), from).await.unwrap();
        let ways: Vec<OrderSide> = trades.iter().map(|t| t.side).collect();
        assert_eq!(ways, [OrderSide::Buy, OrderSide::Sell]);
        assert!(trades[0].trade_id < trades[1].trade_id);
        for (trade, (order, answer)) in trades.iter().zip([(&entry, &bought), (&exit, &sold)]) {
            assert_eq!(trade.client_order_id, order.client_order_id.as_str());
            let costs = rig.costs(answer).await;
            assert_eq!(
                trade.fill,
                Fill {
                    costs,
                    ..filled(answer)
                }
            );
        }
    }
    let later = UtcMs(rig.now().0 + 1);
    assert!(
        rig.client
            .fills_since(&bitcoin(), later)
            .await
            .unwrap()
            .is_empty()
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn funding_is_what_the_wallet_paid() {
    let mut rig = TestExchange::start(&[[40_000; 4]; 2], 500).await;
    rig.buy().await;
    let (from, before) = (rig.now(), rig.balance().await);
    rig.advance_to_minute(482).await;
    let until = UtcMs(rig.now().0 + 1);
    let payments = rig
        .client
        .funding_payments(&bitcoin(), from, until)
        .await
        .unwrap();
    assert_eq!(payments.len(), 1);
    assert!(payments[0].amount > Decimal::ZERO, "a long position pays");
    assert_eq!(before - rig.balance().await, payments[0].amount);
    let at = payments[0].at;
    for (from, until, count) in [(at, at, 0), (at, UtcMs(at.0 + 1), 1), (from, at, 0)] {
        let payments = rig
            .client
            .funding_payments(&bitcoin(), from, until)
            .await
            .unwrap();
        assert_eq!(payments.len(), count, "{from} {until}");
    }
    rig.shut_down().await;
}

/// 1,900 bytes that take seven seconds, like 1.9 MB over a slow link: the deadline is for progress, not for the whole.
#[tokio::test]
async fn list_of_symbols_is_read_over_a_slow_link_as_long_as_it_makes_progress() {
    let rig = TestExchange::at_constant_price().await;
    rig.arm_fault(json!({"fault": "slow-body", "bytes": 110, "every_ms": 400,
        "path": "/fapi/v1/exchangeInfo"}))
        .await;
    let begun = Instant::now();
    let listings = rig.data_client.symbol_listings(&[bitcoin()]).await.unwrap();
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(listings[&bitcoin()].filters.is_some());
    rig.shut_down().await;
}

#[tokio::test]
async fn changed_leverage_margin_type_or_position_mode_is_one_line() {
    let rig = TestExchange::at_constant_price().await;
    let difference = async || rig.client.settings_difference(&bitcoin(), 3).await;
    let line = difference().await.unwrap().unwrap();
    assert!(line.contains("expected ISOLATED and 3"), "{line}");
    rig.client.prepare_symbol(&bitcoin(), 3).await.unwrap();
    assert_eq!(difference().await, Ok(None));
    rig.client.prepare_symbol(&bitcoin(), 2).await.unwrap();
    let line = difference().await.unwrap().unwrap();
    assert!(line.contains("leverage 2"), "{line}");
    rig.shut_down().await;
}

#[tokio::test]
async fn asset_of_the_fees_that_has_changed_is_one_line_until_risk_is_computed_again() {
    let rig = TestExchange::at_constant_price().await;
    let difference = async || rig.client.settings_difference(&bitcoin(), 3).await;
    rig.client.prepare_symbol(&bitcoin(), 3).await.unwrap();
    assert_eq!(difference().await, Ok(None));
    let in_bnb = json!({"fault": "fee-asset", "account": "trader", "asset": "BNB", "balance": "1"});
    rig.arm_fault(in_bnb).await;
    for _ in 0..2 {
        let line = difference().await.unwrap().unwrap();
        assert_eq!(
            line,
            "fees are paid in BNB now: risk was computed with USDT"
        );
    }
    rig.client.prepare_symbol(&bitcoin(), 3).await.unwrap();
    assert_eq!(difference().await, Ok(None));
    rig.shut_down().await;
}

#[tokio::test]
async fn cash_flows_are_those_of_the_balance_and_of_all_symbols() {
    let mut rig = TestExchange::at_constant_price().await;
    let (from, before) = (rig.now(), rig.balance().await);
    rig.buy().await;
    for (amount, income) in [("-500", "TRANSFER"), ("0.5", "COMMISSION_REBATE")] {
        rig.arm_fault(
            json!({"fault": "balance-change", "account": "trader", "amount": amount,
            "income": income}),
        )
        .await;
    }
    // Not in USDT.
    let in_bnb = json!({"fault": "fee-asset", "account": "trader", "asset": "BNB", "balance": "1"});
    rig.arm_fault(in_bnb).await;
    let until = UtcMs(rig.now().0 + 60_000);
    let flows = rig.client.cash_flows(from, until).await.unwrap();
    let kinds: Vec<CashFlowKind> = flows.iter().map(|flow| flow.kind).collect();
    assert_eq!(
        kinds,
        [
            CashFlowKind::Trading,
            CashFlowKind::Transfer,
            CashFlowKind::Other
        ]
    );
    assert_eq!(flows[0].symbol.as_deref(), Some("BTCUSDT"));
    assert_eq!(flows[1].symbol, None);
    let sum: Decimal = flows.iter().map(|flow| flow.amount).sum();
    assert_eq!(rig.balance().await - before, sum);
    let all: Vec<&str> = flows.iter().map(|flow| flow.id.as_str()).collect();
    let later = rig.client.cash_flows(UtcMs(rig.now().0 + 1), until).await;
    assert!(later.unwrap().is_empty(), "{all:?}");
    rig.shut_down().await;
}
