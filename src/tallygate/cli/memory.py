"""What becomes of this process's memory: nothing of it gets out, and what is free goes back to the system.

No dumps: for every command, since nearly each holds a key of some kind. A limit of zero bytes keeps plain core files
away; a process that is not dumpable is not handed to a crash collector either, and only root can attach to it.

Large pieces: whoever sends ten megabytes, good or bad, must not make a gateway larger for good. glibc gives a large
piece back as soon as it is free, but after the first one it takes even larger ones, up to 32 MiB, from a heap that
shrinks at its end only; setting the bound, be it to what it is anyway, keeps it where it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>
_M_TRIM_THRESHOLD: Final = -1  # <malloc.h>
_M_MMAP_THRESHOLD: Final = -3

LARGE_BYTES: Final = 128 * 1024
"""From this size on a piece is large, and so much may lie free at the heap's end: what glibc begins with."""


def forbid_dumps() -> None:
    """Turn core dumps off for this process and what it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    with contextlib.suppress(OSError, AttributeError):  # where there is no prctl, the limit has to do
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def give_large_pieces_back() -> None:
    """Have every large piece of memory go back to the system as soon as it is free."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has rules of its own
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(option, LARGE_BYTES)
