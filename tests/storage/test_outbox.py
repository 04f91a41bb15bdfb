"""What an outbox logs, what it keeps, and what it looks like to the webhook."""

from __future__ import annotations

import asyncio
import json
from itertools import count

from structlog.testing import capture_logs

from tallygate.core.events import OperatorEvent
from tallygate.storage.outbox import Outbox

EVENT = OperatorEvent("account.empty", 1_764_100_000_123_456_789, {"account": "acct_1", "balance_usd": "0.1"})


def make_outbox(*, keeps: bool = True, kept_max: int = 3) -> Outbox:
    """Return an outbox with predictable randomness."""
    numbers = count(1)
    return Outbox(lambda size: next(numbers).to_bytes(size, "big"), keeps=keeps, kept_max=kept_max)


async def test_an_event_is_kept_as_the_specification_has_it() -> None:
    """A kept event has an id, and a body with its type, an ISO 8601 time and its data."""
    (kept,) = make_outbox().tell(EVENT)

    assert (kept.id, kept.created_ns) == ("evt_187b579a7fa00d150000000000000001", EVENT.time_ns)
    assert json.loads(kept.body) == {
        "type": "account.empty",
        "timestamp": "2025-11-25T19:46:40.123456Z",
        "data": {"account": "acct_1", "balance_usd": "0.1"},
    }


async def test_every_event_is_a_warning_in_the_log() -> None:
    """An event is logged with its id and data whether or not it is kept."""
    for keeps in (True, False):
        with capture_logs() as logs:
            make_outbox(keeps=keeps).tell(EVENT)
            await asyncio.sleep(0)
        (line,) = logs
        assert line.pop("event_id").startswith("evt_")
        assert line == {"event": "account.empty", "log_level": "warning", "account": "acct_1", "balance_usd": "0.1"}


async def test_without_a_webhook_nothing_is_kept() -> None:
    """An outbox that does not keep has no rows for the store."""
    outbox = make_outbox(keeps=False)

    assert outbox.tell(EVENT) == []
    assert outbox.kept == []


async def test_only_so_many_events_are_kept() -> None:
    """Beyond its bound an outbox only logs, and says so as an error; room that comes free is used again."""
    outbox = make_outbox(kept_max=2)
    (first,), (second,) = outbox.tell(EVENT), outbox.tell(EVENT)
    with capture_logs() as logs:
        assert outbox.tell(EVENT) == []
        assert not logs  # telling may be a step of a commit, which no log may break
        await asyncio.sleep(0)
    assert [line["log_level"] for line in logs if line["event"].startswith("event not kept")] == ["error"]
    assert outbox.kept == [first, second]

    outbox.forget(first.id)
    (third,) = outbox.tell(EVENT)
    assert outbox.kept == [second, third]
