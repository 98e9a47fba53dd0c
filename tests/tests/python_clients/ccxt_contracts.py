"""Loads hundreds of contracts with ccxt from the exchange at ADDRESS. ccxt must find the steps, limits and status of each
contract that the exchange publishes.

    ccxt_contracts.py ADDRESS KEY SECRET
"""

import json
import sys
import urllib.request

import ccxt
from ccxt_usdm import done, exchange_of


def value_of(contract, kind, field):
    return float(next(one for one in contract["filters"] if one["filterType"] == kind)[field])


def check(exchange, contract):
    market = exchange.markets_by_id[contract["symbol"]][0]
    expected = {
        "price": value_of(contract, "PRICE_FILTER", "tickSize"),
        "amount": value_of(contract, "LOT_SIZE", "stepSize"),
        "cost": value_of(contract, "MIN_NOTIONAL", "notional"),
        "active": contract["status"] == "TRADING",
        "quote": contract["quoteAsset"],
        "perpetual": contract["contractType"] == "PERPETUAL",
    }
    found = {
        "price": market["precision"]["price"],
        "amount": market["precision"]["amount"],
        "cost": market["limits"]["cost"]["min"],
        "active": market["active"],
        "quote": market["quote"],
        "perpetual": market["swap"],
    }
    assert found == expected, (contract["symbol"], found, expected)
    return market


def main():
    address, key, secret = sys.argv[1:]
    with urllib.request.urlopen(f"http://{address}/fapi/v1/exchangeInfo") as answer:
        contracts = json.load(answer)["symbols"]
    assert len(contracts) == 500, len(contracts)
    exchange = exchange_of(ccxt, address, key, secret)
    exchange.load_markets()
    markets = [check(exchange, contract) for contract in contracts]
    assert len({market["symbol"] for market in markets}) == 500
    done("steps, limits and status of 500 contracts")
    tickers = exchange.fetch_tickers()
    assert len(tickers) == 500, len(tickers)
    for market in markets:
        last = tickers[market["symbol"]]["last"]
        written = exchange.price_to_precision(market["symbol"], last)
        assert abs(float(written) - last) < market["precision"]["price"] / 2, (market["symbol"], written, last)
    done("prices on the grid of each contract")
    print("all done", flush=True)


if __name__ == "__main__":
    main()
