"""On which line of a TOML text a value stands, so that a problem can name it.

The standard library's parser tells no lines. This one reads a text that the standard library has already accepted,
so it tells where things begin and checks nothing; where it loses its way, it knows fewer lines.

Invariant: nothing raises, whatever the text is.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

KeyPath = tuple[str | int, ...]
"""A value's place: keys, and indices of arrays: `("upstreams", 0, "name")`."""

_BLANK: Final = re.compile(r"[ \t]*")
_BLANK_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


class _LostError(Exception):
    """The text is not what was expected."""


class LineFinder:
    """Finds the line of a value, or that of the nearest thing around it which has one.

    Args:
        text: A whole TOML document.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_to = 0
        self._table_counts: dict[KeyPath, int] = {}
        self._lines: dict[KeyPath, int] = {}
        try:
            self._read_document()
        except (_LostError, RecursionError):
            return

    def __call__(self, path: KeyPath) -> int | None:
        """Return the line of a value, counted from 1; None if nothing around it has one, either."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None

    def _read_document(self) -> None:
        table: KeyPath = ()
        while self._peek(_BLANK_LINES):
            if self._text[self._at] == "[":
                table = self._read_header()
            else:
                self._read_pair(table)

    def _read_header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        self._take("[[" if is_array else "[")
        *parents, last = self._read_key()
        path: KeyPath = ()
        for part in parents:
            self._note((*path, part))
            path = self._enter((*path, part))
        path = (*path, last)
        self._note(path)
        if is_array:
            self._table_counts[path] = self._table_counts.get(path, 0) + 1
            path = self._enter(path)
            self._note(path)
        self._take("]]" if is_array else "]")
        return path

    def _enter(self, path: KeyPath) -> KeyPath:
        """Return the table that a path means: of an array of tables, the last one."""
        count = self._table_counts.get(path)
        return path if count is None else (*path, count - 1)

    def _read_pair(self, table: KeyPath) -> None:
        key = self._read_key()
        for length in range(1, len(key) + 1):
            self._note((*table, *key[:length]))
        self._take("=")
        self._read_value((*table, *key))

    def _read_key(self) -> tuple[str, ...]:
        parts = [self._read_key_part()]
        while self._peek(_BLANK) == ".":
            self._at += 1
            parts.append(self._read_key_part())
        return tuple(parts)

    def _read_key_part(self) -> str:
        if self._peek(_BLANK) not in ("'", '"'):
            return self._match(_BARE)
        try:
            return str(tomllib.loads(f"key = {self._match(_STRING)}")["key"])
        except tomllib.TOMLDecodeError:
            raise _LostError from None

    def _read_value(self, path: KeyPath) -> None:
        first = self._peek(_BLANK)
        if first == "[":
            self._read_array(path)
        elif first == "{":
            self._read_inline_table(path)
        elif first in ("'", '"'):
            self._match(_STRING)
        else:
            self._match(_SCALAR)

    def _read_array(self, path: KeyPath) -> None:
        self._take("[")
        index = 0
        while self._peek(_BLANK_LINES) != "]":
            self._note((*path, index))
            self._read_value((*path, index))
            index += 1
            if self._peek(_BLANK_LINES) != "]":
                self._take(",")
        self._take("]")

    def _read_inline_table(self, path: KeyPath) -> None:
        self._take("{")
        while self._peek(_BLANK_LINES) != "}":
            self._read_pair(path)
            if self._peek(_BLANK_LINES) != "}":
                self._take(",")
        self._take("}")

    def _note(self, path: KeyPath) -> None:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        self._lines.setdefault(path, self._line)

    def _peek(self, blank: re.Pattern[str]) -> str:
        """Return the character behind what is blank, empty at the end of the text."""
        match = blank.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _take(self, expected: str) -> None:
        self._peek(_BLANK)
        if not self._text.startswith(expected, self._at):
            raise _LostError
        self._at += len(expected)

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None or match.end() == self._at:
            raise _LostError
        self._at = match.end()
        return match[0]
