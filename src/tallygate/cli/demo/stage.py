"""What the demo runs and where: its ports, its folder, its two programs. Nothing is left behind when it ends.

The programs are the real ones, started as an operator would start them. Secrets reach them by their environment or
by a file that only the owner can read, never as arguments.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import filelock

from tallygate.cli.exits import Exit, Failure
from tallygate.core.signing import SigningKey

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Mapping
    from pathlib import Path

START_S: Final = 60
"""How long a program may take to listen; it takes less than one second on an idle machine."""
STOP_S: Final = 45
"""How long a program may take to end: longer than a gateway gives the calls under way."""
WALLET_NGONKA: Final = 10**15
ADMIN_KEY_VARIABLE: Final = "TALLYGATE_ADMIN_KEY"
BEARER_KEY_VARIABLE: Final = "DEVNET_BEARER_KEY"
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

CONFIG: Final = """\
# Written by `tallygate demo`: signed nodes first, the Bearer gateway where they fail.

[server]
listen = "127.0.0.1:{gateway_port}"

[admin]
listen = "127.0.0.1:{admin_port}"
key_env = "TALLYGATE_ADMIN_KEY"

[store]
url = "sqlite:store/tallygate.db"

[billing]
fee_ppm = 100000  # the platform fee: 10 %

[[upstreams]]
name = "devnet"
kind = "gonka"
priority = 1
models = "*"
scheme = "hash"
wallets = [{{ key_file = "wallet.key" }}]
nodes = [
{nodes}
]

[[upstreams]]
name = "devnet-bearer"
kind = "openai"
priority = 2
models = "*"
base_url = "{bearer_url}"
api_key_env = "DEVNET_BEARER_KEY"
cost = {{ unit = "ngonka", input = 1, output = 1 }}

[models."Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"]
aliases = ["qwen3"]
input_usd_per_1m = "2.50"
output_usd_per_1m = "10"
features = ["tools", "json_mode", "structured_outputs", "thinking"]

[models."Qwen/Qwen3-32B-FP8"]
input_usd_per_1m = "5"
output_usd_per_1m = "5"
features = ["tools", "json_mode", "structured_outputs", "thinking"]

[models."MiniMaxAI/MiniMax-M2.7"]
input_usd_per_1m = "0.30"
output_usd_per_1m = "1.20"
features = ["tools", "json_mode", "structured_outputs", "thinking"]

[models."moonshotai/Kimi-K2.6"]
input_usd_per_1m = "0.60"
output_usd_per_1m = "2.50"
features = ["tools", "json_mode", "structured_outputs", "thinking"]
"""


class NodePlace(NamedTuple):
    """One node of the devnet."""

    url: str
    address: str


class Network(NamedTuple):
    """Where a running devnet is."""

    nodes: tuple[NodePlace, ...]
    bearer_url: str
    bearer_key: str


class Ports(NamedTuple):
    """Where everything listens."""

    gateway: int
    admin: int
    node: int

    def check(self) -> None:
        """Refuse ports that cannot be had, before anything is started.

        Raises:
            Failure: One is in use, or two are the same.
        """
        wanted = [(self.gateway, "--port"), (self.admin, "--admin-port")]
        wanted += [(self.node + index, "--node-port") for index in range(4)]
        if len({port for port, _ in wanted}) < len(wanted) or self.node + 3 > 65535:
            raise Failure(Exit.USAGE, "The gateway, its admin listener and the four of the devnet need six ports.")
        for port, option in wanted:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    message = f"Port {port} cannot be used ({error.strerror}); choose another with {option}."
                    raise Failure(Exit.PORT_BUSY, message) from None


class Folder:
    """The demo's folder, held by one demo at a time.

    Only what a demo has written is ever removed from it; a folder with anything else in it is refused.

    Args:
        path: Where it is.
        keep: Whether to go on with what an earlier demo has left there.
    """

    MARK = "demo.lock"
    OWN = ("tallygate.toml", "wallet.key", "gateway.log", "devnet.log", "store/anchors.jsonl")

    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path = path.absolute()
        self._keep = keep
        self._lock = filelock.FileLock(self.path / self.MARK, timeout=0)

    def __enter__(self) -> Self:
        """Take it, and make it fresh unless it is to be kept."""
        path = self.path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"{path} cannot be made ({error.strerror}); choose another with --data."
            raise Failure(Exit.FAILED, message) from None
        if any(path.iterdir()) and not (path / self.MARK).exists():
            raise Failure(Exit.FAILED, f"{path} holds files that are not a demo's; choose another with --data.")
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise Failure(Exit.STORE_LOCKED, f"Another demo is using {path}; choose another with --data.") from None
        if not self._keep:
            for own in [*(path / name for name in self.OWN), *(path / "store").glob("tallygate.*")]:
                own.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Let others have it."""
        self._lock.release()

    def wallet(self) -> SigningKey:
        """Return the wallet in it, made where it is missing."""
        file = self.path / "wallet.key"
        if not file.exists():
            with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32) + "\n")
        return SigningKey.from_hex(file.read_text().strip())


class Program:
    """One of our programs, in a process of its own that ends no later than this one.

    Args:
        name: What it is, for people; also its log's name.
        arguments: Behind `tallygate`.
        folder: Where its log goes.
        secrets_: What its environment holds beyond ours.
    """

    def __init__(self, name: str, arguments: list[str], folder: Folder, secrets_: Mapping[str, str]) -> None:
        self.name = name
        self._is_ready = False
        self._log = folder.path / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own program with our own arguments)
                [sys.executable, "-m", "tallygate", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **secrets_},
                text=True,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends its programs in order
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509  (nothing else runs in this process)
            )

    def read_until(self, is_last: Callable[[str], bool]) -> list[str]:
        """Return what it says up to the line that says that it is ready.

        Raises:
            Failure: It ends or hangs before that.
        """
        lines: list[str] = []
        patience = threading.Timer(START_S, self._process.kill)
        patience.start()
        try:
            if self._process.stdout is not None:
                for line in self._process.stdout:
                    lines.append(line.strip())
                    if is_last(lines[-1]):
                        self._is_ready = True
                        return lines
        finally:
            patience.cancel()
        code = self._process.wait()
        exit_code = Exit(code) if code in {Exit.CONFIGURATION, Exit.STORE_LOCKED, Exit.PORT_BUSY} else Exit.FAILED
        said = "\n  ".join(self._log.read_text(errors="replace").splitlines()[-12:])
        raise Failure(exit_code, f"The {self.name} did not start:\n  {said or f'exit code {code}'}")

    def stop(self) -> None:
        """End it, and wait until it has.

        Raises:
            Failure: It was up, and did not end by itself, or not well.
        """
        self._process.terminate()
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if code != 0 and self._is_ready:
            raise Failure(Exit.FAILED, f"The {self.name} ended with exit code {code}; its log: {self._log}")


def start_devnet(stack: contextlib.ExitStack, folder: Folder, ports: Ports) -> Network:
    """Start a devnet that ends with the stack."""
    program = Program("devnet", ["devnet", "--port", str(ports.node)], folder, {})
    stack.callback(program.stop)
    lines = program.read_until(lambda line: line.startswith("BEARER_KEY="))
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition("=")
        values.setdefault(name, []).append(value)
    nodes = [NodePlace(*place) for place in zip(values["NODE_URL"], values["NODE_ADDRESS"], strict=True)]
    return Network(tuple(nodes), values["BEARER_URL"][0], values["BEARER_KEY"][0])


def start_gateway(stack: contextlib.ExitStack, folder: Folder, ports: Ports, network: Network, admin_key: str) -> None:
    """Start a gateway to that devnet, with a funded wallet, which ends with the stack."""
    _fund(network.nodes[0].url, folder.wallet())
    nodes = "\n".join(f'    {{ url = "{node.url}", address = "{node.address}" }},' for node in network.nodes)
    config = folder.path / "tallygate.toml"
    config.write_text(
        CONFIG.format(
            gateway_port=ports.gateway,
            admin_port=ports.admin,
            nodes=nodes,
            bearer_url=network.bearer_url,
        )
    )
    given = {ADMIN_KEY_VARIABLE: admin_key, BEARER_KEY_VARIABLE: network.bearer_key}
    program = Program("gateway", ["serve", "--config", str(config), "--logs", "json"], folder, given)
    stack.callback(program.stop)
    program.read_until(lambda line: line.startswith("Tallygate "))


def _fund(node_url: str, wallet: SigningKey) -> None:
    """Give a wallet something to spend, by the devnet's control route."""
    fields = {"pubkey": base64.b64encode(wallet.public_key).decode(), "balance": WALLET_NGONKA, "publish": True}
    request = urllib.request.Request(  # noqa: S310  (the devnet that we have started)
        f"{node_url}/devnet/accounts", json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=10) as answer:
        answer.read()


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what a child runs first so that it ends even when this process is killed outright; Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(Exit.FAILED)

    return prepare
