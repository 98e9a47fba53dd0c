//! Cells in which the operator trades the account manually while the trader holds a position, as in the exchange's app.

use std::time::Duration;

use bearish_tests::exchange_client::{ExchangeClient, text};
use bearish_tests::live::audit::{AuditedProfit, exchange_position};
use bearish_tests::live::scenario::{Expectation, LiveScenario};
use bearish_tests::live::step::{CONDITIONAL_ORDER, Initiator, ORDER, TraderEnd};
use bearish_tests::live::{DOWN, LiveSetup, PriceMove, SYMBOL, UP};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use rust_decimal::{Decimal, dec};
use serde_json::Value;

use super::{Cell, SPEED};

/// Minutes after the entry's bar at which the market ends the position: after what the operator does.
const EXIT_MINUTE: i64 = 10;
/// Time between two actions of the operator: the trader sees each of them.
const BETWEEN: Duration = Duration::from_secs(3);

/// How long the operator holds a position of the other side.
const HELD_FOR: Duration = Duration::from_secs(12);

/// What the operator does with a position of 0.25 BTC that has its stop and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    ClosesAtOnce,
    ClosesInTwoParts,
    ClosesInThreeParts,
    ClosesOnePart,
    Adds,
    Flips,
    /// As [`Self::Flips`], and keeps the position of the other side for a while.
    FlipsAndHolds,
    ReplacesStop,
    PlacesSecondStop,
    CancelsStop,
    CancelsTarget,
    PlacesRestingOrder,
    ChangesLeverage,
}

const ACTIONS: [Action; 13] = [
    Action::ClosesAtOnce,
    Action::ClosesInTwoParts,
    Action::ClosesInThreeParts,
    Action::ClosesOnePart,
    Action::Adds,
    Action::Flips,
    Action::FlipsAndHolds,
    Action::ReplacesStop,
    Action::PlacesSecondStop,
    Action::CancelsStop,
    Action::CancelsTarget,
    Action::PlacesRestingOrder,
    Action::ChangesLeverage,
];

#[derive(Debug, Clone, Copy)]
pub(super) struct ManualCell {
    action: Action,
    /// The trader is killed between or after the operator's actions.
    end: TraderEnd,
}

impl ManualCell {
    pub(super) fn name(self) -> String {
        format!("manual: {:?}, trader {:?}", self.action, self.end)
    }
}

pub(super) fn manual_cells() -> impl Iterator<Item = Cell> {
    let ends = [TraderEnd::Survives, TraderEnd::Killed];
    ACTIONS.into_iter().flat_map(move |action| {
        ends.into_iter()
            .map(move |end| Cell::Manual(ManualCell { action, end }))
    })
}

pub(super) async fn play(cell: ManualCell) -> Duration {
    let exit: PriceMove = match cell.action {
        // The bot's stop is cancelled, or must not be the only exit that is tried.
        Action::CancelsTarget => (EXIT_MINUTE, UP),
        _ => (EXIT_MINUTE, DOWN),
    };
    let moves = [exit];
    let setup = LiveSetup {
        // Enough for orders beside the trader's position.
        balance: dec!(30_000),
        ..LiveSetup::new(&moves, SPEED)
    };
    let mut run = LiveScenario::prepare_with(setup).await;
    run.start_trader();
    run.system.wait_until_protected().await;
    act(&mut run, cell).await;
    if cell.action == Action::ReplacesStop {
        assert_no_exit_before_stop(&run).await;
    }
    let is_flipped = matches!(cell.action, Action::Flips | Action::FlipsAndHolds);
    let expected = Expectation {
        may_halt: is_flipped,
        must_trade: true,
        profit: if is_flipped {
            AuditedProfit::None
        } else {
            AuditedProfit::Book
        },
        ..Initiator::Market.into()
    };
    run.finish(expected).await
}

/// Does what the operator does. A trader that ends does so after the first order, and is started at the end.
async fn act(run: &mut LiveScenario, cell: ManualCell) {
    let client = run.system.exchange_client();
    let orders: &[(&str, Decimal)] = match cell.action {
        Action::ClosesAtOnce => &[("SELL", dec!(0.25))],
        Action::ClosesInTwoParts => &[("SELL", dec!(0.1)), ("SELL", dec!(0.15))],
        Action::ClosesInThreeParts => &[
            ("SELL", dec!(0.1)),
            ("SELL", dec!(0.1)),
            ("SELL", dec!(0.05)),
        ],
        Action::ClosesOnePart => &[("SELL", dec!(0.1))],
        Action::Adds => &[("BUY", dec!(0.1)), ("BUY", dec!(0.05))],
        Action::Flips | Action::FlipsAndHolds => &[("SELL", dec!(0.4))],
        _ => &[],
    };
    for (index, (side, quantity)) in orders.iter().enumerate() {
        if index > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        run.system.place_manual_order(side, *quantity).await;
        if index == 0 {
            end_trader(run, cell).await;
        }
    }
    if orders.is_empty() {
        change(&client, cell.action).await;
        end_trader(run, cell).await;
    }
    if cell.end != TraderEnd::Survives {
        run.start_trader();
    }
    if cell.action == Action::FlipsAndHolds {
        run.system.wait_until_flat().await;
        // The operator's position is theirs: nothing closes or protects it.
        tokio::time::sleep(HELD_FOR).await;
        assert_eq!(exchange_position(&client).await, dec!(-0.15));
    }
    if matches!(cell.action, Action::Flips | Action::FlipsAndHolds) {
        // The operator's own position ends before the market's move.
        tokio::time::sleep(BETWEEN).await;
        let held = exchange_position(&client).await;
        if held.is_sign_negative() && !held.is_zero() {
            run.system.place_manual_order("BUY", held.abs()).await;
        }
    }
}

async fn end_trader(run: &mut LiveScenario, cell: ManualCell) {
    if cell.end != TraderEnd::Survives {
        run.begin_outage();
        run.end_trader(cell.end).await;
    }
}

/// What the operator changes beside orders of the market.
async fn change(client: &ExchangeClient, action: Action) {
    match action {
        Action::ReplacesStop => {
            let price = cancel_conditional(client, "STOP_MARKET").await - dec!(10);
            let stop = format!(
                "algoType=CONDITIONAL&symbol={SYMBOL}&side=SELL&type=STOP_MARKET&triggerPrice={price}\
                 &closePosition=true"
            );
            call(client, "POST", CONDITIONAL_ORDER, &stop).await;
        }
        Action::PlacesSecondStop => {
            let price = conditional(client, "STOP_MARKET").await.1 + dec!(10);
            let stop = format!(
                "algoType=CONDITIONAL&symbol={SYMBOL}&side=SELL&type=STOP_MARKET&triggerPrice={price}\
                 &quantity=0.25&reduceOnly=true"
            );
            call(client, "POST", CONDITIONAL_ORDER, &stop).await;
        }
        Action::CancelsStop => {
            cancel_conditional(client, "STOP_MARKET").await;
        }
        Action::CancelsTarget => {
            cancel_conditional(client, "TAKE_PROFIT_MARKET").await;
        }
        Action::PlacesRestingOrder => {
            // Small and far below the market: it never fills.
            let order = format!(
                "symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.003&price=38500"
            );
            call(client, "POST", ORDER, &order).await;
        }
        Action::ChangesLeverage => {
            let leverage = format!("symbol={SYMBOL}&leverage=3");
            call(client, "POST", "/fapi/v1/leverage", &leverage).await;
        }
        _ => {}
    }
}

async fn call(client: &ExchangeClient, method: &str, path: &str, query: &str) -> Value {
    let answer = client.call(method, path, query).await;
    answer.unwrap_or_else(|rejected| panic!("{method} {path}?{query}: {rejected:?}"))
}

/// Id and trigger price of the waiting order of this type.
async fn conditional(client: &ExchangeClient, order_type: &str) -> (String, Decimal) {
    let query = format!("symbol={SYMBOL}");
    let open = client.get("/fapi/v1/openAlgoOrders", &query).await;
    let mut rows = open.as_array().unwrap().iter();
    let row = rows.find(|row| text(row, "orderType") == order_type);
    let row = row.unwrap_or_else(|| panic!("no {order_type} waits: {open}"));
    let price = text(row, "triggerPrice").parse().unwrap();
    (text(row, "clientAlgoId").to_owned(), price)
}

/// Cancels the waiting order of this type; returns its trigger price.
async fn cancel_conditional(client: &ExchangeClient, order_type: &str) -> Decimal {
    let (id, price) = conditional(client, order_type).await;
    let query = format!("clientAlgoId={id}");
    call(client, "DELETE", CONDITIONAL_ORDER, &query).await;
    price
}

/// The operator's stop counts as protection: the trader does not close the position.
async fn assert_no_exit_before_stop(run: &LiveScenario) {
    let client = run.system.exchange_client();
    eventually("the position ends", DEFAULT_TIMEOUT, async || {
        exchange_position(&client).await.is_zero().then_some(())
    })
    .await;
    let query = format!("symbol={SYMBOL}");
    let orders = client.get("/fapi/v1/allAlgoOrders", &query).await;
    let mut rows = orders.as_array().unwrap().iter();
    let of_operator = rows.find(|row| !text(row, "clientAlgoId").starts_with("ba-"));
    let status = of_operator.map(|row| text(row, "algoStatus"));
    assert!(
        status == Some("FINISHED"),
        "the trader closed the position that the operator's stop protects"
    );
}
