"""Who may be asked, as the network tells it, and what of an answer is nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.address import address_from_public_key
from tallygate.core.nodes import (
    NODES_MAX,
    NonsenseError,
    Participant,
    choose_nodes,
    is_public_host,
    read_allowed,
    read_identity,
    read_participants,
)

A, B, C = (address_from_public_key(bytes([2]) + bytes([number]) * 32) for number in range(1, 4))


def epoch(*participants: dict[str, Any], excluded: object = ()) -> bytes:
    """Return the network's list of participants."""
    return json.dumps(
        {
            "active_participants": {"participants": list(participants), "epoch_id": 7},
            "addresses": [],
            "proof_ops": None,
            "excluded_participants": excluded if excluded is None else list(excluded),  # type: ignore[call-overload]
        }
    ).encode()


def participant(address: str, url: str = "http://n.example:8000") -> dict[str, Any]:
    """Return one participant, as the network shows it."""
    return {"index": address, "validator_key": "k", "weight": 5, "inference_url": url, "models": ["m"], "seed": {}}


def test_participants() -> None:
    """Whoever takes part is found, once, in the network's order; whoever was excluded is known as such, and why."""
    url = "http://n.example:8000"
    body = epoch(
        participant(A, "http://a"),
        participant(B),
        participant(C),
        participant(A, "http://a"),
        excluded=[{"address": B, "reason": "downtime"}, {"address": C}],
    )

    assert list(read_participants(body)) == [
        Participant(A, "http://a", ("m",)),
        Participant(B, url, ("m",), "downtime"),
        Participant(C, url, ("m",), "excluded"),
    ]
    assert [one.address for one in choose_nodes(read_participants(body), frozenset())] == [A]


def test_nobody_excluded() -> None:
    """A list of the excluded that is null excludes nobody."""
    assert len(choose_nodes(read_participants(epoch(participant(A), excluded=None)), frozenset())) == 1


def test_odd_participants_are_left_out() -> None:
    """A participant of another shape, whose address is none, or without a URL of good length, hides no other."""
    odd: list[Any] = [participant("gonka1x"), participant(B, ""), participant(C, "http://" + "x" * 300)]
    odd += [None, {"index": B}, {"index": 5}, participant(B) | {"models": [7]}]

    assert [one.address for one in read_participants(epoch(*odd, participant(A)))] == [A]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"\xff",
        b'{"error": "x"}',
        b'{"active_participants": {"participants": []}}',
        b'{"active_participants": {"participants": [{"index": 5}]}}',
        b'{"active_participants": {"participants": {}}}',
        b"[" * 100_000,
        epoch(*[participant(A)] * (NODES_MAX + 1)),
    ],
)
def test_nonsense(body: bytes) -> None:
    """What has another shape, names nobody or far too many, is nonsense, and is not quoted."""
    with pytest.raises(NonsenseError) as caught:
        read_participants(body)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("params", "allowed"),
    [
        ({"transfer_agent_access_params": {"allowed_transfer_addresses": [A, B]}}, {A, B}),
        ({"transfer_agent_access_params": {"allowed_transfer_addresses": []}}, set()),
        ({"transfer_agent_access_params": {}}, set()),
        ({"transfer_agent_access_params": None}, set()),
        ({"epoch_params": {}}, set()),
    ],
)
def test_allowed(params: dict[str, Any], allowed: set[str]) -> None:
    """The chain's list is read where there is one; chains before it allow all, as an empty list does."""
    assert read_allowed(json.dumps({"params": params}).encode()) == allowed


def test_choice() -> None:
    """An empty list of allowed addresses allows all; another only those on it; one that leaves nobody is nonsense."""
    both = [Participant(A, "a"), Participant(B, "b")]
    assert list(choose_nodes(both, frozenset())) == both
    assert list(choose_nodes(both, frozenset({B, C}))) == both[1:]
    with pytest.raises(NonsenseError):
        choose_nodes(both, frozenset({C}))


def test_identity() -> None:
    """A node names itself, and perhaps whoever takes calls for it."""
    plain = {"data": {"address": A, "block": 5, "timestamp": "t"}, "signature": "s"}
    assert read_identity(json.dumps(plain).encode()) == (A, ())
    plain["data"]["delegate_ta"] = {"http://d": B}  # type: ignore[index]

    assert read_identity(json.dumps(plain).encode()) == (A, ("http://d",))


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("node.example", True),
        ("36.189.234.237", True),
        ("2001:4860:4860::8888", True),
        ("localhost", False),
        ("redis", False),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("fd00::1", False),
        ("printer.local", False),
        ("metadata.google.internal", False),
    ],
)
def test_public_hosts(host: str, public: bool) -> None:
    """A host of somebody's own network is none in the internet."""
    assert is_public_host(host) is public


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    """Whatever comes, it is either read or nonsense."""
    for read in (read_participants, read_allowed, read_identity):
        try:
            read(body)
        except NonsenseError:
            continue
