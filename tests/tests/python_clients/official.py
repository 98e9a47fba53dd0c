"""Trades with Binance's own Python connector on the exchange at ADDRESS. Every response must match the connector's
models without a warning and contain every field that they declare.

  official.py ADDRESS KEY SECRET
"""

import asyncio
import logging
import sys

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_common.errors import BadRequestError, UnauthorizedError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)

SYMBOL = "BTCUSDT"
# The longest window that Binance permits: the exchange's clock is up to a minute ahead of this machine's.
WINDOW = 60_000
# Fields that Binance omits where they do not apply, such as those of coin-margined contracts and trailing stops.
# Filters have fields of their own, too.
OPTIONAL_FIELDS = {
    "activate_price",
    "base_qty",
    "callback_rate",
    "cum_base",
    "good_till_date",
    "iceberg_quantity",
    "pair",
    "price_rate",
}

warnings = []


class WarningCollector(logging.Handler):
    """Collects the warnings that the connector logs if a response does not match its models."""

    def emit(self, record):
        warnings.append(record.getMessage())


def done(step):
    print(f"ok: {step}", flush=True)


def missing(model, inside=""):
    """Fields that a model's class declares and the response does not have."""
    if isinstance(model, list):
        return {field for one in model for field in missing(one, inside)}
    found = set()
    for name in getattr(type(model), "model_fields", {}):
        field, value = f"{inside}{name}", getattr(model, name)
        if value is None and field not in OPTIONAL_FIELDS and not field.startswith("symbols.filters."):
            found.add(field)
        if name != "additional_properties":
            found |= missing(value, f"{field}.")
    return found


def data_of(step, response):
    """Checks a response against the declared fields of its model and returns the model."""
    found = response.data()
    if warnings:
        sys.exit(f"{step}: {warnings[0]}")
    found = getattr(found, "actual_instance", found)
    lacking = missing(found)
    if lacking:
        sys.exit(f"{step}: missing {', '.join(sorted(lacking))}")
    done(step)
    return found


def rejected(step, kind, code, call):
    try:
        call()
    except kind as error:
        if error.status_code != code:
            sys.exit(f"{step}: {error!r}, wanted code {code}")
        done(step)
        return
    sys.exit(f"{step}: not rejected")


def market(rest):
    rest.test_connectivity()
    data_of("time", rest.check_server_time())
    info = data_of("exchange info", rest.exchange_information())
    listed = [one for one in info.symbols if one.symbol == SYMBOL]
    assert listed and listed[0].filters[0].filter_type == "PRICE_FILTER", listed
    rows = rest.kline_candlestick_data(symbol=SYMBOL, interval="1m", limit=5).data()
    assert len(rows) == 5 and len(rows[0]) == 12, rows
    done("klines")
    data_of("order book", rest.order_book(symbol=SYMBOL, limit=5))
    data_of("mark price", rest.mark_price(symbol=SYMBOL))
    data_of("price", rest.symbol_price_ticker_v2(symbol=SYMBOL))
    book = data_of("book ticker", rest.symbol_order_book_ticker(symbol=SYMBOL))
    return float(book.bid_price), float(book.ask_price)


def place(rest, side, type, quantity, **more):
    return rest.new_order(
        symbol=SYMBOL, side=side, type=type, quantity=quantity, recv_window=WINDOW, **more
    )


def algo(rest, side, type, trigger):
    return rest.new_algo_order(
        algo_type="CONDITIONAL",
        symbol=SYMBOL,
        side=side,
        type=type,
        trigger_price=trigger,
        close_position="true",
        recv_window=WINDOW,
    )


def orders(rest, bid):
    window = {"recv_window": WINDOW}
    low, lower = round(bid * 0.98, 1), round(bid * 0.97, 1)
    bought = data_of("market order", place(rest, "BUY", "MARKET", 0.05, new_order_resp_type="RESULT"))
    assert (bought.status, bought.executed_qty) == ("FILLED", "0.05"), bought
    limit = data_of("limit order", place(rest, "BUY", "LIMIT", 0.01, price=low, time_in_force="GTC"))
    open_ = data_of("open orders", rest.current_all_open_orders(symbol=SYMBOL, **window))
    assert [one.order_id for one in open_] == [limit.order_id], open_
    found = data_of("order", rest.query_order(symbol=SYMBOL, order_id=limit.order_id, **window))
    assert found.status == "NEW", found
    gone = data_of("cancel", rest.cancel_order(symbol=SYMBOL, order_id=limit.order_id, **window))
    assert gone.status == "CANCELED", gone
    stop = data_of("stop", algo(rest, "SELL", "STOP_MARKET", lower))
    target = data_of("target", algo(rest, "SELL", "TAKE_PROFIT_MARKET", round(bid * 1.05, 1)))
    resting = data_of(
        "open algo orders", rest.current_all_algo_open_orders(symbol=SYMBOL, **window)
    )
    assert {one.algo_id for one in resting} == {stop.algo_id, target.algo_id}, resting
    data_of("algo order", rest.query_algo_order(algo_id=stop.algo_id, **window))
    for one in (stop, target):
        data_of("cancel of an algo order", rest.cancel_algo_order(algo_id=one.algo_id, **window))
    data_of("all algo orders", rest.query_all_algo_orders(symbol=SYMBOL, **window))
    sold = data_of(
        "reduce-only order",
        place(rest, "SELL", "MARKET", 0.02, reduce_only="true", new_order_resp_type="RESULT"),
    )
    assert (sold.status, sold.reduce_only) == ("FILLED", True), sold
    data_of("all orders", rest.all_orders(symbol=SYMBOL, **window))


def account(rest):
    window = {"recv_window": WINDOW}
    held = data_of("positions", rest.position_information_v3(symbol=SYMBOL, **window))
    assert [one.position_amt for one in held] == ["0.03"], held
    data_of("positions, older", rest.position_information_v2(symbol=SYMBOL, **window))
    data_of("balance", rest.futures_account_balance_v3(**window))
    whole = data_of("account", rest.account_information_v3(**window))
    assert whole.positions[0].position_amt == "0.03", whole
    data_of("account, older", rest.account_information_v2(**window))
    trades = data_of("trades", rest.account_trade_list(symbol=SYMBOL, **window))
    assert [one.qty for one in trades] == ["0.05", "0.02"], trades
    incomes = data_of("income", rest.get_income_history(**window))
    assert {one.income_type for one in incomes} == {"COMMISSION", "REALIZED_PNL"}, incomes
    data_of("leverage", rest.change_initial_leverage(symbol=SYMBOL, leverage=10, **window))
    data_of("symbol settings", rest.symbol_configuration(symbol=SYMBOL, **window))
    data_of("account settings", rest.futures_account_configuration(**window))
    data_of("position mode", rest.get_current_position_mode(**window))
    data_of("commission", rest.user_commission_rate(symbol=SYMBOL, **window))
    data_of("brackets", rest.notional_and_leverage_brackets(symbol=SYMBOL, **window))
    forced = data_of("liquidations", rest.users_force_orders(symbol=SYMBOL, **window))
    assert forced == [], forced
    limits = data_of("order limits", rest.query_user_rate_limit(**window))
    assert len(limits) == 2, limits


def rejections(rest, unknown_key, bid):
    rejected("no money", BadRequestError, -2019, lambda: place(rest, "BUY", "MARKET", 100))
    rejected("no such symbol", BadRequestError, -1121, lambda: rest.mark_price(symbol="NOSUCH"))
    rejected("too small", BadRequestError, -4164, lambda: place(rest, "BUY", "MARKET", 0.001))
    rejected(
        "off the grid",
        BadRequestError,
        -4014,
        lambda: place(rest, "BUY", "LIMIT", 0.01, price=round(bid * 0.98) + 0.05, time_in_force="GTC"),
    )
    rejected(
        "nothing to reduce",
        BadRequestError,
        -2022,
        lambda: place(rest, "BUY", "MARKET", 0.01, reduce_only="true"),
    )
    rejected(
        "would trigger at once",
        BadRequestError,
        -2021,
        lambda: algo(rest, "SELL", "STOP_MARKET", round(bid * 1.02, 1)),
    )
    rejected(
        "no such order",
        BadRequestError,
        -2011,
        lambda: rest.cancel_order(symbol=SYMBOL, order_id=987654321, recv_window=WINDOW),
    )
    rejected(
        "unknown key",
        UnauthorizedError,
        -2015,
        lambda: unknown_key.futures_account_balance_v3(recv_window=WINDOW),
    )


async def receive(streams, name, subscribe, conditions, act=None):
    """Waits until each condition holds for an event of the stream."""
    received, complete = [], asyncio.Event()

    def on_message(event):
        received.append(getattr(event, "actual_instance", event))
        if all(any(condition(one) for one in received) for condition in conditions):
            complete.set()

    stream = await subscribe(streams)
    stream.on("message", on_message)
    if act:
        # The connector does not wait for the response to the subscription.
        await asyncio.sleep(0.5)
        await asyncio.to_thread(act)
    try:
        await asyncio.wait_for(complete.wait(), 20)
    except TimeoutError:
        sys.exit(f"stream {name}: received only {received}")
    if warnings:
        sys.exit(f"stream {name}: {warnings[0]}")
    await stream.unsubscribe()
    done(f"stream {name}")


async def streams(client, rest):
    key = data_of("listen key", rest.start_user_data_stream()).listen_key
    data_of("listen key, keep-alive", rest.keepalive_user_data_stream())
    streams = await client.websocket_streams.create_connection()
    kline = [lambda one: one.k.s == SYMBOL and one.k.i == "1m"]
    await receive(
        streams,
        "klines",
        lambda s: s.kline_candlestick_streams(symbol=SYMBOL, interval="1m"),
        kline,
    )
    ticker = [lambda one: one.s == SYMBOL and float(one.b) < float(one.a)]
    await receive(
        streams,
        "book ticker",
        lambda s: s.individual_symbol_book_ticker_streams(symbol=SYMBOL),
        ticker,
    )
    price = [lambda one: one.s == SYMBOL and float(one.p) > 0 and one.T > one.E]
    await receive(
        streams,
        "mark price",
        lambda s: s.mark_price_stream(symbol=SYMBOL, update_speed="1s"),
        price,
    )
    events = [
        lambda one: type(one).__name__ == "OrderTradeUpdate" and one.o.x == "TRADE",
        lambda one: type(one).__name__ == "AccountUpdate" and one.a.m == "ORDER",
        lambda one: type(one).__name__ == "AlgoUpdate" and one.o.X == "NEW",
    ]

    def trade():
        place(rest, "BUY", "MARKET", 0.01)
        algo(rest, "SELL", "STOP_MARKET", 30_000)

    await receive(streams, "of the user", lambda s: s.user_data(key), events, trade)
    await streams.close_connection(close_session=True)
    rest.close_user_data_stream()


def rest_of(address, key, secret):
    configuration = ConfigurationRestAPI(
        api_key=key, api_secret=secret, base_path=f"http://{address}", timeout=10_000, retries=0
    )
    streams = ConfigurationWebSocketStreams(stream_url=f"ws://{address}")
    return DerivativesTradingUsdsFutures(
        config_rest_api=configuration, config_ws_streams=streams
    )


def main():
    address, key, secret = sys.argv[1:]
    handler = WarningCollector(level=logging.WARNING)
    logging.getLogger().addHandler(handler)
    client = rest_of(address, key, secret)
    bid, ask = market(client.rest_api)
    assert bid < ask
    orders(client.rest_api, bid)
    account(client.rest_api)
    rejections(client.rest_api, rest_of(address, "unknownkey", secret).rest_api, bid)
    asyncio.run(streams(client, client.rest_api))
    print("all done", flush=True)


if __name__ == "__main__":
    main()
