"""The way of one request: at random, signed afresh for each node, and repeated only as the retry table allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.retry import LOST, SILENT, UNREACHED, Failure, judge_status
from tallygate.core.signing import Scheme, SigningKey, signed_message, verify_signature
from tallygate.direct import EndpointError, Node, Route, new_wallet, sign_headers
from tallygate.direct.route import TRIES_MAX, Course
from tallygate.direct.verdicts import judge_course

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "signing_vectors.json").read_text("utf-8")
)
WALLET = new_wallet()
NODES = [Node(f"http://node-{index}:8000", new_wallet().address) for index in range(3)]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def as_they_are(_: list[Node]) -> None:
    """Shuffle nothing."""


def make_route(
    nodes: list[Node] = NODES,
    shuffle: Callable[[list[Node]], None] = as_they_are,
    now_s: Callable[[], float] | None = None,
) -> Route:
    """Return a route whose clock of signatures stands still."""
    return Route(WALLET, nodes, shuffle=shuffle, clock_ns=lambda: 1_800_000_000_000_000_000, now_s=now_s or Clock())


def refusal(status: int, said: str) -> Failure:
    """Return the retry table's row for a refusal."""
    return judge_status(status, {}, json.dumps({"error": said}).encode(), signed=True)


def tried(course: Course, *failures: Failure) -> list[Node]:
    """Return the nodes that are tried while these failures come one by one."""
    nodes = []
    for failure in failures:
        if (node := course.next()) is None:
            break
        nodes.append(node)
        course.fail(node, failure)
    return nodes


@pytest.mark.parametrize("scheme", list(Scheme))
def test_headers_are_the_vectors(scheme: Scheme) -> None:
    """The headers of a request carry the signature that the official programs make, in both schemes."""
    for vector in VECTORS["scheme_raw_v0_2_5_and_older" if scheme is Scheme.RAW else "scheme_hash_v0_2_6_plus"]:
        key = SigningKey.from_hex(vector["private_key"])
        body = vector["payload_utf8"].encode()
        headers = sign_headers(key, scheme, body, int(vector["timestamp_ns"]), vector["transfer_address"])

        assert headers["Authorization"] == vector["signature_b64"]
        assert headers["X-Requester-Address"] == vector["requester_address"]
        assert headers["X-Timestamp"] == str(vector["timestamp_ns"])


def test_each_sending_is_signed_afresh_for_its_node() -> None:
    """Two sendings of one body have two timestamps, though the clock stands still, and each fits its own node alone."""
    route = make_route()
    first, second = route.sign(NODES[0], b"{}"), route.sign(NODES[1], b"{}")

    assert int(second["X-Timestamp"]) > int(first["X-Timestamp"])
    for headers, node, other in ((first, NODES[0], NODES[1]), (second, NODES[1], NODES[0])):
        for address, fits in ((node.address, True), (other.address, False)):
            message = signed_message(Scheme.HASH, b"{}", int(headers["X-Timestamp"]), address)
            assert verify_signature(WALLET.public_key, message, headers["Authorization"]) is fits


def test_nodes_are_drawn_for_each_request() -> None:
    """Requests begin at nodes drawn at random, each by itself: in the long run at all of them."""
    route = Route(WALLET, NODES)

    assert {Course(route).next() for _ in range(200)} == set(NODES)


def test_what_was_not_taken_is_tried_at_every_node() -> None:
    """A request that no node has taken goes to one after the other, and then it is over."""
    assert tried(Course(make_route()), UNREACHED, refusal(429, "full"), UNREACHED, UNREACHED) == NODES


def test_what_may_have_cost_something_is_repeated_once() -> None:
    """A sending that may have cost something is repeated once, whichever way it ended, and never twice."""
    assert tried(Course(make_route()), LOST, SILENT, UNREACHED) == NODES[:2]
    assert tried(Course(make_route()), UNREACHED, refusal(500, "panic"), UNREACHED) == NODES


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "Unable to validate request against PubKey:invalid signature"),
        (402, "Insufficient balance"),
        (400, "messages is required"),
        (422, "Inference node response with an error. code = 422."),
        (308, "moved"),
        (500, "rpc error: code = NotFound desc = account not found"),
    ],
)
def test_what_would_be_refused_everywhere_is_not_repeated(status: int, said: str) -> None:
    """A refusal that another node would repeat ends the request."""
    assert tried(Course(make_route()), refusal(status, said), UNREACHED) == NODES[:1]


def test_a_node_that_speaks_devshard_is_out_for_good() -> None:
    """After a 410 a node is never asked again; if all are so, the reason is still told."""
    clock = Clock()
    route = make_route(NODES[:2], now_s=clock)
    gone = refusal(410, "deprecated")

    assert tried(Course(route), gone, UNREACHED) == NODES[:2]
    clock.now_s += 10**9
    assert tried(Course(route), gone) == NODES[1:2]
    course = Course(route)
    assert course.next() is None
    assert b"devshard" in judge_course(course.failed).body


def test_a_node_that_may_take_no_requests_is_left_out() -> None:
    """After a 403 of the network a node is left out, though no other is there, and comes back much later."""
    clock = Clock()
    route = make_route(NODES[:1], now_s=clock)

    assert tried(Course(route), refusal(403, "Transfer Agent not allowed")) == NODES[:1]
    assert Course(route).next() is None
    clock.now_s += 301
    assert Course(route).next() == NODES[0]


def test_a_node_that_has_failed_comes_last_for_a_while() -> None:
    """A node that could not be reached is tried after the others, until it has answered or some time is over."""
    clock = Clock()
    route = make_route(now_s=clock)
    tried(Course(route), UNREACHED)

    assert route.order() == [*NODES[1:], NODES[0]]
    course = Course(route)
    course.succeed(NODES[0])
    assert route.order() == NODES


def test_tries_are_limited() -> None:
    """However many nodes there are, a request is sent at most eight times."""
    nodes = [Node(f"http://many-{index}", new_wallet().address) for index in range(20)]

    assert len(tried(Course(make_route(nodes)), *[UNREACHED] * 20)) == TRIES_MAX


def test_a_route_needs_a_node() -> None:
    """There is no route to no node."""
    with pytest.raises(EndpointError, match="No node"):
        Route(WALLET, [])


@pytest.mark.parametrize(("failure", "may"), [(UNREACHED, True), (LOST, False), (refusal(401, "x"), False)])
def test_the_official_client_may_not_repeat_what_costs(failure: Failure, may: bool) -> None:
    """Only what no node has taken may be repeated by the official client's own retries."""
    course = Course(make_route(NODES[:1]))
    tried(course, failure)

    assert ("x-should-retry" not in judge_course(course.failed).headers) is may
