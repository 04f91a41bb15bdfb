"""What limits cost a call: microseconds of one processor, for admission, headers and ending.

`python benchmarks/limits_cost.py` prints a line for each kind of caller. Beside it stands what the books take for the
same call (a hold and a settlement, in memory), with and without spend limits.
"""

from __future__ import annotations

import asyncio
import os
import time

from tallygate.core.access import ApiKey
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import Account, HoldRequest, Sending, SendingEnd
from tallygate.core.limits import UNLIMITED, Limits
from tallygate.core.pricing import Price, Sheet
from tallygate.core.usage import Usage
from tallygate.relay.limiter import EmbeddedLimiter

CALLS = 50_000
FIRST = Sending(0, 0, "upstream", None)
MUCH = 10**9


async def measure_calls(limits: Limits) -> float:
    """Return the microseconds that a call takes of a limiter."""
    limiter = EmbeddedLimiter(time.monotonic)
    key = ApiKey("key_1", "acct_1", "key", "…", 1, None, limits=limits)
    account = Account("acct_1", "Ann", 1, limits=limits)
    begun = time.process_time()
    for _ in range(CALLS):
        permit = await limiter.admit(key, account, 5000)
        permit.rates.headers()
        permit.end(300)
    return (time.process_time() - begun) / CALLS * 1e6


def measure_books(limits: Limits | None) -> float:
    """Return the microseconds that a hold and its settlement take of the books."""
    books = Books(bytes(16), 1, time.time_ns, os.urandom)
    books.publish(Sheet(1, 100_000, {"model": Price(353, 1411)}), "benchmark")
    books.open_account("acct_1", "Ann", "benchmark")
    books.deposit("acct_1", 10**17, None, "benchmark")
    own = None if limits is None else (limits, limits)
    begun = time.process_time()
    for number in range(CALLS):
        request = HoldRequest(f"chatcmpl-{number}", "acct_1", "key_1", "model", 900, 4096, FIRST, limits=own)
        hold, _ = books.hold(request)
        books.settle(hold, SendingEnd(FIRST, 0, 0, 1000), Usage(100, 200, Flag(0)))
    return (time.process_time() - begun) / CALLS * 1e6


def main() -> None:
    """Measure, best of five."""
    kinds = {
        "no limit": UNLIMITED,
        "requests": Limits(requests_per_minute=MUCH),
        "requests, tokens, concurrency": Limits(MUCH, MUCH, MUCH),
    }
    for name, limits in kinds.items():
        print(f"limiter, {name}: {min(asyncio.run(measure_calls(limits)) for _ in range(5)):.1f} µs")
    spend = Limits(spend_day_picousd=10**18, spend_month_picousd=10**18, spend_total_picousd=10**18)
    for name, limited in {"no spend limit": None, "three spend limits of key and account": spend}.items():
        print(f"books, {name}: {min(measure_books(limited) for _ in range(5)):.1f} µs")


if __name__ == "__main__":
    main()
