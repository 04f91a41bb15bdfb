"""The commands of direct developers with the libraries of `tallygate[direct]` alone, as whole processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tallygate.cli.loading import COMMANDS, DIRECT
from tallygate.core.signing import SigningKey
from tallygate.devnet import Devnet, DevnetSettings
from tallygate.direct.wallet import new_secret
from tests.cli.installation import PATIENCE_S, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
PROGRAM = """\
import importlib.abc, sys

class Bare(importlib.abc.MetaPathFinder):
    allowed = set(sys.stdlib_module_names) | {"tallygate", *sys.argv[1].split(",")}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Bare())
del sys.argv[1]
from tallygate.__main__ import main
sys.exit(main())
"""
REQUEST = {"model": "MiniMaxAI/MiniMax-M2.7", "messages": [{"role": "user", "content": "What is a ledger?"}]}


def modules_of(requirements: Iterable[str]) -> set[str]:
    """Return the top-level modules that an installation of these requirements has, with all that they need."""
    wanted, seen = [Requirement(text) for text in requirements], set()
    while wanted:
        requirement = wanted.pop()
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        if requirement.name.lower() in seen:
            continue
        seen.add(requirement.name.lower())
        for text in metadata.requires(requirement.name) or ():
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate(extra) for extra in extras):
                wanted.append(further)
    return {module for module, names in metadata.packages_distributions().items() if {*map(str.lower, names)} & seen}


BASE = modules_of(PROJECT["dependencies"])
WITH_DIRECT = BASE | modules_of(PROJECT["optional-dependencies"]["direct"])


class Bench:
    """A developer with a funded wallet, a folder, a devnet, and no library of the server."""

    def __init__(self, devnet: Devnet, folder: Path) -> None:
        self.node = devnet.nodes[0]
        self.folder = folder
        secret = new_secret()
        self.wallet = SigningKey(secret)
        devnet.chain.fund(self.wallet.public_key, 10**9)
        (folder / "request.json").write_text(json.dumps(REQUEST))
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GONKA_")}
        nodes = {"GONKA_ENDPOINT": self.node.url, "GONKA_SOURCE_URL": self.node.url}
        self.environ = {**plain, **nodes, "GONKA_PRIVATE_KEY": secret.hex(), "PASSPHRASE": "correct horse"}

    async def run(self, *arguments: str, modules: set[str] = WITH_DIRECT) -> Outcome:
        """Run a command."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, ",".join(modules), *arguments),
            cwd=self.folder,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert "Traceback" not in err.decode(), err.decode()
        return Outcome(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Return such a developer."""
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0)) as devnet:
        yield Bench(devnet, tmp_path)


def test_the_server_is_not_there() -> None:
    """What is left to these commands is none of the server's libraries."""
    assert {"coincurve", "msgspec", "click", "rich", "openai"} <= WITH_DIRECT
    assert not WITH_DIRECT & {"apsw", "filelock", "httptools", "prometheus_client", "structlog", "uvicorn", "uvloop"}


async def test_every_command_of_theirs_works(bench: Bench) -> None:
    """Requests are sent, answered, signed, verified; wallets made, kept and published; accounts and nodes shown."""
    address = bench.wallet.address
    file = ["--file", "request.json"]
    signed = await bench.run("sign", *file, "--json")
    assert signed.code == 0, signed
    verify = ["verify-signature", *file, "--signature", signed.content["signature"]]
    verify += ["--timestamp", str(signed.content["timestamp"]), "--account-address", address]
    keystore = ["--keystore", "wallet.age", "--passphrase-env", "PASSPHRASE"]
    commands = [
        ["send-request", "--account-address", address, *file],
        ["send-request", "--node-address", f"{bench.node.url}/v1", *file],
        verify,
        ["account", address],
        ["nodes"],
        ["nodes", "--json"],
        ["wallet", "show"],
        ["wallet", "new", "--key-file", "wallet.key"],
        ["wallet", "new", "--mnemonic", *keystore],
        ["wallet", "show", *keystore],
        ["wallet", "export", "--reveal", *keystore],
        ["wallet", "publish-pubkey", "--chain-id", "gonka-devnet"],
    ]
    for command in commands:
        done = await bench.run(*command)
        assert done.code == 0, (command, done)
        assert done.out

    assert {command[0] for command in commands} | {"sign"} == DIRECT.keys()


async def test_what_needs_the_server_says_so(bench: Bench) -> None:
    """A command of the operator's names what to install; the help shows all, and that some are not installed."""
    for command in (["serve"], ["devnet", "--port", "0"], ["accounts", "list", "--json"]):
        done = await bench.run(*command)
        assert done.code == 1
        assert f"tallygate {command[0]} needs a library that is not installed" in done.err
        assert "pip install 'tallygate[server]'" in done.err
    shown = await bench.run("--help")

    assert shown.code == 0
    assert all(name in shown.out for name in COMMANDS)
    assert shown.out.count("Not installed") == len(COMMANDS) - len(DIRECT)
    assert (await bench.run("--version")).out.startswith("Tallygate ")


async def test_the_library_alone_says_how_to_get_commands(bench: Bench) -> None:
    """An installation without any extra has no command line, and says which extras bring one."""
    done = await bench.run("account", bench.wallet.address, modules=BASE)

    assert done.code == 1
    assert "'tallygate[direct]', or 'tallygate[server]'" in done.err


async def test_an_unknown_command_is_a_mistake_of_usage(bench: Bench) -> None:
    """What is no command is told as such."""
    done = await bench.run("accout")

    assert done.code == 2
    assert "No such command 'accout'" in done.err
