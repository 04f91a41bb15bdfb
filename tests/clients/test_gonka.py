"""The network's own clients against a devnet, unchanged: the documentation's sample program, and the official SDK.

`scripts/clients` makes their environments. The sample program stands in `tests/devnet/seed_program.txt` with one change
to what is printed, `"stream": False`.
"""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.cli.installation import Program
from tests.clients.test_clients import ENVIRONMENTS, PATIENCE_S, PROGRAMS, QUESTION
from tests.devnet.signing import Developer

SAMPLE = Path(__file__).parents[1] / "devnet" / "seed_program.txt"
DEVELOPER = Developer(b"\x21" * 32)
BALANCE = 10**9
MODEL = "MiniMaxAI/MiniMax-M2.7"


class Node:
    """One node of a devnet that runs as a process."""

    def __init__(self, url: str, address: str) -> None:
        self.url = url
        self.address = address

    def control(self, path: str, fields: object = None) -> Any:
        """Call a control route, or read one."""
        body = None if fields is None else json.dumps(fields).encode()
        with urlopen(Request(f"{self.url}/devnet/{path}", data=body)) as answer:
            return json.load(answer)

    def spent(self) -> int:
        """Return what the developer has paid."""
        balance: int = self.control("state")["accounts"][DEVELOPER.address]["balance"]
        return BALANCE - balance


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Node]]:
    """Lend a running devnet with a node of each scheme, and a developer with money and a published key."""
    arguments = ["devnet", "--port", "0", "--pace-ms", "0"]
    schemes = ("raw", "hash", "deprecated")
    for scheme in schemes:
        arguments += ["--scheme", scheme]
    with Program(arguments, tmp_path_factory.mktemp("devnet")) as program:
        program.wait_line("BEARER_KEY=")
        values = [line.partition("=")[2] for line in program.lines if line.startswith("NODE_")]
        found = {scheme: Node(*values[2 * i : 2 * i + 2]) for i, scheme in enumerate(schemes)}
        pubkey = base64.b64encode(DEVELOPER.public_key).decode()
        found["hash"].control("accounts", {"pubkey": pubkey, "balance": BALANCE, "publish": True})
        yield found


def run(environment: str, source: Path, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a client's environment."""
    home = ENVIRONMENTS / environment
    if not (home / "installed").exists():
        pytest.fail(f"this client is not installed: scripts/clients {environment}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI", "GONKA"))}
    command = [home / "bin" / "python", source]
    return subprocess.run(
        command, env=kept | environ, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def run_sample(node: Node, folder: Path, source: Path = SAMPLE) -> subprocess.CompletedProcess[str]:
    """Run the documentation's sample program against a node."""
    return run(
        "gonka-seed",
        source,
        folder,
        GONKA_PRIVATE_KEY="0x" + DEVELOPER.private_key.hex(),
        GONKA_ADDRESS=DEVELOPER.address,
        GONKA_ENDPOINT=f"{node.url}/v1",
        GONKA_PROVIDER_ADDRESS=node.address,
    )


def test_the_sample_program_is_answered_by_a_raw_node(nodes: dict[str, Node], tmp_path: Path) -> None:
    """With its one change the sample gets an answer, and its developer pays for it."""
    before = nodes["raw"].spent()
    done = run_sample(nodes["raw"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert "Assistant says: You asked: “Hello, how are you?”" in done.stdout
    assert nodes["raw"].spent() > before


def test_the_sample_program_as_printed_cannot_read_its_stream(nodes: dict[str, Node], tmp_path: Path) -> None:
    """As printed it asks for a stream and reads one JSON document: it is answered, it pays, and it fails on `data:`."""
    printed = tmp_path / "as_printed.py"
    printed.write_text(SAMPLE.read_text().replace('"stream": False', '"stream": True'))
    before = nodes["raw"].spent()
    done = run_sample(nodes["raw"], tmp_path, printed)

    assert done.returncode == 1
    assert "requests.exceptions.JSONDecodeError: Expecting value: line 1 column 1" in done.stderr
    assert nodes["raw"].spent() > before


@pytest.mark.parametrize(("scheme", "refusal"), [("hash", "401 Client Error"), ("deprecated", "410 Client Error")])
def test_the_sample_program_is_refused_by_newer_nodes(
    nodes: dict[str, Node], tmp_path: Path, scheme: str, refusal: str
) -> None:
    """A node that hashes bodies takes no raw signature; one of today takes none at all. Neither costs anything."""
    before = nodes[scheme].spent()
    done = run_sample(nodes[scheme], tmp_path)

    assert done.returncode == 1
    assert refusal in done.stderr
    assert nodes[scheme].spent() == before


def test_the_official_sdk_runs_unchanged(nodes: dict[str, Node], tmp_path: Path) -> None:
    """It finds the node at a source URL by participants and allowed addresses, signs for it, and reads what it says."""
    node = nodes["hash"]
    node.control("network", {"allowed_transfer_addresses": [node.address]})
    before = node.spent()
    try:
        done = run(
            "gonka-sdk",
            PROGRAMS / "gonka_sdk_client.py",
            tmp_path,
            GONKA_PRIVATE_KEY=DEVELOPER.private_key.hex(),
            GONKA_SOURCE_URL=nodes["raw"].url,
            QUESTION=QUESTION,
            MODEL=MODEL,
        )
    finally:
        node.control("network", {"allowed_transfer_addresses": []})
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])

    assert seen["base_url"].rstrip("/") == f"{node.url}/v1"
    assert seen["texts"][0] == seen["texts"][1]
    assert QUESTION in seen["texts"][0]
    assert node.spent() - before == sum(seen["usages"])
    assert MODEL in seen["models"]
