"""Which reports of usage are believed, and what is counted in their place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.counting import BYTES_PER_TOKEN, TOKENIZED_BYTES_MAX, TokenCounter
from tallygate.core.ledger.entry import Flag
from tallygate.core.usage import TOKENS_MAX, Tally, Usage

COUNTED_FLAGS = Flag.ESTIMATED | Flag.USAGE_IMPLAUSIBLE
COUNTS = st.integers(0, 10**7)
REPORTS = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "completion_tokens_details"]),
        st.one_of(st.none(), st.integers(), st.booleans(), st.floats(), st.text(), st.just({"reasoning_tokens": 5})),
    ),
)


def make_tally(report: dict[str, Any] | None = None, **fields: Any) -> Tally:
    """Return a tally of 300 prompt bytes (bound 500) and 90 bytes of answer."""
    known: dict[str, Any] = {
        "prompt_bytes": 300,
        "prompt_tokens_max": 500,
        "completion_tokens_max": 10_000,
        "untold_bytes": 90,
        "report": report,
    }
    return Tally(**(known | fields))


def report(prompt: Any = 70, completion: Any = 25, **more: Any) -> dict[str, Any]:
    """Return a usage object."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        (report(), {}),
        (report(total_tokens="nonsense", prompt_tokens_details=None), {}),
        (report(completion=1), {}),
        (report(completion=90 + 16), {}),
        (report(completion=90 + 2 * 16), {"choices": 2}),
        (report(completion=0), {"untold_bytes": 0}),
        (report(completion=16), {"untold_bytes": 0}),
        (report(prompt=1), {}),
        (report(prompt=499), {"prompt_tokens": 499}),
        (report(prompt=501), {}),
        (report(completion=40), {"tokens": 40, "untold_bytes": 0}),
        (report(completion=41), {"tokens": 40, "untold_bytes": 3}),
        (report(completion=5000, completion_tokens_details={"reasoning_tokens": 4975}), {}),
        (report(completion=25, completion_tokens_details={"reasoning_tokens": "many"}), {}),
        (report(completion=25, completion_tokens_details=[1]), {}),
        (report(completion=20), {"tokens": 20, "untold_bytes": 0, "completion_tokens_max": 20}),
        (report(completion=30), {"tokens": 30, "untold_bytes": 0, "completion_tokens_max": 20}),
    ],
)
def test_report_that_can_be_true_is_believed(said: dict[str, Any], fields: dict[str, Any]) -> None:
    """A report that fits what was seen is charged to the token, and not marked."""
    usage = make_tally(said, **fields).usage(Flag.DRAINED)

    assert usage == Usage(said["prompt_tokens"], said["completion_tokens"], Flag.DRAINED)
    assert not usage.estimated


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({}, {}),
        ({"prompt_tokens": 70}, {}),
        ({"completion_tokens": 25}, {}),
        *[(report(prompt=bad), {}) for bad in (0, -1, 70.0, True, "70", None, [70], 2**64, TOKENS_MAX + 1)],
        *[(report(completion=bad), {}) for bad in (0, -1, 25.0, True, "25", None, {"n": 25}, 2**63, TOKENS_MAX + 1)],
        (report(completion=90 + 17), {}),
        (report(completion=17), {"untold_bytes": 0}),
        (report(completion=1), {"untold_bytes": 257}),
        (report(completion=39), {"tokens": 40}),
        (report(completion=40), {"tokens": 40, "untold_bytes": 1}),
        (report(completion=21), {"tokens": 20, "untold_bytes": 0, "completion_tokens_max": 20}),
        (report(completion=31), {"completion_tokens_max": 20}),
        (report(completion=5000, completion_tokens_details={"reasoning_tokens": 4980}), {"tokens": 20}),
        (report(prompt=71), {"prompt_tokens": 70}),
        (report(prompt=69), {"prompt_tokens": 70}),
        (report(completion=5000, completion_tokens_details={"reasoning_tokens": 100}), {}),
        (report(completion=5000, completion_tokens_details={"reasoning_tokens": -1}), {}),
        (report(completion=5000, completion_tokens_details={"reasoning_tokens": 5000.0}), {}),
        (report(completion=5000, completion_tokens_details={"reasoning_tokens": TOKENS_MAX + 1}), {}),
        (report(completion=5000, completion_tokens_details=5000), {}),
    ],
)
def test_report_that_cannot_be_true_is_replaced(said: dict[str, Any], fields: dict[str, Any]) -> None:
    """A number that is absent, no integer, not positive, huge, or not fit for what was seen gives way to our count."""
    tally = make_tally(said, **fields)
    usage = tally.usage(Flag.CUT)

    assert usage == tally.counted(Flag.CUT | Flag.USAGE_IMPLAUSIBLE)
    assert usage.flags == COUNTED_FLAGS | Flag.CUT


def test_missing_report_is_marked_as_missing() -> None:
    """Without any report we count, and say that it was missing, not that it was implausible."""
    assert make_tally().usage()[:3] == (100, 30, Flag.ESTIMATED | Flag.USAGE_MISSING)


@pytest.mark.parametrize(
    ("fields", "prompt", "completion"),
    [
        ({}, 100, 30),
        ({"untold_bytes": 0}, 100, 0),
        ({"untold_bytes": 1}, 100, 1),
        ({"untold_bytes": 91}, 100, 31),
        ({"tokens": 7, "untold_bytes": 4}, 100, 9),
        ({"prompt_bytes": 0}, 1, 30),
        ({"prompt_bytes": 301}, 101, 30),
        ({"prompt_bytes": 9000}, 500, 30),
        ({"prompt_tokens": 88}, 88, 30),
        ({"prompt_tokens": 0}, 100, 30),
        ({"prompt_tokens": 501}, 500, 30),
    ],
)
def test_own_count_is_by_tokens_told_else_by_bytes(fields: dict[str, Any], prompt: int, completion: int) -> None:
    """Told tokens count as they are, bytes by three to a token, rounded up; the prompt stays within its bound."""
    assert make_tally(**fields).counted()[:3] == (prompt, completion, Flag.ESTIMATED)


@given(COUNTS, st.integers(1, 10**7), st.integers(1, 5), COUNTS, COUNTS, st.none() | COUNTS, REPORTS)
def test_no_report_breaks_the_count(
    prompt_bytes: int, bound: int, choices: int, tokens: int, untold: int, told: int | None, said: dict[str, Any] | None
) -> None:
    """Whatever was reported, the usage is non-negative integers; an estimate is within the prompt's bound."""
    tally = Tally(prompt_bytes, bound, bound, choices, tokens, untold, told, said)
    for usage in (tally.usage(), tally.counted()):
        assert type(usage.prompt_tokens) is type(usage.completion_tokens) is int
        assert 0 < usage.prompt_tokens <= TOKENS_MAX
        assert tokens <= usage.completion_tokens <= TOKENS_MAX
        if usage.estimated:
            assert usage.prompt_tokens <= bound
            assert usage.completion_tokens == tokens + -(-untold // BYTES_PER_TOKEN)


class Words:
    """A tokenizer for which every word is a token."""

    def count(self, text: str) -> int:
        """Count words."""
        return len(text.split())


@pytest.mark.parametrize(
    ("fields", "basis"),
    [
        ({"tokens": 7, "untold_bytes": 0}, "node"),
        ({"tokens": 7, "untold_bytes": 4}, "node, 3.000 bytes per token"),
        ({"untold_bytes": 4}, "3.000 bytes per token"),
        ({"untold_bytes": 0}, "3.000 bytes per token"),
    ],
)
def test_a_count_says_how_it_was_made(fields: dict[str, Any], basis: str) -> None:
    """What the node told itself, or the bytes per token that were in force; a believed report needs no word."""
    assert make_tally(**fields).counted().basis == basis
    assert make_tally(report()).usage().basis is None


def test_a_tokenizer_counts_what_the_node_does_not_tell() -> None:
    """With a tokenizer, an answer is counted text by text however it was cut, and the prompt message by message."""
    tally = make_tally(
        counter=TokenCounter(Words()), prompt_texts=lambda: ["two words", "and three more"], untold_bytes=0
    )
    for choice, piece in ((b"0", b'"a to'), (b"1", b'"x y"'), (b"0", b'"ken or two"')):
        tally.add_untold(len(piece), choice, piece if choice == b"1" else piece.strip(b'"').join([b'"', b'"']))

    assert tally.counted() == Usage(5 + 2 * 5, 4 + 2, Flag.ESTIMATED, "tokenizer")
    assert make_tally(counter=TokenCounter(Words()), tokens=3, untold_bytes=0).counted().basis == "node"


def test_what_is_too_long_for_a_tokenizer_is_counted_by_its_bytes() -> None:
    """A long prompt is not even looked at, and of a long answer no text is kept, in however small pieces it comes."""
    tally = make_tally(
        counter=TokenCounter(Words()),
        prompt_bytes=TOKENIZED_BYTES_MAX + 1,
        prompt_tokens_max=TOKENIZED_BYTES_MAX,
        prompt_texts=lambda: pytest.fail("a long prompt was taken apart"),
        untold_bytes=0,
    )
    piece = b'"%b"' % bytes(1000)
    for _ in range(TOKENIZED_BYTES_MAX // 1000):
        tally.add_untold(1000, b"0", piece)
    assert tally.texts is None
    tally.add_untold(1000, b"0", piece)

    size = TOKENIZED_BYTES_MAX // 1000 * 1000 + 1000
    expected = -(-(TOKENIZED_BYTES_MAX + 1) // 3), -(-size // 3), Flag.ESTIMATED, "3.000 bytes per token"
    assert tally.counted() == expected


def test_pieces_without_text_are_not_kept() -> None:
    """A node that sends choices without end and text in none of them fills no memory."""
    tally = make_tally(counter=TokenCounter(Words()), untold_bytes=0)
    for index in range(100):
        tally.add_untold(0, b"%d" % index)

    assert tally.texts == {}


def test_only_believed_reports_on_text_teach() -> None:
    """A report that is not believed, hidden reasoning, and tokens that the node told teach nothing about bytes."""
    counter = TokenCounter()
    hidden = report(completion=5000, completion_tokens_details={"reasoning_tokens": 4975})
    for said, fields in (
        (report(completion=0), {}),
        (hidden, {}),
        (report(completion=40), {"tokens": 40, "untold_bytes": 0}),
        (None, {}),
    ):
        make_tally(said, counter=counter, **fields).usage()
    assert counter.millibytes_per_token == 3000
    make_tally(report(completion=18), counter=counter).usage()
    assert counter.millibytes_per_token > 3000


@pytest.mark.parametrize(
    ("report", "tokens", "untold_bytes", "compared"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 9}, 7, 0, (9, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 9}, 0, 10, (9, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 9}, 2, 3, (9, 3)),
        ({"prompt_tokens": 5, "completion_tokens": -9}, 2, 3, None),
        ({"prompt_tokens": 5, "completion_tokens": 9.0}, 2, 3, None),
        ({}, 2, 3, None),
        (None, 2, 3, None),
    ],
)
def test_a_report_is_compared_with_what_came(
    report: dict[str, object] | None, tokens: int, untold_bytes: int, compared: tuple[int, int] | None
) -> None:
    """What was reported of an answer stands beside our count, by the node's own tokens and by bytes, if it is any."""
    tally = Tally(10, 100, 100, tokens=tokens, untold_bytes=untold_bytes, report=report)

    assert tally.compared() == compared
