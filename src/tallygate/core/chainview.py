"""What we know of a chain: whether its nodes are in a quiet window, and how far its time is from ours.

*Quiet windows.* Once an epoch, nodes prove their compute and serve little or nothing; then they answer 503, which says
nothing about them. When a window begins and ends is known in blocks, and how long a block takes is measured.

*Time.* A node compares a signature's timestamp with the time of its latest block: 60 s of age are good, and 30 s of
future. A block's time lies some seconds in the past, so as long as our clock is right it seems a little ahead. If it is
further off than that, timestamps are corrected, within bounds. Only blocks that are new count, and only while the
chain's time runs as fast as ours: who followed a chain that has halted would sign with times that no node takes when it
goes on.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import msgspec

from tallygate.core.nodes import NonsenseError, read_shape

NS_PER_S: Final = 10**9

INFERENCE_PHASE: Final = ("Inference", 4)
"""The one phase in which nodes serve, as the network shows it: by name, or by its number."""

UNKNOWN_WINDOW_S: Final = 60.0
"""How long a window is believed in whose end is not known; it is looked at more often than that."""

WINDOW_S_MAX: Final = 6 * 3600.0
"""No window is longer, whatever an answer says."""

EPOCH_S_MAX: Final = 7 * 86_400.0
"""Nor does any begin later than this; epochs take about a day."""

BLOCK_S: Final = 6.0
"""What a block takes until it has been measured."""

TOLERANCE_NS: Final = 10 * NS_PER_S
"""So far may the newest block be from our clock: two blocks and the way here. The nodes' own bounds are 30 and 60 s."""

OFFSET_NS_MAX: Final = 120 * NS_PER_S
"""A clock that is further off is not corrected: it has to be mended. So much harm, too, can a source do that lies."""

SAMPLES: Final = 6
SAMPLES_MIN: Final = 3


class _Stages(msgspec.Struct):
    poc_validation_end: int | str = 0
    set_new_validators: int | str = 0
    next_poc_start: int | str = 0


class _Latest(msgspec.Struct):
    block_height: int | str
    phase: str | int | float
    epoch_stages: _Stages | None = None
    is_confirmation_poc_active: bool = False


class _Header(msgspec.Struct):
    height: int | str
    time: str


class _Block(msgspec.Struct):
    header: _Header


class _BlockAnswer(msgspec.Struct):
    block: _Block


class Epoch(NamedTuple):
    """Where the chain is in its epoch.

    Attributes:
        is_quiet: Whether its nodes serve little or nothing.
        blocks_left: After how many blocks they serve again; None where that is not told.
        blocks_ahead: After how many blocks they stop serving; None where that is not told, or they have.
    """

    is_quiet: bool
    blocks_left: int | None
    blocks_ahead: int | None = None


class Seen(NamedTuple):
    """A block when it was new to us, with our time then."""

    height: int
    block_ns: int
    wall_ns: int

    @property
    def lead_ns(self) -> int:
        """How far the block's time is ahead of ours; below zero where it lies in the past."""
        return self.block_ns - self.wall_ns


def read_epoch(body: bytes) -> Epoch:
    """Return what `/v1/epochs/latest` says; numbers may come as texts.

    Raises:
        NonsenseError: It is of another shape.
    """
    latest = read_shape(body, _Latest)
    height = _whole(latest.block_height)
    stages = latest.epoch_stages or _Stages()
    if latest.phase in INFERENCE_PHASE:
        begin = _whole(stages.next_poc_start)
        is_quiet = latest.is_confirmation_poc_active
        return Epoch(is_quiet, None, None if is_quiet or begin <= height else begin - height)
    ends = [_whole(stages.poc_validation_end), _whole(stages.set_new_validators)]
    return Epoch(True, next((end - height for end in ends if end > height), None))


def read_block(body: bytes) -> tuple[str, int]:
    """Return the time of the latest block, as it is written, and its height.

    Raises:
        NonsenseError: It is of another shape.
    """
    header = read_shape(body, _BlockAnswer).block.header
    return header.time, _whole(header.height)


def _whole(value: int | str) -> int:
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise NonsenseError("a height is no number")
        value = int(value)
    if not 0 <= value < 2**63:
        raise NonsenseError("a height is out of bounds")
    return value


class ChainView:
    """What is known of the chain that one upstream's nodes belong to.

    Attributes:
        offset_ns: What is to be added to our time for a signature.
        is_too_far: Whether our clock is further off than is corrected.
    """

    def __init__(self) -> None:
        self.offset_ns = 0
        self.is_too_far = False
        self._block_s = BLOCK_S
        self._quiet_from_s = 0.0
        self._quiet_until_s = 0.0
        self._seen: deque[Seen] = deque(maxlen=SAMPLES)

    def quiet_for_s(self, now_s: float) -> float:
        """Return for how long the nodes are still quiet, 0 when they are not."""
        return 0.0 if now_s < self._quiet_from_s else max(self._quiet_until_s - now_s, 0.0)

    @property
    def lead_ns(self) -> int | None:
        """How far the chain's time is ahead of ours by the newest blocks; None while that cannot be told."""
        return max(seen.lead_ns for seen in self._seen) if len(self._seen) >= SAMPLES_MIN else None

    def note_epoch(self, epoch: Epoch, now_s: float) -> None:
        """Take note of where the chain is in its epoch; a window to come begins unless a later look says otherwise."""
        self._quiet_from_s = now_s
        if not epoch.is_quiet:
            ahead_s = 0.0 if epoch.blocks_ahead is None else min(epoch.blocks_ahead * self._block_s, EPOCH_S_MAX)
            self._quiet_from_s = now_s + ahead_s
            self._quiet_until_s = self._quiet_from_s + UNKNOWN_WINDOW_S if ahead_s else 0.0
        elif epoch.blocks_left is None:
            self._quiet_until_s = now_s + UNKNOWN_WINDOW_S
        else:
            self._quiet_until_s = now_s + min(epoch.blocks_left * self._block_s, WINDOW_S_MAX)

    def note_block(self, seen: Seen) -> None:
        """Take note of the latest block; one that is known already tells nothing."""
        if self._seen:
            last = self._seen[-1]
            if seen.height == last.height:
                return
            chain_ns, wall_ns = seen.block_ns - last.block_ns, seen.wall_ns - last.wall_ns
            if seen.height < last.height or chain_ns <= 0 or not wall_ns <= 2 * chain_ns <= 4 * wall_ns:
                self._seen.clear()  # another chain, or one of the two times has jumped or stood still
            else:
                blocks_s = chain_ns / NS_PER_S / (seen.height - last.height)
                self._block_s = min(max(blocks_s, 0.5), 60.0)
        self._seen.append(seen)
        self._correct()

    def forget_blocks(self) -> None:
        """Begin anew, because somebody else is asked from now on; the correction stays until that one is known."""
        self._seen.clear()

    def _correct(self) -> None:
        lead_ns = self.lead_ns
        if lead_ns is None:
            return
        self.is_too_far = abs(lead_ns) > OFFSET_NS_MAX
        if not self.is_too_far:
            self.offset_ns = 0 if abs(lead_ns) <= TOLERANCE_NS else lead_ns
