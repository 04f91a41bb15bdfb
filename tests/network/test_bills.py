"""What an upstream says that an attempt cost: what is asked, and how every answer is understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.config import BearerAccess, Secret, UpstreamSettings
from tallygate.core.ledger.reconciliation import Bill, Unreported
from tallygate.core.pricing import UpstreamRate
from tallygate.network.bearer import BearerUpstream
from tallygate.network.bills import read_account, read_record
from tallygate.network.gonka import MISSES_MAX
from tests.network.scripted_server import PATIENT, Peer, Script, answer, client, serve
from tests.network.test_gonka import node
from tests.network.test_gonka import upstream as signed

if TYPE_CHECKING:
    from tallygate.network.client import HttpClient
    from tallygate.network.origin import Origin

SIGNATURE = "ab+/" * 21 + "ab=="
RECORD = {
    "inference_id": SIGNATURE,
    "status": 1,
    "prompt_token_count": 12,
    "completion_token_count": 5,
    "actual_cost": 17,
    "prompt_payload": "is not read",
}
ATTEMPT = {"nonce": 7, "status": "finished", "input_tokens": 100, "output_tokens": 50, "actual_cost": 150}
ACCOUNT = {"request_id": "req-1", "escrow_id": "42", "attempts": [ATTEMPT], "cost": {"all_attempts_actual_cost": 150}}


def said(content: Any) -> bytes:
    """Return an answer's body."""
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Bill(17, 12, 5)),
        ({"status": 2}, Bill(17, 12, 5)),  # validated
        ({"status": 4}, Bill(17, 12, 5)),  # voted on
        ({"status": "FINISHED"}, Bill(17, 12, 5)),
        ({"status": 3}, Bill(0, 12, 5)),  # invalidated: paid back
        ({"status": 5, "actual_cost": 0}, Bill(0, 12, 5)),  # expired
        ({"status": 0}, Unreported.NOT_FINISHED),
        ({"status": ...}, Unreported.NOT_FINISHED),  # Go leaves out a zero
        ({"actual_cost": ...}, Bill(0, 12, 5)),
        ({"status": 6}, Unreported.NO_ANSWER),
        ({"status": -1}, Unreported.NO_ANSWER),
        ({"status": "LOST"}, Unreported.NO_ANSWER),
        ({"inference_id": "another"}, Unreported.NO_ANSWER),
        ({"inference_id": ...}, Unreported.NO_ANSWER),
        ({"actual_cost": -1}, Unreported.NO_ANSWER),
        ({"actual_cost": 1.5}, Unreported.NO_ANSWER),
        ({"actual_cost": "17"}, Unreported.NO_ANSWER),
        ({"actual_cost": 10**19}, Unreported.NO_ANSWER),
        ({"prompt_token_count": 10**10}, Unreported.NO_ANSWER),
    ],
)
def test_a_record_of_the_chain(changes: dict[str, Any], expected: Bill | Unreported) -> None:
    """A finished inference costs what the record says, a refunded one nothing; what cannot be true is no answer."""
    record = {name: value for name, value in (RECORD | changes).items() if value is not ...}
    assert read_record(200, said(record), SIGNATURE) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, said({"error": "Inference not found"}), Unreported.NOT_KNOWN),
        (500, said({"error": "rpc error: code = NotFound desc = not found"}), Unreported.NOT_KNOWN),
        (500, said({"error": "panic"}), Unreported.NO_ANSWER),
        (404, said({"error": "Not Found"}), Unreported.NOT_OFFERED),
        (404, b"<html>", Unreported.NOT_OFFERED),
        (410, said({"error": "deprecated", "message": "use devshard"}), Unreported.NOT_OFFERED),
        (429, said({"error": "rate limit exceeded"}), Unreported.NO_ANSWER),
        (200, b"null", Unreported.NO_ANSWER),
        (200, b"\xff", Unreported.NO_ANSWER),
        (200, b"[" * 100_000, Unreported.NO_ANSWER),
    ],
)
def test_a_node_without_a_record(status: int, body: bytes, expected: Unreported) -> None:
    """An inference that is not on the chain, a node that shows none, and nonsense are three different things."""
    assert read_record(status, body, SIGNATURE) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Bill(1150, 100, 50)),
        ({"attempts": [ATTEMPT, ATTEMPT | {"actual_cost": 125, "output_tokens": 25}]}, Bill(2275, 200, 75)),
        ({"attempts": []}, Bill(0, 0, 0)),
        ({"attempts": [ATTEMPT | {"status": "timed_out", "actual_cost": 0}]}, Bill(1000, 100, 50)),
        ({"attempts": [ATTEMPT, ATTEMPT | {"status": "started"}]}, Unreported.NOT_FINISHED),
        ({"attempts": [ATTEMPT | {"status": "pending"}]}, Unreported.NOT_FINISHED),
        ({"attempts": [ATTEMPT | {"status": "not_in_state", "actual_cost": 0}]}, Unreported.NOT_KNOWN),
        ({"attempts": 3}, Unreported.NO_ANSWER),  # a newer gateway, which tells their number and no cost
        ({"attempts": [ATTEMPT | {"actual_cost": -1}]}, Unreported.NO_ANSWER),
        ({"request_id": "req-2"}, Unreported.NO_ANSWER),
    ],
)
def test_an_account_of_a_request(changes: dict[str, Any], expected: Bill | Unreported) -> None:
    """A request costs all its attempts, with the fee for each, unless one of them can still change or was put away."""
    assert read_account(200, said(ACCOUNT | changes), "req-1", 1000) == expected


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (404, "request req-1 not found for devshard 42", Unreported.NOT_KNOWN),
        (404, "request req-2 not found", Unreported.NOT_OFFERED),
        (404, "Invalid URL (GET /v1/requests/req-1)", Unreported.NOT_OFFERED),
        (401, "requires an admin API key", Unreported.NOT_OFFERED),
        (405, "method not allowed", Unreported.NOT_OFFERED),
        (503, "request accounting unavailable", Unreported.NO_ANSWER),
    ],
)
def test_a_gateway_without_an_account(status: int, message: str, expected: Unreported) -> None:
    """Only words about this very request say that it is not known; any other 404 is a route that is not offered."""
    assert read_account(status, said({"error": {"message": message}}), "req-1", 0) is expected


def play(answers: dict[str, bytes], asked: list[str]) -> Script:
    """Make a script that answers each path with its bytes, and closes where there are none."""

    async def script(peer: Peer) -> None:
        while True:
            line, *lines = (await peer.head()).decode().split("\r\n")
            path = line.split()[1]
            asked.append(path)
            asked.extend(line for line in lines if line.startswith("Authorization"))
            if path not in answers:
                peer.writer.close()
                return
            await peer.send(answers[path])

    return script


async def test_a_node_is_asked_for_the_whole_signature() -> None:
    """Every character of the signature arrives as it is, since a bare `+` would be a space; nothing else is told."""
    path = "/base/v1/chat/completions?id=" + SIGNATURE.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    asked: list[str] = []
    async with serve(play({path: answer(said(RECORD))}, asked)) as server, client() as http:
        up = signed(http, node(server.origin(), b"/base"))
        assert await up.ask_bill(SIGNATURE, "gonka1other") == Bill(17, 12, 5)
    assert asked == [path]


async def test_another_node_is_asked_where_one_cannot_tell() -> None:
    """The record is the chain's: when its own node shows none, or says nothing, the next one is asked."""
    path = "/v1/chat/completions?id=x"
    record = answer(said(RECORD | {"inference_id": "x"}))
    gone = answer(said({"error": "deprecated"}), status=b"410 Gone")
    mute: list[str] = []
    silent: list[str] = []
    asked: list[str] = []
    async with (
        serve(play({path: gone}, mute)) as first,
        serve(play({}, silent)) as second,
        serve(play({path: record}, asked)) as third,
        client() as http,
    ):
        addresses = ("gonka1a", "gonka1b", "gonka1c")
        places = [
            node(server.origin(), address=name) for server, name in zip((first, second, third), addresses, strict=True)
        ]
        up = signed(http, *places)
        for _ in range(10):
            assert await up.ask_bill("x", "gonka1b") == Bill(17, 12, 5)
    assert len(mute) == 1  # one "not offered" is enough
    assert len(silent) == MISSES_MAX
    assert len(asked) == 10


async def test_a_question_that_no_node_answers() -> None:
    """Silence is no answer; where all say that they show none, it is not offered."""
    async with serve(play({}, [])) as server, client() as http:
        assert await signed(http, node(server.origin())).ask_bill("x", None) is Unreported.NO_ANSWER
    gone = answer(said({"error": "Not Found"}), status=b"404 Not Found")
    async with serve(play({"/v1/chat/completions?id=x": gone}, [])) as server, client() as http:
        assert await signed(http, node(server.origin())).ask_bill("x", None) is Unreported.NOT_OFFERED


def gateway(http: HttpClient, origin: Origin) -> BearerUpstream:
    """Return a Bearer upstream that is configured to bill 7 ngonka for an attempt."""
    settings = UpstreamSettings(
        name="broker",
        models=None,
        priority=1,
        weight=1,
        bills_to_end=True,
        tokens_floor=1,
        rate=UpstreamRate(1, 1, 7),
        timeouts=PATIENT,
        ca_file=None,
        access=BearerAccess(origin, b"/v1", Secret("zebra")),
    )
    assert isinstance(settings.access, BearerAccess)
    return BearerUpstream(settings=settings, access=settings.access, client=http, now_s=lambda: 0.0)


@pytest.mark.parametrize(
    ("status", "fee"),
    [
        (answer(said({"config": {"fee_per_nonce": 1000}})), 1000),
        (answer(said({"status": "ok"})), 7),
        (answer(said({"config": {"fee_per_nonce": -1}})), 7),
        (answer(b"no", status=b"404 Not Found"), 7),
    ],
)
async def test_a_gateway_is_asked_with_our_key_and_once_for_its_fee(status: bytes, fee: int) -> None:
    """The fee of an attempt is what the session says; where it says none, it is what is configured."""
    asked: list[str] = []
    answers = {"/v1/status": status, "/v1/requests/req-1": answer(said(ACCOUNT))}
    async with serve(play(answers, asked)) as server, client() as http:
        up = gateway(http, server.origin())
        for _ in range(2):
            assert await up.ask_bill("req-1@42", None) == Bill(150 + fee, 100, 50)
    paths = [line for line in asked if line.startswith("/")]
    assert paths == ["/v1/status", "/v1/requests/req-1", "/v1/requests/req-1"]
    assert [line for line in asked if line not in paths] == ["Authorization: Bearer zebra"] * 3
