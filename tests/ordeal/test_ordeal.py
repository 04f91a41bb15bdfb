"""With five nodes of which two go wrong in any one way, callers see no failure that a permitted retry avoids."""

from __future__ import annotations

import pytest

from tests.ordeal.ordeal import TRIALS, WRONG, Trial, undergo

CALLS = 200


@pytest.mark.parametrize("trial", [pytest.param(trial, id=trial.name) for trial in TRIALS])
async def test_two_of_five_nodes_go_wrong(trial: Trial) -> None:
    """No caller sees an avoidable failure, none is charged twice, and charges are what the nodes have served."""
    outcome = await undergo(trial, CALLS)

    assert outcome.problems == []
    calls = int(CALLS * trial.share)
    assert outcome.seen.total() == calls
    assert outcome.seen["200"] >= 0.85 * calls
    assert outcome.tokens > calls
    if trial.is_left_out:
        assert sum(outcome.asked[host] for host in WRONG) < 0.15 * calls
