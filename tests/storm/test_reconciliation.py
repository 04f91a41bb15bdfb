"""Our ngonka book against a chain: what fits is silent, what no cause explains is told."""

from __future__ import annotations

from typing import Any

from tallygate.core.ledger.entry import Entry, Flag
from tests.storm.reconciliation import reconcile


def entry(kind: str, reference: str | None, ngonka: int, **fields: Any) -> Entry:
    """Return an entry that booked a bill."""
    postings = (("NGONKA", "cost/paid", ngonka), ("NGONKA", "upstream/signed/payable", -ngonka))
    return Entry(1, kind, bytes(16), 0, bytes(16), 1, upstream_reference=reference, postings=postings, **fields)


def inference(identity: str, cost: int, request_id: str | None = None) -> dict[str, Any]:
    """Return what the chain knows of an inference."""
    return {"id": identity, "cost": cost, "request_id": request_id}


def test_two_books_that_agree_differ_by_nothing() -> None:
    """Sendings are found by their reference, those of the Bearer gateway by its id of the request."""
    entries = [entry("settle", "sig-1", 25), entry("settle", "req-0000001a", 30), entry("void", "sig-2", 0)]
    found = reconcile(entries, [inference("sig-1", 25), inference("devshard-ab12-0019", 30, "req-0000001a")])

    assert (found.billed, found.booked, found.violations) == (55, 55, [])
    assert set(found.differences.values()) == {0}


def test_a_bill_that_differs_is_told_by_its_cause() -> None:
    """For an answer that was served to the end it is a violation; for one that we had to count it is a difference."""
    served = reconcile([entry("settle", "sig-1", 24)], [inference("sig-1", 25)])
    assert served.violations == ["sig-1: billed 25, booked 24"]

    cut = reconcile([entry("settle", "sig-1", 24, flags=int(Flag.CUT | Flag.ESTIMATED))], [inference("sig-1", 25)])
    assert cut.violations == []
    assert cut.differences["left early or broken off: our count"] == 1


def test_what_a_kill_cut_off_must_fit_under_what_was_booked_for_it() -> None:
    """A bill without a name of ours is explained by an expiry that was booked for as much, and by nothing else."""
    crashed = [entry("hold", None, 0), entry("expire", None, 300)]
    assert reconcile(crashed, [inference("sig-1", 300)]).violations == []
    assert reconcile(crashed, [inference("sig-1", 301)]).violations != []
    assert reconcile(crashed, [inference("sig-1", 1), inference("sig-2", 1)]).violations != []
    assert reconcile([], [inference("sig-1", 1)]).violations != []


def test_where_holds_do_not_wait_a_kill_may_lose_some_that_were_billed() -> None:
    """With `async` holds, what the network billed beyond our book is shown, not a violation."""
    found = reconcile([entry("expire", None, 300)], [inference("sig-1", 301)], holds_wait=False)

    assert found.violations == []
    assert sum(found.differences.values()) == 1
