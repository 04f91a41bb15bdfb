"""The choice of places: priority, weight, health, names of models."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.pricing import UpstreamRate, UpstreamRates
from tallygate.core.retry import INFINITY_S, LOST
from tallygate.core.retrybudget import RetryBudget
from tallygate.core.standing import Standing
from tallygate.network.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.ports import Target, Upstream


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Place:
    """A place of a fake upstream."""

    def __init__(self, name: str, now_s: Clock) -> None:
        self.name = name
        self.standing = Standing(now_s)

    @property
    def is_out(self) -> bool:
        """As it stands."""
        return self.standing.is_out

    @property
    def is_out_for_good(self) -> bool:
        """As it stands."""
        return self.standing.is_out_for_good

    is_quiet = False


class FakeUpstream:
    """An upstream that is nothing but its settings and places."""

    def __init__(
        self,
        name: str,
        models: Mapping[str, str] | None = None,
        *,
        priority: int = 0,
        weight: int = 1,
        places: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.models, self.priority, self.weight = name, models, priority, weight
        self.routes: dict[str, tuple[int, int]] = {}
        self.rates = UpstreamRates(UpstreamRate(len(name), 2, 3))
        self.places = [Place(f"{name}{index}", clock or Clock()) for index in range(places)]
        self.closed = 0

    def targets(self) -> Sequence[Target]:
        """Return its places."""
        return cast("Sequence[Target]", self.places)

    async def close(self) -> None:
        """Count."""
        self.closed += 1


def pool(*upstreams: FakeUpstream, seed: int = 1) -> UpstreamPool:
    """Return a pool that draws by a seed."""
    return UpstreamPool(cast("Sequence[Upstream]", upstreams), random.Random(seed).randrange)


def order(found: UpstreamPool, model: str = "m") -> list[str]:
    """Return the places for a model by name."""
    return [cast("Any", target).name for target, _ in found.targets(model)]


def test_priority() -> None:
    """Lower priorities come first, whatever the order of the configuration and the draw."""
    for seed in range(20):
        ups = [FakeUpstream("c", priority=2), FakeUpstream("a", places=2), FakeUpstream("b", priority=1)]
        assert order(pool(*ups, seed=seed)) == ["a0", "a1", "b0", "c0"]


def test_weights() -> None:
    """Among equals the first is drawn by weight, and the others follow by theirs."""
    found = pool(FakeUpstream("a", weight=6), FakeUpstream("b", weight=3), FakeUpstream("c", weight=1))
    orders = [order(found) for _ in range(3000)]
    firsts = Counter(names[0] for names in orders)
    assert all(sorted(names) == ["a0", "b0", "c0"] for names in orders)
    assert 0.55 < firsts["a0"] / 3000 < 0.65
    assert 0.25 < firsts["b0"] / 3000 < 0.35
    assert 0.07 < firsts["c0"] / 3000 < 0.13
    seconds = Counter(names[1] for names in orders if names[0] == "a0")
    assert 0.70 < seconds["b0"] / seconds.total() < 0.80


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=6), st.integers(0, 2**16))
def test_every_place_once(settings: list[tuple[int, int]], seed: int) -> None:
    """Whatever priorities and weights, every place is offered once, in the order of the priorities."""
    ups = [FakeUpstream(f"u{i}-", priority=p, weight=w, places=2) for i, (p, w) in enumerate(settings)]
    names = order(pool(*ups, seed=seed))
    assert sorted(names) == sorted(place.name for up in ups for place in up.places)
    priorities = [settings[int(name[1 : name.index("-")])][0] for name in names]
    assert priorities == sorted(priorities)


def test_one_upstream_is_not_drawn() -> None:
    """Where there is no choice, nothing is drawn."""

    def draw(_: int) -> int:
        raise AssertionError

    only = cast("list[Upstream]", [FakeUpstream("a", {"m": "x"}), FakeUpstream("b", {"other": "y"})])
    assert order(UpstreamPool(only, draw)) == ["a0"]


@pytest.mark.parametrize("model", ["Qwen/Q3", "qwen/q3", "QWEN/Q3"])
def test_model_names(model: str) -> None:
    """A model is found in any case and goes out under the upstream's own name, or as it is where all are taken."""
    found = pool(
        FakeUpstream("a", {"Qwen/Q3": "their-Q3"}), FakeUpstream("b", {"x": "y"}), FakeUpstream("c", priority=1)
    )
    assert [theirs for _, theirs in found.targets(model)] == ["their-Q3", model]
    assert found.serves(model)


def test_serves() -> None:
    """A pool serves what an upstream names, and everything if one takes any."""
    found = pool(FakeUpstream("a", {"M": "x", "N": "y"}), FakeUpstream("b", {"N": "z", "O": "w"}))
    assert [found.serves(name) for name in ("m", "N", "p", "x", "")] == [True, True, False, False, False]
    assert found.targets("p") == []
    assert pool(FakeUpstream("c")).serves("p")
    assert not pool().serves("p")
    assert pool().targets("p") == []


def test_rate() -> None:
    """An upstream's rate is found by name; one that is not configured any more bills nothing that we know of."""
    found = pool(FakeUpstream("a"), FakeUpstream("long"))
    assert found.rate("long") == UpstreamRate(4, 2, 3)
    assert found.rate("gone") == UpstreamRate(0, 0, 0)


async def test_close() -> None:
    """Closing the pool closes every upstream."""
    ups = [FakeUpstream("a"), FakeUpstream("b")]
    await pool(*ups).close()
    assert [up.closed for up in ups] == [1, 1]


def test_out_is_left_out() -> None:
    """Places that are out are left out as long as one is well, and come back when their time has passed."""
    clock = Clock()
    near, far = FakeUpstream("near", places=2, clock=clock), FakeUpstream("far", priority=1, clock=clock)
    found = pool(near, far)
    near.places[0].standing.report(LOST._replace(out_for_s=5))
    assert order(found) == ["near1", "far0"]
    near.places[1].standing.report(LOST._replace(out_for_s=9))
    assert order(found) == ["far0"]
    clock.now_s += 5
    assert order(found) == ["near0", "far0"]


def test_a_model_works_while_one_of_its_places_does() -> None:
    """A model works while any place that takes it is in the choice, and asking takes nobody's turn."""
    clock = Clock()
    named = FakeUpstream("named", {"M": "m"}, places=2, clock=clock)
    other = FakeUpstream("other", {"x": "x"}, clock=clock)
    found = pool(named, other)
    seen = [found.works("m")]
    for place in named.places:
        place.standing.report(LOST._replace(out_for_s=5))
        seen.append(found.works("m"))
    clock.now_s += 5

    assert [*seen, found.works("m"), found.works("x"), found.works("y")] == [True, True, False, True, True, False]


def test_all_out() -> None:
    """When all are out, those that may come back are tried anyway, and those that are out for good are not."""
    clock = Clock()
    up = FakeUpstream("u", places=3, clock=clock)
    for place, out_for_s in zip(up.places, (5.0, INFINITY_S, 300.0), strict=True):
        place.standing.report(LOST._replace(out_for_s=out_for_s))
    assert order(pool(up)) == ["u0", "u2"]
    for place in up.places:
        place.standing.report(LOST._replace(out_for_s=INFINITY_S))
    assert order(pool(up)) == []


def test_routes() -> None:
    """A model may have a priority and a weight of its own at an upstream, matched without regard to case."""
    first, second = FakeUpstream("first"), FakeUpstream("second", priority=1)
    second.routes = {"special": (0, 9)}
    first.routes = {"last": (7, 1)}
    found = pool(first, second)
    firsts = Counter(order(found, "Special")[0] for _ in range(1000))

    assert order(found) == ["first0", "second0"]
    assert order(found, "last") == ["second0", "first0"]
    assert 0.85 < firsts["second0"] / 1000 < 0.95


def test_a_look_has_the_order_of_a_models_own_priorities() -> None:
    """What is looked at, as for an estimate, comes in the order in which it would be tried, also with other ranks."""
    first, second = FakeUpstream("first"), FakeUpstream("second", priority=1)
    first.routes = {"last": (7, 1)}
    found = pool(first, second)

    assert [place.name for place, _ in cast("Any", found.look("LAST"))] == ["second0", "first0"] == order(found, "LAST")
    assert [place.name for place, _ in cast("Any", found.look("m"))] == ["first0", "second0"]


def test_each_choice_pays_for_retries() -> None:
    """Each choice of places pays its share of a retry into the budget."""
    budget = RetryBudget(lambda: 0.0, 50, 0)
    while budget.take():
        pass
    found = UpstreamPool(cast("Sequence[Upstream]", [FakeUpstream("a")]), random.Random(1).randrange, budget)
    for _ in range(2):
        found.targets("m")

    assert (budget.take(), budget.take()) == (True, False)


def test_an_upstream_is_booked_by_model() -> None:
    """What one model costs now counts for that one, in any case of its letters; unknown models as configured."""
    first = FakeUpstream("a")
    pool = UpstreamPool([first], lambda _: 0)  # type: ignore[list-item]
    pool.follow("a", "Org/M", UpstreamRate(9, 1, 0))

    assert first.rates.of("org/m") == UpstreamRate(9, 1, 0)
    assert first.rates.of("other") == UpstreamRate(1, 2, 3)
    assert pool.rate("a") == UpstreamRate(9, 2, 3)  # who does not know the model reckons with the most


def test_a_model_is_degraded_while_its_places_are_quiet() -> None:
    """Places in a quiet window are asked all the same, but do not make a model available; another place does."""
    (first, second), pool = [FakeUpstream("a"), FakeUpstream("b")], None
    pool = UpstreamPool([first, second], lambda _: 0)  # type: ignore[list-item]
    first.places[0].is_quiet = True
    assert pool.works("m")
    second.places[0].is_quiet = True

    assert not pool.works("m")
    assert len(pool.targets("m")) == 2
