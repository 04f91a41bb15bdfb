"""One inference retold: whatever of it does not fit together is found, also where everything is sealed and signed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tallygate.core.ledger import entry as e
from tallygate.core.pricing import Price, revised
from tallygate.core.proofs.story import Story
from tests.core.audit.forgery import make_world
from tests.core.ledger.world import MODEL, SHEET

ENTRIES = [(written.entry, written.id) for written in make_world().entries]
SHEET_1, HOLD_1, SETTLE_1, HOLD_2, SETTLE_2, VOID_3 = (ENTRIES[number] for number in (0, 3, 4, 5, 8, 10))
SHEET_2 = ENTRIES[13]


def tell(inference: str, *entries: tuple[e.Entry, bytes]) -> list[str]:
    """Return what is wrong with entries as the story of an inference."""
    story = Story(inference)
    return [fault for entry, this_id in entries for fault in story.take(entry, this_id)] + list(story.finish())


def change(entry: tuple[e.Entry, bytes], **fields: Any) -> tuple[e.Entry, bytes]:
    """Return an entry with other fields, under the id that it had."""
    return replace(entry[0], **fields), entry[1]


def move(entry: tuple[e.Entry, bytes], **amounts: int) -> tuple[e.Entry, bytes]:
    """Return an entry that posts something more to the accounts whose names end so."""
    names = {name: key for _, name, _ in entry[0].postings for key in amounts if name.endswith(key)}
    postings = tuple(
        (book, name, amount + amounts.get(names.get(name, ""), 0)) for book, name, amount in entry[0].postings
    )
    return change(entry, postings=postings)


def test_true_story_has_no_fault() -> None:
    """An inference as it was written fits together, overrun or not, with its sheet and without."""
    assert tell("i-1", SHEET_1, HOLD_1, SETTLE_1) == []
    assert tell("i-1", HOLD_1, SETTLE_1) == []
    assert tell("i-1", HOLD_1) == []
    assert tell("i-2", SHEET_1, HOLD_2, SETTLE_2) == []


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([change(SHEET_1, reason="{}")], "not a price sheet"),
        ([change(SHEET_1, sheet_version=7)], "is another version than it says"),
        ([SHEET_2, HOLD_1], "is priced by another sheet than the one that is here"),
        ([SHEET_1, change(HOLD_1, model="unknown")], "cannot be priced by its sheet"),
        ([SHEET_1, change(HOLD_1, prompt_tokens=-1)], "cannot be priced by its sheet"),
        ([SHEET_1, change(HOLD_1, prompt_tokens=None)], "cannot be priced by its sheet"),
        ([SHEET_1, change(HOLD_1, prompt_tokens=999)], "does not hold what its bounds cost"),
        ([SHEET_1, SHEET_1, HOLD_1], "belongs to another inference"),
        ([HOLD_1, SHEET_1], "belongs to another inference"),
        ([HOLD_1, HOLD_1], "has no place in the life of an inference"),
        ([SETTLE_1], "has no place in the life of an inference"),
        ([HOLD_1, SETTLE_1, SETTLE_1], "has no place in the life of an inference"),
        ([HOLD_1, change(SETTLE_1, kind=e.NOTE)], "has no place in the life of an inference"),
        ([HOLD_1, change(SETTLE_1, ends=bytes(32))], "ends another hold"),
        ([HOLD_1, change(SETTLE_1, key_id="key_2")], "names another account, key, model, sheet or tag than its hold"),
        ([HOLD_1, change(SETTLE_1, sheet_version=2)], "names another account, key, model, sheet or tag than its hold"),
        ([HOLD_1, change(SETTLE_1, tag=bytes(16))], "names another account, key, model, sheet or tag than its hold"),
        ([HOLD_1, move(SETTLE_1, held=1)], "does not release just what its hold took"),
        ([HOLD_1, move(SETTLE_1, base=200_000)], "charges more than its hold"),
        ([SHEET_1, HOLD_1, move(SETTLE_1, base=1)], "charges 11008 + 1101 pico-dollars, the sheet gives 11007 + 1101"),
        ([SHEET_1, HOLD_1, move(SETTLE_1, fee=-1)], "charges 11007 + 1100 pico-dollars, the sheet gives 11007 + 1101"),
        ([SHEET_1, HOLD_1, change(SETTLE_1, prompt_tokens=49)], "the sheet gives 10907 + 1091"),
        ([SHEET_1, HOLD_1, change(SETTLE_1, prompt_tokens=None)], "cannot be priced by its sheet"),
        ([HOLD_1, change(SETTLE_1, kind=e.VOID)], "charges for an inference that was given back"),
        ([HOLD_1, change(SETTLE_1, kind=e.EXPIRE)], "charges for an inference that was given back"),
        ([], "there is no hold: this is no inference"),
    ],
)
def test_fault_is_found(entries: list[tuple[e.Entry, bytes]], fault: str) -> None:
    """Whatever an entry says that the others do not bear out is told."""
    assert any(fault in found for found in tell("i-1", *entries))


def test_sheet_of_other_prices_does_not_pass_for_the_one_that_was_in_force() -> None:
    """A later sheet under the number of the one that priced the hold gives another price than what was held."""
    dearer = change(SHEET_1, reason=replace(revised(SHEET, {MODEL: Price(200, 600, 7)}), version=1).encode())

    assert "does not hold what its bounds cost" in tell("i-1", dearer, HOLD_1, SETTLE_1)
