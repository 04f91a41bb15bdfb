"""How a process runs: chores beside its work, the signals that end it, an interpreter that has settled."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def running(*chores: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have chores done beside what is inside, and break them off at its end."""
    tasks = [asyncio.create_task(chore) for chore in chores]
    for task in tasks:
        task.add_done_callback(_log_defect)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (defect := task.exception()) is not None:
        chore = getattr(task.get_coro(), "__qualname__", "")
        _log.error("a chore has failed, and is not done any more until the next start", chore=chore, exc_info=defect)


def settle_interpreter() -> None:
    """Spare the garbage collector what has been built so far, and make its rounds rarer: calls leave few cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def listen_for_stop() -> asyncio.Event:
    """Return what is set when the operator or the system wants the process to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
