"""How the life of a key stands, and why a call of it is refused."""

from __future__ import annotations

import pytest

from tallygate.core.access import ApiKey, describe_changes, refusal_of, status_of
from tallygate.core.ledger.records import Account
from tallygate.core.limits import Limits

NOW_NS = 10**18
KEY = ApiKey("key_1", "acct_1", "laptop", "tg-A…z", 1, None)

CASES = [
    # What is so of the key, of its account, how it shows, and what a caller is told.
    ({}, {}, "active", None),
    ({"expires_ns": NOW_NS + 1}, {}, "active", None),
    ({"expires_ns": NOW_NS}, {}, "expired", "invalid_api_key"),
    ({"paused": True}, {}, "paused", "invalid_api_key"),
    ({"revoked_ns": 5}, {}, "revoked", "invalid_api_key"),
    ({}, {"suspended": True}, "blocked", "account_deactivated"),
    ({}, {"available": -1}, "blocked", None),
    ({}, {"available": -1, "held": 1}, "active", None),
    ({"paused": True}, {"suspended": True}, "paused", "invalid_api_key"),
    ({"paused": True, "expires_ns": NOW_NS}, {}, "expired", "invalid_api_key"),
    ({"revoked_ns": 5, "paused": True, "expires_ns": 1}, {"suspended": True}, "revoked", "invalid_api_key"),
]


@pytest.mark.parametrize(("of_key", "of_account", "status", "code"), CASES)
def test_status_and_refusal(of_key: dict[str, int], of_account: dict[str, int], status: str, code: str | None) -> None:
    """A key is revoked, expired, paused, blocked by its account, or active, in this order; a call is refused alike."""
    key, account = KEY._replace(**of_key), Account("acct_1", "Ann", 1)  # type: ignore[arg-type]
    for name, value in of_account.items():
        setattr(account, name, value)
    refusal = refusal_of(key, account, NOW_NS)

    assert status_of(key, account, NOW_NS) == status
    assert (refusal and refusal.code) == code


def test_changes_are_told() -> None:
    """The books are told what changed and to what, of a name only that it did, and nothing of what stayed."""
    after = KEY._replace(name="Ann's phone", models=frozenset({"b", "a"}), expires_ns=7, limits=Limits(60))

    assert describe_changes(KEY, KEY) == ""
    assert describe_changes(KEY, after) == "name, expires_ns=7, models=a b, requests_per_minute=60"
    assert describe_changes(after, KEY) == "name, expires_ns=none, models=all, requests_per_minute=none"
