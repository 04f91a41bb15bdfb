"""Plays many worlds on demand, or one with its whole trace: `scripts/simulate --help`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from tests.sim.world import CALLS_MAX, play

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORLDS_AT_ONCE = 20
PROGRESS_S = 10.0


class Piece(NamedTuple):
    """Some worlds in a row, how many callers each may have."""

    first: int
    worlds: int
    callers_max: int


class Result(NamedTuple):
    """What became of them."""

    counts: Counter[str]
    broken: list[tuple[int, list[str]]]


def main() -> int:
    """Play what is asked for; return 0 if no world has a violation."""
    asked = _read_arguments()
    if asked.seed is not None:
        return _play_one(asked.seed, asked.callers)
    pieces = (Piece(first, WORLDS_AT_ONCE, asked.callers) for first in count(asked.first, WORLDS_AT_ONCE))
    if asked.calls is None:
        ends = asked.first + asked.seeds
        pieces = (
            Piece(first, min(WORLDS_AT_ONCE, ends - first), asked.callers)
            for first in range(asked.first, ends, WORLDS_AT_ONCE)
        )
    began_s = time.monotonic()
    total = _add_up(_play_all(pieces, asked.jobs), asked.calls, began_s)
    _say(_summarize(total, time.monotonic() - began_s, asked.callers))
    return 1 if total.broken else 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds to play (1000)")
    parser.add_argument("--calls", type=int, help="instead: play worlds until there have been so many calls")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="play this one world and show all that happens")
    parser.add_argument("--callers", type=int, default=CALLS_MAX, help=f"callers of a world, at most ({CALLS_MAX})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    return parser.parse_args()


def _play_one(seed: int, callers_max: int) -> int:
    outcome = play(seed, callers_max)
    _say("\n".join(outcome.trace))
    _say(f"digest {outcome.digest}")
    for violation in outcome.violations:
        _say(f"VIOLATION {violation}")
    return 1 if outcome.violations else 0


def _play_all(pieces: Iterable[Piece], jobs: int) -> Iterator[Result]:
    """Yield results as they come, with no more under way than there is work for."""
    if jobs == 1:
        yield from map(play_piece, pieces)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(play_piece, piece) for _, piece in zip(range(2 * jobs), pieces, strict=False)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(play_piece, piece) for _, piece in zip(range(1), pieces, strict=False)]
        finally:
            for future in waiting:
                future.cancel()


def play_piece(piece: Piece) -> Result:
    """Play worlds in a row; runs in a process of its own."""
    counts: Counter[str] = Counter()
    broken = []
    for seed in range(piece.first, piece.first + piece.worlds):
        outcome = play(seed, piece.callers_max)
        counts += outcome.counts
        counts["worlds"] += 1
        if outcome.violations:
            broken.append((seed, outcome.violations))
    return Result(counts, broken)


def _add_up(results: Iterator[Result], calls: int | None, began_s: float) -> Result:
    total = Result(Counter(), [])
    told_s = began_s
    for result in results:
        total.counts.update(result.counts)
        total.broken.extend(result.broken)
        for seed, violations in result.broken:
            _say(f"seed {seed}: {violations[0]}")
        if time.monotonic() - told_s > PROGRESS_S:
            told_s = time.monotonic()
            _say(f"{total.counts['worlds']} worlds, {total.counts['calls']} calls, {len(total.broken)} broken ...")
        if calls is not None and total.counts["calls"] >= calls:
            break
    return total


def _summarize(total: Result, took_s: float, callers_max: int) -> str:
    counts = total.counts
    lines = [f"{name:44}{number:>12,}" for name, number in sorted(counts.items()) if name not in ("worlds", "calls")]
    verdict = "no violation" if not total.broken else f"{len(total.broken)} WORLDS WITH VIOLATIONS"
    lines += [_rerun(seed, callers_max) for seed, _ in total.broken[:20]]
    tried = (
        f"{counts['calls']:,} calls ({counts['calls with a key']:,} with a key) in {counts['worlds']:,} worlds, "
        f"{counts['kills']:,} kills, "
        f"{counts['power losses']:,} power losses, {counts['calls left by their callers']:,} left by their callers"
    )
    lines.append(f"{verdict}: {tried}, {took_s:.0f} s")
    return "\n".join(lines)


def _rerun(seed: int, callers_max: int) -> str:
    return f"again: scripts/simulate --seed {seed}" + ("" if callers_max == CALLS_MAX else f" --callers {callers_max}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
