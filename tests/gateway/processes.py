"""A gateway as an operator runs it: `tallygate serve` in a process of its own, in front of a devnet in this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import apsw

from tallygate.core.ledger.entry import Entry, decode_entry
from tallygate.core.signing import SigningKey
from tallygate.devnet import Devnet, DevnetSettings
from tallygate.devnet.faults import FaultOrder
from tallygate.storage.replay import audit_file
from tests.relay.caller import Answer, Caller
from tests.relay.world import MODEL, WALLET_NGONKA, chat_body, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tallygate.core.audit.report import Report
    from tallygate.devnet.answerer import Engine

WALLET_HEX = "5e" * 32
ADMIN_KEY = "an-admin-key-that-nobody-may-see"
BEARER_KEY = "a-bearer-key-that-nobody-may-see"
START_S = 180

CONFIG = """\
[server]
listen = "127.0.0.1:0"
drain_s = {drain_s}
log_level = "debug"

[admin]
listen = "127.0.0.1:0"
key_env = "TEST_ADMIN_KEY"

[store]
url = "sqlite:data/tallygate.db"

[[upstreams]]
name = "signed"
kind = "gonka"
priority = 1
models = "*"
scheme = "hash"
wallets = [{{ key_env = "TEST_WALLET_KEY" }}]
nodes = [{nodes}]

[[upstreams]]
name = "bearer"
kind = "openai"
priority = 2
models = "*"
base_url = "{bearer_url}"
api_key_env = "TEST_BEARER_KEY"

[models."{model}"]
input_usd_per_1m = "0.353"
output_usd_per_1m = "1.411"
"""


class Installation:
    """A folder with a configuration and a store, and the devnet that it points at."""

    def __init__(self, folder: Path, devnet: Devnet, drain_s: int) -> None:
        self.folder = folder
        self.devnet = devnet
        self.config = folder / "tallygate.toml"
        self.store = folder / "data" / "tallygate.db"
        nodes = ", ".join(f'{{ url = "{node.url}", address = "{node.address}" }}' for node in devnet.nodes)
        text = CONFIG.format(nodes=nodes, bearer_url=devnet.bearer_url, model=MODEL, drain_s=drain_s)
        self.config.write_text(text)
        self.account = ""
        self.secret = ""

    async def run(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start one of our commands."""
        secrets = {"TEST_ADMIN_KEY": ADMIN_KEY, "TEST_WALLET_KEY": WALLET_HEX, "TEST_BEARER_KEY": BEARER_KEY}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tallygate", "--json", "--config", str(self.config), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **secrets},
            limit=2**24,
        )

    async def outcome(self, *arguments: str) -> tuple[int | None, Any, bytes]:
        """Run a command to its end; return its exit code, its JSON, and what it said beside it."""
        process = await self.run(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), START_S)
        return process.returncode, json.loads(out) if out else None, err

    @property
    def calls_under_way(self) -> int:
        """How many calls the network is answering."""
        return sum(server._calls for server in self.devnet._servers)

    def order(self, fault: str, **fields: Any) -> None:
        """Order a fault of every host."""
        for book in (*(node.faults for node in self.devnet._nodes), self.devnet._bearer.faults):
            book.order(FaultOrder(fault, **fields))

    def clear_faults(self) -> None:
        """End all faults, and let go whatever they hold."""
        for book in (*(node.faults for node in self.devnet._nodes), self.devnet._bearer.faults):
            book.clear()

    def read_store(self) -> dict[str, bytes]:
        """Return the bytes of every file of the store, the pepper's own left out."""
        return {path.name: path.read_bytes() for path in self.store.parent.iterdir() if path.suffix != ".pepper"}

    def audit(self) -> Report:
        """Replay the books from their file."""
        return audit_file(self.store)

    def entries(self, *kinds: str) -> list[Entry]:
        """Return the entries in the file of some kinds."""
        with contextlib.closing(apsw.Connection(str(self.store), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            entries = [decode_entry(raw) for (raw,) in db.execute("SELECT bytes FROM entries ORDER BY position")]
        return [entry for entry in entries if entry.kind in kinds]


class Gateway:
    """One running `tallygate serve`."""

    def __init__(self, installation: Installation, process: asyncio.subprocess.Process) -> None:
        self.installation = installation
        self.process = process
        self.base_url = ""
        self.port = self.admin_port = 0
        self.log = b""
        self._reading: asyncio.Task[None] | None = None
        self._callers: list[Caller] = []

    async def wait_until_ready(self) -> None:
        """Wait for its announcement."""
        self._reading = asyncio.ensure_future(self._read_log())
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        assert line, self.log
        announced = json.loads(line)
        self.base_url = announced["base_url"]
        self.port = urlsplit(self.base_url).port or 0
        self.admin_port = urlsplit(announced["admin_url"]).port or 0

    async def end(self, number: int) -> int:
        """Send a signal and wait for the end; return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.wait()

    async def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = await asyncio.wait_for(self.process.wait(), START_S)
        assert self._reading is not None
        await self._reading
        for caller in self._callers:
            caller.leave()
        return code

    async def admin(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Any:
        """Call the operator's API."""
        caller = await Caller.open(self.admin_port)
        body = b"" if fields is None else json.dumps(fields).encode()
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        await caller.request(method, f"/admin/v1/{path}", headers, body)
        answer = await caller.answer()
        await caller.close()
        assert answer.status in {200, 201}, answer
        return answer.json()

    async def send(self, *, key: str | None = None, **fields: Any) -> Caller:
        """Send a chat request, with an idempotency key if one is given."""
        caller = await Caller.open(self.port)
        self._callers.append(caller)
        headers = {"authorization": f"Bearer {self.installation.secret}", "content-type": "application/json"}
        if key is not None:
            headers["idempotency-key"] = key
        await caller.request("POST", "/v1/chat/completions", headers, chat_body(**fields))
        return caller

    async def chat(self, **fields: Any) -> Answer:
        """Send a chat request and wait for the whole answer."""
        return await (await self.send(**fields)).answer()

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log += line


@contextlib.asynccontextmanager
async def installed(folder: Path, *, drain_s: int = 30, engine: Engine | None = None) -> AsyncIterator[Installation]:
    """Lend an installation with a running devnet, in which the wallet has money."""
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0, bearer_key=BEARER_KEY), engine=engine) as devnet:
        devnet.chain.fund(SigningKey.from_hex(WALLET_HEX).public_key, WALLET_NGONKA)
        yield Installation(folder, devnet, drain_s)


@contextlib.asynccontextmanager
async def served(installation: Installation, *, usd: str = "5") -> AsyncIterator[Gateway]:
    """Run a gateway; the first one on a store makes an account with money and a key. What still runs is killed."""
    gateway = Gateway(installation, await installation.run("serve", "--logs", "json"))
    try:
        await gateway.wait_until_ready()
        if not installation.secret:
            account = await gateway.admin("POST", "accounts", {"name": "customer"})
            await gateway.admin("POST", f"accounts/{account['id']}/deposits", {"usd": usd})
            key = await gateway.admin("POST", "keys", {"account": account["id"]})
            installation.account, installation.secret = account["id"], key["secret"]
        yield gateway
    finally:
        await gateway.end(signal.SIGKILL)


async def until_logged(gateway: Gateway, words: bytes) -> None:
    """Wait until the gateway's log has some words."""
    await until(lambda: words in gateway.log)
