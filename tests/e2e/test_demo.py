"""The demo as a stranger runs it: one command, real processes, the official client."""

import json
import os
import select
import signal
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.installation import PATIENCE_S, Program, free_ports
from tests.cli.test_serve import listening

FACTS = [
    "TALLYGATE_BASE_URL",
    "TALLYGATE_API_KEY",
    "TALLYGATE_ADMIN_URL",
    "TALLYGATE_ADMIN_KEY",
    "TALLYGATE_NODE_URL",
    "TALLYGATE_NODE_ADDRESS",
    "TALLYGATE_DATA",
]


def demo(folder: Path, *arguments: str, ports: int | None = None) -> Program:
    """Return a demo that has just been started, on free ports."""
    first = free_ports(6) if ports is None else ports
    return Program(["demo", "--port", str(first), "--node-port", str(first + 2), *arguments], folder)


def processes_of(data: Path) -> list[str]:
    """Return the processes that name a folder in their arguments or environment, but this one's ancestors."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            here = (process / "cwd").readlink()
        except OSError:
            continue
        if b"tallygate" in command and (here == data.parent or os.fsencode(data) in command):
            found.append(command.decode())
    return found


def test_once_is_right_to_the_last_digit(tmp_path: Path) -> None:
    """`--once` prints the facts, the answer, exact costs and the verdict, then READY, and ends with exit code 0."""
    first = free_ports(6)
    with demo(tmp_path, "--once", ports=first) as program:
        program.wait_line("READY")
        program.process.wait(PATIENCE_S)
        assert program.process.returncode == 0
    names = [line.partition("=")[0] for line in program.lines if line.startswith("TALLYGATE_")]
    facts = dict(line.split("=", 1) for line in program.lines if line.startswith("TALLYGATE_"))
    costs = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in program.lines}
    base, fee, total = (Decimal(costs[name].lstrip("$")) for name in ("base cost", "platform fee", "total"))

    assert names == FACTS
    assert facts["TALLYGATE_BASE_URL"] == f"http://127.0.0.1:{first}/v1"
    assert facts["TALLYGATE_ADMIN_URL"] == f"http://127.0.0.1:{first + 1}"
    assert facts["TALLYGATE_NODE_URL"] == f"http://127.0.0.1:{first + 2}"
    assert facts["TALLYGATE_NODE_ADDRESS"].startswith("gonka1")
    assert facts["TALLYGATE_DATA"] == str(tmp_path / "demo-data")
    assert base + fee == total > 0
    assert costs["balance"] == f"${5 - total}, from $5.00"
    assert "The books add up." in program.lines
    assert program.lines[-1] == "READY"


@pytest.fixture(scope="module")
def shown_before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a folder in which a demo has been, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, show(folder)


def show(folder: Path, *arguments: str) -> dict[str, Any]:
    """Return what a demo in a folder says to a program."""
    with demo(folder, "--once", "--json", *arguments) as program:
        out, err = program.process.communicate(timeout=PATIENCE_S)
    assert program.process.returncode == 0, err
    shown: dict[str, Any] = json.loads(out)
    return shown


def test_json_gives_programs_one_object(shown_before: tuple[Path, dict[str, Any]]) -> None:
    """With `--json`, standard output is one JSON object with the facts, the answer and the costs."""
    _, shown = shown_before

    assert [name for name in shown if name.startswith("TALLYGATE_")] == FACTS
    assert shown["answer"]
    assert Decimal(shown["base_cost_usd"]) + Decimal(shown["platform_fee_usd"]) == Decimal(shown["total_cost_usd"])
    assert shown["verify"]["clean"] is True


def test_a_second_demo_in_the_folder_starts_afresh_and_leaves_other_files(
    shown_before: tuple[Path, dict[str, Any]],
) -> None:
    """A demo makes its own files anew, so the second one has one account, too; a stranger's file stays."""
    folder, _ = shown_before
    (folder / "demo-data" / "notes.txt").write_text("mine")

    assert show(folder)["verify"]["accounts"] == 1
    assert (folder / "demo-data" / "notes.txt").read_text() == "mine"


def test_keep_goes_on_with_the_books(shown_before: tuple[Path, dict[str, Any]]) -> None:
    """With `--keep`, a second demo adds to the books of the first."""
    folder, _ = shown_before
    shown = show(folder, "--keep")

    assert shown["verify"]["accounts"] == 2
    assert shown["verify"]["usd"]["deposits"] == "10"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_until_a_signal_and_leaves_nothing_running(tmp_path: Path, number: int) -> None:
    """After READY it stays up; Ctrl-C or SIGTERM ends it and its programs with exit code 0."""
    with demo(tmp_path) as program:
        program.wait_line("READY")
        running = processes_of(tmp_path / "demo-data")
        ended = program.end(number)

    assert len(running) == 3
    assert ended.code == 0, ended
    assert processes_of(tmp_path / "demo-data") == []


def test_a_signal_during_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    """Ended before it is through, it says so with exit code 1, and its programs are gone."""
    with demo(tmp_path) as program:
        program.wait_line("Starting the gateway")
        ended = program.end()

    assert ended.code == 1
    assert "before it was through" in ended.err
    assert processes_of(tmp_path / "demo-data") == []


def test_it_does_not_outlive_its_programs(tmp_path: Path) -> None:
    """When a program of it dies, it ends the rest and says so with exit code 1."""
    with demo(tmp_path) as program:
        program.wait_line("READY")
        os.kill(children_of(program)[1], signal.SIGKILL)
        out, err = program.process.communicate(timeout=PATIENCE_S)

    assert program.process.returncode == 1
    assert b"gateway" in err
    assert b"Traceback" not in out + err
    assert processes_of(tmp_path / "demo-data") == []


def test_its_programs_do_not_outlive_it_even_when_it_is_killed(tmp_path: Path) -> None:
    """Even kill -9 of the demo ends the gateway and the devnet, too."""
    with demo(tmp_path) as program:
        program.wait_line("READY")
        waits = [os.pidfd_open(child) for child in children_of(program)]
        program.end(signal.SIGKILL)
        for wait in waits:
            assert wait_ended(wait)
            os.close(wait)

    assert len(waits) == 2
    assert processes_of(tmp_path / "demo-data") == []


def children_of(program: Program) -> list[int]:
    """Return the processes that a program has started, in that order."""
    pid = program.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_ended(process: int) -> bool:
    """Wait until a process has ended; say whether it has."""
    return bool(select.select([process], [], [], 60)[0])


@pytest.mark.parametrize("index", [0, 1, 2, 5])
def test_a_busy_port_is_exit_code_8_and_nothing_is_left(tmp_path: Path, index: int) -> None:
    """Any of the six ports, when taken, is named in a clear error, and nothing has been started."""
    first = free_ports(6)
    with listening(first + index), demo(tmp_path, "--once", ports=first) as program:
        program.process.wait(PATIENCE_S)
        out, err = program.process.communicate()

    assert program.process.returncode == 8
    assert f"Port {first + index} " in err.decode()
    assert b"READY" not in out
    assert processes_of(tmp_path / "demo-data") == []


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """A data folder that holds what no demo has written is refused, and nothing in it is touched."""
    (tmp_path / "demo-data").mkdir()
    (tmp_path / "demo-data" / "thesis.txt").write_text("years of work")
    with demo(tmp_path, "--once") as program:
        program.process.wait(PATIENCE_S)

        assert program.process.returncode == 1
    assert [path.name for path in (tmp_path / "demo-data").iterdir()] == ["thesis.txt"]


def test_no_secret_is_an_argument_or_in_the_configuration(tmp_path: Path) -> None:
    """The demo's secrets are in nobody's arguments, logs or configuration; the wallet's file is its owner's alone."""
    data = tmp_path / "demo-data"
    with demo(tmp_path) as program:
        program.wait_line("READY")
        facts = dict(line.split("=", 1) for line in program.lines if line.startswith("TALLYGATE_"))
        shown = [*processes_of(data), *((data / name).read_text() for name in ("gateway.log", "tallygate.toml"))]
        program.end()
    wallet = data / "wallet.key"
    secrets = [wallet.read_text().strip(), facts["TALLYGATE_ADMIN_KEY"], facts["TALLYGATE_API_KEY"]]

    assert stat.S_IMODE(wallet.stat().st_mode) == 0o600
    assert [secret for secret in secrets for text in shown if secret in text] == []
