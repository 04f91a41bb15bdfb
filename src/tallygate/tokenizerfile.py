"""A model's tokenizer, read from the `tokenizer.json` that its makers publish.

Only for counting what nobody has counted for us, so it is an extra that most gateways do without. Nothing is ever
fetched: the file is the operator's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.core.counting import UncountableError

if TYPE_CHECKING:
    from pathlib import Path


class TokenizerFileError(Exception):
    """A tokenizer file cannot be used; says what to do about it."""


class FileTokenizer:
    """A tokenizer of a file.

    Args:
        path: The file.

    Raises:
        TokenizerFileError: It cannot be read, or is no tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer  # noqa: PLC0415  (an extra: only who has such a file needs it)
        except ImportError:
            message = f"{path} needs a library that is not installed; run: pip install 'tallygate[tokenizers]'"
            raise TokenizerFileError(message) from None
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001  (the library raises nothing more special)
            raise TokenizerFileError(f"{path} cannot be used as a tokenizer: {error}") from None

    def count(self, text: str) -> int:
        """Return how many tokens a text has, without any that a template would add.

        Raises:
            UncountableError: The tokenizer has no token for a part of it.
        """
        try:
            count = len(self._tokenizer.encode(text, add_special_tokens=False))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  (the library raises plain exceptions, and its panics are not even those)
            count = None
        if count is None:
            raise UncountableError  # outside of `except`, since the library's words may hold the text
        return count
