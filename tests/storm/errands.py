"""Calls that are to be made once, however often they are asked for: with an `Idempotency-Key`, and what becomes of it.

An errand is such a call. Its requests all name it as their `user`, so all entries of its inferences have one tag:
whether it was served and charged once is read from the books alone, whoever was cut off and knows of nothing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.storm.calls import Plan, make_call
from tests.storm.witness import ENDINGS, UNDER_WAY, charge_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from tests.storm.calls import Told
    from tests.storm.witness import Books

CUT_OFF: Final = frozenset({"left early", "connection lost", "no answer"})
WHOLE: Final = frozenset({"streamed to the end", "whole answer", "error event"})
CHARGED: Final = "409 idempotency_already_charged"
REUSED: Final = "422 idempotency_key_reused"
STORE_OR_ROOM: Final = "503"
"""How what is told of neither key nor money begins: the gateway stops, or its store has failed."""

LATE_ERRANDS: Final = 8
"""So many errands are so new that several callers are about the same one at a time."""


class Heard(NamedTuple):
    """What one caller of an errand was told.

    Attributes:
        changed: Whether it had asked for something else than the errand's first caller.
        told: What it saw.
    """

    changed: bool
    told: Told


class Errand:
    """A call that is to be made once.

    Attributes:
        plans: What is asked, and by changed what else is asked under the same key.
        asked: Which of them has been.
        heard: What its callers were told.
        answered_in: The round in which it was last answered to the end.
    """

    def __init__(self, secret: str, name: str, plan: Plan) -> None:
        fields = json.loads(plan.body)
        self.secret = secret
        self.plans = {
            changed: plan._replace(
                body=json.dumps({**fields, "user": name, "max_tokens": fields["max_tokens"] + changed}).encode(),
                key=name.encode(),
            )
            for changed in (False, True)
        }
        self.asked: set[bool] = set()
        self.heard: list[Heard] = []
        self.answered_in: int | None = None


class Errands:
    """The errands of one world.

    Attributes:
        all: What has been asked for, oldest first.
        round: Which gateway runs: an answer is given again only by the one that has given it.
        counts: What was tried, and how it went.
    """

    def __init__(self, name: str) -> None:
        self.all: list[Errand] = []
        self.round = 0
        self.counts: Counter[str] = Counter()
        self._name = name.replace(" ", "")
        self._wrong: list[str] = []

    async def run(
        self, rng: random.Random, port: int, secrets: Sequence[str], on_frames: Callable[[int], None]
    ) -> Told:
        """Ask for an errand: a new one, one that others are about, or one of long ago, perhaps cut off by a kill.

        Raises:
            OSError: Nobody listens there.
        """
        chance = rng.random()
        if chance < 0.4 or not self.all:
            errand = Errand(rng.choice(secrets), f"{self._name}-{len(self.all)}", Plan.draw(rng))
            self.all.append(errand)
        else:
            errand = rng.choice(self.all[-LATE_ERRANDS:] if chance < 0.7 else self.all)
        changed = bool(errand.asked) and rng.random() < 0.15
        leave_after = Plan.draw(rng).leave_after
        return await self._ask(errand, port, changed=changed, leave_after=leave_after, on_frames=on_frames)

    async def ask_again(self, rng: random.Random, port: int, most: int) -> list[Told]:
        """Ask for so many errands once more, again, and for something else; return what is told.

        By then nothing is left of any answer: what was charged is told with its cost. What was not is served now.
        """
        told: list[Told] = []
        for errand in rng.sample(self.all, min(most, len(self.all))):
            told += [
                await self._ask(errand, port, changed=changed, leave_after=None, on_frames=lambda _: None)
                for changed in (False, False, True)
            ]
            self.counts["keys asked with after the last start"] += 1
            self.counts["keys told their charge after the last start"] += told[-3].ending == CHARGED
        return told

    async def _ask(
        self, errand: Errand, port: int, *, changed: bool, leave_after: int | None, on_frames: Callable[[int], None]
    ) -> Told:
        has_answer = errand.answered_in == self.round and not changed
        self.counts["keys"] += not errand.asked
        self.counts["repeats"] += bool(errand.asked)
        errand.asked.add(changed)
        plan = errand.plans[changed]._replace(leave_after=leave_after)
        told = await make_call(port, errand.secret, plan, on_frames)
        self.hear(errand, Heard(changed, told), has_answer=has_answer)
        return told

    def hear(self, errand: Errand, heard: Heard, *, has_answer: bool) -> None:
        """Take what a caller was told; `has_answer` is whether the first answer was there when it asked."""
        told = heard.told
        errand.heard.append(heard)
        self.counts["repeats that got the first answer again"] += told.replayed
        self.counts["repeats that were told the charge"] += told.ending == CHARGED
        self.counts["repeats while the first was under way"] += told.ending == UNDER_WAY
        self.counts["other requests refused under a known key"] += told.ending == REUSED
        if told.ending in WHOLE and told.picousd is not None and not heard.changed:
            errand.answered_in = self.round
        if has_answer and not (told.replayed or told.ending in CUT_OFF or told.ending.startswith(STORE_OR_ROOM)):
            self._wrong.append(f"{told.inference}: an answer that was there was not given again: {told.ending}")
        if told.ending == REUSED and errand.asked == {heard.changed}:
            self._wrong.append(f"a request was refused as another one under {errand.plans[False].key!r}, and was not")

    # --- the judgement -----------------------------------------------------------------------------------------

    def check(self, books: Books) -> Iterator[str]:
        """Return everything in which the books, or answers, are not those of calls that were made once."""
        yield from self._wrong
        self._wrong.clear()
        yield from check_tags(books)
        tags = {entry.inference: entry.tag for entry in books.entries if entry.kind == "hold"}
        owners: dict[bytes | None, Errand] = {}
        for errand in self.all:
            own = {tags[inference] for inference in _named(errand) if inference in tags}
            if len(own) > 1 or any(tag is None or owners.setdefault(tag, errand) is not errand for tag in own):
                yield f"{errand.plans[False].key!r} stands for the call of another key"
            yield from _check_named(errand, tags)
            yield from _check_answers(errand)


def check_tags(books: Books) -> Iterator[str]:
    """An errand has one call at a time, and none after the one that was charged."""
    stands: dict[bytes, str] = {}
    for entry in books.entries:
        if entry.tag is None:
            continue
        if entry.kind == "hold":
            if (before := stands.get(entry.tag)) is not None:
                yield f"{entry.inference} was held under the key of {before}, which is under way or charged"
            stands[entry.tag] = entry.inference or ""
        elif entry.kind in ENDINGS and entry.kind != "settle" and not charge_of(entry):
            stands.pop(entry.tag, None)


def _named(errand: Errand) -> set[str]:
    """Return the inferences that an errand's callers were told to be its own, and that were on the disk by then."""
    return {told.inference for _, told in errand.heard if told.inference is not None and told.ending != UNDER_WAY}


def _check_named(errand: Errand, tags: dict[str | None, bytes | None]) -> Iterator[str]:
    """A call with a key is told of what was held for it, and of what had the same meaning."""
    yield from (f"{name} was told to a caller with a key and never held" for name in _named(errand) if name not in tags)
    meanings: dict[str | None, bool] = {}
    for changed, told in errand.heard:
        if told.ending not in (UNDER_WAY, CHARGED) and not told.replayed:
            meanings[told.inference] = changed
    for changed, told in errand.heard:
        if told.inference is not None and meanings.get(told.inference, changed) is not changed:
            yield f"{told.inference} was told to a caller who had asked for something else: {told.ending}"


def _check_answers(errand: Errand) -> Iterator[str]:
    """Whatever was seen of the answer of one inference is the same, and whole answers are as long as each other."""
    answers: defaultdict[str | None, list[Told]] = defaultdict(list)
    for _, told in errand.heard:
        if told.answer:
            answers[told.inference].append(told)
    for inference, seen in answers.items():
        longest = max((told.answer for told in seen), key=len)
        for told in seen:
            if not longest.startswith(told.answer) or (told.ending in WHOLE and told.answer != longest):
                yield f"{inference} was answered with {told.answer!r} and with {longest!r}"
