"""The proof of the books as JSON: what the admin API answers, and what `tallygate verify` shows.

Amounts are exact strings; nothing here checks anything.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tallygate.core.audit import rules
from tallygate.core.audit.problems import P1, P2, P3, P4, P5, P6, P7, PROMISES
from tallygate.core.calendar import show_day
from tallygate.core.ledger import entry as e
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.audit.figures import Loss
    from tallygate.core.audit.report import Report
    from tallygate.core.proofs.anchoring import AnchorReport


def describe_report(report: Report, anchors: AnchorReport | None = None) -> dict[str, Any]:
    """Return an audit's report as JSON: promise by promise, figures as exact strings, problems in words.

    Args:
        report: What the replay has found.
        anchors: What the books' anchors say of them; None where nobody has looked.
    """
    totals = report.figures.totals
    faults = [] if anchors is None else anchors.faults
    broken = report.broken + Counter({P5: len(faults)})
    described = _describe_promises(report)
    described[P5]["anchors"] = None if anchors is None else _describe_anchors(anchors)
    return {
        "clean": not broken.total(),
        "replayed": "all" if report.is_whole else "end",
        "batches": report.batches,
        "entries": report.entries,
        "kinds": dict(sorted(report.kinds.items())),
        "accounts": report.accounts,
        "open_holds": report.open_holds,
        "usd": {
            "deposits": format_usd(-totals[rules.WORLD]),
            "corrections": format_usd(-totals[rules.CORRECTIONS]),
            "available": format_usd(totals[rules.AVAILABLE]),
            "held": format_usd(totals[rules.HELD]),
            e.INCOME_BASE: format_usd(totals[rules.BASE]),
            e.INCOME_FEE: format_usd(totals[rules.FEE]),
        },
        "ngonka": {
            "billed": str(-totals[rules.PAYABLE]),
            e.COST_PAID: str(totals[rules.PAID]),
            e.COST_UNPAID: str(totals[rules.UNPAID]),
        },
        "overrun": _describe_losses(report.figures.overrun, "cause"),
        "crash_loss": _describe_losses(report.figures.expired, "outcome"),
        "promises": {
            promise: {"name": name, "kept": not broken[promise], "problems": broken[promise], **figures}
            for (promise, name), figures in zip(PROMISES.items(), described.values(), strict=True)
        },
        "problem_count": broken.total(),
        "problems": [*report.problems, *faults],
    }


def _describe_promises(report: Report) -> dict[str, dict[str, Any]]:
    """Return the figures of each promise."""
    figures, kinds = report.figures, report.kinds
    endings = sum(kinds[kind] for kind in e.ENDINGS)
    lowest = {kind: None if amount is None else format_usd(amount) for kind, amount in _lowest(report).items()}
    books = {
        book: str(sum(amount for place, amount in figures.totals.items() if place.startswith(f"{book} ")))
        for book in (e.USD, e.NGONKA)
    }
    return {
        P1: {
            "holds": kinds[e.HOLD],
            "charges": figures.charged,
            "lowest_available_after_a_hold_usd": lowest[e.HOLD],
            "lowest_available_after_a_correction_usd": lowest[e.CORRECTION],
            "overrun_inferences": _count(figures.overrun),
            "overrun_usd": format_usd(sum(loss.picousd for loss in figures.overrun.values())),
        },
        P2: {"entries_balanced": report.entries, "sums": books},
        P3: {
            "expired": kinds[e.EXPIRE],
            "expired_by_outcome": _by_outcome(figures.expired),
            "lost_usd": format_usd(sum(loss.picousd for loss in figures.expired.values())),
            "open_holds": report.open_holds,
            "starts": {writer.hex(): tip.starts for writer, tip in sorted(report.tips.items())},
        },
        P4: {
            "inferences": kinds[e.HOLD],
            "endings": endings,
            "references": report.references,
            "epochs": {writer.hex(): tip.epoch for writer, tip in sorted(report.tips.items())},
        },
        P5: {
            "batches_chained": report.batches,
            "heads": {
                writer.hex(): {"sequence": tip.sequence, "head": tip.head.hex()}
                for writer, tip in sorted(report.tips.items())
            },
        },
        P6: {"charges_recomputed": figures.charged, "largest_charge_usd": format_usd(figures.charge_max)},
        P7: {"sendings": sum(sent.sendings for sent in figures.sent.values()), "billed": _describe_sent(report)},
    }


def _describe_anchors(anchors: AnchorReport) -> dict[str, Any]:
    last = anchors.last
    return {
        "count": anchors.count,
        "accepted_as_lost": anchors.lost,
        "last_sequence": last.heads[0].sequence if last and last.heads else None,
        "last_time_ns": last.time_ns if last else None,
    }


def _lowest(report: Report) -> dict[str, int | None]:
    return {kind: report.figures.lowest.get(kind) for kind in (e.HOLD, e.CORRECTION)}


def _count(losses: Mapping[tuple[str, str], Loss]) -> int:
    return sum(loss.count for loss in losses.values())


def _by_outcome(losses: Mapping[tuple[str, str], Loss]) -> dict[str, int]:
    by_outcome: dict[str, int] = {}
    for (_, outcome), loss in sorted(losses.items()):
        by_outcome[outcome] = by_outcome.get(outcome, 0) + loss.count
    return by_outcome


def _describe_losses(losses: Mapping[tuple[str, str], Loss], why: str) -> list[dict[str, Any]]:
    """Return what the operator bears, by model and reason: at list price, and what the network may have billed."""
    return [
        {
            "model": model,
            why: reason,
            "inferences": loss.count,
            "usd": format_usd(loss.picousd),
            "ngonka": str(loss.ngonka),
        }
        for (model, reason), loss in sorted(losses.items())
    ]


def _describe_sent(report: Report) -> list[dict[str, Any]]:
    """Return what was sent where, by day, with what it was booked at."""
    return [
        {
            "upstream": upstream,
            "node": node or None,
            "day": show_day(day),
            "sendings": sent.sendings,
            "prompt_tokens": sent.prompt_tokens,
            "completion_tokens": sent.completion_tokens,
            "paid_ngonka": str(sent.paid),
            "unpaid_ngonka": str(sent.unpaid),
        }
        for (upstream, node, day), sent in sorted(report.figures.sent.items(), key=lambda item: (item[0][2], *item[0]))
    ]
