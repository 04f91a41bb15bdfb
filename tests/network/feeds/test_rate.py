"""The rate of a GNK: a source that lies, is late or silent changes nothing, and is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tallygate.config import RateSourceSettings
from tallygate.core.quoting import QuoteError
from tallygate.core.repricing import RateBounds
from tallygate.network.feeds.rate import RateSource, read_time
from tests.network.feeds.web import START_NS, Web, World
from tests.network.scripted_server import answer, client

GOOD = 620_000_000_000
START_S = START_NS // 10**9
REFUSED = "rate_refused"


def settings(web: Web, *, time_pointer: str | None = None) -> RateSourceSettings:
    """Return a source between $0.10 and $5 that may move by 20 % and counts for an hour."""
    bounds = RateBounds(10**11, 5 * 10**12, 200_000)
    return RateSourceSettings(web.origin, b"/price?of=gnk", "/gonka/usd", time_pointer, bounds, 60.0, 3600.0)


def page(usd: str, at: str = "null") -> bytes:
    """Return an answer with exactly these numbers."""
    return answer(f'{{"gonka":{{"usd":{usd},"at":{at}}}}}'.encode())


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (page("0"), "is zero"),
        (page("NaN"), "is not finite"),
        (page("1e308"), "is out of all bounds"),
        (page("-0.62"), "is negative"),
        (page("6.2"), "is outside of the bounds"),
        (page("0.8"), "moves further at a time than it may"),
        (page("null"), "is missing"),
        (page('"cheap"'), "is no number"),
        (answer(b"<html>"), "is not JSON"),
        (answer(b"{}", status=b"500 Internal Server Error"), "answered with status 500"),
        (answer(b"", b"Location: http://127.0.0.1:1/", status=b"302 Found"), "answered with status 302"),
        (None, "gave no answer"),
    ],
)
async def test_a_lie_changes_nothing(told: bytes | None, reason: str) -> None:
    """Whatever the source says that cannot be believed, the last good rate counts, and an alarm says why, once."""
    world = World()
    async with Web().open() as web, client() as http:
        rate = RateSource(settings(web), http, world.alarms, world.now_ns, None)
        web.pages["/price?of=gnk"] = page("0.62")
        await rate.refresh()
        assert (rate.picousd, world.wrong) == (GOOD, [])
        web.pages["/price?of=gnk"] = told
        for _ in range(2):
            world.pass_s(60)
            await rate.refresh()
        assert (rate.picousd, world.wrong) == (GOOD, [(REFUSED, "USD per GNK", reason)])
        web.pages["/price?of=gnk"] = page("0.70")
        world.pass_s(60)
        await rate.refresh()
    assert (rate.picousd, world.wrong) == (700_000_000_000, [])
    assert [event.type for event in world.told] == ["alarm.raised", "alarm.cleared"]


async def test_an_old_rate_makes_no_price() -> None:
    """When the last good rate is older than it may be, there is none, and that is an alarm of its own."""
    world = World()
    async with Web().open() as web, client() as http:
        rate = RateSource(settings(web), http, world.alarms, world.now_ns, None)
        web.pages["/price?of=gnk"] = page("0.62")
        await rate.refresh()
        web.pages["/price?of=gnk"] = None
        world.pass_s(3601)
        await rate.refresh()
    assert rate.picousd is None
    assert {kind for kind, _, _ in world.wrong} == {REFUSED, "rate_stale"}


async def test_after_a_restart_the_last_rate_is_the_measure() -> None:
    """A new process makes no price of the last rate by itself, and holds what it reads against that."""
    world = World()
    async with Web().open() as web, client() as http:
        rate = RateSource(settings(web), http, world.alarms, world.now_ns, GOOD)
        assert rate.picousd is None
        web.pages["/price?of=gnk"] = page("1.24")
        await rate.refresh()
        assert (rate.picousd, world.wrong[0][2]) == (None, "moves further at a time than it may")
        web.pages["/price?of=gnk"] = page("0.55")
        world.pass_s(60)
        await rate.refresh()
    assert rate.picousd == 550_000_000_000


async def test_it_is_asked_no_oftener_than_configured() -> None:
    """Within an interval, nothing is asked again."""
    world = World()
    async with Web().open() as web, client() as http:
        rate = RateSource(settings(web), http, world.alarms, world.now_ns, None)
        for seconds in (0, 59, 1):
            world.pass_s(seconds)
            await rate.refresh()
    assert [path for path, _ in web.asked] == ["/price?of=gnk"] * 2


async def test_stale_by_its_own_word() -> None:
    """A source that says since when its rate holds is not believed when that is too long ago."""
    world = World()
    async with Web().open() as web, client() as http:
        rate = RateSource(settings(web, time_pointer="/gonka/at"), http, world.alarms, world.now_ns, None)
        web.pages["/price?of=gnk"] = page("0.62", str(START_S - 3601))
        await rate.refresh()
        assert (rate.picousd, world.wrong[0][2]) == (None, "is stale by its own time")
        web.pages["/price?of=gnk"] = page("0.62", str(START_S - 3000))
        world.pass_s(60)
        await rate.refresh()
        assert rate.picousd == GOOD
        world.pass_s(541)
    assert rate.picousd is None


@pytest.mark.parametrize(
    "told",
    [START_S, START_S * 1000, START_S * 10**6, START_NS, str(START_S), "2027-01-15T08:00:00Z", "2027-01-15T08:00:00"],
)
def test_a_time_in_any_unit(told: Any) -> None:
    """Seconds, milliseconds, micro- and nanoseconds are told apart by their length; dates by RFC 3339, in UTC."""
    assert read_time(Decimal(told) if isinstance(told, int) else told, START_NS) == START_NS


@pytest.mark.parametrize("told", [None, True, "yesterday", "0", str(START_S + 1), "-1", [1]])
def test_what_is_no_time(told: object) -> None:
    """What is no moment, or one that has not come yet, is refused."""
    with pytest.raises(QuoteError):
        read_time(told, START_NS)
