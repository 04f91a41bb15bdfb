"""Values made from JSON schemas."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.devnet.schema import build_example


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "example"),
        ({"type": "object", "properties": {}}, {}),
        ({"type": "object", "properties": {"a": {"type": "boolean"}}}, {"a": True}),
        ({"properties": {"a": {"type": "null"}, "b": {}}, "required": ["a"]}, {"a": None}),
        ({"type": "array", "items": {"type": "integer", "minimum": 5}, "minItems": 2}, [5, 5]),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 3}, 3),
        ({"type": ["null", "integer"], "exclusiveMinimum": 7, "multipleOf": 5}, 10),
        ({"type": "number", "maximum": -4}, -4),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "string", "minLength": 10}, "example..."),
        ({"type": "string", "maxLength": 2}, "ex"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"const": "found"}}}, "found"),
        ({"$ref": "#/nowhere"}, "example"),
    ],
)
def test_fits_its_schema(schema: dict[str, Any], value: object) -> None:
    """Types, bounds, enums, required properties, choices and references are followed."""
    assert build_example(schema) == value


def test_ends_in_a_schema_that_refers_to_itself() -> None:
    """A recursive schema gives a finite value."""
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    json.dumps(build_example(schema))


KEYWORDS = st.sampled_from(["type", "properties", "items", "required", "enum", "$ref", "anyOf", "minimum", "maxLength"])
NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
)


@given(st.dictionaries(KEYWORDS, NONSENSE, max_size=5))
def test_never_fails(schema: dict[str, Any]) -> None:
    """Whatever stands in a schema, something comes out that JSON can show."""
    json.dumps(build_example(schema))
