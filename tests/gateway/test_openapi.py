"""The OpenAPI documents against a running gateway: schemathesis makes requests of them, and judges each answer.

Good requests, requests that fit a document otherwise, and requests that do not, go to every route of both listeners.
Whatever comes back must be declared: its status, its media type, its headers, every member of its body. What does not
fit must be refused.
"""

from __future__ import annotations

import asyncio
import copy
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema_rs
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from tests.gateway.processes import ADMIN_KEY, installed, served
from tests.relay.caller import Caller
from tests.relay.world import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from tests.gateway.processes import Gateway

EXAMPLES = 5
"""Requests of each kind to each route: enough that a shape which is wrong is met, in seconds."""

CONFORMANCE = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
TELLS_INSIDE = {"post_v1_estimate"}
"""Routes that answer 200 to a bad body, since to say what is wrong with it is what they are for."""

QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "What is a ledger?"}], "max_tokens": 5}
WHOLE = {**QUESTION, "logprobs": True, "top_logprobs": 2, "metadata": {"tag": "t"}, "stop": ["x"], "n": 2}
PROMPTS = {"model": MODEL, "prompt": ["One", "Two"], "max_tokens": 5}
KEY_TERMS = {"models": [MODEL], "limits": {"requests_per_minute": 9, "spend_day_usd": "2.50"}, "name": "other"}
BY_ALL = {"by": "day,model,key,user,tag", "limit": 1}

GOOD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("post_v1_chat_completions", {"body": QUESTION, "headers": {"Idempotency-Key": "once"}}),
    ("post_v1_chat_completions", {"body": WHOLE}),
    ("post_v1_chat_completions", {"body": {**QUESTION, "stream": True}}),
    ("post_v1_completions", {"body": PROMPTS}),
    ("post_v1_completions", {"body": {**PROMPTS, "stream": True}}),
    ("post_v1_estimate", {"body": QUESTION}),
    ("get_v1_usage", {"query": BY_ALL}),
    ("get_v1_usage", {"query": {"format": "csv", **BY_ALL}}),
    ("post_admin_v1_accounts", {"body": {"name": "third"}}),
    ("patch_admin_v1_accounts_id", {"body": {"limits": {"spend_total_usd": "7", "concurrent_requests": 3}}}),
    (
        "post_admin_v1_accounts_id_deposits",
        {"body": {"usd": "5", "reference": "r"}, "headers": {"Idempotency-Key": "a"}},
    ),
    (
        "post_admin_v1_accounts_id_deposits",
        {"body": {"usd": "5", "reference": "r"}, "headers": {"Idempotency-Key": "a"}},
    ),
    ("post_admin_v1_accounts_id_corrections", {"body": {"usd": "-1", "reason": "why"}}),
    ("post_admin_v1_accounts_id_suspend", {"body": {"reason": "why"}}),
    ("post_admin_v1_accounts_id_resume", {"body": {"reason": "why"}}),
    ("get_admin_v1_accounts_id_usage", {"query": BY_ALL, "path_parameters": {"id": "CALLER"}}),
    ("get_admin_v1_accounts_id_statement", {"query": {"month": "MONTH"}, "path_parameters": {"id": "CALLER"}}),
    ("get_admin_v1_accounts_id_statement", {"query": {"month": "MONTH"}}),
    ("post_admin_v1_keys", {"body": {"account": "ACCOUNT", **KEY_TERMS}}),
    ("post_admin_v1_keys", {"body": {"account": "ACCOUNT", "sha256": "ab" * 32}}),
    ("patch_admin_v1_keys_id", {"body": KEY_TERMS}),
    ("post_admin_v1_keys_id_pause", {}),
    ("post_admin_v1_keys_id_resume", {}),
    ("post_admin_v1_keys_id_rotate", {"body": {"grace_s": 60}}),
    ("post_admin_v1_prices", {"body": {"model": "a/model", "input": "1", "output": "2.5", "call": "0.001"}}),
    ("get_admin_v1_inferences", {"query": {"state": "settled", "limit": 1}}),
    ("get_admin_v1_margin", {"query": {"by": "day,model,upstream", "usd_per_gnk": "0.62"}}),
    ("delete_admin_v1_keys_id", {}),
)
"""Requests that are answered with all that there is to see, in this order; other routes need nothing but their path."""


class Side(NamedTuple):
    """One listener: where it is, what opens it, what it says of itself, and the ids of what is there."""

    base_url: str
    key: str
    document: dict[str, Any]
    ids: Mapping[str, str]

    def argument(self, path: str) -> dict[str, str]:
        """Return what makes a path with an argument lead to something."""
        for name in ("id", "inference"):
            if f"{{{name}}}" in path:
                noun = path.split(f"/{{{name}}}", maxsplit=1)[0].rpartition("/")[2]
                return {name: self.ids[noun if name == "id" else "inferences"]}
        return {}


async def fetch(port: int, key: str | None) -> Any:
    """Return the document of a listener."""
    caller = await Caller.open(port)
    await caller.request("GET", "/openapi.json", {} if key is None else {"authorization": f"Bearer {key}"})
    answer = await caller.answer()
    await caller.close()
    assert answer.status == 200
    return answer.json()


async def look_at(gateway: Gateway) -> tuple[Side, Side]:
    """Return both listeners of a gateway on which something has happened."""
    answer = await gateway.chat(user="ada")
    account = await gateway.admin("POST", "accounts", {"name": "another"})
    key = await gateway.admin("POST", "keys", {"account": account["id"]})
    checkpoint = await gateway.admin("POST", "checkpoints")
    ids = {
        "models": MODEL,
        "accounts": account["id"],
        "keys": key["id"],
        "inferences": answer.headers["x-inference-id"],
        "CALLER": gateway.installation.account,
        "ACCOUNT": account["id"],
        "MONTH": month_of(checkpoint["checkpoint"]["time_ns"]),
    }
    sides = ((gateway.port, None, gateway.installation.secret), (gateway.admin_port, ADMIN_KEY, ADMIN_KEY))
    public, admin = [
        Side(f"http://127.0.0.1:{port}", key, await fetch(port, needed), ids) for port, needed, key in sides
    ]
    return public, admin


def month_of(time_ns: int) -> str:
    """Return the month of a time, in UTC."""
    return str(datetime.fromtimestamp(time_ns / 10**9, UTC).strftime("%Y-%m"))


def can_be_wrong(operation: dict[str, Any]) -> bool:
    """Return whether a request has anything but its path, in which any text may stand."""
    return "requestBody" in operation or any(part["in"] != "path" for part in operation.get("parameters", ()))


class Judge:
    """Sends requests to one listener, and judges what comes back."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._session = requests.Session()
        self.schema = schemathesis.openapi.from_dict(side.document)
        bare = copy.deepcopy(side.document)
        for path in bare["paths"].values():
            for operation in path.values():
                del operation["security"]  # a request that is bad in anything but its key
        self._keyless = schemathesis.openapi.from_dict(bare)
        self.succeeded: set[str] = set()

    def operations(self, *, keyless: bool = False) -> Iterator[tuple[str, Any]]:
        """Return all operations with their ids."""
        for found in (self._keyless if keyless else self.schema).get_all_operations():
            assert isinstance(found, Ok)
            operation = found.ok()
            yield operation.definition.raw["operationId"], operation

    def send(self, case: Any, *, key: str | None, extra: tuple[Any, ...] = ()) -> int:
        """Send a request, judge the answer, and return its status."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        response = case.call(base_url=self._side.base_url, headers=headers, session=self._session)
        case.validate_response(response, checks=[*CONFORMANCE, *extra])
        if response.headers["content-type"][0].startswith("text/event-stream"):
            self._judge_stream(case.operation, response.text)
        if response.status_code < 300:
            self.succeeded.add(case.operation.definition.raw["operationId"])
        return int(response.status_code)

    def send_good(self) -> None:
        """Send what is known to be good, each of which must succeed."""
        by_id = dict(self.operations())
        listed = [(name, details) for name, details in GOOD if name in by_id]
        named = {name for name, _ in listed}
        for name, details in [*listed, *((name, {}) for name in by_id if name not in named)]:
            operation = by_id[name]
            made = self._filled({"path_parameters": self._side.argument(operation.path), **details})
            status = self.send(operation.Case(**made), key=self._side.key)
            assert status < 300, (name, status)

    def send_spoilt(self) -> None:
        """Send good requests with one thing wrong in each: a name that nobody knows, or a value of no declared type."""
        by_id = dict(self.operations())
        for name, details in {name: details for name, details in GOOD if name in by_id}.items():
            operation = by_id[name]
            made = self._filled({"path_parameters": self._side.argument(operation.path), **details})
            for part in ("body", "query"):
                for spoilt in self._spoil(operation.definition.raw, part, made.get(part, {})):
                    case = operation.Case(**{**made, part: spoilt})
                    assert name in TELLS_INSIDE or self.send(case, key=self._side.key) == 400, (name, spoilt)

    def _spoil(self, operation: dict[str, Any], part: str, good: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if part == "query":
            if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
                yield {**good, "unknown": "1"}
        elif "requestBody" in operation:
            shape = operation["requestBody"]["content"]["application/json"]["schema"]
            named = shape.get("$ref", "").rpartition("/")[2]
            members = (self._side.document["components"]["schemas"][named] if named else shape)["properties"]
            yield from ({**good, member: [{}]} for member in (*members, "unknown"))

    def send_generated(self, mode: GenerationMode) -> None:
        """Send what schemathesis makes of the document."""
        is_bad = mode is GenerationMode.NEGATIVE
        for name, operation in self.operations(keyless=is_bad):
            if is_bad and not can_be_wrong(operation.definition.raw):
                continue
            extra = (checks.negative_data_rejection,) if is_bad and name not in TELLS_INSIDE else ()
            argument = {} if is_bad else self._side.argument(operation.path)
            given_path = {"path_parameters": argument} if argument else {}
            self._send_some(operation.as_strategy(generation_mode=mode, **given_path), extra)

    def _send_some(self, cases: SearchStrategy[Any], extra: tuple[Any, ...]) -> None:
        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def judge(case: Any) -> None:
            self.send(case, key=self._side.key, extra=extra)

        judge()

    def send_without_key(self) -> None:
        """Send each request without a key: it is refused unless the document says that none is needed."""
        for name, operation in self.operations():
            made = {"path_parameters": self._side.argument(operation.path)}
            status = self.send(operation.Case(**made), key=None)
            security = operation.definition.raw["security"]
            assert (status == 401) == bool(security), (name, status)

    def _judge_stream(self, operation: Any, body: str) -> None:
        """Hold every chunk of a stream against the shape that its events are declared to carry."""
        declared = operation.definition.raw["responses"]["200"]["content"]["text/event-stream"]["schema"]
        shape = declared["properties"]["data"]["anyOf"][0]["contentSchema"]
        validator = jsonschema_rs.validator_for({**self._side.document, **shape})
        *chunks, done, end = body.split("\n\n")
        assert (done, end, len(chunks) > 1) == ("data: [DONE]", "", True)
        for chunk in chunks:
            validator.validate(json.loads(chunk.removeprefix("data: ")))

    def _filled(self, value: Any) -> Any:
        """Return a request with ids in the place of their names."""
        if isinstance(value, dict):
            return {name: self._filled(part) for name, part in value.items()}
        return self._side.ids.get(value, value) if isinstance(value, str) and value.isupper() else value


async def test_both_listeners_are_what_their_documents_say(tmp_path: Path) -> None:
    """The documents are valid, good requests succeed on every route, bad ones are refused, all as declared."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        for side in await look_at(gateway):
            judge = Judge(side)
            judge.schema.validate()
            await asyncio.to_thread(judge.send_good)
            assert judge.succeeded == {name for name, _ in judge.operations()}
            await asyncio.to_thread(judge.send_without_key)
            await asyncio.to_thread(judge.send_spoilt)
            await asyncio.to_thread(judge.send_generated, GenerationMode.POSITIVE)
            await asyncio.to_thread(judge.send_generated, GenerationMode.NEGATIVE)

        assert (await gateway.chat()).status == 200
