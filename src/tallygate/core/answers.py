"""What a caller gets of an upstream's answer: our id, our name of the model, our usage with the cost; nothing internal.

Answers are taken apart only at the levels of answer and choice; texts and tool calls are copied as the raw bytes
that came. On the way, what will be charged for is counted (`Tally`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from tallygate.core.jsontext import nameable
from tallygate.core.ledger.entry import Flag
from tallygate.core.logprobs import trim_logprobs
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.pricing import Cost
    from tallygate.core.usage import Tally, Usage

INTERNAL: Final = frozenset(
    {
        "logprob",
        "logprobs",
        "top_logprobs",
        "token_ids",
        "prompt_token_ids",
        "prompt_logprobs",
        "stop_reason",
        "kv_transfer_params",
    }
)
"""What nodes add for one another's validation; it is no caller's business and large. Logprobs come back trimmed where a
caller asked for some."""

_OWNED: Final = frozenset({"id", "object", "created", "model", "choices", "usage"})
FOREIGN_COSTS: Final = frozenset(
    {
        "cost",
        "cost_usd",
        "cost_details",
        "cost_in_usd_ticks",
        "estimated_cost",
        "response_cost",
        "total_cost",
        "total_cost_usd",
        "base_cost_usd",
        "platform_fee_usd",
        "balance",
        "billing",
        "credits",
        "credits_used",
        "provider_metadata",
        "usage_metadata",
        "x_groq",
    }
)
"""What other gateways and brokers say of money and usage beside an answer: what it cost *us*. A caller pays by our
sheet, and is told so once, in `usage`; `usage` itself is written anew, so what stood in it never passes."""

_HIDDEN: Final = INTERNAL | FOREIGN_COSTS
_HIDDEN_IN_CHOICE: Final = _HIDDEN | {"usage"}
"""Some upstreams report usage inside a choice too; a caller sees usage once, with its cost."""

TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal")
"""The members of a message or delta that hold what the model wrote, but for its tool calls."""

_CALL_BYTES: Final = 24
"""What a model writes around the name and the arguments of one tool call: about as much in all usual templates."""

Members = dict[str, Raw]


class _Function(msgspec.Struct):
    """The text of a tool call, or of a piece of one."""

    name: Raw = Raw(b"null")
    arguments: Raw = Raw(b"null")


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


decode_members = msgspec.json.Decoder(Members).decode
decode_choices = msgspec.json.Decoder(list[Members]).decode
_decode_calls = msgspec.json.Decoder(list[_ToolCall]).decode
_decode_function = msgspec.json.Decoder(_Function).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode
encode = msgspec.json.Encoder().encode
_NULL: Final = b"null"
_NO_VALUE: Final = Raw(_NULL)
_EMPTY: Final = b'""'


UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding can raise: no JSON of the shape asked for, no UTF-8, or nested without end."""


class UnusableAnswerError(Exception):
    """A complete body is no chat answer."""


def check_utf8(body: bytes) -> None:
    """Raise `UnicodeDecodeError` if a text is not UTF-8, which raw members are not checked for."""
    if not body.isascii():
        body.decode()


def is_given(members: Mapping[str, Raw], name: str) -> bool:
    """Return whether there is such a member, and it is not null."""
    return members.get(name, _NO_VALUE) != _NO_VALUE


def read_report(members: Mapping[str, Raw], tally: Tally) -> None:
    """Take an answer's usage report and the prompt tokens that it lists into the tally."""
    if is_given(members, "usage"):
        try:
            tally.report = _decode_object(members["usage"])
        except msgspec.DecodeError:
            tally.report = {}
    tally.prompt_tokens = _length(members, "prompt_token_ids") or tally.prompt_tokens


def clean_choice(choice: Members, text_key: str, tally: Tally, logprobs: int | None = None) -> Members:
    """Return a choice without what is internal, and count its tokens.

    Args:
        choice: The choice's members.
        text_key: `message` of an answer, `delta` of a chunk.
        tally: What is counted.
        logprobs: How many alternatives of each token the caller asked for; None if no logprobs.
    """
    told = _count_told(choice)
    if is_given(choice, text_key):
        parts = decode_members(choice[text_key])
        # Who has never listed a token and lists none for a text has not told anything.
        if told is None or (told == 0 and tally.tokens == 0):
            texts = () if tally.texts is None else _written_texts(parts)
            tally.add_untold(_written_bytes(parts), bytes(choice.get("index", b"0")), *texts)
        if not _HIDDEN.isdisjoint(parts):
            kept = {name: raw for name, raw in parts.items() if name not in _HIDDEN}
            choice = {**choice, text_key: Raw(encode(kept))}
    tally.tokens += told or 0
    if _HIDDEN_IN_CHOICE.isdisjoint(choice):
        return choice
    cleaned = {name: raw for name, raw in choice.items() if name not in _HIDDEN_IN_CHOICE}
    if logprobs is not None and "logprobs" in choice:
        cleaned["logprobs"] = trim_logprobs(choice["logprobs"], logprobs)
    return cleaned


def other_members(members: Mapping[str, Raw]) -> Members:
    """Return the members of an answer that we neither own nor hide."""
    return {name: raw for name, raw in members.items() if name not in _OWNED and name not in _HIDDEN}


def read_answer(body: bytes, tally: Tally, logprobs: int | None = None) -> tuple[Members, list[Members]]:
    """Return the members of an unstreamed answer and its choices, counted and cleaned.

    Raises:
        UnusableAnswerError: The body is no chat answer, or says `error`.
    """
    try:
        check_utf8(body)
        members = decode_members(body)
        choices = decode_choices(members["choices"])
        choices = [clean_choice(choice, "message", tally, logprobs) for choice in choices]
        read_report(members, tally)
    except (*UNREADABLE, KeyError):
        choices = []
    if not choices or is_given(members, "error") or not all(is_given(choice, "message") for choice in choices):
        raise UnusableAnswerError
    return members, choices


class Completion:
    """An unstreamed answer, counted, cleaned, and ready for its usage.

    Args:
        body: What the upstream answered.
        inference: Our id.
        model: The model's canonical id.
        created_s: When the answer began, in seconds.
        tally: What is counted.
        logprobs: How many alternatives of each token the caller asked for; None if no logprobs.

    Raises:
        UnusableAnswerError: The body is no chat answer, or says `error`.
    """

    def __init__(
        self, body: bytes, inference: str, model: str, created_s: int, tally: Tally, *, logprobs: int | None = None
    ) -> None:
        members, choices = read_answer(body, tally, logprobs)
        head = {"id": inference, "object": "chat.completion", "created": created_s, "model": model, "choices": choices}
        self._bytes = encode({**head, **other_members(members)})

    def with_usage(self, usage_json: bytes) -> bytes:
        """Return the answer's bytes with its usage as the last member."""
        return self._bytes[:-1] + b',"usage":' + usage_json + b"}"


def render_usage(usage: Usage, cost: Cost, flags: Flag, report: Mapping[str, object] | None) -> bytes:
    """Return the `usage` object with the cost: amounts as plain decimals, and once more as exact strings."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    base, fee, total = format_usd(cost.base), format_usd(cost.fee), format_usd(cost.total)
    details = ""
    if report is not None and not usage.estimated:
        for name, tokens in (("prompt_tokens_details", prompt), ("completion_tokens_details", completion)):
            if counts := _counts_of(report.get(name), tokens):
                details += f',"{name}":{encode(counts).decode()}'
    marks = ""
    if flags:  # else nothing is special, which is usual, and `&` makes a flag anew
        marks = (',"estimated":true' if flags & Flag.ESTIMATED else "") + (
            ',"overrun":true' if flags & Flag.OVERRUN else ""
        )
    text = (
        f'{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{prompt + completion}'
        f'{details},"base_cost_usd":{base},"platform_fee_usd":{fee},"total_cost_usd":{total}'
        f',"base_cost_usd_exact":"{base}","platform_fee_usd_exact":"{fee}","total_cost_usd_exact":"{total}"'
        f"{marks}}}"
    )
    return text.encode()


def _counts_of(details: object, tokens: int) -> dict[str, int]:
    """Return the counts of a report's details that can be a part of so many tokens, and nothing else that stands there.

    Such as `reasoning_tokens`, which are among the completion tokens, and charged once, as such.
    """
    if not isinstance(details, dict):
        return {}
    return {
        name: count for name, count in details.items() if nameable(name) and type(count) is int and 0 <= count <= tokens
    }


def _count_told(choice: Members) -> int | None:
    """Return how many tokens a node says that a choice or chunk has, or None if it says nothing."""
    told = _length(choice, "token_ids")
    if told is not None or not is_given(choice, "logprobs"):
        return told
    try:
        return _length(decode_members(choice["logprobs"]), "content")
    except msgspec.DecodeError:
        return None


def _length(members: Mapping[str, Raw], name: str) -> int | None:
    """Return the length of a list, or None if there is none: what nodes tell beyond the answer may be missing."""
    if not is_given(members, name):
        return None
    try:
        return len(_decode_list(members[name]))
    except msgspec.DecodeError:
        return None


def _written_bytes(parts: Members) -> int:
    """Return the bytes of what the model wrote, the same however an answer is cut into deltas."""
    written = sum([_text_bytes(parts[name]) for name in TEXTS if name in parts])
    if _reasons_twice(parts):
        written -= _text_bytes(parts["reasoning"])
    try:
        if is_given(parts, "tool_calls"):
            written += sum([_call_bytes(call.function) for call in _decode_calls(parts["tool_calls"])])
        if is_given(parts, "function_call"):
            written += _call_bytes(_decode_function(parts["function_call"]))
    except msgspec.DecodeError:
        written += len(parts.get("tool_calls", b"")) + len(parts.get("function_call", b""))
    return written


def _written_texts(parts: Members) -> list[bytes]:
    """Return what the model wrote, as JSON strings; tool calls as their names and arguments."""
    texts = [bytes(parts[name]) for name in TEXTS if is_given(parts, name)]
    if _reasons_twice(parts) and is_given(parts, "reasoning"):
        texts.remove(bytes(parts["reasoning"]))
    try:
        calls = [call.function for call in _decode_calls(parts["tool_calls"])] if is_given(parts, "tool_calls") else []
        if is_given(parts, "function_call"):
            calls.append(_decode_function(parts["function_call"]))
    except msgspec.DecodeError:
        return [*texts, *(bytes(parts[name]) for name in ("tool_calls", "function_call") if name in parts)]
    written = [bytes(raw) for call in calls if call is not None for raw in (call.name, call.arguments)]
    return texts + [text for text in written if text != _NULL]


def _reasons_twice(parts: Members) -> bool:
    """Return whether reasoning is written under its old and its new name, as some engines do: it is one text."""
    return "reasoning" in parts and parts["reasoning"] == parts.get("reasoning_content")


def _call_bytes(function: _Function | None) -> int:
    if function is None:
        return 0
    name_bytes = _text_bytes(function.name)
    return name_bytes + _text_bytes(function.arguments) + (_CALL_BYTES if name_bytes else 0)


def _text_bytes(raw: Raw) -> int:
    text = bytes(raw)
    return 0 if text in (_NULL, _EMPTY) else len(text) - 2
