"""Thousands of worlds, one from each seed, all proved; `scripts/simulate` plays more of them, or one with its trace."""

from __future__ import annotations

import pytest

from tests.sim.world import CALLS_MAX, play

WORLDS = 2000
WORLDS_AT_ONCE = 50

FOUND = {
    "a start builds on a log that a failed sync had not brought to the disk": (551, 30),
    "the caller leaves while a stopping gateway gives its hold back": (689, 10),
}
"""Worlds that have shown a bug of ours: what it was, its seed and how many callers at most."""


@pytest.mark.parametrize("first", range(0, WORLDS, WORLDS_AT_ONCE))
def test_no_world_has_a_violation(first: int) -> None:
    """Whatever comes together, the books of each world are right, at every start and in the end."""
    for seed in range(first, first + WORLDS_AT_ONCE):
        prove(seed, CALLS_MAX)


@pytest.mark.parametrize("name", FOUND)
def test_bug_does_not_come_back(name: str) -> None:
    """A world that has once shown a bug is right now."""
    prove(*FOUND[name])


def prove(seed: int, callers_max: int) -> None:
    """Play a world; say how to play it again if it is not right."""
    violations = play(seed, callers_max).violations
    assert not violations, f"scripts/simulate --seed {seed} --callers {callers_max}\n" + "\n".join(violations)
