"""A small storm of real processes; a thousand kills are `scripts/storm --rounds 1000`."""

from __future__ import annotations

from tests.storm.aims import COMMIT_TORN, COMMIT_UNSYNCED
from tests.storm.kills import AT_RANDOM, AT_START, DISPATCHED, MID_STREAM, UNANSWERED
from tests.storm.storm import Orders, run_storm

POINTS = (
    "hold durable",
    DISPATCHED,
    "expire written",
    UNANSWERED,
    MID_STREAM,
    "settle durable",
    AT_START,
    COMMIT_TORN,
    COMMIT_UNSYNCED,
    AT_RANDOM,
)


async def test_no_kill_breaks_the_books() -> None:
    """Killed at each of these points amid a crowd, gateways lose nothing, double nothing, and end every hold."""
    worlds: list[str] = []
    figures = await run_storm(Orders(len(POINTS), seed=4, callers=40, points=POINTS), worlds.append)

    assert figures.violations == []
    assert figures.kills.total() == len(POINTS)
    assert set(figures.kills) == set(POINTS), "a point was not reached"
    assert figures.counts["proofs"] == len(POINTS) + 1
    # A start that is killed may have ended holds before; it is not among those that were seen to be ready.
    assert 0 < figures.counts["holds that a start has ended"] <= figures.entries["expire"]
    assert figures.counts["charges that callers were told"] > 0
    assert figures.endings["left early"] > 0
    for tried in ("got the first answer again", "were told the charge"):
        assert figures.counts[f"repeats that {tried}"] > 0
    assert figures.counts["repeats while the first was under way"] > 0
    assert figures.counts["other requests refused under a known key"] > 0
    assert figures.counts["keys told their charge after the last start"] > 0
    assert figures.counts["deposits by idempotency key"] > 0
    assert figures.counts["corrections by idempotency key"] > 0
    assert figures.network["served to the end"] == 0
    assert worlds == [f"world 1 of 1: {figures.verdict}"]
