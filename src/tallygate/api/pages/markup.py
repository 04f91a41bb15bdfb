"""HTML as values: whatever is not markup already is escaped, so no page has to remember to do it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_VOID: Final = frozenset({"meta", "link", "br"})
"""Elements that have no end."""


class Markup(str):
    """A text that is HTML."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str) -> Markup:
    """Return an element; `class_` is the attribute `class`, and other underscores are hyphens."""
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{told}>" if name in _VOID else f"<{name}{told}>{join(content)}</{name}>")


def join(content: Iterable[str]) -> Markup:
    """Return pieces one after the other, those that are not markup escaped."""
    return Markup("".join([piece if isinstance(piece, Markup) else escape(piece) for piece in content]))


def prose(words: str) -> Markup:
    """Return a sentence in which `code` stands between backticks."""
    return join([tag("code", piece) if index % 2 else piece for index, piece in enumerate(words.split("`"))])


def table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    """Return a table that can be scrolled sideways where there is no room for it."""
    head = tag("tr", *(tag("th", name, scope="col") for name in heads))
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    drawn = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", drawn, class_="wide", tabindex="0", role="region", aria_label=caption)


def sample(text: str) -> Markup:
    """Return a text that is shown as it is."""
    return tag("pre", tag("code", text), tabindex="0")
