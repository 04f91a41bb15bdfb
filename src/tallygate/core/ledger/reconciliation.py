"""The NGONKA book against what upstreams report, attempt by attempt: drift is shown, and nothing is ever corrected.

`Attempts` reads the books' entries in their order and gives each attempt when it has ended, with what was booked for
it. Whoever asks the upstreams brings a `Bill` for it, or the reason why there is none; `Reconciliation` adds both up
per upstream, node and day (UTC).

Invariants: what was booked is the sum of what could be compared and what could not, in every row; drift is reported
minus booked, over the attempts that could be compared, so it is above zero where the network billed more than the books
say; attempts that drift are counted one by one, so opposite drifts cannot hide each other.

What cannot be seen this way: an inference that an upstream billed to us and of which our books know no attempt.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.calendar import DAY_NS
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallygate.core.ledger.entry import Entry

WORST_MAX: Final = 20
"""How many of the attempts that drift most are listed."""


class Basis(Enum):
    """Where a booked amount comes from."""

    NOTHING = "nothing was booked"
    REPORTED = "tokens that the answer reported"
    COUNTED = "tokens that we counted"
    POSSIBLE = "the most that it may have cost"


class Unreported(Enum):
    """Why an attempt could not be compared."""

    NO_REFERENCE = "no reference: nothing came back, or the process died"
    NOT_FINISHED = "not finished yet"
    NOT_KNOWN = "the upstream knows no such attempt: refused, or forgotten"
    NOT_OFFERED = "the upstream does not report"
    NO_ANSWER = "the upstream gave no usable answer"
    NOT_CONFIGURED = "the upstream is not configured any more"


class Bill(NamedTuple):
    """What an upstream says that an attempt cost in the end."""

    ngonka: int
    prompt_tokens: int
    completion_tokens: int


class Attempt(NamedTuple):
    """One attempt that has ended, as it is in the books.

    Attributes:
        day: The day on which it was booked, in days since 1970 (UTC).
        reference: The upstream's own id of it.
    """

    inference: str
    part: int
    try_: int
    upstream: str
    node: str | None
    day: int
    booked_ngonka: int
    prompt_tokens: int
    completion_tokens: int
    basis: Basis
    reference: str | None


class Attempts:
    """Finds the attempts in the books' entries; keeps what is open, not the history."""

    def __init__(self) -> None:
        self._open: dict[str, dict[tuple[int, int], tuple[str, str | None]]] = {}
        self._counted: dict[str, dict[int, tuple[int, int]]] = {}  # tokens of parts that ended before the last

    @property
    def under_way(self) -> int:
        """How many attempts have begun and not ended."""
        return sum(len(sendings) for sendings in self._open.values())

    def take(self, entry: Entry) -> Sequence[Attempt]:
        """Take the next entry and return the attempts that it ended."""
        inference = entry.inference or ""
        if entry.kind == e.HOLD:
            self._open[inference] = {_key(entry): (entry.upstream or "", entry.node)}
        elif entry.kind == e.ATTEMPT:
            sendings = self._open.get(inference, {})
            if entry.completion_tokens is None:
                sendings[_key(entry)] = (entry.upstream or "", entry.node)
            else:
                sendings.pop(_key(entry), None)
                if entry.prompt_tokens or entry.completion_tokens:
                    counted = self._counted.setdefault(inference, {})
                    counted[entry.part or 0] = (entry.prompt_tokens or 0, entry.completion_tokens)
                return [_ended(entry)]
        elif entry.kind in e.ENDINGS:
            sendings = self._open.pop(inference, {})
            counted = self._counted.pop(inference, {})
            if entry.kind == e.EXPIRE:
                return list(_expired(entry, sendings))
            attempt = _ended(entry)
            if entry.kind == e.SETTLE:  # which tells the tokens of all parts, of which the others have been told
                for part, (prompt_tokens, completion_tokens) in counted.items():
                    if part != attempt.part:
                        attempt = attempt._replace(
                            prompt_tokens=attempt.prompt_tokens - prompt_tokens,
                            completion_tokens=attempt.completion_tokens - completion_tokens,
                        )
            return [attempt]
        return ()


def _ended(entry: Entry) -> Attempt:
    """Return the one attempt that an entry ends."""
    upstream = entry.upstream or ""
    booked = -e.amount_of(entry, e.NGONKA, e.payable_account(upstream))
    if entry.kind == e.SETTLE or e.amount_of(entry, e.NGONKA, e.COST_PAID):
        basis = Basis.COUNTED if entry.flags & Flag.ESTIMATED else Basis.REPORTED
    else:
        basis = Basis.POSSIBLE if booked else Basis.NOTHING
    return Attempt(
        inference=entry.inference or "",
        part=entry.part or 0,
        try_=entry.try_ or 0,
        upstream=upstream,
        node=entry.node,
        day=entry.time_ns // DAY_NS,
        booked_ngonka=booked,
        prompt_tokens=entry.prompt_tokens or 0,
        completion_tokens=entry.completion_tokens or 0,
        basis=basis,
        reference=entry.upstream_reference,
    )


def _expired(entry: Entry, sendings: dict[tuple[int, int], tuple[str, str | None]]) -> Iterator[Attempt]:
    """Return the attempts that an expiry ends: each upstream's bill is divided among its own, and none has an id."""
    left = Counter(upstream for upstream, _ in sendings.values())
    bills = {upstream: -e.amount_of(entry, e.NGONKA, e.payable_account(upstream)) for upstream in left}
    for (part, try_), (upstream, node) in sendings.items():
        share = bills[upstream] // left[upstream]
        bills[upstream] -= share
        left[upstream] -= 1
        yield Attempt(
            inference=entry.inference or "",
            part=part,
            try_=try_,
            upstream=upstream,
            node=node,
            day=entry.time_ns // DAY_NS,
            booked_ngonka=share,
            prompt_tokens=0,
            completion_tokens=0,
            basis=Basis.POSSIBLE if share else Basis.NOTHING,
            reference=None,
        )


def _key(entry: Entry) -> tuple[int, int]:
    return entry.part or 0, entry.try_ or 0


@dataclass(slots=True)
class Sum:
    """Attempts added up.

    Attributes:
        attempts, booked_ngonka: All of them.
        compared, compared_ngonka: Those with a bill, and what was booked for them.
        reported_ngonka: What their bills say.
        drifting: How many of them have a bill that is not what was booked.
        booked_tokens, reported_tokens: Prompt and completion tokens of those with a bill.
        unreported, unreported_ngonka: Those without a bill, by the reason, and what was booked for them.
    """

    attempts: int = 0
    booked_ngonka: int = 0
    compared: int = 0
    compared_ngonka: int = 0
    reported_ngonka: int = 0
    drifting: int = 0
    booked_tokens: tuple[int, int] = (0, 0)
    reported_tokens: tuple[int, int] = (0, 0)
    unreported: Counter[Unreported] = field(default_factory=Counter)
    unreported_ngonka: Counter[Unreported] = field(default_factory=Counter)

    @property
    def drift_ngonka(self) -> int:
        """What the network billed more than the books say (less, if below zero)."""
        return self.reported_ngonka - self.compared_ngonka

    def add(self, attempt: Attempt, answer: Bill | Unreported) -> None:
        """Take one attempt in."""
        self.attempts += 1
        self.booked_ngonka += attempt.booked_ngonka
        if isinstance(answer, Unreported):
            self.unreported[answer] += 1
            self.unreported_ngonka[answer] += attempt.booked_ngonka
            return
        self.compared += 1
        self.compared_ngonka += attempt.booked_ngonka
        self.reported_ngonka += answer.ngonka
        self.drifting += answer.ngonka != attempt.booked_ngonka
        self.booked_tokens = _plus(self.booked_tokens, attempt.prompt_tokens, attempt.completion_tokens)
        self.reported_tokens = _plus(self.reported_tokens, answer.prompt_tokens, answer.completion_tokens)


class Drift(NamedTuple):
    """One attempt whose bill is not what was booked."""

    attempt: Attempt
    bill: Bill

    @property
    def ngonka(self) -> int:
        """What the network billed more than the books say."""
        return self.bill.ngonka - self.attempt.booked_ngonka


class Reconciliation:
    """All attempts that were asked about.

    Attributes:
        rows: Sums by upstream, node and day.
        total: The sum of all.
        drift_ngonka: Drift by where the booked amounts come from.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str | None, int], Sum] = {}
        self.total = Sum()
        self.drift_ngonka: Counter[Basis] = Counter()
        self._worst: list[tuple[int, int, Drift]] = []

    @property
    def worst(self) -> Sequence[Drift]:
        """The attempts that drift most, the worst first."""
        return [drift for _, _, drift in sorted(self._worst, reverse=True)]

    def take(self, attempt: Attempt, answer: Bill | Unreported) -> None:
        """Take one attempt and what its upstream says of it."""
        row = self.rows.setdefault((attempt.upstream, attempt.node, attempt.day), Sum())
        row.add(attempt, answer)
        self.total.add(attempt, answer)
        if isinstance(answer, Bill) and answer.ngonka != attempt.booked_ngonka:
            drift = Drift(attempt, answer)
            self.drift_ngonka[attempt.basis] += drift.ngonka
            # The number makes every item different, so drifts themselves are never compared; earlier ones win.
            item = (abs(drift.ngonka), -self.total.drifting, drift)
            (heappush if len(self._worst) < WORST_MAX else heappushpop)(self._worst, item)


def _plus(tokens: tuple[int, int], prompt_tokens: int, completion_tokens: int) -> tuple[int, int]:
    return tokens[0] + prompt_tokens, tokens[1] + completion_tokens
