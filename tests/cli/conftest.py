"""Installations to run commands on: on the store itself, and beside a running gateway."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.cli.installation import ADMIN_KEY, ADMIN_VARIABLE, UPSTREAM_KEY, UPSTREAM_VARIABLE, Installation


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Undo what commands that run in this process do to its logging."""
    handlers = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Installation:
    """Return an installation whose store is made and which nothing runs on."""
    monkeypatch.setenv(ADMIN_VARIABLE, ADMIN_KEY)
    monkeypatch.setenv(UPSTREAM_VARIABLE, UPSTREAM_KEY)
    monkeypatch.delenv("TALLYGATE_CONFIG", raising=False)
    made = Installation(tmp_path, capsys)
    made.ask("init")
    return made


@pytest.fixture(params=["store", "gateway"])
def either(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Installation]:
    """Return an installation whose commands work on the store, and one where they ask a running gateway."""
    if request.param == "store":
        yield installation
    else:
        with installation.gateway():
            yield installation
