"""The schema, the migrations to it and the named queries, as SQL files that any SQL tool can read.

`schema.sql` is the truth for a new store; `migrations/NNNN_*.sql` bring a store of version NNNN - 1 to NNNN. A test
holds the two to the same result.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _load_queries(text: str) -> dict[str, str]:
    parts = _NAME.split(text)[1:]
    return {name: query.strip() for name, query in zip(parts[::2], parts[1::2], strict=True)}


def _load_migrations() -> dict[int, str]:
    found = (files(__package__) / "migrations").iterdir()
    return {int(file.name[:4]): file.read_text() for file in found if file.name.endswith(".sql")}


SCHEMA: Final = (files(__package__) / "schema.sql").read_text()
QUERIES: Final = _load_queries((files(__package__) / "queries.sql").read_text())
MIGRATIONS: Final = dict(sorted(_load_migrations().items()))
"""By the version that each one makes."""
