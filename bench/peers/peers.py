#!/usr/bin/env python3
"""Compares the trader core with backtesting.py and vectorbt: the same year of candles and the same two strategies.

Equal: the candles; RSI14, EMA21/50/200 and ATR14 on complete 30m bars, evaluated from the 301st on; both
conditions and the reward:risk check; entry at the open of the next minute; stop and target checked against
every minute; fee and slippage. The number of bars on which a condition holds must be equal.

Timed: from candles in memory to trades, including aggregation to 30m bars, indicators, signals and simulation.
Reading the file, imports and the compilation of vectorbt's numba code (a run before) are not timed.

Different, in favour of the peers: they have no protections, circuit breakers, funding, lot sizes, minimums and
journal records. Sizes are based on the initial capital (vectorbt) or on whole coins of a larger account
(backtesting.py). They compute all indicators at once, before the first candle is traded. The trader core
processes candle after candle, as in live mode, and does all of this. Numbers of trades differ for these reasons.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
import warnings

import backtesting
import numpy as np
import pandas as pd
import vectorbt as vbt

warnings.filterwarnings("ignore")
CAPITAL, FEE, SLIPPAGE = 10_000, 0.0006, 0.0002
WARM_UP = 300


def smoothed(values: pd.Series, first: int, period: int, alpha: float) -> pd.Series:
    """An exponential average whose first value is the mean of `period` values from `first` on."""
    tail = values.iloc[first + period - 1 :].copy()
    tail.iloc[0] = values.iloc[first : first + period].mean()
    return tail.ewm(alpha=alpha, adjust=False).mean().reindex(values.index)


class Signals:
    """Signals per minute, at the close of the bar: side, and distances of stop and target as fractions of the price."""

    def __init__(self, minutes: pd.DataFrame) -> None:
        bars = minutes.resample("30min").agg({"Open": "first", "High": "max", "Low": "min", "Close": "last"})
        close, last = bars.Close, bars.Close.shift()
        moved = close.diff()
        gain = smoothed(moved.clip(lower=0), 1, 14, 1 / 14)
        loss = smoothed(-moved.clip(upper=0), 1, 14, 1 / 14)
        rsi = 100 - 100 / (1 + gain / loss)
        fast, middle, slow = (smoothed(close, 0, n, 2 / (n + 1)) for n in (21, 50, 200))
        ranges = np.maximum.reduce([bars.High - bars.Low, (bars.High - last).abs(), (bars.Low - last).abs()])
        atr = smoothed(pd.Series(ranges, bars.index), 1, 14, 1 / 14)
        evaluated = np.arange(len(bars)) >= WARM_UP
        bounce = (rsi <= 25) & evaluated
        rip = (rsi >= 61) & (fast < middle) & (middle <= slow) & evaluated
        self.count = int(bounce.sum() + rip.sum())
        stop = np.where(bounce, 1.0, 1.2) * atr / close
        target = np.where(bounce, 0.015, 0.012)
        acceptable = target >= stop
        at = np.flatnonzero((bounce | rip) & acceptable)
        self.long, self.short = (np.zeros(len(minutes), bool) for _ in range(2))
        self.stop, self.target, self.size = (np.full(len(minutes), np.nan) for _ in range(3))
        closing = at * 30 + 29
        self.long[closing] = bounce.to_numpy()[at]
        self.short[closing] = rip.to_numpy()[at]
        self.stop[closing] = stop.to_numpy()[at]
        self.target[closing] = target[at]
        self.size[closing] = np.minimum(1.0, 0.02 / self.stop[closing])


class Both(backtesting.Strategy):
    signals: Signals

    def init(self) -> None:
        self.any = self.signals.long | self.signals.short

    def next(self) -> None:
        n = len(self.data) - 1
        if not self.any[n] or self.position:
            return
        price = self.data.Close[-1]
        stop, target, size = (float(a[n]) for a in (self.signals.stop, self.signals.target, self.signals.size))
        size = min(size, 0.99)
        if self.signals.long[n]:
            self.buy(size=size, sl=price * (1 - stop), tp=price * (1 + target))
        else:
            self.sell(size=size, sl=price * (1 + stop), tp=price * (1 - target))


def by_backtesting(minutes: pd.DataFrame) -> tuple[int, int]:
    signals = Signals(minutes)
    strategy = type("Chosen", (Both,), {"signals": signals})
    run = backtesting.Backtest(
        minutes, strategy, cash=CAPITAL * 10_000, commission=FEE, spread=SLIPPAGE, finalize_trades=True
    )
    return signals.count, int(run.run()["# Trades"])


def by_vectorbt(minutes: pd.DataFrame) -> tuple[int, int]:
    signals = Signals(minutes)

    def later(values: np.ndarray, empty: object) -> np.ndarray:
        """Shifts signals by one minute: they apply at the open of the next candle."""
        return np.concatenate([[empty], values[:-1]])

    size = later(signals.size, np.nan) * CAPITAL / minutes.Open.to_numpy()
    portfolio = vbt.Portfolio.from_signals(
        close=minutes.Close,
        open=minutes.Open,
        high=minutes.High,
        low=minutes.Low,
        price=minutes.Open,
        entries=pd.Series(later(signals.long, False), minutes.index),
        short_entries=pd.Series(later(signals.short, False), minutes.index),
        size=size,
        sl_stop=later(signals.stop, np.nan),
        tp_stop=later(signals.target, np.nan),
        stop_entry_price="fillprice",
        upon_opposite_entry="ignore",
        fees=FEE,
        slippage=SLIPPAGE,
        init_cash=CAPITAL,
        freq="1min",
    )
    return signals.count, int(portfolio.trades.count())


def load(path: str) -> pd.DataFrame:
    rows = pd.read_csv(path)
    rows.index = pd.to_datetime(rows.pop("open_time"), unit="ms")
    return rows.astype(float).rename(columns=str.capitalize)


def run_core(program: str, candles: str) -> dict:
    result = subprocess.run([program, candles], check=True, capture_output=True)
    return json.loads(result.stdout)


def main() -> None:
    program, path, rounds = sys.argv[1:4]
    own = run_core(program, path)
    minutes = load(path)
    by_vectorbt(minutes)
    peers = {
        f"vectorbt {vbt.__version__}, 1m steps": by_vectorbt,
        f"backtesting.py {backtesting.__version__}, 1m steps": by_backtesting,
    }
    name = "trader core, candle by candle"
    seconds = {name: [], **{peer: [] for peer in peers}}
    found = {name: (own["signals"], own["trades"])}
    # Alternately, so that other load of the machine affects all of them equally.
    for _ in range(int(rounds)):
        seconds[name] += run_core(program, path)["seconds"]
        for peer, run in peers.items():
            start = time.perf_counter()
            found[peer] = run(minutes)
            seconds[peer].append(time.perf_counter() - start)
    print(f"{len(minutes):,} one-minute candles, one core each; Python {platform.python_version()}, numpy "
          f"{np.__version__}, pandas {pd.__version__}; {rounds} rounds, trader core {len(own['seconds'])} runs in each")
    print(f"{'seconds':>50}")
    print(f"{'':<35} {'median':>8} {'best':>7} {'candles/s':>12} {'slower':>9} {'signals':>8} {'trades':>7}")
    for label, runs in seconds.items():
        middle = statistics.median(runs)
        ratio = middle / statistics.median(seconds[name])
        signals, trades = found[label]
        print(f"{label:<35} {middle:>8.3f} {min(runs):>7.3f} {len(minutes) / middle:>12,.0f} "
              f"{ratio:>8,.1f}x {signals:>8} {trades:>7}")
    if len({signals for signals, _ in found.values()}) > 1:
        sys.exit("the conditions hold on different bars: not the same strategies")


if __name__ == "__main__":
    main()
