"""Keeps what this process has in memory, keys above all, out of files and from other processes.

For every command, since nearly each holds a key of some kind. A limit of zero bytes keeps plain core files away; a
process that is not dumpable is not handed to a crash collector either, and only root can attach to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>


def forbid_dumps() -> None:
    """Turn core dumps off for this process and what it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    with contextlib.suppress(OSError, AttributeError):  # where there is no prctl, the limit has to do
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
