"""`reconcile`: the books of a real store against a running devnet, beside a gateway and without one."""

from __future__ import annotations

import http.client
import json
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.cli.installation import UPSTREAM_KEY, Installation, Program
from tests.relay.world import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

FEE = 1000


def post(url: str, path: str, fields: dict[str, Any], key: str = "") -> tuple[int, Any]:
    """Post JSON and return the status and what was answered."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=180)
    connection.request("POST", path, json.dumps(fields), {"Authorization": key, "Content-Type": "application/json"})
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, content


class Scene:
    """An installation whose gateway has a devnet's Bearer gateway behind it, and a caller with money."""

    def __init__(self, installation: Installation, bearer_url: str) -> None:
        self.installation = installation
        self.bearer_url = bearer_url
        self._key = ""

    def fund(self) -> None:
        """Open an account with money and a key."""
        account = self.installation.ask("accounts", "create", "Ada")["id"]
        self.installation.ask("credit", account, "5")
        self._key = self.installation.ask("keys", "create", account)["secret"]

    def call(self, **fields: Any) -> Any:
        """Make a call that must succeed, and return its usage."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 500, **fields}
        gateway = f"http://127.0.0.1:{self.installation.port}"
        status, content = post(gateway, "/v1/chat/completions", body, f"Bearer {self._key}")
        assert status == 200, content
        return content["usage"]

    def order(self, fault: str, **fields: Any) -> None:
        """Order a fault of the Bearer gateway."""
        status, _ = post(self.bearer_url, "/devnet/faults", {"fault": fault, **fields})
        assert status == 200


@pytest.fixture
def scene(installation: Installation) -> Iterator[Scene]:
    """Return a scene whose devnet runs and whose gateway does not yet."""
    arguments = ["devnet", "--port", "0", "--pace-ms", "0", "--bearer-key", UPSTREAM_KEY]
    with Program([*arguments, "--attempt-ngonka", str(FEE)], installation.folder) as program:
        program.wait_line("BEARER_KEY=")
        (url,) = [line.partition("=")[2] for line in program.lines if line.startswith("BEARER_URL=")]
        text = installation.config.read_text().replace("http://127.0.0.1:9/v1", url)
        cost = f'cost = {{unit = "ngonka", input = 1, output = 1, per_attempt = {FEE}}}\n'
        text = text.replace("api_key_env", f"{cost}api_key_env").replace("priced-in-file", MODEL)
        installation.config.write_text(text)
        yield Scene(installation, url)


@contextmanager
def running(scene: Scene) -> Iterator[None]:
    """Have a gateway with a funded caller."""
    with scene.installation.gateway():
        scene.fund()
        yield


def test_books_that_agree_are_exit_code_0(scene: Scene) -> None:
    """Beside a running gateway and after it, every attempt costs just what was booked, the fee of each included."""
    with running(scene):
        tokens = sum(scene.call()["total_tokens"] for _ in range(3))
        beside = scene.installation.ask("reconcile")
    after = scene.installation.ask("reconcile")

    (row,) = beside["rows"]
    today = datetime.fromtimestamp(time.time(), UTC).date()
    assert row["day"] in {today.isoformat(), (today - timedelta(days=1)).isoformat()}
    assert (row["upstream"], row["node"], row["attempts"], row["compared"]) == ("nowhere", None, 3, 3)
    assert row["booked_ngonka"] == row["reported_ngonka"] == str(tokens + 3 * FEE)
    assert row["drift_ngonka"] == "0"
    assert beside["total"]["booked_tokens"] == beside["total"]["reported_tokens"]
    assert after == beside


def test_drift_is_exit_code_7_and_names_the_attempt(scene: Scene) -> None:
    """A node that told three tokens too many is found: by how much, at which attempt, and nothing is changed by it."""
    with running(scene):
        truth = scene.call()
        lie = {"prompt_tokens": truth["prompt_tokens"], "completion_tokens": truth["completion_tokens"] + 3}
        scene.order("wrong_usage", usage=lie)
        told = scene.call()
    found = scene.installation.run("--json", "reconcile")
    people = scene.installation.run("reconcile")

    assert told["completion_tokens"] == lie["completion_tokens"]
    assert (found.code, people.code) == (7, 7)
    assert (found.content["total"]["drift_ngonka"], found.content["total"]["drifting"]) == ("-3", 1)
    assert found.content["drift_by_basis"]["reported"] == "-3"
    (worst,) = found.content["worst"]
    assert (worst["reference"].partition("@")[0], worst["drift_ngonka"]) == ("req-00000002", "-3")
    assert worst["inference"] in people.out
    assert "1 attempt cost another amount than was booked." in people.err
    assert scene.installation.ask("verify")["clean"] is True


def test_what_cannot_be_compared_is_told_and_no_drift(scene: Scene) -> None:
    """A refused attempt is not known there; when nobody answers, all is told as that, and nothing is proved."""
    with running(scene):
        scene.order("502")
        scene.call()
        known = scene.installation.ask("reconcile")
    config = scene.installation.config
    config.write_text(config.read_text().replace(scene.bearer_url, "http://127.0.0.1:9/v1"))
    silent = scene.installation.ask("reconcile")
    said = scene.installation.run("reconcile")

    (refused,) = known["total"]["unreported"].items()
    assert refused[0] == "not_known"
    assert (known["total"]["compared"], known["total"]["drifting"]) == (1, 0)
    assert (silent["total"]["compared"], silent["total"]["unreported"]["no_answer"]["attempts"]) == (0, 2)
    assert said.code == 0
    assert re.search(r"gave no usable answer: 2 attempts, [\d,]+ ngonka booked", said.out)
    assert "so nothing is proved." in said.out


def test_days_and_upstreams_can_be_chosen(scene: Scene) -> None:
    """`--since` and `--until` are the first and the last day, in UTC; `--upstream` leaves out all others."""
    with running(scene):
        scene.call()
    ask = scene.installation.ask
    (row,) = ask("reconcile", "--upstream", "nowhere")["rows"]
    day = datetime.fromisoformat(row["day"])
    before, after = ((day + timedelta(days=days)).date().isoformat() for days in (-1, 1))

    assert ask("reconcile", "--since", row["day"], "--until", row["day"])["rows"] == [row]
    assert ask("reconcile", "--until", before)["rows"] == ask("reconcile", "--since", after)["rows"] == []
    assert "no attempt to compare" in scene.installation.run("reconcile", "--since", after).out
    assert scene.installation.run("reconcile", "--since", after, "--until", before).code == 2
    assert scene.installation.run("reconcile", "--since", "yesterday").code == 2
    assert scene.installation.run("reconcile", "--upstream", "other").code == 5


def test_a_store_that_cannot_be_read_is_told(installation: Installation) -> None:
    """A missing store and a file that is none are exit code 1, with the file's name."""
    installation.store.write_bytes(b"x" * 5000)
    broken = installation.run("reconcile")
    installation.store.unlink()
    missing = installation.run("reconcile")

    assert (broken.code, missing.code) == (1, 1)
    assert all(installation.store.name in outcome.err for outcome in (broken, missing))


def test_the_upstreams_key_is_needed_and_never_shown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the secret that the configuration names nobody can be asked: exit code 3; with it, no output has it."""
    with running(scene):
        scene.call()
    for arguments in (("reconcile",), ("--json", "reconcile")):
        outcome = scene.installation.run(*arguments)
        assert UPSTREAM_KEY not in outcome.out + outcome.err
    monkeypatch.delenv("TALLYGATE_TEST_UPSTREAM_KEY")

    assert scene.installation.run("reconcile").code == 3
