"""Statements as JSON: months of UTC, times, exact texts, flags in words."""

from __future__ import annotations

import pytest

from tallygate.api.statements import Month, describe_line, name_flags, read_month
from tallygate.core.errors import Refusal
from tallygate.core.ledger.statement import CHARGE, Period, read_lines
from tests.core.ledger.test_statement import history_of, make_world


@pytest.mark.parametrize(
    ("text", "start_s", "end_s"),
    [
        ("1970-01", 0, 31 * 86_400),
        ("2024-02", 1_706_745_600, 1_709_251_200),
        ("2025-12", 1_764_547_200, 1_767_225_600),
    ],
)
def test_a_month_lasts_until_the_next_begins(text: str, start_s: int, end_s: int) -> None:
    """A month of UTC, leap days and the turn of the year included, to the nanosecond."""
    assert read_month(text) == Month(text, start_s * 10**9, end_s * 10**9)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "26-01", "2026-01-01", "1969-12", "９９９９-01"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    """Anything but YYYY-MM is refused by its name."""
    with pytest.raises(Refusal) as refused:
        read_month(text)
    assert refused.value.param == "month"


def test_flags_are_words() -> None:
    """Each bit of an entry's flags has its name."""
    assert name_flags(1 | 2 | 128) == ["estimated", "overrun", "charged after crash"]
    assert name_flags(0) == []


def test_a_charge_says_what_it_is_made_of() -> None:
    """A charge has its inference, key, model, tokens, price sheet, and base + fee = total."""
    history = history_of(make_world())
    line = next(line for line in read_lines(history, Period(0, 4)) if line.kind == CHARGE)

    assert describe_line(line) == {
        "sequence": 4,
        "time": "1970-01-01T00:00:00.000000004Z",
        "kind": "charge",
        "amount_usd": "-0.000000012108",
        "balance_usd": "0.999999987892",
        "entry": line.id.hex(),
        "inference": "i-1",
        "api_key": "key_1",
        "model": "Qwen/Qwen3",
        "prompt_tokens": 50,
        "completion_tokens": 20,
        "price_sheet": 1,
        "base_usd": "0.000000011007",
        "fee_usd": "0.000000001101",
        "total_usd": "0.000000012108",
        "flags": [],
    }
