"""An installation in a folder of its own, and programs of ours as processes, for the tests of the command line."""

import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from tallygate.cli import main

ADMIN_KEY = "admin-key-of-a-test"
ADMIN_VARIABLE = "TALLYGATE_TEST_ADMIN_KEY"
UPSTREAM_KEY = "upstream-key-of-a-test"
UPSTREAM_VARIABLE = "TALLYGATE_TEST_UPSTREAM_KEY"
PATIENCE_S = 180
PORTS_FIRST, PORTS_END = 20_000, 32_000
"""Below those that the system gives to outgoing connections."""
PORT_SHARES = 8
"""Tests that run at the same time take theirs from different parts: a process starts between the look and the use."""

CONFIG = """\
[server]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{admin_port}"
key_env = "TALLYGATE_TEST_ADMIN_KEY"

[store]
url = "sqlite:data/tallygate.db"

[[upstreams]]
name = "nowhere"
kind = "openai"
models = "*"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "TALLYGATE_TEST_UPSTREAM_KEY"

[models."priced-in-file"]
input_usd_per_1m = "0.5"
output_usd_per_1m = "1.5"
"""


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def content(self) -> Any:
        """The one line of JSON that it printed."""
        (line,) = self.out.splitlines()
        return json.loads(line)


def free_ports(count: int) -> int:
    """Return the first of so many neighbouring ports that are free now, and that no other test is about to take."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PORT_SHARES
    share = (PORTS_END - PORTS_FIRST) // PORT_SHARES
    while True:
        first = PORTS_FIRST + worker * share + random.randrange(share - count)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


class Program:
    """A process of ours, whose output is read line by line with a deadline."""

    def __init__(self, arguments: Sequence[str], folder: Path, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tallygate", *arguments],
            cwd=folder,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        self._rest = b""

    def wait_line(self, start: str) -> str:
        """Return the next line that starts with a text."""
        out = self.process.stdout
        assert out is not None
        deadline_s = time.monotonic() + PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while time.monotonic() < deadline_s:
                while b"\n" in self._rest:
                    raw, _, self._rest = self._rest.partition(b"\n")
                    self.lines.append(raw.decode())
                    if self.lines[-1].startswith(start):
                        return self.lines[-1]
                if selector.select(1):
                    data = os.read(out.fileno(), 65536)
                    if not data:
                        break
                    self._rest += data
        self.process.kill()
        raise AssertionError(f"no line {start!r} came: {self.lines} {self.process.communicate()[1].decode()}")

    def end(self, number: int = signal.SIGTERM) -> Outcome:
        """Send a signal and return how it ended, and what it has said since."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return Outcome(self.process.returncode, (self._rest + out).decode(), err.decode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Installation:
    """A folder with a configuration and a store."""

    def __init__(self, folder: Path, capsys: Any) -> None:
        self.folder = folder
        self.config = folder / "tallygate.toml"
        self.store = folder / "data" / "tallygate.db"
        self.port = free_ports(2)
        self.config.write_text(CONFIG.format(port=self.port, admin_port=self.port + 1))
        self._capsys = capsys

    def run(self, *arguments: str) -> Outcome:
        """Run a command in this process."""
        self._capsys.readouterr()
        code = main(["--config", str(self.config), *arguments])
        said = self._capsys.readouterr()
        return Outcome(code, said.out, said.err)

    def ask(self, *arguments: str) -> Any:
        """Run a command that must succeed, and return its JSON."""
        outcome = self.run("--json", *arguments)
        assert outcome.code == 0, outcome
        return outcome.content

    @contextmanager
    def gateway(self) -> Iterator[Program]:
        """Have a gateway run on the store."""
        with Program(["serve", "--config", str(self.config)], self.folder) as program:
            program.wait_line("Tallygate ")
            yield program
            if program.process.poll() is None:
                assert program.end().code == 0
