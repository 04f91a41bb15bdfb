"""Reads tables of a configuration by the schema, and notes every problem on the way.

A table is read as a whole when it is made, so that one wrong value hides no other. Taking a value that was wrong
raises `BrokenError`: what needs it cannot be made, which is no new problem.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from tallygate.config.keys import ABSENT
from tallygate.config.kinds import WrongValueError, name_type
from tallygate.config.settings import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tallygate.config.keys import Key, Section
    from tallygate.config.lines import KeyPath

P = ParamSpec("P")
T = TypeVar("T")

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_NAME_LENGTH_MAX: Final = 100
_BROKEN: Final = object()


class BrokenError(Exception):
    """Something cannot be made because of a problem that has been noted."""


def name_path(path: KeyPath) -> str:
    """Return a place as people write it: `upstreams[0].models."our/id"`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        name = str(part)
        shown = name if len(name) <= _NAME_LENGTH_MAX else f"{name[:_NAME_LENGTH_MAX]}…"
        quoted = shown.replace("\\", "\\\\").replace('"', '\\"')
        printable = "".join(letter if letter.isprintable() else "?" for letter in quoted)
        text += ("." if text else "") + (shown if _BARE.fullmatch(shown) else f'"{printable}"')
    return text


class Report:
    """The problems found so far.

    Args:
        lines: Tells on which line something stands.
    """

    def __init__(self, lines: Callable[[KeyPath], int | None]) -> None:
        self.problems: list[Problem] = []
        self._lines = lines

    def add(self, path: KeyPath, complaint: str, remedy: str) -> None:
        """Note a problem; the complaint completes a sentence that begins with the path."""
        name = name_path(path)
        self.problems.append(Problem(name, self._lines(path), f"{name or 'The file'} {complaint}", remedy))


class Attempt(Generic[T]):
    """Something that was tried: what came of it, to be taken when everything else has been tried, too."""

    __slots__ = ("_made",)

    def __init__(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        self._made: list[T] = []
        with contextlib.suppress(BrokenError):
            self._made.append(make(*args, **kwargs))

    def take(self) -> T:
        """Return what was made; raises `BrokenError` if it could not be."""
        for made in self._made:
            return made
        raise BrokenError


def take_made(attempts: Iterable[Attempt[T]]) -> tuple[T, ...]:
    """Return what came of those attempts that succeeded."""
    made = []
    for attempt in attempts:
        with contextlib.suppress(BrokenError):
            made.append(attempt.take())
    return tuple(made)


class Table:
    """One table, read by its section.

    Args:
        section: What it may hold.
        raw: The table, as TOML has it; an empty one where there is none.
        path: Where it stands.
        report: Takes the problems.
        is_complete: Whether unknown keys are problems.
    """

    def __init__(
        self, section: type[Section], raw: object, path: KeyPath, report: Report, *, is_complete: bool = True
    ) -> None:
        self.path = path
        self._report = report
        self._is_broken = not isinstance(raw, dict)
        self._raw: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
        self._values: dict[str, Any] = {}
        if self._is_broken:
            keys = ", ".join(section.declared())
            report.add(path, f"must be a table, and is {name_type(raw)}.", f"Write a table with these keys: {keys}.")
            return
        if is_complete:
            self._refuse_unknown(section)
        for name, key in section.declared().items():
            self._values[name] = self._read(name, key)

    def __getitem__(self, key: Key[T]) -> T:
        """Return a value, or its default; raises `BrokenError` if it was wrong."""
        value: T = self._values.get(key.name, _BROKEN)
        if value is _BROKEN:
            raise BrokenError
        return value

    def has(self, key: Key[Any]) -> bool:
        """Return whether a key is written there, be it right or wrong."""
        return key.name in self._raw

    def at(self, key: Key[Any], *more: str | int) -> KeyPath:
        """Return where a key stands, or something inside its value."""
        return (*self.path, key.name, *more)

    def item(self, section: type[Section], key: Key[Any], *more: str | int) -> Table:
        """Return the table that is the value of a key, or that is inside of it; where there is none, an empty one.

        Raises:
            BrokenError: The value was wrong.
        """
        raw: Any = self[key]
        for part in more:
            raw = raw[part]
        return Table(section, {} if raw is None else raw, self.at(key, *more), self._report)

    def broken(self, key: Key[Any] | None, complaint: str, remedy: str) -> BrokenError:
        """Note a problem with a key, or with the table itself; return what to raise if nothing can go on."""
        self._report.add(self.path if key is None else self.at(key), complaint, remedy)
        return BrokenError()

    def _read(self, name: str, key: Key[Any]) -> Any:
        if name not in self._raw:
            if key.is_required:
                self._report.add((*self.path, name), "is missing.", f"Write {name} = {key.kind.noun}.")
                return _BROKEN
            return None if key.default is ABSENT else key.read_default()
        try:
            return key.kind.read(self._raw[name])
        except WrongValueError as error:
            self._report.add((*self.path, name), error.complaint, error.remedy)
            return _BROKEN

    def _refuse_unknown(self, section: type[Section]) -> None:
        known = section.declared()
        for name in self._raw:
            if name in known:
                continue
            path = (*self.path, name)
            if (condition := section.elsewhere.get(name)) is not None:
                self._report.add(path, "is out of place.", f"It belongs to {condition}; remove it, or change that.")
            else:
                self._report.add(path, "is unknown.", suggest(name, known))


def suggest(name: str, known: Iterable[str]) -> str:
    """Return what a mistyped key may have been meant to be."""
    names = list(known)
    close = difflib.get_close_matches(str(name)[:_NAME_LENGTH_MAX].lower(), names, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known here: {', '.join(names)}."
