"""The commands for developers with a key of their own, as whole processes, against simulated nodes of every scheme."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.signing import SigningKey
from tallygate.devnet import Devnet, DevnetSettings, NodeSettings, Scheme
from tallygate.direct import new_wallet
from tallygate.direct.mnemonic import secret_from_words
from tallygate.direct.wallet import new_secret
from tests.cli.installation import PATIENCE_S, Outcome
from tests.direct.network import control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RAW, HASH, GONE = range(3)
REQUEST = {
    "model": "MiniMaxAI/MiniMax-M2.7",
    "messages": [{"role": "user", "content": "What is a ledger?"}],
    "max_tokens": 40,
}


class Developer:
    """Somebody with a key, a folder, and a devnet."""

    def __init__(self, devnet: Devnet, folder: Path) -> None:
        self.devnet = devnet
        self.folder = folder
        self.secret = new_secret()
        self.key = SigningKey(self.secret)
        self.environ = {"GONKA_PRIVATE_KEY": self.secret.hex()}
        self.write(REQUEST)

    def write(self, request: object) -> None:
        """Write the request's file."""
        (self.folder / "request.json").write_text(json.dumps(request, indent=1))

    def url(self, index: int) -> str:
        """Return a node's URL, with /v1."""
        return f"{self.devnet.nodes[index].url}/v1"

    async def run(self, *arguments: str, given: str = "", **environ: str) -> Outcome:
        """Run a command as a process."""
        return await self.start([sys.executable, "-m", "tallygate", *arguments], given, environ)

    async def start(self, command: list[str], given: str, environ: dict[str, str]) -> Outcome:
        """Run a program."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GONKA_")}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env={**plain, **self.environ, **environ},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(given.encode()), PATIENCE_S)
        assert self.secret.hex() not in err.decode()
        assert "Traceback" not in err.decode()
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    async def send(self, index: int, *options: str, **environ: str) -> Outcome:
        """Send the request to a node."""
        node = ["--node-address", self.url(index)]
        return await self.run("send-request", *node, "--file", "request.json", *options, **environ)


@pytest.fixture
async def developer(tmp_path: Path) -> AsyncIterator[Developer]:
    """Return a developer with money and a published key."""
    nodes = tuple(NodeSettings(scheme) for scheme in (Scheme.RAW, Scheme.HASH, Scheme.DEPRECATED))
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0, nodes=nodes)) as devnet:
        made = Developer(devnet, tmp_path)
        devnet.chain.fund(made.key.public_key, 10**9)
        yield made


async def test_a_request_is_sent_and_answered(developer: Developer) -> None:
    """With the right scheme each node answers, with or without /v1 in its URL, streamed and not."""
    address = ["--account-address", developer.key.address]
    whole = await developer.send(HASH, *address)
    raw = await developer.send(RAW, "--scheme", "raw")
    developer.write({**REQUEST, "stream": True})
    streamed = await developer.run(
        "send-request", "--file", "request.json", GONKA_ENDPOINT=developer.devnet.nodes[HASH].url
    )

    assert [outcome.code for outcome in (whole, raw, streamed)] == [0, 0, 0], streamed
    text = json.loads(whole.out)["choices"][0]["message"]["content"]
    assert "ledger" in text
    assert json.loads(raw.out)["choices"][0]["message"]["content"] == text
    assert streamed.out.rstrip().endswith("data: [DONE]")
    assert len(developer.devnet.chain.inferences) == 3


async def test_the_environment_of_the_official_programs_is_enough(developer: Developer) -> None:
    """Nodes come from `GONKA_ENDPOINTS`, or from the network that `GONKA_SOURCE_URL` knows."""
    node = developer.devnet.nodes[HASH]
    developer.devnet.chain.parameters.allowed_transfer_addresses = (node.address,)
    command = ["send-request", "--file", "request.json"]

    assert (await developer.run(*command, GONKA_ENDPOINTS=f"{node.url}/v1;{node.address}")).code == 0
    assert (await developer.run(*command, GONKA_SOURCE_URL=node.url)).code == 0
    lost = await developer.run(*command)
    assert lost.code == 1
    assert "GONKA_ENDPOINTS" in lost.err


@pytest.mark.parametrize(
    ("index", "options", "status", "advice"),
    [
        (RAW, [], 401, "--scheme"),
        (HASH, ["--scheme", "raw"], 401, "--scheme"),
        (GONE, [], 410, "Bearer key"),
        (HASH, ["--timestamp", "1700000000000000000"], 400, "clock"),
    ],
)
async def test_a_refusal_is_explained(
    developer: Developer, index: int, options: list[str], status: int, advice: str
) -> None:
    """A refusal ends with exit code 1, the node's words, and a sentence on what to change."""
    outcome = await developer.send(index, "--json", *options)

    assert outcome.code == 1
    assert f"The node answered {status}: " in outcome.err
    assert outcome.content["error"]["status"] == status
    assert advice in outcome.content["error"]["advice"]


async def test_accounts_that_are_not_ready_are_explained(developer: Developer) -> None:
    """An unpublished key, a low balance, and a clock that is off each have a sentence of their own."""
    unpublished, poor = new_secret(), new_secret()
    developer.devnet.chain.fund(SigningKey(poor).public_key, 1)

    assert "publish-pubkey" in (await developer.send(HASH, GONKA_PRIVATE_KEY=unpublished.hex())).err
    assert "send GNK" in (await developer.send(HASH, GONKA_PRIVATE_KEY=poor.hex())).err
    await control(developer.devnet, "clock", offset_s=3600)
    assert "clock right" in (await developer.send(HASH)).err


async def test_what_cannot_be_right_is_not_sent(developer: Developer) -> None:
    """Another account's address, another node's, no address at all, and a file that is no request end it beforehand."""
    other = new_wallet().address
    wrong_account = await developer.send(HASH, "--account-address", other)
    wrong_node = await developer.send(HASH, "--provider-address", other)
    nobody = await developer.run("send-request", "--node-address", "http://127.0.0.1:9", "--file", "request.json")
    no_key = await developer.send(HASH, GONKA_PRIVATE_KEY="")
    bad_key = await developer.send(HASH, GONKA_PRIVATE_KEY=f"{developer.secret.hex()}0")
    (developer.folder / "request.json").write_text("[]")
    no_request = await developer.send(HASH)

    for outcome, words in (
        (wrong_account, f"belongs to {developer.key.address}, not to {other}"),
        (wrong_node, "goes by the address"),
        (nobody, "--provider-address"),
        (no_key, "GONKA_PRIVATE_KEY"),
        (bad_key, "holds no private key"),
        (no_request, "not a JSON object"),
    ):
        assert outcome.code == 1, outcome
        assert words in outcome.err
    assert not developer.devnet.chain.inferences


async def test_an_answer_that_breaks_off_is_no_success(developer: Developer) -> None:
    """Where a node cuts a stream or a whole answer, what has come is shown, and the exit code is 6."""
    for fault, stream in (("cut", True), ("truncate", False)):
        await control(developer.devnet, "faults", HASH, fault=fault)
        developer.write({**REQUEST, "stream": stream})
        outcome = await developer.send(HASH)

        assert outcome.code == 6, (fault, outcome)
        assert "not whole" in outcome.err
        assert outcome.out


async def test_a_signature_is_made_and_checked(developer: Developer) -> None:
    """`sign` makes what `verify-signature` takes, by a key or by the chain's word; another scheme is named."""
    node = developer.devnet.nodes[HASH]
    options = ["--file", "request.json", "--provider-address", node.address]
    signed = (await developer.run("--json", "sign", *options)).content
    given = ["--signature", signed["signature"], "--timestamp", str(signed["timestamp"])]
    key = ["--public-key", developer.key.public_key.hex()]
    chain = ["--account-address", developer.key.address, "--node-address", node.url]

    plain = await developer.run("sign", *options, "--timestamp", str(signed["timestamp"]))
    good = [await developer.run("verify-signature", *options, *given, *signer) for signer in (key, chain)]
    other = await developer.run("verify-signature", *options, *given, *key, "--scheme", "raw")
    (developer.folder / "request.json").write_text("{}")
    changed = await developer.run("verify-signature", *options, *given, *key)

    assert f"Signature:  {signed['signature']}" in plain.out
    assert [outcome.code for outcome in good] == [0, 0]
    assert "Signature verified" in good[0].out
    assert (other.code, changed.code) == (1, 1)
    assert "of scheme hash, not raw" in other.err


async def test_curl_sends_what_was_signed(developer: Developer) -> None:
    """`sign --curl` prints a command that a node answers."""
    outcome = await developer.run("sign", "--curl", "--file", "request.json", "--node-address", developer.url(HASH))
    answer = await developer.start(shlex.split(outcome.out), "", {})

    assert "ledger" in json.loads(answer.out)["choices"][0]["message"]["content"]


async def test_a_wallet_is_made_shown_and_exported(developer: Developer) -> None:
    """New wallets, plain and encrypted, open again; what is secret is shown on demand only."""
    for kind in (["--key-file", "plain"], ["--keystore", "encrypted", "--passphrase-env", "WORD"]):
        made = (await developer.run("--json", "wallet", "new", *kind, WORD="open sesame")).content
        shown = (await developer.run("--json", "wallet", "show", *kind, WORD="open sesame")).content
        again = await developer.run("wallet", "new", *kind, WORD="open sesame")
        exported = await developer.run("--json", "wallet", "export", *kind, "--reveal", WORD="open sesame")
        kept = await developer.run("wallet", "export", *kind, WORD="open sesame")

        assert made["address"] == shown["address"]
        assert (developer.folder / kind[1]).stat().st_mode & 0o777 == 0o600
        assert again.code == 1
        assert "left as it is" in again.err
        assert SigningKey.from_hex(exported.content["private_key"]).address == made["address"]
        assert kept.code == 2
        assert exported.content["private_key"] not in kept.out + str(made) + str(shown)
    wrong = await developer.run("wallet", "show", "--keystore", "encrypted", "--passphrase-env", "WORD", WORD="x")
    assert "passphrase is wrong" in wrong.err


async def test_a_wallet_is_imported(developer: Developer) -> None:
    """Digits come from the environment, words from standard input; words by the coin type that is named."""
    made: Any = (await developer.run("--json", "wallet", "new", "--mnemonic", "--key-file", "words")).content
    digits = (await developer.run("--json", "wallet", "import", "--key-file", "digits")).content
    words = made["mnemonic"]
    for coin_type in (1200, 118):
        command = ["wallet", "import", "--mnemonic", "--coin-type", str(coin_type), "--key-file", f"k{coin_type}"]
        found = (await developer.run("--json", *command, given=words)).content
        assert found["address"] == SigningKey(secret_from_words(words, coin_type)).address

    assert digits["address"] == developer.key.address
    assert made["address"] == SigningKey(secret_from_words(words)).address
    nowhere = await developer.run("wallet", "new")
    assert nowhere.code == 1
    assert "--keystore FILE" in nowhere.err


async def test_a_key_is_published_and_the_account_becomes_ready(developer: Developer) -> None:
    """An account goes from nothing, over money without a key, to ready, and is told each time what is next."""
    secret = new_secret()
    address, environ = SigningKey(secret).address, {"GONKA_PRIVATE_KEY": secret.hex()}
    environ["GONKA_ENDPOINT"] = developer.url(HASH)

    unknown = await developer.run("--json", "account", address, **environ)
    await control(developer.devnet, "accounts", address=address, balance=10**7, publish=False)
    unpublished = await developer.run("--json", "account", address, **environ)
    published = await developer.run("--json", "wallet", "publish-pubkey", **environ)
    ready = await developer.run("--json", "account", address, **environ)

    assert (unknown.code, unpublished.code, published.code, ready.code) == (5, 5, 0, 0)
    assert "Send GNK" in unknown.content["next"]
    assert (unpublished.content["balance_ngonka"], unpublished.content["public_key"]) == (10**7, None)
    assert "publish-pubkey" in unpublished.content["next"]
    assert ready.content["balance_ngonka"] == 10**7 - published.content["fee_ngonka"]
    for outcome in (unknown, unpublished, ready):
        assert "not need to register as a participant" in outcome.content["next"]
    assert "0.008000000 GNK" in (await developer.run("account", address, **environ)).out


async def test_nodes_are_shown(developer: Developer) -> None:
    """`nodes` shows who takes part, who may take requests, who answers, and the prices."""
    first, second, _ = developer.devnet.nodes
    developer.devnet.chain.parameters.excluded[second.address] = "downtime"
    shown = (await developer.run("--json", "nodes", "--source-url", first.url)).content
    drawn = await developer.run("nodes", "--source-url", first.url)

    assert {node["address"]: (node["excluded"], node["healthy"]) for node in shown["nodes"]} == {
        node.address: ("downtime" if node == second else None, True) for node in developer.devnet.nodes
    }
    assert shown["prices_ngonka_per_token"][REQUEST["model"]] == 1
    assert "no: excluded (downtime)" in drawn.out
