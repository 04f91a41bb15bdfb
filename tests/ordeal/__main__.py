"""Undergoes ordeals of any length, one after the other, and prints what came of each.

python -m tests.ordeal --calls 10000 [--only refused] [--callers 16]
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.ordeal.ordeal import TRIALS, undergo


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="ordeal", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls in each ordeal")
    parser.add_argument("--callers", type=int, default=8, help="how many call at a time")
    parser.add_argument("--only", help="the name of one ordeal")
    options = parser.parse_args()
    failed = 0
    for trial in TRIALS:
        if options.only in (None, trial.name):
            outcome = asyncio.run(undergo(trial, options.calls, options.callers))
            seen = ", ".join(f"{count} {code}" for code, count in outcome.seen.most_common())
            rate = options.calls / outcome.seconds
            print(f"{trial.name:26} {seen}; asked {outcome.asked}; {outcome.tokens} tokens agree; {rate:.0f} calls/s")  # noqa: T201
            for problem in outcome.problems[:10]:
                print(f"    {problem}")  # noqa: T201
            failed += bool(outcome.problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
