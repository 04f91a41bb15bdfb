"""With five nodes of which two go wrong in any one way, callers see no failure that a permitted retry avoids."""

from __future__ import annotations

import pytest

from tallygate.devnet.faults import FAULT_NAMES
from tests.ordeal.ordeal import undergo
from tests.ordeal.steady import run
from tests.ordeal.trials import TRIALS, Trial

CALLS = 200
NOT_WRONG = {"barrier", "hold_stream", "301", "302", "307", "308", "400", "409", "422"}
"""What only holds calls back, refusals of what a caller asks, and the other numbers of a redirect."""


@pytest.mark.parametrize("trial", [pytest.param(trial, id=trial.name) for trial in TRIALS])
def test_two_of_five_nodes_go_wrong(trial: Trial) -> None:
    """No caller sees an avoidable failure, none is charged twice, and each token that was served is accounted for."""
    calls = int(CALLS * trial.share)
    outcome = run(undergo(trial, calls))

    assert outcome.problems == []
    assert outcome.seen.total() == calls
    assert outcome.charged > 0


def test_every_way_is_tried() -> None:
    """Each fault that devnet knows is undergone, but for those with which no node goes wrong."""
    assert {trial.fault for trial in TRIALS} == set(FAULT_NAMES) - NOT_WRONG
