"""Statements as JSON: one account, one month, exact decimal texts, times in ISO 8601 and UTC.

The route and `tallygate statement` show the same members; the command prints the lines as they are read.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import MAXYEAR, UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.statement import CHARGE, VOIDED
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from tallygate.core.ledger.statement import Charges, Line, Statement

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_FIRST_YEAR: Final = 1970
_NS: Final = 10**9


class Month(NamedTuple):
    """A month of UTC, from its first instant until before that of the next."""

    name: str
    start_ns: int
    end_ns: int


def read_month(text: str) -> Month:
    """Return the month that a text such as `2026-01` names."""
    match = _MONTH.fullmatch(text)
    if match is None or not _FIRST_YEAR <= int(match[1]) < MAXYEAR:
        raise Refusal(Code.INVALID_VALUE, "month must be a month of UTC such as 2026-01.", param="month")
    year, month = int(match[1]), int(match[2])
    start_s = timegm((year, month, 1, 0, 0, 0))
    end_s = timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0))
    return Month(text, start_s * _NS, end_s * _NS)


def iso_time(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, with nanoseconds unless it is a whole second."""
    seconds, rest = divmod(time_ns, _NS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:09d}Z" if rest else f"{whole}Z"


def describe_statement(account_id: str, name: str, month: Month, statement: Statement, now_ns: int) -> dict[str, Any]:
    """Return all of a statement but its lines."""
    counts = statement.counts
    return {
        "account": {"id": account_id, "name": name},
        "period": {
            "month": month.name,
            "from": iso_time(month.start_ns),
            "to": iso_time(month.end_ns),
            "complete": now_ns >= month.end_ns,
        },
        "currency": "USD",
        "opening_balance_usd": format_usd(statement.opening),
        "closing_balance_usd": format_usd(statement.closing),
        "deposits": {"count": counts[e.DEPOSIT], "usd": format_usd(statement.deposits)},
        "corrections": {"count": counts[e.CORRECTION], "usd": format_usd(statement.corrections)},
        "charges": describe_charges(statement.charges),
        "charges_by_model": {model: describe_charges(of) for model, of in sorted(statement.by_model.items())},
        "voided_count": counts[VOIDED],
    }


def describe_charges(charges: Charges) -> dict[str, Any]:
    """Return sums over charges."""
    return {
        "count": charges.count,
        "prompt_tokens": charges.prompt_tokens,
        "completion_tokens": charges.completion_tokens,
        "base_usd": format_usd(charges.base),
        "fee_usd": format_usd(charges.fee),
        "total_usd": format_usd(charges.total),
    }


def describe_line(line: Line) -> dict[str, Any]:
    """Return one movement of the balance."""
    entry = line.entry
    content: dict[str, Any] = {
        "sequence": entry.account_sequence,
        "time": iso_time(entry.time_ns),
        "kind": line.kind,
        "amount_usd": format_usd(line.picousd),
        "balance_usd": format_usd(line.balance),
        "entry": line.id.hex(),
    }
    if line.kind != CHARGE:
        return content | {"reference": entry.reference, "actor": entry.actor, "reason": entry.reason}
    return content | {
        "inference": entry.inference,
        "api_key": entry.key_id,
        "model": entry.model,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "price_sheet": entry.sheet_version,
        "base_usd": format_usd(line.cost.base),
        "fee_usd": format_usd(line.cost.fee),
        "total_usd": format_usd(line.cost.total),
        "flags": name_flags(entry.flags),
    }


def name_flags(flags: int) -> list[str]:
    """Return what was special about a charge, in words."""
    return [(flag.name or "").lower().replace("_", " ") for flag in Flag(flags)]
