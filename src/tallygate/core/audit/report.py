"""What a replay was about and what it found, as it is reported."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallygate.core.audit.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.audit.figures import Loss
    from tallygate.core.audit.replay import Tip


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what was found; amounts are exact integers.

    Attributes:
        is_whole: Whether all of the history was replayed, or its last part only.
        figures: What was counted on the way.
        tips: Where each writer's chain ends.
        references: How many deposits have a reference of the payer's.
        broken: How many problems there are with each promise.
    """

    is_whole: bool = True
    figures: Figures = field(default_factory=Figures)
    tips: Mapping[bytes, Tip] = field(default_factory=dict)
    accounts: int = 0
    open_holds: int = 0
    references: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def problem_count(self) -> int:
        """How many problems there are, listed or not."""
        return self.broken.total()

    @property
    def clean(self) -> bool:
        """Whether everything added up."""
        return self.problem_count == 0

    @property
    def batches(self) -> int:
        """How many batches were replayed."""
        return self.figures.batches

    @property
    def entries(self) -> int:
        """How many entries were replayed."""
        return self.figures.entries

    @property
    def kinds(self) -> Counter[str]:
        """How many entries there are of each kind."""
        return self.figures.kinds

    @property
    def totals(self) -> Counter[tuple[str, str]]:
        """What was posted, by book and ledger account, or `available`, `held` or `payable`, whosever they are."""
        totals: Counter[tuple[str, str]] = Counter()
        for place, amount in self.figures.totals.items():
            book, _, role = place.partition(" ")
            totals[book, role] = amount
        return totals

    @property
    def overrun_picousd(self) -> Counter[str]:
        """By model, what upstreams reported beyond the holds, at list price."""
        return _by_model(self.figures.overrun, "picousd")

    @property
    def overrun_ngonka(self) -> Counter[str]:
        """By model, what the network may have billed for that."""
        return _by_model(self.figures.overrun, "ngonka")

    @property
    def lost_picousd(self) -> Counter[str]:
        """By model, what may have been used when a process died, at list price."""
        return _by_model(self.figures.expired, "picousd")

    @property
    def lost_ngonka(self) -> Counter[str]:
        """By model, what the network may have billed for that."""
        return _by_model(self.figures.expired, "ngonka")


def _by_model(losses: Mapping[tuple[str, str], Loss], unit: str) -> Counter[str]:
    """Return losses by model alone, those of nothing left out."""
    by_model: Counter[str] = Counter()
    for (model, _), loss in losses.items():
        by_model[model] += getattr(loss, unit)
    return by_model
