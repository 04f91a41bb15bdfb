"""Who answers a command: the store itself, a running gateway, or nobody; and `verify` on what is damaged."""

import os
import socket
import threading
from pathlib import Path

import apsw
import filelock
import pytest

from tests.cli.installation import ADMIN_VARIABLE, Installation
from tests.cli.test_serve import listening


@pytest.fixture
def locked(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Return an installation whose store is in use by a process that answers nobody."""
    monkeypatch.setattr("tallygate.cli.operator.PATIENCE_S", 0.0)
    return installation


def hold(installation: Installation) -> filelock.FileLock:
    """Return the store's lock, taken."""
    lock = filelock.FileLock(f"{installation.store}.lock", timeout=0, thread_local=False)
    lock.acquire()
    return lock


@pytest.mark.parametrize("command", [("accounts", "list"), ("prices", "show")])
def test_a_locked_store_without_a_gateway_is_exit_code_6(locked: Installation, command: tuple[str, ...]) -> None:
    """If the store is in use and nobody answers on the admin address, a command says both."""
    with hold(locked):
        outcome = locked.run("--json", *command)

    assert outcome.code == 6
    assert f"127.0.0.1:{locked.port + 1}" in outcome.err
    assert outcome.content["error"]["message"] in outcome.err


def test_a_locked_store_without_an_admin_key_is_exit_code_4(
    locked: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store is in use and there is no key to ask its owner with, a command says so."""
    monkeypatch.delenv(ADMIN_VARIABLE)
    with hold(locked):
        outcome = locked.run("accounts", "list")

    assert outcome.code == 4
    assert "admin key" in outcome.err


def test_verify_needs_nobody_s_leave(locked: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may read the file can have it proved, though somebody else has the store and there is no admin key."""
    monkeypatch.delenv(ADMIN_VARIABLE)
    with hold(locked):
        for arguments in ((), ("--deep",)):
            assert locked.ask("verify", *arguments)["clean"] is True


def test_verify_asks_the_gateway_where_the_file_is_not_for_reading(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not read the store has the gateway prove it, by the admin API."""
    may = os.access
    with installation.gateway():
        monkeypatch.setattr(os, "access", lambda path, mode: path != installation.store and may(path, mode))
        assert installation.ask("verify")["clean"] is True


def test_verify_prints_each_promise(installation: Installation) -> None:
    """People get one line for each promise, with its verdict."""
    said = installation.run("verify").out

    for number in range(1, 8):
        assert any(line.startswith(f"P{number} ") and " kept " in line for line in said.splitlines())


def test_without_an_admin_key_the_store_itself_still_answers(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owns the store needs no admin key."""
    monkeypatch.delenv(ADMIN_VARIABLE)

    assert installation.ask("accounts", "create", "Ada")["name"] == "Ada"


def test_a_wrong_admin_key_is_refused_by_the_gateway(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that does not know the key refuses, and that is exit code 1."""
    with installation.gateway():
        monkeypatch.setenv(ADMIN_VARIABLE, "another-key-of-a-test")
        outcome = installation.run("--json", "accounts", "list")

    assert outcome.code == 1
    assert outcome.content["error"]["code"] == "invalid_api_key"


def test_a_stranger_on_the_admin_address_is_exit_code_6(locked: Installation) -> None:
    """If what listens there is no gateway, a command does not take its answer for one."""
    with hold(locked), socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", locked.port + 1))
        stranger.listen()
        answering = threading.Thread(target=answer_nonsense, args=(stranger,))
        answering.start()
        outcome = locked.run("accounts", "list")
        answering.join()

    assert outcome.code == 6


def answer_nonsense(stranger: socket.socket) -> None:
    """Answer one connection with something that is not HTTP."""
    connection, _ = stranger.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_a_command_waits_for_another_that_is_nearly_done(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is free again within the patience of a command is not reported as locked."""
    lock = hold(installation)

    class Clock:
        """A clock on which only waiting takes time, and the lock is free after a while of it."""

        now_s = 0.0

        def monotonic(self) -> float:
            return self.now_s

        def sleep(self, seconds: float) -> None:
            self.now_s += seconds
            if self.now_s > 0.3:
                lock.release()

    monkeypatch.setattr("tallygate.cli.operator.time", Clock())

    assert installation.ask("accounts", "list") == {"data": []}


def test_commands_at_the_same_time_all_succeed(installation: Installation) -> None:
    """Beside a running gateway, the second command sees what the first has done at once."""
    with installation.gateway():
        made = [installation.ask("accounts", "create", name)["id"] for name in ("a", "b", "c")]

        assert [account["id"] for account in installation.ask("accounts", "list")["data"]] == made


def test_a_missing_store_is_not_made_by_looking(installation: Installation) -> None:
    """A command on an installation without a store says how to make one, and makes none."""
    for path in installation.store.parent.iterdir():
        path.unlink()
    for command in (("accounts", "list"), ("verify",)):
        outcome = installation.run(*command)

        assert outcome.code == 1
        assert "tallygate init" in outcome.err
    assert not installation.store.exists()


def test_verify_finds_a_changed_entry(installation: Installation) -> None:
    """An entry that was changed in the file is exit code 7, with the problem in words."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    installation.ask("credit", account, "5")
    change_last_entry(installation.store)
    for_programs = installation.run("--json", "verify")
    for_people = installation.run("verify")

    assert for_programs.code == for_people.code == 7
    assert for_programs.content["clean"] is False
    assert for_programs.content["problems"]
    assert for_programs.content["problems"][0] in for_people.out


def test_verify_of_a_running_gateway_finds_a_changed_entry(installation: Installation) -> None:
    """Beside a running gateway, too, a changed entry is exit code 7."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    installation.ask("credit", account, "5")
    with installation.gateway():
        change_last_entry(installation.store)

        assert installation.run("verify").code == 7


def test_verify_of_what_cannot_be_read_is_exit_code_7(installation: Installation) -> None:
    """A store whose file is garbage cannot be proved, which is a difference, not a crash."""
    installation.store.write_bytes(os.urandom(8192))
    outcome = installation.run("--json", "verify")

    assert outcome.code == 7
    assert outcome.content["problems"]


def test_verify_writes_nothing(installation: Installation) -> None:
    """The store's file is the same, byte for byte, after `verify`."""
    account = installation.ask("accounts", "create", "Ada")["id"]
    installation.ask("credit", account, "5")
    before = installation.store.read_bytes()
    installation.ask("verify")

    assert installation.store.read_bytes() == before


def test_somebody_elses_listener_is_never_shown_the_key(installation: Installation) -> None:
    """While the store is free, no command talks to the admin address, whoever listens there."""
    with listening(installation.port + 1):
        assert installation.ask("accounts", "list") == {"data": []}


def change_last_entry(store: Path) -> None:
    """Flip a bit in the last entry of a store, as somebody with access to the file could."""
    db = apsw.Connection(str(store))
    db.execute("DROP TRIGGER entries_never_change")
    ((position, raw),) = list(db.execute("SELECT position, bytes FROM entries ORDER BY position DESC LIMIT 1"))
    db.execute("UPDATE entries SET bytes = ? WHERE position = ?", (raw[:-1] + bytes([raw[-1] ^ 1]), position))
    db.close()
