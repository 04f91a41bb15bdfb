"""Who judges idempotency keys in the simulator finds what is wrong with them, and nothing in what is right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sim.callers import Ask, Seen
from tests.sim.claims import Claims

ANSWER = b'{"choices": []}'
IN_PROGRESS = "idempotency_in_progress"
CHARGED = "idempotency_already_charged"
REUSED = "idempotency_key_reused"


class Scene:
    """A clock, and callers that ask under one key of one account unless they say otherwise."""

    def __init__(self) -> None:
        self.steps = 0
        self.claims = Claims(lambda: self.steps)

    def ask(self, *, inference: str | None = None, meaning: str = "m", process: str = "one", account: int = 0) -> Seen:
        """Begin a call; `inference` is what is minted for it."""
        self.steps += 10
        ask = Ask(0, account, b"", False, 0.0, None, False, key="k", meaning=meaning)
        seen = Seen(ask, process=process, asked_at=self.steps, over_at=10**9, inference=inference)
        if inference is not None:
            self.claims.mint(inference, seen)
        return seen

    def answer(self, seen: Seen, status: int = 200, body: bytes = ANSWER, **headers: str) -> Seen:
        """End a call with an answer."""
        self.steps += 10
        seen.status, seen.ended, seen.over_at = status, True, self.steps
        seen.body += body
        seen.headers = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return seen

    def refuse(self, seen: Seen, code: str, named: str = "first") -> Seen:
        """End a call with a refusal that names an inference."""
        return self.answer(seen, 409, json.dumps({"error": {"code": code}}).encode(), x_inference_id=named)

    def replay(self, seen: Seen, body: bytes = ANSWER, named: str = "first") -> Seen:
        """End a call with an answer that is said to be one of before."""
        return self.answer(seen, 200, body, x_inference_id=named, x_tallygate_replayed="true")

    def serve(self, **who: Any) -> Seen:
        """Have the first call served, charged and answered."""
        seen = self.ask(inference="first", **who)
        assert self.claims.hold("first") == "held"
        self.claims.end("first", charged=True)
        return self.answer(seen, x_inference_id="first")

    def judge(self, seen: Seen) -> list[str]:
        """Return what is wrong with what a caller was told."""
        return list(self.claims.judge(seen))


def test_one_call_is_held_under_a_key_until_it_ends_for_nothing() -> None:
    """While a call is under way, and after its charge, the books may hold for no other; after a void they may."""
    scene = Scene()
    for name, meaning in (("first", "m"), ("second", "m"), ("other", "n")):
        scene.ask(inference=name, meaning=meaning)
    scene.ask(inference="of somebody else", account=1)

    assert scene.claims.hold("nobody's") == "asked for by nobody"
    assert scene.claims.hold("first") == scene.claims.hold("of somebody else") == "held"
    assert [scene.claims.hold(name) for name in ("second", "other")] == [IN_PROGRESS, REUSED]
    scene.claims.end("first", charged=False)
    assert scene.claims.hold("second") == "held"
    scene.claims.end("second", charged=True)
    assert [scene.claims.hold(name) for name in ("first", "other")] == [CHARGED, REUSED]


def test_each_right_answer_is_right() -> None:
    """The first answer, the same again, its cost from another process, and a refusal of something else are in order."""
    scene = Scene()
    first = scene.serve()
    again = scene.replay(scene.ask())
    later = scene.refuse(scene.ask(process="two"), CHARGED)
    other = scene.refuse(scene.ask(meaning="n"), REUSED)

    assert [scene.judge(seen) for seen in (first, again, later, other)] == [[]] * 4


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (lambda s: s.replay(s.ask(), b"{}"), "got b'{}' again"),
        (lambda s: s.replay(s.ask(), ANSWER[:-1]), "again, the first answer was"),
        (lambda s: s.replay(s.ask(), named="another"), "which is another's"),
        (lambda s: s.replay(s.ask(process="two")), "told replayed by two, where idempotency_already_charged is right"),
        (lambda s: s.replay(s.ask(meaning="n")), "where idempotency_key_reused is right"),
        (lambda s: s.refuse(s.ask(), CHARGED), "told idempotency_already_charged by one, where replayed is right"),
        (lambda s: s.refuse(s.ask(), IN_PROGRESS), "told idempotency_in_progress by one, where replayed is right"),
        (lambda s: s.refuse(s.ask(), REUSED), "told idempotency_key_reused by one, where replayed is right"),
        (lambda s: s.refuse(s.ask(), "insufficient_balance"), "told first by one, where replayed is right"),
        (lambda s: s.answer(s.ask(inference="second")), "told first by one, where replayed is right"),
        (lambda s: s.answer(s.ask(process="two")), "told first by two, where idempotency_already_charged is right"),
    ],
)
def test_a_wrong_answer_to_a_repeat_is_found(told: Any, complaint: str) -> None:
    """Whatever else a repeat of a charged call is told is found, and said in words."""
    scene = Scene()
    scene.serve()
    found = scene.judge(told(scene))

    assert any(complaint in wrong for wrong in found), found


def test_what_is_told_must_have_happened_by_then() -> None:
    """To tell of a charge before it is there is wrong, though it comes; to tell that the call is under way is right."""
    scene = Scene()
    first = scene.ask(inference="first")
    scene.claims.hold("first")
    early, told = scene.refuse(scene.ask(), IN_PROGRESS), scene.refuse(scene.ask(), CHARGED)
    scene.steps += 10
    scene.claims.end("first", charged=True)
    scene.answer(first, x_inference_id="first")

    assert scene.judge(early) == []
    assert scene.judge(told) == [f"it was told {CHARGED} by one, where {IN_PROGRESS} is right"]


def test_a_call_that_is_not_charged_leaves_its_key_free() -> None:
    """After a void, and after a crash that charged nothing, the next one is the first; to refuse it is wrong."""
    scene = Scene()
    failed = scene.ask(inference="failed")
    scene.claims.hold("failed")
    scene.claims.end("failed", charged=False)
    scene.answer(failed, 502)

    assert scene.judge(scene.answer(scene.ask(inference="next"))) == []
    for code in (IN_PROGRESS, CHARGED):
        assert scene.judge(scene.refuse(scene.ask(), code, "failed")) == [
            f"it was told {code} by one, where first is right"
        ]
