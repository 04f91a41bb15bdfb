"""The operator's routes of keys and of how accounts stand: what they take, what they refuse, what they show."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.keys import key_digest, mask
from tallygate.core.limits import UNLIMITED, Limits
from tests.api.test_admin import NOW_NS, Operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PEPPER = bytes(32)
LATER_NS = NOW_NS + 10**9
NO_LIMITS = dict.fromkeys(
    (
        "requests_per_minute",
        "tokens_per_minute",
        "concurrent_requests",
        "spend_day_usd",
        "spend_month_usd",
        "spend_total_usd",
    )
)


class Keeper(Operator):
    """An operator with an account and a key of it."""

    account: str
    path: str
    made: dict[str, Any]

    async def begin(self) -> None:
        """Open the account and make the key."""
        self.account = (await self.ask("POST", "/admin/v1/accounts", {"name": "Ada"}))[1]["id"]
        self.made = (await self.ask("POST", "/admin/v1/keys", {"account": self.account}))[1]
        self.path = f"/admin/v1/keys/{self.made['id']}"

    async def status(self) -> str:
        """Return the status of the key."""
        return str((await self.ask("GET", self.path))[1]["status"])

    def notes(self) -> int:
        """Return how many entries the account has."""
        return self.ledger.account(self.account).sequence


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    """Return an operator of an installation with one key."""
    made = Keeper()
    await made.begin()
    yield made
    await made.ledger.close()


async def test_a_key_is_made_with_what_it_may_do(keeper: Keeper) -> None:
    """Expiry, models (under their canonical ids) and limits are taken, kept, and shown as they were said."""
    limits = {"requests_per_minute": 60, "concurrent_requests": 2, "spend_day_usd": "2.50", "spend_total_usd": "0"}
    body = {"account": keeper.account, "name": "ci", "expires_ns": LATER_NS, "models": ["KNOWN"], "limits": limits}
    status, made = await keeper.ask("POST", "/admin/v1/keys", body)
    _, shown = await keeper.ask("GET", f"/admin/v1/keys/{made['id']}")

    assert status == 201
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert (shown["expires_ns"], shown["models"], shown["status"]) == (LATER_NS, ["Known/Model"], "active")
    assert shown["limits"] == {**NO_LIMITS, **limits, "spend_day_usd": "2.5"}
    assert keeper.ledger.key(made["id"]).limits == Limits(60, None, 2, 25 * 10**11, None, 0)


async def test_a_key_that_may_do_everything_says_so(keeper: Keeper) -> None:
    """Without terms, nothing is limited, and what is not there is null."""
    _, shown = await keeper.ask("GET", keeper.path)

    assert (shown["expires_ns"], shown["models"], shown["limits"], shown["imported"]) == (None, None, NO_LIMITS, False)


async def test_a_change_leaves_alone_what_it_does_not_name(keeper: Keeper) -> None:
    """A member that is left out stays, null takes it away, and so with each limit."""
    first = {"name": "ci", "expires_ns": LATER_NS, "models": ["known"], "limits": {"requests_per_minute": 60}}
    await keeper.ask("PATCH", keeper.path, first)
    _, shown = await keeper.ask("PATCH", keeper.path, {"limits": {"spend_day_usd": "1"}})
    assert (shown["name"], shown["expires_ns"], shown["models"]) == ("ci", LATER_NS, ["Known/Model"])
    assert shown["limits"] == {**NO_LIMITS, "requests_per_minute": 60, "spend_day_usd": "1"}

    _, shown = await keeper.ask("PATCH", keeper.path, {"limits": {"requests_per_minute": None}, "models": None})
    assert (shown["models"], shown["limits"]) == (None, {**NO_LIMITS, "spend_day_usd": "1"})
    _, shown = await keeper.ask("PATCH", keeper.path, {"limits": None, "expires_ns": None})
    assert (shown["expires_ns"], shown["limits"]) == (None, NO_LIMITS)


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_ns": NOW_NS}, "expires_ns"),
        ({"expires_ns": 2**63}, "expires_ns"),
        ({"expires_ns": "2027"}, "expires_ns"),
        ({"expires_ns": True}, "expires_ns"),
        ({"models": []}, "models"),
        ({"models": ["known"] * 101}, "models"),
        ({"models": "known"}, "models"),
        ({"models": ["known", "unknown"]}, "models[1]"),
        ({"models": [7]}, "models[0]"),
        ({"limits": 5}, "limits"),
        ({"limits": {"smiles": 5}}, "limits.smiles"),
        ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": True}}, "limits.requests_per_minute"),
        ({"limits": {"tokens_per_minute": "5"}}, "limits.tokens_per_minute"),
        ({"limits": {"concurrent_requests": 10**12 + 1}}, "limits.concurrent_requests"),
        ({"limits": {"spend_day_usd": 5}}, "limits.spend_day_usd"),
        ({"limits": {"spend_day_usd": "-1"}}, "limits.spend_day_usd"),
        ({"limits": {"spend_total_usd": "9223373"}}, "limits.spend_total_usd"),
        ({"limits": {"spend_day_picousd": 5}}, "limits.spend_day_picousd"),
        ({"name": "a\nb"}, "name"),
        ({"actor": " "}, "actor"),
        ({"paused": True}, "paused"),
    ],
)
async def test_terms_are_never_guessed(keeper: Keeper, body: dict[str, Any], param: str, *, made: bool) -> None:
    """What is no term, or none that can be kept, is refused by its place, and nothing is made or changed."""
    before = keeper.ledger.keys()
    if made:
        status, content = await keeper.ask("PATCH", keeper.path, body)
    else:
        status, content = await keeper.ask("POST", "/admin/v1/keys", {"account": keeper.account, **body})

    assert (status, content["error"]["param"]) == (400, param)
    assert keeper.ledger.keys() == before


async def test_a_key_rests_and_goes_on(keeper: Keeper) -> None:
    """Paused and resumed, twice each, a key has the status that was asked for, and each is noted once."""
    before, seen = keeper.notes(), []
    for act in ("pause", "pause", "resume", "resume"):
        status, content = await keeper.ask("POST", f"{keeper.path}/{act}", {"actor": "eve"})
        seen.append((status, content["status"]))

    assert seen == [(200, "paused"), (200, "paused"), (200, "active"), (200, "active")]
    assert keeper.notes() == before + 2


async def test_a_key_shows_its_own_state_before_that_of_its_account(keeper: Keeper) -> None:
    """Suspended, an account's keys are blocked, but for paused and revoked ones; resumed, they are what they were."""
    other = (await keeper.ask("POST", "/admin/v1/keys", {"account": keeper.account}))[1]["id"]
    await keeper.ask("POST", f"/admin/v1/keys/{other}/pause")
    account, seen = f"/admin/v1/accounts/{keeper.account}", []
    for act in ("suspend", "suspend", "resume", "resume"):
        status, content = await keeper.ask("POST", f"{account}/{act}", {"reason": "a chargeback", "actor": "eve"})
        _, shown = await keeper.ask("GET", account)
        seen.append((status, content["status"], [key["status"] for key in shown["keys"]]))
        made = (await keeper.ask("POST", "/admin/v1/keys", {"account": keeper.account}))[1]
        assert made["status"] == ("active" if act == "resume" else "blocked")
        await keeper.ask("DELETE", f"/admin/v1/keys/{made['id']}")

    assert [(status, state, keys[:2]) for status, state, keys in seen] == [
        (200, "suspended", ["blocked", "paused"]),
        (200, "suspended", ["blocked", "paused"]),
        (200, "active", ["active", "paused"]),
        (200, "active", ["active", "paused"]),
    ]


@pytest.mark.parametrize("act", ["suspend", "resume"])
async def test_an_account_is_closed_and_opened_for_a_reason(keeper: Keeper, act: str) -> None:
    """Without a reason an account is neither suspended nor resumed."""
    path = f"/admin/v1/accounts/{keeper.account}/{act}"
    status, content = await keeper.ask("POST", path, {"actor": "eve"})

    assert (status, content["error"]["param"]) == (400, "reason")
    assert not keeper.ledger.account(keeper.account).suspended


async def test_an_account_is_limited(keeper: Keeper) -> None:
    """Limits of an account are set one by one, shown, and taken away; what is no limit is refused."""
    path = f"/admin/v1/accounts/{keeper.account}"
    await keeper.ask("PATCH", path, {"limits": {"tokens_per_minute": 1000}})
    _, shown = await keeper.ask("PATCH", path, {"limits": {"spend_month_usd": "10"}})
    assert shown["limits"] == {**NO_LIMITS, "tokens_per_minute": 1000, "spend_month_usd": "10"}
    assert keeper.ledger.account(keeper.account).limits == Limits(None, 1000, None, None, 10**13)

    assert (await keeper.ask("PATCH", path, {"limits": {"smiles": 1}}))[1]["error"]["param"] == "limits.smiles"
    _, shown = await keeper.ask("PATCH", path, {"limits": None})
    assert shown["limits"] == NO_LIMITS
    assert keeper.ledger.account(keeper.account).limits == UNLIMITED


@pytest.mark.parametrize("grace_s", [None, 0, 600])
async def test_a_rotated_key_gets_a_secret_that_is_shown_once(keeper: Keeper, grace_s: int | None) -> None:
    """The answer has the new secret, by which the same key is found; by the old one, only within a grace."""
    body = {} if grace_s is None else {"grace_s": grace_s}
    status, rotated = await keeper.ask("POST", f"{keeper.path}/rotate", body)
    _, shown = await keeper.ask("GET", keeper.path)

    assert (status, rotated["id"], rotated["grace_s"]) == (200, keeper.made["id"], grace_s or 0)
    assert rotated["secret"] != keeper.made["secret"]
    assert shown["key"] == mask(rotated["secret"])
    assert rotated["secret"] not in str(shown)
    found = keeper.ledger.find_key(key_digest(PEPPER, rotated["secret"]))
    old = keeper.ledger.find_key(key_digest(PEPPER, keeper.made["secret"]))
    assert found is not None
    assert found.id == keeper.made["id"]
    assert (old is not None) == bool(grace_s)


@pytest.mark.parametrize("grace_s", [-1, 30 * 86_400 + 1, "10m", 0.5, True])
async def test_a_grace_has_bounds(keeper: Keeper, grace_s: object) -> None:
    """A grace that is none rotates nothing."""
    status, content = await keeper.ask("POST", f"{keeper.path}/rotate", {"grace_s": grace_s})

    assert (status, content["error"]["param"]) == (400, "grace_s")
    assert keeper.ledger.find_key(key_digest(PEPPER, keeper.made["secret"])) is not None


async def test_a_key_is_imported_by_its_hash(keeper: Keeper) -> None:
    """The SHA-256 of a key from elsewhere makes a key that its secret finds; no secret is made or shown."""
    hashed = sha256(b"gp-from-elsewhere").hexdigest().upper()
    body = {"account": keeper.account, "sha256": hashed, "limits": {"requests_per_minute": 5}}
    status, made = await keeper.ask("POST", "/admin/v1/keys", body)
    again, content = await keeper.ask("POST", "/admin/v1/keys", body)

    assert status == 201
    assert "secret" not in made
    assert (made["imported"], made["key"], made["limits"]["requests_per_minute"]) == (True, "…", 5)
    found = keeper.ledger.find_key(key_digest(PEPPER, "gp-from-elsewhere"))
    assert found is not None
    assert found.id == made["id"]
    assert (again, content["error"]["code"], content["error"]["param"]) == (409, "conflict", "sha256")


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "gp-a-key-itself", sha256(b"").hexdigest()])
async def test_what_is_no_hash_of_a_key_is_not_imported(keeper: Keeper, text: str) -> None:
    """Only a SHA-256 in hexadecimal digits is imported, and not that of nothing."""
    status, content = await keeper.ask("POST", "/admin/v1/keys", {"account": keeper.account, "sha256": text})

    assert (status, content["error"]["code"], content["error"]["param"]) == (400, "invalid_value", "sha256")
    assert len(keeper.ledger.keys()) == 1


async def test_a_revoked_key_does_not_come_back(keeper: Keeper) -> None:
    """Every act on a revoked key but revoking is a 409 that says so; revoked again it is a 200, noted once."""
    for _ in range(2):
        assert (await keeper.ask("DELETE", keeper.path))[0] == 200
    before = keeper.notes()
    acts = [("POST", "/pause"), ("POST", "/resume"), ("POST", "/rotate"), ("PATCH", "")]
    for method, act in acts:
        status, content = await keeper.ask(method, keeper.path + act)
        assert (status, content["error"]["code"]) == (409, "conflict")

    assert await keeper.status() == "revoked"
    assert keeper.notes() == before == 3


async def test_what_is_not_there_is_told(keeper: Keeper) -> None:
    """An act on an unknown key or account is a 404."""
    body = {"reason": "none"}
    for method, path in (
        ("GET", "keys/key_none"),
        ("PATCH", "keys/key_none"),
        ("DELETE", "keys/key_none"),
        ("POST", "keys/key_none/pause"),
        ("POST", "keys/key_none/resume"),
        ("POST", "keys/key_none/rotate"),
        ("PATCH", "accounts/acct_none"),
    ):
        assert (await keeper.ask(method, f"/admin/v1/{path}"))[1]["error"]["code"] == "not_found"
    for act in ("suspend", "resume"):
        assert (await keeper.ask("POST", f"/admin/v1/accounts/acct_none/{act}", body))[1]["error"][
            "code"
        ] == "not_found"
