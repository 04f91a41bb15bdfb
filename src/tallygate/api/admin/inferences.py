"""Past calls, and what they brought in: inferences one by one, the margin, and the usage of any account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.history import describe_call, describe_margin, describe_whole
from tallygate.api.http import Response, Route
from tallygate.api.queries import (
    invalid,
    read_cursor,
    read_day,
    read_limit,
    read_strictly,
    write_cursor,
)
from tallygate.api.usage import PARAMETERS as USAGE
from tallygate.api.usage import describe_key, describe_page, describe_question, read_question
from tallygate.core.calendar import DAY_NS
from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.margin import MARGIN_DIMENSIONS
from tallygate.core.ledger.past import OPEN, STATES, Wanted
from tallygate.core.ledger.rollup import DAY
from tallygate.core.money import InvalidAmountError, parse_usd
from tallygate.core.tags import TAG, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tallygate.api.http import Request
    from tallygate.api.usage import UsageAnswers
    from tallygate.ports import CallHistory
    from tallygate.relay import Sink

CALLS_DEFAULT: Final = 50
CALLS_MAX: Final = 500
FILTERS: Final = ("account", "key", "model", "upstream", "node", "state", "flags", USER, TAG, "from", "to")
INFERENCES: Final = (*FILTERS, "inference", "limit", "cursor")
MARGIN: Final = ("from", "to", "by", *MARGIN_DIMENSIONS, "usd_per_gnk", "limit", "cursor")
STATE_NAMES: Final = (OPEN, *STATES.values())
FLAGS: Final[Mapping[str, Flag]] = {(flag.name or "").lower(): flag for flag in Flag}


class InferenceRoutes:
    """The routes under `/admin/v1` about past calls.

    Args:
        history: What became of past calls.
        usage: Answers what an account has used.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(self, history: CallHistory, usage: UsageAnswers, now_ns: Callable[[], int]) -> None:
        self._history = history
        self._usage = usage
        self._now_ns = now_ns

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        inferences = "/admin/v1/inferences"
        one = inferences + "/{id}"
        margin = "Dollars charged beside ngonka billed, by day, model or upstream."
        return (
            Route(
                "GET",
                inferences,
                self.list_inferences,
                "Past and open inferences, newest first, by many filters.",
                query=INFERENCES,
            ),
            Route("GET", one, self.show_inference, "All of one inference: sendings, ending, bills, entries."),
            Route("GET", "/admin/v1/margin", self.show_margin, margin, query=MARGIN),
            Route(
                "GET",
                "/admin/v1/accounts/{id}/usage",
                self.show_usage,
                "What an account has used: as `/v1/usage`.",
                query=USAGE,
            ),
        )

    async def list_inferences(self, request: Request, _: Sink) -> Response:
        """List inferences, newest first."""
        fields = read_strictly(request, INFERENCES)
        limit = read_limit(fields, CALLS_DEFAULT, CALLS_MAX)
        if "inference" in fields:
            return await self._list_one(fields)
        before: int | None = read_cursor(fields, int)
        page = await self._history.calls(self._read_wanted(fields), limit, before)
        cursor = None if page.next is None else write_cursor(fields, page.next)
        rows = [describe_call(call) for call in page.calls]
        return Response.json({"object": "list", **describe_page(rows, cursor)})

    async def show_inference(self, request: Request, _: Sink) -> Response:
        """Show all of an inference."""
        read_strictly(request, ())
        call = await self._history.call(request.argument)
        if call is None:
            raise Refusal(Code.NOT_FOUND, "There is no such inference.")
        return Response.json(describe_whole(call))

    async def show_margin(self, request: Request, _: Sink) -> Response:
        """Show what was charged beside what was billed, and the difference if a rate is given."""
        fields = read_strictly(request, MARGIN)
        rate = _read_rate(fields)
        only: dict[str, str] = {name: fields[name] for name in MARGIN_DIMENSIONS if name in fields}
        question = read_question(fields, (DAY, *MARGIN_DIMENSIONS), only, self._now_ns())
        page = await self._history.margin(question)
        rows = [{**describe_key(question.by, key), **describe_margin(sums, rate)} for key, sums in page.rows]
        cursor = None if page.next is None else write_cursor(fields, page.next)
        return Response.json({**describe_question(question), "filters": only, **describe_page(rows, cursor)})

    async def show_usage(self, request: Request, _: Sink) -> Response:
        """Show what an account has used."""
        return await self._usage.answer(request, request.argument)

    async def _list_one(self, fields: Mapping[str, str]) -> Response:
        """List the one inference that has an id, if there is one."""
        if others := fields.keys() - {"inference", "limit"}:
            raise invalid(min(others), "left out where inference names the only one")
        call = await self._history.call(fields["inference"])
        return Response.json({"object": "list", **describe_page([] if call is None else [describe_call(call)], None)})

    def _read_wanted(self, fields: Mapping[str, str]) -> Wanted:
        account = fields.get("account")
        if account is None and (texts := fields.keys() & {USER, TAG}):
            raise invalid(min(texts), "given with account: the same text is another reference in each")
        first, last = read_day(fields, "from"), read_day(fields, "to")
        if first is not None and last is not None and first > last:
            raise invalid("from", "no later than to")
        state = fields.get("state")
        if state is not None and state not in STATE_NAMES:
            raise invalid("state", f"one of {', '.join(STATE_NAMES)}")
        return Wanted(
            account=account,
            state=state,
            upstream=fields.get("upstream"),
            node=fields.get("node"),
            flags=_read_flags(fields),
            start_ns=None if first is None else first * DAY_NS,
            end_ns=None if last is None else (last + 1) * DAY_NS,
            **self._usage.read_only(fields, account or ""),
        )


def _read_flags(fields: Mapping[str, str]) -> int:
    """Return what must all have been special about an ending."""
    names = fields["flags"].split(",") if "flags" in fields else []
    if not set(names) <= FLAGS.keys():
        raise invalid("flags", f"some of {', '.join(FLAGS)}, with commas between")
    return int(sum({FLAGS[name] for name in names}, Flag(0)))


def _read_rate(fields: Mapping[str, str]) -> int | None:
    """Return what a GNK costs, in pico-dollars, if it is given."""
    if "usd_per_gnk" not in fields:
        return None
    try:
        rate = parse_usd(fields["usd_per_gnk"])
    except InvalidAmountError:
        rate = 0
    if rate <= 0:
        raise invalid("usd_per_gnk", "a plain decimal of US dollars above 0, such as 0.62")
    return rate
