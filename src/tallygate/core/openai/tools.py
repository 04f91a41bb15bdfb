"""`tools` and `tool_choice`: functions only, each with a name, and a choice among those that are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.errors import Code, Refusal
from tallygate.core.openai.demands import check_flag, check_name, check_text, invalid
from tallygate.core.openai.formats import TOOL_NODES_MAX, bound_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOLS_MAX: Final = 128
"""OpenAI's own limit."""

_MODES: Final = ("none", "auto", "required")


def check_tools(values: Mapping[str, object]) -> bool:
    """Check the tools of a request and the choice among them; return whether there are any.

    An empty list is as good as none, and is not sent on.
    """
    tools, choice = values.get("tools"), values.get("tool_choice")
    names = frozenset[str]() if tools is None else _check_list(tools)
    if choice is not None:
        _check_choice(choice, names)
    return bool(names)


def _check_list(tools: object) -> frozenset[str]:
    if not isinstance(tools, list) or len(tools) > TOOLS_MAX:
        raise invalid("tools", f"a list of at most {TOOLS_MAX} tools")
    return frozenset([_check_tool(tool, index) for index, tool in enumerate(tools)])


def _check_tool(tool: object, index: int) -> str:
    path = f"tools[{index}]"
    if not isinstance(tool, dict):
        raise invalid(path, "an object with type and function")
    if tool.get("type") != "function":
        raise invalid(f"{path}.type", "function: other tools are not offered")
    function = tool.get("function")
    path = f"{path}.function"
    if not isinstance(function, dict):
        raise invalid(path, "an object with a name")
    name = check_name(function, path)
    check_text(function, "description", path)
    check_flag(function, "strict", path)
    parameters = function.get("parameters")
    if parameters is not None:
        if not isinstance(parameters, dict):
            raise invalid(f"{path}.parameters", "a JSON schema, which is an object")
        bound_schema(parameters, f"{path}.parameters", TOOL_NODES_MAX)
    return name


def _check_choice(choice: object, names: frozenset[str]) -> None:
    if isinstance(choice, str):
        if choice not in _MODES:
            raise invalid("tool_choice", "none, auto, required, or an object that names a function")
        if choice != "none" and not names:
            raise _without_tools()
        return
    if not isinstance(choice, dict):
        raise invalid("tool_choice", "none, auto, required, or an object that names a function")
    if choice.get("type") != "function":
        raise invalid("tool_choice.type", "function")
    function = choice.get("function")
    if not isinstance(function, dict):
        raise invalid("tool_choice.function", "an object with a name")
    name = check_name(function, "tool_choice.function")
    if not names:
        raise _without_tools()
    if name not in names:
        raise invalid("tool_choice.function.name", "the name of one of the tools")


def _without_tools() -> Refusal:
    return Refusal(Code.INVALID_VALUE, "tool_choice goes with tools.", param="tool_choice")
