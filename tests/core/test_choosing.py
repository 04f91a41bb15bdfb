"""The power of two choices: who goes first among the places of one upstream."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.choosing import order_places
from tallygate.core.retry import INFINITY_S, LOST
from tallygate.core.standing import Standing


class Place:
    """A place with nothing but its name and how it stands."""

    def __init__(self, name: int, now_s: list[float]) -> None:
        self.name = name
        self.standing = Standing(lambda: now_s[0])


def make(count: int) -> tuple[list[Place], list[float]]:
    """Return places that stand alike, and their clock."""
    now_s = [1000.0]
    return [Place(name, now_s) for name in range(count)], now_s


def names(places: list[Place], turn: int, seed: int = 1) -> list[int]:
    """Return the order for a turn."""
    return [place.name for place in order_places(places, turn, random.Random(seed).randrange)]


def test_places_that_stand_alike_take_turns() -> None:
    """Among equals, each choice begins with the next place and goes round."""
    places, _ = make(3)

    assert [names(places, turn) for turn in range(4)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_one_place_is_not_drawn() -> None:
    """Where there is no choice, nothing is drawn."""
    places, _ = make(1)

    def draw(_: int) -> int:
        raise AssertionError

    assert list(order_places(places, 7, draw)) == places


def test_the_less_loaded_of_two_goes_first() -> None:
    """Of two places, the one with far fewer calls under way is first at every turn; a small difference is none."""
    places, _ = make(2)
    places[0].standing.begin()
    assert [names(places, turn)[0] for turn in range(4)] == [1, 1, 1, 1]
    for _ in range(9):
        places[0].standing.begin()
        places[1].standing.begin()

    assert [names(places, turn)[0] for turn in range(4)] == [0, 1, 0, 1]


def test_a_silent_place_loses_its_calls_within_a_second() -> None:
    """A place that takes streams and says nothing any more is chosen by none a second later."""
    places, now_s = make(5)
    places[2].standing.begin(streams=True)
    now_s[0] += 1
    draw = random.Random(1).randrange
    firsts = Counter(order_places(places, turn, draw)[0].name for turn in range(500))

    assert firsts[2] == 0
    assert min(firsts[name] for name in (0, 1, 3, 4)) > 50


def test_two_choices_even_out() -> None:
    """With calls that never end, no place of ten gets far more than its share, and those begun behind catch up."""
    places, _ = make(10)
    for _ in range(50):
        places[0].standing.begin()
    draw = random.Random(7).randrange
    for turn in range(1000):
        order_places(places, turn, draw)[0].standing.begin()
    counts = [place.standing.in_flight for place in places]

    assert max(counts) - min(counts) < 0.4 * max(counts)


def test_who_is_out_comes_last() -> None:
    """A place that is left out comes after all that are well, whoever's turn it is."""
    places, _ = make(4)
    places[1].standing.report(LOST)

    assert {names(places, turn)[-1] for turn in range(8)} == {1}


def test_who_is_to_be_probed_gets_its_turn_and_no_more() -> None:
    """A place whose time is over is first when its turn comes; else a call that fails goes there last of all."""
    places, now_s = make(4)
    places[1].standing.report(LOST)
    places[2].standing.report(LOST._replace(out_for_s=INFINITY_S))
    now_s[0] += 5
    assert [names(places, turn).index(1) for turn in range(4)] == [2, 0, 2, 2]
    places[1].standing.begin()

    assert names(places, 1).index(1) >= 2


@given(st.integers(1, 12), st.integers(0, 100), st.sets(st.integers(0, 11)), st.integers(0, 2**16))
def test_every_place_once(count: int, turn: int, out: set[int], seed: int) -> None:
    """Whatever the turn, the draw, and who is out, every place is there once, and those that are well come first."""
    places, _ = make(count)
    for name in out & set(range(count)):
        places[name].standing.report(LOST)
    found = names(places, turn, seed)

    assert sorted(found) == list(range(count))
    states = [name in out for name in found]
    assert states == sorted(states)
