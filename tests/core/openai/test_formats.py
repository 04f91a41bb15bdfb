"""`response_format`: the three kinds, and the bounds of a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.errors import Code
from tallygate.core.openai.formats import FORMAT_NODES_MAX, SCHEMA_DEPTH_MAX
from tests.core.openai.bodies import body, parse, refusal
from tests.core.openai.test_tools import nested, wide


def of_schema(**fields: Any) -> dict[str, Any]:
    """Return a format with a schema, of which some fields are another or left out (`...`)."""
    wrapper = {"name": "answer", "schema": {"type": "object"}, **fields}
    return {"type": "json_schema", "json_schema": {name: value for name, value in wrapper.items() if value is not ...}}


NO_SCHEMAS: list[Any] = [..., None, [], "{}", nested(SCHEMA_DEPTH_MAX + 1), wide(FORMAT_NODES_MAX + 1)]
BAD: list[tuple[Any, str]] = [
    ("json_object", "response_format"),
    ([], "response_format"),
    ({}, "response_format.type"),
    ({"type": "xml"}, "response_format.type"),
    ({"type": ["text"]}, "response_format.type"),
    ({"type": "JSON_OBJECT"}, "response_format.type"),
    ({"type": "json_schema"}, "response_format.json_schema"),
    ({"type": "json_schema", "json_schema": []}, "response_format.json_schema"),
    *[(of_schema(name=name), "response_format.json_schema.name") for name in (..., None, "", 1, "a b", "n" * 65)],
    (of_schema(description=1), "response_format.json_schema.description"),
    (of_schema(strict=1), "response_format.json_schema.strict"),
    *[(of_schema(schema=schema), "response_format.json_schema.schema") for schema in NO_SCHEMAS],
]  # fmt: skip


@pytest.mark.parametrize(("value", "param"), BAD)
def test_bad_format(value: Any, param: str) -> None:
    """A format of another shape, or a schema that the network finds too large, is refused by its place."""
    error = refusal(body(f'"response_format":{json.dumps(value)}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, param)


GOOD: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"type": "text"}, []),
    ({"type": "json_object"}, [("response_format", "json_mode")]),
    (of_schema(strict=True, description="x"), [("response_format", "structured_outputs")]),
    (of_schema(strict=None, schema=nested(SCHEMA_DEPTH_MAX)), [("response_format", "structured_outputs")]),
    (of_schema(schema=wide(FORMAT_NODES_MAX)), [("response_format", "structured_outputs")]),
]


@pytest.mark.parametrize(("value", "needs"), GOOD)
def test_good_format(value: Any, needs: list[tuple[str, str]]) -> None:
    """A good format passes in the bytes that came, and says what the model must be able to do."""
    text = json.dumps(value, indent=1)
    request = parse(f'"response_format":{text}')
    assert bytes(request.members["response_format"]).decode() == text
    assert request.needs == needs
