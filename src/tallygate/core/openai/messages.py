"""The messages of a request: roles, text or text parts, tool calls, and the answers to them.

A message of role and text alone is by far the most common, and is through after four looks. What else a message may
have (`reasoning_content`, `cache_control`, …) passes as it is, unless it carries more than text, or is a checked
member in other letters, for which a node that minds no case would take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from tallygate.core.errors import Code, Refusal
from tallygate.core.openai.demands import at, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGES_MAX: Final = 2048
"""The network's own limit on the number of messages."""

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MESSAGE_KEYS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call"})
_PART_KEYS: Final = frozenset({"type", "text"})
_MEDIA: Final = ("image", "audio", "video", "file")
"""What names of members begin or end with that carry something other than text (`image_url`, `input_audio`, …)."""

JOINT: Final = "\n"
"""What stands between text parts that become one text: what engines put there themselves."""


class _Part(msgspec.Struct):
    text: Raw


_decode_messages = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_parts = msgspec.json.Decoder(list[_Part]).decode
_encode = msgspec.json.Encoder().encode
_QUOTED_JOINT: Final = _encode(JOINT)[1:-1]


def check_messages(messages: object) -> bool:
    """Check the messages of a request; return whether any content is in parts."""
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "a list of at least one message")
    if len(messages) > MESSAGES_MAX:
        raise invalid("messages", f"a list of at most {MESSAGES_MAX} messages")
    calls: set[str] = set()
    has_parts = False
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise invalid(f"messages[{index}]", "an object with role and content")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise invalid(f"messages[{index}].role", f"one of {', '.join(sorted(ROLES))}")
        content = message.get("content")
        if len(message) > 2 or content is None or role in ("tool", "function"):
            _check_others(message, role, index, calls)
        if content is None:
            if role != "assistant":
                raise invalid(f"messages[{index}].content", "a string or a list of text parts")
        elif not isinstance(content, str):
            _check_parts(content, f"messages[{index}].content")
            has_parts = True
    return has_parts


def flatten_parts(messages: Raw) -> bytes:
    """Return checked messages with every content that is in parts as one string, the texts in the bytes that came."""
    flat = []
    for message in _decode_messages(messages):
        content = bytes(message.get("content", b""))
        if content.startswith(b"["):
            texts = [bytes(part.text)[1:-1] for part in _decode_parts(content)]
            message["content"] = Raw(b'"' + _QUOTED_JOINT.join(texts) + b'"')
        flat.append(message)
    return _encode(flat)


def _check_parts(content: object, path: str) -> None:
    if not isinstance(content, list) or not content:
        raise invalid(path, "a string or a list of text parts")
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise invalid(f"{path}[{index}]", "an object with type and text")
        has_others = not part.keys() <= _PART_KEYS
        if has_others:
            _check_letters(part, _PART_KEYS, f"{path}[{index}]")
        if part.get("type") != "text":
            raise Refusal(
                Code.INVALID_VALUE,
                f"{path}[{index}].type must be text: images, audio, video and files are not supported.",
                param=f"{path}[{index}].type",
            )
        if not isinstance(part.get("text"), str):
            raise invalid(f"{path}[{index}].text", "a string")
        if has_others:
            _check_media(part, f"{path}[{index}]")


# --- what a message may have besides role and content ---


def _check_others(message: Mapping[str, object], role: str, index: int, calls: set[str]) -> None:
    """Check everything but role and content; `calls` are the ids of the tool calls so far."""
    if not message.keys() <= _MESSAGE_KEYS:
        _check_letters(message, _MESSAGE_KEYS, f"messages[{index}]")
        _check_media(message, f"messages[{index}]")
    name, tool_calls, call_id = message.get("name"), message.get("tool_calls"), message.get("tool_call_id")
    if name is None:
        if role == "function":
            raise invalid(f"messages[{index}].name", "the name of the function")
    elif not isinstance(name, str):
        raise invalid(f"messages[{index}].name", "a string")
    if tool_calls is not None:
        if role != "assistant":
            raise invalid(f"messages[{index}].tool_calls", "left out: only assistant messages have them")
        calls |= _check_calls(tool_calls, index)
    if message.get("function_call") is not None and not _is_function(message["function_call"]):
        raise _no_function(message["function_call"], f"messages[{index}].function_call")
    if call_id is not None and not isinstance(call_id, str):
        raise invalid(f"messages[{index}].tool_call_id", "a string")
    if role == "tool" and call_id not in calls:
        raise invalid(f"messages[{index}].tool_call_id", "the id of a tool call of an assistant message before it")


def _check_calls(tool_calls: object, index: int) -> set[str]:
    """Return the ids of the tool calls of a message."""
    if not isinstance(tool_calls, list):
        raise invalid(f"messages[{index}].tool_calls", "a list of tool calls")
    seen: set[str] = set()
    for number, call in enumerate(tool_calls):
        if not isinstance(call, dict):
            raise invalid(f"messages[{index}].tool_calls[{number}]", "an object with id, type and function")
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id:
            raise invalid(f"messages[{index}].tool_calls[{number}].id", "a string that is not empty")
        if call_id in seen:
            raise invalid(f"messages[{index}].tool_calls[{number}].id", "another than those of the calls before it")
        seen.add(call_id)
        if call.get("type", "function") != "function":
            raise invalid(f"messages[{index}].tool_calls[{number}].type", "function")
        if not _is_function(call.get("function")):
            raise _no_function(call.get("function"), f"messages[{index}].tool_calls[{number}].function")
    return seen


def _is_function(function: object) -> bool:
    """Return whether this is a function with the arguments that a model has called it with."""
    if not isinstance(function, dict):
        return False
    name, arguments = function.get("name"), function.get("arguments", "")
    return isinstance(name, str) and name != "" and (isinstance(arguments, str) or arguments is None)


def _no_function(function: object, path: str) -> Refusal:
    """Return the refusal of what is none, which names the member that is wrong."""
    if not isinstance(function, dict):
        return invalid(path, "an object with name and arguments")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        return invalid(f"{path}.name", "a string that is not empty")
    return invalid(f"{path}.arguments", "a string")


def _check_letters(given: Mapping[str, object], known: frozenset[str], path: str) -> None:
    """Refuse a known key in other letters: a node that ignores case would take it for what was checked."""
    for name in given:
        if name not in known and name.casefold() in known:
            raise Refusal(
                Code.UNKNOWN_PARAMETER, f"{path} has {name.casefold()} in other letters.", param=at(path, name)
            )


def _check_media(given: Mapping[str, object], path: str) -> None:
    """Refuse what carries something other than text beside it."""
    for name, value in given.items():
        lowered = name.casefold()
        if value is not None and any(lowered.startswith(kind) or lowered.endswith(kind) for kind in _MEDIA):
            raise Refusal(
                Code.INVALID_VALUE,
                f"{path} carries more than text: images, audio, video and files are not supported.",
                param=at(path, name),
            )
