"""The forms in which a caller gets an answer: chat, or the older `text_completion` (`completions`).

Whatever the form, what the network is asked and what it answers is chat; a form says what becomes of that on the way to
the caller. It knows nothing of money but that usage is told once, at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tallygate.core.answers import Completion
from tallygate.core.streaming import Relayed

if TYPE_CHECKING:
    from tallygate.core.openai import ChatRequest
    from tallygate.core.usage import Tally


class Head(NamedTuple):
    """What every answer begins with: our id, the model's canonical id, when it began in seconds."""

    inference: str
    model: str
    created_s: int


class Whole(Protocol):
    """An unstreamed answer, of the answers to each part of its call."""

    def take(self, number: int, body: bytes, tally: Tally) -> None:
        """Take the network's answer to one part; raises `UnusableAnswerError` if it is none."""

    def with_usage(self, usage_json: bytes) -> bytes:
        """Return the answer's bytes with its usage as the last member."""


class Form(Protocol):
    """How answers are told."""

    def open_stream(self, head: Head, number: int, request: ChatRequest, tally: Tally) -> Relayed:
        """Return what the frames of one part go through."""

    def open_whole(self, head: Head, request: ChatRequest) -> Whole:
        """Return what the unstreamed answers of all parts go into."""


class _Chat:
    def open_stream(self, head: Head, number: int, request: ChatRequest, tally: Tally) -> Relayed:  # noqa: ARG002
        """Return what the frames go through."""
        return Relayed(
            *head, request.choices, include_usage=request.include_usage, tally=tally, logprobs=request.logprobs
        )

    def open_whole(self, head: Head, request: ChatRequest) -> Whole:
        """Return what the answer goes into."""
        return _ChatWhole(head, request.logprobs)


class _ChatWhole:
    """A chat completion has one part."""

    _completion: Completion

    def __init__(self, head: Head, logprobs: int | None) -> None:
        self._head = head
        self._logprobs = logprobs

    def take(self, number: int, body: bytes, tally: Tally) -> None:  # noqa: ARG002
        """Take the answer."""
        self._completion = Completion(body, *self._head, tally, logprobs=self._logprobs)

    def with_usage(self, usage_json: bytes) -> bytes:
        """Return its bytes with its usage."""
        return self._completion.with_usage(usage_json)


CHAT: Final[Form] = _Chat()
