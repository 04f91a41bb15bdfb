"""Counts the tokens of a text that nobody has counted for us: by the model's tokenizer, else by bytes per token.

How many bytes a token has depends on the model and on what it is asked: about four in English, fewer in many other
scripts. We begin with three, rather too many tokens than too few, and learn from every answer whose upstream tells
its tokens believably. What was learned is a quotient of two integers that are halved from time to time, so that old
answers fade; no upstream can push it beyond bounds. A count says how it was made, and the books record that.

A tokenizer is a help and never a danger: a text that it cannot take, or that would keep everybody else waiting, is
counted by its bytes, since an ending must not fail over how exactly it can be told.

Known weak spot: whoever sends most of a model's calls decides what is learned, within the bounds. What that can cost
whom is said in `docs/money.md`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES_PER_TOKEN: Final = 3
"""Bytes of text per token to begin with: fewer than English has (about four), so that we rather count too many."""

_MILLI_MIN: Final = 2000
_MILLI_MAX: Final = 8000
"""Thousandths of a byte per token that are believed: below two no tokenizer works, above eight no language is."""

_WINDOW_TOKENS: Final = 2**17
"""After so many tokens, what was learned counts half: an hour or so of one busy model."""

_BEGIN_TOKENS: Final = 2**10
"""How much the first guess weighs."""


TOKENIZER: Final = "tokenizer"
"""How a count says that a tokenizer made it."""

TOKENIZED_BYTES_MAX: Final = 256 * 1024
"""The most text that one count gives to a tokenizer: a quarter of a second, at a megabyte a second."""


class UncountableError(Exception):
    """A tokenizer has no answer for a text."""


class Tokenizer(Protocol):
    """A model's own way from text to tokens."""

    def count(self, text: str) -> int:
        """Return how many tokens a text has.

        Raises:
            UncountableError: It cannot tell.
        """


class Count(NamedTuple):
    """A number of tokens, and how it was found: `tokenizer`, or the ratio as `3.000 bytes per token`."""

    tokens: int
    basis: str


class TokenCounter:
    """How the tokens of one model are counted.

    Args:
        tokenizer: The model's own, if the operator has configured it.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer
        self._bytes = BYTES_PER_TOKEN * _BEGIN_TOKENS
        self._tokens = _BEGIN_TOKENS

    @property
    def millibytes_per_token(self) -> int:
        """The ratio that is in force, in thousandths of a byte."""
        return min(max(self._bytes * 1000 // self._tokens, _MILLI_MIN), _MILLI_MAX)

    def count_bytes(self, written_bytes: int) -> Count:
        """Return the tokens of so many bytes, rounded up."""
        milli = self.millibytes_per_token
        return Count(-(-written_bytes * 1000 // milli), f"{milli // 1000}.{milli % 1000:03d} bytes per token")

    def tokenizes(self, written_bytes: int) -> bool:
        """Return whether so much text is given to a tokenizer."""
        return self.tokenizer is not None and written_bytes <= TOKENIZED_BYTES_MAX

    def count(self, texts: Sequence[str] | None, written_bytes: int) -> Count:
        """Return the tokens of texts; by their bytes where no tokenizer takes them, or no text was kept for it."""
        if self.tokenizer is not None and texts is not None and self.tokenizes(written_bytes):
            with contextlib.suppress(UncountableError):
                return Count(sum(self.tokenizer.count(text) for text in texts), TOKENIZER)
        return self.count_bytes(written_bytes)

    def learn(self, written_bytes: int, tokens: int) -> None:
        """Take note of an answer whose upstream has told believably how many tokens its text had."""
        self._bytes += written_bytes
        self._tokens += tokens
        if self._tokens > _WINDOW_TOKENS:
            self._bytes >>= 1
            self._tokens >>= 1
