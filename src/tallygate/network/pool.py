"""Which place an inference is sent to, and which are left out for now.

Upstreams are tried in the order of their priority for the model; among equals, the first is drawn by weight, and of the
nodes of one upstream the less loaded of two is chosen (`core/choosing.py`). A place that has just failed is left out
(`core/standing.py`). If that leaves none, those that may still come back are tried anyway: a wrong guess about health
must not refuse a paying caller.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tallygate.core.pricing import UpstreamRate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.retrybudget import RetryBudget
    from tallygate.ports import Target, Upstream


TAKERS_KEPT: Final = 1024
"""Of so many models it is remembered which upstreams take them; what is configured does not change."""


class UpstreamPool:
    """All configured upstreams.

    Args:
        upstreams: In the order of the configuration.
        draw: Returns a random integer from 0 up to, not including, its argument.
        budget: Pays for the retries of all calls, and is paid in for each choice; without, nobody counts them.
    """

    def __init__(
        self, upstreams: Sequence[Upstream], draw: Callable[[int], int], budget: RetryBudget | None = None
    ) -> None:
        self._upstreams = sorted(upstreams, key=lambda upstream: upstream.priority)
        self._by_name = {upstream.name: upstream for upstream in upstreams}
        self._named = [
            None if upstream.models is None else {ours.lower(): theirs for ours, theirs in upstream.models.items()}
            for upstream in self._upstreams
        ]
        self._draw = draw
        self._budget = budget
        self._takers = lru_cache(TAKERS_KEPT)(self._find_takers)

    @property
    def upstreams(self) -> Sequence[Upstream]:
        """All of them, best first."""
        return self._upstreams

    def serves(self, model: str) -> bool:
        """Return whether any upstream takes a model."""
        return bool(self._takers(model))

    def works(self, model: str) -> bool:
        """Return whether any place that takes a model is in the choice now, and not in a quiet window."""
        return any(not (place.is_out or place.is_quiet) for place, _ in self.look(model))

    def look(self, model: str) -> Sequence[tuple[Target, str]]:
        """Return the places for a model by priority: nothing is drawn, and nobody's turn is taken."""
        lowered = model.lower()
        able = sorted(self._takers(model), key=lambda taker: _rank(taker[0], lowered)[0])
        return _usable([(place, theirs) for upstream, theirs in able for place in upstream.places])

    def targets(self, model: str) -> Sequence[tuple[Target, str]]:
        """Return the places to try for a model, best first, each with the model's name there."""
        if self._budget is not None:
            self._budget.note_call()
        able: Sequence[tuple[Upstream, str]] = self._takers(model)
        if len(able) > 1:
            able = self._shuffle(able, model.lower())
        return _usable([(target, theirs) for upstream, theirs in able for target in upstream.targets()])

    def rate(self, upstream: str) -> UpstreamRate:
        """Return what an upstream bills at most, all zero for one that is not configured (any more)."""
        known = self._by_name.get(upstream)
        return UpstreamRate(0, 0, 0) if known is None else known.rates.dearest

    def follow(self, upstream: str, model: str, rate: UpstreamRate) -> None:
        """Take a rate for what an upstream bills for one of its models."""
        self._by_name[upstream].rates.follow(model, rate)

    async def close(self) -> None:
        """Close all connections."""
        for upstream in self._upstreams:
            await upstream.close()

    def _find_takers(self, model: str) -> tuple[tuple[Upstream, str], ...]:
        """Return the upstreams that take a model, each with the model's name there."""
        lowered = model.lower()
        takers = []
        for upstream, names in zip(self._upstreams, self._named, strict=True):
            theirs = model if names is None else names.get(lowered)
            if theirs is not None:
                takers.append((upstream, theirs))
        return tuple(takers)

    def _shuffle(self, able: Sequence[tuple[Upstream, str]], lowered: str) -> list[tuple[Upstream, str]]:
        """Order upstreams by their priority for a model, and those of one priority at random by weight."""
        rest = [(*_rank(upstream, lowered), upstream, theirs) for upstream, theirs in able]
        ordered = []
        while rest:
            best = min(priority for priority, *_ in rest)
            equals = [place for place in rest if place[0] == best]
            ticket = self._draw(sum(weight for _, weight, *_ in equals)) if len(rest) > 1 else 0
            for place in equals:
                ticket -= place[1]
                if ticket < 0:
                    break
            ordered.append((place[2], place[3]))
            rest.remove(place)
        return ordered


def _rank(upstream: Upstream, lowered: str) -> tuple[int, int]:
    """Return the priority and the weight of an upstream for a model."""
    return upstream.routes.get(lowered, (upstream.priority, upstream.weight))


def _usable(places: list[tuple[Target, str]]) -> list[tuple[Target, str]]:
    """Return the places that are in the choice; where there are none, those that may come back."""
    well = [place for place in places if not place[0].is_out]
    return well or [place for place in places if not place[0].is_out_for_good]
