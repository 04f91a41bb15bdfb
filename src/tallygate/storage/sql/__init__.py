"""The schema and the named queries, as SQL files that any SQL tool can read."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _load_queries(text: str) -> dict[str, str]:
    parts = _NAME.split(text)[1:]
    return {name: query.strip() for name, query in zip(parts[::2], parts[1::2], strict=True)}


SCHEMA: Final = (files(__package__) / "schema.sql").read_text()
QUERIES: Final = _load_queries((files(__package__) / "queries.sql").read_text())
