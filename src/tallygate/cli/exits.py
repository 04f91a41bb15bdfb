"""How a command ends: the exit codes of the contract, and the one exception that carries them."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Exit(IntEnum):
    """Exit codes; programs may depend on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    STORE_LOCKED = 4
    NOT_FOUND = 5
    UNREACHABLE = 6
    DIFFERENCE = 7
    PORT_BUSY = 8


class Failure(Exception):  # noqa: N818  (an expected ending, told in one message and without a traceback)
    """A command ends here, and the operator is told why.

    Args:
        exit_code: How the process ends.
        message: What happened and what to do about it.
        content: What `--json` shows on standard output; None shows the message as an error.
    """

    def __init__(self, exit_code: Exit, message: str, content: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.exit = exit_code
        self.message = message
        self.content = {"error": {"message": message}} if content is None else content
