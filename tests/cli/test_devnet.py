"""`devnet` as a process: what it prints, what its options make of it, how it ends."""

import http.client
import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.installation import Program, free_ports
from tests.cli.test_serve import listening


def read_json(url: str, path: str) -> dict[str, object]:
    """Return what a host answers to a path."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=180)
    connection.request("GET", path)
    content: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return content


def read_state(node_url: str) -> dict[str, object]:
    """Return what a node says of itself."""
    return read_json(node_url, "/devnet/state")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_the_lines_of_the_contract_and_ends_well(tmp_path: Path, number: int) -> None:
    """Three nodes and one Bearer gateway on neighbouring ports; a signal ends it with exit code 0."""
    port = free_ports(4)
    with Program(["devnet", "--port", str(port)], tmp_path) as program:
        program.wait_line("BEARER_KEY=")
        ended = program.end(number)
    lines = [line.partition("=") for line in program.lines]

    assert [name for name, _, _ in lines] == ["NODE_URL", "NODE_ADDRESS"] * 3 + ["BEARER_URL", "BEARER_KEY"]
    assert [value for name, _, value in lines if name == "NODE_URL"] == [
        f"http://127.0.0.1:{port + index}" for index in range(3)
    ]
    assert lines[6][2] == f"http://127.0.0.1:{port + 3}/v1"
    assert (ended.code, ended.err) == (0, "")


def test_each_scheme_makes_a_node(tmp_path: Path) -> None:
    """`--scheme`, once for each node, says how many there are and what each accepts."""
    arguments = ["devnet", "--port", "0", "--scheme", "raw", "--scheme", "deprecated"]
    with Program(arguments, tmp_path) as program:
        program.wait_line("BEARER_KEY=")
        urls = [line.partition("=")[2] for line in program.lines if line.startswith("NODE_URL=")]

        assert [read_state(url)["scheme"] for url in urls] == ["raw", "deprecated"]


def test_an_attempt_can_cost_a_fee(tmp_path: Path) -> None:
    """`--attempt-ngonka` is what the Bearer gateway says that it pays for each nonce."""
    with Program(["devnet", "--port", "0", "--attempt-ngonka", "1000"], tmp_path) as program:
        program.wait_line("BEARER_KEY=")
        (url,) = [line.partition("=")[2] for line in program.lines if line.startswith("BEARER_URL=")]

        config = read_json(url, "/v1/status")["config"]
        assert config == {"token_price": 1, "fee_per_nonce": 1000}


def test_json_prints_each_fact_as_an_object(tmp_path: Path) -> None:
    """With `--json`, every line is a JSON object of one member."""
    with Program(["devnet", "--json", "--port", "0"], tmp_path) as program:
        program.wait_line('{"BEARER_KEY"')

        assert list(json.loads(program.lines[0])) == ["NODE_URL"]


def test_a_busy_port_is_exit_code_8(tmp_path: Path) -> None:
    """A port that is taken is named, without a traceback, and none stays open."""
    port = free_ports(4)
    with listening(port + 2), Program(["devnet", "--port", str(port)], tmp_path) as program:
        program.process.wait(60)
        said = program.process.communicate()[1].decode()

        assert program.process.returncode == 8
        assert str(port + 2) in said
        assert "Traceback" not in said


def urls_of(program: Program, name: str) -> list[str]:
    """Return what a devnet has printed under a name."""
    program.wait_line("BEARER_KEY=")
    return [line.partition("=")[2] for line in program.lines if line.startswith(f"{name}=")]


def test_so_many_nodes(tmp_path: Path) -> None:
    """`--nodes` says how many there are; the schemes are taken in turn, and the older list of models for all."""
    arguments = ["devnet", "--port", "0", "--nodes", "3", "--scheme", "raw", "--scheme", "hash", "--models-as", "chain"]
    with Program(arguments, tmp_path) as program:
        urls = urls_of(program, "NODE_URL")

        assert [read_state(url)["scheme"] for url in urls] == ["raw", "hash", "raw"]
        assert [read_json(url, "/v1/models").keys() for url in urls] == [{"models"}] * 3


def test_an_engine_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--executor` lets another server answer, with the key from the environment."""
    monkeypatch.setenv("KEY_OF_ENGINE", "key-of-the-engine")
    with Program(["devnet", "--port", "0", "--bearer-key", "key-of-the-engine"], tmp_path) as engine:
        (engine_url,) = urls_of(engine, "BEARER_URL")
        arguments = ["devnet", "--port", "0", "--nodes", "1", "--executor", engine_url]
        with Program([*arguments, "--executor-key-env", "KEY_OF_ENGINE"], tmp_path) as program:
            (url,) = urls_of(program, "BEARER_URL")
            body = json.dumps({"model": "Qwen/Qwen3-32B-FP8", "messages": [{"role": "user", "content": "Hi"}]})
            place = urlsplit(url)
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=180)
            connection.request("POST", "/v1/chat/completions", body, {"Authorization": "Bearer devnet-bearer-key"})
            answer = json.loads(connection.getresponse().read())
            connection.close()
        served = read_json(engine_url, "/devnet/state")["inferences"]

    assert answer["choices"][0]["message"]["content"]
    assert isinstance(served, list)
    assert [one["model"] for one in served] == ["Qwen/Qwen3-32B-FP8"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--executor-key-env", "NAME"], 2, "says nothing without --executor"),
        (["--executor", "ftp://engine"], 2, "must be an http:// or https:// URL"),
        (["--executor", "http://engine", "--executor-key-env", "NO_SUCH_VARIABLE"], 3, "NO_SUCH_VARIABLE"),
        (["--tls-certificate", __file__], 2, "go together"),
        (["--tls-certificate", __file__, "--tls-key", __file__], 3, "are no certificate and its key"),
        (["--nodes", "0"], 2, "--nodes"),
    ],
)
def test_wrong_options(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """Options that make no sense end it before anything listens, and say why."""
    with Program(["devnet", "--port", "0", *arguments], tmp_path) as program:
        said = program.process.communicate(timeout=180)[1].decode()

        assert program.process.returncode == code
        assert words in said
