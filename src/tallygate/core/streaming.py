"""A streamed answer on its way through: frames in, frames out, the last one held back until the money is settled.

Usage is shown to the caller exactly once: on the finish chunk (of the choice that finishes last), or, if the caller
asked for `include_usage`, in one extra chunk without choices. So everything from the last finish chunk on waits
here until the settlement is durable.

Most frames of a Bearer upstream differ from the one before in nothing but a piece of text. The first such frame
is taken apart and remembered as a template: bytes before the text, bytes after it, and what they become. A later
frame that has the same bytes around a text without a quote is that very frame, and is spliced, not parsed. Frames
of Gonka nodes carry per-token data and are always taken apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.answers import (
    Members,
    clean_choice,
    decode_choices,
    decode_members,
    encode,
    is_null,
    other_members,
    read_report,
)
from tallygate.core.sse import DONE, encode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.usage import Tally

_CONTENT: Final = b'"content":'
_FINISH: Final = b'{"index":0,"delta":{},"finish_reason":"stop"}'


class _Template(NamedTuple):
    """A frame but for its text: as it comes, and as it goes out."""

    before: bytes
    after: bytes
    out_before: bytes
    out_after: bytes


class Relayed:
    """The frames of one stream.

    Args:
        inference: Our id, which every chunk carries.
        model: The model's canonical id.
        created_s: When the answer began, in seconds.
        choices: How many choices were asked for.
        include_usage: Whether the caller asked for OpenAI's extra usage chunk.
        tally: What is counted on the way.

    Attributes:
        done: The upstream has said `[DONE]`.
        failed: The upstream has said that it failed, or said something that is no chunk.
        begun: A choice has come, so there is something to charge for.
    """

    def __init__(
        self, inference: str, model: str, created_s: int, choices: int, *, include_usage: bool, tally: Tally
    ) -> None:
        self.done = self.failed = self.begun = False
        head = {"id": inference, "object": "chat.completion.chunk", "created": created_s, "model": model}
        self._head = encode(head)[:-1]
        self._choices = choices
        self._include_usage = include_usage
        self._tally = tally
        self._finished: set[bytes] = set()
        self._held: list[bytes] | None = None
        self._template: _Template | None = None

    def feed(self, payloads: Sequence[bytes]) -> bytes:
        """Return what of these events goes to the caller now; what comes after `[DONE]` or a failure is dropped."""
        out = []
        for payload in payloads:
            if self.done or self.failed:
                break
            template = self._template
            if template is not None and self._held is None:
                before, after, out_before, out_after = template
                if payload.startswith(before) and payload.endswith(after):
                    text = payload[len(before) : len(payload) - len(after)]
                    if b'"' not in text and not text.endswith(b"\\") and len(payload) >= len(before) + len(after):
                        self._tally.untold_bytes += len(text)
                        out.append(out_before + text + out_after)
                        continue
            if payload == DONE:
                self.done = True
            elif frame := self._take(payload):
                if self._held is None:
                    out.append(frame)
                else:
                    self._held.append(frame)
        return b"".join(out)

    def end(self, usage_json: bytes) -> bytes:
        """Return the rest of a complete stream: the held frames with the usage, then `[DONE]`."""
        frames = self._held or [encode_event(self._head + b',"choices":[' + _FINISH + b"]}")]
        if self._include_usage:
            frames.append(encode_event(self._head + b',"choices":[],"usage":' + usage_json + b"}"))
        else:
            frames[0] = frames[0][:-3] + b',"usage":' + usage_json + b"}\n\n"
        return b"".join(frames) + encode_event(DONE)

    def interrupt(self, error_json: bytes, usage_json: bytes | None) -> bytes:
        """Return the end of a stream that died: an error event with what was charged, and no `[DONE]`."""
        usage = b"" if usage_json is None else b',"usage":' + usage_json
        return encode_event(b'{"error":' + error_json + usage + b"}")

    def _take(self, payload: bytes) -> bytes:
        """Take one event apart and return the frame that it becomes; empty if nothing is left of it."""
        try:
            members = decode_members(payload)
            choices = decode_choices(members["choices"]) if "choices" in members else []
            read_report(members, self._tally)
            if not is_null(members.get("error", msgspec.Raw(b"null"))):
                self.failed = True
                return b""
            cleaned = [clean_choice(choice, "delta", self._tally) for choice in choices]
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.failed = True
            return b""
        if not cleaned:
            return b""
        self.begun = True
        frame = self._frame(cleaned, other_members(members))
        self._note_finish(choices)
        if self._held is None and len(cleaned) == 1:
            self._learn(payload, frame)
        return frame

    def _frame(self, choices: Sequence[Members], others: Members) -> bytes:
        rest = b"" if not others else b"," + encode(others)[1:-1]
        return encode_event(self._head + rest + b',"choices":' + encode(choices) + b"}")

    def _note_finish(self, choices: Sequence[Members]) -> None:
        for choice in choices:
            reason = choice.get("finish_reason")
            if reason is not None and not is_null(reason):
                self._finished.add(bytes(choice.get("index", b"0")))
        if len(self._finished) >= self._choices and self._held is None:
            self._held = []

    def _learn(self, payload: bytes, frame: bytes) -> None:
        """Remember a frame whose only text is its content as the template of those to come."""
        found = payload.count(_CONTENT) == 1 == frame.count(_CONTENT) and b'"logprobs":{' not in payload
        if not found or b"token_ids" in payload or b'"usage":{' in payload:
            return
        text = _text_after(payload, _CONTENT)
        if text is None or text != _text_after(frame, _CONTENT):
            return
        start, out_start = payload.index(_CONTENT), frame.index(_CONTENT)
        begin, out_begin = start + len(_CONTENT) + 1, out_start + len(_CONTENT) + 1
        self._template = _Template(
            payload[:begin], payload[begin + len(text) :], frame[:out_begin], frame[out_begin + len(text) :]
        )


def _text_after(data: bytes, key: bytes) -> bytes | None:
    """Return the plain string (no quote or backslash in it, not empty) that follows a key, or None."""
    begin = data.index(key) + len(key)
    if data[begin : begin + 1] != b'"':
        return None
    end = data.find(b'"', begin + 1)
    text = data[begin + 1 : end]
    return text if end > begin + 1 and b"\\" not in text else None
