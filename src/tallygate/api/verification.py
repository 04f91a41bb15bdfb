"""The proof of the books as JSON: what the admin API answers, and what `tallygate verify` shows.

Amounts are exact strings; nothing here checks anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.core.ledger import entry as e
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.ledger.audit import Report


def describe_report(report: Report) -> dict[str, Any]:
    """Return an audit's report as JSON: figures as exact strings, problems in words."""
    sums: dict[str, int] = {}
    for (book, name), amount in report.totals.items():
        kind = _class_of(name)
        sums[f"{book} {kind}"] = sums.get(f"{book} {kind}", 0) + amount
    usd = {
        name: format_usd(sums.get(f"{e.USD} {name}", 0)) for name in ("available", "held", e.INCOME_BASE, e.INCOME_FEE)
    }
    return {
        "clean": report.clean,
        "batches": report.batches,
        "entries": report.entries,
        "kinds": dict(sorted(report.kinds.items())),
        "accounts": report.accounts,
        "open_holds": report.open_holds,
        "usd": {
            "deposits": format_usd(-sums.get(f"{e.USD} {e.WORLD}", 0)),
            "corrections": format_usd(-sums.get(f"{e.USD} {e.CORRECTIONS}", 0)),
            **usd,
        },
        "ngonka": {
            "billed": str(-sums.get(f"{e.NGONKA} payable", 0)),
            e.COST_PAID: str(sums.get(f"{e.NGONKA} {e.COST_PAID}", 0)),
            e.COST_UNPAID: str(sums.get(f"{e.NGONKA} {e.COST_UNPAID}", 0)),
        },
        "overrun": _by_model(report.overrun_picousd, report.overrun_ngonka),
        "crash_loss": _by_model(report.lost_picousd, report.lost_ngonka),
        "problem_count": report.problem_count,
        "problems": report.problems,
    }


def _by_model(picousd: Mapping[str, int], ngonka: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return what the operator bears, by model: at list price, and what the network may have billed for it."""
    return {
        model: {"usd": format_usd(amount), "ngonka": str(ngonka.get(model, 0))}
        for model, amount in sorted(picousd.items())
        if amount or ngonka.get(model)
    }


def _class_of(ledger_account: str) -> str:
    """Return the kind of a ledger account: `account/x/held` is `held`, `upstream/y/payable` is `payable`."""
    return ledger_account.rsplit("/", 1)[1] if ledger_account.startswith(("account/", "upstream/")) else ledger_account
