"""Sources: an address is read as whom it belongs to, and none gets more than its limit, nor makes memory grow."""

from __future__ import annotations

import ipaddress
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.sources import SourceLimit, find_caller, source_of

PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::1", "0.0.0.1", False),
        ("::", "0.0.0.0", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_source(one: str, other: str, is_same: bool) -> None:
    """An IPv4 address is a source, and so is a whole /64 of IPv6; the two never meet."""
    assert (source_of(one) == source_of(other)) is is_same


@given(st.text())
def test_any_text(text: str) -> None:
    """What is no address has no source, and nothing fails."""
    source = source_of(text)
    assert source is None or source >= 0


@pytest.mark.parametrize(
    ("peer", "path", "caller"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::1", "10.0.0.2"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1", "unknown"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
    ],
)
def test_caller_behind_proxies(peer: str, path: list[str], caller: str) -> None:
    """Only a trusted proxy is believed, and only for the hop before it; what a caller writes counts nothing."""
    assert find_caller(peer, path, PROXIES) == caller


def test_limit_says_when_to_come_back() -> None:
    """Once the limit is reached, the wait that is told is enough, and one second less is not."""
    limit = SourceLimit(3)
    assert [limit.take(1, 5) for _ in range(3)] == [0, 0, 0]
    wait_s = limit.take(1, 7.5)
    assert wait_s == 63

    assert limit.take(1, 7 + wait_s - 1) > 0
    assert limit.take(1, 7 + wait_s) == 0
    assert limit.take(2, 7) == 0


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 3), st.floats(0, 40)), max_size=80))
def test_never_more_than_the_limit_in_any_minute(per_minute: int, gaps: list[tuple[int, float]]) -> None:
    """Whatever comes when, no minute of any source has more than its limit; and who waits as told is admitted."""
    limit = SourceLimit(per_minute)
    admitted: dict[int, deque[float]] = {}
    now_s = 0.0
    for source, gap_s in gaps:
        now_s += gap_s
        minute = admitted.setdefault(source, deque())
        while minute and minute[0] <= now_s - 60:
            minute.popleft()
        wait_s = limit.take(source, now_s)
        assert 0 <= wait_s <= 70
        if wait_s == 0:
            minute.append(now_s)
        assert len(minute) <= per_minute
        assert wait_s == 0 or SourceLimit(per_minute).take(source, now_s) == 0


def test_a_source_that_never_rests_gets_most_of_its_limit() -> None:
    """Over a long time, a source that asks far too often is admitted at least six sevenths of its limit."""
    limit = SourceLimit(60)
    admitted = sum(limit.take(1, tick / 10) == 0 for tick in range(60 * 60 * 10))

    assert 60 * 60 * 6 / 7 <= admitted <= 60 * 60


def test_memory_is_bounded() -> None:
    """Beyond so many sources the one that was quiet for longest is forgotten, and no other."""
    limit = SourceLimit(1, sources_max=100)
    for source in range(100):
        limit.take(source, 0)
    limit.take(0, 1)
    for source in range(1000, 1099):
        limit.take(source, 2)

    assert len(limit) == 100
    assert limit.take(0, 3) > 0
    assert limit.take(1, 3) == 0
