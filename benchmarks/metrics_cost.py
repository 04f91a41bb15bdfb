"""What counting costs one call: the entries of its hold and its charge, its ending, its answer.

python benchmarks/metrics_cost.py [--calls N]
"""

from __future__ import annotations

import argparse
import os
import time

from tallygate.core.ledger.books import Books
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import HoldRequest, Sending, SendingEnd
from tallygate.core.pricing import Price, Sheet
from tallygate.core.usage import Usage
from tallygate.metrics import Metrics
from tallygate.ports.meter import CallEnd

MODEL = "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"
CHAT = "/v1/chat/completions"


def main() -> None:
    """Count so many calls, and print the time of one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=200_000)
    calls = parser.parse_args().calls
    books = Books(bytes(16), 1, time.time_ns, os.urandom)
    books.publish(Sheet(1, 100_000, {MODEL: Price(353, 1411)}), "benchmark")
    account, _ = books.open_account("a", "a", "benchmark")
    books.deposit("a", 10**12, None, "benchmark")
    sending = Sending(0, 0, "signed", "gonka1")
    hold, held = books.hold(HoldRequest("chatcmpl-1", account.id, "key_1", MODEL, 100, 100, sending))
    _, settled = books.settle(hold, SendingEnd(sending, 90, 50, 140), Usage(90, 50, Flag(0)))
    metrics = Metrics()
    end = CallEnd(MODEL, "completed", "settled", 0.001, 0.2, 0.4)
    begun = time.process_time_ns()
    for _ in range(calls):
        metrics.batch_taken([held])
        metrics.batch_durable(0.001)
        metrics.batch_taken([settled])
        metrics.batch_durable(0.001)
        metrics.call_ended(end)
        metrics.request_answered(CHAT, MODEL, 200, None)
    counted = time.process_time_ns()
    metrics.render()
    print(f"counting: {(counted - begun) / calls / 1000:.1f} us per call, each with two commits of its own")
    print(f"rendering: {(time.process_time_ns() - counted) / 1000:.0f} us")


if __name__ == "__main__":
    main()
