"""What a storm has tried, and what it found: counts that add up over worlds, and the verdict in one line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Figures:
    """Everything that was tried.

    Attributes:
        kills: By point.
        endings: What became of calls, as their callers saw it.
        entries: Of the books, by kind.
        network: What the network billed beyond our book, in ngonka, by cause.
        counts: The rest.
        violations: Whatever may not be; each says where it was found.
    """

    kills: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)
    network: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take in what another part of the storm has tried."""
        for mine, theirs in (
            (self.kills, other.kills),
            (self.endings, other.endings),
            (self.entries, other.entries),
            (self.network, other.network),
            (self.counts, other.counts),
        ):
            mine.update(theirs)
        self.violations += other.violations

    @property
    def verdict(self) -> str:
        """The whole of it in one line."""
        kills, calls = sum(self.kills.values()), sum(self.endings.values())
        tried = f"{kills:,} kills, {self.counts['starts']:,} starts, {calls:,} calls, {self.entries.total():,} entries"
        tried += f", {self.counts['repeats']:,} repeats under {self.counts['keys']:,} idempotency keys"
        if self.violations:
            return f"BROKEN: {len(self.violations):,} violations in {tried}."
        return f"SOUND: no violation in {tried}."

    def as_json(self) -> dict[str, Any]:
        """Return everything for a program."""
        return {
            "verdict": self.verdict,
            "kills": dict(self.kills),
            "endings": dict(self.endings),
            "entries": dict(self.entries),
            "network_ngonka": dict(self.network),
            "counts": dict(self.counts),
            "violations": self.violations,
        }

    def lines(self) -> Iterator[str]:
        """Return everything for people; the verdict comes last."""
        for title, counter in (
            ("Kills", self.kills),
            ("Calls, as their callers saw them", self.endings),
            ("Entries of the books", self.entries),
            ("ngonka that the network billed beyond our book", self.network),
            ("Beside these", self.counts),
        ):
            yield f"{title}:"
            yield from (f"  {count:>12,}  {name}" for name, count in sorted(counter.items()))
        yield from (f"VIOLATION: {violation}" for violation in self.violations)
        yield self.verdict
