"""`init` and `check`, and where the configuration is looked for."""

from pathlib import Path

import pytest

from tallygate.cli import main
from tests.cli.installation import ADMIN_KEY, ADMIN_VARIABLE, Installation, Outcome

WRONG = """\
[server]
listen = "nowhere"
colour = "blue"

[billing]
fee_ppm = -1

[[upstreams]]
name = "u"
kind = "openai"
base_url = "ftp://example.com/v1"
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    """Run a command in this process."""
    capsys.readouterr()
    code = main(arguments)
    said = capsys.readouterr()
    return Outcome(code, said.out, said.err)


def test_init_writes_a_configuration_and_makes_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`init` in an empty folder leaves a configuration, a store that verifies, and says what comes next."""
    monkeypatch.chdir(tmp_path)
    made = run(capsys, "init")

    assert made.code == 0
    assert "tallygate serve" in made.out
    assert (tmp_path / "tallygate.toml").exists()
    assert (tmp_path / "data" / "tallygate.db").stat().st_mode & 0o077 == 0


def test_init_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second `init` is refused with exit code 1 and changes no file."""
    monkeypatch.chdir(tmp_path)
    run(capsys, "init")
    (tmp_path / "tallygate.toml").write_text("# mine\n" + (tmp_path / "tallygate.toml").read_text())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = run(capsys, "init")

    assert again.code == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_init_makes_a_store_for_a_configuration_that_is_there(installation: Installation) -> None:
    """`init` with a configuration and no store makes the store and leaves the configuration as it is."""
    text = installation.config.read_text()

    assert installation.store.exists()
    assert installation.config.read_text() == text
    assert installation.ask("verify")["clean"] is True


def test_check_says_that_all_is_well(installation: Installation) -> None:
    """`check` on a good configuration sums it up with exit code 0."""
    content = installation.ask("check")

    assert content["ok"] is True
    assert content["upstreams"] == ["nowhere"]
    assert content["models"] == ["priced-in-file"]
    assert content["events"] == "log only"
    assert "nowhere" in installation.run("check").out


def test_check_online_tells_which_upstream_cannot_be_used(installation: Installation) -> None:
    """`check --online` on an upstream that nobody answers for names it, says what to do, and ends with exit code 1."""
    outcome = installation.run("check", "--online", "--json")

    assert outcome.code == 1
    assert [(trial["upstream"], trial["ok"]) for trial in outcome.content["online"]] == [("nowhere", False)]
    assert "check its URL" in outcome.err


def test_check_tells_every_problem_at_once_with_line_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` lists all problems, each with its line and what to do, and ends with exit code 3."""
    (tmp_path / "wrong.toml").write_text(WRONG)
    for_programs = run(capsys, "check", "--json", "--config", str(tmp_path / "wrong.toml"))
    for_people = run(capsys, "check", "--config", str(tmp_path / "wrong.toml"))
    problems = for_programs.content["problems"]

    assert for_programs.code == for_people.code == 3
    assert [problem["line"] for problem in problems] == [2, 3, 6, 11]
    assert all(problem["message"] and problem["remedy"] for problem in problems)
    assert all(f"line {line}:" in for_people.err for line in (2, 3, 6, 11))
    assert for_people.out == ""


@pytest.mark.parametrize("command", [("serve",), ("accounts", "list"), ("verify",), ("check",)])
def test_a_missing_configuration_is_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """Every command that needs a configuration says which file is missing, with exit code 3."""
    missing = tmp_path / "missing.toml"
    outcome = run(capsys, *command, "--config", str(missing))

    assert outcome.code == 3
    assert str(missing) in outcome.err


def test_the_environment_says_where_the_configuration_is(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`TALLYGATE_CONFIG` is taken where `--config` is not given, in no matter which place."""
    monkeypatch.setenv("TALLYGATE_CONFIG", str(installation.config))
    missing = str(installation.folder / "missing.toml")

    assert run(capsys, "check").code == 0
    assert run(capsys, "--config", missing, "check").code == 3
    assert run(capsys, "check", "--config", missing).code == 3


def test_an_unset_secret_is_a_problem_that_names_its_variable(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` says which variable an upstream's key is missing from."""
    monkeypatch.delenv("TALLYGATE_TEST_UPSTREAM_KEY")
    outcome = installation.run("check")

    assert outcome.code == 3
    assert "TALLYGATE_TEST_UPSTREAM_KEY" in outcome.err


def test_no_problem_quotes_a_secret(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration with problems shows none of the secrets that it refers to."""
    monkeypatch.setenv(ADMIN_VARIABLE, ADMIN_KEY)
    installation.config.write_text(installation.config.read_text() + "\n[models.x]\nfree = 7\n")
    outcome = installation.run("--json", "check")

    assert outcome.code == 3
    assert ADMIN_KEY not in outcome.out + outcome.err


@pytest.mark.parametrize("arguments", [("nonsense",), ("accounts",), ("accounts", "create"), ("serve", "--nonsense")])
def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """A command that does not exist, or lacks what it needs, ends with exit code 2."""
    assert run(capsys, *arguments).code == 2


def test_every_command_has_help_and_takes_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The contract's commands are there, and each takes `--json` and `--config` behind its name."""
    commands = (
        "init check serve devnet demo verify credit accounts,create accounts,list accounts,show "
        "accounts,set accounts,suspend accounts,resume prices,show prices,set keys,create keys,list keys,revoke "
        "keys,show keys,set keys,pause keys,resume keys,rotate keys,import"
    )
    for command in commands.split():
        shown = run(capsys, *command.split(","), "--help")

        assert shown.code == 0, command
        assert "--json" in shown.out, command
        assert "--config" in shown.out, command


def test_check_warns_of_what_is_no_mistake(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an admin key and without any price, `check` is content and says what will not work."""
    assert installation.ask("check")["warnings"] == []

    monkeypatch.delenv(ADMIN_VARIABLE)
    text = installation.config.read_text()
    installation.config.write_text(text[: text.index("[models")])
    warnings = installation.ask("check")["warnings"]

    assert [words in warning for words, warning in zip(("admin", "price"), warnings, strict=True)] == [True, True]


def test_check_says_where_events_go(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` shows the webhook and the threshold, and needs the webhook's secret as the gateway will."""
    section = (
        '\n[events]\nlow_balance_usd = "2.5"\nwebhook_url = "https://example.com/e"\nwebhook_secret_env = "HOOK"\n'
    )
    installation.config.write_text(installation.config.read_text() + section)
    assert installation.run("check").code == 3

    monkeypatch.setenv("HOOK", "whsec_" + "QUJD" * 8)
    assert installation.ask("check")["events"] == "https://example.com/e; below $2.50 is low"
