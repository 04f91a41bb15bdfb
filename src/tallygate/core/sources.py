"""Where requests come from, and how many from one source: bounded in number, in memory, and in what one can claim.

A source is an IPv4 address, or the /64 of an IPv6 address, which is the least that one subscriber is given. It is known
by a number. What may live here: reading addresses, and counting. What may not: clocks, headers, keys.

Invariants:
    - Never more than the limit is admitted in any 60 seconds. Time is counted in steps of ten seconds, and the step in
      which the minute began counts in full; so a source that never rests gets at least six sevenths of its limit.
    - Memory is bounded: of so many sources the one that has been quiet for longest is forgotten, and begins anew.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SOURCES_MAX: Final = 16_384
"""How many sources are remembered: some 5 MB of them."""

STEP_S: Final = 10
STEPS: Final = 60 // STEP_S + 1
"""A minute that ends within a step began within the sixth before it."""

_IPV6: Final = 1 << 64
"""Keeps the numbers of IPv6 sources apart from those of IPv4."""


def source_of(address: str) -> int | None:
    """Return the source that an address belongs to; None if it is no address."""
    parsed = parse_address(address)
    if parsed is None:
        return None
    return int(parsed) if parsed.version == 4 else _IPV6 | (int(parsed) >> 64)


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, an IPv4 one that is written as IPv6 as what it is; None if it is none."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (parsed.version == 6 and parsed.ipv4_mapped) or parsed


def find_caller(peer: str, path: Iterable[str], proxies: Sequence[Network]) -> str:
    """Return the address of whoever called, as far as those can be believed who passed the call on.

    Args:
        peer: Who is connected to us.
        path: Whom the call came from, as its proxies say, the first one first.
        proxies: Whose word is taken.
    """
    caller = peer
    for before in reversed([*path]):
        if not is_within(caller, proxies):
            break
        if parse_address(before) is None:
            break  # a trusted proxy has passed on what it was told; the last one that is known stands
        caller = before
    return caller


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Say whether an address belongs to one of some networks."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks)


class SourceLimit:
    """Counts what sources do, and admits so much in a minute.

    Args:
        per_minute: How much is admitted of one source in any 60 seconds.
        sources_max: How many sources are remembered.
    """

    def __init__(self, per_minute: int, sources_max: int = SOURCES_MAX) -> None:
        self._per_minute = per_minute
        self._sources_max = sources_max
        # By source: the step in which it was last seen, then what was admitted in each step, by step modulo STEPS.
        self._counts: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def take(self, source: int, now_s: float) -> int:
        """Admit one more and return 0, or return in how many seconds that can be asked again."""
        step = int(now_s) // STEP_S
        counts = self._counts.pop(source, None)
        if counts is None:
            if len(self._counts) >= self._sources_max:
                del self._counts[next(iter(self._counts))]
            counts = [step, *([0] * STEPS)]
        self._counts[source] = counts  # behind all others: it is the last that will be forgotten
        for passed in range(max(counts[0] + 1, step - STEPS + 1), step + 1):
            counts[1 + passed % STEPS] = 0
        counts[0] = max(step, counts[0])
        if sum(counts) - counts[0] < self._per_minute:
            counts[1 + step % STEPS] += 1
            return 0
        first = next(step - ago for ago in range(STEPS - 1, -1, -1) if counts[1 + (step - ago) % STEPS])
        return (first + STEPS) * STEP_S - int(now_s)
