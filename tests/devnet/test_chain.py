"""The simulated chain: blocks, balances, debits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.devnet.chain import NS_PER_S, BlockClock, Chain, Order
from tests.devnet.conftest import START_NS, HandClock


def make_chain(price: int = 1) -> tuple[Chain, HandClock]:
    """Gives a chain with 5-second blocks on a clock moved by hand."""
    clock = HandClock()
    return Chain(BlockClock(clock, 5 * NS_PER_S), price), clock


def make_order(name: str, requester: str, escrow_tokens: int = 1000, **fields: Any) -> Order:
    """Gives the order of an inference."""
    return Order(name, requester, "gonka1node", "model", escrow_tokens=escrow_tokens, **fields)


def test_a_block_comes_every_interval() -> None:
    """Between blocks the latest one keeps its height and its time."""
    chain, clock = make_chain()
    first = chain.clock.latest()
    clock.time_ns += 5 * NS_PER_S - 1
    assert chain.clock.latest() == first
    clock.time_ns += 1
    latest = chain.clock.latest()
    assert (latest.height, latest.time_ns) == (first.height + 1, START_NS + 5 * NS_PER_S)


def test_a_stalled_chain_makes_no_blocks() -> None:
    """A stalled chain stays at its block; when it resumes, the next block is of now."""
    chain, clock = make_chain()
    chain.clock.stall()
    stalled = chain.clock.latest()
    clock.time_ns += 3600 * NS_PER_S
    chain.clock.stall()
    assert chain.clock.latest() == stalled
    chain.clock.resume()
    latest = chain.clock.latest()
    assert (latest.height, latest.time_ns) == (stalled.height + 1, clock.time_ns)


def test_an_offset_moves_block_times() -> None:
    """An offset changes the time and not the height."""
    chain, _ = make_chain()
    before = chain.clock.latest()
    chain.clock.shift(-90)
    after = chain.clock.latest()
    assert (after.height, after.time_ns) == (before.height, before.time_ns - 90 * NS_PER_S)


def test_a_clock_that_goes_back_makes_no_block_vanish() -> None:
    """Heights never go below the first one."""
    chain, clock = make_chain()
    first = chain.clock.latest()
    clock.time_ns -= 100 * NS_PER_S
    assert chain.clock.latest() == first


@given(
    balance=st.integers(0, 10**6),
    price=st.integers(0, 1000),
    counts=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=8),
)
def test_debits_add_up_and_never_go_below_zero(balance: int, price: int, counts: list[tuple[int, int]]) -> None:
    """Balance and costs together are what the account began with, whatever was served."""
    chain, _ = make_chain(price)
    account = chain.open_account("gonka1someone")
    account.balance_ngonka = balance
    for number, (prompt_tokens, completion_tokens) in enumerate(counts):
        inference = chain.start(make_order(str(number), account.address))
        chain.finish(inference, prompt_tokens, completion_tokens)
        assert inference.cost_ngonka <= (prompt_tokens + completion_tokens) * price
    costs = sum(inference.cost_ngonka for inference in chain.inferences.values())
    assert account.balance_ngonka == balance - costs >= 0


def test_an_inference_finishes_once() -> None:
    """A second finish is an error, never a second debit."""
    chain, _ = make_chain()
    account = chain.open_account("gonka1someone")
    account.balance_ngonka = 100
    inference = chain.start(make_order("id", account.address))
    chain.finish(inference, 3, 4)
    with pytest.raises(RuntimeError, match="already finished"):
        chain.finish(inference, 3, 4)
    assert account.balance_ngonka == 93


def test_price_is_locked_at_the_start() -> None:
    """An inference costs what a token cost when it began."""
    chain, _ = make_chain(price=2)
    account = chain.open_account("gonka1someone")
    account.balance_ngonka = 100
    inference = chain.start(make_order("id", account.address))
    chain.parameters.price_ngonka = 50
    chain.finish(inference, 1, 1)
    assert inference.cost_ngonka == 4


def test_the_fee_of_an_attempt_is_debited_at_its_start() -> None:
    """An attempt costs its fee whether or not it finishes; its tokens are debited besides, as far as there is money."""
    chain, _ = make_chain(price=2)
    account = chain.open_account("gonka1someone")
    account.balance_ngonka = 1010
    inference = chain.start(make_order("id", account.address, fee_ngonka=1000))
    assert (inference.fee_ngonka, inference.cost_ngonka) == (1000, 1000)
    assert (account.balance_ngonka, account.escrowed_ngonka) == (0, 10)
    chain.finish(inference, 3, 4)
    assert (inference.tokens_ngonka, inference.cost_ngonka, account.balance_ngonka) == (10, 1010, 0)


def test_what_has_not_finished_after_20_blocks_is_expired() -> None:
    """An inference is started for 20 blocks; from the next one on it is expired, refunded, and never finishes."""
    chain, clock = make_chain()
    account = chain.open_account("gonka1someone")
    account.balance_ngonka = 5000
    inference = chain.start(make_order("id", account.address, fee_ngonka=10))
    assert (account.balance_ngonka, account.escrowed_ngonka) == (3990, 1000)
    clock.time_ns += 20 * 5 * NS_PER_S
    assert chain.status_of(inference) == "STARTED"
    clock.time_ns += 5 * NS_PER_S
    assert chain.status_of(inference) == "EXPIRED"
    assert (account.balance_ngonka, account.escrowed_ngonka) == (4990, 0)
    chain.finish(inference, 1, 1)
    assert chain.status_of(inference) == "EXPIRED"
    assert (account.balance_ngonka, inference.cost_ngonka, inference.prompt_tokens) == (4990, 10, 0)


def test_a_longer_lifetime_does_not_keep_others_from_expiring() -> None:
    """Each inference expires by its own lifetime, also behind one that began earlier and lives longer."""
    chain, clock = make_chain()
    slow = chain.start(make_order("slow", "gonka1someone", lifetime_blocks=100))
    fast = chain.start(make_order("fast", "gonka1someone"))
    clock.time_ns += 21 * 5 * NS_PER_S
    assert [chain.status_of(slow), chain.status_of(fast)] == ["STARTED", "EXPIRED"]
    chain.finish(slow, 0, 0)
    assert chain.status_of(slow) == "FINISHED"


def test_no_more_is_paid_than_the_escrow() -> None:
    """What an inference used above its escrow is not paid."""
    chain, _ = make_chain()
    account = chain.open_account("gonka1someone")
    account.balance_ngonka = 100
    inference = chain.start(make_order("id", account.address, escrow_tokens=5))
    chain.finish(inference, 3, 4)
    assert (inference.cost_ngonka, account.balance_ngonka, account.escrowed_ngonka) == (5, 95, 0)


def test_blocks_can_be_made_at_once() -> None:
    """Skipped blocks count, and no time goes by; also while the chain stalls."""
    chain, _ = make_chain()
    first = chain.clock.latest()
    chain.clock.skip(7)
    chain.clock.stall()
    chain.clock.skip(1)
    assert chain.clock.latest().height == first.height + 8
    assert chain.clock.latest().time_ns == first.time_ns
