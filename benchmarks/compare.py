"""Measures a running gateway beside nginx: same mock upstream, same load generator, one core each, in one run.

    python benchmarks/compare.py [--rounds 3] [--seconds 4]

Needs a C compiler, `taskset` and, for the ratios, nginx. Core 0 carries what is measured, core 1 mock and load.
Money is on: SQLite with holds that wait for the disk (`hold_durability = "wait"`), charges on the disk before the
end of the answer. nginx relays bytes and does nothing else. Only ratios of one run mean something.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MOCK, PACED, NGINX, GATEWAY, ADMIN = 19100, 19101, 19200, 19300, 19301
MODEL = "test-model"
FRAMES = 66  # 64 chunks of text, one with usage, [DONE]
ADMIN_KEY = "benchmark-admin-key"
NODE_ADDRESS = "gonka1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6"

NGINX_CONF = """
worker_processes 1; daemon off; pid {work}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  upstream whole {{ server 127.0.0.1:{mock}; keepalive 512; }}
  upstream paced {{ server 127.0.0.1:{paced}; keepalive 512; }}
  server {{
    listen 127.0.0.1:{nginx};
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; keepalive_requests 100000000;
    location /v1/ {{ proxy_pass http://whole; }}
    location /paced/ {{ proxy_pass http://paced; }}
  }}
}}
"""

TOML = """
[server]
listen = "127.0.0.1:{gateway}"
log_level = "warning"
[admin]
listen = "127.0.0.1:{admin}"
key_env = "BENCH_ADMIN_KEY"
[store]
url = "sqlite:{work}/{kind}/books.db"
[[upstreams]]
name = "bench"
{upstream}
[models."{model}"]
input_usd_per_1m = "0.000353"
output_usd_per_1m = "0.000353"
"""

UPSTREAMS = {
    "tallygate, Bearer": 'kind = "openai"\nbase_url = "http://127.0.0.1:{port}/v1"\napi_key_env = "BENCH_KEY"',
    "tallygate, signed": 'kind = "gonka"\nwallets = [{{ key_env = "BENCH_WALLET" }}]\nscheme = "hash"\n'
    'nodes = [{{ url = "http://127.0.0.1:{port}", address = "' + NODE_ADDRESS + '" }}]',
}


class Bench:
    """Tools, bodies and processes of one run."""

    def __init__(self, work: Path, seconds: float) -> None:
        self.work = work
        self.seconds = seconds
        for tool in ("mock", "load"):
            subprocess.run(["cc", "-O2", "-w", "-o", work / tool, HERE / f"{tool}.c"], check=True)
        text = ("lorem ipsum dolor sit amet " * 80)[:2000]
        messages = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": text}]
        body: dict[str, Any] = {"model": MODEL, "max_tokens": 256, "messages": messages}
        (work / "json").write_text(json.dumps(body))
        (work / "stream").write_text(json.dumps({**body, "stream": True}))

    def load(self, port: int, connections: int, rate: int, body: str, key: str, path: str = "/v1") -> dict[str, Any]:
        command = [self.work / "load", port, connections, self.seconds, rate, self.work / body]
        command += [f"{path}/chat/completions", "", key]
        result = subprocess.run(["taskset", "-c", "1", *map(str, command)], capture_output=True, text=True, check=True)
        answer: dict[str, Any] = json.loads(result.stdout)
        if answer["errs"] or answer["non200"]:
            print(f"  ! errors {answer['errs']}, not 200: {answer['non200']}", file=sys.stderr)
        return answer

    @contextlib.contextmanager
    def process(self, core: int, *command: object, env: dict[str, str] | None = None) -> Any:
        with subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                yield running
            finally:
                running.send_signal(signal.SIGTERM)
                running.wait()


def cpu_us(pid: int) -> float:
    """Return the CPU time that a process and its children have used, in microseconds."""
    total = 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in (pid, *map(int, children)):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * 1e6 / os.sysconf("SC_CLK_TCK")


def measure(bench: Bench, pid: int, port: int, key: str, paced: tuple[int, str, str] | None) -> dict[str, float]:
    """Return one round's figures of one target."""
    figures: dict[str, float] = {}
    before = cpu_us(pid)
    whole = bench.load(port, 64, 0, "json", key)
    figures["JSON/s, 64 connections"] = whole["rps"]
    figures["CPU us/call"] = (cpu_us(pid) - before) / whole["done"]
    figures["JSON/s, 8 connections"] = bench.load(port, 8, 0, "json", key)["rps"]
    quiet = bench.load(port, 64, 300, "json", key)["lat"]
    figures["p50 us at 300/s"], figures["p99 us at 300/s"] = quiet["p50"], quiet["p99"]
    figures["streams/s, 32 connections"] = bench.load(port, 32, 0, "stream", key)["rps"]
    if paced is not None:
        before = cpu_us(pid)
        slow = bench.load(paced[0], 50, 0, "stream", paced[1], paced[2])
        figures["CPU us/frame, paced"] = (cpu_us(pid) - before) / (slow["done"] * FRAMES)
        figures["hop p50 us, paced"] = slow["hop"]["p50"]
    return figures


def make_key() -> str:
    """Open an account with money and a key, beside the running gateway."""

    def admin(path: str, body: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{ADMIN}/admin/v1/{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            result: dict[str, Any] = json.load(answer)
            return result

    account = admin("accounts", {"name": "bench"})["id"]
    admin(f"accounts/{account}/deposits", {"usd": "900000"})
    secret: str = admin("keys", {"account": account, "name": "bench"})["secret"]
    return secret


def gateway_round(bench: Bench, name: str, number: int) -> dict[str, float]:
    """Measure the gateway with one kind of upstream: once with a mock that answers at once, once with a paced one."""
    figures: dict[str, float] = {}
    for port, is_paced in ((MOCK, False), (PACED, True)):
        kind = f"{name.rsplit(maxsplit=1)[-1]}{number}{is_paced}"
        upstream = UPSTREAMS[name].format(port=port)
        config = bench.work / f"{kind}.toml"
        config.write_text(
            TOML.format(gateway=GATEWAY, admin=ADMIN, work=bench.work, kind=kind, upstream=upstream, model=MODEL)
        )
        env = {"BENCH_ADMIN_KEY": ADMIN_KEY, "BENCH_KEY": "upstream-key", "BENCH_WALLET": "11" * 32}
        command = (sys.executable, "-m", "tallygate", "--config", config, "serve")
        with bench.process(0, *command, env=env) as gateway:
            gateway.stdout.readline()
            key = make_key()
            if is_paced:
                before = cpu_us(gateway.pid)
                slow = bench.load(GATEWAY, 50, 0, "stream", key)
                figures["CPU us/frame, paced"] = (cpu_us(gateway.pid) - before) / (slow["done"] * FRAMES)
                figures["hop p50 us, paced"] = slow["hop"]["p50"]
            else:
                figures = measure(bench, gateway.pid, GATEWAY, key, None)
    return figures


def main() -> None:
    """Run all rounds and print medians, with ratios to nginx of the same round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        bench = Bench(work, options.seconds)
        stack.enter_context(bench.process(1, work / "mock", MOCK, 64, 0))
        stack.enter_context(bench.process(1, work / "mock", PACED, 64, 10_000))
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        for number in range(options.rounds):
            if nginx:
                conf = work / "nginx.conf"
                conf.write_text(NGINX_CONF.format(work=work, mock=MOCK, paced=PACED, nginx=NGINX))
                with bench.process(0, nginx, "-c", conf) as running:
                    wait_for(NGINX)
                    results["nginx"].append(measure(bench, running.pid, NGINX, "none", (NGINX, "none", "/paced")))
            for name in UPSTREAMS:
                results[name].append(gateway_round(bench, name, number))
    report(results)


def wait_for(port: int) -> None:
    """Return when something listens."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return


def report(results: dict[str, list[dict[str, float]]]) -> None:
    """Print the medians, and the ratio to nginx paired by round."""
    heads = list(next(iter(results.values()))[0])
    print("| | " + " | ".join(heads) + " |\n|" + " --- |" * (len(heads) + 1))
    for name, rounds in results.items():
        cells = []
        for head in heads:
            cell = f"{statistics.median(r[head] for r in rounds):,.1f}"
            if name != "nginx" and results.get("nginx"):
                ratio = statistics.median(
                    r[head] / n[head] for r, n in zip(rounds, results["nginx"], strict=True) if n[head]
                )
                cell += f" ({ratio:.2f} x nginx)"
            cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
