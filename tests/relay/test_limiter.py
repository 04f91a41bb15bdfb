"""The limits of one process: whose they are, and that nothing stays counted."""

from __future__ import annotations

import re

import pytest

from tallygate.core.access import ApiKey
from tallygate.core.errors import Refusal
from tallygate.core.ledger.records import Account
from tallygate.core.limits import UNLIMITED, Limits, Rate, Rates
from tallygate.relay.limiter import COUNT_LEAST, EmbeddedLimiter


class Stage:
    """A limiter with a clock that a test winds, and callers."""

    def __init__(self, of_keys: Limits = UNLIMITED, of_accounts: Limits = UNLIMITED) -> None:
        self.now_s = 1000.0
        self.limiter = EmbeddedLimiter(lambda: self.now_s, of_keys, of_accounts)

    def key(self, name: str, limits: Limits = UNLIMITED) -> ApiKey:
        """Return a key."""
        return ApiKey(name, "acct_1", name, "…", 1, None, limits=limits)


ACCOUNT = Account("acct_1", "Ann", 1)


async def test_all_is_taken_or_nothing() -> None:
    """A call that its account may not make takes nothing of its key's limits, and the other way round."""
    stage = Stage(Limits(requests_per_minute=5))
    account = Account("acct_1", "Ann", 1, limits=Limits(tokens_per_minute=10))
    await stage.limiter.admit(stage.key("key_1"), account, 10)
    with pytest.raises(Refusal) as refused:
        await stage.limiter.admit(stage.key("key_1"), account, 1)

    assert refused.value.rates == Rates(Rate(5, 4, 60), Rate(10, 0, 60))
    standing = await stage.limiter.standing(stage.key("key_2"), account)
    assert standing.rates == Rates(Rate(5, 5, 0), Rate(10, 0, 60))
    assert (standing.key, standing.account) == (Limits(5), Limits(None, 10))


async def test_a_permit_ends_once() -> None:
    """Whatever is asked of a permit after its end changes nothing any more."""
    stage = Stage(Limits(concurrent_requests=2, tokens_per_minute=100))
    key = stage.key("key_1")
    first, second = [await stage.limiter.admit(key, ACCOUNT, 30) for _ in range(2)]
    first.end(10)
    first.end(0)
    first.cancel()

    standing = await stage.limiter.standing(key, ACCOUNT)
    assert standing.under_way == 1
    assert standing.rates.tokens == Rate(100, 60, 60)
    second.end(None)
    assert second.rates.tokens == Rate(100, 60, 60)


async def test_limits_change_with_the_next_call() -> None:
    """Limits are those that a key has when it calls; what was counted before still counts."""
    stage = Stage()
    await stage.limiter.admit(stage.key("key_1", Limits(requests_per_minute=1)), ACCOUNT, 1)
    permit = await stage.limiter.admit(stage.key("key_1", Limits(2, None, None, 7)), ACCOUNT, 1)

    assert permit.rates.requests == Rate(2, 0, 60)
    assert permit.spend_limits == (Limits(2, None, None, 7), UNLIMITED)
    permit = await stage.limiter.admit(stage.key("key_1"), ACCOUNT, 1)
    assert (permit.rates, permit.spend_limits) == (Rates(), None)


async def test_who_does_not_call_any_more_is_forgotten() -> None:
    """Memory goes with those who have called in the last minute or are calling, not with all who ever did."""
    stage = Stage(Limits(requests_per_minute=5))
    lasting = await stage.limiter.admit(stage.key("lasting"), ACCOUNT, 1)
    for number in range(3 * COUNT_LEAST):
        stage.now_s += 0.5
        permit = await stage.limiter.admit(stage.key(f"key_{number}"), ACCOUNT, 1)
        permit.end(1)
    known = re.fullmatch("<EmbeddedLimiter 1 under way, ([0-9]+) keys>", repr(stage.limiter))
    lasting.end(1)

    assert known is not None
    assert int(known[1]) <= COUNT_LEAST
    standing = await stage.limiter.standing(stage.key(f"key_{3 * COUNT_LEAST - 1}"), ACCOUNT)
    assert standing.rates.requests == Rate(5, 4, 60)
