"""The storm's judgement of idempotency keys finds what it is there to find, and nothing in what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.pricing import Price, Sheet
from tests.core.ledger.world import MODEL, World, end
from tests.storm.acts import Act, Way, check_acts
from tests.storm.calls import Plan, Told
from tests.storm.errands import CHARGED, REUSED, Errand, Errands, Heard
from tests.storm.witness import UNDER_WAY, Books, Witness, price

if TYPE_CHECKING:
    from collections.abc import Callable

ONE, OTHER = b"1" * 16, b"2" * 16
CHARGE = price(20, 5)
HELD = price(1000, 100)
FIRST = Told("whole answer", "chatcmpl-1", CHARGE, answer=b"a whole answer")
AGAIN = FIRST._replace(replayed=True)


def make_world() -> World:
    """Return books of one account."""
    world = World(Sheet(1, 100_000, {MODEL: Price(353, 1411)}))
    world.open("a")
    world.deposit("a", 10 * HELD)
    return world


def read(world: World) -> Books:
    """Return what a storm reads of books."""
    return Books([written.raw for written in world.entries], [written.entry for written in world.entries])


def make_books() -> Books:
    """Return books of a call that failed and was made again under the same key, and of one under another."""
    world = make_world()
    failed = world.hold("chatcmpl-0", tag=ONE)
    world.keep(world.books.void(failed, end(), "failed"))
    for inference, tag in (("chatcmpl-1", ONE), ("chatcmpl-2", OTHER)):
        world.settle(world.hold(inference, tag=tag), 20, 5)
    return read(world)


def judge(*heard: Heard, has_answer: bool = False) -> list[str]:
    """Return what is wrong when the callers of one errand are told this, in order."""
    errands, errand = Errands("test"), Errand("secret", "errand", Plan.usual())
    errands.all.append(errand)
    for each in heard:
        errand.asked.add(each.changed)
        errands.hear(errand, each, has_answer=has_answer and each is heard[-1])
    return list(errands.check(make_books()))


@pytest.mark.parametrize(
    "heard",
    [
        [Heard(False, FIRST), Heard(False, AGAIN), Heard(True, Told(REUSED))],
        [
            Heard(False, Told("connection lost", "chatcmpl-1", answer=b"a who")),
            Heard(False, Told(CHARGED, "chatcmpl-1")),
        ],
        [Heard(False, Told(UNDER_WAY, "chatcmpl-not-on-the-disk")), Heard(False, FIRST)],
        [Heard(False, Told("502 upstream_error", "chatcmpl-0")), Heard(True, FIRST)],
        [Heard(False, AGAIN._replace(ending="left early", answer=b"a w")), Heard(False, FIRST)],
    ],
)
def test_what_is_right_pleases_the_storm(heard: list[Heard]) -> None:
    """An answer, the same again, its cost, a call under way, and something else after a failure are in order."""
    assert judge(*heard) == []


@pytest.mark.parametrize(
    ("heard", "complaint"),
    [
        ([Heard(False, FIRST), Heard(False, AGAIN._replace(answer=b"another answer"))], "was answered with"),
        ([Heard(False, FIRST), Heard(False, AGAIN._replace(answer=b"a whole"))], "was answered with"),
        ([Heard(False, FIRST), Heard(False, AGAIN._replace(inference="chatcmpl-2"))], "stands for the call of another"),
        ([Heard(False, FIRST), Heard(True, AGAIN)], "who had asked for something else"),
        ([Heard(False, FIRST), Heard(True, Told(CHARGED, "chatcmpl-1"))], "who had asked for something else"),
        ([Heard(False, FIRST), Heard(False, Told(REUSED))], "refused as another one"),
        ([Heard(False, FIRST._replace(inference="chatcmpl-9"))], "told to a caller with a key and never held"),
    ],
)
def test_what_a_caller_should_not_be_told_is_found(heard: list[Heard], complaint: str) -> None:
    """Another answer, another call's, one to something else, and a refusal of the same are told in words."""
    found = judge(*heard)

    assert any(complaint in violation for violation in found), found


@pytest.mark.parametrize("told", [Told(CHARGED, "chatcmpl-1"), Told("402 insufficient_balance"), FIRST])
def test_an_answer_that_is_there_has_to_be_given_again(told: Told) -> None:
    """As long as the gateway lives that has given an answer, nothing else is told of it."""
    found = judge(Heard(False, FIRST), Heard(False, told), has_answer=True)

    assert [violation.partition(": ")[2] for violation in found] == [
        f"an answer that was there was not given again: {told.ending}"
    ]
    for other in (AGAIN, Told("connection lost"), Told("503 network_unavailable")):
        assert judge(Heard(False, FIRST), Heard(False, other), has_answer=True) == []


def test_a_charge_is_told_with_its_amount() -> None:
    """Who is told what the first call has cost is told what the books say, and all are told the same."""
    for told in (Told(CHARGED, "chatcmpl-1", CHARGE + 1), AGAIN._replace(picousd=CHARGE - 1)):
        witness = Witness(charge_prompt=False)
        witness.hear(told)
        assert any("the books say" in violation for violation in witness.check(make_books()))
        witness = Witness(charge_prompt=False)
        for heard in (FIRST, told, FIRST):
            witness.hear(heard)
        assert any("the books say" in violation for violation in witness.check(make_books()))


def end_nothing(_: World) -> None:
    """Leave the first call under way."""


def settle(world: World) -> None:
    """Charge for the first call."""
    world.settle(world.books.holds["chatcmpl-1"], 20, 5)


@pytest.mark.parametrize("ending", [end_nothing, settle])
def test_a_second_call_under_one_key_is_found(ending: Callable[[World], None]) -> None:
    """A hold under a key whose call is under way or charged is found in the books, whoever was told of it or not."""
    world = make_world()
    world.hold("chatcmpl-1", tag=ONE)
    ending(world)
    world.hold("chatcmpl-2", tag=ONE)
    errands = Errands("test")

    assert list(errands.check(read(world))) == [
        "chatcmpl-2 was held under the key of chatcmpl-1, which is under way or charged"
    ]


@pytest.mark.parametrize("way", Way)
def test_an_act_that_is_missing_or_booked_twice_is_found(way: Way) -> None:
    """A deposit or a correction that was acknowledged is in the books, once, whatever it is known by."""
    act = Act(way, "a", "wire 7", 7_000)
    world = make_world()
    assert ["was acknowledged" in wrong for wrong in check_acts({act}, read(world))] == [True]
    for number in range(2):
        if way is Way.REFERENCE:
            world.deposit("a", act.picousd, act.name)
        elif way is Way.DEPOSIT_KEY:
            world.deposit("a", act.picousd)
        else:
            world.keep(world.books.correct("a", act.picousd, act.name, "operator")[1])
        if way is Way.REFERENCE and number:
            world.entries.append(world.entries[-1])  # our books would not
        found = list(check_acts({act}, read(world)))
        assert ["is booked 2 times" in wrong for wrong in found] == [True] * number
