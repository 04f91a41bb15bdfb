"""Signed upstreams: what exactly goes on the wire, verified with another library over the bytes that arrived."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from ecdsa import SECP256k1, VerifyingKey  # type: ignore[import-untyped]
from ecdsa.util import sigdecode_string  # type: ignore[import-untyped]

from tallygate.config import GonkaAccess, NodeSettings, UpstreamSettings
from tallygate.core.pricing import UpstreamRate
from tallygate.core.retry import INFINITY_S, LOST, SendingError
from tallygate.core.signing import Scheme, SigningKey
from tallygate.core.timestamps import CorrectedTimestamps
from tallygate.network.gonka import GonkaUpstream
from tallygate.network.origin import Origin
from tests.network.scripted_server import PATIENT, Peer, Script, answer, client, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.network.client import HttpClient

SECRETS = ["11" * 32, "22" * 32]
ADDRESS = "gonka1l8c5lt86hw3526x898w5cmtuqxefv4zr82ecqp"
BODY = '{"model":"m","messages":[{"role":"user","content":"é 🌍 \\u00e9"}]}'.encode()
HALF_ORDER = SECP256k1.order // 2


class Arrived(NamedTuple):
    """A request as it arrived."""

    line: bytes
    headers: dict[str, str]
    body: bytes


def keep(arrived: list[Arrived]) -> Script:
    """Make a script that keeps every request of a connection, byte by byte."""

    async def script(peer: Peer) -> None:
        while True:
            head, _, body = (await peer.request()).partition(b"\r\n\r\n")
            line, *lines = head.split(b"\r\n")
            headers = {name: value for name, _, value in (entry.decode("ascii").partition(": ") for entry in lines)}
            assert len(headers) == len(lines)
            arrived.append(Arrived(line, headers, body))
            await peer.send(answer(b"ok", b"X-Request-Id: theirs"))

    return script


def node(origin: Origin, base_path: bytes = b"", address: str = ADDRESS) -> NodeSettings:
    """Return the settings of a node."""
    return NodeSettings(f"{origin}{base_path.decode()}", origin, base_path, address)


def upstream(
    http: HttpClient,
    *nodes: NodeSettings,
    scheme: Scheme = Scheme.HASH,
    wallets: int = 1,
    clock: Callable[[], int] = lambda: 1_770_000_000_123_456_789,
) -> GonkaUpstream:
    """Return an upstream of these nodes."""
    access = GonkaAccess(tuple(SigningKey.from_hex(secret) for secret in SECRETS[:wallets]), scheme, nodes)
    settings = UpstreamSettings(
        name="main",
        models={"a": "b"},
        priority=3,
        weight=4,
        bills_to_end=True,
        tokens_floor=16,
        rate=UpstreamRate(5, 6, 7),
        timeouts=PATIENT,
        ca_file=None,
        access=access,
    )
    return GonkaUpstream(
        settings=settings, access=access, client=http, timestamps=CorrectedTimestamps(clock), now_s=lambda: 0.0
    )


def verify(found: Arrived, scheme: Scheme, secret: str) -> None:
    """Verify a request as a node does, with python-ecdsa: the low form of the signature, over the bytes that came."""
    payload = found.body if scheme is Scheme.RAW else hashlib.sha256(found.body).hexdigest().encode()
    message = payload + found.headers["X-Timestamp"].encode() + ADDRESS.encode()
    signature = base64.b64decode(found.headers["Authorization"], validate=True)
    assert len(signature) == 64
    assert int.from_bytes(signature[32:], "big") <= HALF_ORDER
    key = VerifyingKey.from_string(SigningKey.from_hex(secret).public_key, curve=SECP256k1)
    assert key.verify(signature, message, hashfunc=hashlib.sha256, sigdecode=sigdecode_string)


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_request(scheme: Scheme) -> None:
    """A node gets the body as it is, our four headers and no others, and a signature of the bytes that arrive."""
    arrived: list[Arrived] = []
    async with serve(keep(arrived)) as server, client() as http:
        (target,) = upstream(http, node(server.origin()), scheme=scheme).targets()
        found = await target.send(BODY)
        assert (found.status, await found.read_all(2)) == (200, b"ok")
    (request,) = arrived
    assert request.line == b"POST /v1/chat/completions HTTP/1.1"
    assert request.body == BODY
    ours = {"Content-Type", "Authorization", "X-Requester-Address", "X-Timestamp"}
    assert request.headers.keys() == ours | {"Host", "Content-Length"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Requester-Address"] == SigningKey.from_hex(SECRETS[0]).address
    assert request.headers["X-Timestamp"] == "1770000000123456512"
    verify(request, scheme, SECRETS[0])


async def test_reference() -> None:
    """The attempt's id is the signature, which is the inference's id on the chain, whatever a header says."""
    arrived: list[Arrived] = []
    async with serve(keep(arrived)) as server, client() as http:
        (target,) = upstream(http, node(server.origin())).targets()
        found = await target.send(BODY)
        await found.read_all(2)
    assert found.reference == arrived[0].headers["Authorization"]


async def test_every_sending_is_new() -> None:
    """Each sending has a larger timestamp, also when the clock stands or steps back, and its own signature."""
    arrived: list[Arrived] = []
    times = iter(1024 * ticks for ticks in (1000, 1000, 5, 2000, 2000, 1))
    async with serve(keep(arrived)) as server, client() as http:
        both = upstream(http, node(server.origin()), node(server.origin()), clock=lambda: next(times))
        for turn in range(6):
            target = both.targets()[0]
            await (await target.send(BODY, fresh=turn % 2 == 0)).read_all(2)
    stamps = [int(found.headers["X-Timestamp"]) for found in arrived]
    assert stamps == [1024 * ticks for ticks in (1000, 1001, 1002, 2000, 2001, 2002)]
    assert len({found.headers["Authorization"] for found in arrived}) == 6
    for found in arrived:
        verify(found, Scheme.HASH, SECRETS[0])


async def test_wallets_take_turns() -> None:
    """Each sending is paid by the next wallet, named and signed by the same one."""
    arrived: list[Arrived] = []
    async with serve(keep(arrived)) as server, client() as http:
        (target,) = upstream(http, node(server.origin()), wallets=2).targets()
        for _ in range(4):
            await (await target.send(BODY)).read_all(2)
    for turn, found in enumerate(arrived):
        secret = SECRETS[turn % 2]
        assert found.headers["X-Requester-Address"] == SigningKey.from_hex(secret).address
        verify(found, Scheme.HASH, secret)


@pytest.mark.parametrize(("base_path", "path"), [(b"", b"/v1"), (b"/gonka", b"/gonka/v1"), (b"/a/b", b"/a/b/v1")])
async def test_base_path(base_path: bytes, path: bytes) -> None:
    """A node behind a path is asked there."""
    arrived: list[Arrived] = []
    async with serve(keep(arrived)) as server, client() as http:
        (target,) = upstream(http, node(server.origin(), base_path)).targets()
        await (await target.send(BODY)).read_all(2)
    assert arrived[0].line == b"POST " + path + b"/chat/completions HTTP/1.1"


async def test_nodes_take_turns() -> None:
    """Every choice begins with the next node and has all the others after it, each for itself in or out."""
    async with client() as http:
        origins = [Origin("http", f"n{index}", 80) for index in range(3)]
        up = upstream(http, *(node(origin, address=f"gonka1{origin.host}") for origin in origins))
        orders = [[target.node for target in up.targets()] for _ in range(4)]
        a, b, c = "gonka1n0", "gonka1n1", "gonka1n2"
        assert orders == [[a, b, c], [b, c, a], [c, a, b], [a, b, c]]
        second = next(target for target in up.targets() if target.node == b)
        second.report(LOST._replace(out_for_s=INFINITY_S))
        states = {target.node: (target.is_out, target.is_out_for_good) for target in up.targets()}
        assert states == {a: (False, False), b: (True, True), c: (False, False)}


async def test_settings() -> None:
    """A node says what its upstream is configured with."""
    async with client() as http:
        up = upstream(http, node(Origin("http", "n", 80)))
        (target,) = up.targets()
        assert (up.name, up.models, up.priority, up.weight) == ("main", {"a": "b"}, 3, 4)
        assert (target.upstream, target.node, target.signed) == ("main", ADDRESS, True)
        assert (target.rates.of("a"), target.tokens_floor, target.bills_to_end) == (UpstreamRate(5, 6, 7), 16, True)


async def test_no_secret_is_shown() -> None:
    """No repr, and no error of a failed sending, holds a key, a signature or a body."""
    signatures: list[str] = []

    async def script(peer: Peer) -> None:
        head = (await peer.request()).decode()
        signatures.append(head.partition("Authorization: ")[2].partition("\r\n")[0])
        peer.reset()

    async with serve(script) as server, client() as http:
        up = upstream(http, node(server.origin()), wallets=2)
        (target,) = up.targets()
        with pytest.raises(SendingError) as caught:
            await target.send(BODY)
        shown = f"{up!r} {target!r} {vars(up)} {vars(target)} {caught.value!r} {caught.value.failure}"
    for hidden in (*SECRETS, *(str(int(secret, 16)) for secret in SECRETS), signatures[0], "🌍", "content"):
        assert hidden
        assert hidden not in shown


async def test_close() -> None:
    """Closing the upstream closes its client, and what is sent after that fails as a sending."""
    async with serve(keep([])) as server, client() as http:
        up = upstream(http, node(server.origin()))
        await up.close()
        with pytest.raises(SendingError):
            await up.targets()[0].send(BODY)


def test_body_has_one_spelling() -> None:
    """The body of these tests is one that decoding and encoding changes, so that only its own bytes verify."""
    assert json.dumps(json.loads(BODY)).encode() != BODY
