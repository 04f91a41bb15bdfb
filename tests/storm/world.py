"""One small world of the storm: a devnet, a store, a gateway in front of it, and the processes that come and go."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import httptools

from tallygate.core.signing import SigningKey
from tests.storm.calls import MODEL, PICOUSD
from tests.storm.processes import WAIT_S, Program
from tests.storm.witness import Books

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from tests.storm.aims import Aim

WALLET: Final = SigningKey.from_hex("5e" * 32)
ADMIN_KEY: Final = "the-admin-key-of-the-storm"
BEARER_KEY: Final = "the-bearer-key-of-the-storm"
SECRETS: Final = {"STORM_ADMIN_KEY": ADMIN_KEY, "STORM_WALLET_KEY": "5e" * 32, "STORM_BEARER_KEY": BEARER_KEY}

CONFIG: Final = """\
[server]
listen = "127.0.0.1:0"
log_level = "warning"

[admin]
listen = "127.0.0.1:0"
key_env = "STORM_ADMIN_KEY"

[store]
url = "sqlite:data/tallygate.db"
after_crash = "{after_crash}"
hold_durability = "{hold_durability}"

[models."{model}"]
input_usd_per_1m = "0.000353"
output_usd_per_1m = "0.001411"
"""

SIGNED: Final = """
[[upstreams]]
name = "signed"
kind = "gonka"
scheme = "hash"
wallets = [{{ key_env = "STORM_WALLET_KEY" }}]
nodes = [{nodes}]
bills_to_end = {bills_to_end}
"""

BEARER: Final = """
[[upstreams]]
name = "bearer"
kind = "openai"
base_url = "{bearer_url}"
api_key_env = "STORM_BEARER_KEY"
cost = {{ unit = "ngonka", input = 1, output = 1 }}
bills_to_end = {bills_to_end}
"""


class Setting(NamedTuple):
    """What may differ from world to world.

    Attributes:
        after_crash: What a crash charges: `void` or `charge_prompt`.
        hold_durability: Whether a call is sent only when its hold is durable: `wait` or `async`.
        upstreams: The ways to the network; calls are spread over both.
        bills_to_end: Whether the gateway is told that the network bills all of an answer, which devnet does.
        pace_ms: Of devnet, between two tokens.
    """

    after_crash: str = "void"
    hold_durability: str = "wait"
    upstreams: Sequence[str] = (SIGNED, BEARER)
    bills_to_end: bool = True
    pace_ms: int = 1


class Key(NamedTuple):
    """An account and the secret of its API key."""

    account: str
    secret: str


class Devnet:
    """A running `tallygate devnet`."""

    def __init__(self, folder: Path, pace_ms: int) -> None:
        arguments = ("devnet", "--port", "0", "--pace-ms", str(pace_ms), "--bearer-key", BEARER_KEY)
        self._program = Program(arguments, {}, folder / "devnet.log")
        self.nodes: list[tuple[str, str]] = []
        self.bearer_url = ""

    async def start(self) -> None:
        """Wait until it is there, and give the wallet money."""
        url = ""
        while not self.bearer_url:
            name, _, value = (await self._program.line()).decode().strip().partition("=")
            if name == "NODE_URL":
                url = value
            elif name == "NODE_ADDRESS":
                self.nodes.append((url, value))
            elif name == "BEARER_URL":
                self.bearer_url = value
            elif not name:
                raise RuntimeError("the devnet did not start; its log says why")
        await self.order(
            "POST",
            "accounts",
            {"pubkey": base64.b64encode(WALLET.public_key).decode(), "balance": 10**15, "publish": True},
        )

    @property
    def hosts(self) -> list[str]:
        """Where each host listens."""
        return [*(url for url, _ in self.nodes), self.bearer_url.removesuffix("/v1")]

    async def order(self, method: str, path: str, fields: dict[str, Any] | None = None, host: int = 0) -> Any:
        """Use a control of one host."""
        url = urlsplit(self.hosts[host])
        return await ask(url.port or 0, method, f"/devnet/{path}", fields)

    async def order_all(self, method: str, fields: dict[str, Any] | None = None) -> None:
        """Order a fault of every host, or end them all."""
        await asyncio.gather(*(self.order(method, "faults", fields, host) for host in range(len(self.hosts))))

    async def inferences(self) -> list[dict[str, Any]]:
        """Return everything that the chain knows."""
        state = await self.order("GET", "state")
        found: list[dict[str, Any]] = state["inferences"]
        return found

    async def finished(self) -> list[dict[str, Any]]:
        """Wait until all inferences have finished, also those whose client is gone; return them."""
        deadline_s = asyncio.get_running_loop().time() + WAIT_S
        found = await self.inferences()
        while any(inference["status"] != "FINISHED" for inference in found):
            if asyncio.get_running_loop().time() > deadline_s:
                raise TimeoutError("an inference of the devnet never ended")
            found = await self.inferences()
        return found

    async def stop(self) -> None:
        """End it."""
        await self._program.kill()


class Gateway:
    """One running gateway.

    Attributes:
        program: Its process.
        port: Where callers connect; 0 until it is ready.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.port = self._admin_port = 0

    @property
    def killed_itself(self) -> bool:
        """Whether it ended before anybody wanted it to."""
        return self.program.has_ended and self.program.was_sent is None

    async def become_ready(self) -> bool:
        """Wait until it listens; return False if it died before."""
        line = await self.program.line()
        if not line:
            return False
        announced = json.loads(line)
        if "base_url" not in announced:
            return False
        self.port = urlsplit(announced["base_url"]).port or 0
        self._admin_port = urlsplit(announced["admin_url"]).port or 0
        return True

    async def operate(
        self, method: str, path: str, fields: dict[str, Any] | None = None, *, idempotency_key: str = ""
    ) -> Any:
        """Call the operator's API."""
        url = f"/admin/v1/{path}"
        return await ask(self._admin_port, method, url, fields, key=ADMIN_KEY, idempotency_key=idempotency_key)

    async def pay_in(self, account: str, picousd: int) -> None:
        """Deposit an amount to the pico-dollar."""
        whole, part = divmod(picousd, PICOUSD)
        await self.operate("POST", f"accounts/{account}/deposits", {"usd": f"{whole}.{part:012d}"})


class World:
    """A folder with a configuration and a store, and the devnet that it points at; ends with the context."""

    def __init__(self, folder: Path, setting: Setting = Setting()) -> None:  # noqa: B008  (an immutable record)
        self.folder = folder
        self.store = folder / "data" / "tallygate.db"
        self.setting = setting
        self.devnet = Devnet(folder, setting.pace_ms)
        self.keys: list[Key] = []
        self._programs: list[Program] = []

    async def __aenter__(self) -> Self:
        await self.devnet.start()
        nodes = ", ".join(f'{{ url = "{url}", address = "{address}" }}' for url, address in self.devnet.nodes)
        text = "".join((CONFIG, *self.setting.upstreams)).format(
            after_crash=self.setting.after_crash,
            hold_durability=self.setting.hold_durability,
            bills_to_end=str(self.setting.bills_to_end).lower(),
            bearer_url=self.devnet.bearer_url,
            nodes=nodes,
            model=MODEL,
        )
        (self.folder / "tallygate.toml").write_text(text)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for program in self._programs:
            await program.kill()
        await self.devnet.stop()

    def run(self, *arguments: str, aim: Aim | None = None) -> Program:
        """Start one of our commands."""
        config = str(self.folder / "tallygate.toml")
        program = Program(("--json", "--config", config, *arguments), SECRETS, self.folder / f"{arguments[0]}.log", aim)
        self._programs = [*(program for program in self._programs if not program.has_ended), program]
        return program

    def serve(self, aim: Aim | None = None) -> Gateway:
        """Start a gateway."""
        return Gateway(self.run("serve", "--logs", "json", aim=aim))

    async def start(self, *, accounts: int = 0, aim: Aim | None = None) -> Gateway:
        """Start a gateway and wait until it is ready; open accounts with a key each."""
        gateway = self.serve(aim)
        assert await gateway.become_ready(), (self.folder / "serve.log").read_text()
        await self.open_accounts(gateway, accounts)
        return gateway

    async def stop(self, gateway: Gateway) -> None:
        """Let a gateway end in good order."""
        gateway.program.send(signal.SIGTERM)
        assert await gateway.program.wait() == 0

    async def open_accounts(self, gateway: Gateway, count: int) -> None:
        """Open accounts with a key each."""
        self.keys += await asyncio.gather(*(self._open_account(gateway, number) for number in range(count)))

    async def _open_account(self, gateway: Gateway, number: int) -> Key:
        account = await gateway.operate("POST", "accounts", {"name": f"customer {number}"})
        key = await gateway.operate("POST", "keys", {"account": account["id"]})
        return Key(account["id"], key["secret"])

    async def verify(self) -> tuple[int, dict[str, Any]]:
        """Run `tallygate verify`; return its exit code and its report."""
        code, said = await self.run("verify").output()
        return code, json.loads(said)

    async def proven_books(self) -> Books:
        """Return the books after `tallygate verify` has found them clean, with no hold open."""
        code, report = await self.verify()
        assert (code, report["clean"], report["open_holds"]) == (0, True, 0), report
        return Books.read(self.store)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, letting the processes work meanwhile."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + WAIT_S
    while not condition():
        assert loop.time() < deadline_s, "what was waited for did not happen"
        await let_pass(0.005)


async def let_pass(seconds: float) -> None:
    """Let everything run for a while."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    await passed


async def ask(
    port: int, method: str, path: str, fields: dict[str, Any] | None, *, key: str = "", idempotency_key: str = ""
) -> Any:
    """Send a request on a connection of its own, and return the JSON of the answer.

    Raises:
        ConnectionError: The other side is not there, or went away.
        RuntimeError: The answer is a refusal.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = b"" if fields is None else json.dumps(fields).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
        head += f"idempotency-key: {idempotency_key}\r\n" if idempotency_key else ""
        writer.write(head.encode() + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        answer = _Answer()
        while not answer.is_whole and (data := await asyncio.wait_for(reader.read(2**20), WAIT_S)):
            answer.parser.feed_data(data)
    finally:
        writer.close()
    if not answer.is_whole:
        raise ConnectionResetError("the answer broke off")
    if answer.parser.get_status_code() >= 400:
        raise RuntimeError(f"{method} {path}: {bytes(answer.body).decode()}")
    return json.loads(answer.body)


class _Answer:
    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self.is_whole = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole = True
