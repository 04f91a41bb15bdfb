"""Several waits at a time, of which one that fails stops the others; none outlives the whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tallygate.relay.watch import CallerLeft

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


async def run_together(runs: Sequence[Coroutine[object, object, None]], stop: Callable[[], None]) -> None:
    """Run all at a time until all have ended.

    When one of them raises, `stop` is called to have the others end by themselves; when we are cancelled, they are too.

    Args:
        runs: What to run.
        stop: Has all that still run end.

    Raises:
        CallerLeft: Nothing worse was raised.
        BaseException: What one of them raised, the first of them if there are several.
    """
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        await _cancel(tasks)
        raise
    if not all(task.done() for task in tasks):
        stop()
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await _cancel(tasks)
            raise
    errors = [error for task in tasks if (error := _error_of(task)) is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, CallerLeft)), errors[0])


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel what still runs, and wait for it however often we are cancelled ourselves."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            continue
    for task in tasks:
        _error_of(task)


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
