"""The proof of the books as people read it: one line for each promise, then the figures behind them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tallygate.cli.tables import count, dollars, pairs, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

DAYS_SHOWN = 10
"""How many lines of the network's bill people get to see; `--json` has all."""


def draw_report(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Return what was checked, the verdict on each promise, the figures, and what is wrong."""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in report["kinds"].items())
    entries, batches = count(report["entries"], "entry entries"), count(report["batches"], "batch batches")
    what = "Replayed" if report["replayed"] == "all" else "Replayed the end of the history only (--deep replays all):"
    yield Text(f"{what} {batches} with {entries}{f' ({kinds})' if kinds else ''}.")
    yield ""
    yield pairs([(f"{name} {'kept  ' if p['kept'] else 'BROKEN'}", text) for name, p, text in _say_promises(report)])
    if report["replayed"] == "all":
        yield ""
        yield _draw_equation(report["usd"])
    for losses, why, what in (
        (report["overrun"], "cause", "Overrun, reported by an upstream beyond a hold and paid by no customer:"),
        (report["crash_loss"], "outcome", "Lost in crashes, perhaps billed by the network and paid by no customer:"),
    ):
        if losses:
            yield from ("", what, _draw_losses(losses, why))
    if billed := report["promises"]["P7"]["billed"]:
        yield from ("", "Booked for the network's work:", _draw_billed(billed[-DAYS_SHOWN:]))
        if len(billed) > DAYS_SHOWN:
            yield f"and {len(billed) - DAYS_SHOWN:,} lines before; --json has all."
    yield ""
    if report["clean"]:
        yield "The books add up." if report["replayed"] == "all" else "The end of the books adds up."
        return
    yield "Problems:"
    yield from (Text(f"  {text}") for text in report["problems"])
    if more := report["problem_count"] - len(report["problems"]):
        yield f"  and {more:,} more"


def _say_promises(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Return each promise's name, its figures, and a sentence on them."""
    promises, is_whole = report["promises"], report["replayed"] == "all"
    p1, p2, p3, p4, p5, p6, p7 = (promises[f"P{number}"] for number in range(1, 8))
    said = {
        "P1": f"{count(p1['holds'], 'hold holds')} and {count(p1['charges'], 'charge charges')}, none above its hold; "
        + _say_lowest(p1)
        + f"; overrun of {count(p1['overrun_inferences'], 'call calls')}, {dollars(p1['overrun_usd'])}",
        "P2": f"{count(p2['entries_balanced'], 'entry entries')} balanced"
        + "".join(f"; {book} sums to {amount}" for book, amount in p2["sums"].items()),
        "P3": f"{count(p3['expired'], 'hold holds')} expired"
        + "".join(f", {number:,} {outcome}" for outcome, number in p3["expired_by_outcome"].items())
        + f", {dollars(p3['lost_usd'])} lost; {p3['open_holds']:,} open now; "
        + count(sum(p3["starts"].values()), "start starts"),
        "P4": f"{count(p4['inferences'], 'inference inferences')}, {count(p4['endings'], 'ending endings')}, "
        + ("none doubled; " if is_whole else "none doubled within this part; ")
        + f"{count(p4['references'], 'reference references')} of deposits, each once{'' if is_whole else ' in it'}; "
        + ", ".join(f"epoch {epoch:,} of writer {writer[:8]}" for writer, epoch in p4["epochs"].items()),
        "P5": f"{count(p5['batches_chained'], 'batch batches')} chained and sealed; "
        + "".join(f"head {head['head'][:16]} of writer {writer[:8]}; " for writer, head in p5["heads"].items())
        + _say_anchors(p5["anchors"]),
        "P6": f"{count(p6['charges_recomputed'], 'charge charges')} computed again from the sheets, "
        f"the largest {dollars(p6['largest_charge_usd'])}",
        "P7": f"{count(p7['sendings'], 'sending sendings')} booked at {int(report['ngonka']['billed']):,} ngonka: "
        f"{int(report['ngonka']['cost/paid']):,} paid, {int(report['ngonka']['cost/unpaid']):,} unpaid by customers; "
        "`tallygate reconcile` compares that with what upstreams report",
    }
    for name, text in said.items():
        promise = promises[name]
        label = f"{name} {promise['name']:<15}"
        yield label, promise, text if promise["kept"] else count(promise["problems"], "problem problems")


def _say_anchors(anchors: Mapping[str, Any] | None) -> str:
    """Return what is known of anchors: None stands for books that nobody has held against any."""
    if not anchors or not anchors["count"]:
        return "no anchors: a tail cut off together with its state would not be noticed"
    age_s = max(time.time_ns() - anchors["last_time_ns"], 0) // 10**9
    accepted = anchors["accepted_as_lost"]
    lost = f", {accepted:,} of them for a loss that was accepted" if accepted else ""
    return (
        f"{count(anchors['count'], 'anchor anchors')}, each signed{lost}, "
        f"the last of batch {anchors['last_sequence']:,}, {count(age_s, 'second seconds')} old"
    )


def _say_lowest(figures: Mapping[str, Any]) -> str:
    hold = figures["lowest_available_after_a_hold_usd"]
    correction = figures["lowest_available_after_a_correction_usd"]
    said = "no balance was ever held from" if hold is None else f"lowest balance after a hold {dollars(hold)}"
    return said if correction is None else f"{said}, after a correction {dollars(correction)}"


def _draw_equation(usd: Mapping[str, str]) -> RenderableType:
    """Return both sides of the books' equation, one below the other."""
    return pairs(
        [
            ("  deposits", dollars(usd["deposits"])),
            ("+ corrections", dollars(usd["corrections"])),
            ("= available", dollars(usd["available"])),
            ("+ held", dollars(usd["held"])),
            ("+ base cost", dollars(usd["income/base"])),
            ("+ platform fee", dollars(usd["income/fee"])),
        ],
        right=True,
    )


def _draw_losses(losses: Sequence[Mapping[str, Any]], why: str) -> RenderableType:
    rows = [
        (loss["model"], loss[why], f"{loss['inferences']:,}", dollars(loss["usd"]), f"{int(loss['ngonka']):,}")
        for loss in losses
    ]
    return table(
        ("model", why, "calls", "at list price", "ngonka"),
        rows,
        amounts=frozenset({"calls", "at list price", "ngonka"}),
    )


def _draw_billed(billed: Sequence[Mapping[str, Any]]) -> RenderableType:
    rows = [
        (
            line["day"],
            line["upstream"],
            line["node"] or "",
            f"{line['sendings']:,}",
            f"{line['prompt_tokens'] + line['completion_tokens']:,}",
            f"{int(line['paid_ngonka']):,}",
            f"{int(line['unpaid_ngonka']):,}",
        )
        for line in billed
    ]
    numbers = ("sendings", "tokens", "paid ngonka", "unpaid ngonka")
    return table(("day", "upstream", "node", *numbers), rows, amounts=frozenset(numbers))
