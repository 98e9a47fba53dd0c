//! Trading, tested with an independent client: Binance's SDK for Rust places, reads and cancels
//! orders, opens a position with a stop, and receives the events of its user stream.

use std::sync::Arc;

use binance_sdk::config::ConfigurationRestApi;
use binance_sdk::derivatives_trading_usds_futures::DerivativesTradingUsdsFuturesRestApi;
use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    AccountInformationV3Params, CancelAlgoOrderParams, CancelOrderParams, NewAlgoOrderAlgoTypeEnum,
    NewAlgoOrderClosePositionEnum, NewAlgoOrderParams, NewAlgoOrderSideEnum, NewAlgoOrderTypeEnum,
    NewOrderNewOrderRespTypeEnum, NewOrderParams, NewOrderSideEnum, NewOrderTimeInForceEnum,
    NewOrderTypeEnum, PositionInformationV3Params, QueryAlgoOrderParams, QueryOrderParams, RestApi,
};
use binance_sdk::derivatives_trading_usds_futures::websocket_streams::UserDataStreamEventsResponse as Event;
use binance_sdk::errors::ConnectorError;
use rust_decimal::{Decimal, dec};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::official_client::streams;
use crate::support::signed::{FLAT_MINUTES, KEY, SECRET, minute_file, start_trading};
use crate::support::{RunningExchange, TIMEOUT};

fn client(exchange: &RunningExchange) -> RestApi {
    let clock = Arc::clone(&exchange.exchange);
    let configuration = ConfigurationRestApi::builder()
        .base_path(format!("http://{}", exchange.address))
        .api_key(KEY)
        .api_secret(SECRET)
        .timestamp_provider(Arc::new(move || u64::try_from(clock.now_ms()).unwrap()))
        .timeout(5_000)
        .retries(0)
        .build()
        .unwrap();
    DerivativesTradingUsdsFuturesRestApi::from_config(configuration)
}

fn limit(price: Decimal, id: &str) -> NewOrderParams {
    let bitcoin = "BTCUSDT".to_owned();
    NewOrderParams::builder(bitcoin, NewOrderSideEnum::Buy, NewOrderTypeEnum::Limit)
        .time_in_force(NewOrderTimeInForceEnum::Gtc)
        .quantity(dec!(0.01))
        .price(price)
        .new_client_order_id(id.to_owned())
        .build()
        .unwrap()
}

fn market(quantity: Decimal) -> NewOrderParams {
    let bitcoin = "BTCUSDT".to_owned();
    NewOrderParams::builder(bitcoin, NewOrderSideEnum::Buy, NewOrderTypeEnum::Market)
        .quantity(quantity)
        .new_order_resp_type(NewOrderNewOrderRespTypeEnum::Result)
        .build()
        .unwrap()
}

#[tokio::test]
async fn official_client_places_reads_and_cancels_orders() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let client = client(&exchange);
    let placed = client
        .new_order(limit(dec!(39_000), "resting"))
        .await
        .unwrap();
    let counted = placed.rate_limits.clone().unwrap();
    assert_eq!(
        counted.len(),
        3,
        "a weight and two order counts: {counted:?}"
    );
    let placed = placed.data().await.unwrap();
    assert_eq!(placed.status.as_deref(), Some("NEW"));

    let query = QueryOrderParams::builder("BTCUSDT".to_owned())
        .orig_client_order_id("resting".to_owned())
        .build()
        .unwrap();
    let found = client
        .query_order(query)
        .await
        .unwrap()
        .data()
        .await
        .unwrap();
    assert_eq!(
        (found.order_id, found.price.as_deref()),
        (placed.order_id, Some("39000"))
    );

    let cancel = || {
        CancelOrderParams::builder("BTCUSDT".to_owned())
            .orig_client_order_id("resting".to_owned())
            .build()
            .unwrap()
    };
    let gone = client
        .cancel_order(cancel())
        .await
        .unwrap()
        .data()
        .await
        .unwrap();
    assert_eq!(gone.status.as_deref(), Some("CANCELED"));
    let refused = client.cancel_order(cancel()).await.err().unwrap();
    match refused.downcast_ref::<ConnectorError>() {
        Some(ConnectorError::BadRequestError { code, .. }) => assert_eq!(*code, Some(-2011)),
        other => panic!("{other:?}"),
    }
    exchange.stop().await;
}

#[tokio::test]
async fn official_client_holds_a_position_with_a_stop() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let client = client(&exchange);
    let bought = client.new_order(market(dec!(0.01))).await.unwrap();
    let bought = bought.data().await.unwrap();
    assert_eq!(bought.executed_qty.as_deref(), Some("0.01"));
    let everything = PositionInformationV3Params::builder().build().unwrap();
    let positions = client.position_information_v3(everything).await.unwrap();
    let positions = positions.data().await.unwrap();
    assert_eq!(positions[0].entry_price.as_deref(), Some("40000.1"));

    let stop = NewAlgoOrderParams::builder(
        NewAlgoOrderAlgoTypeEnum::Conditional,
        "BTCUSDT".to_owned(),
        NewAlgoOrderSideEnum::Sell,
        NewAlgoOrderTypeEnum::StopMarket,
    )
    .trigger_price(dec!(39_000))
    .close_position(NewAlgoOrderClosePositionEnum::True)
    .client_algo_id("stop".to_owned())
    .build()
    .unwrap();
    let stop = client
        .new_algo_order(stop)
        .await
        .unwrap()
        .data()
        .await
        .unwrap();
    assert_eq!(stop.close_position, Some(true));
    let query = QueryAlgoOrderParams::builder().client_algo_id("stop".to_owned());
    let found = client
        .query_algo_order(query.build().unwrap())
        .await
        .unwrap();
    assert_eq!(
        found.data().await.unwrap().algo_status.as_deref(),
        Some("NEW")
    );
    let cancel = CancelAlgoOrderParams::builder().client_algo_id("stop".to_owned());
    let gone = client
        .cancel_algo_order(cancel.build().unwrap())
        .await
        .unwrap();
    assert_eq!(gone.data().await.unwrap().algo_id, stop.algo_id);

    let params = AccountInformationV3Params::builder().build().unwrap();
    let account = client.account_information_v3(params).await.unwrap();
    let account = account.data().await.unwrap();
    assert_eq!(
        account.total_wallet_balance.as_deref(),
        Some("9999.79999950")
    );
    assert_eq!(account.positions.unwrap().len(), 1);
    exchange.stop().await;
}

#[tokio::test]
async fn official_client_receives_its_fills() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let client = client(&exchange);
    let key = client.start_user_data_stream().await.unwrap();
    let key = key.data().await.unwrap().listen_key.unwrap();
    let connection = streams(&exchange).connect().await.unwrap();
    let user = connection.user_data(key, None).await.unwrap();
    let (sender, mut receiver) = mpsc::channel(64);
    user.on_message(move |event| sender.try_send(event).unwrap());
    // The SDK hides the response to a subscription: orders are placed until an event arrives.
    let first = loop {
        client.new_order(market(dec!(0.01))).await.unwrap();
        let wait = std::time::Duration::from_millis(200);
        if let Ok(event) = timeout(wait, receiver.recv()).await {
            break event.unwrap();
        }
    };
    let Event::OrderTradeUpdate(update) = first else {
        panic!("{first:?}");
    };
    assert_eq!(update.o.unwrap().x_uppercase.as_deref(), Some("NEW"));
    let Event::AccountUpdate(update) = timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap()
    else {
        panic!("an account's update was expected");
    };
    assert_eq!(update.a.unwrap().m.as_deref(), Some("ORDER"));
    let Event::OrderTradeUpdate(update) = timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap()
    else {
        panic!("a fill was expected");
    };
    let fill = update.o.unwrap();
    assert_eq!(
        (fill.x.as_deref(), fill.l_uppercase.as_deref()),
        (Some("TRADE"), Some("40000.1"))
    );
    connection.disconnect().await.unwrap();
    exchange.stop().await;
}
