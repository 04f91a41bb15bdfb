"""A streamed answer on its way through: frames in, frames out, the last one held back until the money is settled.

Usage is shown to the caller exactly once: on the finish chunk (of the choice that finishes last), or, if the caller
asked for `include_usage`, in one extra chunk without choices. So everything from the last finish chunk on waits
here until the settlement is durable.

Most frames of a Bearer upstream differ from the one before in nothing but a piece of text. The first such frame
is taken apart and remembered as a template: bytes before the text, bytes after it, and what they become. A later
frame that has the same bytes around one JSON string is that very frame, and is spliced, not parsed. Frames of Gonka
nodes carry per-token data and are always taken apart.

Invariants: whether a frame is spliced or taken apart makes no difference to what goes out or to what is counted.
Whatever an upstream sends, each chunk goes out as one line of UTF-8, so that no event ends early or begins another.
What is held back is bounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Raw

from tallygate.core.answers import (
    TEXTS,
    UNREADABLE,
    Members,
    check_utf8,
    clean_choice,
    decode_choices,
    decode_members,
    encode,
    is_given,
    other_members,
    read_report,
)
from tallygate.core.sse import DONE, encode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.usage import Tally

WITHHELD_BYTES_MAX: Final = 1024 * 1024
"""The most that is kept from the last finish chunk on: usual are that chunk and perhaps an empty one."""

_NOT_FINISHED: Final = (b"null", b'""')
"""What stands for "not yet" in `finish_reason`; some engines write the empty string."""

_PLAIN_TEXT: Final = {name: re.compile(rb'"%b"[ ]?:[ ]?("[^"]+")' % name.encode()) for name in TEXTS}
_decode_string = msgspec.json.Decoder(str).decode


class _Template(NamedTuple):
    """A frame but for its text: as it comes, and as it goes out.

    Attributes:
        before: What comes before the text's opening quote.
        after: What comes from its closing quote on, so that it is found at once.
        text_begin: Where the opening quote is.
        text_end: Where what follows the closing quote begins, from the end (below zero: an object ends there).
        out_before: What goes out before the opening quote.
        out_after: What goes out after the closing quote.
        more_bytes: What else of the frame is counted as written, less the two quotes.
    """

    before: bytes
    after: bytes
    text_begin: int
    text_end: int
    out_before: bytes
    out_after: bytes
    more_bytes: int


class Relayed:
    """The frames of one stream.

    Args:
        inference: Our id, which every chunk carries.
        model: The model's canonical id.
        created_s: When the answer began, in seconds.
        choices: How many choices were asked for.
        include_usage: Whether the caller asked for OpenAI's extra usage chunk.
        tally: What is counted on the way.
        logprobs: How many alternatives of each token the caller asked for; None if no logprobs.

    Attributes:
        done: The upstream has said `[DONE]`.
        failed: The upstream has said that it failed, or something that is no chunk; or it ended before any choice,
            or went on without end after the last.
        begun: A choice has come, so there is something to charge for.
    """

    def __init__(
        self,
        inference: str,
        model: str,
        created_s: int,
        choices: int,
        *,
        include_usage: bool,
        tally: Tally,
        logprobs: int | None = None,
    ) -> None:
        self.done = self.failed = self.begun = False
        head = {"id": inference, "object": "chat.completion.chunk", "created": created_s, "model": model}
        self._head = encode(head)[:-1]
        self._choices = choices
        self._include_usage = include_usage
        self._tally = tally
        self._logprobs = logprobs
        self._finished: set[bytes] = set()
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self._template: _Template | None = None

    def feed(self, payloads: Sequence[bytes]) -> bytes:
        """Return what of these events goes to the caller now; what comes after `[DONE]` or a failure is dropped."""
        out: list[bytes] = []
        for payload in payloads:
            template = self._template
            if template is not None and payload.startswith(template[0]) and payload.endswith(template[1]):
                spliced = self._splice(payload, template)
                if spliced is not None:
                    out.append(spliced)
                    continue
            if self.done or self.failed:
                break
            if payload == DONE:
                # An end before any choice is no answer.
                self.done, self.failed = self.begun, not self.begun
            elif payload and (frame := self._take(payload)):
                if self._held is None:
                    out.append(frame)
                else:
                    self._withhold(self._held, frame)
            if self.done or self.failed:
                self._template = None  # nothing is taken any more, not even by the short way
        return b"".join(out)

    def end(self, usage_json: bytes) -> bytes:
        """Return the rest of a complete stream: the held frames with the usage, then `[DONE]`."""
        frames = self._held or [self._finish_rest()]
        if self._include_usage:
            frames.append(encode_event(self._head + b',"choices":[],"usage":' + usage_json + b"}"))
        else:
            frames[0] = frames[0][:-3] + b',"usage":' + usage_json + b"}\n\n"
        return b"".join(frames) + encode_event(DONE)

    def release(self) -> bytes:
        """Return the rest of a complete stream without usage or end: other answers to the same call go on."""
        return b"".join(self._held or [self._finish_rest()])

    def interrupt(self, error_json: bytes, usage_json: bytes | None) -> bytes:
        """Return the end of a stream that died: an error event with what was charged, and no `[DONE]`."""
        usage = b"" if usage_json is None else b',"usage":' + usage_json
        return encode_event(b'{"error":' + error_json + usage + b"}")

    def _splice(self, payload: bytes, template: _Template) -> bytes | None:
        """Return what a frame of the template becomes, or None if what differs is not one plain string."""
        _, _, begin, end, out_before, out_after, more_bytes = template
        text = payload[begin:end]
        try:
            _decode_string(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        self._tally.untold_bytes += len(text) + more_bytes
        return out_before + text + out_after

    def _take(self, payload: bytes) -> bytes:
        """Take one event apart and return the frame that it becomes; empty if nothing is left of it."""
        tally = self._tally
        untold_bytes, tokens = tally.untold_bytes, tally.tokens
        try:
            check_utf8(payload)
            members = decode_members(payload)
            read_report(members, tally)
            if is_given(members, "error"):
                self.failed = True
                return b""
            choices = decode_choices(members["choices"]) if is_given(members, "choices") else []
            cleaned = [clean_choice(choice, "delta", tally, self._logprobs) for choice in choices]
        except UNREADABLE:
            self.failed = True
            return b""
        if not cleaned:
            return b""
        if tally.tokens > tokens:
            tally.note_told(payload, tally.tokens - tokens)
        self.begun = True
        frame = self._frame(cleaned, other_members(members))
        self._note_finish(choices)
        if self._held is not None:
            self._template = None
        elif len(choices) == 1 and not is_given(members, "usage") and not is_given(members, "prompt_token_ids"):
            self._learn(payload, frame, choices[0], tally.untold_bytes - untold_bytes)
        return frame

    def _frame(self, choices: Sequence[Members], others: Members) -> bytes:
        rest = b"" if not others else b"," + encode(others)[1:-1]
        chunk = self._head + rest + b',"choices":' + encode(choices) + b"}"
        if b"\n" in chunk or b"\r" in chunk:
            # Only white space between tokens can be a line end in JSON; many clients read an event line by line.
            chunk = chunk.replace(b"\n", b" ").replace(b"\r", b" ")
        return encode_event(chunk)

    def _finish_rest(self) -> bytes:
        """Return a finish chunk for the choices that the upstream did not finish before its `[DONE]`."""
        rest = [index for index in range(self._choices) if b"%d" % index not in self._finished]
        return self._frame(
            [{"index": Raw(b"%d" % index), "delta": Raw(b"{}"), "finish_reason": Raw(b'"stop"')} for index in rest],
            {},
        )

    def _withhold(self, held: list[bytes], frame: bytes) -> None:
        self._held_bytes += len(frame)
        if self._held_bytes > WITHHELD_BYTES_MAX:
            self.failed = True
        else:
            held.append(frame)

    def _note_finish(self, choices: Sequence[Members]) -> None:
        for choice in choices:
            if bytes(choice.get("finish_reason", b"null")) not in _NOT_FINISHED:
                self._finished.add(bytes(choice.get("index", b"0")))
        if len(self._finished) >= self._choices and self._held is None:
            self._held = []

    def _learn(self, payload: bytes, frame: bytes, choice: Members, untold_bytes: int) -> None:
        """Remember a frame with one plain text as the template of those to come.

        Args:
            payload: The frame as it came, without usage and prompt tokens.
            frame: What it became.
            choice: Its only choice.
            untold_bytes: What of it was counted as written.
        """
        told = is_given(choice, "logprobs") or is_given(choice, "token_ids")
        if told or self._tally.texts is not None or b"\\" in payload or not is_given(choice, "delta"):
            return  # a tokenizer wants all of the text, of which a template knows the bytes only
        parts = decode_members(choice["delta"])
        if "reasoning" in parts and "reasoning_content" in parts:
            return  # the same text twice, which counts once, so that how a frame counts depends on both
        for name in TEXTS:
            text = bytes(parts.get(name, b"null"))
            # Without any backslash a name has one spelling, so one that stands there once is the delta's own.
            quoted = b'"%b"' % name.encode()
            if len(text) > 2 and payload.count(quoted) == 1 == frame.count(quoted):
                found, out = _PLAIN_TEXT[name].search(payload), _PLAIN_TEXT[name].search(frame)
                if found is not None and out is not None and found[1] == text == out[1]:
                    self._template = _Template(
                        before=payload[: found.start(1)],
                        after=payload[found.end(1) - 1 :],
                        text_begin=found.start(1),
                        text_end=found.end(1) - len(payload),
                        out_before=frame[: out.start(1)],
                        out_after=frame[out.end(1) :],
                        more_bytes=untold_bytes - len(text),
                    )
                    return
