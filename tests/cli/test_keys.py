"""`tallygate keys` and how accounts stand, on the store itself and beside a running gateway."""

import http.client
import time
from contextlib import closing
from hashlib import sha256
from typing import Any

import pytest

from tests.cli.installation import Installation

LATER_NS = 1_924_905_600 * 10**9  # 2030-12-31


@pytest.fixture
def account(either: Installation) -> str:
    """Return the id of an account."""
    return str(either.ask("accounts", "create", "Ada")["id"])


def status_of_call(installation: Installation, secret: str) -> int:
    """Return the status with which a running gateway answers the holder of a secret."""
    with closing(http.client.HTTPConnection("127.0.0.1", installation.port, timeout=180)) as connection:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {secret}"})
        return connection.getresponse().status


def test_a_key_is_made_and_changed(either: Installation, account: str) -> None:
    """Options say what a key may do; `set` changes what it is given, and `none`, `never` and `all` take away."""
    made = either.ask(
        *("keys", "create", account, "--name", "ci", "--expires", "2030-12-31", "--model", "Priced-In-File"),
        *("--requests-per-minute", "60", "--tokens-per-minute", "5", "--concurrent-requests", "2"),
        *("--spend-day", "2.50", "--spend-month", "10", "--spend-total", "100"),
    )
    key = made["id"]
    assert (made["expires_ns"], made["models"]) == (LATER_NS, ["priced-in-file"])
    assert list(made["limits"].values()) == [60, 5, 2, "2.5", "10", "100"]

    changed = either.ask("keys", "set", key, "--name", "laptop", "--requests-per-minute", "none", "--spend-day", "3")
    assert changed == {
        **{name: value for name, value in made.items() if name != "secret"},
        "name": "laptop",
        "limits": {**made["limits"], "requests_per_minute": None, "spend_day_usd": "3"},
    }
    free = either.ask("keys", "set", key, "--expires", "never", "--model", "all")
    assert (free["expires_ns"], free["models"]) == (None, None)
    assert either.ask("keys", "show", key) == free


def test_an_expiry_can_be_a_length_of_time(installation: Installation) -> None:
    """`30d` is thirty days from now."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    before_ns = time.time_ns()
    made = installation.ask("keys", "create", account, "--expires", "30d")

    assert before_ns <= made["expires_ns"] - 30 * 86_400 * 10**9 <= time.time_ns()


def test_lives_of_keys_and_accounts(either: Installation, account: str) -> None:
    """Paused, resumed, suspended, resumed, revoked: each is answered with how things stand then."""
    key = either.ask("keys", "create", account)["id"]
    seen: list[Any] = [either.ask("keys", act, key, "--actor", "eve")["status"] for act in ("pause", "resume")]
    for act in ("suspend", "resume"):
        seen.append(either.ask("accounts", act, account, "--reason", "unpaid", "--actor", "eve")["status"])
        seen.append(either.ask("keys", "show", key)["status"])
    seen.append(either.ask("keys", "revoke", key)["status"])

    assert seen == ["paused", "active", "suspended", "blocked", "active", "active", "revoked"]
    assert either.ask("verify")["clean"] is True


def test_an_account_is_limited(either: Installation, account: str) -> None:
    """`accounts set` limits an account; what is left out stays."""
    either.ask("accounts", "set", account, "--concurrent-requests", "3")
    limits = either.ask("accounts", "set", account, "--spend-month", "20")["limits"]

    assert {name: limit for name, limit in limits.items() if limit} == {
        "concurrent_requests": 3,
        "spend_month_usd": "20",
    }
    assert "concurrent_requests 3, spend_month_usd 20" in either.run("accounts", "show", account).out


def test_acts_are_in_force_on_the_next_request(installation: Installation) -> None:
    """Beside a running gateway, whatever a command does to a key decides over the very next request."""
    with installation.gateway():
        account = installation.ask("accounts", "create", "Ada")["id"]
        made = installation.ask("keys", "create", account)
        key, first = made["id"], made["secret"]
        seen = [status_of_call(installation, first)]
        for command in (
            ("keys", "pause", key),
            ("keys", "resume", key),
            ("accounts", "suspend", account, "--reason", "unpaid"),
            ("accounts", "resume", account, "--reason", "paid"),
        ):
            installation.ask(*command)
            seen.append(status_of_call(installation, first))
        assert seen == [200, 401, 200, 403, 200]

        second = installation.ask("keys", "rotate", key, "--grace", "10m")["secret"]
        assert [status_of_call(installation, secret) for secret in (first, second)] == [200, 200]
        third = installation.ask("keys", "rotate", key)["secret"]
        assert [status_of_call(installation, secret) for secret in (first, second, third)] == [401, 401, 200]
        assert status_of_call(installation, "gp-from-elsewhere") == 401
        installation.ask("keys", "import", account, sha256(b"gp-from-elsewhere").hexdigest())
        assert status_of_call(installation, "gp-from-elsewhere") == 200


def test_a_new_prefix_ends_no_key(installation: Installation) -> None:
    """Keys begin as the configuration says; those that were made under an earlier prefix go on."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    old = installation.ask("keys", "create", account)["secret"]
    with installation.config.open("a") as file:
        file.write('\n[keys]\nprefix = "acme_live_"\n')
    made = installation.ask("keys", "create", account)
    assert old.startswith("tg-")
    assert made["secret"].startswith("acme_live_")
    assert made["key"].startswith(made["secret"][:14])

    with installation.gateway():
        assert [status_of_call(installation, secret) for secret in (old, made["secret"])] == [200, 200]


def test_a_secret_is_all_that_is_printed(installation: Installation) -> None:
    """`keys rotate` prints the secret to standard output, and what to do with it to standard error."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    key = installation.ask("keys", "create", account)["id"]
    rotated = installation.run("keys", "rotate", key, "--grace", "10m")
    shown = installation.run("keys", "show", key)

    assert rotated.out.startswith("tg-")
    assert len(rotated.out.splitlines()) == 1
    assert "works for 600 more seconds" in rotated.err
    assert rotated.out.strip() not in shown.out
    assert rotated.out[:7] in shown.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "set", "KEY"), 2),
        (("keys", "set", "KEY", "--requests-per-minute", "0"), 2),
        (("keys", "set", "KEY", "--spend-day", "much"), 2),
        (("keys", "set", "KEY", "--spend-day", "-1"), 1),
        (("keys", "set", "KEY", "--expires", "soon"), 2),
        (("keys", "set", "KEY", "--expires", "1999-12-31"), 1),
        (("keys", "set", "KEY", "--model", "no/model"), 1),
        (("keys", "set", "key_none", "--name", "x"), 5),
        (("keys", "show", "key_none"), 5),
        (("keys", "pause", "key_none"), 5),
        (("keys", "rotate", "KEY", "--grace", "10"), 2),
        (("keys", "import", "ACCOUNT", "abc"), 1),
        (("keys", "import", "acct_none", "0" * 64), 5),
        (("accounts", "set", "ACCOUNT"), 2),
        (("accounts", "suspend", "ACCOUNT"), 2),
        (("accounts", "suspend", "acct_none", "--reason", "x"), 5),
    ],
)
def test_what_cannot_be_done_is_told_by_the_exit_code(
    installation: Installation, arguments: tuple[str, ...], code: int
) -> None:
    """Wrong usage is 2, a refusal 1, what is not there 5; nothing is changed."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    key = installation.ask("keys", "create", account)["id"]
    before = installation.ask("accounts", "show", account)
    named = [{"KEY": key, "ACCOUNT": account}.get(argument, argument) for argument in arguments]

    assert installation.run("--json", *named).code == code
    assert installation.ask("accounts", "show", account) == before


def test_a_revoked_key_is_refused_with_exit_code_1(installation: Installation) -> None:
    """Nothing can be done with a revoked key, and the message says so."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    key = installation.ask("keys", "create", account)["id"]
    installation.ask("keys", "revoke", key)
    for act in ("pause", "resume", "rotate"):
        outcome = installation.run("--json", "keys", act, key)
        assert (outcome.code, outcome.content["error"]["code"]) == (1, "conflict")
        assert "revoked, for good" in outcome.err
