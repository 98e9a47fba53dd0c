"""What a script's way to Telegram costs: apprise, the same text again and again, to the address that is given.

    apprise_send.py URL TOKEN CHAT COUNT TEXT

First by the library in one process, then one process for each message, as a script or a cron job does it.
Apprise keeps no journal, and a message whose answer is lost is lost or sent twice: only the cost is compared.
"""

import os
import statistics
import subprocess
import sys
import time

import apprise
from apprise.plugins.telegram import NotifyTelegram

# A process each takes long: fewer of them say as much.
PROCESSES = 30


def sender(url, token, chat):
    NotifyTelegram.notify_url = f"{url}/bot"
    # Nobody has to wait for anything here; neither does the notifier beside it.
    NotifyTelegram.request_rate_per_sec = 0
    sends = apprise.Apprise()
    sends.add(f"tgram://{token}/{chat}/?image=No")
    return sends


def send(sends, text):
    if not sends.notify(body=text, body_format=apprise.NotifyFormat.TEXT):
        sys.exit("apprise: Telegram did not take it")


def told(what, spans, cpu):
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
        began = time.perf_counter()
        send(sends, text)
        spans.append(time.perf_counter() - began)
    told(f"apprise {apprise.__version__}, one process", spans, time.process_time() - used)
    spans, used = [], os.times()
    for _ in range(PROCESSES):
        began = time.perf_counter()
        subprocess.run([sys.executable, __file__, url, token, chat, "1", text], check=True)
        spans.append(time.perf_counter() - began)
    now = os.times()
    cpu = now.children_user + now.children_system - used.children_user - used.children_system
    told("apprise, a process each", spans, cpu)


if __name__ == "__main__":
    main()
