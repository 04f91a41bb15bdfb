"""What is counted of requests: every outcome, by route, and never what a caller wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from tallygate.api.counting import CountingRouter
from tallygate.api.edge import CallerVanishedError, Edge
from tallygate.api.http import Response, Route
from tallygate.api.problems import Problems
from tallygate.core.errors import Code, Refusal, StoreUnavailableError

if TYPE_CHECKING:
    from tallygate.api.http import Request
    from tallygate.ports.meter import Meter
    from tallygate.relay import Sink

Counted = tuple[str, str, int, str | None]


class Register:
    """A meter that writes down what answers it is told of."""

    def __init__(self) -> None:
        self.answers: list[Counted] = []

    def request_answered(self, route: str, model: str, status: int, code: str | None) -> None:
        """Write it down."""
        self.answers.append((route, model, status, code))


async def count(method: str, path: str, outcome: Exception | Response | None, *, status: int = 402) -> list[Counted]:
    """Return what is counted of one request whose handler ends so."""
    register = Register()

    async def handle(request: Request, sink: Sink) -> Response | None:
        request.model = "a/model"
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is None:
            await sink.respond(200, [], b"")
        return outcome

    problems = Problems(status)
    routes = [Route("GET", "/things/{id}", handle, "")]
    edge = Edge(CountingRouter(routes, problems, cast("Meter", register)), problems, lambda: "req_1")

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        pass

    await edge({"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}, receive, send)
    return register.answers


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Response(201, b"", []), 201, None),
        (None, 200, None),
        (Refusal(Code.INSUFFICIENT_BALANCE, ""), 402, "insufficient_balance"),
        (StoreUnavailableError("full"), 503, "store_unavailable"),
        (CallerVanishedError(), 499, None),
        (ZeroDivisionError(), 500, "internal_error"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_outcome_is_counted_once(
    outcome: Exception | Response | None, status: int, code: str | None
) -> None:
    """An answer, a refusal, a failed store, a vanished caller and a defect are each one request of their status."""
    assert await count("GET", "/things/a-callers-text", outcome) == [("/things/{id}", "a/model", status, code)]


async def test_a_refusal_counts_under_the_status_that_it_gets() -> None:
    """Where the operator has want of money answered by 429, it is counted as 429."""
    outcome = Refusal(Code.INSUFFICIENT_BALANCE, "")

    assert (await count("GET", "/things/1", outcome, status=429))[0][2:] == (429, "insufficient_balance")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/a-callers-text", 404, "unsupported_endpoint"),
        ("A-CALLERS-TEXT", "/things/1", 405, "method_not_allowed"),
    ],
)
async def test_what_has_no_route_is_counted_without_one(method: str, path: str, status: int, code: str) -> None:
    """A request without a route counts under an empty one, whatever its path and method were."""
    assert await count(method, path, None) == [("", "", status, code)]
