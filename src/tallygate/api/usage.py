"""What an account has used and what it cost, added up by day, model, API key, user and tag.

The sums are those of the entries, to the last pico-dollar. `user` and `tag` are asked for by the texts that a call
came with, and shown as references, which is all that is kept of them; an answer to a question about one text names its
reference, so that whoever knows the texts can put them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tallygate.api.http import Response, Route
from tallygate.api.queries import (
    invalid,
    read_by,
    read_cursor,
    read_days,
    read_limit,
    read_strictly,
    write_cursor,
)
from tallygate.api.spreadsheets import write_table
from tallygate.core.calendar import show_day
from tallygate.core.ledger.rollup import CALL_DIMENSIONS, DAY, Place, Question
from tallygate.core.money import format_usd
from tallygate.core.tags import TAG, USER, name_half

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.ledger.rollup import CallSums, Key
    from tallygate.core.tags import Tags
    from tallygate.ports import CallHistory
    from tallygate.relay import Sink

DIMENSIONS: Final = (DAY, *CALL_DIMENSIONS)
PARAMETERS: Final = ("from", "to", "by", *CALL_DIMENSIONS, "limit", "cursor", "format")
ROWS_DEFAULT: Final = 500
ROWS_MAX: Final = 5000
"""Some megabytes of JSON."""
SUMS: Final = (
    *("calls", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("base_cost_usd", "platform_fee_usd", "total_cost_usd"),
    *("estimated_calls", "overrun_calls", "voided_calls"),
)
_TEXTS: Final = frozenset(CALL_DIMENSIONS)
_JSON: Final = "json"
_CSV: Final = "csv"


class UsageAnswers:
    """Answers what an account has used, to whoever may know.

    Args:
        history: What became of past calls.
        tags: Makes the references of texts.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(self, history: CallHistory, tags: Tags, now_ns: Callable[[], int]) -> None:
        self._history = history
        self._tags = tags
        self._now_ns = now_ns

    async def answer(self, request: Request, account: str) -> Response:
        """Answer a question about an account."""
        fields = read_strictly(request, PARAMETERS)
        form = _read_form(request, fields)
        question = read_question(fields, DIMENSIONS, self.read_only(fields, account), self._now_ns())
        page = await self._history.usage(account, question)
        rows = [{**describe_key(question.by, key), **describe_sums(sums)} for key, sums in page.rows]
        cursor = None if page.next is None else write_cursor(fields, page.next)
        if form == _CSV:
            headers = [(b"content-type", b"text/csv; charset=utf-8; header=present")]
            headers += [(b"x-next-cursor", cursor.encode())] if cursor else []
            return Response(200, write_table((*question.by, *SUMS), rows, _TEXTS), headers)
        return Response.json({**describe_question(question), "filters": question.only, **describe_page(rows, cursor)})

    def read_only(self, fields: Mapping[str, str], account: str) -> dict[str, str]:
        """Return what must be so of a call, with references in the place of texts."""
        only = {name: fields[name] for name in CALL_DIMENSIONS if name in fields}
        for name in only.keys() & {USER, TAG}:
            only[name] = f"{name}_{self._tags.half(account, name, only[name]).hex()}"
        return only


class UsageApi:
    """The route under `/v1/usage` that adds up.

    Args:
        callers: Tells who asks.
        answers: Answers about an account.
    """

    def __init__(self, *, callers: Callers, answers: UsageAnswers) -> None:
        self._callers = callers
        self._answers = answers

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        summary = "What the caller's account has used, by day, model, key, user or tag; JSON or CSV."
        return (Route("GET", "/v1/usage", self.usage, summary, query=PARAMETERS),)

    async def usage(self, request: Request, _: Sink) -> Response:
        """Answer what the caller's account has used."""
        key = self._callers.authenticate(request)
        return await self._answers.answer(request, key.account)


def read_question(fields: dict[str, str], dimensions: Sequence[str], only: Mapping[str, str], now_ns: int) -> Question:
    """Return what sums are asked for.

    Args:
        fields: The query; gets the days that are meant, so that a page follows from days that stay the same, also when
            a new one has begun meanwhile.
        dimensions: What rows may be apart by.
        only: What must be so of a call.
        now_ns: The time.
    """
    days, by = read_days(fields, now_ns), read_by(fields, dimensions, DAY)
    question = Question(days, by, only, read_limit(fields, ROWS_DEFAULT, ROWS_MAX))
    fields |= {"from": show_day(days.first), "to": show_day(days.last)}
    return question._replace(place=read_place(fields, question))


def read_place(fields: Mapping[str, str], question: Question) -> Place | None:
    """Return where a page of rows begins; a cursor that somebody has made up is refused."""
    place: Place | None = read_cursor(fields, Place)
    if place is None:
        return None
    fits = question.days.first <= place.day <= question.days.last
    if place.after is not None:
        kinds = [int if name == DAY else str for name in question.by]
        fits = fits and [type(part) for part in place.after] == kinds
    if not fits:
        raise invalid("cursor", "the next_cursor of an answer, sent with the same parameters")
    return place


def describe_question(question: Question) -> dict[str, Any]:
    """Return what was asked, with what was left out."""
    return {
        "object": "list",
        "from": show_day(question.days.first),
        "to": show_day(question.days.last),
        "by": list(question.by),
    }


def describe_page(rows: list[dict[str, Any]], cursor: str | None) -> dict[str, Any]:
    """Return rows, and how to go on."""
    return {"data": rows, "has_more": cursor is not None, "next_cursor": cursor}


def describe_key(by: Sequence[str], key: Key) -> dict[str, Any]:
    """Return what a row is about; what does not apply is null."""
    return {
        name: show_day(value) if isinstance(value, int) else value or None for name, value in zip(by, key, strict=True)
    }


def describe_sums(sums: CallSums) -> dict[str, Any]:
    """Return sums over calls, in the words of an answer's `usage`."""
    return {
        "calls": sums.calls,
        "prompt_tokens": sums.prompt_tokens,
        "completion_tokens": sums.completion_tokens,
        "total_tokens": sums.prompt_tokens + sums.completion_tokens,
        "base_cost_usd": format_usd(sums.base),
        "platform_fee_usd": format_usd(sums.fee),
        "total_cost_usd": format_usd(sums.base + sums.fee),
        "estimated_calls": sums.estimated,
        "overrun_calls": sums.overrun,
        "voided_calls": sums.voided,
    }


def describe_tag(tag: bytes | None) -> dict[str, str | None]:
    """Return what a call is attributed to, as references."""
    return {name: name_half(name, tag) or None for name in (USER, TAG)}


def _read_form(request: Request, fields: Mapping[str, str]) -> str:
    """Return whether JSON or CSV is wanted: by `format`, else by the Accept header."""
    asked = fields.get("format")
    if asked is None:
        accepted = request.headers.get(b"accept", b"").lower().split(b",")
        return _CSV if any(part.split(b";")[0].strip() == b"text/csv" for part in accepted) else _JSON
    if asked not in {_JSON, _CSV}:
        raise invalid("format", f"{_JSON} or {_CSV}")
    return asked
