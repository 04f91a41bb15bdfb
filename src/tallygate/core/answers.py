"""What a caller gets of an upstream's answer: our id, our name of the model, our usage with the cost; nothing internal.

Answers are taken apart only at the levels of answer and choice; texts and tool calls are copied as the raw bytes
that came. On the way, what will be charged for is counted (`Tally`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from tallygate.core.ledger.entry import Flag
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
"""What nodes add for one another's validation; it is no caller's business and large."""

_OWNED: Final = frozenset({"id", "object", "created", "model", "choices", "usage"})
_TEXTS: Final = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")

Members = dict[str, Raw]


class _Logprobs(msgspec.Struct):
    content: list[Raw] | None = None


decode_members = msgspec.json.Decoder(Members).decode
decode_choices = msgspec.json.Decoder(list[Members]).decode
_decode_logprobs = msgspec.json.Decoder(_Logprobs).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode
encode = msgspec.json.Encoder().encode
_NULL: Final = b"null"
_EMPTY: Final = b'""'


class UnusableAnswerError(Exception):
    """A complete body is no chat answer."""


def is_null(raw: Raw) -> bool:
    """Return whether a raw value is null."""
    return bytes(raw) == _NULL


def read_report(members: Mapping[str, Raw], tally: Tally) -> None:
    """Take an answer's usage report and the prompt tokens that it lists into the tally."""
    usage = members.get("usage")
    if usage is not None and not is_null(usage):
        try:
            tally.report = _decode_object(usage)
        except msgspec.DecodeError:
            tally.report = {}
    prompt_ids = members.get("prompt_token_ids")
    if prompt_ids is not None and not is_null(prompt_ids):
        tally.prompt_tokens = _length(prompt_ids)


def clean_choice(choice: Members, text_key: str, tally: Tally) -> Members:
    """Return a choice without what is internal, and count its tokens.

    Args:
        choice: The choice's members.
        text_key: `message` of an answer, `delta` of a chunk.
        tally: What is counted.
    """
    told = _count_told(choice)
    text = choice.get(text_key)
    if text is not None and not is_null(text):
        parts = decode_members(text)
        if told is None:
            tally.untold_bytes += sum(_text_bytes(parts[name]) for name in _TEXTS if name in parts)
        if not INTERNAL.isdisjoint(parts):
            kept = {name: raw for name, raw in parts.items() if name not in INTERNAL}
            choice = {**choice, text_key: Raw(encode(kept))}
    tally.tokens += told or 0
    if INTERNAL.isdisjoint(choice):
        return choice
    return {name: raw for name, raw in choice.items() if name not in INTERNAL}


def other_members(members: Mapping[str, Raw]) -> Members:
    """Return the members of an answer that we neither own nor hide."""
    return {name: raw for name, raw in members.items() if name not in _OWNED and name not in INTERNAL}


class Completion:
    """An unstreamed answer, counted, cleaned, and ready for its usage.

    Raises:
        UnusableAnswerError: The body is no chat answer, or says `error`.
    """

    def __init__(self, body: bytes, inference: str, model: str, created_s: int, tally: Tally) -> None:
        try:
            members = decode_members(body)
            choices = [clean_choice(choice, "message", tally) for choice in decode_choices(members["choices"])]
        except (msgspec.DecodeError, KeyError, UnicodeDecodeError):
            choices = []
        if not choices or not is_null(members.get("error", Raw(_NULL))) or any("message" not in c for c in choices):
            raise UnusableAnswerError
        read_report(members, tally)
        head = {"id": inference, "object": "chat.completion", "created": created_s, "model": model, "choices": choices}
        self._bytes = encode({**head, **other_members(members)})

    def with_usage(self, usage_json: bytes) -> bytes:
        """Return the answer's bytes with its usage as the last member."""
        return self._bytes[:-1] + b',"usage":' + usage_json + b"}"


def render_usage(usage: Usage, cost: Cost, flags: Flag, report: Mapping[str, object] | None) -> bytes:
    """Return the `usage` object with the cost: amounts as plain decimals, and once more as exact strings."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    base, fee, total = format_usd(cost.base), format_usd(cost.fee), format_usd(cost.total)
    details = b""
    if report is not None and not usage.estimated:
        for name in ("prompt_tokens_details", "completion_tokens_details"):
            if isinstance(report.get(name), dict):
                details += f',"{name}":'.encode() + encode(report[name])
    marks = (',"estimated":true' if flags & Flag.ESTIMATED else "") + (
        ',"overrun":true' if flags & Flag.OVERRUN else ""
    )
    text = (
        f'{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{prompt + completion}'
        f'{details.decode()},"base_cost_usd":{base},"platform_fee_usd":{fee},"total_cost_usd":{total}'
        f',"base_cost_usd_exact":"{base}","platform_fee_usd_exact":"{fee}","total_cost_usd_exact":"{total}"'
        f"{marks}}}"
    )
    return text.encode()


def _count_told(choice: Members) -> int | None:
    """Return how many tokens a node says that a choice or chunk has, or None if it says nothing."""
    ids = choice.get("token_ids")
    if ids is not None and not is_null(ids):
        return _length(ids)
    logprobs = choice.get("logprobs")
    if logprobs is None or is_null(logprobs):
        return None
    content = _decode_logprobs(logprobs).content
    return None if content is None else len(content)


def _length(raw: Raw) -> int:
    return len(_decode_list(raw))


def _text_bytes(raw: Raw) -> int:
    text = bytes(raw)
    return 0 if text in (_NULL, _EMPTY) else len(text) - 2
