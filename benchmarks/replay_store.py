"""How long the proof of a store takes, and in how much memory: what `tallygate verify --deep` does, on any store.

python benchmarks/replay_store.py PATH [--processes 2]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from tallygate.storage.replay import audit_file, count_processors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--processes", type=int, default=count_processors())
    chosen = parser.parse_args()
    began = time.monotonic()
    report = audit_file(
        chosen.path,
        processes=chosen.processes,
        progress=lambda done, total: print(f"\r{done:,} of {total:,}", end="", file=sys.stderr),
    )
    wall = time.monotonic() - began
    here, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in (here, children))
    print(
        f"\n{report.entries:,} entries, {'clean' if report.clean else report.problems[:3]}, "
        f"{chosen.processes} processes: {wall:.1f} s, {report.entries / wall:,.0f}/s; "
        f"CPU {cpu:.1f} s, {cpu / report.entries * 1e6:.1f} us each; "
        f"at most {here.ru_maxrss // 1024} MiB in this process, {children.ru_maxrss // 1024} MiB in any other"
    )


if __name__ == "__main__":
    main()
