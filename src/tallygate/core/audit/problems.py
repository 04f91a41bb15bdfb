"""The promises that the audit checks, and what it found against them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

P1: Final = "P1"
P2: Final = "P2"
P3: Final = "P3"
P4: Final = "P4"
P5: Final = "P5"
P6: Final = "P6"
P7: Final = "P7"

PROMISES: Final = {
    P1: "Nothing unpaid",
    P2: "Conservation",
    P3: "Crash-exact",
    P4: "Exactly once",
    P5: "Tamper-evident",
    P6: "Exact",
    P7: "Reconcilable",
}

PROBLEMS_MAX: Final = 100
"""How many problems are listed; the count goes on."""

Tell = Callable[[str, str], None]
"""Is told which promise is broken, and by what."""


class Problems:
    """What was found, in words, in the order in which it was found.

    Attributes:
        by_promise: How many problems break each promise.
        listed: The first of them.
    """

    def __init__(self) -> None:
        self.by_promise: Counter[str] = Counter()
        self.listed: list[str] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return self.by_promise.total()

    def add(self, promise: str, problem: str) -> None:
        """Count a problem, and list it unless the list is long enough."""
        self.by_promise[promise] += 1
        if len(self.listed) < PROBLEMS_MAX:
            self.listed.append(problem)
