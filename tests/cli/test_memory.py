"""What a process has in memory stays there."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """\
import ctypes, resource, sys
from tallygate.cli import main
main(["--version"])
print(*resource.getrlimit(resource.RLIMIT_CORE)[:1], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_no_core_is_dumped() -> None:
    """A process of ours leaves no core file and is not dumpable, so that no key of it ends up in a file."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 0"
