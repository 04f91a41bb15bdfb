"""Legacy completions: what a caller may ask, and OpenAI's older `text_completion` form of the answer.

They are served through chat: each prompt becomes one user's message, and is a part of the call that is sent by itself.
So a request is taken apart only as far as it differs from a chat request, which it becomes; types, ranges and bounds
are checked where those of chat are, and `max_tokens` has the same default. Choice c of prompt p has index p * n + c.

What chat cannot serve is refused by its name: `suffix`, `echo`, `logprobs`, `best_of`, and prompts of token ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from tallygate.core.answers import TEXTS, Members, decode_members, encode, is_given, other_members, read_answer
from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import meaning_of
from tallygate.core.jsontext import check_shape, nameable
from tallygate.core.openai import PARAMETERS as CHAT_PARAMETERS
from tallygate.core.openai import STRICT, parse_chat_request
from tallygate.core.streaming import Relayed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.core.forms import Form, Head, Whole
    from tallygate.core.openai import ChatRequest, Policy
    from tallygate.core.usage import Tally

CHOICES_MAX: Final = 32
"""The most choices that one call may have, of all prompts together: each prompt is a request of its own to the network,
and the batches of usual clients (20 prompts) fit."""

_AS_IN_CHAT: Final = (
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stream",
    "stream_options",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "user",
)

PARAMETERS: Final[Mapping[str, str]] = {
    "model": CHAT_PARAMETERS["model"],
    "prompt": f"a text, or 1 to {CHOICES_MAX} of them; prompts × `n` are at most {CHOICES_MAX}; required",
    **{name: CHAT_PARAMETERS[name] for name in _AS_IN_CHAT},
}
"""By name, what each may be, in words; what is not in this table is no parameter."""

KNOWN: Final = frozenset(PARAMETERS)
REFUSED: Final = frozenset({"suffix", "echo", "logprobs", "best_of"})

_OBJECT: Final = "text_completion"
_NULL: Final = Raw(b"null")
_EMPTY: Final = Raw(b'""')
_NOTHING: Final = (b"null", b'""')
_REASONING: Final = tuple(name for name in TEXTS if name != "content")
"""What a model may have written beside its text; it was paid for, so it is shown under the name that it came with."""

_decode_request = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_prompts = msgspec.json.Decoder(list[Raw]).decode
_decode_index = msgspec.json.Decoder(int).decode


# --- what is asked ---------------------------------------------------------------------------------------------------


def parse_completion_request(body: bytes, policy: Policy = STRICT) -> tuple[ChatRequest, ...]:
    """Return the checked chat requests that the prompts of a body become, in their order.

    Args:
        body: What the caller sent.
        policy: What happens to parameters that are not as they should be; an unknown one is always refused here.

    Raises:
        Refusal: The body is not JSON, not an object, or a field is missing, unknown, repeated, of the wrong shape, or
            cannot be served through chat; the refusal names the field.
    """
    values = check_shape(body)
    for name in values:
        _check_name(name, values[name])
    members = {name: raw for name, raw in _decode_request(body).items() if name not in REFUSED}
    prompts = _read_prompts(values.get("prompt"), members.pop("prompt", _NULL))
    messages = [Raw(b'[{"role":"user","content":' + prompt + b"}]") for prompt in prompts]
    first = parse_chat_request(encode({**members, "messages": messages[0]}), policy)
    if len(prompts) * first.choices > CHOICES_MAX:
        message = f"At most {CHOICES_MAX} choices can be asked for at a time, of all prompts together."
        raise Refusal(Code.INVALID_VALUE, message, param="prompt" if len(prompts) > 1 else "n")
    return (first, *(_with_messages(first, message) for message in messages[1:]))


def meaning_of_all(requests: Sequence[ChatRequest], model: str) -> object:
    """Return what a completion request asks for; `model` is the canonical id of what it names."""
    others = [bytes(request.members["messages"]).decode() for request in requests[1:]]
    return ["completions", meaning_of(requests[0], model), others]


def _check_name(name: str, value: object) -> None:
    if name in KNOWN:
        return
    if name in REFUSED:
        if value is None:
            return
        raise Refusal(Code.UNSUPPORTED_PARAMETER, f"{name} is not offered: prompts are served as chat.", param=name)
    param = nameable(name)
    shown = param or "A field"
    known = f"; {name.lower()} is" if name.lower() in KNOWN else " of this route"
    raise Refusal(Code.UNKNOWN_PARAMETER, f"{shown} is not a parameter{known}.", param=param)


def _read_prompts(prompt: object, raw: Raw) -> list[bytes]:
    """Return the prompts, as JSON strings."""
    if isinstance(prompt, str):
        return [bytes(raw)]
    if not isinstance(prompt, list) or not prompt:
        raise Refusal(Code.INVALID_VALUE, "prompt must be a string or a list of strings.", param="prompt")
    if len(prompt) > CHOICES_MAX:
        raise Refusal(Code.INVALID_VALUE, f"prompt must be a list of at most {CHOICES_MAX} strings.", param="prompt")
    for index, text in enumerate(prompt):
        if isinstance(text, int | list) and not isinstance(text, bool):
            message = "prompt must be text: token ids are not supported, since prompts are served as chat."
            raise Refusal(Code.INVALID_VALUE, message, param="prompt")
        if not isinstance(text, str):
            raise Refusal(Code.INVALID_VALUE, f"prompt[{index}] must be a string.", param=f"prompt[{index}]")
    return [bytes(text) for text in _decode_prompts(raw)]


def _with_messages(request: ChatRequest, messages: Raw) -> ChatRequest:
    more_bytes = len(messages) - len(request.members["messages"])
    return msgspec.structs.replace(
        request, members={**request.members, "messages": messages}, prompt_bytes=request.prompt_bytes + more_bytes
    )


# --- what is answered ------------------------------------------------------------------------------------------------


class _Text:
    def open_stream(self, head: Head, number: int, request: ChatRequest, tally: Tally) -> Relayed:
        """Return what the frames of one part go through."""
        return RelayedText(head, number, request, tally)

    def open_whole(self, head: Head, request: ChatRequest) -> Whole:
        """Return what the answers of all parts go into."""
        return TextCompletion(head, request.choices)


TEXT: Final[Form] = _Text()


class TextCompletion:
    """An unstreamed `text_completion`.

    Args:
        head: What it begins with.
        choices: How many choices each part has.
    """

    def __init__(self, head: Head, choices: int) -> None:
        self._head = head
        self._choices = choices
        self._taken: dict[int, Members] = {}
        self._others: Members = {}

    def take(self, number: int, body: bytes, tally: Tally) -> None:
        """Take the network's answer to one part; raises `UnusableAnswerError`."""
        members, choices = read_answer(body, tally)
        if not number:
            self._others = other_members(members)
        for choice in choices:
            index = number * self._choices + _index_of(choice, self._choices)
            self._taken[index] = _as_text(choice, "message", index)

    def with_usage(self, usage_json: bytes) -> bytes:
        """Return its bytes with its usage as the last member."""
        inference, model, created_s = self._head
        head = {"id": inference, "object": _OBJECT, "created": created_s, "model": model}
        choices = [self._taken[index] for index in sorted(self._taken)]
        return encode({**head, "choices": choices, **self._others})[:-1] + b',"usage":' + usage_json + b"}"


class RelayedText(Relayed):
    """The frames of one part of a streamed `text_completion`.

    Args:
        head: What every chunk begins with.
        number: The part's.
        request: What was asked.
        tally: What is counted on the way.
    """

    def __init__(self, head: Head, number: int, request: ChatRequest, tally: Tally) -> None:
        super().__init__(*head, request.choices, include_usage=request.include_usage, tally=tally)
        inference, model, created_s = head
        start = {"id": inference, "object": _OBJECT, "created": created_s, "model": model}
        self._head = encode(start)[:-1]
        self._first_index = number * request.choices

    def _frame(self, choices: Sequence[Members], others: Members) -> bytes:
        """Return a chunk of text; nothing for one that has neither text nor an end, such as the one with the role."""
        texts = []
        for choice in choices:
            text = _as_text(choice, "delta", self._first_index + _index_of(choice, self._choices))
            if len(text) > len(_BARE) or text["text"] is not _EMPTY or text["finish_reason"] is not _NULL:
                texts.append(text)
        return super()._frame(texts, others) if texts else b""

    def _learn(self, payload: bytes, frame: bytes, choice: Members, untold_bytes: int) -> None:
        """Learn no template: a frame changes too much on its way to be spliced."""


_BARE: Final = ("text", "index", "logprobs", "finish_reason")


def _as_text(choice: Members, text_key: str, index: int) -> Members:
    """Return a choice of chat, or of a chunk of it, as one of text."""
    parts = decode_members(choice[text_key]) if is_given(choice, text_key) else {}
    content, reason = parts.get("content", _EMPTY), choice.get("finish_reason", _NULL)
    text = {
        "text": _EMPTY if bytes(content) in _NOTHING else content,
        "index": Raw(b"%d" % index),
        "logprobs": _NULL,
        "finish_reason": _NULL if bytes(reason) in _NOTHING else reason,
    }
    return {**text, **{name: parts[name] for name in _REASONING if is_given(parts, name)}}


def _index_of(choice: Mapping[str, Raw], choices: int) -> int:
    """Return which of a part's choices this is; whatever an upstream says, it is none of another part's."""
    try:
        index = _decode_index(choice.get("index", b"0"))
    except msgspec.DecodeError:
        return 0
    return min(max(index, 0), choices - 1)
