#!/usr/bin/env python3
"""The indicators by other means: pandas alone, vectorised, from their published definitions.

Wilder's averages begin with the mean of the first 14, exponential ones with the mean of their first
period. The series is a formula of whole numbers, so that the test in ../core/reference.rs has exactly the
same one. Writes indicators.csv beside this file:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pandas
    /tmp/venv/bin/python services/trader/core/tests/reference/indicators.py
"""

from pathlib import Path

import pandas as pd

BARS = 600
# The first bar that has every value, its neighbour, and a few later ones.
SHOWN = [199, 200, 211, 256, 300, 377, 430, 501, 599]


def wave(n: int, period: int, height: int) -> int:
    return abs(n % period - period // 2) * height


def price(n: int) -> int:
    """Hundredths: two waves and pseudo-random noise."""
    noise = (n * n * 7_919 + 31 * n) % 23_571
    return 4_000_000 + wave(n, 97, 1_500) + wave(n, 331, 700) + noise


def bars() -> pd.DataFrame:
    rows = []
    for n in range(BARS):
        start, end = price(n), price(n + 1)
        high = max(start, end) + n * 37 % 501
        low = min(start, end) - n * 53 % 487
        rows.append((high / 100, low / 100, end / 100))
    return pd.DataFrame(rows, columns=["high", "low", "close"])


def smoothed(values: pd.Series, first: int, period: int, alpha: float) -> pd.Series:
    """An exponential average whose first value is the mean of `period` values from `first` on."""
    seed = values.iloc[first : first + period].mean()
    tail = values.iloc[first + period - 1 :].copy()
    tail.iloc[0] = seed
    return tail.ewm(alpha=alpha, adjust=False).mean().reindex(values.index)


def main() -> None:
    data = bars()
    moved = data.close.diff()
    gain = smoothed(moved.clip(lower=0), 1, 14, 1 / 14)
    loss = smoothed(-moved.clip(upper=0), 1, 14, 1 / 14)
    last = data.close.shift()
    ranges = pd.concat([data.high - data.low, (data.high - last).abs(), (data.low - last).abs()], axis=1)
    found = pd.DataFrame({"rsi14": 100 - 100 / (1 + gain / loss)})
    for period in (21, 50, 200):
        found[f"ema{period}"] = smoothed(data.close, 0, period, 2 / (period + 1))
    found["atr14"] = smoothed(ranges.max(axis=1), 1, 14, 1 / 14)
    out = Path(__file__).with_name("indicators.csv")
    found.loc[SHOWN].to_csv(out, index_label="bar", float_format="%.15g")


if __name__ == "__main__":
    main()
