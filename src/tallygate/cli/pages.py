"""Answers that come page by page, put together for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tallygate.cli.operator import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.cli.operator import Operator


def ask_pages(
    operator: Operator, path: str, given: Mapping[str, str | None], *, rows_max: int | None, page_rows: int
) -> dict[str, Any]:
    """Return the answer to a question with the rows of all its pages, or with so many of them.

    Args:
        operator: Who answers.
        path: The route.
        given: The parameters; what is None is left out.
        rows_max: How many rows are wanted at most; None is all.
        page_rows: How many to ask for at a time.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    rows: list[Any] = []
    while True:
        left = page_rows if rows_max is None else min(page_rows, rows_max - len(rows))
        page = ask(operator, "GET", f"{path}?{urlencode({**fields, 'limit': left})}")
        rows += page["data"]
        if not page["has_more"] or len(rows) == rows_max:
            return {**page, "data": rows}
        fields["cursor"] = page["next_cursor"]
        # What was left out at first has been filled in: the pages after midnight belong to the same days.
        fields |= {name: page[name] for name in ("from", "to") if name in page}
