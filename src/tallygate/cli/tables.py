"""Tables and amounts as people read them; rich knows how to draw, nobody else here does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from tallygate.core.calendar import say_time
from tallygate.core.money import format_cents, parse_usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, amounts: frozenset[str] = frozenset()) -> Table:
    """Return a table; the columns named in `amounts` are set to the right."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in amounts else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # as it is: a name may look like markup
    return drawn


def pairs(rows: Sequence[tuple[str, str]], *, right: bool = False) -> Text:
    """Return names with what they stand for, one below the other; with `right`, both columns end flush."""
    name_width = max(len(name) for name, _ in rows)
    value_width = max(len(value) for _, value in rows) if right else 0
    return Text("\n".join(f"{name:<{name_width}}  {value:>{value_width}}" for name, value in rows))


def count(number: int, noun: str) -> str:
    """Return a number of things with their noun, whose two forms are given as `batch batches`."""
    one, many = noun.split()
    return f"{number:,} {one if number == 1 else many}"


def dollars(usd: str) -> str:
    """Return an exact amount for people: `0.0000175` is `$0.0000175`, `5` is `$5.00`."""
    text = format_cents(parse_usd(usd))
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


def moment(time_ns: int | None) -> str:
    """Return a time for people, in UTC."""
    return "" if time_ns is None else say_time(time_ns)
