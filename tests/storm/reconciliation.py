"""The ngonka book against the chain: every sending that the network has billed for, found in our books.

A sending whose answer we heard of carries the network's own reference in our books; one that a kill cut off does not,
and is booked at the most that it may have cost. So what is left over on the network's side must fit under that.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tallygate.core.ledger.entry import Flag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tallygate.core.ledger.entry import Entry


class Sending(NamedTuple):
    """One sending that our books say has ended.

    Attributes:
        cause: Why it may be billed otherwise than we booked it.
        sendings: How many sendings it stands for; an expiry ends all that were open.
    """

    cause: str
    reference: str | None
    ngonka: int
    sendings: int = 1


class Reconciliation(NamedTuple):
    """What both sides say.

    Attributes:
        billed: What the network has debited.
        booked: What our book has, paid or not.
        differences: By cause, what the network billed beyond what we booked (negative: below).
        violations: What no cause explains.
    """

    billed: int
    booked: int
    differences: Counter[str]
    violations: list[str]


def reconcile(
    entries: Sequence[Entry], inferences: Sequence[dict[str, Any]], *, holds_wait: bool = True
) -> Reconciliation:
    """Compare the entries of a store with all inferences of a chain, which have finished.

    Args:
        entries: Of the store.
        inferences: Of the chain.
        holds_wait: Whether no call is sent before its hold is durable; else a kill loses some that were sent.
    """
    # A node knows an inference by our signature, the Bearer gateway by its own id of the request.
    billed = {one["request_id"] or one["id"]: one["cost"] for one in inferences}
    ours = list(_find_sendings(entries))
    differences: Counter[str] = Counter()
    violations = []
    left = dict(billed)
    unknown_most = unknown_count = 0
    for sending in ours:
        if sending.reference is None:
            unknown_most += sending.ngonka
            unknown_count += sending.sendings
            continue
        cost = left.pop(sending.reference, 0)
        differences[sending.cause] += cost - sending.ngonka
        if sending.cause == "served to the end" and cost != sending.ngonka:
            violations.append(f"{sending.reference}: billed {cost}, booked {sending.ngonka}")
    unnamed = sum(left.values())
    if not holds_wait:
        differences["without a reference: booked at the most, or lost with its hold (async)"] += unnamed - unknown_most
    else:
        differences["without a reference: booked at the most"] += unnamed - unknown_most
        if len(left) > unknown_count or unnamed > unknown_most:
            violations.append(
                f"the network billed {unnamed} for {len(left)} sendings that our books do not name; "
                f"{unknown_count} sendings without a reference are booked at {unknown_most}"
            )
    booked = sum(sending.ngonka for sending in ours)
    return Reconciliation(sum(billed.values()), booked, differences, violations)


def _find_sendings(entries: Sequence[Entry]) -> Iterator[Sending]:
    under_way: Counter[str | None] = Counter()
    for entry in entries:
        ngonka = -sum(amount for _, name, amount in entry.postings if name.endswith("/payable"))
        if entry.kind == "hold" or (entry.kind == "attempt" and entry.completion_tokens is None):
            under_way[entry.inference] += 1
        elif entry.kind == "attempt":
            under_way[entry.inference] -= 1
            is_paid = any(name == "cost/paid" for _, name, _ in entry.postings)
            cause = _name_cause(entry) if is_paid else "failed, tried elsewhere"
            yield Sending(cause, _request_of(entry), ngonka)
        elif entry.kind == "settle":
            yield Sending(_name_cause(entry), _request_of(entry), ngonka)
        elif entry.kind == "void":
            yield Sending("no usable answer", _request_of(entry), ngonka)
        elif entry.kind == "expire":
            yield Sending("cut off by a kill", None, ngonka, under_way[entry.inference])


def _request_of(entry: Entry) -> str | None:
    """Return the network's id of a sending, without that of the escrow that paid."""
    return None if entry.upstream_reference is None else entry.upstream_reference.partition("@")[0]


def _name_cause(entry: Entry) -> str:
    flags = Flag(entry.flags)
    if flags & Flag.CUT:
        return "left early or broken off: our count"
    if flags & Flag.ESTIMATED:
        return "no usage that can be true: our count"
    return "served to the end"
