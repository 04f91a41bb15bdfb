"""An event loop in virtual time: no thread, no socket, no waiting; the same seed gives the same run.

When nothing is ready the clock jumps to the next timer. Callbacks run in the order that asyncio promises; what is
drawn at random is the world around them: how long wires, disks and callers take, and at which step something
intervenes. An intervention runs between two callbacks, so at any `await` of the code under test.

Every callback belongs to the process in whose context it was made. Once a process is dead, not one of its callbacks
runs any more: that is `kill -9`, with no clean-up and no last words.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
STEPS_MAX = 1_000_000
"""A world that takes more steps than this goes round in circles."""

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class StuckError(Exception):
    """Nothing can ever happen any more, or the same things happen for ever, and somebody still waits."""


class Process:
    """What dies as one: everything that is started in its context."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._failed: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._futures: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()
        self._deaths: list[Callable[[], None]] = []

    def start(self, loop: SimLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task of this process."""
        return loop.create_task(work, context=self.context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Keep a task, to bury it with the process."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def promise(self, future: asyncio.Future[Any]) -> None:
        """Take note of what somebody in the process is going to wait for."""
        self._futures.add(future)

    def on_death(self, callback: Callable[[], None]) -> None:
        """Have something outside of the process told that it is dead."""
        self._deaths.append(callback)

    def die(self) -> None:
        """End it between two steps; nothing of it runs any more."""
        self.alive = False
        for future in tuple(self._futures):  # nobody will ever ask what became of them
            if future.done():
                _hear(future)
            else:
                future.add_done_callback(_hear, context=contextvars.Context())
        for callback in self._deaths:
            callback()
        self._deaths.clear()

    def bury(self) -> None:
        """Take the dead process's tasks away without letting them say anything."""
        for task in self._failed:
            task.exception()  # who kept it was still waiting for others, and died before it could look
        for task in tuple(self._tasks):
            if task.done():
                self._forget(task)
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            waited = task._fut_waiter  # type: ignore[attr-defined]
            if waited is not None and waited.done() and not waited.cancelled():
                waited.exception()  # the news had come, and the process died before it could hear them
            coroutine = task.get_coro()
            try:
                if coroutine is not None:
                    coroutine.close()
            except (RuntimeError, apsw.Error):  # in its last clean-up it wanted to wait, or to write: it is dead
                pass
        self._tasks.clear()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        if not self.alive:
            task.exception()  # nobody is left to ask for it
        elif task._exception is not None:  # asking for it would be hearing it
            self._failed.add(task)


def current_process() -> Process | None:
    """Return the process that runs now; None is the world around it."""
    return _PROCESS.get()


class SimLoop(asyncio.BaseEventLoop):
    """The loop.

    Args:
        draw: Where every random choice comes from.
    """

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.draw = draw
        self.steps = 0
        self.failures: list[str] = []
        self._now_s = 0.0
        self._interventions: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self._ready: Any
        self._scheduled: Any
        self.set_task_factory(_make_task)
        self.set_exception_handler(_note_failure)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now_s

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        """Call something at a time; at least a nanosecond from now, since real clocks move on as well."""
        return super().call_at(max(when, self._now_s + 1e-9), callback, *args, context=context)

    def now_ns(self) -> int:
        """Return a wall clock: 2026, and as many nanoseconds later as virtual time has passed."""
        return 1_767_225_600_000_000_000 + round(self._now_s * 1e9)

    async def elapse(self, seconds: float) -> None:
        """Let virtual time pass."""
        over = self.create_future()
        timer = self.call_later(seconds, _finish, over)
        try:
            await over
        finally:
            timer.cancel()

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of the process that runs now."""
        future = super().create_future()
        process = _PROCESS.get()
        if process is not None:
            process.promise(future)
        return future

    def intervene(self, steps: int, callback: Callable[[], None]) -> None:
        """Have something done between two callbacks, so many steps from now."""
        self._numbers += 1
        heapq.heappush(self._interventions, (self.steps + steps, self._numbers, callback))

    def forget_interventions(self) -> None:
        """Let everything run on undisturbed."""
        self._interventions.clear()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run a function a little later, on the one thread that there is."""
        del executor
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  (whoever waits for it gets it, whatever it is)
                future.set_exception(error)

        self.call_later(self.draw.random() * 0.001, work)
        return future

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_PROCESS)
            if process is not None and not process.alive:
                continue
            self.steps += 1
            while self._interventions and self._interventions[0][0] <= self.steps:
                heapq.heappop(self._interventions)[2]()
            if process is not None and not process.alive:
                continue
            handle._run()
        if self.steps > STEPS_MAX:
            raise StuckError("the world goes round in circles")

    def _advance(self) -> None:
        """Jump to the next timer, and make ready what is due then."""
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not timers:
            raise StuckError("nothing can happen any more")
        self._now_s = timers[0]._when
        while timers and timers[0]._when <= self._now_s:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def _process_events(self, event_list: Any) -> None:
        """There are none: wires and disks are timers."""


def _hear(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Any = None) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    process = _PROCESS.get() if context is None else context.get(_PROCESS)
    if process is not None:
        process.adopt(task)
    return task


def _note_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, SimLoop)
    error = context.get("exception")
    loop.failures.append(f"{context['message']}: {type(error).__name__}: {error}")
