"""The commands that look at or change the books, each on the store itself and beside a running gateway."""

import pytest

from tests.cli.installation import ADMIN_KEY, UPSTREAM_VARIABLE, Installation


def test_an_account_is_opened_listed_and_shown(either: Installation) -> None:
    """What `accounts create` opens, `list` and `show` find, with nothing in it."""
    made = either.ask("accounts", "create", "Ada & Co")
    listed = either.ask("accounts", "list")
    shown = either.ask("accounts", "show", made["id"])

    assert made["id"].startswith("acct_")
    assert made["balance_usd"] == made["available_usd"] == made["held_usd"] == "0"
    assert listed == {"data": [made]}
    assert shown == {**made, "keys": []}


def test_a_deposit_is_booked_exactly_and_once_for_each_reference(either: Installation) -> None:
    """`credit` adds the exact amount, and a repeated reference adds nothing."""
    account = either.ask("accounts", "create", "Ada")["id"]
    first = either.ask("credit", account, "5.000000000001", "--reference", "invoice 7")
    again = either.ask("credit", account, "5.000000000001", "--reference", "invoice 7")

    assert first["account"]["balance_usd"] == "5.000000000001"
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["account"]["balance_usd"] == "5.000000000001"


def test_an_act_is_booked_once_for_each_idempotency_key(either: Installation) -> None:
    """`credit` and `correct` under the same key do nothing a second time; another act under it is exit code 1."""
    account = either.ask("accounts", "create", "Ada")["id"]
    for command in (("credit", account, "5"), ("correct", account, "-2", "--reason", "r", "--actor", "grace")):
        first, again = (either.ask(*command, "--idempotency-key", "k-1") for _ in range(2))
        assert (first["replayed"], again) == (False, {**first, "replayed": True})
    assert again["account"]["balance_usd"] == "3"

    refused = either.run("--json", "credit", account, "6", "--idempotency-key", "k-1")
    assert (refused.code, refused.content["error"]["code"]) == (1, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "two words", "k\r\nHost: x", "k" * 256])
def test_a_text_that_is_no_idempotency_key_is_bad_usage(installation: Installation, key: str) -> None:
    """`credit` takes visible ASCII as a key; anything else is exit code 2."""
    assert installation.run("credit", "acct_x", "5", "--idempotency-key", key).code == 2


def test_a_reference_stands_for_one_amount(either: Installation) -> None:
    """`credit` refuses a known reference with another amount, with exit code 1."""
    account = either.ask("accounts", "create", "Ada")["id"]
    either.ask("credit", account, "5", "--reference", "invoice 7")
    refused = either.run("--json", "credit", account, "6", "--reference", "invoice 7")

    assert refused.code == 1
    assert refused.content["error"]["code"] == "conflict"


@pytest.mark.parametrize("usd", ["0", "1000001"])
def test_an_amount_that_may_not_be_booked_is_refused(installation: Installation, usd: str) -> None:
    """`credit` refuses nothing and too much with exit code 1, and books neither."""
    account = installation.ask("accounts", "create", "Ada")["id"]

    assert installation.run("credit", account, usd).code == 1
    assert installation.ask("accounts", "show", account)["balance_usd"] == "0"


@pytest.mark.parametrize("usd", ["five", "1e3", "0.0000000000001", "NaN", ""])
def test_a_text_that_is_no_amount_is_bad_usage(installation: Installation, usd: str) -> None:
    """`credit` takes plain decimals; anything else is exit code 2."""
    assert installation.run("credit", "acct_x", usd).code == 2


def test_a_key_is_shown_once_listed_masked_and_revoked(either: Installation) -> None:
    """`keys create` is the only command that ever shows the secret."""
    account = either.ask("accounts", "create", "Ada")["id"]
    other = either.ask("accounts", "create", "Bob")["id"]
    made = either.ask("keys", "create", account, "--name", "laptop")
    listed = either.run("--json", "keys", "list", "--account", account)
    revoked = either.ask("keys", "revoke", made["id"])

    assert made["secret"].startswith("tg-")
    assert listed.content["data"] == [{name: made[name] for name in made if name != "secret"}]
    assert made["secret"] not in listed.out
    assert either.ask("keys", "list", "--account", other) == {"data": []}
    assert revoked["status"] == "revoked"
    assert either.ask("accounts", "show", account)["keys"] == [revoked]


@pytest.mark.parametrize(("usd", "balance"), [("-7.5", "-2.5"), ("+0.000000000001", "5.000000000001"), ("1", "6")])
def test_a_balance_is_corrected_either_way(either: Installation, usd: str, balance: str) -> None:
    """`correct` takes a signed amount, with who and why, and says what the balance is then."""
    account = either.ask("accounts", "create", "Ada")["id"]
    either.ask("credit", account, "5")
    corrected = either.ask("correct", account, usd, "--reason", "paid twice", "--actor", "grace")

    assert corrected["account"]["balance_usd"] == balance
    assert (corrected["reason"], corrected["actor"]) == ("paid twice", "grace")
    assert "paid twice (grace)" in either.run("correct", account, usd, "--reason", "paid twice", "--actor", "grace").out
    assert either.ask("verify")["kinds"]["correction"] == 2


def test_a_correction_needs_who_and_why(installation: Installation) -> None:
    """`correct` without reason or actor is wrong usage, and changes nothing."""
    account = installation.ask("accounts", "create", "Ada")["id"]

    assert installation.run("correct", account, "1", "--actor", "grace").code == 2
    assert installation.run("correct", account, "1", "--reason", "why").code == 2
    assert installation.run("correct", account, "a lot", "--reason", "why", "--actor", "grace").code == 2
    assert installation.ask("accounts", "show", account)["balance_usd"] == "0"


def test_people_get_the_secret_alone_on_standard_output(installation: Installation) -> None:
    """`keys create` prints the secret to standard output, and what to do with it to standard error."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    made = installation.run("keys", "create", account)

    assert made.out.strip().startswith("tg-")
    assert len(made.out.splitlines()) == 1
    assert "only now" in made.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("accounts", "show", "acct_nobody"),
        ("credit", "acct_nobody", "5"),
        ("keys", "create", "acct_nobody"),
        ("keys", "list", "--account", "acct_nobody"),
        ("keys", "revoke", "key_nothing"),
        ("accounts", "show", "../keys"),
        ("accounts", "show", "a%2e ä?x#y"),
        ("accounts", "show", ""),
        ("keys", "list", "--account", ""),
    ],
)
def test_what_is_not_there_is_exit_code_5(either: Installation, arguments: tuple[str, ...]) -> None:
    """An account or key that does not exist is told apart from every other refusal."""
    outcome = either.run("--json", *arguments)

    assert outcome.code == 5
    assert outcome.content["error"]["code"] == "not_found"


def test_a_price_is_set_and_keeps_what_is_not_said(either: Installation) -> None:
    """`prices set` changes what it names and leaves the rest, also the prices of the configuration."""
    either.ask("prices", "set", "m", "--input", "0.25", "--output", "1", "--call", "0.001")
    sheet = either.ask("prices", "set", "m", "--output", "2")

    assert sheet["models"] == {
        "m": {
            "input_usd_per_1m": "0.25",
            "output_usd_per_1m": "2",
            "usd_per_call": "0.001",
            "free": False,
            "quote": None,
        },
        "priced-in-file": {
            "input_usd_per_1m": "0.5",
            "output_usd_per_1m": "1.5",
            "usd_per_call": "0",
            "free": False,
            "quote": None,
        },
    }
    assert either.ask("prices", "show") == sheet


def test_a_price_that_was_set_outlives_a_start_of_the_gateway(installation: Installation) -> None:
    """A start applies a configuration once; what was said after that stays."""
    installation.ask("prices", "set", "priced-in-file", "--input", "9")
    with installation.gateway():
        assert installation.ask("prices", "show")["models"]["priced-in-file"]["input_usd_per_1m"] == "9"


def test_only_free_makes_a_model_free(either: Installation) -> None:
    """`prices set` refuses a price of zero unless `--free` says so."""
    assert either.run("prices", "set", "m", "--input", "0", "--output", "0").code == 1
    assert either.ask("prices", "set", "m", "--free")["models"]["m"]["free"] is True


@pytest.mark.parametrize("arguments", [(), ("--input", "cheap"), ("--input", "0.0000001")])
def test_a_price_must_be_said_and_be_a_price(installation: Installation, arguments: tuple[str, ...]) -> None:
    """`prices set` without a price, or with what is none, is exit code 2."""
    assert installation.run("prices", "set", "m", *arguments).code == 2


def test_the_books_add_up(either: Installation) -> None:
    """`verify` says what it has checked, to the last pico-dollar."""
    account = either.ask("accounts", "create", "Ada")["id"]
    either.ask("credit", account, "5.25")
    report = either.ask("verify")

    assert report["clean"] is True
    assert report["accounts"] == 1
    assert report["kinds"]["deposit"] == 1
    assert report["usd"]["deposits"] == report["usd"]["available"] == "5.25"


def test_people_get_the_figures_and_a_verdict(either: Installation) -> None:
    """`verify` shows the equation of the books and says whether it holds."""
    account = either.ask("accounts", "create", "Ada")["id"]
    either.ask("credit", account, "1234.5")
    said = either.run("verify")

    assert said.code == 0
    assert "$1,234.50" in said.out
    assert said.out.splitlines()[-1] == "The books add up."


def test_people_get_tables(either: Installation) -> None:
    """Without `--json`, each command shows the same facts as a table, with every id whole."""
    account = either.ask("accounts", "create", "[red]Ada[/red]")["id"]
    either.ask("credit", account, "5")
    key = either.ask("keys", "create", account)
    accounts, shown = either.run("accounts", "list").out, either.run("accounts", "show", account).out

    assert all(text in accounts for text in (account, "[red]Ada[/red]", "$5.00"))
    assert all(text in shown for text in (account, "[red]Ada[/red]", "$5.00", key["id"]))
    assert key["id"] in either.run("keys", "list").out
    assert "$0.50" in either.run("prices", "set", "m", "--input", "0.5", "--output", "1").out
    assert "booked" in either.run("credit", account, "1").out


def test_the_admin_key_is_in_no_output(either: Installation) -> None:
    """Whatever a command says, it never says a secret of the configuration."""
    for arguments in (("check",), ("--json", "check"), ("accounts", "list"), ("verify",), ("accounts", "show", "x")):
        outcome = either.run(*arguments)

        assert ADMIN_KEY not in outcome.out + outcome.err


def test_an_operator_needs_no_secret_of_an_upstream(either: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the key of an upstream is not in the environment, the commands on the books work all the same."""
    monkeypatch.delenv(UPSTREAM_VARIABLE)

    assert either.ask("accounts", "list") == {"data": []}
    assert either.ask("verify")["clean"] is True
    assert either.run("check").code == 3


def test_a_lost_pepper_is_not_made_anew(installation: Installation) -> None:
    """Without the pepper that its keys were made under, a store is not opened, and no new pepper ends their life."""
    pepper = installation.store.with_suffix(".pepper")
    pepper.unlink()
    refused = installation.run("accounts", "list")

    assert refused.code == 1
    assert str(pepper) in refused.err
    assert not pepper.exists()
