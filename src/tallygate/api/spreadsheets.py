"""Tables as CSV (RFC 4180) that a spreadsheet only shows: a text that it would run as a formula is guarded.

A guarded text has an apostrophe in front, and so has one that begins with an apostrophe, so that it can be taken off
again. Amounts and counts are left as they are.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_RISKY: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")
"""How a text begins that a spreadsheet may run (with the full-width forms), or that looks like a guarded one."""


def guard(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_RISKY) else text


def write_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], texts: frozenset[str]) -> bytes:
    """Return rows below a header; `texts` names the columns with words that are not ours."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: guard(row[name] or "") if name in texts else row[name] for name in columns})
    return file.getvalue().encode()
