"""What a caller may ask, and what leaves the gateway for it.

The caller's JSON object is taken apart, checked, and written again from its members, so that nothing can be
smuggled past the bound that the hold is made for: a repeated key, a known key in other letters, a field that we do
not know, or one that can raise cost is refused by its name. Values that we do not own are copied as the raw bytes
that came. What we own: `model`, `max_tokens`, `max_completion_tokens`, `n`, `stream`, `stream_options`, and the
default temperature. A request always leaves bounded.

Known weak spot: the values that we do not own are not yet checked for type and range; the upstream's word on them
is passed back as `upstream_rejected`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import check_shape, nameable

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""The network's own limit on a request body."""

CHOICES_MAX: Final = 5
"""The network's own limit on `n`."""

MESSAGES_MAX: Final = 2048
"""The network's own limit on the number of messages."""

MAX_TOKENS_MAX: Final = 2**31 - 1
"""Beyond this a `max_tokens` is a mistake, not a wish; below it, it is cut to the model's maximum."""

COPIED: Final = frozenset(
    {
        "messages",
        "temperature",
        "top_p",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "thinking",
        "response_format",
        "seed",
        "logit_bias",
        "user",
        "metadata",
    }
)
OWNED: Final = frozenset({"model", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options"})
KNOWN: Final = COPIED | OWNED | {"extra_body"}

REFUSED: Final = {
    "logprobs": "is not offered yet",
    "top_logprobs": "is not offered yet",
    "functions": "is OpenAI's old form; use tools",
    "function_call": "is OpenAI's old form; use tool_choice",
    **dict.fromkeys(
        ("min_tokens", "best_of", "ignore_eos", "use_beam_search", "prompt_logprobs", "documents", "echo"),
        "can raise the cost of a call beyond what was set aside for it",
    ),
    **dict.fromkeys(
        (
            "guided_json",
            "guided_regex",
            "guided_grammar",
            "guided_choice",
            "structured_outputs",
            "enforced_tokens",
            "allowed_token_ids",
            "tags",
            "truncate_prompt_tokens",
        ),
        "is rejected by the Gonka network",
    ),
}
_REFUSED_PREFIXES: Final = ("chat_template",)

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MESSAGE_KEYS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call"})
_PART_KEYS: Final = frozenset({"type", "text"})
_MEDIA: Final = ("image", "audio", "video", "file")
"""What names of members begin or end with that carry something other than text (`image_url`, `input_audio`, …)."""

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_NULL: Final = b"null"


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    tool_calls: Raw = Raw(b"")


_decode_messages = msgspec.json.Decoder(list[_Message]).decode


class ChatRequest(msgspec.Struct, frozen=True):
    """A checked request, not yet bounded: what the caller asked for, and the members to send on.

    Attributes:
        model: As the caller wrote it.
        members: The members that are copied, as raw JSON.
        max_tokens: What the caller asked for, or None.
        choices: `n`.
        stream: Whether the answer is to be streamed.
        include_usage: Whether the caller asked for OpenAI's extra usage chunk.
        message_count: How many messages there are.
        has_tools: Whether tools are given, which the chat template spells out.
        prompt_bytes: Bytes of the members that become the prompt.
    """

    model: str
    members: Mapping[str, Raw]
    max_tokens: int | None
    choices: int
    stream: bool
    include_usage: bool
    message_count: int
    has_tools: bool
    prompt_bytes: int

    def texts(self) -> list[str]:
        """Return the texts that become the prompt: those of the messages, and the tools as they stand."""
        texts = []
        for message in _decode_messages(self.members["messages"]):
            content = message.content
            parts = [content] if isinstance(content, str) else [part.text for part in content or ()]
            texts.append("".join(parts) + bytes(message.tool_calls).decode(errors="replace"))
        if "tools" in self.members:
            texts.append(bytes(self.members["tools"]).decode(errors="replace"))
        return texts


def parse_chat_request(body: bytes) -> ChatRequest:
    """Return the checked request of a body.

    Raises:
        Refusal: The body is not JSON, not an object, or a field is missing, unknown, repeated or of the wrong
            shape; the refusal names the field.
    """
    values = check_shape(body)
    members = _decode_members(body)
    if "extra_body" in members:
        members, values = _unwrap_extra_body(members, values)
    for name in members:
        if name not in KNOWN:
            raise _unknown(name)
    given = {name: values[name] for name in OWNED if values.get(name) is not None}
    messages = values.get("messages")
    message_count = _check_messages(messages)
    stream = _check_bool(given, "stream")
    copied = {name: raw for name, raw in members.items() if name in COPIED and bytes(raw) != _NULL}
    return ChatRequest(
        model=_check_model(given.get("model")),
        members=copied,
        max_tokens=_check_max_tokens(given),
        choices=_check_count(given, "n", CHOICES_MAX) or 1,
        stream=stream,
        include_usage=_check_stream_options(given.get("stream_options"), stream=stream),
        message_count=message_count,
        has_tools=bool(values.get("tools")),
        prompt_bytes=len(copied["messages"]) + len(copied.get("tools", b"")),
    )


def _unwrap_extra_body(members: dict[str, Raw], values: Any) -> tuple[dict[str, Raw], Any]:
    """Return the members as if those of `extra_body` stood at top level, where a second naming is a repeat."""
    if values.get("extra_body") is None:
        return members, values
    if not isinstance(values["extra_body"], dict):
        raise Refusal(Code.INVALID_VALUE, "extra_body must be an object.", param="extra_body")
    inner = _decode_members(members["extra_body"])
    if "extra_body" in inner:
        raise Refusal(Code.UNKNOWN_PARAMETER, "extra_body cannot hold itself.", param="extra_body.extra_body")
    for name in inner:
        if name in members:
            shown = nameable(name)
            raise Refusal(
                Code.DUPLICATE_PARAMETER,
                f"{shown or 'A field'} is given twice: also in extra_body.",
                param=shown and f"extra_body.{shown}",
            )
    inner_values = values["extra_body"]
    outer = {name: raw for name, raw in members.items() if name != "extra_body"}
    return {**outer, **inner}, {**values, **inner_values}


def _unknown(name: str) -> Refusal:
    param = nameable(name)
    shown = param or "A field"
    if name in REFUSED:
        return Refusal(Code.UNSUPPORTED_PARAMETER, f"{name} {REFUSED[name]}.", param=name)
    if name.startswith(_REFUSED_PREFIXES):
        return Refusal(Code.UNSUPPORTED_PARAMETER, f"{shown} changes how a prompt is counted.", param=param)
    if name.lower() in KNOWN:
        return Refusal(Code.UNKNOWN_PARAMETER, f"{shown} is not a parameter; {name.lower()} is.", param=param)
    return Refusal(Code.UNKNOWN_PARAMETER, f"{shown} is not a parameter of this route.", param=param)


def _invalid(param: str, demand: str) -> Refusal:
    return Refusal(Code.INVALID_VALUE, f"{param} must be {demand}.", param=param)


def _check_model(model: object) -> str:
    if not isinstance(model, str) or not 0 < len(model) <= 256:
        raise _invalid("model", "the id of a model, as listed by /v1/models")
    return model


def _check_bool(given: Mapping[str, object], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise _invalid(name, "true or false")
    return value


def _check_count(given: Mapping[str, object], name: str, count_max: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= count_max:
        raise _invalid(name, f"an integer from 1 to {count_max}")
    return value


def _check_max_tokens(given: Mapping[str, object]) -> int | None:
    old = _check_count(given, "max_tokens", MAX_TOKENS_MAX)
    new = _check_count(given, "max_completion_tokens", MAX_TOKENS_MAX)
    if old is not None and new is not None and old != new:
        raise Refusal(
            Code.INVALID_VALUE,
            "max_tokens and max_completion_tokens mean the same and must not differ; give one of them.",
            param="max_completion_tokens",
        )
    return old if new is None else new


def _check_stream_options(options: object, *, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict):
        raise _invalid("stream_options", "an object")
    if not stream:
        raise Refusal(Code.INVALID_VALUE, "stream_options goes with stream: true.", param="stream_options")
    for name in options:
        if name != "include_usage":
            shown = nameable(name)
            path = f"stream_options.{shown}" if shown else "stream_options"
            raise Refusal(Code.UNKNOWN_PARAMETER, "stream_options takes include_usage only.", param=path)
    value = options.get("include_usage")
    if value is not None and not isinstance(value, bool):
        raise _invalid("stream_options.include_usage", "true or false")
    return bool(value)


def _check_messages(messages: object) -> int:
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages", "a list of at least one message")
    if len(messages) > MESSAGES_MAX:
        raise _invalid("messages", f"a list of at most {MESSAGES_MAX} messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _invalid(f"messages[{index}]", "an object with role and content")
        if not message.keys() <= _MESSAGE_KEYS:
            _check_letters(message, _MESSAGE_KEYS, f"messages[{index}]")
            _check_media(message, f"messages[{index}]")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise _invalid(f"messages[{index}].role", f"one of {', '.join(sorted(ROLES))}")
        content = message.get("content")
        if content is None:
            if role != "assistant":
                raise _invalid(f"messages[{index}].content", "a string or a list of text parts")
        elif not isinstance(content, str):
            _check_parts(content, f"messages[{index}].content")
    return len(messages)


def _check_parts(content: object, path: str) -> None:
    if not isinstance(content, list) or not content:
        raise _invalid(path, "a string or a list of text parts")
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise _invalid(f"{path}[{index}]", "an object with type and text")
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
            raise _invalid(f"{path}[{index}].text", "a string")
        if has_others:
            _check_media(part, f"{path}[{index}]")


def _check_letters(given: Mapping[str, object], known: frozenset[str], path: str) -> None:
    """Refuse a known key in other letters: a node that ignores case would take it for what was checked."""
    for name in given:
        if name not in known and name.casefold() in known:
            shown = nameable(name)
            raise Refusal(
                Code.UNKNOWN_PARAMETER,
                f"{path} has {name.casefold()} in other letters.",
                param=f"{path}.{shown}" if shown else path,
            )


def _check_media(given: Mapping[str, object], path: str) -> None:
    """Refuse what carries something other than text beside it."""
    for name, value in given.items():
        lowered = name.casefold()
        if value is not None and any(lowered.startswith(kind) or lowered.endswith(kind) for kind in _MEDIA):
            shown = nameable(name)
            raise Refusal(
                Code.INVALID_VALUE,
                f"{path} carries more than text: images, audio, video and files are not supported.",
                param=f"{path}.{shown}" if shown else path,
            )
