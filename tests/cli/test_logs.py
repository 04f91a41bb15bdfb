"""Logs that cannot be written: they are lost, and nothing else is."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from tallygate.cli.logs import configure_logs


@contextlib.contextmanager
def nobody_reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let standard error be a pipe whose reader is gone."""
    read, write = os.pipe()
    os.close(read)
    file = os.fdopen(write, "w")
    monkeypatch.setattr(sys, "stderr", file)
    try:
        yield
    finally:
        structlog.reset_defaults()
        logging.basicConfig(handlers=[], force=True)
        with contextlib.suppress(BrokenPipeError):
            file.close()


@pytest.mark.parametrize("pretty", [False, True])
def test_a_log_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch, pretty: bool) -> None:
    """Logging raises nothing, ours and that of libraries, when standard error cannot be written to."""
    with nobody_reading(monkeypatch):
        with pytest.raises(BrokenPipeError):
            os.write(sys.stderr.fileno(), b"so it is")
        configure_logs("info", pretty=pretty)
        for _ in range(3):
            structlog.get_logger().error("store failed", detail="x" * 10_000)
            logging.getLogger("a library").warning("something odd")


@pytest.mark.parametrize("pretty", [False, True])
def test_a_defect_is_logged_without_what_it_held(capfd: pytest.CaptureFixture[str], pretty: bool) -> None:
    """A traceback in the log names places in the program, and no value of a variable: one might be a key."""

    def sign(secret: str) -> None:
        raise ZeroDivisionError(len(secret))

    try:
        configure_logs("info", pretty=pretty)
        try:
            sign("zebra" * 3)
        except ZeroDivisionError as defect:
            structlog.get_logger().error("a defect", exc_info=defect)
            logging.getLogger("a library").warning("another", exc_info=defect)
        told = capfd.readouterr().err
    finally:
        structlog.reset_defaults()
        logging.basicConfig(handlers=[], force=True)
    assert told.count("in sign") == 2
    assert "zebrazebra" not in told
