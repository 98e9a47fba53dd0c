"""Measures what it costs to send messages to Telegram with apprise: sends the same text COUNT times to URL.

    apprise_send.py URL TOKEN CHAT COUNT TEXT

First with the library in one process, then with one process per message, as a script or a cron job does.
Apprise has no journal: a message without a response is lost or sent twice. Only the cost is compared.
"""

import os
import statistics
import subprocess
import sys
import time

import apprise
from apprise.plugins.telegram import NotifyTelegram

# One process per message is slow, so fewer messages are sent.
PROCESSES = 30


def sender(url, token, chat):
    NotifyTelegram.notify_url = f"{url}/bot"
    # No rate limit, as for the measured notifier.
    NotifyTelegram.request_rate_per_sec = 0
    sends = apprise.Apprise()
    sends.add(f"tgram://{token}/{chat}/?image=No")
    return sends


def send(sends, text):
    if not sends.notify(body=text, body_format=apprise.NotifyFormat.TEXT):
        sys.exit("apprise: Telegram did not accept the message")


def print_stats(what, spans, cpu):
    spans = sorted(spans)
    p99 = spans[-(-len(spans) * 99 // 100) - 1]
    print(f"{what}: p50 {statistics.median(spans) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms of {len(spans)}; "
          f"processor {cpu / len(spans) * 1e6:.0f} µs each")


def main():
    url, token, chat, count, text = sys.argv[1:6]
    sends = sender(url, token, chat)
    if int(count) == 1:
        send(sends, text)
        return
    spans, used = [], time.process_time()
    for _ in range(int(count)):
        start = time.perf_counter()
        send(sends, text)
        spans.append(time.perf_counter() - start)
    print_stats(f"apprise {apprise.__version__}, one process", spans, time.process_time() - used)
    spans, used = [], os.times()
    for _ in range(PROCESSES):
        start = time.perf_counter()
        subprocess.run([sys.executable, __file__, url, token, chat, "1", text], check=True)
        spans.append(time.perf_counter() - start)
    now = os.times()
    cpu = now.children_user + now.children_system - used.children_user - used.children_system
    print_stats("apprise, one process per message", spans, cpu)


if __name__ == "__main__":
    main()
