"""Processes of our own program that start in a blink: forked from one that has imported everything already.

What runs in them is `tallygate` with its command line, its exit codes, its pipes and its kernel; only the second that
Python takes to read our modules is spared, since a storm starts two processes for every kill.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tallygate import cli

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.storm.aims import Aim

WAIT_S: Final = 180.0
"""No wait of the storm lasts longer; reaching it is a failure, never a pace."""

_DIE_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG, in the words of the kernel."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.storm.processes", "tests.storm.aims"])


class Program:
    """`tallygate` with some arguments, running.

    Args:
        arguments: Of the command line.
        environ: What its environment has beyond ours.
        errors: The file that its standard error is appended to.
        aim: Where it kills itself.
    """

    def __init__(
        self, arguments: tuple[str, ...], environ: Mapping[str, str], errors: Path, aim: Aim | None = None
    ) -> None:
        out, written = _forks.Pipe(duplex=False)
        job = (arguments, dict(environ), written, errors, aim)
        self._process = _forks.Process(target=_run, args=job, daemon=True)
        self._process.start()
        written.close()
        self.pid = self._process.pid or 0
        self.was_sent: signal.Signals | None = None
        self._connection = out
        self._out = asyncio.StreamReader(limit=2**24)
        self._ended = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._note_end)
        self._piping: asyncio.Task[object] = asyncio.ensure_future(self._pipe())

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._ended.done()

    async def line(self) -> bytes:
        """Return the next line of its standard output; empty at its end."""
        return await asyncio.wait_for(self._out.readline(), WAIT_S)

    async def output(self) -> tuple[int, bytes]:
        """Wait for its end; return its exit code (minus the number of the signal that killed it) and its output."""
        said = await asyncio.wait_for(self._out.read(), WAIT_S)
        return await self.wait(), said

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if not self.has_ended:
            self.was_sent = number
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for its end; return its exit code."""
        await asyncio.wait_for(asyncio.shield(self._ended), WAIT_S)
        await self._piping
        code: int = self._ended.result()
        return code

    async def kill(self) -> int:
        """End it at once."""
        self.send(signal.SIGKILL)
        return await self.wait()

    async def _pipe(self) -> None:
        loop = asyncio.get_running_loop()
        file = os.fdopen(os.dup(self._connection.fileno()), "rb", buffering=0)
        self._connection.close()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._out), file)

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set_result(self._process.exitcode)
        self._process.close()


def _run(
    arguments: tuple[str, ...], environ: Mapping[str, str], out: Connection, errors: Path, aim: Aim | None
) -> NoReturn:
    """Be the program; and end with the storm, however that ends."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    server: Any = vars(forkserver)["_forkserver"]
    os.close(server._forkserver_alive_fd)  # else our parent would live for as long as we do, and we for as long as it
    os.dup2(out.fileno(), 1)
    os.dup2(os.open(errors, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), 2)
    out.close()
    os.environ.update(environ)
    os.chdir(errors.parent)
    if aim is not None:
        aim.take()
    sys.exit(cli.main(arguments))
