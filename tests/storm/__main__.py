"""`python -m tests.storm`: how a storm is started and what it says."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from tallygate.cli.exits import Exit
from tests.storm.pause import STREAMS, pause
from tests.storm.storm import Orders, run_storm
from tests.storm.world import Setting, World


def main() -> int:
    """Run a storm by the command line's orders; the exit code is 0 if it found nothing."""
    parser = argparse.ArgumentParser(prog="scripts/storm", description="Kill gateways amid calls; prove their books.")
    parser.add_argument("--rounds", type=int, default=20, help="how many gateways are killed (20)")
    parser.add_argument("--seed", type=int, help="where all choices come from (any; it is printed)")
    parser.add_argument("--callers", type=int, default=200, help="how many callers there are at a time (200)")
    parser.add_argument("--jobs", type=int, default=1, help="how many worlds run at a time (1)")
    parser.add_argument("--point", action="append", help="kill at this point only; once for each")
    parser.add_argument("--stop-for", type=float, metavar="S", help="stop one gateway for so many seconds, no storm")
    parser.add_argument("--json", action="store_true", help="print the figures in JSON")
    chosen = parser.parse_args()
    if chosen.stop_for is not None:
        return uvloop.run(_pause(chosen.stop_for))
    seed = random.SystemRandom().randrange(10**9) if chosen.seed is None else chosen.seed
    orders = Orders(chosen.rounds, seed, chosen.callers, chosen.jobs, chosen.point)

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    tell(f"{orders.rounds} kills, {orders.callers} callers, seed {seed}")
    begun_s = time.monotonic()
    figures = uvloop.run(run_storm(orders, tell))
    lasted_s = time.monotonic() - begun_s
    tell(f"{lasted_s:.0f} s, {lasted_s / orders.rounds:.2f} s for each kill")
    sys.stdout.write((json.dumps(figures.as_json()) if chosen.json else "\n".join(figures.lines())) + "\n")
    return 1 if figures.violations else 0


async def _pause(stop_s: float) -> int:
    with tempfile.TemporaryDirectory(prefix="tallygate-pause-") as folder:
        async with World(Path(folder), Setting(pace_ms=10)) as world:
            paused = await pause(world, stop_s)
    code, said = paused.second
    endings = Counter(each.ending for each in paused.told)
    lines = [f"The second gateway ended with exit code {code}: {said.strip()}", f"Callers who stayed: {dict(endings)}"]
    violations = [*paused.violations, *(each for each in endings if each != "streamed to the end")]
    violations += [] if code == Exit.STORE_LOCKED else ["the second gateway was not refused the store"]
    verdict = f"BROKEN: {violations}" if violations else f"SOUND: {STREAMS} streams were settled once, as billed"
    sys.stdout.write("\n".join([*lines, f"{verdict}, after {stop_s:g} s of standing still."]) + "\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
