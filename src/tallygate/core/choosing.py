"""In which order the places of one upstream are tried: the power of two choices.

The place whose turn it is and another one, drawn at random, are compared, and the one with the lower load goes first;
so does the next, should the first fail. Two random choices come close to knowing all loads, without a look at them
all, and do not send everybody to the same place at once. Places that stand alike take turns. One that is to be probed
is tried when its turn comes, and else only after all that are well: a call that has failed once is not risked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.standing import Standing

PLACES_DRAWN: Final = 2
"""How many places of the order are chosen so; the few calls that fail twice take the rest as it comes."""

DISTINCT: Final = 0.75
"""A load that is not below this share of another one is like it."""


class HasStanding(Protocol):
    """A place, as far as the choice goes."""

    @property
    def standing(self) -> Standing:
        """How it stands."""


Place = TypeVar("Place", bound=HasStanding)


def order_places(places: Sequence[Place], turn: int, draw: Callable[[int], int]) -> Sequence[Place]:
    """Return all places, best first.

    Args:
        places: In any order that stays.
        turn: Counts the choices.
        draw: Returns a random integer from 0 up to, not including, its argument.
    """
    count = len(places)
    if count < 2:
        return places
    start = turn % count
    turned = [*places[start:], *places[:start]]
    order: list[Place] = turned
    rest: list[Place] = []
    if any(place.standing.is_marked for place in turned):
        order, rest = _part(turned)
    well = len(order)
    for at in range(min(PLACES_DRAWN, well - 1)):
        other = at + 1 + draw(well - at - 1) if well - at > 2 else at + 1
        if order[other].standing.load < DISTINCT * order[at].standing.load:
            order[at], order[other] = order[other], order[at]
    first = turned[0]
    if rest and first.standing.is_marked and not first.standing.is_out:  # its turn is its chance
        return [first, *order, *(place for place in rest if place is not first)]
    return order + rest


def _part(places: Sequence[Place]) -> tuple[list[Place], list[Place]]:
    """Return the places that are well, and the others: first those that may be probed, then those that are out."""
    well: list[Place] = []
    probed: list[Place] = []
    out: list[Place] = []
    for place in places:
        standing = place.standing
        (out if standing.is_out else probed if standing.is_marked else well).append(place)
    return well, probed + out
