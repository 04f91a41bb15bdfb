"""A chat request, taken apart and checked.

The caller's JSON object is taken apart, checked, and later written again from its members, so that nothing can be
smuggled past the bound that the hold is made for: a repeated key, a known key in other letters, a field that we do
not know, or one that can raise cost is refused by its name. Values that we do not own are checked, and copied as the
raw bytes that came. What we own: `model`, `max_tokens`, `max_completion_tokens`, `n`, `stream`, `stream_options`, and
the default temperature.

The checks work on the value that `check_shape` has decoded anyway, and look only at what was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Raw

from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import check_shape, nameable
from tallygate.core.openai.demands import at, invalid
from tallygate.core.openai.features import find_needs
from tallygate.core.openai.formats import check_response_format
from tallygate.core.openai.messages import JOINT, check_messages
from tallygate.core.openai.names import COPIED, KNOWN, never_passes, refuse_unknown
from tallygate.core.openai.parameters import CHOICES_MAX
from tallygate.core.openai.repair import STRIPPED, repair_tools
from tallygate.core.openai.sampling import CHECKS
from tallygate.core.openai.tools import check_tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.core.openai.features import Need

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""The network's own limit on a request body."""

MAX_TOKENS_MAX: Final = 2**31 - 1
"""Beyond this a `max_tokens` is a mistake, not a wish; below it, it is cut to the model's maximum."""

CHANGES_TOLD_MAX: Final = 32
"""How many parameters that were left out are named in the header, which has to fit into every client's buffer."""

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_NULL: Final = b"null"


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    tool_calls: Raw = Raw(b"")


_decode_messages = msgspec.json.Decoder(list[_Message]).decode


class Policy(NamedTuple):
    """What an operator has set for what is not as it should be.

    Attributes:
        unknown: What happens to parameters that we do not know. What could raise cost never passes.
        repairs: Whether to do, and tell, what the network's own gateway does without a word.
    """

    unknown: Literal["refuse", "pass", "strip"] = "refuse"
    repairs: bool = False


STRICT: Final = Policy()


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
        has_parts: Whether the content of any message is in parts.
        logprobs: How many alternatives of each token the caller wants to see; None if no logprobs at all.
        needs: Which features the model must have.
        changes: What was left out or coerced, as the response header lists it.
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
    has_parts: bool = False
    logprobs: int | None = None
    needs: Sequence[Need] = ()
    changes: Sequence[str] = ()

    def texts(self) -> list[str]:
        """Return the texts that become the prompt: those of the messages, and the tools as they stand."""
        texts = []
        for message in _decode_messages(self.members["messages"]):
            content = message.content
            text = content if isinstance(content, str) else JOINT.join([part.text for part in content or ()])
            texts.append(text + bytes(message.tool_calls).decode(errors="replace"))
        if "tools" in self.members:
            texts.append(bytes(self.members["tools"]).decode(errors="replace"))
        return texts


def parse_chat_request(body: bytes, policy: Policy = STRICT) -> ChatRequest:
    """Return the checked request of a body.

    Raises:
        Refusal: The body is not JSON, not an object, or a field is missing, unknown, repeated, of the wrong shape or
            out of range; the refusal names the field.
    """
    values = check_shape(body)
    members = _decode_members(body)
    if "extra_body" in members:
        members, values = _unwrap_extra_body(members, values)
    changes: list[str] = []
    copied = COPIED
    if not members.keys() <= KNOWN:
        copied = COPIED | _take_unknown(members, policy, changes)
    for name, value in values.items():
        if value is not None and name in CHECKS:
            CHECKS[name](value)
    stream = _check_stream(values)
    include_usage = _check_stream_options(values.get("stream_options"), stream=stream)
    has_parts = check_messages(values.get("messages"))
    has_tools = check_tools(values)
    kept = {name: raw for name, raw in members.items() if name in copied and bytes(raw) != _NULL}
    if not has_tools:
        kept.pop("tools", None)
    if policy.repairs:
        repair_tools(kept, changes)
    answer_format = values.get("response_format")
    if answer_format is not None:
        answer_format = check_response_format(answer_format)
    return ChatRequest(
        model=_check_model(values.get("model")),
        members=kept,
        max_tokens=_check_max_tokens(values),
        choices=_check_count(values, "n", CHOICES_MAX) or 1,
        stream=stream,
        include_usage=include_usage,
        message_count=len(values["messages"]),
        has_tools=has_tools,
        prompt_bytes=len(kept["messages"]) + len(kept.get("tools", b"")),
        has_parts=has_parts,
        logprobs=_find_logprobs(values),
        needs=find_needs(values, answer_format, has_tools=has_tools),
        changes=changes,
    )


def _unwrap_extra_body(members: dict[str, Raw], values: Any) -> tuple[dict[str, Raw], Any]:
    """Return the members as if those of `extra_body` stood at top level, where a second naming is a repeat."""
    if values.get("extra_body") is None:
        return members, values
    if not isinstance(values["extra_body"], dict):
        raise invalid("extra_body", "an object")
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


def _take_unknown(members: Mapping[str, Raw], policy: Policy, changes: list[str]) -> set[str]:
    """Return the parameters that pass though we do not know them; note those that are left out.

    Raises:
        Refusal: One is refused.
    """
    passed = set()
    left_out = []
    for name in members:
        if name in KNOWN:
            continue
        if policy.repairs and name in STRIPPED:
            left_out.append(name)
        elif policy.unknown == "refuse" or never_passes(name):
            raise refuse_unknown(name)
        elif policy.unknown == "pass":
            passed.add(name)
        else:
            left_out.append(name)
    changes += [f"-{name}" for name in sorted(left_out)[:CHANGES_TOLD_MAX]]
    if len(left_out) > CHANGES_TOLD_MAX:
        changes.append(f"-{len(left_out) - CHANGES_TOLD_MAX} more")
    return passed


def _check_model(model: object) -> str:
    if not isinstance(model, str) or not 0 < len(model) <= 256:
        raise invalid("model", "the id of a model, as listed by /v1/models")
    return model


def _check_stream(values: Mapping[str, object]) -> bool:
    value = values.get("stream")
    if value is not None and not isinstance(value, bool):
        raise invalid("stream", "true or false")
    return bool(value)


def _check_count(values: Mapping[str, object], name: str, count_max: int) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= count_max:
        raise invalid(name, f"an integer from 1 to {count_max}")
    return value


def _check_max_tokens(values: Mapping[str, object]) -> int | None:
    old = _check_count(values, "max_tokens", MAX_TOKENS_MAX)
    new = _check_count(values, "max_completion_tokens", MAX_TOKENS_MAX)
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
        raise invalid("stream_options", "an object")
    if not stream:
        raise Refusal(Code.INVALID_VALUE, "stream_options goes with stream: true.", param="stream_options")
    for name in options:
        if name != "include_usage":
            raise Refusal(
                Code.UNKNOWN_PARAMETER, "stream_options takes include_usage only.", param=at("stream_options", name)
            )
    value = options.get("include_usage")
    if value is not None and not isinstance(value, bool):
        raise invalid("stream_options.include_usage", "true or false")
    return bool(value)


def _find_logprobs(values: Mapping[str, Any]) -> int | None:
    """Return how many alternatives of each token are asked for; None if logprobs are not."""
    top = values.get("top_logprobs")
    if values.get("logprobs") is True:
        return top or 0
    if top is not None:
        raise Refusal(Code.INVALID_VALUE, "top_logprobs goes with logprobs: true.", param="top_logprobs")
    return None
