"""An OpenAPI 3.1 document, drawn from a listener's table of routes.

Why a route can refuse follows from what it declares of itself (a key, a body, a query, money, a caught argument) and
from the one table of errors, so nothing is listed here that the code does not have elsewhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tallygate import __version__
from tallygate.api.headers import HEADERS
from tallygate.api.http import Access
from tallygate.api.openapi import asked
from tallygate.api.openapi.operations import ADMIN, JSON, PUBLIC, SCHEMAS
from tallygate.api.openapi.shapes import name_of, ref
from tallygate.api.problems import PROBLEMS
from tallygate.core.errors import Code
from tallygate.core.idempotency import HEADER, KEY_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tallygate.api.http import Route
    from tallygate.api.openapi.operations import Operation
    from tallygate.api.openapi.shapes import Schema
    from tallygate.api.problems import Problems

SECURITY: Final = {
    "api_key": {"type": "http", "scheme": "bearer", "description": "An API key: `tg-…`."},
    "admin_key": {"type": "http", "scheme": "bearer", "description": "The operator's key."},
    "metrics_key": {"type": "http", "scheme": "bearer", "description": "The metrics' own key, or the operator's."},
}

_KEYED: Final = frozenset({Access.KEY, Access.OWN})
_ANY_ROUTE: Final = (
    *(Code.INVALID_HTTP, Code.REQUEST_TIMEOUT, Code.UNSUPPORTED_EXPECTATION, Code.HEAD_TOO_LARGE),
    *(Code.INTERNAL_ERROR, Code.STORE_UNAVAILABLE),
)
_QUERY: Final = (Code.INVALID_VALUE, Code.UNKNOWN_PARAMETER, Code.DUPLICATE_PARAMETER)
_BILLED: Final = (
    *(Code.UPSTREAM_REJECTED, Code.INSUFFICIENT_BALANCE, Code.BALANCE_HELD),
    *(Code.RATE_LIMIT_EXCEEDED, Code.CONCURRENCY_LIMIT_EXCEEDED, Code.SPEND_LIMIT_EXCEEDED),
    *(Code.UPSTREAM_ERROR, Code.UPSTREAM_MISCONFIGURED, Code.UPSTREAM_INTERRUPTED),
    *(Code.NETWORK_UNAVAILABLE, Code.UPSTREAM_TIMEOUT),
)
_ONCE: Final = (Code.INVALID_VALUE, Code.IDEMPOTENCY_KEY_REUSED)
_ONE_ANSWER: Final = (Code.IDEMPOTENCY_IN_PROGRESS, Code.IDEMPOTENCY_ALREADY_CHARGED)
_ARGUMENT: Final = re.compile(r"\{([a-z]+)(?:\.\.\.)?\}")


class Listener:
    """What is different between the listeners.

    Args:
        title: What the document is called.
        operations: What its routes ask and answer.
        key: The name of the key that its keyed routes ask for.
        is_public: Whether strangers reach it.
    """

    def __init__(
        self, title: str, operations: Mapping[tuple[str, str], Operation], key: str, *, is_public: bool
    ) -> None:
        self.title = title
        self.operations = operations
        self.key = key
        self.is_public = is_public


CALLERS: Final = Listener("Tallygate", PUBLIC, "api_key", is_public=True)
OPERATOR: Final = Listener("Tallygate: the operator's API", ADMIN, "admin_key", is_public=False)


def describe_routes(routes: Iterable[Route], listener: Listener, problems: Problems) -> dict[str, Any]:
    """Return the document of a table of routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = plain_path(route.path)
        operation = listener.operations[route.method, path]
        paths.setdefault(path, {})[route.method.lower()] = _Described(route, operation, listener, problems).operation()
    used = {name for path in paths.values() for told in path.values() for way in told["security"] for name in way}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": listener.title,
            "version": __version__,
            "description": "OpenAI-compatible in front, the Gonka Network behind, prepaid US dollars in between.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: SCHEMAS[name] for name in sorted(_find_names(paths))},
            "securitySchemes": {name: scheme for name, scheme in SECURITY.items() if name in used},
        },
    }


def plain_path(path: str) -> str:
    """Return a route's path as OpenAPI writes it."""
    return _ARGUMENT.sub(r"{\1}", path)


def find_codes(route: Route, operation: Operation, listener: Listener) -> list[Code]:
    """Return why a route can refuse, in the order of the table of errors."""
    codes = {*_ANY_ROUTE, *operation.codes}
    if route.access in _KEYED or route.access is Access.WELCOME:
        codes.add(Code.INVALID_API_KEY)
    if listener.is_public and route.access in {Access.KEY, Access.WELCOME}:
        codes.add(Code.ACCOUNT_DEACTIVATED)
    if listener.is_public and route.access is not Access.PROBE:
        codes.add(Code.RATE_LIMIT_EXCEEDED)
    if not listener.is_public and route.method != "GET" and not route.claims:
        codes.add(Code.UNSUPPORTED_HEADER)
    if _ARGUMENT.search(route.path):
        codes |= {Code.NOT_FOUND, Code.UNSUPPORTED_ENDPOINT}
    if operation.body is not None or route.fields:
        codes.update(operation.body_codes)
    if route.query:
        codes.update(_QUERY)
    if route.billed or route.claims:
        codes.update(_ONCE)
    if route.billed:
        codes.update((*_BILLED, *_ONE_ANSWER))
    return [code for code in PROBLEMS if code in codes]


class _Described:
    """One route on its way into the document."""

    def __init__(self, route: Route, operation: Operation, listener: Listener, problems: Problems) -> None:
        self._route = route
        self._operation = operation
        self._listener = listener
        self._problems = problems
        self._codes = find_codes(route, operation, listener)

    def operation(self) -> dict[str, Any]:
        """Return it as an operation."""
        route = self._route
        name = re.sub(r"[^a-z0-9]+", "_", f"{route.method} {route.path}".lower()).strip("_")
        content: dict[str, Any] = {"operationId": name, "summary": route.summary, "security": self._security()}
        if parameters := [*self._arguments(), *self._query(), *self._headers()]:
            content["parameters"] = parameters
        if (body := self._body()) is not None:
            content["requestBody"] = body
        return {**content, "responses": {**self._answers(), **self._refusals()}}

    def _security(self) -> list[dict[str, list[str]]]:
        way: dict[str, list[str]] = {self._operation.key or self._listener.key: []}
        if self._route.access in _KEYED:
            return [way]
        return [{}, way] if Code.INVALID_API_KEY in self._codes else []

    def _arguments(self) -> Iterator[dict[str, Any]]:
        for name in _ARGUMENT.findall(self._route.path):
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}

    def _query(self) -> Iterator[dict[str, Any]]:
        for name in self._route.query:
            shape = {**asked.QUERY[name], **self._operation.bounds.get(name, {})}
            words = shape.pop("description")
            required = name in self._operation.required
            yield {"name": name, "in": "query", "required": required, "description": words, "schema": shape}

    def _headers(self) -> Iterator[dict[str, Any]]:
        if self._route.billed or self._route.claims:
            shape = {"type": "string", "pattern": "^[!-~]+$", "minLength": 1, "maxLength": KEY_CHARACTERS_MAX}
            words = "What is sent twice under one key is done once."
            yield {"name": HEADER, "in": "header", "required": False, "description": words, "schema": shape}

    def _body(self) -> dict[str, Any] | None:
        route, operation = self._route, self._operation
        if operation.body is not None:
            return {"required": True, "content": {JSON: {"schema": operation.body}}}
        if not route.fields:
            return None
        shape = asked.describe_fields(route.fields, operation.required)
        return {"required": bool(operation.required), "content": {JSON: {"schema": shape}}}

    def _answers(self) -> dict[str, Any]:
        names = ("x-request-id", *self._operation.headers)
        return {
            str(status): {
                "description": "What was asked for." if status < 300 else "Not now.",
                "headers": _describe_headers(names),
                "content": {media: {"schema": shape} for media, shape in content.items()},
            }
            for status, content in self._operation.answers.items()
        }

    def _refusals(self) -> dict[str, Any]:
        """Return the refusals by status; one that is also a good answer's status has both shapes."""
        by_status: dict[int, list[Code]] = {}
        for code in self._codes:
            by_status.setdefault(self._problems.status_of(code), []).append(code)
        refusals = {}
        for status, codes in sorted(by_status.items()):
            shapes: list[Schema] = [_refusal_of(codes)]
            if self._operation.refused is not None:
                shapes.append(self._operation.refused)
            if status in self._operation.answers:
                shapes.append(self._operation.answers[status][JSON])
            refusals[str(status)] = {
                "description": " ".join(f"`{code.value}`: {PROBLEMS[code].message}" for code in codes),
                "headers": _describe_headers(("x-request-id", *_headers_of(codes))),
                "content": {JSON: {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}}},
            }
        return refusals


def _refusal_of(codes: Iterable[Code]) -> Schema:
    names = [code.value for code in codes]
    if Code.INSUFFICIENT_BALANCE.value in names:
        names.append("insufficient_quota")
    told = {"type": "object", "properties": {"code": {"enum": names}}}
    return {"allOf": [ref("Error"), {"type": "object", "properties": {"error": told}}]}


def _headers_of(codes: Iterable[Code]) -> list[str]:
    names = []
    if any(PROBLEMS[code].retry is not None for code in codes):
        names.append("x-should-retry")
    if any(PROBLEMS[code].status in {429, 503} or code is Code.IDEMPOTENCY_IN_PROGRESS for code in codes):
        names.append("retry-after")
    return names


def _describe_headers(names: Iterable[str]) -> dict[str, Any]:
    return {
        name: {
            "description": f"{HEADERS[name].what} ({HEADERS[name].where})",
            "required": name == "x-request-id",
            "schema": {"type": "string"},
        }
        for name in names
    }


def _find_names(content: object) -> set[str]:
    """Return the names of the shapes that a part of the document points at, and of those that they point at."""
    names: set[str] = set()
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
            name = name_of(part)
            if name is not None and name not in names:
                names.add(name)
                waiting.append(SCHEMAS[name])
        elif isinstance(part, list):
            waiting += part
    return names
