"""Runs the tests of modules that say ``EVERY_LOOP = True`` on asyncio's loop and on uvloop."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Name the event loops for one test function."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if isinstance(item, pytest.Function) and getattr(item.module, "EVERY_LOOP", False):
        factories["uvloop"] = uvloop.new_event_loop
    return factories
