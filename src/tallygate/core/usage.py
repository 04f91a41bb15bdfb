"""How many tokens an inference took: what the upstream reported if that can be true, else what we counted.

A report is believed when its numbers are non-negative integers that fit the bytes that came: not absent, not
fewer tokens than the node itself sent one by one, not so few that a token would have to be hundreds of bytes, not
far more than the bytes can hold. Anything else is replaced by our own count and marked `estimated`.

A frame that comes again, byte for byte, is either a frame sent twice or the same token said twice, and nobody can tell
which from the frames alone. So what the node sent one by one is a range, from the tokens of all different frames to
those of all frames, and a report within it is the better witness: it can be true, and it is what the node bills.

Our count of the answer is the node's own per-token data where it sends any (classic nodes are forced to send
logprobs), else what `counting` makes of its text. A frame is not a token. Our count of the prompt is the node's prompt
token ids where it sends them, else `counting`'s too, and never above the prompt's bound. How an answer was counted is
told with the count, for the books.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.counting import BYTES_PER_TOKEN, TOKENIZED_BYTES_MAX, TOKENIZER, TokenCounter
from tallygate.core.ledger.entry import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import TypeIs

    from tallygate.core.counting import Count

TOKENS_MAX: Final = 10**9
"""No report beyond this is believed, whatever the bytes say (the chain itself refuses more than 10^6)."""

_BYTES_PER_TOKEN_MAX: Final = 256
"""The longest entries of real vocabularies (runs of white space) are about this many bytes."""

_FRAMING_TOKENS: Final = 5
"""What the usual chat templates put around a message: begin, role, line end, end, line end."""

_decode_text = msgspec.json.Decoder(str).decode

_UNSEEN_TOKENS_PER_CHOICE: Final = 16
"""Special tokens, tool-call markers and the like that a token counter sees and a reader does not."""


class Usage(NamedTuple):
    """The tokens that an inference is charged for, and how they were found.

    Attributes:
        basis: How the answer was counted, where we did: `node`, `tokenizer`, `3.000 bytes per token`, or two of them.
    """

    prompt_tokens: int
    completion_tokens: int
    flags: Flag
    basis: str | None = None

    @property
    def estimated(self) -> bool:
        """Whether we counted, because the upstream's report was missing or could not be true."""
        return bool(self.flags and self.flags & Flag.ESTIMATED)  # `&` makes a flag anew, which takes its time


@dataclass(slots=True)
class Tally:
    """What has been seen of one answer so far.

    Attributes:
        prompt_bytes: Bytes of the text that was asked.
        prompt_tokens_max: The bound that the hold was made for.
        completion_tokens_max: The same for the answer: what was asked for at most, for all choices together.
        choices: How many choices were asked for.
        tokens: Tokens that the node itself told one by one.
        repeated_tokens: Those of them that came in frames which had come before, byte for byte.
        untold_bytes: Bytes of answer text (reasoning and tool calls included) that came without per-token data.
        prompt_tokens: Prompt tokens that the node itself listed; None if it did not.
        report: The last usage object that the upstream sent.
        counter: Counts what the node has not told.
        prompt_texts: Gives the texts that were asked, for a tokenizer.
        texts: By choice, the pieces of answer text as JSON strings; None where no tokenizer wants them (any more).
        texts_bytes: How much they are, which is bounded: what is longer is not tokenized.
        told_frames: The hashes of the frames that told tokens; two that collide would only widen what is believed.
    """

    prompt_bytes: int
    prompt_tokens_max: int
    completion_tokens_max: int
    choices: int = 1
    tokens: int = 0
    untold_bytes: int = 0
    prompt_tokens: int | None = None
    report: Mapping[str, object] | None = None
    counter: TokenCounter = field(default_factory=TokenCounter, compare=False)
    prompt_texts: Callable[[], Sequence[str]] | None = field(default=None, compare=False)
    texts: dict[bytes, list[bytes]] | None = None
    texts_bytes: int = 0
    repeated_tokens: int = 0
    told_frames: set[int] = field(default_factory=set, compare=False)

    def __post_init__(self) -> None:
        if self.counter.tokenizer is not None:
            self.texts = {}

    def note_told(self, frame: bytes, tokens: int) -> None:
        """Take note that a frame of a stream has told so many tokens, which are in `tokens` already."""
        mark = hash(frame)
        if mark in self.told_frames:
            self.repeated_tokens += tokens
        else:
            self.told_frames.add(mark)

    def add_untold(self, written_bytes: int, choice: bytes, *texts: bytes) -> None:
        """Take note of answer text of which the node tells no tokens.

        Args:
            written_bytes: How much it is.
            choice: The index of its choice, as JSON.
            texts: The text itself, as JSON strings; needed only while `texts` is not None.
        """
        self.untold_bytes += written_bytes
        if self.texts is None or not texts:
            return
        self.texts_bytes += len(choice) + sum(map(len, texts))
        if self.texts_bytes > TOKENIZED_BYTES_MAX:
            self.texts = None
        else:
            self.texts.setdefault(choice, []).extend(texts)

    def usage(self, flags: Flag = Flag(0)) -> Usage:  # noqa: B008  (an immutable constant)
        """Return the tokens to charge for, believing the report if it can be true."""
        if self.report is None:
            return self.counted(flags | Flag.USAGE_MISSING)
        prompt, completion = self.report.get("prompt_tokens"), self.report.get("completion_tokens")
        if _is_count(prompt) and _is_count(completion) and self._is_plausible(prompt, completion):
            if self.untold_bytes and completion and not self.tokens and not self._reasoning_tokens():
                self.counter.learn(self.untold_bytes, completion)
            return Usage(prompt, completion, flags)
        return self.counted(flags | Flag.USAGE_IMPLAUSIBLE)

    def counted(self, flags: Flag = Flag(0)) -> Usage:  # noqa: B008  (an immutable constant)
        """Return our own count, whatever was reported."""
        prompt = self.prompt_tokens or self._count_prompt()
        completion, basis = self.tokens, "node"
        if self.untold_bytes or not self.tokens:
            untold = self._count_untold()
            completion += untold.tokens
            basis = f"node, {untold.basis}" if self.tokens else untold.basis
        return Usage(min(max(prompt, 1), self.prompt_tokens_max), completion, flags | Flag.ESTIMATED, basis)

    def compared(self) -> tuple[int, int] | None:
        """Return the answer's tokens as reported, and by our own quick count; None where none were reported."""
        reported = None if self.report is None else self.report.get("completion_tokens")
        if not _is_count(reported):
            return None
        return reported, self.tokens - (-self.untold_bytes * 1000 // self.counter.millibytes_per_token)

    def _count_prompt(self) -> int:
        texts = None
        if self.prompt_texts is not None and self.counter.tokenizes(self.prompt_bytes):
            texts = self.prompt_texts()
        counted = self.counter.count(texts, self.prompt_bytes)
        framing = 0 if texts is None or counted.basis != TOKENIZER else _FRAMING_TOKENS * len(texts)
        return counted.tokens + framing

    def _count_untold(self) -> Count:
        texts = None if self.texts is None else [_join(pieces) for pieces in self.texts.values()]
        return self.counter.count(texts, self.untold_bytes)

    def _is_plausible(self, prompt: int, completion: int) -> bool:
        if prompt == 0 or (self.prompt_tokens is not None and prompt != self.prompt_tokens):
            return False
        if completion > max(self.completion_tokens_max, self.tokens + -(-self.untold_bytes // BYTES_PER_TOKEN)):
            return False  # more than was asked for, and more than came
        least = self.tokens - self.repeated_tokens + -(-self.untold_bytes // _BYTES_PER_TOKEN_MAX)
        reasoning = 0 if self.tokens else self._reasoning_tokens()
        unseen = _UNSEEN_TOKENS_PER_CHOICE * self.choices + (reasoning if reasoning <= completion else 0)
        return least <= completion <= self.tokens + self.untold_bytes + unseen

    def _reasoning_tokens(self) -> int:
        """Return the tokens that were reasoned and perhaps never shown, which bytes cannot account for."""
        details = (self.report or {}).get("completion_tokens_details")
        hidden = details.get("reasoning_tokens") if isinstance(details, dict) else None
        return hidden if _is_count(hidden) else 0


def add_usages(usages: Sequence[Usage]) -> Usage:
    """Return what all parts of an inference are charged for together."""
    flags = Flag(0)
    for usage in usages:
        flags |= usage.flags
    basis = ", ".join(dict.fromkeys(usage.basis for usage in usages if usage.basis is not None))
    prompt, completion = sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages)
    return Usage(prompt, completion, flags, basis or None)


def add_reports(reports: Sequence[Mapping[str, object] | None]) -> Mapping[str, object] | None:
    """Return the details of the reports on all parts of an inference, added up."""
    added: dict[str, object] = {}
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        counts: dict[str, int] = {}
        for report in reports:
            details = (report or {}).get(name)
            for kind, count in details.items() if isinstance(details, dict) else ():
                if _is_count(count):
                    counts[kind] = counts.get(kind, 0) + count
        added[name] = counts
    return added


def charged_after_crash(prompt_tokens_max: int) -> Usage:
    """Return what a caller is charged for whose call a crash has cut off, where the operator charges the prompt.

    All that is known then is the prompt's bound, which counts bytes; of the answer nothing is known, so nothing is
    charged.
    """
    return Usage(-(-prompt_tokens_max // BYTES_PER_TOKEN), 0, Flag.ESTIMATED)


def _join(pieces: Sequence[bytes]) -> str:
    """Return the text of JSON strings, one after the other; a piece that is none counts as it stands."""
    texts = []
    for piece in pieces:
        try:
            texts.append(_decode_text(piece))
        except (msgspec.DecodeError, UnicodeDecodeError):
            texts.append(piece.decode(errors="replace"))
    return "".join(texts)


def _is_count(value: object) -> TypeIs[int]:
    return type(value) is int and 0 <= value <= TOKENS_MAX
