"""The simulator itself: the same seed is the same world, time is virtual, and the dead do nothing."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.loop import Process, SimLoop, StuckError
from tests.sim.world import play

ROOT = Path(__file__).parents[2]


@pytest.fixture
def loop() -> SimLoop:
    """Return a loop in virtual time."""
    return SimLoop(random.Random(1))


@pytest.mark.parametrize("seed", [3, 44, 60])
def test_same_seed_is_the_same_world(seed: int) -> None:
    """A second run has the same trace and the same bytes in its books; another seed has others."""
    assert play(seed).digest == play(seed).digest != play(seed + 1).digest


def test_same_seed_is_the_same_world_in_another_process() -> None:
    """Nothing hangs on the hashes or addresses of one process, so a seed that CI prints shows the same at home."""
    command = [sys.executable, "-m", "tests.sim", "--seed", "44"]
    runs = [
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert f"digest {play(44).digest}" in runs[0]


def test_hours_pass_in_no_time(loop: SimLoop) -> None:
    """The clock jumps to the next timer, and timers come in their order."""
    came: list[str] = []
    loop.call_later(7200, came.append, "late")
    loop.call_later(60, came.append, "early")
    done = loop.create_future()
    loop.call_later(7201, done.set_result, None)
    loop.run_until_complete(done)

    assert (came, loop.time()) == (["early", "late"], 7201)
    loop.close()


def test_who_waits_for_nothing_is_found_out(loop: SimLoop) -> None:
    """When nothing can ever happen any more, the world says so instead of hanging."""
    with pytest.raises(StuckError):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_intervention_comes_between_two_steps(loop: SimLoop) -> None:
    """What is to happen after so many steps happens there, while a task waits in the middle."""
    turns: list[int] = []

    async def turn() -> None:
        for number in range(10):
            turns.append(number)
            await asyncio.sleep(0)

    loop.intervene(5, lambda: turns.append(99))
    loop.run_until_complete(turn())

    assert turns == [0, 1, 2, 3, 99, 4, 5, 6, 7, 8, 9]
    loop.close()


def test_dead_process_runs_no_clean_up(loop: SimLoop) -> None:
    """No task, timer or `finally` of a process that died runs again; everybody else goes on."""
    process = Process("doomed")
    did: list[str] = []

    async def live() -> None:
        loop.call_later(2, did.append, "timer")
        try:
            await loop.elapse(3)
        finally:
            did.append("clean-up")

    process.start(loop, live())
    loop.call_later(1, process.die)
    done = loop.create_future()
    loop.call_later(10, done.set_result, None)
    loop.run_until_complete(done)

    assert (did, loop.failures) == ([], [])
    process.bury()
    loop.close()
