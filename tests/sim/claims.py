"""What idempotency keys stand for, by `docs/contract.md` alone: which call the books may serve, what others are told.

It learns from the gateway only which inference it has minted for which caller, and from the books what became of each.
Beyond that it knows what anybody can see from outside: when a caller asked, which process it asked, and when that had
done with it. Where a call ended while somebody asked, both answers are right; everywhere else there is one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sim.callers import Seen

Key = tuple[int, str, str]
NOT_THE_ANSWERS = (b"x-request-id", b"x-tallygate-replayed", b"x-ratelimit-")
"""How the names of headers begin that are of the request, not of the answer."""


class Told(StrEnum):
    """What a caller with a key can be told: that it is the first, or of the first."""

    FIRST = "first"
    REPLAYED = "replayed"
    IN_PROGRESS = "idempotency_in_progress"
    CHARGED = "idempotency_already_charged"
    REUSED = "idempotency_key_reused"


CODES = frozenset({Told.IN_PROGRESS, Told.CHARGED, Told.REUSED})
NEVER_HELD = frozenset({"insufficient_balance", "balance_held", *CODES})


class Stand(NamedTuple):
    """What a key stands for: an inference, and what it was asked."""

    inference: str
    meaning: str
    charged: bool


class Claims:
    """The keys of one world.

    Args:
        steps: Tells how many steps the world has taken.
    """

    def __init__(self, steps: Callable[[], int]) -> None:
        self.callers: dict[str, Seen] = {}
        self._steps = steps
        self._stands: dict[Key, Stand] = {}
        self._minted: dict[Key, list[str]] = {}
        self._minted_at: dict[str, int] = {}
        self._held_at: dict[str, int] = {}
        self._charged_at: dict[str, int] = {}

    # --- what the books may do ---------------------------------------------------------------------------------

    def mint(self, inference: str, seen: Seen) -> None:
        """Take note for whom an inference was minted."""
        self.callers[inference] = seen
        self._minted_at[inference] = self._steps()
        if seen.ask.key is not None:
            self._minted.setdefault(seen.ask.claim, []).append(inference)

    def hold(self, inference: str) -> str:
        """Return what becomes of a call that takes money: held, or what stands against it."""
        seen = self.callers.get(inference)
        if seen is None:
            return "asked for by nobody"
        self._held_at[inference] = self._steps()
        if seen.ask.key is None:
            return "held"
        stand = self._stands.get(seen.ask.claim)
        if stand is None:
            self._stands[seen.ask.claim] = Stand(inference, seen.ask.meaning, charged=False)
            return "held"
        if stand.meaning != seen.ask.meaning:
            return Told.REUSED
        return Told.CHARGED if stand.charged else Told.IN_PROGRESS

    def end(self, inference: str, *, charged: bool) -> None:
        """Take note that a call has ended: what was charged stands for a day, everything else frees its key."""
        if charged:
            self._charged_at[inference] = self._steps()
        seen = self.callers.get(inference)
        if seen is None or seen.ask.key is None or self._stands[seen.ask.claim].inference != inference:
            return
        if charged:
            self._stands[seen.ask.claim] = self._stands[seen.ask.claim]._replace(charged=True)
        else:
            del self._stands[seen.ask.claim]

    # --- what callers may be told ------------------------------------------------------------------------------

    def judge(self, seen: Seen) -> Iterator[str]:
        """Return what is wrong with what a caller with a key was told."""
        told = _told(seen)
        if told is None:
            return
        expected = self._predict(seen)
        if told not in expected:
            yield f"it was told {told} by {seen.process}, where {', '.join(sorted(expected))} is right"
        elif told in (Told.REPLAYED, Told.CHARGED, Told.IN_PROGRESS):
            yield from self._judge_named(seen, told)

    def _predict(self, seen: Seen) -> set[Told]:
        """Return all that a caller may be told: one thing, unless the first call came or ended meanwhile."""
        may: set[Told] = set()
        for inference in self._minted.get(seen.ask.claim, ()):
            first = self.callers[inference]
            if first is seen or self._minted_at[inference] > seen.over_at or not self._may_hold(inference):
                continue
            here = first.process == seen.process
            live = here and first.over_at >= seen.asked_at
            charged = inference in self._charged_at and self._charged_at[inference] <= seen.over_at
            if not charged and not live:
                continue  # it has freed the key
            if first.ask.meaning != seen.ask.meaning:
                may.add(Told.REUSED)
                continue
            if live:
                may.add(Told.IN_PROGRESS)
            if charged:
                may |= _predict_ended(first, here=here)
        if not self._stood(seen):
            may.add(Told.FIRST)
        return may

    def _stood(self, seen: Seen) -> bool:
        """Return whether the key stood for a call already when a caller asked, and ever since."""
        return any(
            inference in self._charged_at
            and self._held_at[inference] <= seen.asked_at
            and self.callers[inference] is not seen
            for inference in self._minted.get(seen.ask.claim, ())
        )

    def _may_hold(self, inference: str) -> bool:
        """Return whether an inference has had a hold, or may have had one that a crash has lost."""
        return inference in self._held_at or self.callers[inference].error_code not in NEVER_HELD

    def _judge_named(self, seen: Seen, told: Told) -> Iterator[str]:
        """Compare with the call that a caller was told of: it is of the same key, and the answer is its."""
        first = self.callers.get(seen.named)
        if first is None or first.ask.key is None or first.ask.claim != seen.ask.claim:
            yield f"it was told {told} of {seen.named}, which is another's"
        elif first.ask.meaning != seen.ask.meaning:
            yield f"it was told {told} of {seen.named}, which was asked something else"
        elif told is Told.IN_PROGRESS:
            if first.process != seen.process or first.over_at < seen.asked_at:
                yield f"it was told that {seen.named} is under way, which had ended"
        elif seen.named not in self._charged_at:
            yield f"it was told {told} of {seen.named}, which was not charged"
        elif told is Told.REPLAYED:
            yield from _compare_answers(first, seen)


def _told(seen: Seen) -> Told | None:
    """Return what a caller was told; None if that says nothing of its key."""
    if seen.replayed:
        return Told.REPLAYED
    code = seen.error_code
    if code in CODES:
        return Told(code)
    turned_away = code == "store_unavailable" or (code == "network_unavailable" and seen.inference is None)
    return None if seen.left or seen.lost or turned_away else Told.FIRST


def _predict_ended(first: Seen, *, here: bool) -> set[Told]:
    """Return what is told of a charged call: its answer is there if that has gone out whole, in this process."""
    if not here or (first.ended and first.status != 200):
        return {Told.CHARGED}
    return {Told.REPLAYED} if first.ended else {Told.REPLAYED, Told.CHARGED}


def _compare_answers(first: Seen, again: Seen) -> Iterator[str]:
    """What is given again is what was given, byte for byte, as far as both callers have seen it."""
    heads = [(seen.status, _lasting(seen)) for seen in (first, again)]
    if first.status and heads[0] != heads[1]:
        yield f"it got {heads[1]} again, the first answer was {heads[0]}"
    bodies = [bytes(seen.body) for seen in (first, again)]
    shown = min(map(len, bodies))
    whole = [len(body) for seen, body in zip((first, again), bodies, strict=True) if seen.ended]
    if bodies[0][:shown] != bodies[1][:shown] or any(max(map(len, bodies)) > length for length in whole):
        yield f"it got {bodies[1]!r} again, the first answer was {bodies[0]!r}"


def _lasting(seen: Seen) -> dict[bytes, bytes]:
    return {name: value for name, value in seen.headers.items() if not name.startswith(NOT_THE_ANSWERS)}
