"""Queries, and cursors that somebody has made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.api.queries import read_cursor, read_days, write_cursor
from tallygate.api.spreadsheets import guard
from tallygate.api.usage import read_place
from tallygate.core.calendar import DAY_NS, show_day
from tallygate.core.errors import Refusal
from tallygate.core.ledger.rollup import Days, Place, Question

FIELDS = {"by": "day,model"}
QUESTION = Question(Days(10, 20), ("day", "model"), {}, 5)


@pytest.mark.parametrize(
    "place",
    [
        Place(9),
        Place(21),
        Place(15, (15,)),
        Place(15, (15, "a", "b")),
        Place(15, ("a", "b")),
        Place(15, (15, 15)),
        Place(15, ()),
        15,
        "15",
        None,
        [15, [15, None]],
        [15, [1.5, "a"]],
        [2**63, None],
    ],
)
def test_a_made_up_place_is_refused(place: object) -> None:
    """A cursor with the right stamp around a place that no page can have named is no cursor."""
    with pytest.raises(Refusal) as refused:
        read_place({**FIELDS, "cursor": write_cursor(FIELDS, place)}, QUESTION)

    assert refused.value.param == "cursor"


@given(day=st.integers(10, 20), model=st.text())
def test_a_true_place_comes_back(day: int, model: str) -> None:
    """What a page has named is what the next one is given, whatever the model is called."""
    try:
        model.encode()
    except UnicodeEncodeError:
        return
    for place in (Place(day, (day, model)), Place(day)):
        assert read_place({**FIELDS, "limit": "7", "cursor": write_cursor(FIELDS, place)}, QUESTION) == place


@given(text=st.text())
def test_no_text_is_a_cursor_by_chance(text: str) -> None:
    """Any text is refused as a cursor, and nothing else goes wrong."""
    with pytest.raises(Refusal):
        read_cursor({**FIELDS, "cursor": text}, int)


@given(day=st.integers(0, 100_000))
def test_days_are_dates(day: int) -> None:
    """A date that is shown is read as the same day; without dates it is the last thirty days."""
    assert read_days({"from": show_day(day), "to": show_day(day)}, 0) == Days(day, day)
    assert read_days({}, day * DAY_NS + 7) == Days(max(day - 29, 0), day)
    assert read_days({"to": show_day(day)}, 0) == Days(max(day - 29, 0), day)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\ty", "'x", "＝1"])
def test_what_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    """A text that begins like a formula has an apostrophe in front; all others stay as they are."""
    assert guard(text) == f"'{text}"
    assert guard(f"x{text}") == f"x{text}"
