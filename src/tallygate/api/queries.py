"""What a query string asks, read strictly: what is unknown, repeated or no answer to its question is refused by name.

Days are dates of UTC, both ends included. A cursor is where a page ended; it is good for the question that it came
from and no other, and says nothing that its bearer could not ask anyway.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from tallygate.core.calendar import DAY_NS
from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import nameable
from tallygate.core.ledger.rollup import Days

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tallygate.api.http import Request

VALUE_CHARACTERS_MAX: Final = 1000
"""Longer than any id, name or text by which calls are told apart."""
FIELDS_MAX: Final = 50
DAYS_DEFAULT: Final = 30
DAYS_MAX: Final = 366
"""A year: for more, ask year by year."""
TOTAL: Final = "total"
"""What `by` is for one row of everything."""

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER: Final = re.compile(r"[0-9]{1,6}")
_EPOCH: Final = date(1970, 1, 1).toordinal()
_STAMP_BYTES: Final = 8


def read_strictly(request: Request, known: Iterable[str]) -> dict[str, str]:
    """Return the parameters of a query, each of which must be known and be there once.

    Raises:
        Refusal: One is not, or its value is empty or far too long.
    """
    try:
        pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        pairs = None
    if pairs is None:
        raise Refusal(Code.INVALID_VALUE, f"A query has at most {FIELDS_MAX} parameters.")
    fields: dict[str, str] = {}
    names = tuple(known)
    for name, value in pairs:
        if name not in names:
            message = f"This route takes {', '.join(names)}." if names else "This route takes no parameters."
            raise Refusal(Code.UNKNOWN_PARAMETER, message, param=nameable(name))
        if name in fields:
            raise Refusal(Code.DUPLICATE_PARAMETER, f"{name} is given twice.", param=name)
        if not 0 < len(value) <= VALUE_CHARACTERS_MAX:
            raise invalid(name, f"1 to {VALUE_CHARACTERS_MAX} characters")
        fields[name] = value
    return fields


def invalid(name: str, demand: str) -> Refusal:
    """Return the refusal of a value."""
    return Refusal(Code.INVALID_VALUE, f"{name} must be {demand}.", param=name)


def read_day(fields: Mapping[str, str], name: str) -> int | None:
    """Return a date as the number of days since 1970, None if it is not given."""
    text = fields.get(name)
    if text is None:
        return None
    try:
        day = date.fromisoformat(text).toordinal() - _EPOCH if _DATE.fullmatch(text) else -1
    except ValueError:
        day = -1
    if day < 0:
        raise invalid(name, "a date of UTC such as 2026-01-31")
    return day


def read_days(fields: Mapping[str, str], now_ns: int) -> Days:
    """Return the days from `from` to `to`: by default the last thirty, today included."""
    last = read_day(fields, "to")
    last = now_ns // DAY_NS if last is None else last
    first = read_day(fields, "from")
    first = max(last - DAYS_DEFAULT + 1, 0) if first is None else first
    if first > last:
        raise invalid("from", "no later than to")
    if last - first >= DAYS_MAX:
        raise invalid("from", f"less than {DAYS_MAX} days before to")
    return Days(first, last)


def read_by(fields: Mapping[str, str], allowed: Sequence[str], default: str) -> tuple[str, ...]:
    """Return what rows shall be apart by, in the order asked for."""
    names = tuple(fields.get("by", default).split(","))
    if names == (TOTAL,):
        return ()
    if len(set(names)) != len(names) or not set(names) <= set(allowed):
        raise invalid("by", f"{TOTAL}, or some of {', '.join(allowed)}, each once, with commas between")
    return names


def read_limit(fields: Mapping[str, str], default: int, limit_max: int) -> int:
    """Return how many rows are wanted at most."""
    text = fields.get("limit", str(default))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= limit_max:
        raise invalid("limit", f"a number from 1 to {limit_max}")
    return int(text)


def write_cursor(fields: Mapping[str, str], place: object) -> str:
    """Return where a page of an answer ended, for the next one to go on."""
    return urlsafe_b64encode(_stamp(fields) + msgspec.msgpack.encode(place)).decode().rstrip("=")


def read_cursor(fields: Mapping[str, str], form: Any) -> Any:
    """Return the place of a cursor, None if none is given.

    Raises:
        Refusal: It is no cursor, or one of another question.
    """
    text = fields.get("cursor")
    if text is None:
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place = msgspec.msgpack.decode(raw[_STAMP_BYTES:], type=form)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raw, place = b"", None
    if raw[:_STAMP_BYTES] != _stamp(fields):
        raise invalid("cursor", "the next_cursor of an answer, sent with the same parameters")
    return place


def _stamp(fields: Mapping[str, str]) -> bytes:
    """Return what tells a question from another, however many rows of it are wanted at a time."""
    question = sorted((name, value) for name, value in fields.items() if name not in {"cursor", "limit", "format"})
    return sha256(msgspec.json.encode(question)).digest()[:_STAMP_BYTES]
