"""What a call costs the gateway: processor time, all in one process, with no socket and no other program in the count.

    python benchmarks/call_cost.py [--beside SRC] [--rounds 6] [--log-level info]
    python benchmarks/call_cost.py --instructions [--beside SRC]
    python benchmarks/call_cost.py --profile

`serve` runs as it always does, but on an event loop whose connections are made in memory: callers send the same request
again as soon as they have an answer, and the upstream answers at once. The books are in a real file, in memory.
`--beside` names the `src` folder of another checkout, and its figures stand beside ours: processes of both take turns,
and the least of all batches counts. `--instructions` counts the processor's instructions instead, by valgrind, which a
busy machine does not disturb; commits are then made in step with the calls, so that as many share one in each run.
`--profile` tells where the time goes, by module.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import uvloop

MODEL = "test-model"
CROWD = 32
BATCH = 64
BATCHES = 40
COUNTED = 384
"""Calls whose instructions are counted: enough for a dozen of commits."""
FRAMES = 64

TOML = """
[server]
listen = "127.0.0.1:0"
log_level = "{log_level}"
[admin]
listen = "127.0.0.1:0"
key_env = "BENCH_ADMIN_KEY"
[store]
url = "sqlite:{folder}/books.db"
[[upstreams]]
name = "bench"
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "BENCH_KEY"
[models."{model}"]
input_usd_per_1m = "0.000353"
output_usd_per_1m = "0.000353"
"""

USAGE = {"prompt_tokens": 512, "completion_tokens": FRAMES, "total_tokens": 512 + FRAMES}
HEAD = {"id": "chatcmpl-1", "created": 1, "model": MODEL}


def _whole_answer() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 140}, "finish_reason": "stop"}
    body = json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _stream() -> list[bytes]:
    chunk = {**HEAD, "object": "chat.completion.chunk"}
    choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
    frames = [json.dumps({**chunk, "choices": [choice]})] * FRAMES
    frames += [json.dumps({**chunk, "choices": [], "usage": USAGE}), "[DONE]"]
    events = [b"data: " + frame.encode() + b"\n\n" for frame in frames]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n"]


WHOLE, STREAM = [_whole_answer()], _stream()


class Wire(asyncio.Transport):
    """One end of a connection in memory."""

    def __init__(self, protocol: Any) -> None:
        super().__init__({"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 80)})
        self.protocol = protocol
        self.closed = False
        protocol.connection_made(self)

    def is_closing(self) -> bool:
        """Say whether it is closed."""
        return self.closed

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def writelines(self, pieces: Any) -> None:
        """Write pieces."""
        self.write(b"".join(pieces))

    def pause_reading(self) -> None:
        """There is never too much."""

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There are none."""


class Upstream(Wire):
    """The network's end: it answers as soon as a request is complete."""

    def __init__(self, protocol: Any) -> None:
        self._request = b""
        super().__init__(protocol)

    def write(self, data: bytes) -> None:
        """Take a piece of a request."""
        self._request += data
        head, _, body = self._request.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        if len(body) == length:
            self._request = b""
            answer = STREAM if b'"stream":true' in body else WHOLE
            for piece in answer:
                asyncio.get_running_loop().call_soon(self.protocol.data_received, piece)


class Caller(Wire):
    """A caller's end: it asks the same again and again."""

    def __init__(self, protocol: Any, request: bytes) -> None:
        self._request = request
        self._left = 0
        self._answer = b""
        self._done: asyncio.Future[bytes]
        super().__init__(protocol)

    async def ask(self, times: int) -> bytes:
        """Ask so many times, one after the other; return the last answer."""
        self._done = asyncio.get_running_loop().create_future()
        self._left = times
        self.protocol.data_received(self._request)
        return await self._done

    def write(self, data: bytes) -> None:
        """Take a piece of an answer; ask again after the last."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not (len(body) == int(length) if length else data.endswith(b"0\r\n\r\n")):
            return
        answer, self._answer = self._answer, b""
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise SystemExit(f"not served: {answer[:300]!r}")
        self._left -= 1
        if self._left:
            asyncio.get_running_loop().call_soon(self.protocol.data_received, self._request)
        else:
            self._done.set_result(body)


class Listener:
    """What would listen."""

    def close(self) -> None:
        """Nothing to do."""


class Loop(uvloop.Loop):  # type: ignore[misc]  # the library says nothing of its type
    """An event loop whose connections are in memory."""

    factories: dict[int, Any]

    async def create_server(self, factory: Any, **kwargs: Any) -> Any:
        """Remember who would be called."""
        self.factories[kwargs["sock"].getsockname()[1]] = factory
        return Listener()

    async def create_connection(self, factory: Any, *_: Any, **__: Any) -> Any:
        """Connect to the upstream."""
        protocol = factory()
        return Upstream(protocol), protocol


def render(path: str, key: str, body: dict[str, Any]) -> bytes:
    """Return a request as it comes from a common client."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gateway.example\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
        f"Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.0.0\r\n"
        f"X-Stainless-Lang: python\r\nX-Stainless-Async: false\r\nX-Stainless-Retry-Count: 0\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def count_instructions(state: str) -> None:
    """Have valgrind, in which we run, begin or end to count."""
    subprocess.run(["callgrind_control", f"--instr={state}", str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


def flush_in_step(thread: Any, done: Any) -> None:
    """Flush on the event loop, in place of the thread that waits for the disk beside it."""

    def flush() -> None:
        thread._flush()  # noqa: SLF001  (it is the benchmark that looks inside)
        done(None)

    asyncio.get_running_loop().call_soon(flush)


async def measure(
    folder: str, log_level: str, profile: cProfile.Profile | None, counted: str | None
) -> dict[str, float]:
    """Return the least processor time of a call, by kind, in microseconds; or have the calls of one kind counted."""
    from tallygate import app
    from tallygate.cli.logs import configure_logs
    from tallygate.config import load
    from tallygate.storage.group_commit import FlushThread

    if counted is not None:
        FlushThread.begin = flush_in_step  # type: ignore[method-assign]  # only here
    config = Path(folder) / "tallygate.toml"
    config.write_text(TOML.format(folder=folder, model=MODEL, log_level=log_level))
    settings = load(config, {"BENCH_ADMIN_KEY": "a" * 32, "BENCH_KEY": "b" * 32})
    configure_logs(log_level, pretty=False, lasting=True)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.factories = {}
    ready: asyncio.Future[tuple[int, int]] = loop.create_future()
    serving = loop.create_task(app.serve(settings, lambda _, public, admin: ready.set_result((public, admin))))
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    public, admin = await ready if ready.done() else serving.result()

    async def act(path: str, body: dict[str, Any]) -> Any:
        return json.loads(await Caller(loop.factories[admin](), render(f"/admin/v1/{path}", "a" * 32, body)).ask(1))

    account = (await act("accounts", {"name": "bench"}))["id"]
    await act(f"accounts/{account}/deposits", {"usd": "900000"})
    key = (await act("keys", {"account": account, "name": "bench"}))["secret"]
    text = ("lorem ipsum dolor sit amet " * 80)[:2000]
    messages = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": text}]
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 256, "messages": messages}
    figures = {}
    for kind, body in (("unstreamed", asked), ("streamed", {**asked, "stream": True})):
        request = render("/v1/chat/completions", key, body)
        callers = [Caller(loop.factories[public](), request) for _ in range(CROWD)]
        await asyncio.gather(*(caller.ask(5) for caller in callers))
        if counted is not None:
            if counted == kind:
                count_instructions("on")
                await asyncio.gather(*(caller.ask(COUNTED // CROWD) for caller in callers))
                count_instructions("off")
            continue
        if profile is not None and kind == "unstreamed":
            profile.enable()
        least = float("inf")
        for _ in range(BATCHES):
            begun = time.process_time_ns()
            await asyncio.gather(*(caller.ask(BATCH // CROWD) for caller in callers))
            least = min(least, (time.process_time_ns() - begun) / BATCH / 1000)
        if profile is not None:
            profile.disable()
        figures[kind] = least
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    return figures


def run(log_level: str, profile: cProfile.Profile | None = None, counted: str | None = None) -> dict[str, float]:
    """Measure in this process."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # else the disk's moods are in the figures
    with tempfile.TemporaryDirectory(dir=memory) as folder, asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(measure(folder, log_level, profile, counted))


def count(source: Path, log_level: str) -> dict[str, float]:
    """Return the instructions of a call, by kind, in thousands."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"]
    figures = {}
    for kind in ("unstreamed", "streamed"):
        command = [*valgrind, sys.executable, __file__, "--child", "--counted", kind, "--log-level", log_level]
        env = {**os.environ, "PYTHONPATH": str(source), "PYTHONHASHSEED": "0"}
        child = subprocess.run(
            command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        figures[kind] = int(re.findall(r"Collected : (\d+)", child.stderr)[-1]) / COUNTED / 1000
    return figures


def report_profile(profile: cProfile.Profile) -> None:
    """Print the time by module, and the functions that take most."""
    stats = pstats.Stats(profile, stream=sys.stdout)
    calls = BATCH * BATCHES
    modules: dict[str, float] = defaultdict(float)
    for (file, _, _), (_, _, own_s, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        modules[file.rpartition("/src/")[2].rpartition("site-packages/")[2]] += own_s
    for name, seconds in sorted(modules.items(), key=lambda item: -item[1])[:45]:
        print(f"{seconds / calls * 1e6:8.2f} us  {name}")
    stats.sort_stats("tottime").print_stats(70)


def main() -> None:
    """Measure, alone or beside another checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="the src folder of another checkout")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--counted", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run(options.log_level, counted=options.counted)))
        return
    if options.profile:
        profile = cProfile.Profile()
        run(options.log_level, profile)
        report_profile(profile)
        return
    sources = {"ours": Path(__file__).resolve().parent.parent / "src"}
    if options.beside is not None:
        sources["beside"] = options.beside.resolve()
    if options.instructions:
        report({name: count(source, options.log_level) for name, source in sources.items()}, "thousand instructions")
        return
    least: dict[str, dict[str, float]] = {name: {} for name in sources}
    for _ in range(options.rounds):
        for name, source in sources.items():
            command = [sys.executable, __file__, "--child", "--log-level", options.log_level]
            child = subprocess.run(
                command,
                check=False,
                env={**os.environ, "PYTHONPATH": str(source)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if child.returncode:
                raise SystemExit(f"{source} cannot be measured; run it with --child to see why")
            for kind, us in json.loads(child.stdout).items():
                least[name][kind] = min(us, least[name].get(kind, us))
    report(least, "us")


def report(figures: dict[str, dict[str, float]], unit: str) -> None:
    """Print our figures, and those beside them."""
    for kind, ours in figures["ours"].items():
        told = f"{kind}: {ours:.1f} {unit}"
        if "beside" in figures:
            other = figures["beside"][kind]
            told += f", beside {other:.1f}: {ours / other:.3f} of it"
        print(told)


if __name__ == "__main__":
    main()
