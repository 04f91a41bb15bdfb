"""The seeds have teeth: each bug that is planted on purpose is found by one of a few hundred worlds."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS
from tests.sim.world import play

WORLDS_MAX = 200


@pytest.mark.parametrize("name", MUTANTS)
def test_seeds_find_a_bug_that_is_planted(name: str) -> None:
    """One of these worlds shows the bug, as it would in CI."""
    with MUTANTS[name]():
        assert any(play(seed).violations for seed in range(WORLDS_MAX))
