"""What is known of a chain: its quiet windows, and how its time is to ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.chainview import (
    BLOCK_S,
    NS_PER_S,
    OFFSET_NS_MAX,
    SAMPLES,
    SAMPLES_MIN,
    UNKNOWN_WINDOW_S,
    ChainView,
    Epoch,
    Seen,
    read_block,
    read_epoch,
)
from tallygate.core.nodes import NonsenseError


def latest(phase: object, height: object = 1000, *, confirmation: bool = False, **stages: object) -> bytes:
    """Return what the network says of its latest epoch."""
    found: dict[str, Any] = {"block_height": height, "phase": phase, "latest_epoch": {"index": 7}}
    found |= {"epoch_stages": {"epoch_index": 7, **stages}, "is_confirmation_poc_active": confirmation}
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("body", "epoch"),
    [
        (latest("Inference", poc_validation_end=900), Epoch(False, None)),
        (latest(4), Epoch(False, None)),
        (latest("PoCGenerate", poc_validation_end=1040, set_new_validators=1041), Epoch(True, 40)),
        (latest("PoCValidate", "1000", poc_validation_end="1002", set_new_validators="1003"), Epoch(True, 2)),
        (latest(0, poc_validation_end=999, set_new_validators=1001), Epoch(True, 1)),
        (latest("PoCValidateWindDown"), Epoch(True, None)),
        (latest("Inference", confirmation=True), Epoch(True, None)),
        (b'{"block_height": 5, "phase": "PoCGenerate"}', Epoch(True, None)),
    ],
)
def test_epochs(body: bytes, epoch: Epoch) -> None:
    """The phase is read by name or number, heights as numbers or texts; a confirmation is a window of unknown end."""
    assert read_epoch(body) == epoch


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"block_height": 5}', latest("Inference", "x"), latest("Inference", -1), latest("x", 10**30)]
)
def test_nonsense(body: bytes) -> None:
    """What is not of the network's shape is nonsense."""
    with pytest.raises(NonsenseError):
        read_epoch(body)


def test_block() -> None:
    """The latest block's time and height are read from the chain's own answer."""
    body = b'{"block_id": {}, "block": {"header": {"height": "77", "time": "2026-11-26T00:00:01.5Z", "x": 1}}}'

    assert read_block(body) == ("2026-11-26T00:00:01.5Z", 77)


def test_a_window_ends_by_its_blocks() -> None:
    """A window lasts as many blocks as are left of it, each as long as blocks have been measured to take."""
    chain = ChainView()
    chain.note_epoch(Epoch(True, 10), 100.0)
    assert chain.quiet_for_s(100.0) == pytest.approx(10 * BLOCK_S)
    feed(chain, lead_s=-1, every_s=4, blocks=2)
    chain.note_epoch(Epoch(True, 10), 100.0)
    assert chain.quiet_for_s(105.0) == pytest.approx(35)
    assert chain.quiet_for_s(1000.0) == 0
    chain.note_epoch(Epoch(False, None), 106.0)

    assert chain.quiet_for_s(106.0) == 0


def test_a_window_of_unknown_end_is_believed_for_a_while() -> None:
    """Where the end of a window is not told, it is believed in until it should have been looked at again."""
    chain = ChainView()
    chain.note_epoch(Epoch(True, None), 100.0)

    assert chain.quiet_for_s(100.0) == UNKNOWN_WINDOW_S


def feed(
    chain: ChainView,
    *,
    lead_s: float,
    blocks: int = SAMPLES_MIN,
    every_s: float = 5,
    start_s: int = 10**6,
    height: int = 1,
) -> None:
    """Let blocks come, each seen when it is so far ahead of our clock."""
    for number in range(blocks):
        wall_ns = int((start_s + number * every_s) * NS_PER_S)
        chain.note_block(Seen(height + number, wall_ns + int(lead_s * NS_PER_S), wall_ns))


@pytest.mark.parametrize("lead_s", [-9.5, -3, 0, 9.5])
def test_a_right_clock_is_not_touched(lead_s: float) -> None:
    """A block that is some seconds old, as blocks are, corrects nothing."""
    chain = ChainView()
    feed(chain, lead_s=lead_s)

    assert (chain.offset_ns, chain.is_too_far) == (0, False)


@pytest.mark.parametrize("lead_s", [-110, -40, 25, 110])
def test_a_wrong_clock_is_corrected(lead_s: float) -> None:
    """A clock that is further off is corrected by just so much, once a few blocks say so, until it is right."""
    chain = ChainView()
    feed(chain, lead_s=lead_s, blocks=SAMPLES_MIN - 1)
    assert chain.offset_ns == 0
    feed(chain, lead_s=lead_s, start_s=2 * 10**6, height=100, blocks=SAMPLES)
    assert chain.offset_ns == int(lead_s * NS_PER_S)
    feed(chain, lead_s=-2, start_s=3 * 10**6, height=200, blocks=SAMPLES)

    assert chain.offset_ns == 0


@pytest.mark.parametrize("lead_s", [-121, 3600, -(10**6)])
def test_a_clock_that_is_far_off_has_to_be_mended(lead_s: float) -> None:
    """Beyond the bounds nothing is corrected, and it shows."""
    chain = ChainView()
    feed(chain, lead_s=lead_s)

    assert (chain.offset_ns, chain.is_too_far) == (0, True)


def test_a_halted_chain_is_not_followed() -> None:
    """While the chain makes no blocks, its time falls behind ours, and nothing is corrected by that."""
    chain = ChainView()
    feed(chain, lead_s=-2)
    last_ns = (10**6 + 8) * NS_PER_S
    for minutes in range(1, 60):
        chain.note_block(Seen(3, last_ns, last_ns + minutes * 60 * NS_PER_S))

    assert chain.offset_ns == 0
    assert chain.lead_ns == -2 * NS_PER_S


def test_a_chain_that_crawls_is_not_followed() -> None:
    """A chain whose time runs far slower than ours, on its way to a halt, corrects nothing."""
    chain = ChainView()
    feed(chain, lead_s=-2)
    for number in range(20):
        wall_ns = (10**6 + 100 + 60 * number) * NS_PER_S
        chain.note_block(Seen(10 + number, (10**6 + 20 + 5 * number) * NS_PER_S, wall_ns))

    assert chain.offset_ns == 0


def test_a_correction_outlives_a_halt() -> None:
    """What was corrected stays so while the chain stands, for our clock has not become right by that."""
    chain = ChainView()
    feed(chain, lead_s=30)
    for minutes in range(1, 10):
        chain.note_block(Seen(3, (10**6 + 40) * NS_PER_S, (10**6 + 10 + minutes * 60) * NS_PER_S))
    chain.forget_blocks()

    assert chain.offset_ns == 30 * NS_PER_S


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-(10**6), 10**6), st.integers(0, 10**4))))
def test_no_chain_can_move_us_far(blocks: list[tuple[int, int, int]]) -> None:
    """Whatever a chain says, a correction stays within its bounds."""
    chain = ChainView()
    for height, block_s, wall_s in blocks:
        chain.note_block(Seen(height, block_s * NS_PER_S, wall_s * NS_PER_S))
        assert abs(chain.offset_ns) <= OFFSET_NS_MAX


def test_a_window_begins_by_its_blocks() -> None:
    """A window that is to come begins after as many blocks as are told, and is believed for a while; a look decides."""
    chain = ChainView()
    chain.note_epoch(read_epoch(latest("Inference", 1000, poc_validation_end=900, next_poc_start=1010)), 100.0)
    begin_s = 100 + 10 * BLOCK_S
    assert chain.quiet_for_s(begin_s - 1) == 0
    assert chain.quiet_for_s(begin_s + 1) == UNKNOWN_WINDOW_S - 1
    assert chain.quiet_for_s(begin_s + UNKNOWN_WINDOW_S) == 0
    chain.note_epoch(Epoch(False, None, 5), begin_s + 1)  # blocks were slower than was thought

    assert chain.quiet_for_s(begin_s + 2) == 0
    assert chain.quiet_for_s(begin_s + 1 + 5 * BLOCK_S) == UNKNOWN_WINDOW_S


def test_a_beginning_that_lies_behind_is_none() -> None:
    """A next window that should have begun already, while nodes serve, says nothing."""
    assert read_epoch(latest("Inference", 1000, next_poc_start=1000)) == Epoch(False, None, None)
    assert read_epoch(latest("Inference", 1000, next_poc_start=10**17)) == Epoch(False, None, 10**17 - 1000)
    chain = ChainView()
    chain.note_epoch(Epoch(False, None, 10**17), 0.0)

    assert chain.quiet_for_s(86_400.0) == 0
