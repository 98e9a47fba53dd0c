"""Trades with python-binance on the exchange at ADDRESS.

    python_binance.py ADDRESS KEY SECRET
"""

import sys
import time

from binance.client import Client
from binance.exceptions import BinanceAPIException

SYMBOL = "BTCUSDT"


def done(step):
    print(f"ok: {step}", flush=True)


def rejected(step, status, code, call):
    try:
        call()
    except BinanceAPIException as error:
        if (error.status_code, error.code) != (status, code):
            sys.exit(f"{step}: {error.status_code} {error}, expected {status} {code}")
        return done(step)
    sys.exit(f"{step}: not rejected")


def client_of(address, key, secret):
    # The first ping would go to the spot exchange.
    client = Client(key, secret, ping=False)
    client.FUTURES_URL = f"http://{address}/fapi"
    client.REQUEST_RECVWINDOW = 60_000
    client.timestamp_offset = client.futures_time()["serverTime"] - int(time.time() * 1000)
    return client


def market(client):
    client.futures_ping()
    info = client.futures_exchange_info()
    symbol = next(one for one in info["symbols"] if one["symbol"] == SYMBOL)
    kinds = {one["filterType"] for one in symbol["filters"]}
    assert {"PRICE_FILTER", "LOT_SIZE", "MIN_NOTIONAL"} <= kinds, kinds
    done("exchange info")
    rows = client.futures_klines(symbol=SYMBOL, interval="30m", limit=5)
    assert len(rows) == 5 and rows[0][0] % 1_800_000 == 0, rows
    done("klines")
    ticker = client.futures_ticker(symbol=SYMBOL)
    assert float(ticker["highPrice"]) >= float(ticker["lastPrice"]) >= float(ticker["lowPrice"]), ticker
    done("ticker of a day")
    assert float(client.futures_symbol_ticker(symbol=SYMBOL)["price"]) > 0
    assert float(client.futures_mark_price(symbol=SYMBOL)["markPrice"]) > 0
    assert len(client.futures_order_book(symbol=SYMBOL, limit=5)["bids"]) == 5
    book = client.futures_orderbook_ticker(symbol=SYMBOL)
    assert float(book["bidPrice"]) < float(book["askPrice"]), book
    done("prices")
    return float(book["bidPrice"])


def orders(client, bid):
    bought = client.futures_create_order(
        symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.05, newOrderRespType="RESULT"
    )
    assert (bought["status"], bought["executedQty"]) == ("FILLED", "0.05"), bought
    done("market order")
    limit = client.futures_limit_buy_order(
        symbol=SYMBOL, quantity=0.01, price=round(bid * 0.98, 1), timeInForce="GTC"
    )
    open_orders = client.futures_get_open_orders(symbol=SYMBOL)
    assert [one["orderId"] for one in open_orders] == [limit["orderId"]], open_orders
    assert client.futures_get_order(symbol=SYMBOL, orderId=limit["orderId"])["status"] == "NEW"
    gone = client.futures_cancel_order(symbol=SYMBOL, orderId=limit["orderId"])
    assert gone["status"] == "CANCELED", gone
    done("limit order, listed and cancelled")
    # python-binance sends these to the algo service, and calls their trigger price stopPrice.
    stop = client.futures_create_order(
        symbol=SYMBOL, side="SELL", type="STOP_MARKET", stopPrice=round(bid * 0.97, 1), closePosition="true"
    )
    target = client.futures_create_order(
        symbol=SYMBOL, side="SELL", type="TAKE_PROFIT_MARKET", stopPrice=round(bid * 1.03, 1), closePosition="true"
    )
    resting = {one["algoId"] for one in client.futures_get_open_algo_orders(symbol=SYMBOL)}
    assert resting == {stop["algoId"], target["algoId"]}, resting
    gone = client.futures_cancel_algo_order(symbol=SYMBOL, algoId=stop["algoId"])
    assert gone["algoId"] == stop["algoId"], gone
    client.futures_cancel_all_algo_open_orders(symbol=SYMBOL)
    assert client.futures_get_algo_order(algoId=target["algoId"])["algoStatus"] == "CANCELED"
    done("stop and target, listed and cancelled")
    sold = client.futures_create_order(
        symbol=SYMBOL, side="SELL", type="MARKET", quantity=0.02, reduceOnly="true", newOrderRespType="RESULT"
    )
    assert sold["status"] == "FILLED" and sold["reduceOnly"] is True, sold
    done("reduce-only order")


def account(client):
    held = client.futures_position_information(symbol=SYMBOL)
    assert [one["positionAmt"] for one in held] == ["0.03"], held
    balance = next(one for one in client.futures_account_balance() if one["asset"] == "USDT")
    assert 0 < float(balance["availableBalance"]) < float(balance["balance"]), balance
    assert client.futures_account()["canTrade"] is True
    done("positions, balance, account")
    trades = client.futures_account_trades(symbol=SYMBOL)
    assert [one["qty"] for one in trades] == ["0.05", "0.02"], trades
    fees = client.futures_income_history(incomeType="COMMISSION")
    paid = sum(float(one["commission"]) for one in trades)
    assert abs(paid + sum(float(one["income"]) for one in fees)) < 1e-7, (trades, fees)
    done("trades and income agree")
    client.futures_change_leverage(symbol=SYMBOL, leverage=7)
    settings = client.futures_symbol_config(symbol=SYMBOL)
    assert settings[0]["leverage"] == 7, settings
    assert client.futures_get_position_mode()["dualSidePosition"] is False
    assert client.futures_leverage_bracket(symbol=SYMBOL)[0]["brackets"][0]["bracket"] == 1
    assert len(client.futures_stream_get_listen_key()) == 64
    done("settings")


def rejections(client, unknown_key):
    buy = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET"}
    rejected("no money", 400, -2019, lambda: client.futures_create_order(**buy, quantity=100))
    rejected("too small", 400, -4164, lambda: client.futures_create_order(**buy, quantity=0.001))
    rejected("too fine", 400, -1111, lambda: client.futures_create_order(**buy, quantity=0.0105))
    rejected("no such order", 400, -2011, lambda: client.futures_cancel_order(symbol=SYMBOL, orderId=987654321))
    rejected("no such symbol", 400, -1121, lambda: client.futures_klines(symbol="NOSUCH", interval="1m"))
    rejected("unknown key", 401, -2015, lambda: unknown_key.futures_account_balance())


def main():
    address, key, secret = sys.argv[1:]
    client = client_of(address, key, secret)
    bid = market(client)
    orders(client, bid)
    account(client)
    rejections(client, client_of(address, "unknownkey", secret))
    print("all done", flush=True)


if __name__ == "__main__":
    main()
