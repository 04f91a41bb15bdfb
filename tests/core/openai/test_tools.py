"""Tools and the choice among them: what OpenAI's clients send passes byte by byte, what is odd is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.errors import Code
from tallygate.core.openai.formats import SCHEMA_DEPTH_MAX, TOOL_NODES_MAX
from tallygate.core.openai.tools import TOOLS_MAX
from tests.core.openai.bodies import SECRET, body, parse, refusal

NAMED = {"type": "function", "function": {"name": "f"}}


def function(**fields: Any) -> dict[str, Any]:
    """Return a tool of a function with these fields."""
    return {"type": "function", "function": {"name": "f", **fields}}


def nested(levels: int) -> dict[str, Any]:
    """Return a schema of so many levels."""
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def wide(nodes: int) -> dict[str, Any]:
    """Return a schema of so many objects."""
    return {str(index): {} for index in range(nodes - 1)}


BAD_TOOLS: list[tuple[Any, str]] = [
    ({}, "tools"),
    ("f", "tools"),
    (1, "tools"),
    ([NAMED] * (TOOLS_MAX + 1), "tools"),
    (["f"], "tools[0]"),
    ([None], "tools[0]"),
    ([{"function": {"name": "f"}}], "tools[0].type"),
    ([{"type": "gonkagate:web_search"}], "tools[0].type"),
    ([NAMED, {"type": "custom", "custom": {"name": "f"}}], "tools[1].type"),
    ([{"type": ["function"], "function": {"name": "f"}}], "tools[0].type"),
    ([{"type": "function"}], "tools[0].function"),
    ([{"type": "function", "function": "f"}], "tools[0].function"),
    *[([function(name=name)], "tools[0].function.name") for name in (None, "", 1, ["f"], "a b", "f" * 65, "é", "f\n")],
    ([NAMED, function(description=1)], "tools[1].function.description"),
    ([function(strict="yes")], "tools[0].function.strict"),
    ([function(parameters=[])], "tools[0].function.parameters"),
    ([function(parameters="{}")], "tools[0].function.parameters"),
    ([function(parameters=nested(SCHEMA_DEPTH_MAX + 1))], "tools[0].function.parameters"),
    ([function(parameters=wide(TOOL_NODES_MAX + 1))], "tools[0].function.parameters"),
]


@pytest.mark.parametrize(("tools", "param"), BAD_TOOLS)
def test_bad_tools(tools: Any, param: str) -> None:
    """A tool that is none is refused by the path of the place, and so is a schema that the network finds too large."""
    error = refusal(body(f'"tools":{json.dumps(tools)}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, param)


GOOD_TOOLS: list[Any] = [
    [NAMED] * TOOLS_MAX,
    [function(name="get_Weather-2.0", description="é", strict=True, parameters={"type": "object", "properties": {}})],
    [function(description=None, strict=None, parameters=None, more={"a": 1})],
    [function(parameters=nested(SCHEMA_DEPTH_MAX)), function(name="g", parameters=wide(TOOL_NODES_MAX))],
    [function(parameters={"$defs": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/a"}}})],
]


@pytest.mark.parametrize("tools", GOOD_TOOLS)
def test_good_tools(tools: Any) -> None:
    """Tools pass in the bytes that came, up to the network's bounds; `strict` too, which clients send by default."""
    text = json.dumps(tools, indent=1)
    request = parse(f'"tools":{text}')
    assert bytes(request.members["tools"]).decode() == text
    assert request.has_tools


def test_no_tools() -> None:
    """An empty list of tools is none: it is neither sent nor counted, nor can a tool be chosen from it."""
    request = parse('"tools":[]', '"tool_choice":"none"')
    assert (request.has_tools, "tools" in request.members, request.needs) == (False, False, [])
    assert refusal(body('"tools":[]', '"tool_choice":"auto"')).param == "tool_choice"


BAD_CHOICES: list[tuple[Any, str]] = [
    (1, "tool_choice"),
    (True, "tool_choice"),
    ([], "tool_choice"),
    ("any", "tool_choice"),
    ("Auto", "tool_choice"),
    ({}, "tool_choice.type"),
    ({"type": "allowed_tools"}, "tool_choice.type"),
    ({"type": "function"}, "tool_choice.function"),
    ({"type": "function", "function": {}}, "tool_choice.function.name"),
    ({"type": "function", "function": {"name": SECRET}}, "tool_choice.function.name"),
    ({"type": "function", "function": {"name": "g"}}, "tool_choice.function.name"),
]


@pytest.mark.parametrize(("choice", "param"), BAD_CHOICES)
def test_bad_choice(choice: Any, param: str) -> None:
    """A choice is a mode, or names one of the tools."""
    error = refusal(body(f'"tools":{json.dumps([NAMED])}', f'"tool_choice":{json.dumps(choice)}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, param)
    assert SECRET not in error.message


@pytest.mark.parametrize("choice", ["none", "auto", "required", NAMED])
def test_good_choice(choice: Any) -> None:
    """Every choice of OpenAI's among functions passes as it is."""
    text = json.dumps(choice)
    assert bytes(parse(f'"tools":{json.dumps([NAMED])}', f'"tool_choice":{text}').members["tool_choice"]).decode() == (
        text
    )


@pytest.mark.parametrize("choice", ["auto", "required", NAMED])
def test_a_choice_without_tools(choice: Any) -> None:
    """A choice without tools is refused here: engines refuse it after they have been paid."""
    error = refusal(body(f'"tool_choice":{json.dumps(choice)}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, "tool_choice")
