"""The audit against a forger who seals again: what is wrong in the entries themselves is found, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from tallygate.core.ledger import entry as e
from tests.core.audit.forgery import arrange, change, entries_of, forge, make_world, place, repost
from tests.core.ledger.world import MODEL, USD

if TYPE_CHECKING:
    from collections.abc import Callable

WORLD = make_world()
COUNT = len(WORLD.entries)
A, A_HELD = ("USD", "account/a/available"), ("USD", "account/a/held")
B = ("USD", "account/b/available")
BASE, FEE = ("USD", "income/base"), ("USD", "income/fee")
PAID, UNPAID = ("NGONKA", "cost/paid"), ("NGONKA", "cost/unpaid")
NODES, NODES_2 = ("NGONKA", "upstream/nodes/payable"), ("NGONKA", "upstream/nodes-2/payable")

Amounts = dict[tuple[str, str], int]


def move(source: tuple[str, str], target: tuple[str, str], amount: int) -> Callable[[Amounts], None]:
    """Return an edit that moves an amount from one posting to another."""

    def edit(amounts: Amounts) -> None:
        amounts[source] = amounts.get(source, 0) - amount
        amounts[target] = amounts.get(target, 0) + amount

    return edit


def without(*left_out: int) -> list[int]:
    """Return the order of all entries but some."""
    return [number for number in range(COUNT) if number not in left_out]


def test_forger_changes_nothing_by_accident() -> None:
    """Books that are sealed again as they were are clean: what follows is found for its own sake."""
    assert forge(WORLD, entries_of(WORLD), range(COUNT)).problems == []
    assert forge(WORLD, entries_of(WORLD), range(COUNT), rebalance=False).problems == []


@pytest.mark.parametrize(
    ("number", "fields", "told"),
    [
        (4, {"available_after": 1}, "account a should have"),
        (4, {"held_after": 1}, "account a should have"),
        (4, {"account_sequence": 9}, "account a has entry 9 after 3"),
        (4, {"account_sequence": None}, "account a has entry None after 3"),
        (2, {"account": None}, "a deposit needs an account"),
        (0, {"account": "a"}, "a sheet has no account"),
        (6, {"account": "a"}, "a attempt has no account"),
        (2, {"account": "b"}, "a deposit may not move USD account/a/available"),
        (4, {"account": "b"}, "a settle may not move USD account/a/available"),
        (4, {"epoch": 2}, "carries another writer or epoch than its batch"),
        (4, {"writer": bytes(16)}, "carries another writer or epoch than its batch"),
    ],
)
def test_wrong_balance_sequence_or_owner_is_located(number: int, fields: dict[str, Any], told: str) -> None:
    """Each entry's own word on its account is checked against the replay."""
    problems = change(WORLD, number, rebalance=False, **fields).problems

    assert problems[0].startswith(place(number))
    assert any(problem.startswith(place(number)) and told in problem for problem in problems)


@pytest.mark.parametrize(
    ("number", "fields", "told"),
    [
        (0, {"reason": "{}"}, "not a price sheet"),
        (0, {"reason": None}, "not a price sheet"),
        (0, {"reason": '{"version":1,"fee_ppm":-1,"prices":{}}'}, "not a price sheet"),
        (0, {"sheet_version": 2}, "sheet version 1 is out of order"),
        (13, {"sheet_version": 1}, "sheet version 2 is out of order"),
        (3, {"model": "unknown"}, "names no price on a known sheet"),
        (3, {"model": None}, "names no price on a known sheet"),
        (3, {"sheet_version": 7}, "names no price on a known sheet"),
        (3, {"prompt_tokens": -1}, "names no price on a known sheet"),
        (3, {"completion_tokens": None}, "names no price on a known sheet"),
        (3, {"prompt_tokens": 999}, "does not hold what its bounds cost at sheet 1"),
        (14, {"sheet_version": 1}, "does not hold what its bounds cost at sheet 1"),
        (18, {"sheet_version": 1}, "is priced by sheet 1 while sheet 2 is in force"),
        (5, {"inference": "i-1"}, "inference i-2 has no open hold"),
        (4, {"ends": bytes(32)}, "inference i-1 has no open hold that this could end"),
        (4, {"ends": None}, "inference i-1 has no open hold that this could end"),
        (4, {"inference": "i-2"}, "inference i-2 has no open hold that this could end"),
        (4, {"prompt_tokens": 49}, "charged 11007 + 1101, sheet 1 gives 10907 + 1091"),
        (4, {"completion_tokens": -20}, "cannot be priced"),
        (4, {"model": "free/model"}, "names another key, model or sheet than its hold"),
        (4, {"key_id": "key_2"}, "names another key, model or sheet than its hold"),
        (4, {"sheet_version": 2}, "names another key, model or sheet than its hold"),
        (4, {"tag": bytes(16)}, "has another tag than its hold"),
        (10, {"tag": bytes(16)}, "has another tag than its hold"),
        (3, {"tag": bytes(16)}, "has another tag than its hold"),
        (20, {"tag": bytes(15)}, "has a tag of 15 bytes"),
        (4, {"flags": e.Flag.OVERRUN}, "overrun is not marked as it is"),
        (4, {"overrun_ngonka": 1}, "tells another overrun or loss than (None, None)"),
        (8, {"flags": 0}, "overrun is not marked as it is"),
        (8, {"overrun_list_picousd": 1}, "tells another overrun or loss than"),
        (8, {"overrun_ngonka": None}, "tells another overrun or loss than"),
        (15, {"overrun_ngonka": 0}, "tells another overrun or loss than"),
        (15, {"overrun_list_picousd": None}, "tells another overrun or loss than"),
        (10, {"kind": e.SETTLE}, "charged 0 + 0, sheet 1 gives 7 + 1"),
        (4, {"kind": e.VOID}, "a voided inference was charged"),
        (17, {"flags": 0}, "a voided inference was charged"),
        (10, {"flags": e.Flag.CHARGED_AFTER_CRASH}, "charged 0 + 0, sheet 1 gives 7 + 1"),
        (4, {"try_": 1}, "does not end the one sending that is under way"),
        (4, {"upstream": "nodes-2"}, "does not end the one sending that is under way"),
        (15, {"try_": 1}, "names a sending that is not under way"),
        (6, {"try_": 1}, "ends another sending than it names"),
        (6, {"ends": bytes(32)}, "ends another sending than it names"),
        (6, {"upstream": "nodes-2", "postings": ()}, "ends another sending than it names"),
        (6, {"inference": "i-9"}, "inference i-9 has no open hold"),
        (7, {"try_": 0}, "does not end the one sending that is under way"),
        (7, {"ends": bytes(32)}, "begins a sending, and yet bills or ends one"),
        (12, {"reference": "r-1", "account": "a"}, "the deposit's reference was booked before"),
    ],
)  # fmt: skip
def test_wrong_word_of_an_entry_is_located(number: int, fields: dict[str, Any], told: str) -> None:
    """A field that the rest of the books contradicts is told at the first entry that shows it."""
    problems = change(WORLD, number, **fields).problems

    assert any(told in problem for problem in problems), problems
    assert int(problems[0].split()[1]) * 3 > number - 3


@pytest.mark.parametrize(
    ("number", "edit", "told"),
    [
        (2, move(A, ("USD", "world"), 2 * USD), "a deposit may not move USD account/a/available that way"),
        (2, move(("USD", "corrections"), A, 5), "a deposit may not move USD corrections"),
        (2, lambda amounts: amounts.update({A: 5}), "postings do not sum to zero"),
        (2, move(("USD", "available"), ("USD", "world"), -5), "a deposit may not move USD available"),
        (4, move(A, ("USD", "held"), 5), "a settle may not move USD held"),
        (4, move(PAID, ("NGONKA", "payable"), 5), "a settle may not move NGONKA payable"),
        (3, move(A, A_HELD, 1), "does not hold what its bounds cost"),
        (3, move(A, A_HELD, -500_000), "a hold may not move USD account/a/held that way"),
        (3, move(A, BASE, 5), "a hold may not move USD income/base"),
        (3, move(A, A_HELD, 2 * USD), "takes account a below zero"),
        (4, move(A, BASE, 5), "charged 11012 + 1101, sheet 1 gives 11007 + 1101"),
        (4, move(BASE, FEE, 1), "charged 11006 + 1102, sheet 1 gives 11007 + 1101"),
        (4, move(BASE, A, 11_007), "charged 0 + 1101"),
        (4, move(A, BASE, USD), "charges more than its hold"),
        (4, move(A_HELD, A, 5), "does not release just what its hold took"),
        (4, move(B, A, 5), "a settle may not move USD account/b/available"),
        (4, move(("USD", "world"), A, 5), "a settle may not move USD world"),
        (4, move(PAID, UNPAID, 1), "leaves 1 of 70 ngonka unpaid, not 0"),
        (4, move(NODES, NODES_2, 1), "a settle may not move NGONKA upstream/nodes-2/payable"),
        (4, move(PAID, NODES, 100), "a settle may not move NGONKA cost/paid that way"),
        (6, move(UNPAID, PAID, 11), "a customer paid for a sending of which the part was not served"),
        (7, move(NODES_2, UNPAID, 1), "begins a sending, and yet bills or ends one"),
        (8, move(UNPAID, PAID, 1), "ngonka unpaid, not"),
        (10, move(A, BASE, 5), "a void may not move USD income/base"),
        (10, move(UNPAID, PAID, 9), "a void may not move NGONKA cost/paid"),
        (15, move(NODES_2, NODES, 0), "posts 0 to NGONKA upstream/nodes-2/payable"),
        (15, move(NODES_2, UNPAID, 9), "bills an upstream that it was not sent to"),
        (15, move(("USD", "gifts"), B, 1), "a expire may not move USD gifts"),
        (16, move(("EUR", "world"), ("EUR", "x"), 1), "a hold may not move EUR world"),
        (0, move(("USD", "world"), BASE, 1), "a sheet may not move USD income/base"),
        (1, move(("USD", "world"), A, 1), "a note may not move USD account/a/available"),
    ],
)
def test_wrong_posting_is_located(number: int, edit: Callable[[Amounts], object], told: str) -> None:
    """An amount that is moved elsewhere, out of nothing, the wrong way or by another kind is told at its entry."""
    problems = repost(WORLD, number, edit).problems

    assert any(told in problem for problem in problems), problems
    assert problems[0].startswith(place(number))


@pytest.mark.parametrize(
    ("order", "number", "told"),
    [
        (without(2), 2, "takes account a below zero"),
        (without(3), 3, "inference i-1 has no open hold that this could end"),
        (without(6), 6, "does not end the one sending that is under way"),
        (without(7), 7, "does not end the one sending that is under way"),
        (without(0), 2, "names no price on a known sheet"),
        ([*range(5), 4, *range(5, COUNT)], 5, "inference i-1 has no open hold that this could end"),
        ([*range(4), 3, *range(4, COUNT)], 4, "inference i-1 has a hold already"),
        ([*range(7), 6, *range(7, COUNT)], 7, "ends another sending than it names"),
        ([*range(8), 7, *range(8, COUNT)], 8, "begins a sending that is under way"),
        ([*range(3), 2, *range(3, COUNT)], 3, "the deposit's reference was booked before"),
        ([*range(3), 4, 3, *range(5, COUNT)], 3, "inference i-1 has no open hold that this could end"),
        ([*range(1, 13), 0, *range(13, COUNT)], 2, "names no price on a known sheet"),
    ],
)
def test_missing_doubled_or_moved_entry_is_found_though_sealed_again(order: list[int], number: int, told: str) -> None:
    """An entry that is gone, there twice, or out of its order contradicts what comes after it."""
    problems = arrange(WORLD, order).problems

    assert any(told in problem for problem in problems), problems
    assert int(problems[0].split()[1]) >= number // 3 + 1


@pytest.mark.parametrize(
    "postings",
    [
        lambda p: p[::-1],
        lambda p: (*p[:-1], ("USD", "income/fee", 1), ("USD", "income/fee", p[-1][2] - 1)),
    ],
)
def test_postings_have_one_order(postings: Callable[[Any], Any]) -> None:
    """Postings that are unsorted, or name a ledger account twice, are told."""
    problems = change(WORLD, 4, postings=postings(WORLD.entries[4].entry.postings)).problems

    assert problems == [f"{place(4)} (settle): postings are not sorted, or name a ledger account twice"]


def test_amount_beyond_64_bits_is_told() -> None:
    """An amount that other stores could not keep is a problem, even where it balances."""
    entries = entries_of(WORLD)
    entries[4] = replace(entries[4], postings=(("NGONKA", "cost/paid", 2**63), ("NGONKA", "cost/unpaid", -(2**63))))
    problems = forge(WORLD, entries, range(COUNT)).problems

    assert any(f"posts {2**63} to NGONKA cost/paid" in problem for problem in problems)


def test_money_that_came_from_nowhere_breaks_the_equation() -> None:
    """What came in is what customers have and what was charged; an invented source is told in the end as well."""
    problems = repost(WORLD, 15, move(("USD", "gifts"), B, 1)).problems

    assert problems[-1].startswith(f"{2 * USD} came in, but customers have ")


def test_overrun_and_loss_are_reported_by_model() -> None:
    """What nobody paid is in the report by model: overrun apart from what a crash has lost."""
    report = forge(WORLD, entries_of(WORLD), range(COUNT))

    assert report.overrun_ngonka == {MODEL: WORLD.entries[8].entry.overrun_ngonka}
    assert report.lost_picousd[MODEL] == sum(WORLD.entries[n].entry.overrun_list_picousd or 0 for n in (15, 17))


@pytest.mark.parametrize(
    ("number", "fields", "promise"),
    [(15, {"overrun_list_picousd": 1}, "P3"), (17, {"prompt_tokens": 333}, "P3"), (4, {"prompt_tokens": 49}, "P6")],
)
def test_a_wrong_expiry_breaks_the_promise_about_crashes(number: int, fields: dict[str, Any], promise: str) -> None:
    """What is wrong with how a crash was ended counts against P3, what is wrong with a charge against its own."""
    broken = change(make_world(), number, **fields).broken

    assert broken[promise]
    assert (broken["P3"] > 0) == (promise == "P3")
