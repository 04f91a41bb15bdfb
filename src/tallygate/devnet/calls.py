"""A chat request as a node reads it: JSON checked, text parts joined, limits applied.

No signatures, no money, no HTTP statuses: whoever calls decides what a `CallError` looks like.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
INT64_MAX = 2**63 - 1
DEPTH_LIMIT = 128  # deeper JSON is no chat request, and would exhaust the encoder's stack
CHOICES_LIMIT = 5  # the network's own bound of n

JsonObject = Mapping[str, Any]


class CallError(Exception):
    """A request cannot be served; the message says which field and why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, its content joined to one text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    parameters: JsonObject


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A request that an engine can answer.

    Attributes:
        model: The model's name, as asked for.
        messages: The conversation.
        max_tokens: The most tokens of one choice.
        choices: How many answers are wanted (`n`).
        stop: Texts at which an answer ends.
        streamed: Whether the answer is wanted frame by frame.
        include_usage: Whether the client asked for usage in the stream.
        tools: What the model may call.
        forced_tool: What it must call, if anything.
        fields: The request's JSON object as it came.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    choices: int
    stop: tuple[str, ...]
    streamed: bool
    include_usage: bool
    tools: tuple[Tool, ...]
    forced_tool: Tool | None
    fields: JsonObject


def parse_object(body: bytes) -> dict[str, Any]:
    """Reads a body as one JSON object; of repeated keys the last counts, as in Go.

    Raises:
        CallError: The body is something else.
    """
    try:
        fields = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise CallError("json: exceeded max depth") from error
    except ValueError as error:
        raise CallError(f"json: {error}") from error
    if not isinstance(fields, dict):
        raise CallError("json: the body must be an object")
    if body.count(b"[") + body.count(b"{") > DEPTH_LIMIT and _measure_depth(fields) > DEPTH_LIMIT:
        raise CallError("json: exceeded max depth")
    return fields


def require_messages(fields: JsonObject) -> None:
    """Checks that there is at least one message.

    Raises:
        CallError: There is none.
    """
    messages = fields.get("messages")
    if messages is not None and not isinstance(messages, list):
        raise CallError("messages must be an array")
    if not messages:
        raise CallError("messages is required")


def read_model(fields: JsonObject) -> str:
    """Gives the model's name, empty when there is none.

    Raises:
        CallError: It is not a text.
    """
    model = fields.get("model") or ""
    if not isinstance(model, str):
        raise CallError("model must be a string")
    return clean_text(model)


def read_max_tokens(fields: JsonObject, name: str) -> int | None:
    """Gives a token limit, or None when it is absent or 0, which Go cannot tell apart.

    Raises:
        CallError: It is not a whole number of 1 or more.
    """
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise CallError(f"{name} must be an integer")
    if not 0 <= value <= INT64_MAX:
        raise CallError(f"{name} must be at least 1")
    return value or None


def build_call(fields: JsonObject, default_max_tokens: int, max_tokens_cap: int) -> ChatCall:
    """Checks every field that shapes the answer.

    Raises:
        CallError: A field has a wrong shape or value.
    """
    max_tokens = (
        read_max_tokens(fields, "max_tokens") or read_max_tokens(fields, "max_completion_tokens") or default_max_tokens
    )
    options = fields.get("stream_options") or {}
    tools = _read_tools(fields)
    return ChatCall(
        model=read_model(fields),
        messages=tuple(_read_message(i, item) for i, item in enumerate(fields["messages"])),
        max_tokens=min(max_tokens, max_tokens_cap),
        choices=_read_choices(fields),
        stop=_read_stop(fields),
        streamed=_read_bool(fields, "stream"),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        tools=tools,
        forced_tool=_read_forced_tool(fields, tools),
        fields=fields,
    )


def clean_text(text: str) -> str:
    """Replaces halves of surrogate pairs, as Go does, so that a text can always be encoded."""
    return LONE_SURROGATE.sub("\ufffd", text)


def _measure_depth(value: object) -> int:
    """Counts how deep objects and arrays are nested, level by level."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
    return depth


def _refuse_constant(name: str) -> None:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


def _read_message(index: int, item: object) -> Message:
    where = f"messages[{index}]"
    if not isinstance(item, dict):
        raise CallError(f"{where} must be an object")
    role = item.get("role")
    if not isinstance(role, str) or not role:
        raise CallError(f"{where}.role is required")
    texts = [_read_content(where, item.get("content")), *_read_tool_calls(where, item)]
    return Message(role, clean_text(" ".join(filter(None, texts))))


def _read_content(where: str, content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise CallError(f"{where}.content must be a string or an array of text parts")
    return "\n".join(_read_part(f"{where}.content[{i}]", part) for i, part in enumerate(content))


def _read_part(where: str, part: object) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise CallError(f'{where}.type must be "text"')
    text = part.get("text")
    if not isinstance(text, str):
        raise CallError(f"{where}.text must be a string")
    return text


def _read_tool_calls(where: str, item: JsonObject) -> list[str]:
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list):
        raise CallError(f"{where}.tool_calls must be an array")
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    named = [function for function in functions if isinstance(function, dict)]
    return [f"{function.get('name')} {function.get('arguments')}" for function in named]


def _read_choices(fields: JsonObject) -> int:
    n = fields.get("n")
    if n is None:
        return 1
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= CHOICES_LIMIT:
        raise CallError(f"n must be an integer from 1 to {CHOICES_LIMIT}")
    return n


def _read_stop(fields: JsonObject) -> tuple[str, ...]:
    stop = fields.get("stop")
    texts: Sequence[object] = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise CallError("stop must be a string or an array of strings")
    return tuple(text for text in texts if isinstance(text, str) and text)


def _read_bool(fields: JsonObject, name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise CallError(f"{name} must be a boolean")
    return value


def _read_tools(fields: JsonObject) -> tuple[Tool, ...]:
    tools = fields.get("tools") or []
    if not isinstance(tools, list):
        raise CallError("tools must be an array")
    return tuple(_read_tool(f"tools[{i}]", tool) for i, tool in enumerate(tools))


def _read_tool(where: str, tool: object) -> Tool:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise CallError(f'{where}.type must be "function"')
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise CallError(f"{where}.function.name is required")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise CallError(f"{where}.function.parameters must be an object")
    return Tool(clean_text(name), parameters or {})


def _read_forced_tool(fields: JsonObject, tools: tuple[Tool, ...]) -> Tool | None:
    choice = fields.get("tool_choice")
    if choice is None or choice in ("auto", "none"):
        return None
    if choice == "required":
        if not tools:
            raise CallError("tool_choice is required, but tools is empty")
        return tools[0]
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    for tool in tools:
        if tool.name == name:
            return tool
    raise CallError("tool_choice must be none, auto, required, or name one of tools")
