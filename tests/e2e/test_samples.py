"""What a reader copies, run as it stands: the samples of README.md and of a gateway's page `/docs`, in their order.

Only what a sample leaves open is filled in: the gateway's address, keys and ids that it writes with an ellipsis, the
place of a file. A sample that is changed is run changed; one that is new is run, or the test says that nobody runs it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tallygate.core.signing import SigningKey
from tests.cli.installation import PATIENCE_S, Program, free_ports
from tests.e2e.test_demo import demo

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parents[2] / "README.md").read_text()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLE = re.compile(r'<pre tabindex="0"><code>(.*?)</code></pre>', re.DOTALL)
NEEDS = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl")


def blocks(language: str) -> list[str]:
    """Return the samples of the README in a language."""
    return [text for name, text in FENCED.findall(README) if name == language]


def filled(text: str, *replacements: tuple[str, str]) -> str:
    """Return a sample with what it leaves open filled in; each of these must be in it."""
    for open_, value in replacements:
        assert open_ in text, (open_, text)
        text = text.replace(open_, value)
    assert "…" not in text, text
    return text


def run(command: list[str], folder: Path, **environ: str) -> str:
    """Run what a reader runs, with our programs on the path; return what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "TALLYGATE"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**inherited, "PATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def shell(script: str, folder: Path, **environ: str) -> str:
    """Run lines of shell, each of which must succeed."""
    return run(["sh", "-eu", "-c", script], folder, **environ)


def objects(text: str) -> list[Any]:
    """Return the JSON objects that stand one behind the other in a text."""
    found, place, decoder = [], 0, json.JSONDecoder()
    while (place := text.find("{", place)) >= 0:
        value, place = decoder.raw_decode(text, place)
        found.append(value)
    return found


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Lend a running demo: the facts that it prints."""
    with demo(tmp_path_factory.mktemp("demo"), ports=free_ports(6)) as program:
        program.wait_line("READY")
        yield dict(line.split("=", 1) for line in program.lines if line.startswith("TALLYGATE_"))


@NEEDS
def test_sixty_seconds(facts: dict[str, str], tmp_path: Path) -> None:
    """With the demo's own lines, the README's curl lists the models and gets an answer with its cost."""
    (sample,) = (block for block in blocks("sh") if "curl" in block)
    key, url = facts["TALLYGATE_API_KEY"], facts["TALLYGATE_BASE_URL"]
    models, answer = objects(shell(filled(sample, ("http://127.0.0.1:8080/v1", url), ("tg-…", key)), tmp_path))

    assert "MiniMaxAI/MiniMax-M2.7" in [model["id"] for model in models["data"]]
    assert "Hello" in answer["choices"][0]["message"]["content"]
    assert float(answer["usage"]["total_cost_usd_exact"]) > 0


def test_sixty_seconds_in_python(facts: dict[str, str], tmp_path: Path) -> None:
    """The README's Python streams an answer, and prints once what it cost."""
    (sample,) = blocks("python")
    key, url = facts["TALLYGATE_API_KEY"], facts["TALLYGATE_BASE_URL"]
    program = filled(sample, ("http://127.0.0.1:8080/v1", url), ("tg-…", key))
    said = run([sys.executable, "-W", "error", "-c", program], tmp_path)

    assert "Hello" in said
    assert len(re.findall(r"0\.\d+ US dollars", said)) == 1


def page_samples(facts: dict[str, str]) -> list[str]:
    """Return the samples of the quickstart page, as a browser lets them be copied."""
    with urlopen(facts["TALLYGATE_BASE_URL"].removesuffix("/v1") + "/docs") as page:
        return [unescape(text) for text in SAMPLE.findall(page.read().decode())]


@NEEDS
def test_the_quickstart_page(facts: dict[str, str], tmp_path: Path) -> None:
    """From the page of a running gateway: set up, find a model, call twice and pay once, stream, look at the usage."""
    samples = page_samples(facts)
    first, models, call, python, node, left = samples
    set_up = filled(
        first, ("https://gateway.example/v1", facts["TALLYGATE_BASE_URL"]), ("tg-…", facts["TALLYGATE_API_KEY"])
    )
    listed, before = objects(shell(f"{set_up}\n{models}\n{left.splitlines()[0]}", tmp_path))
    model = ("MODEL", listed["data"][0]["id"])
    answer, again = objects(shell("\n".join([set_up, *[filled(call, model)] * 2]), tmp_path))
    after, usage = objects(shell(f"{set_up}\n{left}", tmp_path))
    (tmp_path / "sample.py").write_text(filled(python, model))
    said = shell(f"{set_up}\n{sys.executable} -W error sample.py", tmp_path)

    assert answer == again
    exact = answer["usage"]["total_cost_usd_exact"]
    assert to_picousd(before["balance_usd"]) - to_picousd(after["balance_usd"]) == to_picousd(exact) > 0
    assert model[1] in [row["model"] for row in usage["data"]]
    assert answer["choices"][0]["message"]["content"] in said
    assert len(re.findall(r"cost in USD: 0\.\d+", said)) == 1
    assert "openai" in node  # which is run among the clients, beside others for Node


def to_picousd(text: str) -> int:
    """Return an exact text of dollars as a whole number."""
    whole, _, decimals = text.partition(".")
    return int(whole + decimals.ljust(12, "0"))


@pytest.fixture
def broker() -> Iterator[dict[str, str]]:
    """Lend a network with a Bearer gateway in the place of the public one: what it prints."""
    fee = ("--attempt-ngonka", "1000")  # what the public one takes, and `program = "openbroker"` knows
    with Program(["devnet", "--port", str(free_ports(4)), *fee], Path.cwd()) as devnet:
        devnet.wait_line("BEARER_KEY=")
        yield dict(line.split("=", 1) for line in devnet.lines if "=" in line)


@NEEDS
def test_your_own_gateway(broker: dict[str, str], tmp_path: Path) -> None:
    """From `init` to a backup, each command of the README does what it says, around one paid call of a customer."""
    first, second = (block for block in blocks("sh") if block.startswith("tallygate "))
    begin, export, check, serve = [line.partition("#")[0].strip() for line in first.splitlines()]
    exported = filled(export, ("…", broker["BEARER_KEY"]))
    shell(begin, tmp_path)
    port = fill_in(tmp_path / "tallygate.toml", broker["BEARER_URL"])
    names = ("TALLYGATE_ADMIN_KEY", "OPENBROKER_API_KEY")
    given = shell(f"{exported}\n" + "\n".join(f"printenv {name}" for name in names), tmp_path)
    environ = dict(zip(names, given.splitlines(), strict=True))
    shell(check, tmp_path, **environ)

    left_open = {"/mnt/backup": str(tmp_path)}
    program, *arguments = serve.split()
    with Program(arguments, tmp_path, environ) as gateway:
        gateway.wait_line("Tallygate ")
        for line in second.splitlines():
            said = shell(filled(line, *[pair for pair in left_open.items() if pair[0] in line]), tmp_path, **environ)
            if "accounts create" in line:
                (left_open["acct_…"],) = set(re.findall(r"acct_\w+", said))
            if "keys create" in line:
                (key,) = re.findall(r"tg-\w+", said)
                left_open["chatcmpl-…"] = chat(f"http://127.0.0.1:{port}/v1", key)
        assert gateway.end(signal.SIGTERM).code == 0

    assert program == "tallygate"
    assert json.loads((tmp_path / "receipt.json").read_text())
    assert (tmp_path / "books.db").stat().st_size > 0
    assert json.loads(shell("tallygate --json verify", tmp_path, **environ))["clean"]


def fill_in(config: Path, url: str) -> int:
    """Name the upstream in a new configuration, and free ports; return the callers' port."""
    text, ports = config.read_text(), free_ports(2)
    (broker_url,) = re.findall(r'^base_url = "(.*)"', text, re.MULTILINE)
    for old, new in ((broker_url, url), (":8080", f":{ports}"), (":8081", f":{ports + 1}")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    config.write_text(text)
    return ports


def test_the_ways_to_the_network(tmp_path: Path) -> None:
    """The README's upstreams and prices, together in one file, are a configuration that `check` takes."""
    shell("tallygate init", tmp_path)
    config = tmp_path / "tallygate.toml"
    begun = config.read_text()
    address = SigningKey.from_hex("11" * 32).address
    text = "\n".join(filled(block, *[("gonka1…", address)] * ("gonka1…" in block)) for block in blocks("toml"))
    config.write_text(begun[: begun.index("[[upstreams]]")] + text)
    given = dict.fromkeys(re.findall(r'_env = "(\w+)"', text), "1" * 64)
    told = json.loads(shell("tallygate --json check", tmp_path, TALLYGATE_ADMIN_KEY="1" * 32, **given))

    assert text.count("[[upstreams]]") == 3
    assert told


def test_every_sample_is_run() -> None:
    """The README has no sample of shell, Python or configuration but those that are run above, and the demo's."""
    assert [(name, len(blocks(name))) for name in ("sh", "python", "toml")] == [("sh", 4), ("python", 1), ("toml", 4)]
    assert {name for name, _ in FENCED.findall(README)} == {"", "sh", "python", "toml"}


def chat(base_url: str, key: str) -> str:
    """Make one paid call; return its id."""
    body = {"model": "MiniMaxAI/MiniMax-M2.7", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request(f"{base_url}/chat/completions", json.dumps(body).encode(), headers)) as answer:
        inference: str = json.load(answer)["id"]
    return inference
