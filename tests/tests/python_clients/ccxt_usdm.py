"""Trades with ccxt on the exchange at ADDRESS. ccxt must build complete unified markets, orders and positions from
every response, which needs fields that other clients do not read.

    ccxt_usdm.py ADDRESS KEY SECRET
"""

import asyncio
import json
import sys
import urllib.request

import ccxt
import ccxt.pro

SYMBOL = "BTC/USDT:USDT"


def done(step):
    print(f"ok: {step}", flush=True)


def rejected(step, kind, code, call):
    try:
        call()
    except ccxt.BaseError as error:
        if type(error) is not kind or f'"code":{code},' not in str(error):
            sys.exit(f"{step}: {type(error).__name__} {error}, expected {kind.__name__} {code}")
        return done(step)
    sys.exit(f"{step}: not rejected")


def exchange_of(library, address, key, secret):
    exchange = library.binanceusdm({"apiKey": key, "secret": secret})
    # ccxt would query currencies and other markets at other addresses.
    exchange.options["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = {"types": ["linear"]}
    exchange.options["adjustForTimeDifference"] = True
    exchange.options["recvWindow"] = 60_000
    urls = exchange.urls["api"]
    for name in list(urls):
        if name.startswith("fapi") and name != "fapiData":
            version = name[-2:].lower() if name[-2:] in ("V2", "V3") else "v1"
            urls[name] = f"http://{address}/fapi/{version}"
    # ccxt selects the type of an error by the address, which must be Binance's.
    exchange.get_exceptions_by_url = lambda _url, how: exchange.exceptions["linear"].get(how, {})
    if library is ccxt.pro:
        urls["ws"]["linear"] = f"ws://{address}/ws"
    return exchange


def market(exchange):
    contract = exchange.load_markets()[SYMBOL]
    assert contract["swap"] and contract["linear"] and contract["active"], contract
    assert (contract["precision"]["price"], contract["precision"]["amount"]) == (0.1, 0.001), contract["precision"]
    assert contract["limits"]["cost"]["min"] == 100, contract["limits"]
    done("markets")
    candles = exchange.fetch_ohlcv(SYMBOL, "1m", limit=5)
    assert len(candles) == 5 and all(high >= low for _, _, high, low, _, _ in candles), candles
    done("candles")
    ticker = exchange.fetch_ticker(SYMBOL)
    assert ticker["high"] >= ticker["last"] >= ticker["low"] > 0, ticker
    best = exchange.fetch_bids_asks([SYMBOL])[SYMBOL]
    assert 0 < best["bid"] < best["ask"], best
    assert exchange.fetch_mark_price(SYMBOL)["markPrice"] > 0
    rate = exchange.fetch_funding_rate(SYMBOL)
    assert rate["fundingRate"] == 0.0001 and rate["fundingTimestamp"] > rate["timestamp"], rate
    assert len(exchange.fetch_order_book(SYMBOL, 5)["asks"]) == 5
    done("prices")
    return best["bid"]


def orders(exchange, bid):
    bought = exchange.create_order(SYMBOL, "market", "buy", 0.05)
    found = exchange.fetch_order(bought["id"], SYMBOL)
    assert (found["status"], found["filled"], found["remaining"]) == ("closed", 0.05, 0), found
    assert found["average"] > 0 and abs(found["cost"] - found["average"] * 0.05) < 1e-6, found
    done("market order")
    limit = exchange.create_order(SYMBOL, "limit", "buy", 0.01, round(bid * 0.98, 1))
    assert (limit["status"], limit["timeInForce"]) == ("open", "GTC"), limit
    assert [one["id"] for one in exchange.fetch_open_orders(SYMBOL)] == [limit["id"]]
    assert exchange.cancel_order(limit["id"], SYMBOL)["status"] == "canceled"
    done("limit order, listed and cancelled")
    closing = {"closePosition": True}
    stop = exchange.create_order(
        SYMBOL, "STOP_MARKET", "sell", 0, None, {"stopLossPrice": round(bid * 0.97, 1), **closing}
    )
    target = exchange.create_order(
        SYMBOL, "TAKE_PROFIT_MARKET", "sell", 0, None, {"takeProfitPrice": round(bid * 1.03, 1), **closing}
    )
    conditional = {"trigger": True}
    resting = exchange.fetch_open_orders(SYMBOL, params=conditional)
    assert {one["id"] for one in resting} == {stop["id"], target["id"]}, resting
    assert all(one["triggerPrice"] > 0 and one["reduceOnly"] for one in resting), resting
    for one in (stop, target):
        exchange.cancel_order(one["id"], SYMBOL, conditional)
    assert exchange.fetch_open_orders(SYMBOL, params=conditional) == []
    done("stop and target, listed and cancelled")
    sold = exchange.create_order(SYMBOL, "market", "sell", 0.02, None, {"reduceOnly": True})
    assert sold["reduceOnly"] is True, sold
    done("reduce-only order")


def account(exchange):
    held = exchange.fetch_positions([SYMBOL])
    assert [(one["side"], one["contracts"]) for one in held] == [("long", 0.03)], held
    whole = ("entryPrice", "markPrice", "notional", "leverage", "initialMargin", "maintenanceMargin", "marginMode")
    missing = [name for name in whole if held[0][name] is None]
    assert not missing, (missing, held)
    done("positions")
    usdt = exchange.fetch_balance()["USDT"]
    assert 0 < usdt["free"] < usdt["total"], usdt
    done("balance")
    trades = exchange.fetch_my_trades(SYMBOL)
    assert [(one["side"], one["amount"]) for one in trades] == [("buy", 0.05), ("sell", 0.02)], trades
    incomes = exchange.fetch_ledger("USDT")
    fees = sum(one["amount"] for one in incomes if one["info"]["incomeType"] == "COMMISSION")
    assert abs(fees - sum(one["fee"]["cost"] for one in trades)) < 1e-7, (incomes, trades)
    done("trades and income agree")
    assert exchange.set_leverage(7, SYMBOL)["leverage"] == 7
    assert exchange.fetch_leverages([SYMBOL])[SYMBOL]["longLeverage"] == 7
    assert exchange.fetch_trading_fee(SYMBOL)["taker"] == 0.0005
    assert exchange.fetch_my_liquidations(SYMBOL) == []
    done("settings")


def fee_currency(exchange, address):
    """The account pays its next fee in BNB and, when that is used up, in USDT."""
    before = len(exchange.fetch_my_trades(SYMBOL))
    arm(address, {"fault": "fee-asset", "account": exchange.apiKey, "asset": "BNB", "balance": "0.0004"})
    for _ in range(2):
        exchange.create_order(SYMBOL, "market", "buy", 0.01)
    fees = [one["fee"] for one in exchange.fetch_my_trades(SYMBOL)[before:]]
    assert [one["currency"] for one in fees] == ["BNB", "USDT"], fees
    assert fees[0]["cost"] < 0.001 < fees[1]["cost"], fees
    assert exchange.fetch_balance()["BNB"]["total"] < 0.0004
    done("fees in BNB")


def arm(address, fault):
    body = json.dumps(fault).encode()
    request = urllib.request.Request(f"http://{address}/sim/fault", body, {"content-type": "application/json"})
    urllib.request.urlopen(request).close()


def status_changes(exchange, address):
    """A contract that settles is no longer active, and rejects orders that open a position."""
    try:
        arm(address, {"fault": "contract-status", "symbol": "BTCUSDT", "status": "SETTLING"})
        assert exchange.load_markets(True)[SYMBOL]["active"] is False
        buy = lambda: exchange.create_order(SYMBOL, "market", "buy", 0.01)
        rejected("settling", ccxt.BadRequest, -4140, buy)
    finally:
        arm(address, {"fault": "contract-status", "symbol": "BTCUSDT", "status": "TRADING"})
    assert exchange.load_markets(True)[SYMBOL]["active"] is True
    done("contract status")


def rejections(exchange, unknown_key, bid):
    def buy(amount, *more):
        return exchange.create_order(SYMBOL, "market", "buy", amount, *more)

    rejected("no money", ccxt.InsufficientFunds, -2019, lambda: buy(100))
    rejected("too small", ccxt.InvalidOrder, -4164, lambda: buy(0.001))
    rejected("nothing to reduce", ccxt.InvalidOrder, -2022, lambda: buy(0.01, None, {"reduceOnly": True}))
    high = {"stopLossPrice": round(bid * 1.02, 1), "closePosition": True}
    rejected(
        "would trigger at once",
        ccxt.OrderImmediatelyFillable,
        -2021,
        lambda: exchange.create_order(SYMBOL, "STOP_MARKET", "sell", 0, None, high),
    )
    rejected("no such order", ccxt.OrderNotFound, -2011, lambda: exchange.cancel_order("987654321", SYMBOL))
    rejected("unknown key", ccxt.AuthenticationError, -2015, unknown_key.fetch_balance)


async def streams(address, key, secret):
    exchange = exchange_of(ccxt.pro, address, key, secret)
    try:
        candles = await asyncio.wait_for(exchange.watch_ohlcv(SYMBOL, "1m"), 20)
        assert candles[-1][4] > 0, candles
        best = await asyncio.wait_for(exchange.watch_bids_asks([SYMBOL]), 20)
        assert best[SYMBOL]["bid"] < best[SYMBOL]["ask"], best
        price = await asyncio.wait_for(exchange.watch_mark_price(SYMBOL), 20)
        assert price["markPrice"] > 0, price
        done("streams of the market")
        orders_task = asyncio.create_task(exchange.watch_orders(SYMBOL))
        await asyncio.sleep(1)
        placed = await exchange.create_order(SYMBOL, "market", "buy", 0.01)
        updates = await asyncio.wait_for(orders_task, 20)
        assert placed["id"] in [one["id"] for one in updates], updates
        done("stream of the user")
    finally:
        await exchange.close()


def main():
    address, key, secret = sys.argv[1:]
    exchange = exchange_of(ccxt, address, key, secret)
    bid = market(exchange)
    orders(exchange, bid)
    account(exchange)
    fee_currency(exchange, address)
    status_changes(exchange, address)
    rejections(exchange, exchange_of(ccxt, address, "unknownkey", secret), bid)
    asyncio.run(streams(address, key, secret))
    print("all done", flush=True)


if __name__ == "__main__":
    main()
