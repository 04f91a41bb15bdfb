"""Measures what a good caller notices while others try keys: its latency beside 5,000 bad keys a second, and without.

    python benchmarks/bad_keys.py [--rounds 3] [--seconds 5] [--rate 5000]

Needs a C compiler and `taskset`. Core 0 carries the gateway; core 1 the mock upstream and both loads, so on a machine
with two cores they share it, which makes the good caller look worse than it is. Each round measures quiet, then loud,
then loud with `failed_keys_per_minute_per_address`, which sheds the bad ones; only ratios of one round mean something.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compare import ADMIN, ADMIN_KEY, GATEWAY, MOCK, MODEL, TOML, UPSTREAMS, Bench, cpu_us, make_key

from tallygate.core.keys import mint_api_key

GOOD_RATE = 300
LIMIT = "failed_keys_per_minute_per_address = 600\n"


def measure(bench: Bench, pid: int, key: str, rate: int) -> dict[str, Any]:
    """Return one caller's latencies, while bad keys come at a rate, and what became of those."""
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(bad_load, bench, rate) if rate else None
        before = cpu_us(pid)
        good = bench.load(GATEWAY, 32, GOOD_RATE, "json", key)
        cpu = cpu_us(pid) - before
        bad = others.result() if others else {"done": 0, "non200": 0, "behind": 0}
    return {"p50": good["lat"]["p50"], "p99": good["lat"]["p99"], "cpu": cpu, "good": good["done"], "bad": bad}


def bad_load(bench: Bench, rate: int) -> dict[str, Any]:
    """Send calls with a well-formed key that does not exist; a fifth of a second longer than the good ones come."""
    quiet = Bench.__new__(Bench)
    quiet.work, quiet.seconds = bench.work, bench.seconds + 0.2
    return quiet.load(GATEWAY, 64, rate, "json", mint_api_key(b"\1" * 32))


def gateway_round(bench: Bench, name: str, limit: str, rates: list[int]) -> list[dict[str, Any]]:
    """Run a gateway with a limit, and measure it under each rate of bad keys."""
    config = bench.work / f"{name}.toml"
    upstream = UPSTREAMS["tallygate, Bearer"].format(port=MOCK)
    text = TOML.format(gateway=GATEWAY, admin=ADMIN, work=bench.work, kind=name, upstream=upstream, model=MODEL)
    config.write_text(text.replace("[server]\n", "[server]\n" + limit))
    env = {"BENCH_ADMIN_KEY": ADMIN_KEY, "BENCH_KEY": "upstream-key"}
    with bench.process(0, sys.executable, "-m", "tallygate", "--config", config, "serve", env=env) as gateway:
        gateway.stdout.readline()
        key = make_key()
        bench.load(GATEWAY, 32, GOOD_RATE, "json", key)  # warm
        return [measure(bench, gateway.pid, key, rate) for rate in rates]


def main() -> None:
    """Run all rounds and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=int, default=5000)
    options = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"quiet": [], "loud": [], "loud, shed": []}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.seconds)
        with bench.process(1, bench.work / "mock", MOCK, 64, 0):
            for number in range(options.rounds):
                quiet, loud = gateway_round(bench, f"open{number}", "", [0, options.rate])
                (shed,) = gateway_round(bench, f"shed{number}", LIMIT, [options.rate])
                for name, row in zip(rows, (quiet, loud, shed), strict=True):
                    rows[name].append(row)
    print("| | p50 us | p99 us | p99, x quiet | bad keys answered/s | CPU us per bad key |\n|" + " --- |" * 6)
    for name, found in rows.items():
        ratio = statistics.median(row["p99"] / quiet["p99"] for row, quiet in zip(found, rows["quiet"], strict=True))
        p50, p99 = (statistics.median(row[figure] for row in found) for figure in ("p50", "p99"))
        answered = statistics.median(row["bad"]["done"] / (options.seconds + 0.2) for row in found)
        costs = [
            (row["cpu"] - quiet["cpu"] * row["good"] / quiet["good"]) / row["bad"]["done"]
            for row, quiet in zip(found, rows["quiet"], strict=True)
            if row["bad"]["done"]
        ]
        cost = f"{statistics.median(costs):.1f}" if costs else ""
        print(f"| {name} | {p50:,.0f} | {p99:,.0f} | {ratio:.2f} | {answered:,.0f} | {cost} |")


if __name__ == "__main__":
    main()
