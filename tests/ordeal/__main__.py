"""Undergoes ordeals of any length, one after the other, and prints what came of each.

python -m tests.ordeal --calls 10000 [--only refused] [--callers 16]
"""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

import structlog

from tests.ordeal.ordeal import undergo
from tests.ordeal.steady import run
from tests.ordeal.trials import TRIALS

if TYPE_CHECKING:
    from tests.ordeal.audit import Outcome


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="ordeal", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls in each ordeal")
    parser.add_argument("--callers", type=int, default=8, help="how many call at a time")
    names = [trial.name for trial in TRIALS]
    parser.add_argument("--only", choices=names, metavar="NAME", help=f"one ordeal of: {', '.join(names)}")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    failed = 0
    for trial in TRIALS:
        if options.only in (None, trial.name):
            outcome = run(undergo(trial, options.calls, options.callers))
            print(f"{trial.name:24} {describe(outcome)}", flush=True)  # noqa: T201
            for problem in outcome.problems[:10]:
                print(f"    {problem}", flush=True)  # noqa: T201
            failed += bool(outcome.problems)
    return 1 if failed else 0


def describe(outcome: Outcome) -> str:
    """Return an outcome on one line."""
    seen = ", ".join(f"{count} {code}" for code, count in outcome.seen.most_common())
    drift = ", ".join(f"{amount:+} {basis.name.lower()}" for basis, amount in outcome.drift.items()) or "none"
    return (
        f"{seen}; nodes asked {outcome.asked}; {outcome.served} tokens served = {outcome.charged} charged"
        f" + {outcome.cut} of {outcome.cuts} broken streams + {outcome.lost} of {outcome.losses} lost answers;"
        f" ngonka paid {outcome.paid}, perhaps {outcome.unpaid}, reported {outcome.reported}, drift {drift};"
        f" {sum(outcome.seen.values()) / outcome.seconds:.0f} calls/s"
    )


if __name__ == "__main__":
    sys.exit(main())
