"""Statements as JSON: one account, one month, exact decimal texts, times in ISO 8601 and UTC.

The route and `tallygate statement` show the same members; the command prints the lines as they are read.
"""

from __future__ import annotations

import re
from datetime import MAXYEAR
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tallygate.core.calendar import DAY_NS, first_day_of, show_time
from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.statement import CHARGE, VOIDED
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from tallygate.core.ledger.statement import Charges, Line, Statement

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_FIRST_YEAR: Final = 1970


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
    month = (int(match[1]) - _FIRST_YEAR) * 12 + int(match[2]) - 1
    return Month(text, first_day_of(month) * DAY_NS, first_day_of(month + 1) * DAY_NS)


def describe_statement(account_id: str, name: str, month: Month, statement: Statement, now_ns: int) -> dict[str, Any]:
    """Return all of a statement but its lines."""
    counts = statement.counts
    return {
        "account": {"id": account_id, "name": name},
        "period": {
            "month": month.name,
            "from": show_time(month.start_ns),
            "to": show_time(month.end_ns),
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
        "time": show_time(entry.time_ns),
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
