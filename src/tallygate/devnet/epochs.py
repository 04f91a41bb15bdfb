"""Epochs of the simulated chain: which phase a block is in, and when the next quiet window comes.

An epoch opens with its proof of compute ("PoC"), during which nodes serve no inference; then it is "Inference" until
the next one. Everything follows from the height of a block and from where the epochs are anchored; no clock is here.
Phases, stages and their names are the chain's (`EpochContext`, `EpochStages`), the lengths of the stages are ours.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

FIRST_INDEX = 270  # of the order of mainnet's epochs, so that logs look alike
EPOCH_BLOCKS = 17_280  # a day of blocks of 5 s
EPOCH_BLOCKS_MIN = 20  # an epoch of less has no room for its stages


class Phase(StrEnum):
    """What the network does at a height."""

    GENERATE = "PoCGenerate"
    GENERATE_WIND_DOWN = "PoCGenerateWindDown"
    VALIDATE = "PoCValidate"
    VALIDATE_WIND_DOWN = "PoCValidateWindDown"
    INFERENCE = "Inference"


# Where the stages of an epoch of a day end, in blocks from its beginning; shorter epochs have shorter ones.
GENERATE_BLOCKS = 54
GENERATE_WIND_DOWN_BLOCKS = 6
EXCHANGE_BLOCKS = 5
VALIDATE_BLOCKS = 54
VALIDATE_WIND_DOWN_BLOCKS = 6


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch: its number, its first block, and the first block of each of its stages.

    Attributes:
        index: Its number.
        start: The block in which its proof of compute begins.
        wind_down: From here on, nothing new is generated.
        generation_end: From here on, proofs are only exchanged.
        validation_start: From here on, they are validated.
        validation_wind_down: From here on, nothing new is validated.
        validation_end: From here on, nodes serve inference again.
        next_start: The first block of the next epoch.
    """

    index: int
    start: int
    wind_down: int
    generation_end: int
    validation_start: int
    validation_wind_down: int
    validation_end: int
    next_start: int

    @property
    def new_validators(self) -> int:
        """The block in which this epoch's participants take over."""
        return self.validation_end + 1

    def phase_at(self, height: int) -> Phase:
        """Gives the phase of a block of this epoch."""
        if height < self.wind_down:
            return Phase.GENERATE
        if height < self.validation_start:
            return Phase.GENERATE_WIND_DOWN
        if height < self.validation_wind_down:
            return Phase.VALIDATE
        return Phase.VALIDATE_WIND_DOWN if height < self.validation_end else Phase.INFERENCE

    def first_block_of(self, phase: Phase) -> int:
        """Gives the first block of a phase."""
        return {
            Phase.GENERATE: self.start,
            Phase.GENERATE_WIND_DOWN: self.wind_down,
            Phase.VALIDATE: self.validation_start,
            Phase.VALIDATE_WIND_DOWN: self.validation_wind_down,
            Phase.INFERENCE: self.validation_end,
        }[phase]

    def as_json(self) -> dict[str, Any]:
        """Gives the stages as the network shows them."""
        return {
            "epoch_index": self.index,
            "poc_start": self.start,
            "poc_generation_winddown": self.wind_down,
            "poc_generation_end": self.generation_end,
            "poc_validation_start": self.validation_start,
            "poc_validation_winddown": self.validation_wind_down,
            "poc_validation_end": self.validation_end,
            "set_new_validators": self.new_validators,
            "claim_money": self.new_validators + 1,
            "next_poc_start": self.next_start,
            "poc_exchange_window": {"start": self.start + 1, "end": self.validation_start},
            "poc_validation_exchange_window": {"start": self.validation_start + 1, "end": self.new_validators},
        }


class Epochs:
    """All epochs of a chain: they follow each other without gaps, from an anchor that a test may move.

    Attributes:
        length: Blocks of an epoch.
        confirmation_poc: Whether a confirmation of the proof of compute is under way, which nodes serve through.
    """

    def __init__(self, first_height: int, length: int = EPOCH_BLOCKS) -> None:
        self.length = max(length, EPOCH_BLOCKS_MIN)
        self.confirmation_poc = False
        self._index = FIRST_INDEX
        self._start = 0
        self.enter(Phase.INFERENCE, first_height)

    def at(self, height: int) -> Epoch:
        """Gives the epoch of a block."""
        passed = (height - self._start) // self.length
        return self._lay_out(self._index + passed, self._start + passed * self.length)

    def phase_at(self, height: int) -> Phase:
        """Gives the phase of a block."""
        return self.at(height).phase_at(height)

    def is_quiet(self, height: int) -> bool:
        """Says whether nodes serve no inference in a block."""
        return self.phase_at(height) is not Phase.INFERENCE

    def effective_index(self, height: int) -> int:
        """Gives the epoch whose participants are in charge in a block: the one before, until the new ones take over."""
        epoch = self.at(height)
        return epoch.index if height >= epoch.new_validators else epoch.index - 1

    def enter(self, phase: Phase, height: int) -> None:
        """Moves the epochs so that a phase begins in a block; entering the first one begins a new epoch."""
        if self._start:
            self._index = self.at(height).index + (phase is Phase.GENERATE)
        offset = self._lay_out(0, 0).first_block_of(phase)
        self._start = height - offset

    def show(self, height: int) -> dict[str, Any]:
        """Gives what `/v1/epochs/latest` says in a block."""
        epoch = self.at(height)
        shown: dict[str, Any] = {
            "block_height": height,
            "latest_epoch": {"index": epoch.index, "poc_start_block_height": epoch.start},
            "phase": epoch.phase_at(height),
            "epoch_stages": epoch.as_json(),
            "next_epoch_stages": self.at(epoch.next_start).as_json(),
            "epoch_params": self._show_params(),
            "is_confirmation_poc_active": self.confirmation_poc,
        }
        if self.confirmation_poc:
            shown["active_confirmation_poc_event"] = {
                "epoch_index": epoch.index,
                "event_sequence": 0,
                "trigger_height": height,
                "phase": "CONFIRMATION_POC_GENERATION",
            }
        return shown

    def _lay_out(self, index: int, start: int) -> Epoch:
        ends = []
        end = 0
        for blocks in (
            GENERATE_BLOCKS,
            GENERATE_WIND_DOWN_BLOCKS,
            EXCHANGE_BLOCKS,
            VALIDATE_BLOCKS,
            VALIDATE_WIND_DOWN_BLOCKS,
        ):
            end += max(1, blocks * self.length // EPOCH_BLOCKS)
            ends.append(start + end)
        wind_down, generation_end, validation_start, validation_wind_down, validation_end = ends
        return Epoch(
            index,
            start,
            wind_down,
            generation_end,
            validation_start,
            validation_wind_down,
            validation_end,
            start + self.length,
        )

    def _show_params(self) -> dict[str, Any]:
        layout = self._lay_out(0, 0)
        return {
            "epoch_length": self.length,
            "epoch_multiplier": 1,
            "epoch_shift": 0,
            "poc_stage_duration": layout.generation_end,
            "poc_exchange_duration": layout.validation_start - layout.generation_end,
            "poc_validation_delay": 0,
            "poc_validation_duration": layout.validation_end - layout.validation_start,
            "set_new_validators_delay": 1,
        }
