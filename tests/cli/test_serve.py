"""`serve` as a process: what it announces, how it ends, whom it lets at the store, what it shows of secrets."""

import http.client
import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallygate.cli.serve import protect_secrets
from tests.cli.installation import (
    ADMIN_KEY,
    ADMIN_VARIABLE,
    PATIENCE_S,
    UPSTREAM_KEY,
    UPSTREAM_VARIABLE,
    Installation,
    Program,
)


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Have somebody else listen on a port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def serve(installation: Installation) -> Program:
    """Return a gateway that has just been started."""
    return Program(["serve", "--config", str(installation.config)], installation.folder)


def test_it_announces_where_it_listens(installation: Installation) -> None:
    """Once both listeners are open, one line says where, and both answer."""
    with serve(installation) as program:
        line = program.wait_line("Tallygate")
        connection = http.client.HTTPConnection("127.0.0.1", installation.port, timeout=180)
        connection.request("GET", "/health/ready")

        assert line.endswith(
            f" listening on http://127.0.0.1:{installation.port}/v1, admin on http://127.0.0.1:{installation.port + 1}"
        )
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(installation: Installation, number: int) -> None:
    """SIGTERM and Ctrl-C end it with exit code 0 and leave a store that is free and clean."""
    with serve(installation) as program:
        program.wait_line("Tallygate")

        assert program.end(number).code == 0
    assert installation.ask("verify")["clean"] is True


def test_its_logs_are_lines_of_json_on_standard_error(installation: Installation) -> None:
    """Every line of standard error is a JSON object with level, time and event."""
    with serve(installation) as program:
        program.wait_line("Tallygate")
        lines = program.end().err.splitlines()
    events = [json.loads(line) for line in lines]

    assert "stopping" in [event["event"] for event in events]
    assert all({"level", "timestamp"} <= event.keys() for event in events)


def test_json_announces_it_to_programs(installation: Installation) -> None:
    """With `--json`, the announcement is a line of JSON."""
    with Program(["serve", "--json", "--config", str(installation.config)], installation.folder) as program:
        announced = json.loads(program.wait_line("{"))

        assert announced["base_url"] == f"http://127.0.0.1:{installation.port}/v1"


def test_a_second_gateway_on_the_store_is_refused(installation: Installation) -> None:
    """A second `serve` ends with exit code 4 and says why, without a traceback; the first one goes on."""
    with installation.gateway(), serve(installation) as second:
        err = second.process.communicate(timeout=PATIENCE_S)[1].decode()

        assert second.process.returncode == 4
        assert "Another process is using the store" in err
        assert "Traceback" not in err
        assert installation.ask("accounts", "list") == {"data": []}


@pytest.mark.parametrize("which", [0, 1])
def test_a_busy_port_is_exit_code_8(installation: Installation, which: int) -> None:
    """If somebody else listens where it would, it says where, and lets go of the store."""
    port = installation.port + which
    with listening(port), serve(installation) as program:
        program.process.wait(PATIENCE_S)
        assert program.process.returncode == 8
        assert str(port) in (program.process.communicate()[1]).decode()
    assert installation.run("accounts", "list").code == 0


def test_a_pepper_that_others_can_read_is_refused(installation: Installation) -> None:
    """A secret file with a wide mode is exit code 3, with the command that mends it."""
    (pepper,) = installation.store.parent.glob("*.pepper")
    pepper.chmod(0o644)
    with serve(installation) as program:
        program.process.wait(PATIENCE_S)

        assert program.process.returncode == 3
        assert "chmod 600" in program.process.communicate()[1].decode()


def test_it_keeps_its_secrets_to_itself(installation: Installation) -> None:
    """No secret is in its arguments or its output, and it leaves no core dump."""
    with serve(installation) as program:
        program.wait_line("Tallygate")
        process = Path("/proc") / str(program.process.pid)
        arguments = (process / "cmdline").read_bytes().decode()
        (core,) = [line for line in (process / "limits").read_text().splitlines() if line.startswith("Max core")]
        ended = program.end()

    assert core.split()[4:6] == ["0", "0"]
    for text in (arguments, ended.out, ended.err, *program.lines):
        assert ADMIN_KEY not in text
        assert UPSTREAM_KEY not in text


def test_a_child_of_it_would_inherit_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that held secrets are gone from the environment before anything is built."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    set_limit = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, to: set_limit.append((which, to)))
    monkeypatch.setenv(ADMIN_VARIABLE, ADMIN_KEY)
    protect_secrets([ADMIN_VARIABLE, UPSTREAM_VARIABLE])

    assert ADMIN_VARIABLE not in os.environ
    assert set_limit == [(resource.RLIMIT_CORE, (0, 0))]
    assert resource.getrlimit(resource.RLIMIT_CORE) == limits
