"""How tokens are counted that nobody tells: the ratio, what it learns, and where it stops believing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.counting import BYTES_PER_TOKEN, TokenCounter


def test_it_begins_with_three_bytes_per_token() -> None:
    """Without any experience a token is three bytes, rounded up, and the count says so."""
    counter = TokenCounter()

    assert [counter.count_bytes(size).tokens for size in (0, 1, 3, 4, 90, 91)] == [0, 1, 1, 2, 30, 31]
    assert counter.count_bytes(90).basis == "3.000 bytes per token"
    assert BYTES_PER_TOKEN == 3


def test_it_learns_what_a_model_does() -> None:
    """After many answers of 4.2 bytes per token the ratio is about that, and a change of habits is followed."""
    counter = TokenCounter()
    for _ in range(1000):
        counter.learn(840, 200)
    assert 4150 < counter.millibytes_per_token <= 4200
    assert counter.count_bytes(4200).tokens == -(-4200 * 1000 // counter.millibytes_per_token)
    for _ in range(3000):
        counter.learn(500, 200)
    assert 2500 <= counter.millibytes_per_token < 2550


def test_one_answer_does_not_turn_it() -> None:
    """A single odd answer moves the ratio by a little only."""
    counter = TokenCounter()
    counter.learn(8, 1)

    assert 3000 <= counter.millibytes_per_token < 3010


@pytest.mark.parametrize(("size", "tokens", "milli"), [(10**6, 10**6, 2000), (10**9, 10**6, 8000)])
def test_no_upstream_can_push_it_beyond_reason(size: int, tokens: int, milli: int) -> None:
    """Whatever is reported, a token is counted as two to eight bytes."""
    counter = TokenCounter()
    for _ in range(100):
        counter.learn(size, tokens)

    assert counter.millibytes_per_token == milli


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), max_size=50), st.integers(0, 10**7))
def test_a_count_is_rounded_up_and_grows_with_the_text(history: list[tuple[int, int]], size: int) -> None:
    """Whatever was learned, no text is free, more text is never less, and the count fits the ratio it names."""
    counter = TokenCounter()
    for written, tokens in history:
        counter.learn(written, tokens)
    count = counter.count_bytes(size)
    milli = int(count.basis.split(" ")[0].replace(".", ""))

    assert count.tokens == -(-size * 1000 // milli)
    assert (count.tokens > 0) == (size > 0)
    assert counter.count_bytes(size + 1).tokens >= count.tokens


def test_a_tokenizer_needs_the_texts() -> None:
    """Where no text was kept, bytes are counted, tokenizer or not."""

    class Letters:
        def count(self, text: str) -> int:
            return len(text)

    counter = TokenCounter(Letters())

    assert counter.count(["ab", "c"], 999) == (3, "tokenizer")
    assert counter.count(None, 6) == (2, "3.000 bytes per token")
