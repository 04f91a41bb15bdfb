"""Repair: what the network's own gateway does without a word, done here and told."""

from __future__ import annotations

import json

import pytest

from tallygate.core.openai import Policy
from tallygate.core.openai.repair import STRIPPED
from tests.core.openai.bodies import body, parse, refusal

REPAIR = Policy(repairs=True)
TOOL = '{"type":"function","function":{"name":"f","strict":true,"parameters":{"é":1E2,"strict":[ 1 ]}}}'
PLAIN = '{"type":"function","function":{"name":"g","description":"\\"strict\\""}}'


@pytest.mark.parametrize("name", sorted(STRIPPED))
def test_what_no_model_reads_is_left_out(name: str) -> None:
    """A parameter that the network's own gateway drops is dropped and told with repair, and else refused by name."""
    request = parse(f'"{name}":{{"a":1}}', '"seed":1', policy=REPAIR)
    assert request.members.keys() == {"messages", "seed"}
    assert request.changes == [f"-{name}"]
    assert refusal(body(f'"{name}":1')).param == name


def test_strict_is_taken_off_tools() -> None:
    """`strict` is taken off functions, only there, and nothing else of a tool changes by a byte."""
    request = parse(f'"tools":[{TOOL},{PLAIN}]', policy=REPAIR)
    assert bytes(request.members["tools"]).decode() == f"[{TOOL},{PLAIN}]".replace('"strict":true,', "")
    assert request.changes == ["-tools[].function.strict"]
    assert request.prompt_bytes == len(request.members["messages"]) + len(request.members["tools"])


def test_a_forced_call_becomes_a_wish() -> None:
    """`tool_choice: "required"` is sent as `"auto"`, and the caller is told."""
    request = parse(f'"tools":[{PLAIN}]', '"tool_choice": "required"', policy=REPAIR)
    assert bytes(request.members["tool_choice"]) == b'"auto"'
    assert request.changes == ["tool_choice=auto"]
    assert bytes(request.members["tools"]).decode() == f"[{PLAIN}]"


def test_nothing_is_mended_unasked() -> None:
    """Without repair a strict tool and a forced call go out as they came."""
    request = parse(f'"tools":[{TOOL}]', '"tool_choice":"required"')
    assert bytes(request.members["tools"]).decode() == f"[{TOOL}]"
    assert bytes(request.members["tool_choice"]) == b'"required"'
    assert request.changes == []


def test_what_is_wrong_is_not_mended() -> None:
    """Repair does not take what is refused for another reason: a bad value, an unknown name, what raises cost."""
    assert refusal(body('"n":9'), REPAIR).param == "n"
    assert refusal(body('"whatever":1'), REPAIR).param == "whatever"
    assert refusal(body('"best_of":2'), REPAIR).param == "best_of"
    tool = json.loads(TOOL)
    tool["function"]["strict"] = "yes"
    assert refusal(body(f'"tools":[{json.dumps(tool)}]'), REPAIR).param == "tools[0].function.strict"
